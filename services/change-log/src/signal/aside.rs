//! The tables of a source whose changes its connector leaves out: readers of the log may not understand their shape, or
//! the slot keeps too much WAL and they may be paused.
//!
//! # Why
//! What is left out of the log is read anew one day, whatever becomes of slot, log and process until then. So it is noted
//! here before the log goes beyond the first change that is left out. Once the log itself says that the table is not read,
//! the note says that it is being read anew; it is struck out when the log holds the end of that reading. So whoever
//! starts meanwhile knows that the table's rows may be behind.

use super::{
    SignalError,
    register::{self, Entry},
};
use crate::KafkaSettings;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::watch;

/// Tables that are set aside for their shape at a time.
pub const ASIDE_MAX: usize = 64;
/// Tables that are paused at a time. What is beyond goes on: nothing is left out without a note.
pub const PAUSED_MAX: usize = 1_000;
/// Of a reason; the rest is cut off.
const WHY_CHARS_MAX: usize = 2_000;

/// A table whose changes are not told, or were not, and that is not read anew yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aside {
    pub schema: String,
    pub name: String,
    /// Microseconds since the epoch.
    pub since: i64,
    /// For people. Nothing of a row stands in it.
    pub why: String,
    /// Left out until the slot keeps less, not for its shape.
    pub paused: bool,
    /// Its changes are told again, and the log does not hold all its rows yet.
    pub reading: bool,
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
        self.has_room() && self.tables.iter().all(|table| table.why.chars().count() <= WHY_CHARS_MAX)
    }
}

impl Tables {
    /// `schema.table` of each.
    pub fn names(&self) -> Vec<String> {
        self.tables.iter().map(|table| format!("{}.{}", table.schema, table.name)).collect()
    }

    /// `schema.table` of those whose changes are told again, but not all rows yet.
    pub fn reading(&self) -> Vec<String> {
        let reading = self.tables.iter().filter(|table| table.reading);
        reading.map(|table| format!("{}.{}", table.schema, table.name)).collect()
    }

    fn has_room(&self) -> bool {
        let paused = self.tables.iter().filter(|table| table.paused).count();
        paused <= PAUSED_MAX && self.tables.len() - paused <= ASIDE_MAX
    }

    /// False: there is no room. A table that is left out already keeps the time since when it is; one that was being read
    /// anew is not any more.
    fn add(&mut self, mut table: Aside) -> bool {
        table.why = table.why.chars().take(WHY_CHARS_MAX).collect();
        let before = self.tables.clone();
        match self.tables.iter_mut().find(|known| known.is_of(&table.schema, &table.name)) {
            Some(known) if known.reading => *known = table,
            // An operator decides about its shape, however full the slot is.
            Some(known) if table.paused && !known.paused => {}
            Some(known) => (known.why, known.paused) = (table.why, table.paused),
            None => self.tables.push(table),
        }
        let room = self.has_room();
        if !room {
            self.tables = before;
        }
        room
    }

    fn read_anew(&mut self, read: &[Aside]) {
        for known in &mut self.tables {
            known.reading |= read.iter().any(|table| table.is_of(&known.schema, &known.name));
        }
    }

    fn strike(&mut self, struck: &[Aside]) {
        self.tables.retain(|known| struck.iter().all(|table| !table.is_of(&known.schema, &known.name)));
    }
}

impl From<Vec<Aside>> for Tables {
    fn from(tables: Vec<Aside>) -> Self {
        Self { tables }
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

/// Notes that these tables are paused, as far as there is room, and returns all that is noted.
pub async fn pause(kafka: &KafkaSettings, source: &str, paused: &[Aside]) -> Result<Vec<Aside>, SignalError> {
    let pause = |tables: &mut Tables| {
        for table in paused {
            tables.add(table.clone());
        }
        Ok(())
    };
    Ok(register::change(kafka, &key(source), pause).await?.tables)
}

/// The log says itself that these tables are not read; their changes are told from here on.
pub async fn read_anew(kafka: &KafkaSettings, source: &str, read: &[Aside]) -> Result<(), SignalError> {
    let read_anew = |tables: &mut Tables| {
        tables.read_anew(read);
        Ok(())
    };
    register::change(kafka, &key(source), read_anew).await.map(drop)
}

/// The log holds these tables whole.
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
        let why = "é".repeat(WHY_CHARS_MAX + 1);
        Aside { schema: "lims".into(), name: name.into(), since, why, ..Aside::default() }
    }

    fn paused(name: &str, since: i64) -> Aside {
        Aside { paused: true, ..aside(name, since) }
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
        for number in 0..PAUSED_MAX {
            assert!(tables.add(paused(&format!("log {number}"), 1)));
        }
        assert!(!tables.add(paused("one more", 1)) && tables.bounded(), "each kind has room of its own");
        assert!(!tables.add(aside("log 1", 1)) && tables.tables.len() == ASIDE_MAX + PAUSED_MAX);
        tables.strike(&[aside("note", 9), aside("elsewhere", 9)]);
        assert!(
            tables.tables.len() == ASIDE_MAX + PAUSED_MAX - 1 && tables.add(aside("one more", 1)) && tables.bounded()
        );
    }

    #[test]
    fn a_note_stays_until_the_table_is_read_and_begins_anew_if_it_is_left_out_meanwhile() {
        let seen = |tables: &Tables| (tables.tables[0].since, tables.tables[0].paused, tables.tables[0].reading);
        let mut tables = Tables::default();
        assert!(tables.add(paused("note", 1)) && tables.add(paused("note", 2)));
        assert_eq!(seen(&tables), (1, true, false));
        tables.read_anew(&[aside("note", 9), aside("elsewhere", 9)]);
        assert_eq!(
            (seen(&tables), tables.names(), tables.reading()),
            ((1, true, true), vec!["lims.note".into()], vec!["lims.note".into()])
        );
        assert!(tables.add(paused("note", 3)));
        assert_eq!((seen(&tables), tables.reading()), ((3, true, false), Vec::new()));
        // Of its shape an operator decides; that the slot is full as well does not change that.
        assert!(tables.add(aside("note", 4)) && tables.add(paused("note", 5)));
        assert_eq!(seen(&tables), (3, false, false));
    }
}
