//! Rows that have no room in the log: each that was committed is in the quarantine, by its key.
//!
//! An item may be there twice, under one position, after a kill between it and the log; one that is not there is a loss.

use crate::{
    log::{Fields, Schemas},
    topic::{self, decode, unframe},
    witness::Committed,
};
use anyhow::Context;
use apache_avro::types::Value;
use rdkafka::{Message, message::BorrowedMessage};
use std::collections::{BTreeSet, HashMap};
use tokio::runtime::Handle;

const TOPIC: &str = "quarantine";
const TABLE: &str = "yard.large";

/// The keys that the quarantine tells of.
pub struct Told(BTreeSet<String>);

#[derive(Debug, Default)]
pub struct Compared {
    pub told: u64,
    pub lost: u64,
    pub never_committed: u64,
    pub first: Option<String>,
}

/// Reads a source's items from the topic's start to where it ends now.
pub async fn read(brokers: &str, registry: &str, source: &str) -> anyhow::Result<Told> {
    let (brokers, source) = (brokers.to_owned(), source.to_owned());
    let mut schemas = Schemas { registry: registry.to_owned(), known: HashMap::new(), runtime: Handle::current() };
    tokio::task::spawn_blocking(move || {
        let mut told = BTreeSet::new();
        topic::read(&brokers, TOPIC, |message| {
            let key = key(&mut schemas, &source, message);
            told.extend(key.with_context(|| format!("offset {} of {TOPIC} cannot be read", message.offset()))?);
            Ok(())
        })?;
        Ok(Told(told))
    })
    .await?
}

/// None: another source's, or another table's.
fn key(schemas: &mut Schemas, source: &str, message: &BorrowedMessage<'_>) -> anyhow::Result<Option<String>> {
    // Without a value, an owner of the source opens the topic.
    let Some(payload) = message.payload() else { return Ok(None) };
    let (id, datum) = unframe(payload).context("not framed")?;
    let item = decode(schemas.get(id)?, datum)?;
    let item = Fields::of(&item).context("not an item")?;
    if item.text("source") != Some(source) || item.get("table").and_then(text) != Some(TABLE) {
        return Ok(None);
    }
    let Some(Value::Union(_, key)) = item.get("key") else { anyhow::bail!("no key") };
    let Value::Bytes(framed) = &**key else { anyhow::bail!("no key") };
    let (id, datum) = unframe(framed).context("a key that is not framed")?;
    let key = decode(schemas.get(id)?, datum)?;
    match Fields::of(&key).context("not a key")?.get("id") {
        Some(Value::Long(id)) => Ok(Some(id.to_string())),
        _ => anyhow::bail!("a key without an id"),
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Union(_, inner) => text(inner),
        Value::String(text) => Some(text),
        _ => None,
    }
}

impl Told {
    /// Takes what it stands for out of what was committed: the log does not hold it.
    pub fn compare(self, committed: &mut Vec<Committed>) -> Compared {
        let id = |change: &Committed| change.key.first().map(|(_, id)| id.clone()).unwrap_or_default();
        let large: BTreeSet<String> = committed.iter().filter(|change| change.table == TABLE).map(id).collect();
        committed.retain(|change| change.table != TABLE);
        let lost = large.difference(&self.0).count() as u64;
        let never_committed = self.0.difference(&large).count() as u64;
        let first = (lost + never_committed > 0).then(|| {
            format!("{lost} rows of {TABLE} are not in the quarantine, {never_committed} in it were not committed")
        });
        Compared { told: self.0.len() as u64, lost, never_committed, first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_quarantine_is_lost() {
        let change = |table: &str, id: &str| Committed {
            xid: 7,
            table: table.into(),
            op: 'c',
            key: vec![("id".into(), id.into())],
        };
        let mut committed = vec![change(TABLE, "1"), change("yard.row", "2"), change(TABLE, "3")];
        let told = Told(["3", "4"].map(str::to_owned).into());
        let compared = told.compare(&mut committed);
        assert_eq!((compared.told, compared.lost, compared.never_committed), (2, 1, 1));
        assert!(compared.first.is_some() && committed == [change("yard.row", "2")]);
    }
}
