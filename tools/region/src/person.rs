//! Made-up people: who they are, and how each source knows them.

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, date},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Numbers 999 000 0000 to 999 999 9999 are kept for tests; nine of each ten prefixes give a valid one.
pub const PEOPLE_MAX: u64 = 900_000;

const GIVEN_F: [&str; 14] = [
    "Aisha", "Beth", "Chloe", "Deborah", "Efua", "Fiona", "Gurpreet", "Hannah", "Ines", "Joan", "Kamala", "Lucy",
    "Maeve", "Siân",
];
const GIVEN_M: [&str; 14] = [
    "Adam", "Bilal", "Colin", "Dylan", "Emeka", "Francis", "George", "Harjit", "Ivan", "Jakub", "Kwame", "Liam",
    "Mohammed", "Owen",
];
const FAMILY: [&str; 20] = [
    "Adeyemi",
    "Bennett",
    "Campbell",
    "Davies",
    "Evans",
    "Fitzgerald",
    "Gill",
    "Hughes",
    "Iqbal",
    "Jones",
    "Kowalski",
    "Lloyd-Parry",
    "MacDonald",
    "Nguyen",
    "O'Brien",
    "Patel",
    "Quinn",
    "Richardson",
    "Singh",
    "Tasker",
];

/// A random number generator of its own for each person: any one can be made without the others.
pub fn rng(seed: u64, index: u64) -> StdRng {
    // Multiplying by an odd constant keeps neighbouring indexes apart.
    StdRng::seed_from_u64(seed ^ index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// How a source holds the NHS number: text and status (01 is present and verified).
#[derive(Clone, PartialEq)]
pub struct Held {
    pub text: Option<String>,
    pub status: Option<String>,
}

#[derive(Clone, PartialEq)]
pub struct Person {
    pub index: u64,
    pub female: bool,
    pub born: Date,
    pub given: &'static str,
    pub family: &'static str,
    pub postcode: String,
    /// `None`: the source does not know this person.
    pub at_gp: Option<Held>,
    pub at_hospital: Option<Held>,
    /// What the hospital believes; sometimes wrong, which holds the link.
    pub hospital_born: Date,
    /// Problems, as indexes into `catalogue::PROBLEMS`.
    pub problems: Vec<usize>,
}

impl Person {
    pub fn new(seed: u64, index: u64, today: Timestamp) -> Self {
        let mut rng = rng(seed, index);
        let female = rng.random_bool(0.51);
        let age_days = rng.random_range(1..34_000_i64);
        let born = today.to_zoned(jiff::tz::TimeZone::UTC).date().saturating_sub(age_days.days());
        let number = nhs_number(index);
        let place = rng.random_range(0..100);
        let at_gp = (place < 85).then(|| held(&mut rng, &number));
        let at_hospital = (place >= 45).then(|| held(&mut rng, &number));
        let hospital_born = if rng.random_bool(0.02) { wrong_date(born) } else { born };
        let count = if age_days < 12_000 { rng.random_range(0..2) } else { rng.random_range(0..4) };
        Self {
            index,
            female,
            born,
            given: pick(&mut rng, if female { &GIVEN_F } else { &GIVEN_M }),
            family: pick(&mut rng, &FAMILY),
            // ZZ99 is no place: the NHS's own pseudo-postcodes.
            postcode: format!("ZZ99 {}{}Z", rng.random_range(1..10), letter(&mut rng)),
            at_gp,
            at_hospital,
            hospital_born,
            problems: problems(&mut rng, count),
        }
    }

    pub const fn sex(&self) -> &'static str {
        if self.female { "F" } else { "M" }
    }
}

fn pick(rng: &mut StdRng, names: &[&'static str]) -> &'static str {
    names.choose(rng).copied().unwrap_or_default()
}

fn letter(rng: &mut StdRng) -> char {
    char::from(rng.random_range(b'A'..=b'Y'))
}

fn problems(rng: &mut StdRng, count: usize) -> Vec<usize> {
    // Addison's disease is rare, a tenth of a thousandth; here one in three hundred, so that rules have work.
    let mut chosen: Vec<usize> = rng.random_bool(1.0 / 300.0).then_some(0).into_iter().collect();
    for _ in 0..count {
        let problem = rng.random_range(1..crate::catalogue::PROBLEMS.len());
        if !chosen.contains(&problem) {
            chosen.push(problem);
        }
    }
    chosen
}

/// Day and month swapped where that is a date, else ten years off: what typing errors do.
fn wrong_date(born: Date) -> Date {
    Date::new(born.year(), born.day(), born.month())
        .ok()
        .filter(|swapped| *swapped != born)
        .unwrap_or_else(|| Date::new(born.year() - 10, born.month(), born.day()).unwrap_or(date(1950, 1, 1)))
}

fn held(rng: &mut StdRng, number: &str) -> Held {
    let (text, status) = match rng.random_range(0..100) {
        0..=86 => (Some(number.to_owned()), Some("01")),
        // As some people type it.
        87..=91 => (Some(format!("{} {} {}", &number[..3], &number[3..6], &number[6..])), Some("01")),
        92..=95 => (Some(number.to_owned()), Some("02")),
        96..=97 => (None, Some("07")),
        // A digit too few, and a wrong check digit.
        98 => (Some(number[..9].to_owned()), Some("02")),
        _ => (Some(wrong_check(number)), Some("02")),
    };
    Held { text, status: status.map(str::to_owned) }
}

pub fn wrong_check(number: &str) -> String {
    let last = number.as_bytes().last().map_or(0, |b| b - b'0');
    format!("{}{}", &number[..number.len() - 1], (last + 1) % 10)
}

/// The valid number of person `index`: one in each of nine places of every block of ten prefixes. Incrementing the
/// ninth digit moves the weighted sum by 2, so at most one prefix of a block has no check digit.
pub fn nhs_number(index: u64) -> String {
    let index = index % PEOPLE_MAX;
    let block = 99_900_000 + index / 9;
    (0..10)
        .filter_map(|last| with_check(block * 10 + last))
        .nth(usize::try_from(index % 9).unwrap_or(0))
        .unwrap_or_default()
}

fn with_check(nine: u64) -> Option<String> {
    let text = nine.to_string();
    let sum: u64 = text.bytes().zip((2..=10_u64).rev()).map(|(digit, weight)| u64::from(digit - b'0') * weight).sum();
    match 11 - sum % 11 {
        10 => None,
        11 => Some(format!("{text}0")),
        check => Some(format!("{text}{check}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn valid(number: &str) -> bool {
        let digits: Vec<u32> = number.chars().filter_map(|c| c.to_digit(10)).collect();
        let sum: u32 = digits.iter().zip((1..=10).rev()).map(|(d, w)| d * w).sum();
        // With its check digit, weighted 10 down to 1, a valid number is a multiple of 11.
        digits.len() == 10 && sum.is_multiple_of(11)
    }

    #[test]
    fn numbers_are_valid_distinct_and_in_the_test_range() {
        let mut seen = HashSet::new();
        for index in (0..20_000).chain(PEOPLE_MAX - 1_000..PEOPLE_MAX) {
            let number = nhs_number(index);
            assert!(number.starts_with("999") && valid(&number), "index {index}");
            assert!(!valid(&wrong_check(&number)));
            assert!(seen.insert(number), "index {index} repeats a number");
        }
    }

    #[test]
    fn people_are_the_same_for_a_seed_and_mixed_over_the_sources() {
        let today: Timestamp = "2026-03-04T08:00:00Z".parse().unwrap();
        let people: Vec<_> = (0..2_000).map(|i| Person::new(7, i, today)).collect();
        assert!(people[42] == Person::new(7, 42, today));
        assert!(people[42] != Person::new(8, 42, today));
        let both = people.iter().filter(|p| p.at_gp.is_some() && p.at_hospital.is_some());
        let held = both.clone().filter(|p| p.hospital_born != p.born).count();
        assert!((600..1_000).contains(&both.count()));
        assert!((5..40).contains(&held), "{held} dates of birth disagree");
        assert!(people.iter().all(|p| p.at_gp.is_some() || p.at_hospital.is_some()));
    }
}
