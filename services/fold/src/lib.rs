//! The fold: a source's log in, patient events out.
//!
//! # Why
//! A transaction's rows go into the store, the records they touch (as root rows or through a
//! join) are made anew, and what differs from what was last said becomes events. Everything is
//! a function of the log alone, so folding it again gives the same events with the same ids.
//!
//! A snapshot's rows come table by table: until it is over, a result may well have come before its
//! patient. What waits for it, and for how long, is in [`reading`].
//!
//! A new generation tells nothing of how things came to be as they are: see [`crate::retell`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod body;
mod copies;
mod open;
mod reading;
pub mod retell;
mod rows;
mod settle;
pub mod store;
mod view;

pub use body::DATED_LATER;
pub use open::closed;
pub use reading::WAIT_MAX;
pub use settle::digest;

use change::{Change, Entry, Position};
use event::{Micros, PatientEvent, Quarantined};
use mapping::Mapping;
use open::Open;
use reading::{Reading, Waiting};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use store::{Key, MemoryStore, RecordId, Said, Store};

/// A transaction with more changes than this is settled in pieces, so that what is held between
/// two settlements is bounded.
pub const TRANSACTION_CHANGES_MAX: usize = 50_000;
/// Events that belong together ("part i of n") are applied in one database transaction by sinks.
pub const PARTS_MAX: usize = 1_000;
/// Why a record waits.
pub const MISSING_PATIENT: &str = "missing patient";

/// What the fold gives out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Event(Box<PatientEvent>),
    Quarantined(Box<Quarantined>),
}

/// The last change that touched a record.
#[derive(Clone)]
struct Touch {
    position: Position,
    offset: i64,
    committed_at: Micros,
    snapshot: bool,
    /// Read by a snapshot that was not its table's first.
    reread: bool,
    /// The change was of the record's own row, not of one that a join finds.
    own: bool,
    traceparent: Option<Arc<str>>,
}

/// One step of settling.
enum Task {
    /// The record was told of this patient and is not theirs any more.
    Leave {
        organisation: Key,
    },
    Tell,
}

type Group = Vec<(Touch, RecordId, Task)>;

pub struct Fold<S = MemoryStore> {
    mapping: Arc<Mapping>,
    source: String,
    organisation: String,
    generation: u32,
    store: S,
    layouts: rows::Layouts,
    touched: BTreeMap<RecordId, Touch>,
    /// What could not be taken into the store, and what of it is over.
    noted: Vec<Quarantined>,
    open: Open,
    /// Groups still to be told, by patient; the empty patient is "nobody".
    groups: VecDeque<(Key, Group)>,
    changes: usize,
    /// The commit of the snapshot whose rows wait to be settled.
    snapshot: Option<Position>,
    /// Rows known before a snapshot began that it has not shown yet.
    stale: BTreeSet<(usize, Key)>,
    /// The row that the last change deleted: the next may be the same row under another key.
    departed: Option<rows::Departed>,
    reading: Reading,
    waiting: Waiting,
    /// The latest time that the log has told, and the last place in it.
    clock: Micros,
    last: (Position, i64),
}

/// How a record that an earlier generation told stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// This patient has it.
    Told,
    /// It waits for something.
    Waits,
    /// This patient has no such record.
    Gone,
    /// Its table has not been read whole: nobody knows.
    Unread,
}

impl Fold {
    /// `organisation` is the source's own ODS code, for rows that name none.
    pub fn new(mapping: Arc<Mapping>, source: &str, organisation: &str) -> Self {
        let store = MemoryStore::new(&mapping);
        Self::with_store(mapping, source, organisation, store)
    }
}

impl<S: Store> Fold<S> {
    pub fn with_store(mapping: Arc<Mapping>, source: &str, organisation: &str, store: S) -> Self {
        let layouts = rows::Layouts::new(&mapping);
        Self {
            mapping,
            source: source.to_owned(),
            organisation: organisation.to_owned(),
            generation: 0,
            store,
            layouts,
            touched: BTreeMap::new(),
            noted: Vec::new(),
            open: Open::default(),
            groups: VecDeque::new(),
            changes: 0,
            snapshot: None,
            stale: BTreeSet::new(),
            departed: None,
            reading: Reading::default(),
            waiting: Waiting::default(),
            clock: Micros::MIN,
            last: (Position::START, 0),
        }
    }

    /// Of a generation. `read_before`: every table was read in another log of this source.
    #[must_use]
    pub fn of_generation(mut self, generation: u32, read_before: bool) -> Self {
        self.generation = generation;
        self.reading = Reading::of_log(read_before);
        self
    }

    pub fn rows(&self) -> usize {
        self.store.rows()
    }

    /// Must what was applied be settled before this entry is?
    pub fn due_before(&mut self, entry: &Entry) -> bool {
        let snapshot = matches!(entry.change, Change::Snapshot { .. });
        let moved = self
            .snapshot
            .is_some_and(|at| !snapshot || (at.epoch, at.commit) != (entry.position.epoch, entry.position.commit));
        self.hear(entry.committed_at) || moved
    }

    /// The log tells this time. True: something has waited long enough. Settle next.
    pub fn hear(&mut self, at: Micros) -> bool {
        self.clock = self.clock.max(at);
        let overdue = self.waiting.overdue(self.clock);
        let due = !overdue.is_empty();
        for id in overdue {
            self.look_again(id, false);
        }
        due
    }

    /// The record is settled at the last place of the log.
    fn look_again(&mut self, id: RecordId, snapshot: bool) {
        let (position, offset) = self.last;
        let (committed_at, reread) = (self.clock, false);
        let touch = Touch { position, offset, committed_at, snapshot, reread, own: false, traceparent: None };
        self.touched.entry(id).or_insert(touch);
    }

    /// Takes one change into the store. True: settle now, for a transaction or a piece of one is over.
    pub fn apply(&mut self, entry: &Entry) -> bool {
        self.changes += 1;
        self.last = (entry.position, entry.offset);
        let snapshot = matches!(entry.change, Change::Snapshot { .. });
        if snapshot {
            self.snapshot = Some(entry.position);
        }
        rows::take(self, entry);
        !snapshot && (entry.commit_end.is_some() || self.changes >= TRANSACTION_CHANGES_MAX)
    }

    /// A snapshot of these tables begins: rows it does not show are gone when it ends. One that is partial reads some
    /// of the rows, and says nothing of the others.
    pub fn begin_snapshot(&mut self, snapshot: &str, tables: &[String], partial: bool, at: Position) {
        let tables = rows::tables(&self.mapping, tables);
        self.reading.begin(at.epoch, snapshot, &tables);
        for index in tables.into_iter().filter(|_| !partial) {
            let keys = self.store.keys(index);
            self.stale.extend(keys.into_iter().map(|key| (index, key)));
        }
    }

    /// The snapshot is over. Settle next.
    pub fn end_snapshot(
        &mut self,
        snapshot: &str,
        tables: &[String],
        partial: bool,
        (position, offset): (Position, i64),
        committed_at: Micros,
    ) {
        self.clock = self.clock.max(committed_at);
        self.last = (position, offset);
        let covered = rows::tables(&self.mapping, tables);
        let reread = covered.iter().all(|table| self.reading.known(*table));
        self.reading.end(snapshot, &covered, partial);
        for id in self.waiting.all() {
            self.look_again(id, true);
        }
        if partial {
            return;
        }
        let touch = Touch { position, offset, committed_at, snapshot: true, reread, own: true, traceparent: None };
        let (gone, rest) = std::mem::take(&mut self.stale).into_iter().partition(|(index, _)| covered.contains(index));
        self.stale = rest;
        let gone: BTreeSet<(usize, Key)> = gone;
        for (index, key) in gone {
            rows::remove(self, index, &key, &touch);
        }
    }

    /// How the record of this name, which an earlier generation told of this patient, stands now.
    pub fn stands(&self, patient: &str, name: &str) -> Stands {
        // The mapping does not make such records any more.
        let Some(id) = settle::record_id(&self.mapping, name) else { return Stands::Gone };
        match self.store.said(&id) {
            Some(Said::Told { patient: told, .. }) if *told == *patient => Stands::Told,
            Some(Said::Told { .. }) => Stands::Gone,
            None if self.waiting.has(&id) => Stands::Waits,
            _ if self.reading.shown(self.mapping.records[id.record].table) => Stands::Gone,
            _ => Stands::Unread,
        }
    }

    /// What is in quarantine and not resolved, without the rows themselves.
    pub fn open_items(&self) -> impl Iterator<Item = &Quarantined> {
        self.open.items()
    }

    /// Has a snapshot of this log shown the table whole?
    pub fn shown(&self, table: usize) -> bool {
        self.reading.shown(table)
    }

    /// Is a streamed record not told yet, because a table is being read?
    pub fn holds_back(&self) -> bool {
        self.waiting.is_urgent()
    }

    /// The last place of the log, and the latest time that it told.
    pub const fn reached(&self) -> (Position, Micros) {
        (self.last.0, self.clock)
    }

    /// Is nothing left to settle?
    pub fn settled(&self) -> bool {
        self.groups.is_empty() && self.touched.is_empty() && self.noted.is_empty()
    }

    /// The next outputs, at most about this many. Groups stay whole. Call until `settled`.
    pub fn settle(&mut self, outputs_max: usize) -> Vec<Output> {
        let mut outputs: Vec<Output> = self.noted.drain(..).map(|item| Output::Quarantined(Box::new(item))).collect();
        settle::group(self);
        while outputs.len() < outputs_max
            && let Some((patient, group)) = self.groups.pop_front()
        {
            settle::tell(self, &patient, group, &mut outputs);
        }
        if self.groups.is_empty() {
            self.changes = 0;
            self.snapshot = None;
        }
        outputs
    }

    /// One whole transaction at once.
    pub fn step(&mut self, transaction: &[Entry]) -> Vec<Output> {
        let mut outputs = Vec::new();
        for entry in transaction {
            if self.due_before(entry) {
                outputs.extend(self.settle(usize::MAX));
            }
            if self.apply(entry) {
                outputs.extend(self.settle(usize::MAX));
            }
        }
        outputs.extend(self.settle(usize::MAX));
        outputs
    }
}
