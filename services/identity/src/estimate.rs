//! Estimating the file of weights from what a site knows.
//!
//! # Why
//! `u` is counted among random pairs, which are hardly ever one person's. `m` is found by expectation and maximisation among
//! pairs that agree on a block, twice, with blocks of different fields: a field that a block agrees on tells nothing there.
//! The prior is counted from verified numbers, made up for those that bear none. Names that few bear are not written down:
//! they would name people. The same records in the same order give the same file.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{
    Known,
    compare::{Field, Levels, compare},
    linking_number,
    parameters::{Bands, File, NAMES_MAX, Rates},
    weight::Share,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

/// Fewer records than these tell too little.
pub const RECORDS_MIN: usize = 1_000;
pub const RANDOM_PAIRS: u32 = 1_000_000;
/// Pairs of one training.
pub const TRAINING_PAIRS_MAX: usize = 2_000_000;
const ROUNDS_MAX: usize = 25;
const CHANGE_MIN: f64 = 1e-4;
/// A name that fewer records bear is not written down.
pub const BEARERS_MIN: usize = 20;
/// 999 to 1, and even odds.
const LINK_BITS: &str = "10";
const CLERICAL_BITS: &str = "0";

/// How often each pattern of levels was seen.
type Patterns = BTreeMap<Levels, f64>;
/// Of each field, of each level.
type Rows = [Vec<f64>; Field::COUNT];

#[derive(Debug)]
pub struct Estimated {
    pub file: File,
    /// Rounds of each training, and pairs.
    pub trainings: [(usize, usize); 2],
}

/// `random_pairs`: of which `u` is counted.
pub fn estimate(known: &[Known], version: &str, random_pairs: u32, seed: u64) -> Result<Estimated, String> {
    let known: Vec<&Known> = known.iter().filter(|known| !known.withdrawn && !known.confidential).collect();
    if known.len() < RECORDS_MIN {
        return Err(format!(
            "{} records are known that may be linked by weight; at least {RECORDS_MIN} are needed",
            known.len()
        ));
    }
    let u = unmatched(&known, random_pairs, seed);
    let by_birth = |known: &Known| known.birth_date.map(|date| date.to_string());
    let by_name = |known: &Known| {
        let (given, family) = (known.name.forename(), known.name.family());
        (!given.is_empty() && !family.is_empty()).then(|| format!("{given} {family}"))
    };
    let both = [Field::Postcode, Field::Sex, Field::Number];
    let names = [Field::Given, Field::Family];
    let first = train(&patterns(&known, by_birth), &[&names[..], &both].concat(), &u);
    let second = train(&patterns(&known, by_name), &[&[Field::Birth][..], &both].concat(), &u);
    let m = Field::ALL.map(|field| {
        let at = field as usize;
        match field {
            Field::Given | Field::Family => first.m[at].clone(),
            Field::Birth => second.m[at].clone(),
            _ => first.m[at].iter().zip(&second.m[at]).map(|(one, other)| (one + other) / 2.0).collect(),
        }
    });
    let records = as_float(known.len());
    let file = File {
        version: version.to_owned(),
        prior: Share::near(prior(&known)).to_string(),
        frequency_min: Share::near(as_float(BEARERS_MIN) / records).to_string(),
        bands: Bands { link: LINK_BITS.into(), clerical: CLERICAL_BITS.into() },
        field: Field::ALL.into_iter().map(|field| (field.as_str().to_owned(), rates(field, &m, &u))).collect(),
        frequency: [
            ("given".to_owned(), frequencies(known.iter().map(|known| known.name.forename()), records)),
            ("family".to_owned(), frequencies(known.iter().map(|known| known.name.family().to_owned()), records)),
        ]
        .into(),
    };
    Ok(Estimated { file, trainings: [(first.rounds, first.pairs), (second.rounds, second.pairs)] })
}

fn rates(field: Field, m: &Rows, u: &Rows) -> BTreeMap<String, Rates> {
    let levels = field.levels().iter().zip(m[field as usize].iter().zip(&u[field as usize]));
    let share = |share: &f64| Share::near(*share).to_string();
    levels.map(|(level, (m, u))| ((*level).to_owned(), Rates { m: share(m), u: share(u) })).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of records")]
const fn as_float(count: usize) -> f64 {
    count as f64
}

/// The shares of levels; one that was never seen is seen half a time.
fn shares(counts: &[f64]) -> Vec<f64> {
    let total: f64 = counts.iter().map(|count| count + 0.5).sum();
    counts.iter().map(|count| (count + 0.5) / total).collect()
}

fn empty() -> Rows {
    Field::ALL.map(|field| vec![0.0; field.levels().len()])
}

/// `SplitMix64`, by its published constants.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        usize::try_from((u128::from(z) * (bound as u128)) >> 64).unwrap_or(0)
    }
}

/// How often two records of different people are at each level.
fn unmatched(known: &[&Known], pairs: u32, seed: u64) -> Rows {
    let (mut random, mut counts) = (Random(seed), empty());
    for _ in 0..pairs {
        let (one, other) = (random.below(known.len()), random.below(known.len()));
        if one != other {
            let levels = compare(known[one], known[other]);
            for field in Field::ALL {
                if let Some(level) = levels.get(field) {
                    counts[field as usize][level] += 1.0;
                }
            }
        }
    }
    counts.map(|counts| shares(&counts))
}

/// The pairs that agree on a key. Where there are too many, of each block only as many as keep within the maximum.
fn patterns(known: &[&Known], key: impl Fn(&Known) -> Option<String>) -> Patterns {
    let mut blocks: BTreeMap<String, Vec<&Known>> = BTreeMap::new();
    for record in known {
        if let Some(key) = key(record) {
            blocks.entry(key).or_default().push(record);
        }
    }
    let all: usize = blocks.values().map(|block| block.len() * (block.len() - 1) / 2).sum();
    let step = all.div_ceil(TRAINING_PAIRS_MAX).max(1);
    let mut patterns = Patterns::new();
    let pairs = blocks.values().flat_map(|block| {
        block.iter().enumerate().flat_map(move |(at, one)| block[at + 1..].iter().map(move |other| (*one, *other)))
    });
    for (one, other) in pairs.step_by(step) {
        *patterns.entry(compare(one, other)).or_insert(0.0) += 1.0;
    }
    patterns
}

struct Trained {
    m: Rows,
    rounds: usize,
    pairs: usize,
}

/// Expectation and maximisation over patterns: `u` stays as it was counted.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of pairs")]
fn train(patterns: &Patterns, fields: &[Field], u: &Rows) -> Trained {
    let total: f64 = patterns.values().sum();
    let mut m = Field::ALL.map(|field| {
        let levels = field.levels().len();
        (0..levels).map(|level| if level == 0 { 0.9 } else { 0.1 / as_float(levels - 1) }).collect::<Vec<f64>>()
    });
    let (mut matched, mut rounds) = (0.1, 0);
    for round in 1..=ROUNDS_MAX {
        rounds = round;
        let (mut counts, mut sum) = (empty(), 0.0);
        for (levels, count) in patterns {
            let told = || fields.iter().filter_map(|field| Some((*field as usize, levels.get(*field)?)));
            let same = told().fold(matched, |odds, (field, level)| odds * m[field][level]);
            let others = told().fold(1.0 - matched, |odds, (field, level)| odds * u[field][level]);
            let share = count * same / (same + others);
            sum += share;
            told().for_each(|(field, level)| counts[field][level] += share);
        }
        let mut change = (sum / total - matched).abs();
        matched = (sum / total).clamp(1e-9, 1.0 - 1e-9);
        for field in fields {
            let after = shares(&counts[*field as usize]);
            let before = &mut m[*field as usize];
            change = after.iter().zip(before.iter()).fold(change, |most, (one, other)| most.max((one - other).abs()));
            *before = after;
        }
        if change < CHANGE_MIN {
            break;
        }
    }
    Trained { m, rounds, pairs: total as usize }
}

/// The share of all pairs that are one person's: those of one verified number, made up for records that bear none.
fn prior(known: &[&Known]) -> f64 {
    let mut bearers: HashMap<&str, usize> = HashMap::new();
    for number in known.iter().filter_map(|known| linking_number(known)) {
        *bearers.entry(number).or_default() += 1;
    }
    let pairs = |count: usize| as_float(count) * (as_float(count) - 1.0) / 2.0;
    let mut counts: Vec<usize> = bearers.values().copied().collect();
    counts.sort_unstable();
    let numbered: usize = counts.iter().sum();
    let found: f64 = counts.into_iter().map(pairs).sum();
    let told = as_float(numbered) / as_float(known.len());
    // At least one pair: without any number nobody can count them.
    (found / (told * told).max(1e-6)).max(1.0) / pairs(known.len())
}

/// The commonest names, and the share of records that bear each.
fn frequencies(names: impl Iterator<Item = String>, records: f64) -> BTreeMap<String, String> {
    let mut bearers: BTreeMap<String, usize> = BTreeMap::new();
    for name in names.filter(|name| !name.is_empty()) {
        *bearers.entry(name).or_default() += 1;
    }
    let mut common: Vec<(String, usize)> = bearers.into_iter().filter(|(_, count)| *count >= BEARERS_MIN).collect();
    common.sort_by_key(|(name, count)| (Reverse(*count), name.clone()));
    common.truncate(NAMES_MAX);
    common.into_iter().map(|(name, count)| (name, Share::near(as_float(count) / records).to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::Name, parameters::Parameters};
    use uuid::Uuid;

    /// Two records of each of 1,500 people, of which one in ten has another surname in the second.
    fn people() -> Vec<Known> {
        let mut random = Random(7);
        let mut records = Vec::new();
        for person in 0..1_500_usize {
            let letters = |value: usize| -> String {
                [value, value / 26, value / 676]
                    .iter()
                    .map(|v| char::from(b'a' + u8::try_from(v % 26).unwrap_or(0)))
                    .collect()
            };
            let (given, family) = (random.below(60), 500 + random.below(300));
            let date = i32::try_from(random.below(20_000)).expect("a day");
            for copy in 0..2_usize {
                let family = if copy == 1 && person % 10 == 0 { family + 400 } else { family };
                records.push(Known {
                    source: ["gp", "hospital"][copy].into(),
                    id: person.to_string(),
                    own: Uuid::from_u128(1),
                    nhs_number: (person % 2 == 0).then(|| format!("{person:010}")),
                    verified: true,
                    name: Name::new(Some(&letters(given * 7)), Some(&letters(family * 11))),
                    birth_date: Some(date),
                    ..Known::default()
                });
            }
        }
        records
    }

    #[test]
    fn what_was_put_in_is_found_again_and_the_same_each_time() {
        let records = people();
        let estimated = estimate(&records, "1", 50_000, 3).expect("enough");
        assert_eq!(estimated.file.to_toml(), estimate(&records, "1", 50_000, 3).expect("enough").file.to_toml());
        Parameters::of(&estimated.file).expect("a good file");
        let rate = |field: &str, level: &str| {
            let rates = &estimated.file.field[field][level];
            (rates.m.parse::<f64>().expect("m"), rates.u.parse::<f64>().expect("u"))
        };
        let near = |got: f64, want: f64, by: f64| assert!((got - want).abs() < by, "{got}, not {want}");
        near(rate("family", "exact").0, 0.9, 0.02);
        near(rate("given", "exact").0, 1.0, 0.02);
        near(rate("birth_date", "exact").0, 1.0, 0.02);
        near(rate("given", "exact").1, 1.0 / 60.0, 0.01);
        // Half bear a number: 750 pairs are seen, and taken for 3,000 times a half, which is what there is.
        let prior: f64 = estimated.file.prior.parse().expect("a share");
        near(prior * 3_000.0 * 2_999.0 / 2.0, 3_000.0, 1.0);
        assert!(estimated.trainings.iter().all(|(rounds, pairs)| (2..=ROUNDS_MAX).contains(rounds) && *pairs > 1_000));
    }

    #[test]
    fn rare_names_are_not_written_down_and_few_records_are_too_few() {
        let mut records = people();
        records[0].name = Name::new(Some("Zebedee"), Some("Quux"));
        let file = estimate(&records, "1", 1_000, 3).expect("enough").file;
        assert!(!file.frequency["given"].contains_key("zebedee") && !file.frequency["given"].is_empty());
        let bearers = |name: &str| records.iter().filter(|known| known.name.forename() == name).count();
        assert!(file.frequency["given"].keys().all(|name| bearers(name) >= BEARERS_MIN));
        let told = estimate(&records[..RECORDS_MIN - 1], "1", 1_000, 3).expect_err("too few");
        assert!(told.starts_with("999 records are known"), "{told}");
    }
}
