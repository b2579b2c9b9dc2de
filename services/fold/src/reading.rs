//! What is being read, and what waits for it.
//!
//! # Why
//! While a snapshot reads a table, a join into it may find nothing although the row is there. Told at once, such a record
//! would be half of itself, and be corrected a moment later by nobody. So a record waits if it was never told and
//!
//! - a snapshot has read its own row, and its table or one that it is joined to is still being read: nobody is in a hurry;
//! - or its own row was streamed, and a join finds nothing in a table that is still being read. That one may be urgent:
//!   it waits [`WAIT_MAX`] at most, and is then told with what it lacks.
//!
//! Whatever was told once is told again at its commit, and a streamed record whose joins find their rows does not wait.
//!
//! Time is what the log tells: commit times, and those of progress and of chunks. A log in which nothing is written keeps
//! what waits waiting.

use event::Micros;
use mapping::Record;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How long a streamed record waits for a table that is being read.
pub const WAIT_MAX: Micros = 60_000_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// By epoch and snapshot: the tables that it reads, each with the count of readings when its own began.
    running: BTreeMap<(u32, String), BTreeMap<usize, u32>>,
    /// Tables that a snapshot of this log has shown whole.
    shown: BTreeSet<usize>,
    /// Every table was read before this log began.
    before: bool,
    /// Readings of tables that have begun.
    begun: u32,
}

/// Tables, each with the count of readings when its own began.
type Begun = Vec<(String, u32)>;

/// A reading as it is kept: tables by their names.
#[derive(Serialize, Deserialize)]
pub struct Noted {
    running: Vec<(u32, String, Begun)>,
    shown: Vec<String>,
    before: bool,
    begun: u32,
}

impl Reading {
    pub fn of_log(before: bool) -> Self {
        Self { before, ..Self::default() }
    }

    /// How many readings have begun: a row that is told now was told after all of them.
    pub const fn begun(&self) -> u32 {
        self.begun
    }

    /// What an earlier epoch was reading is not read on.
    pub fn begin(&mut self, epoch: u32, snapshot: &str, tables: &[usize]) {
        self.running.retain(|(of, _), _| *of >= epoch);
        self.begun += 1;
        let begun = tables.iter().map(|table| (*table, self.begun));
        self.running.entry((epoch, snapshot.to_owned())).or_default().extend(begun);
    }

    /// The tables that it has read whole, each with the count of readings when that began.
    pub fn end(&mut self, snapshot: &str, tables: &[usize], partial: bool) -> Vec<(usize, u32)> {
        let mut read = BTreeMap::new();
        self.running.retain(|(_, id), begun| {
            if id == snapshot {
                read.append(begun);
            }
            id != snapshot
        });
        if partial {
            return Vec::new();
        }
        self.shown.extend(tables);
        read.into_iter().filter(|(table, _)| tables.contains(table)).collect()
    }

    /// Is it being read?
    pub fn reads(&self, table: usize) -> bool {
        self.running.values().any(|tables| tables.contains_key(&table))
    }

    /// Of a table that is being read: the count of readings when that began.
    pub fn since(&self, table: usize) -> Option<u32> {
        self.running.values().filter_map(|tables| tables.get(&table).copied()).max()
    }

    /// Has it been read whole in this log?
    pub fn shown(&self, table: usize) -> bool {
        self.shown.contains(&table)
    }

    /// Was it read whole ever?
    pub fn known(&self, table: usize) -> bool {
        self.before || self.shown(table)
    }

    /// Is a table being read that the record is made of?
    pub fn reads_any(&self, record: &Record) -> bool {
        !self.running.is_empty() && (self.reads(record.table) || record.joins.iter().any(|join| self.reads(join.table)))
    }

    pub fn noted(&self, names: &[String]) -> Noted {
        let name = |table: &usize| names[*table].clone();
        let named = |tables: &BTreeMap<usize, u32>| tables.iter().map(|(table, at)| (name(table), *at)).collect();
        Noted {
            running: self.running.iter().map(|((epoch, id), tables)| (*epoch, id.clone(), named(tables))).collect(),
            shown: self.shown.iter().map(name).collect(),
            before: self.before,
            begun: self.begun,
        }
    }

    /// Of tables that are known.
    pub fn of_note(note: Noted, names: &[String]) -> Self {
        let place = |name: &String| names.iter().position(|known| known == name);
        let places = |tables: Begun| tables.iter().filter_map(|(name, at)| Some((place(name)?, *at))).collect();
        Self {
            running: note.running.into_iter().map(|(epoch, id, tables)| ((epoch, id), places(tables))).collect(),
            shown: note.shown.iter().filter_map(place).collect(),
            before: note.before,
            begun: note.begun,
        }
    }
}
