//! Whoever writes for a person holds that person's lock, so that what a transaction reads of a
//! person's history is still so when it commits.

use crate::{ViewsError, plan::Plan};
use deadpool_postgres::Transaction;
use std::collections::{BTreeSet, HashMap};
use xxhash_rust::xxh3::xxh3_64;

/// Persons share this many locks: a large batch must fit into the server's lock table.
pub const PERSON_LOCKS: u64 = 256;
/// The first half of the locks' key. No other part of Causeway uses it.
const PERSON_LOCK_CLASS: i32 = 0x7065_7273;
/// How often a batch looks again because another writer moved one of its patients meanwhile.
const LOOKS_MAX: usize = 4;

const PERSONS: &str = "select s.source, s.patient, l.person::text \
    from unnest($1::text[], $2::text[]) as s (source, patient) \
    left join record.link l on l.source = s.source and l.patient = s.patient";

/// In one order, so that two writers cannot wait for each other.
const LOCK: &str = "select pg_advisory_xact_lock($1, n) from (select unnest($2::int4[]) as n order by 1) as wanted";

/// Source patients, with the person each is linked to.
pub type Persons = HashMap<(String, String), String>;

/// Holds the locks of the persons of the plan's patients, as they are linked now and as the plan links
/// them. Tells how they are linked now.
pub async fn persons(transaction: &Transaction<'_>, plan: &Plan) -> Result<Persons, ViewsError> {
    let patients = patients(plan);
    if patients.is_empty() {
        return Ok(Persons::new());
    }
    let (sources, ids): (Vec<&str>, Vec<&str>) = patients.into_iter().unzip();
    let read = transaction.prepare_cached(PERSONS).await?;
    let lock = transaction.prepare_cached(LOCK).await?;
    let mut held: BTreeSet<i32> = BTreeSet::new();
    for _ in 0..LOOKS_MAX {
        let mut wanted: BTreeSet<i32> =
            plan.links.iter().map(|link| number(link.person.to_string().as_bytes())).collect();
        let mut persons = Persons::new();
        for row in transaction.query(&read, &[&sources, &ids]).await? {
            let (source, patient, person): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
            match person {
                Some(person) => {
                    wanted.insert(number(person.as_bytes()));
                    persons.insert((source, patient), person);
                }
                // Linked to nobody: a person of its own.
                None => {
                    wanted.insert(number(format!("{source}/{patient}").as_bytes()));
                }
            }
        }
        let missing: Vec<i32> = wanted.difference(&held).copied().collect();
        if missing.is_empty() {
            return Ok(persons);
        }
        transaction.query(&lock, &[&PERSON_LOCK_CLASS, &missing]).await?;
        held.extend(missing);
    }
    Err(ViewsError::Unsettled)
}

fn patients(plan: &Plan) -> BTreeSet<(&str, &str)> {
    let events = [&plan.demographics, &plan.medications, &plan.allergies, &plan.conditions, &plan.encounters];
    let events = events.into_iter().flatten().chain(plan.observations.iter().map(|row| &row.event));
    events
        .map(|event| &event.patient)
        .chain(plan.links.iter().map(|link| &link.patient))
        .map(|patient| (patient.source.as_str(), patient.id.as_str()))
        .collect()
}

fn number(person: &[u8]) -> i32 {
    i32::try_from(xxh3_64(person) % PERSON_LOCKS).unwrap_or_default()
}
