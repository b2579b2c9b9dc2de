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

use super::{
    Touch,
    store::{RecordId, Said},
};
use event::Micros;
use mapping::Record;
use std::collections::{BTreeMap, BTreeSet};

/// How long a streamed record waits for a table that is being read.
pub const WAIT_MAX: Micros = 60_000_000;

#[derive(Default)]
pub struct Reading {
    /// By epoch and snapshot: the tables that it reads.
    running: BTreeMap<(u32, String), BTreeSet<usize>>,
    /// Tables that a snapshot of this log has shown whole.
    shown: BTreeSet<usize>,
    /// Every table was read before this log began.
    before: bool,
}

impl Reading {
    pub fn of_log(before: bool) -> Self {
        Self { before, ..Self::default() }
    }

    /// What an earlier epoch was reading is not read on.
    pub fn begin(&mut self, epoch: u32, snapshot: &str, tables: &[usize]) {
        self.running.retain(|(of, _), _| *of >= epoch);
        self.running.entry((epoch, snapshot.to_owned())).or_default().extend(tables);
    }

    pub fn end(&mut self, snapshot: &str, tables: &[usize], partial: bool) {
        self.running.retain(|(_, id), _| id != snapshot);
        if !partial {
            self.shown.extend(tables);
        }
    }

    /// Is it being read?
    pub fn reads(&self, table: usize) -> bool {
        self.running.values().any(|tables| tables.contains(&table))
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
    fn reads_any(&self, record: &Record) -> bool {
        !self.running.is_empty() && (self.reads(record.table) || record.joins.iter().any(|join| self.reads(join.table)))
    }
}

/// A record that was not told, or not whole.
struct Wait {
    /// What is known of how it came.
    touch: Touch,
    until: Option<Micros>,
    overdue: bool,
}

#[derive(Default)]
pub struct Waiting {
    records: BTreeMap<RecordId, Wait>,
    until: BTreeSet<(Micros, RecordId)>,
}

impl Waiting {
    pub fn has(&self, id: &RecordId) -> bool {
        self.records.contains_key(id)
    }

    /// Does a streamed record wait for a table?
    pub fn is_urgent(&self) -> bool {
        !self.until.is_empty()
    }

    pub fn all(&self) -> Vec<RecordId> {
        self.records.keys().cloned().collect()
    }

    /// Those that have waited long enough.
    pub fn overdue(&mut self, now: Micros) -> Vec<RecordId> {
        let mut overdue = Vec::new();
        while let Some((until, _)) = self.until.first()
            && *until <= now
            && let Some((until, id)) = self.until.pop_first()
        {
            if let Some(wait) = self.records.get_mut(&id).filter(|wait| wait.until == Some(until)) {
                (wait.until, wait.overdue) = (None, true);
                overdue.push(id);
            }
        }
        overdue
    }

    /// How the record came, if a row beside it lets it be told now: its own row was there before. What was streamed stays
    /// streamed although a snapshot reads it, too.
    pub fn came(&self, id: &RecordId, touch: Touch, said: Option<&Said>) -> Touch {
        let Some(wait) = self.records.get(id) else { return touch };
        let Touch { position, offset, own, committed_at, .. } = touch;
        if own && (!touch.snapshot || wait.touch.snapshot) {
            return touch;
        }
        // What is in quarantine may have waited for long: it is known from now on.
        let committed_at = if said == Some(&Said::Waiting) { committed_at } else { wait.touch.committed_at };
        Touch { position, offset, own, committed_at, ..wait.touch.clone() }
    }

    /// Does a record that was never told wait? `lacks`: a join finds nothing in a table that is being read.
    pub fn waits(&self, id: &RecordId, touch: &Touch, record: &Record, reading: &Reading, lacks: bool) -> bool {
        if touch.snapshot {
            return reading.reads_any(record);
        }
        lacks && !self.records.get(id).is_some_and(|wait| wait.overdue)
    }

    pub fn wait(&mut self, id: RecordId, touch: Touch, now: Micros) {
        let known = self.records.remove(&id);
        let mut until = known.and_then(|wait| wait.until);
        if !touch.snapshot && until.is_none() {
            until = Some(now.saturating_add(WAIT_MAX));
        }
        self.until.extend(until.map(|until| (until, id.clone())));
        self.records.insert(id, Wait { touch, until, overdue: false });
    }

    /// In quarantine, or told with what it lacks: how it came is remembered.
    pub fn keep(&mut self, id: &RecordId, touch: &Touch) {
        self.records.insert(id.clone(), Wait { touch: touch.clone(), until: None, overdue: true });
    }

    pub fn forget(&mut self, id: &RecordId) {
        if let Some(Wait { until: Some(until), .. }) = self.records.remove(id) {
            self.until.remove(&(until, id.clone()));
        }
    }
}
