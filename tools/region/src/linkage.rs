//! A population to link: people as several sources register them, with the errors that registration makes.
//!
//! # Why
//! Linkage is only as good as it is for those whom errors fall on: twins, people who married, moved, or whose names are
//! written in several ways. So each record says which of these it is, and figures are told for each. Names that few bear are
//! made of syllables, common ones are listed with how common they are; nobody here is anybody.

use crate::person::{PEOPLE_MAX, nhs_number, rng};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// What befell a record, or its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    Twin,
    Moved,
    Married,
    Typo,
    SwappedNames,
    WrongDate,
    NoNumber,
    Transliterated,
    Newborn,
}

impl Group {
    pub const ALL: [Self; 9] = [
        Self::Twin,
        Self::Moved,
        Self::Married,
        Self::Typo,
        Self::SwappedNames,
        Self::WrongDate,
        Self::NoNumber,
        Self::Transliterated,
        Self::Newborn,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Twin => "twin",
            Self::Moved => "moved",
            Self::Married => "married",
            Self::Typo => "typo",
            Self::SwappedNames => "swapped_names",
            Self::WrongDate => "wrong_date",
            Self::NoNumber => "no_number",
            Self::Transliterated => "transliterated",
            Self::Newborn => "newborn",
        }
    }
}

/// A patient of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Who it is.
    pub person: u64,
    pub source: &'static str,
    pub given: String,
    pub family: String,
    /// Days since 1970-01-01.
    pub born: i32,
    pub sex: &'static str,
    pub postcode: String,
    pub number: Option<String>,
    pub verified: bool,
    pub groups: Vec<Group>,
}

/// Per mille of records, or of people where said.
mod rate {
    /// Of people: half of them the second of a pair.
    pub const TWINS: u32 = 30;
    pub const MOVED: u32 = 350;
    /// Of women's further records.
    pub const MARRIED: u32 = 40;
    /// Of each name.
    pub const TYPO: u32 = 6;
    pub const SWAPPED_NAMES: u32 = 2;
    pub const WRONG_DATE: u32 = 2;
    pub const NO_NUMBER: u32 = 60;
    pub const NOT_VERIFIED: u32 = 30;
    pub const NO_POSTCODE: u32 = 20;
    /// Of people whose forename is written in several ways: another way in a further record.
    pub const TRANSLITERATED: u32 = 300;
    pub const NEWBORN: u32 = 1;
}

const SOURCES: [(&str, u32); 3] = [("gp", 920), ("hospital", 600), ("eye", 250)];

/// Each with the ways in which it is written.
const GIVEN: [&[&str]; 72] = [
    &["Oliver"],
    &["George"],
    &["Noah"],
    &["Arthur"],
    &["Harry"],
    &["Leo"],
    &["Jack"],
    &["Charlie"],
    &["Oscar"],
    &["Jacob"],
    &["Henry"],
    &["Thomas"],
    &["Freddie"],
    &["Alfie"],
    &["Theo"],
    &["William"],
    &["Theodore"],
    &["Archie"],
    &["Joshua"],
    &["Alexander"],
    &["James"],
    &["Isaac"],
    &["Edward"],
    &["Lucas"],
    &["Tommy"],
    &["Finley"],
    &["Max"],
    &["Logan"],
    &["Ethan"],
    &["Samuel"],
    &["Peter"],
    &["Brian"],
    &["Kevin"],
    &["Colin"],
    &["Mohammed", "Muhammad", "Mohamed"],
    &["Yusuf", "Yousef"],
    &["Olivia"],
    &["Amelia"],
    &["Isla"],
    &["Ava"],
    &["Mia"],
    &["Ivy"],
    &["Lily"],
    &["Isabella"],
    &["Rosie"],
    &["Sophia"],
    &["Grace"],
    &["Freya"],
    &["Willow"],
    &["Florence"],
    &["Emily"],
    &["Ella"],
    &["Poppy"],
    &["Evie"],
    &["Elsie"],
    &["Charlotte"],
    &["Evelyn"],
    &["Sienna"],
    &["Sofia"],
    &["Daisy"],
    &["Phoebe"],
    &["Sophie"],
    &["Alice"],
    &["Harriet"],
    &["Margaret"],
    &["Susan"],
    &["Carol"],
    &["Janet"],
    &["Deborah"],
    &["Joyce"],
    &["Aisha", "Ayesha"],
    &["Olena", "Elena"],
];
const MEN: usize = 36;
/// With how many of a thousand bear each.
const COMMON: [(&str, u32); 12] = [
    ("Smith", 14),
    ("Jones", 11),
    ("Patel", 9),
    ("Khan", 8),
    ("Williams", 8),
    ("Taylor", 7),
    ("Davies", 6),
    ("Brown", 6),
    ("Singh", 6),
    ("Wilson", 5),
    ("Evans", 5),
    ("Ahmed", 5),
];
const BEGINNINGS: [&str; 40] = [
    "Ash", "Bar", "Brad", "Cal", "Carl", "Chad", "Cor", "Dal", "Dun", "Ed", "Fair", "Farn", "Gar", "Glen", "Hal",
    "Ham", "Har", "Hart", "Hol", "Kel", "Ken", "Lang", "Lin", "Mar", "Mel", "Nor", "Old", "Pem", "Pres", "Rad", "Red",
    "Ros", "Sel", "Stan", "Thorn", "Tor", "Wal", "Wen", "Whit", "Win",
];
const MIDDLES: [&str; 12] = ["", "der", "den", "ing", "er", "es", "bor", "mer", "ter", "wor", "chel", "ling"];
const ENDINGS: [&str; 16] = [
    "ton", "ford", "ley", "by", "ham", "worth", "field", "wood", "well", "combe", "stone", "burn", "gate", "man",
    "son", "ridge",
];
const AREAS: [&str; 12] = ["RG", "OX", "SN", "GL", "BS", "BA", "SP", "SO", "GU", "HP", "SL", "MK"];

/// The records of the first people, person by person.
pub fn population(seed: u64, people: u64) -> Vec<Registered> {
    (0..people).flat_map(|person| registered(seed, person)).collect()
}

/// The records of one person: one at least.
pub fn registered(seed: u64, person: u64) -> Vec<Registered> {
    let truth = truth(seed, person);
    let mut rng = rng(seed ^ 0x6c69_6e6b, person);
    let mut sources: Vec<&'static str> =
        SOURCES.iter().filter(|(_, share)| chance(&mut rng, *share)).map(|(source, _)| *source).collect();
    if sources.is_empty() {
        sources.push(SOURCES[0].0);
    }
    sources.into_iter().enumerate().map(|(nth, source)| told(&mut rng, &truth, source, nth > 0)).collect()
}

fn chance(rng: &mut StdRng, per_mille: u32) -> bool {
    rng.random_range(0..1_000) < per_mille
}

struct Truth {
    record: Registered,
    /// The ways in which the forename is written.
    written: &'static [&'static str],
}

/// Who it is. The second of two twins is who the first is, but for the forename and the number.
fn truth(seed: u64, person: u64) -> Truth {
    let twin_of = |first: u64| first.is_multiple_of(2) && chance(&mut rng(seed ^ 0x7477_696e, first), rate::TWINS);
    let (first, second) = (person - person % 2, person % 2 == 1);
    let twins = twin_of(first);
    let mut own = rng(seed, person);
    let mut shared = if twins && second { rng(seed, first) } else { rng(seed, person) };
    let female = shared.random_bool(0.51);
    let family = surname(&mut shared);
    let born = 20_500 - shared.random_range(1..33_000);
    let postcode = postcode(&mut shared);
    let names = if female { &GIVEN[MEN..] } else { &GIVEN[..MEN] };
    let of_first = twins.then(|| names.choose(&mut rng(seed ^ 1, first)).copied().unwrap_or_default());
    let mut written = if second { None } else { of_first };
    while written.is_none_or(|written| second && Some(written) == of_first) {
        written = Some(names.choose(&mut own).copied().unwrap_or_default());
    }
    let written = written.unwrap_or_default();
    let record = Registered {
        person,
        source: "",
        given: written.first().copied().unwrap_or_default().to_owned(),
        family,
        born,
        sex: if female { "female" } else { "male" },
        postcode,
        number: (person < PEOPLE_MAX).then(|| nhs_number(person)),
        verified: person < PEOPLE_MAX,
        groups: if twins { vec![Group::Twin] } else { Vec::new() },
    };
    Truth { record, written }
}

fn surname(rng: &mut StdRng) -> String {
    let mut at = rng.random_range(0..1_000);
    for (name, share) in COMMON {
        if at < share {
            return name.to_owned();
        }
        at -= share;
    }
    let part = |rng: &mut StdRng, parts: &[&'static str]| parts.choose(rng).copied().unwrap_or_default();
    format!("{}{}{}", part(rng, &BEGINNINGS), part(rng, &MIDDLES), part(rng, &ENDINGS))
}

fn postcode(rng: &mut StdRng) -> String {
    let area = AREAS.choose(rng).copied().unwrap_or_default();
    let letter = |rng: &mut StdRng| char::from(rng.random_range(b'A'..=b'Z'));
    format!("{area}{} {}{}{}", rng.random_range(1..30), rng.random_range(1..10), letter(rng), letter(rng))
}

/// As a source has it. `further`: it is not the person's first record, so time has passed.
fn told(rng: &mut StdRng, truth: &Truth, source: &'static str, further: bool) -> Registered {
    let mut told = Registered { source, ..truth.record.clone() };
    let befalls = |rng: &mut StdRng, told: &mut Registered, group, per_mille| {
        let befallen = chance(rng, per_mille);
        if befallen {
            told.groups.push(group);
        }
        befallen
    };
    if further && befalls(rng, &mut told, Group::Moved, rate::MOVED) {
        told.postcode = postcode(rng);
    }
    if further && told.sex == "female" && befalls(rng, &mut told, Group::Married, rate::MARRIED) {
        told.family = surname(rng);
    }
    if further && truth.written.len() > 1 && befalls(rng, &mut told, Group::Transliterated, rate::TRANSLITERATED) {
        told.given = truth.written[1..].choose(rng).copied().unwrap_or_default().to_owned();
    }
    if befalls(rng, &mut told, Group::Typo, rate::TYPO) {
        told.given = typo(rng, &told.given);
    }
    if befalls(rng, &mut told, Group::Typo, rate::TYPO) {
        told.family = typo(rng, &told.family);
    }
    if befalls(rng, &mut told, Group::SwappedNames, rate::SWAPPED_NAMES) {
        std::mem::swap(&mut told.given, &mut told.family);
    }
    if befalls(rng, &mut told, Group::WrongDate, rate::WRONG_DATE) {
        told.born += [1, -1, 30, 365, 3_652][rng.random_range(0..5)];
    }
    if befalls(rng, &mut told, Group::Newborn, rate::NEWBORN) {
        told.given = "Baby".into();
    }
    if befalls(rng, &mut told, Group::NoNumber, rate::NO_NUMBER) {
        (told.number, told.verified) = (None, false);
    } else if befalls(rng, &mut told, Group::NoNumber, rate::NOT_VERIFIED) {
        told.verified = false;
    }
    if chance(rng, rate::NO_POSTCODE) {
        told.postcode = String::new();
    }
    told
}

/// One letter left out, doubled, another, or in its neighbour's place.
fn typo(rng: &mut StdRng, name: &str) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    if letters.len() < 3 {
        return name.to_owned();
    }
    let at = rng.random_range(1..letters.len() - 1);
    match rng.random_range(0..4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters[at] = char::from(rng.random_range(b'a'..=b'z')),
        _ => letters.swap(at, at + 1),
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_population_is_the_same_for_a_seed_and_holds_every_error() {
        let people = population(7, 6_000);
        assert_eq!(people, population(7, 6_000));
        assert_ne!(people, population(8, 6_000));
        let mut groups: BTreeMap<Group, usize> = BTreeMap::new();
        people.iter().flat_map(|record| &record.groups).for_each(|group| *groups.entry(*group).or_default() += 1);
        assert_eq!(groups.keys().copied().collect::<BTreeSet<_>>(), Group::ALL.into());
        let persons: BTreeSet<u64> = people.iter().map(|record| record.person).collect();
        assert_eq!(persons.len(), 6_000);
        assert!((9_000..13_000).contains(&people.len()), "{}", people.len());
    }

    #[test]
    fn twins_share_all_but_forename_and_number() {
        let mut pairs = 0;
        for first in (0..4_000).step_by(2) {
            let (one, other) = (truth(7, first).record, truth(7, first + 1).record);
            assert_eq!(one.groups, other.groups, "both are twins, or neither");
            if one.groups.contains(&Group::Twin) {
                pairs += 1;
                let home =
                    |record: &Registered| (record.family.clone(), record.born, record.postcode.clone(), record.sex);
                assert_eq!(home(&one), home(&other));
                assert!(one.given != other.given && one.number != other.number);
            }
        }
        assert!((30..100).contains(&pairs), "{pairs}");
    }
}
