//! Blocks: which records are worth comparing.
//!
//! # Why
//! Three million records make more pairs than anything compares. Two records are compared if they agree on one of five
//! keys, each of which another kind of error leaves alone. A block of more than `BLOCK_MAX` records tells nothing of anybody
//! (the first of January, a hostel's postcode): it makes no pairs at all, whoever came first, and is told.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{Known, compare::Postcode};
use change::avro::value::civil_of_days;

/// A block of more records than these makes no pairs.
pub const BLOCK_MAX: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Block {
    Number,
    /// Birth date and the sound of the surname.
    BirthSound,
    /// Birth date, the forename's initial, sex.
    BirthInitialSex,
    /// Postcode and year of birth.
    PostcodeYear,
    /// Both names in either order, year of birth, and month and day in either order.
    NamesSwapped,
}

impl Block {
    pub const ALL: [Self; 5] =
        [Self::Number, Self::BirthSound, Self::BirthInitialSex, Self::PostcodeYear, Self::NamesSwapped];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::BirthSound => "birth_sound",
            Self::BirthInitialSex => "birth_initial_sex",
            Self::PostcodeYear => "postcode_year",
            Self::NamesSwapped => "names_swapped",
        }
    }

    /// What the block's records agree on; none where the record does not tell it. Patient data.
    pub fn key(self, known: &Known) -> Option<String> {
        let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let family = told(known.name.family()).filter(|_| !known.name.temporary());
        let forename = told(&known.name.forename()).filter(|_| !known.name.temporary() && !known.name.placeholder());
        if self == Self::Number {
            return known.nhs_number.clone();
        }
        let birth = known.birth_date?;
        let (year, month, day) = civil_of_days(birth.into());
        match self {
            Self::Number => None,
            Self::BirthSound => Some(format!("{birth} {}", sound(&family?))),
            Self::BirthInitialSex => {
                let sex = known.gender.as_deref().filter(|sex| *sex != "unknown")?;
                Some(format!("{birth} {} {sex}", forename?.chars().next()?))
            }
            Self::PostcodeYear => Some(format!("{} {year}", Postcode::parse(known.postcode.as_deref()?)?.as_str())),
            Self::NamesSwapped => {
                let (one, other) = (family?, forename?);
                let (first, second) = if one <= other { (one, other) } else { (other, one) };
                Some(format!("{first} {second} {year} {} {}", month.min(day), month.max(day)))
            }
        }
    }
}

/// The blocks of a record that may be linked by weight.
pub fn keys(known: &Known) -> impl Iterator<Item = (Block, String)> {
    let may = !known.withdrawn && !known.confidential;
    Block::ALL.into_iter().filter(move |_| may).filter_map(|block| Some((block, block.key(known)?)))
}

/// Soundex: the first letter, and the classes of the consonants that follow. Other letters than a to z stand for themselves.
fn sound(name: &str) -> String {
    const LENGTH: usize = 4;
    let class = |letter: char| match letter {
        'b' | 'f' | 'p' | 'v' => Some('1'),
        'c' | 'g' | 'j' | 'k' | 'q' | 's' | 'x' | 'z' => Some('2'),
        'd' | 't' => Some('3'),
        'l' => Some('4'),
        'm' | 'n' => Some('5'),
        'r' => Some('6'),
        'a'..='z' => None,
        other => Some(other),
    };
    let mut letters = name.chars();
    let Some(first) = letters.next() else { return String::new() };
    let (mut code, mut last) = (String::from(first), class(first));
    for letter in letters {
        let this = class(letter);
        match this {
            Some(digit) if this != last => code.push(digit),
            _ => {}
        }
        // h and w part nothing; vowels do.
        if !matches!(letter, 'h' | 'w') {
            last = this;
        }
        if code.chars().count() == LENGTH {
            break;
        }
    }
    format!("{code:0<LENGTH$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;

    #[test]
    fn soundex_is_the_national_archives() {
        for (name, want) in [
            ("robert", "r163"),
            ("rupert", "r163"),
            ("rubin", "r150"),
            ("ashcraft", "a261"),
            ("tymczak", "t522"),
            ("pfister", "p236"),
            ("honeyman", "h555"),
            ("lee", "l000"),
            ("jackson", "j250"),
        ] {
            assert_eq!(sound(name), want, "{name}");
        }
    }

    fn known(given: &str, family: &str, birth_date: Option<i32>) -> Known {
        Known {
            name: Name::new(Some(given), Some(family)),
            birth_date,
            gender: Some("male".into()),
            postcode: Some("RG1 4PA".into()),
            nhs_number: Some("9434765919".into()),
            ..Known::default()
        }
    }

    #[test]
    fn a_record_is_in_the_blocks_that_it_tells_the_keys_of() {
        let told = |known: &Known| {
            let all: Vec<String> = keys(known).map(|(block, key)| format!("{}: {key}", block.as_str())).collect();
            all.join("; ")
        };
        // 1984-06-07
        let whole = known("Adam", "Ellis", Some(5_271));
        assert_eq!(
            told(&whole),
            "number: 9434765919; birth_sound: 5271 e420; birth_initial_sex: 5271 a male; postcode_year: RG14PA 1984; \
             names_swapped: adam ellis 1984 6 7"
        );
        let swapped = known("Ellis", "Adam", Some(5_300));
        // 1984-07-06: both swapped, and still the same block.
        assert!(told(&swapped).ends_with("names_swapped: adam ellis 1984 6 7"));
        assert_eq!(told(&Known { confidential: true, ..whole.clone() }), "");
        assert_eq!(told(&Known { withdrawn: true, ..whole.clone() }), "");
        let newborn = known("Baby", "Ellis", Some(5_271));
        assert_eq!(told(&newborn), "number: 9434765919; birth_sound: 5271 e420; postcode_year: RG14PA 1984");
        let nobody = known("Unknown", "Unknown", Some(5_271));
        assert_eq!(told(&nobody), "number: 9434765919; postcode_year: RG14PA 1984");
        let silent = Known { birth_date: None, ..whole };
        assert_eq!(told(&silent), "number: 9434765919");
    }
}
