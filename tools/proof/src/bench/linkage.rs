//! `./run bench linkage`: how many of those who are one person are linked, how many of those linked are one person, for whom it
//! goes wrong, and how many records a second the linker takes when it knows millions.

mod speed;

use super::Options;
use crate::report::Report;
use anyhow::Context;
use identity::{
    Known,
    estimate::estimate,
    names::Name,
    parameters::{File, Parameters},
    whole,
};
use region::linkage::{Group, Registered, population};
use std::collections::BTreeMap;
use uuid::Uuid;

pub const PEOPLE: u64 = 100_000;
/// Persons that the linker knows before its speed is measured.
pub const KNOWN: u64 = 3_000_000;
const SEED: u64 = 20_261_128;
const RANDOM_PAIRS: u32 = 1_000_000;
pub const PRECISION_MIN: f64 = 0.999;
pub const RECALL_MIN: f64 = 0.95;
const RECORDS_PER_S_MIN: f64 = 2_000.0;

pub async fn run(options: &Options, say: impl Fn(&str)) -> anyhow::Result<Report> {
    let mut report = Report::new("linkage");
    say(&format!("links a population of {PEOPLE} people"));
    let (weights, accuracy) =
        tokio::task::spawn_blocking(|| measured(PEOPLE, RANDOM_PAIRS)).await.context("the linking ended early")??;
    let parameters = parameters(&weights)?;
    let file = options.folder.join("identity.toml");
    std::fs::create_dir_all(&options.folder).context("cannot make the folder of the bench")?;
    std::fs::write(&file, weights.to_toml()).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("its weights are in {}", file.display()));
    accuracy.tell(&mut report);
    let known = options.rows.unwrap_or(KNOWN);
    let speed = speed::measure(options, known, SEED, &parameters, &say).await?;
    report.figure("known_persons", speed.known);
    report.figure("records_per_s", speed.records_per_s);
    let detail =
        format!("{:.0} records a second, {known} persons known; at least {RECORDS_PER_S_MIN:.0}", speed.records_per_s);
    report.check("records_per_s", speed.records_per_s >= RECORDS_PER_S_MIN, &detail);
    Ok(report)
}

/// Estimates weights from a population, and links it by them.
pub fn measured(people: u64, random_pairs: u32) -> anyhow::Result<(File, Accuracy)> {
    let registered = population(SEED, people);
    let members: Vec<Known> = (1..).zip(&registered).map(|(seen, record)| known(seen, record)).collect();
    let estimated = estimate(&members, "bench", random_pairs, SEED).map_err(anyhow::Error::msg)?;
    let parameters = parameters(&estimated.file)?;
    let linked = whole::link(&members, &[], Some(&parameters));
    let persons: Vec<Uuid> = linked.settlement.settled.iter().map(|settled| settled.decision.person).collect();
    let mut accuracy = Accuracy::of(&registered, &persons);
    accuracy.waiting = linked.settlement.waiting.len();
    Ok((estimated.file, accuracy))
}

fn parameters(file: &File) -> anyhow::Result<Parameters> {
    Parameters::of(file).map_err(|mistakes| anyhow::anyhow!("{}", mistakes.join("; ")))
}

/// As the linker knows it.
fn known(seen: i64, record: &Registered) -> Known {
    Known {
        source: record.source.into(),
        id: record.person.to_string(),
        seen,
        own: Uuid::from_u128(seen.cast_unsigned().into()),
        nhs_number: record.number.clone(),
        verified: record.verified,
        birth_date: Some(record.born),
        name: Name::new(Some(&record.given), Some(&record.family)),
        gender: Some(record.sex.into()),
        postcode: Some(record.postcode.clone()),
        confidential: false,
        withdrawn: false,
    }
}

/// Pairs of records: those of one person, those that are linked, and those that are both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    pub true_pairs: usize,
    pub linked: usize,
    pub right: usize,
}

impl Pairs {
    pub fn precision(self) -> f64 {
        share(self.right, self.linked)
    }

    pub fn recall(self) -> f64 {
        share(self.right, self.true_pairs)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of pairs")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[derive(Debug, Default)]
pub struct Accuracy {
    pub all: Pairs,
    /// Of pairs with a record that this befell.
    pub of: BTreeMap<Group, Pairs>,
    /// Pairs that wait for a clerk.
    pub waiting: usize,
}

impl Accuracy {
    fn of(records: &[Registered], persons: &[Uuid]) -> Self {
        let (mut truth, mut linked): (BTreeMap<u64, Vec<usize>>, BTreeMap<Uuid, Vec<usize>>) = Default::default();
        for (at, (record, person)) in records.iter().zip(persons).enumerate() {
            truth.entry(record.person).or_default().push(at);
            linked.entry(*person).or_default().push(at);
        }
        let mut accuracy = Self::default();
        let mut count = |(one, other): (usize, usize), add: &dyn Fn(&mut Pairs)| {
            add(&mut accuracy.all);
            for group in Group::ALL {
                if records[one].groups.contains(&group) || records[other].groups.contains(&group) {
                    add(accuracy.of.entry(group).or_default());
                }
            }
        };
        for pair in truth.values().flat_map(|members| pairs(members)) {
            count(pair, &|pairs| pairs.true_pairs += 1);
        }
        for pair in linked.values().flat_map(|members| pairs(members)) {
            let right = records[pair.0].person == records[pair.1].person;
            count(pair, &|pairs| {
                pairs.linked += 1;
                pairs.right += usize::from(right);
            });
        }
        accuracy
    }

    /// Links between two twins.
    pub fn false_twins(&self) -> usize {
        self.of.get(&Group::Twin).map_or(0, |pairs| pairs.linked - pairs.right)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of pairs")]
    fn tell(&self, report: &mut Report) {
        let (precision, recall) = (self.all.precision(), self.all.recall());
        report.figure("precision", precision);
        report.figure("recall", recall);
        report.figure("pairs", self.all.true_pairs as f64);
        report.figure("waiting_for_clerks", self.waiting as f64);
        for (group, pairs) in &self.of {
            report.figure(&format!("precision_{}", group.as_str()), pairs.precision());
            report.figure(&format!("recall_{}", group.as_str()), pairs.recall());
        }
        let told = format!("{precision:.5}; at least {PRECISION_MIN}");
        report.check("precision", precision >= PRECISION_MIN, &told);
        report.check("recall", recall >= RECALL_MIN, &format!("{recall:.5}; at least {RECALL_MIN}"));
        let twins = self.false_twins();
        report.check("twins", twins == 0, &format!("{twins} false links"));
    }
}

fn pairs(members: &[usize]) -> impl Iterator<Item = (usize, usize)> + '_ {
    members.iter().enumerate().flat_map(move |(at, one)| members[at + 1..].iter().map(move |other| (*one, *other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_as_a_person_would() {
        let record = |person, groups: &[Group]| Registered {
            person,
            source: "gp",
            given: String::new(),
            family: String::new(),
            born: 0,
            sex: "female",
            postcode: String::new(),
            number: None,
            verified: false,
            groups: groups.to_vec(),
        };
        let records =
            [record(1, &[]), record(1, &[Group::Moved]), record(1, &[]), record(2, &[Group::Moved]), record(2, &[])];
        let persons = [1, 1, 2, 2, 3].map(Uuid::from_u128);
        let accuracy = Accuracy::of(&records, &persons);
        assert_eq!(accuracy.all, Pairs { true_pairs: 4, linked: 2, right: 1 });
        assert_eq!(accuracy.of[&Group::Moved], Pairs { true_pairs: 3, linked: 2, right: 1 });
        assert_eq!((accuracy.all.precision(), accuracy.all.recall()), (0.5, 0.25));
    }
}
