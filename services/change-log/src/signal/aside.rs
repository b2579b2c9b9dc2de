//! The tables of a source that its connector has set aside: readers of the log may not understand their shape.
//!
//! # Why
//! What is left out of the log is read anew one day, whatever becomes of slot, log and process until then. So it is noted
//! here before the log goes beyond the first change that is left out, and struck out once the log itself says that the
//! table is not read.

use super::{
    SignalError,
    register::{self, Entry},
};
use crate::KafkaSettings;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::watch;

/// Tables that are set aside at a time.
pub const ASIDE_MAX: usize = 64;
/// Of a reason; the rest is cut off.
const WHY_CHARS_MAX: usize = 2_000;

/// A table whose changes are not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aside {
    pub schema: String,
    pub name: String,
    /// Microseconds since the epoch.
    pub since: i64,
    /// For people. Nothing of a row stands in it.
    pub why: String,
}

impl Aside {
    pub fn is_of(&self, schema: &str, name: &str) -> bool {
        self.schema == schema && self.name == name
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tables {
    tables: Vec<Aside>,
}

impl Entry for Tables {
    const HEARD: bool = false;

    fn bounded(&self) -> bool {
        self.tables.len() <= ASIDE_MAX && self.tables.iter().all(|table| table.why.chars().count() <= WHY_CHARS_MAX)
    }
}

impl Tables {
    /// `schema.table` of each.
    pub fn names(&self) -> Vec<String> {
        self.tables.iter().map(|table| format!("{}.{}", table.schema, table.name)).collect()
    }

    /// False: there is no room.
    fn add(&mut self, mut table: Aside) -> bool {
        table.why = table.why.chars().take(WHY_CHARS_MAX).collect();
        if let Some(known) = self.tables.iter_mut().find(|known| known.is_of(&table.schema, &table.name)) {
            known.why = table.why;
            return true;
        }
        let room = self.tables.len() < ASIDE_MAX;
        if room {
            self.tables.push(table);
        }
        room
    }

    fn strike(&mut self, struck: &[Aside]) {
        self.tables.retain(|known| struck.iter().all(|table| !table.is_of(&known.schema, &known.name)));
    }
}

/// The source's tables that are set aside.
pub async fn read(kafka: &KafkaSettings, source: &str) -> Result<Vec<Aside>, SignalError> {
    Ok(register::read::<Tables>(kafka, &key(source)).await?.tables)
}

/// Keeps them up to date until nobody looks any more. Returns once they are known.
pub async fn follow(kafka: &KafkaSettings, source: &str) -> Result<watch::Receiver<Arc<Tables>>, SignalError> {
    register::follow(kafka, &key(source), |_: &Tables, _| {}).await
}

/// Notes that the table is set aside. One that is noted keeps the time since when it is.
pub async fn add(kafka: &KafkaSettings, source: &str, table: &Aside) -> Result<(), SignalError> {
    let add = |tables: &mut Tables| if tables.add(table.clone()) { Ok(()) } else { Err(SignalError::TooManyAside) };
    register::change(kafka, &key(source), add).await.map(drop)
}

/// The log says itself that these tables are not read.
pub async fn strike(kafka: &KafkaSettings, source: &str, struck: &[Aside]) -> Result<(), SignalError> {
    let strike = |tables: &mut Tables| {
        tables.strike(struck);
        Ok(())
    };
    register::change(kafka, &key(source), strike).await.map(drop)
}

/// No source's name has a slash.
fn key(source: &str) -> String {
    format!("aside/{source}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aside(name: &str, since: i64) -> Aside {
        Aside { schema: "lims".into(), name: name.into(), since, why: "é".repeat(WHY_CHARS_MAX + 1) }
    }

    #[test]
    fn a_table_is_noted_once_since_the_first_time_and_there_is_an_end_to_them() {
        let mut tables = Tables::default();
        assert!(tables.add(aside("note", 1)) && tables.add(aside("note", 2)) && tables.bounded());
        assert_eq!((tables.tables.len(), tables.tables[0].since), (1, 1));
        for number in 1..ASIDE_MAX {
            assert!(tables.add(aside(&number.to_string(), 1)));
        }
        assert!(!tables.add(aside("one more", 1)) && tables.add(aside("note", 3)), "a known one needs no room");
        tables.strike(&[aside("note", 9), aside("elsewhere", 9)]);
        assert!(tables.tables.len() == ASIDE_MAX - 1 && tables.add(aside("one more", 1)) && tables.bounded());
    }
}
