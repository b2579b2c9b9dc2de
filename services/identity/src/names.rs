//! Whether two records name the same person.
//!
//! # Why
//! Twins share surname, birth date and often sex, and a clerk who copies one's NHS number onto the other makes them one
//! person. The forename tells them apart, so a forename that contradicts stops a link. What does not contradict: an
//! initial, a short form ("Dave", from `data/forenames.csv`), forename and surname in each other's place, a newborn's
//! placeholder, and whatever is missing. Two short forms of one forename, or two full forenames, do contradict: a link that
//! waits for a human is the smaller harm.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::{collections::BTreeSet, sync::LazyLock};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Each forename of the file with each of its short forms.
static SHORT_FORMS: LazyLock<BTreeSet<(&'static str, &'static str)>> = LazyLock::new(|| {
    let lines = include_str!("../data/forenames.csv").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(','))
        .flat_map(|(full, short)| short.split(',').map(move |s| (full, s)))
        .collect()
});

/// Counts what makes two names the same: what was worked out from names that were compared otherwise is worked out anew.
pub const REVISION: u32 = 2;

/// What stands where a newborn has no name yet.
const PLACEHOLDER: &str = "baby";
/// What is written for somebody whose name nobody knows, until it is.
const NOBODY: [&str; 6] = ["unknown", "unidentified", "anonymous", "unnamed", "temporary", "notknown"];
/// FHIR administrative genders that say something.
const SEXES: [&str; 3] = ["male", "female", "other"];

/// A name as it is compared: without case, marks and punctuation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    given: Vec<Vec<String>>,
    family: String,
}

impl Name {
    pub fn new(given: Option<&str>, family: Option<&str>) -> Self {
        let words = |word: &str| -> Vec<String> {
            word.split(is_hyphen).map(letters).filter(|part| !part.is_empty()).collect()
        };
        Self {
            given: given.unwrap_or_default().split_whitespace().map(words).filter(|parts| !parts.is_empty()).collect(),
            family: letters(family.unwrap_or_default()),
        }
    }

    /// The first forename, its parts in a row; empty where there is none.
    pub fn forename(&self) -> String {
        self.given.first().map(|parts| parts.concat()).unwrap_or_default()
    }

    pub fn family(&self) -> &str {
        &self.family
    }

    /// No name of anybody: it was written until one is known.
    pub fn temporary(&self) -> bool {
        NOBODY.contains(&self.forename().as_str()) || NOBODY.contains(&self.family.as_str())
    }

    /// A newborn's, who has no name yet.
    pub fn placeholder(&self) -> bool {
        self.given.first().and_then(|first| first.first()).is_some_and(|word| word == PLACEHOLDER)
    }

    /// The parts of all forenames in a row: `Mary-Anne` is `Mary Anne`.
    fn parts(&self) -> Vec<&str> {
        self.given.iter().flatten().map(String::as_str).collect()
    }

    /// How many parts the first forename has.
    fn first(&self) -> usize {
        self.given.first().map_or(0, Vec::len)
    }
}

fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}' | '\u{2011}' | '\u{2013}')
}

/// Letters alone, in lower case, without their marks. By way of capitals, for a source may have nothing else: `ß` is `SS`
/// there, both sigmas are one, and `ı` is `I`.
fn letters(text: &str) -> String {
    let capitals = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_uppercase).map(without_stroke);
    capitals.flat_map(char::to_lowercase).filter(|c| c.is_alphabetic()).collect()
}

/// The letters that Unicode calls "with stroke": it takes them for letters of their own, which have no parts.
const fn without_stroke(capital: char) -> char {
    match capital {
        'Ł' => 'L',
        'Ø' => 'O',
        'Đ' => 'D',
        'Ħ' => 'H',
        'Ŧ' => 'T',
        other => other,
    }
}

/// Whether the forenames of two sources' records cannot be one person's.
pub fn contradict(one: &Name, other: &Name) -> bool {
    if one.given.is_empty() || other.given.is_empty() || one.placeholder() || other.placeholder() {
        return false;
    }
    let (parts, others) = (one.parts(), other.parts());
    let told = one.first().max(other.first());
    let agree = parts.iter().zip(&others).take(told).all(|(part, other)| one_name(part, other));
    !(agree || swapped(one, other))
}

/// Forename and surname in each other's place.
fn swapped(one: &Name, other: &Name) -> bool {
    let begins = |name: &Name, family: &str| {
        !family.is_empty()
            && (name.parts().concat() == family || name.given.first().is_some_and(|f| f.concat() == family))
    };
    begins(one, &other.family) && begins(other, &one.family)
}

/// The same, an initial, or a short form.
fn one_name(one: &str, other: &str) -> bool {
    one == other || initials(one, other) || short_forms(one, other)
}

/// One is the other's first letter.
fn initials(one: &str, other: &str) -> bool {
    let initial = |short: &str, long: &str| short.chars().count() == 1 && long.starts_with(short);
    initial(one, other) || initial(other, one)
}

fn short_forms(one: &str, other: &str) -> bool {
    SHORT_FORMS.contains(&(one, other)) || SHORT_FORMS.contains(&(other, one))
}

/// How the forenames of two records stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forenames {
    Same,
    ShortForm,
    Initial,
    /// Forename and surname in each other's place.
    Swapped,
    Differ,
}

/// None where one of them tells no forename.
pub fn forenames(one: &Name, other: &Name) -> Option<Forenames> {
    let silent = |name: &Name| name.given.is_empty() || name.placeholder() || name.temporary();
    if silent(one) || silent(other) {
        return None;
    }
    let (parts, others) = (one.parts(), other.parts());
    let told = one.first().max(other.first());
    let all =
        |agree: fn(&str, &str) -> bool| parts.iter().zip(&others).take(told).all(|(part, other)| agree(part, other));
    Some(if all(|one, other| one == other) {
        Forenames::Same
    } else if swapped(one, other) {
        Forenames::Swapped
    } else if all(|one, other| one == other || short_forms(one, other)) {
        Forenames::ShortForm
    } else if all(one_name) {
        Forenames::Initial
    } else {
        Forenames::Differ
    })
}

/// Whether two records of one source name one person: both say all of it, and nothing differs.
pub fn agree(one: &Name, other: &Name) -> bool {
    let told = |name: &Name| !name.given.is_empty() && !name.family.is_empty() && !name.placeholder();
    told(one)
        && told(other)
        && one.family == other.family
        && one.parts().iter().zip(&other.parts()).all(|(part, other)| part == other)
}

fn sex(gender: Option<&str>) -> Option<&str> {
    gender.filter(|gender| SEXES.contains(gender))
}

/// Whether both are told and differ. A word that is no FHIR code, or `unknown`, tells nothing.
pub fn sexes_contradict(one: Option<&str>, other: Option<&str>) -> bool {
    sex(one).zip(sex(other)).is_some_and(|(one, other)| one != other)
}

pub fn sexes_agree(one: Option<&str>, other: Option<&str>) -> bool {
    sex(one).zip(sex(other)).is_some_and(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        let (given, family) = text.split_once('/').unwrap_or((text, ""));
        Name::new(Some(given), Some(family))
    }

    #[test]
    fn forenames_of_two_sources() {
        for (one, other, contradicts) in [
            ("Adam/Twin", "Beth/Twin", true),
            ("Adam/Twin", "ADAM/TWIN", false),
            ("José/Núñez", "Jose/Nunez", false),
            // The same letters, composed otherwise.
            ("Zoë/A", "Zoe\u{308}/A", false),
            ("D/Ellis", "David/Ellis", false),
            ("D./Ellis", "David John/Ellis", false),
            ("B/Twin", "Adam/Twin", true),
            ("David John/Ellis", "David William/Ellis", false),
            ("John David/Ellis", "David/Ellis", true),
            ("Mary-Anne/Ellis", "Mary Anne/Ellis", false),
            ("Mary-Anne/Ellis", "Mary/Ellis", false),
            ("Mary-Anne/Ellis", "Mary-Jane/Ellis", true),
            ("Mary-Anne/Ellis", "Mary Jane/Ellis", true),
            ("O'Shea/A", "OShea/A", false),
            ("Ellis/David", "David/Ellis", false),
            ("Ellis/David", "Adam/Ellis", true),
            ("Mary Anne/Ellis", "Ellis/Mary-Anne", false),
            ("Baby/Twin", "Adam/Twin", false),
            ("Baby of Joan/Twin", "Adam/Twin", false),
            ("BABY BOY/Twin", "Adam/Twin", false),
            ("Babysitter/Twin", "Adam/Twin", true),
            ("/Twin", "Adam/Twin", false),
            ("---/Twin", "Adam/Twin", false),
            ("Dave/Ellis", "David/Ellis", false),
            ("Elizabeth/Ellis", "BETH/Ellis", false),
            ("Bill James/Ellis", "William/Ellis", false),
            ("Beth/Ellis", "Betty/Ellis", true),
            ("Hannah/Ellis", "Anna/Ellis", true),
            ("Dave/Ellis", "Daniel/Ellis", true),
            // Another surname is marriage.
            ("Joan/Ellis", "Joan/Smith", false),
            ("Łukasz/Nowak", "LUKASZ/Nowak", false),
            ("Søren/A", "Soren/A", false),
            ("Işıl/A", "IŞIL/A", false),
            ("Γιώργος/A", "ΓΙΩΡΓΟΣ/A", false),
            ("Jörg/A", "Joerg/A", true),
            ("李/王", "李/王", false),
            ("李/王", "明/王", true),
        ] {
            assert_eq!(contradict(&name(one), &name(other)), contradicts, "{one} and {other}");
            assert_eq!(contradict(&name(other), &name(one)), contradicts, "{other} and {one}");
        }
    }

    #[test]
    fn the_file_of_short_forms_is_as_names_are_compared() {
        assert!(SHORT_FORMS.len() > 300, "{}", SHORT_FORMS.len());
        for (full, short) in SHORT_FORMS.iter() {
            assert!(letters(full) == *full && letters(short) == *short && full != short, "{full},{short}");
        }
    }

    #[test]
    fn names_of_one_source() {
        for (one, other, same) in [
            ("Adam/Twin", "adam/TWIN", true),
            ("Adam/Twin", "Adam James/Twin", true),
            ("Adam James/Twin", "Adam John/Twin", false),
            ("Adam/Twin", "Adam/Other", false),
            ("A/Twin", "Adam/Twin", false),
            ("Dave/Twin", "David/Twin", false),
            ("Twin/Adam", "Adam/Twin", false),
            ("Baby/Twin", "Baby/Twin", false),
            ("/Twin", "/Twin", false),
            ("Adam/", "Adam/", false),
        ] {
            assert_eq!(agree(&name(one), &name(other)), same, "{one} and {other}");
            assert_eq!(agree(&name(other), &name(one)), same, "{other} and {one}");
        }
    }

    #[test]
    fn sexes() {
        for (one, other, contradicts, agrees) in [
            (Some("male"), Some("female"), true, false),
            (Some("male"), Some("male"), false, true),
            (Some("male"), Some("other"), true, false),
            (Some("male"), Some("unknown"), false, false),
            (Some("unknown"), Some("unknown"), false, false),
            (Some("X"), Some("male"), false, false),
            (None, Some("male"), false, false),
        ] {
            assert_eq!(sexes_contradict(one, other), contradicts, "{one:?} {other:?}");
            assert_eq!(sexes_agree(one, other), agrees, "{one:?} {other:?}");
        }
    }
}
