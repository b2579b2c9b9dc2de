//! How like each other two records are, field by field, in levels.
//!
//! # Why
//! Levels are few and in one order, from the same to anything else, so that how often each is seen among one person's
//! records, and among two persons', can be counted, written down and read by a clerk. What either record does not tell has
//! no level, and weighs nothing.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{
    Known,
    names::{self, Forenames},
};
use change::avro::value::civil_of_days;
use std::fmt;
use strsim::jaro_winkler;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Given,
    Family,
    Birth,
    Postcode,
    Sex,
    Number,
}

impl Field {
    pub const COUNT: usize = 6;
    pub const ALL: [Self; Self::COUNT] =
        [Self::Given, Self::Family, Self::Birth, Self::Postcode, Self::Sex, Self::Number];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Family => "family",
            Self::Birth => "birth_date",
            Self::Postcode => "postcode",
            Self::Sex => "sex",
            Self::Number => "nhs_number",
        }
    }

    /// From the same to anything else.
    pub const fn levels(self) -> &'static [&'static str] {
        match self {
            Self::Given => &[
                "exact",
                "short_form",
                "initial",
                "swapped",
                "jaro_winkler_92",
                "jaro_winkler_88",
                "jaro_winkler_70",
                "else",
            ],
            Self::Family => &["exact", "jaro_winkler_92", "jaro_winkler_88", "jaro_winkler_70", "else"],
            Self::Birth => &["exact", "edit_1", "day_month_swapped", "month", "year", "ten_years", "else"],
            Self::Postcode => &["full", "sector", "district", "area", "else"],
            Self::Sex => &["exact", "else"],
            Self::Number => &["exact", "edit_1", "else"],
        }
    }
}

/// The level of each field, where both records tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Levels([Option<u8>; Field::COUNT]);

impl Levels {
    pub const fn get(&self, field: Field) -> Option<usize> {
        match self.0[field as usize] {
            Some(level) => Some(level as usize),
            None => None,
        }
    }

    pub fn is_exact(&self, field: Field) -> bool {
        self.get(field) == Some(0)
    }

    pub fn name(&self, field: Field) -> Option<&'static str> {
        field.levels().get(self.get(field)?).copied()
    }
}

/// `given=exact family=else`: no patient data.
impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = Field::ALL.into_iter().filter_map(|field| Some((field, self.name(field)?)));
        for (index, (field, level)) in told.enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{}={level}", field.as_str())?;
        }
        Ok(())
    }
}

/// The same whichever comes first.
pub fn compare(one: &Known, other: &Known) -> Levels {
    let mut levels = Levels::default();
    let given = given(one, other);
    levels.0 = [
        given,
        // In each other's place: said once, by the forename.
        if given == Some(SWAPPED) { None } else { family(one, other) },
        both(one.birth_date, other.birth_date).map(|(one, other)| birth(one, other)),
        both(one.postcode.as_deref().and_then(Postcode::parse), other.postcode.as_deref().and_then(Postcode::parse))
            .map(|(one, other)| one.level(&other)),
        sex(one, other),
        both(one.nhs_number.as_deref(), other.nhs_number.as_deref()).map(|(one, other)| number(one, other)),
    ];
    levels
}

fn both<T>(one: Option<T>, other: Option<T>) -> Option<(T, T)> {
    one.zip(other)
}

const SWAPPED: u8 = 3;

fn given(one: &Known, other: &Known) -> Option<u8> {
    Some(match names::forenames(&one.name, &other.name)? {
        Forenames::Same => 0,
        Forenames::ShortForm => 1,
        Forenames::Initial => 2,
        Forenames::Swapped => SWAPPED,
        Forenames::Differ => SWAPPED + alike(&one.name.forename(), &other.name.forename()),
    })
}

fn family(one: &Known, other: &Known) -> Option<u8> {
    let told = |known: &Known| !known.name.family().is_empty() && !known.name.temporary();
    let (family, others) = (one.name.family(), other.name.family());
    (told(one) && told(other)).then(|| if family == others { 0 } else { alike(family, others) })
}

/// 1 to 4: how near two different names are.
fn alike(one: &str, other: &str) -> u8 {
    // In one order: the measure takes the longer and the shorter alike, but adds in the order of the first.
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    match jaro_winkler(one, other) {
        near if near > 0.92 => 1,
        near if near > 0.88 => 2,
        near if near > 0.70 => 3,
        _ => 4,
    }
}

const MONTH_DAYS: u32 = 31;
const YEAR_DAYS: u32 = 366;
const TEN_YEARS_DAYS: u32 = 3_653;

fn birth(one: i32, other: i32) -> u8 {
    let (year, month, day) = civil_of_days(one.into());
    let (years, months, days) = civil_of_days(other.into());
    match one.abs_diff(other) {
        0 => 0,
        _ if one_edit(&digits(year, month, day), &digits(years, months, days)) => 1,
        _ if year == years && month == days && day == months => 2,
        apart if apart <= MONTH_DAYS => 3,
        apart if apart <= YEAR_DAYS => 4,
        apart if apart <= TEN_YEARS_DAYS => 5,
        _ => 6,
    }
}

/// YYYYMMDD, as it is typed.
fn digits(year: i64, month: i64, day: i64) -> [u8; 8] {
    let mut digits = [0; 8];
    let mut rest = (year * 100 + month) * 100 + day;
    for digit in digits.iter_mut().rev() {
        *digit = u8::try_from(rest.rem_euclid(10)).unwrap_or(0);
        rest = rest.div_euclid(10);
    }
    digits
}

/// A Damerau–Levenshtein distance of 1 between texts of one length: one letter, or two neighbours in each other's place.
fn one_edit(one: &[u8], other: &[u8]) -> bool {
    let mut differ = one.iter().zip(other).enumerate().filter(|(_, (one, other))| one != other).map(|(at, _)| at);
    match (one.len() == other.len(), differ.next(), differ.next(), differ.next()) {
        (true, Some(_), None, _) => true,
        (true, Some(at), Some(next), None) => next == at + 1 && one[at] == other[next] && one[next] == other[at],
        _ => false,
    }
}

fn sex(one: &Known, other: &Known) -> Option<u8> {
    let (one, other) = (one.gender.as_deref(), other.gender.as_deref());
    if names::sexes_agree(one, other) { Some(0) } else { names::sexes_contradict(one, other).then_some(1) }
}

fn number(one: &str, other: &str) -> u8 {
    if one == other {
        0
    } else if one_edit(one.as_bytes(), other.as_bytes()) {
        1
    } else {
        2
    }
}

/// A United Kingdom postcode: area and district (`RG1`), sector and unit (`4PA`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postcode {
    letters: String,
    area: usize,
}

/// The unit and its sector.
const INWARD: usize = 3;
const POSTCODE_LENGTHS: std::ops::RangeInclusive<usize> = 5..=7;
/// `1`, `14`, `1A`: what stands between the area and the sector.
fn is_district(district: &[u8]) -> bool {
    match district {
        [digit] => digit.is_ascii_digit(),
        [digit, last] => digit.is_ascii_digit() && (last.is_ascii_digit() || last.is_ascii_uppercase()),
        _ => false,
    }
}

/// The NHS's own, for whoever has no address, or one abroad: two who bear one do not live together.
const NO_PLACE: &str = "ZZ99";

impl Postcode {
    /// None of what is no postcode of a place.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: String = text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_uppercase).collect();
        let area = letters.chars().take_while(char::is_ascii_uppercase).count();
        let well_formed = letters.is_ascii()
            && POSTCODE_LENGTHS.contains(&letters.len())
            && (1..=2).contains(&area)
            && is_district(&letters.as_bytes()[area..letters.len() - INWARD])
            && letters.as_bytes()[letters.len() - INWARD].is_ascii_digit()
            && letters.as_bytes()[letters.len() - INWARD + 1..].iter().all(u8::is_ascii_uppercase);
        (well_formed && !letters.starts_with(NO_PLACE)).then_some(Self { letters, area })
    }

    pub fn as_str(&self) -> &str {
        &self.letters
    }

    fn level(&self, other: &Self) -> u8 {
        let (one, other_district) = (self.district(), other.district());
        let sector = |code: &Self| code.letters[..code.letters.len() - INWARD + 1].to_owned();
        if self.letters == other.letters {
            0
        } else if sector(self) == sector(other) {
            1
        } else if one == other_district {
            2
        } else if self.letters[..self.area] == other.letters[..other.area] {
            3
        } else {
            4
        }
    }

    fn district(&self) -> &str {
        &self.letters[..self.letters.len() - INWARD]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;
    use change::avro::value::days_of_civil;
    use proptest::prelude::*;

    /// `forename/surname birth sex postcode number`; `-` where nothing is told, `_` for a space.
    fn known(line: &str) -> Known {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, birth, sex, postcode, number] = words[..] else { panic!("{line}") };
        let told = |word: &str| (word != "-").then(|| word.replace('_', " "));
        let (given, family) = name.split_once('/').expect("a name");
        let day = |text: String| {
            let parts: Vec<i64> = text.split('-').map(|part| part.parse().expect("a date")).collect();
            i32::try_from(days_of_civil(parts[0], parts[1], parts[2])).expect("a day")
        };
        Known {
            name: Name::new(told(given).as_deref(), told(family).as_deref()),
            birth_date: told(birth).map(day),
            gender: told(sex),
            postcode: told(postcode),
            nhs_number: told(number),
            ..Known::default()
        }
    }

    #[track_caller]
    fn check(one: &str, other: &str, want: &str) {
        let (one, other) = (known(one), known(other));
        assert_eq!(compare(&one, &other).to_string(), want);
        assert_eq!(compare(&other, &one).to_string(), want, "the other way round");
    }

    #[test]
    fn forenames_have_eight_levels() {
        for (one, other, want) in [
            ("Martha", "MARTHA", "exact"),
            ("Mary-Anne", "Mary_Anne", "exact"),
            ("David", "Dave", "short_form"),
            ("D", "David", "initial"),
            ("Martha", "Marhta", "jaro_winkler_92"),
            // .9133, .8962, .84, .7333
            ("Jonathan", "Jontahn", "jaro_winkler_92"),
            ("Michelle", "Michaela", "jaro_winkler_88"),
            ("Catherine", "Kathryn", "jaro_winkler_70"),
            ("Adam", "Beth", "else"),
        ] {
            check(&format!("{one}/- - - - -"), &format!("{other}/- - - - -"), &format!("given={want}"));
        }
        check("Ellis/David - - - -", "David/Ellis - - - -", "given=swapped");
        for silent in ["-/-", "Baby/-", "Baby_of_Joan/-", "Unknown/-"] {
            check(&format!("{silent} - - - -"), "Adam/- - - - -", "");
        }
    }

    #[test]
    fn jaro_winkler_is_cut_where_the_levels_say() {
        // What the measure says of the pairs of the tables, to four places, by hand from its definition.
        for (one, other, near) in [
            ("martha", "marhta", 0.9611),
            ("dixon", "dicksonx", 0.8133),
            ("dwayne", "duane", 0.84),
            ("jones", "johnson", 0.8324),
        ] {
            assert!((jaro_winkler(one, other) - near).abs() < 0.000_1, "{one} {other} {}", jaro_winkler(one, other));
        }
        for (one, other, want) in [
            ("Smith", "Smith", "exact"),
            ("Smith", "Smyth", "jaro_winkler_88"),
            ("Thompson", "Thomson", "jaro_winkler_92"),
            ("Dixon", "Dicksonx", "jaro_winkler_70"),
            ("Dwayne", "Duane", "jaro_winkler_70"),
            ("Ellis", "Patel", "else"),
            ("O'Brien", "OBRIEN", "exact"),
            ("Núñez", "Nunez", "exact"),
        ] {
            check(&format!("-/{one} - - - -"), &format!("-/{other} - - - -"), &format!("family={want}"));
        }
    }

    #[test]
    fn birth_dates_have_seven_levels() {
        for (one, other, want) in [
            ("1984-06-15", "1984-06-15", "exact"),
            // One digit, and two neighbours in each other's place.
            ("1984-06-15", "1984-06-16", "edit_1"),
            ("1984-06-15", "1994-06-15", "edit_1"),
            ("1984-06-12", "1984-06-21", "edit_1"),
            ("1984-06-07", "1984-07-06", "day_month_swapped"),
            ("1984-05-02", "1984-02-05", "day_month_swapped"),
            ("1984-06-28", "1984-07-29", "month"),
            ("1984-06-18", "1984-07-19", "month"),
            ("1984-06-18", "1984-07-29", "year"),
            ("1984-03-15", "1985-03-16", "year"),
            ("1984-03-15", "1985-04-26", "ten_years"),
            ("1979-03-15", "1988-04-26", "ten_years"),
            ("1979-03-15", "1989-03-26", "else"),
            ("1979-03-15", "1989-03-15", "edit_1"),
            ("1934-03-15", "1989-12-26", "else"),
        ] {
            check(&format!("-/- {one} - - -"), &format!("-/- {other} - - -"), &format!("birth_date={want}"));
        }
        check("-/- - - - -", "-/- 1984-06-15 - - -", "");
    }

    #[test]
    fn postcodes_have_five_levels() {
        for (one, other, want) in [
            ("RG1_4PA", "rg14pa", "postcode=full"),
            ("RG1_4PA", "RG1_4QB", "postcode=sector"),
            ("RG1_4PA", "RG1_5PA", "postcode=district"),
            ("RG1_4PA", "RG12_4PA", "postcode=area"),
            ("RG1_4PA", "R1_4PA", "postcode=else"),
            ("RG1_4PA", "SW1A_1AA", "postcode=else"),
            // No place: nobody's home, or no postcode.
            ("ZZ99_3VZ", "ZZ99_3VZ", ""),
            ("unknown", "unknown", ""),
            ("RG1", "RG1", ""),
            ("RG1_4P", "RG1_4P", ""),
            ("-", "RG1_4PA", ""),
        ] {
            check(&format!("-/- - - {one} -"), &format!("-/- - - {other} -"), want);
        }
    }

    proptest! {
        /// The crate's measure is the oracle.
        #[test]
        fn one_edit_is_a_distance_of_one(one in "[0-3]{8}", at in 0..8_usize, also in 0..8_usize, digit in 0..4_u8, swap: bool) {
            let mut other = one.clone().into_bytes();
            if swap { other.swap(at, also) } else { other[at] = b'0' + digit }
            let text = String::from_utf8(other.clone()).expect("digits");
            prop_assert_eq!(one_edit(one.as_bytes(), &other), strsim::osa_distance(&one, &text) == 1);
        }
    }

    #[test]
    fn sexes_and_numbers() {
        check("-/- - male - -", "-/- - male - -", "sex=exact");
        check("-/- - male - -", "-/- - female - -", "sex=else");
        check("-/- - male - -", "-/- - unknown - -", "");
        check("-/- - - - 9434765919", "-/- - - - 9434765919", "nhs_number=exact");
        check("-/- - - - 9434765919", "-/- - - - 9434765991", "nhs_number=edit_1");
        check("-/- - - - 9434765919", "-/- - - - 9434765819", "nhs_number=edit_1");
        check("-/- - - - 9434765919", "-/- - - - 9000000009", "nhs_number=else");
        check("-/- - - - 9434765919", "-/- - - - -", "");
    }
}
