//! The tables of a source that wait with records of the log for a topic of their own, each with an offset of its own.
//!
//! # Why
//! The other tables go on, and their topics say how far. What a table waits with is in the log alone, from one offset on:
//! without a note of it, whoever starts next could not tell which table lacks what the log does not hold any more. So it is
//! noted before anything behind that offset counts as written. How far the others are is noted from time to time: of a source
//! where nothing happens no record would say so, while the log drops what its topics have.

use super::{
    SignalError,
    register::{self, Entry},
};
use crate::KafkaSettings;
use serde::{Deserialize, Serialize};

/// Tables that wait at a time.
pub const WAITING_MAX: usize = 2_000;

/// A table that waits. Logical messages have no schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    pub schema: String,
    pub name: String,
    /// The first record of the log that its topic lacks.
    pub offset: i64,
    /// When the log took it, milliseconds since the epoch.
    pub since: i64,
}

impl Waiting {
    fn is_of(&self, other: &Self) -> bool {
        (&self.schema, &self.name) == (&other.schema, &other.name)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tables {
    pub tables: Vec<Waiting>,
    /// Everything in the log before this offset is in the topics, but for what tables wait with.
    pub settled: i64,
}

impl Entry for Tables {
    const HEARD: bool = false;

    fn bounded(&self) -> bool {
        self.tables.len() <= WAITING_MAX
    }
}

impl Tables {
    /// False: there is no room.
    fn add(&mut self, table: &Waiting) -> bool {
        match self.tables.iter_mut().find(|known| known.is_of(table)) {
            Some(known) if known.offset <= table.offset => {}
            Some(known) => known.clone_from(table),
            None => self.tables.push(table.clone()),
        }
        self.bounded()
    }

    /// What the topic lacks before this offset does not count any more.
    fn begin_again(&mut self, table: &Waiting) {
        self.tables.iter_mut().filter(|known| known.is_of(table)).for_each(|known| known.clone_from(table));
    }

    fn strike(&mut self, struck: &[Waiting]) {
        self.tables.retain(|known| !struck.contains(known));
    }
}

/// The source's tables that wait, and how far the others are at least.
pub async fn read(kafka: &KafkaSettings, source: &str) -> Result<Tables, SignalError> {
    register::read(kafka, &key(source)).await
}

/// The tables that do not wait are this far.
pub async fn settle(kafka: &KafkaSettings, source: &str, settled: i64) -> Result<(), SignalError> {
    let settle = |tables: &mut Tables| {
        tables.settled = tables.settled.max(settled);
        Ok(())
    };
    register::change(kafka, &key(source), settle).await.map(drop)
}

/// Notes that the table waits; one that is noted keeps its first offset. Returns all that is noted.
pub async fn add(kafka: &KafkaSettings, source: &str, table: &Waiting) -> Result<Vec<Waiting>, SignalError> {
    let add = |tables: &mut Tables| if tables.add(table) { Ok(()) } else { Err(SignalError::TooManyWaiting) };
    Ok(register::change(kafka, &key(source), add).await?.tables)
}

/// The table is read anew from this offset on.
pub async fn begin_again(kafka: &KafkaSettings, source: &str, table: &Waiting) -> Result<Vec<Waiting>, SignalError> {
    let begin_again = |tables: &mut Tables| {
        tables.begin_again(table);
        Ok(())
    };
    Ok(register::change(kafka, &key(source), begin_again).await?.tables)
}

/// The topics of these hold what they waited with.
pub async fn strike(kafka: &KafkaSettings, source: &str, struck: &[Waiting]) -> Result<Vec<Waiting>, SignalError> {
    let strike = |tables: &mut Tables| {
        tables.strike(struck);
        Ok(())
    };
    Ok(register::change(kafka, &key(source), strike).await?.tables)
}

/// No source's name has a slash.
fn key(source: &str) -> String {
    format!("topics/{source}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(name: &str, offset: i64) -> Waiting {
        Waiting { schema: "lims".into(), name: name.into(), offset, since: 1 }
    }

    #[test]
    fn a_table_waits_from_its_first_record_on_until_it_is_read_anew_or_has_it() {
        let mut tables = Tables::default();
        assert!(tables.add(&waiting("note", 7)) && tables.add(&waiting("note", 9)) && tables.add(&waiting("log", 8)));
        assert_eq!(tables.tables, [waiting("note", 7), waiting("log", 8)]);
        tables.begin_again(&waiting("note", 12));
        tables.begin_again(&waiting("elsewhere", 12));
        assert_eq!(tables.tables, [waiting("note", 12), waiting("log", 8)]);
        // What was struck out is not what stands there by now.
        tables.strike(&[waiting("note", 7), waiting("log", 8)]);
        assert_eq!(tables.tables, [waiting("note", 12)]);
        for number in 1..WAITING_MAX {
            assert!(tables.add(&waiting(&number.to_string(), 1)));
        }
        assert!(!tables.add(&waiting("one more", 1)));
    }
}
