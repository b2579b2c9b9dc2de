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
mod memory;
mod name;
mod noted;
mod open;
mod reading;
pub mod retell;
mod rows;
mod settle;
pub mod store;
mod table;
mod view;
mod waiting;

pub use body::DATED_LATER;
pub use open::closed;
pub use reading::WAIT_MAX;
pub use settle::digest;
pub use table::made_by;

use change::{Change, Entry, Position};
use event::{Micros, PatientEvent, Quarantined};
use mapping::Mapping;
use open::Open;
use reading::Reading;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use store::{Key, MemoryStore, RecordId, Said, Shape, Store, read, shapes, write};
use waiting::Waiting;

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
#[derive(Clone, Serialize, Deserialize)]
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
    Tell(Seen),
}

/// What was seen of a record when it was put into its group: its rows do not change until it is told.
enum Seen {
    /// There are too many to hold: it is looked at again.
    Before,
    Nothing,
    Rows(view::Found),
}

/// Records of which the rows are held between grouping and telling.
const SEEN_MAX: usize = 10_000;

type Group = Vec<(Touch, RecordId, Task)>;

/// Records that waited for a snapshot are looked at again, some at a time.
struct Again {
    /// The last of those that were.
    after: Option<String>,
}

/// The note of where a fold stands.
const STANDING: &str = "standing";

#[derive(Serialize, Deserialize)]
struct Standing {
    clock: Micros,
    last: (Position, i64),
    reading: reading::Noted,
}

pub struct Fold<S = MemoryStore> {
    mapping: Arc<Mapping>,
    source: String,
    organisation: String,
    generation: u32,
    store: S,
    shapes: Vec<Shape>,
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
    /// A snapshot is over, and what waited is looked at again: after the record of this name, if any.
    again: Option<Again>,
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
        let store = MemoryStore::new(&shapes(&mapping));
        Self::with_store(mapping, source, organisation, store)
    }
}

impl<S: Store> Fold<S> {
    pub fn with_store(mapping: Arc<Mapping>, source: &str, organisation: &str, store: S) -> Self {
        let (layouts, shapes) = (rows::Layouts::new(&mapping), shapes(&mapping));
        Self {
            mapping,
            source: source.to_owned(),
            organisation: organisation.to_owned(),
            generation: 0,
            store,
            shapes,
            layouts,
            touched: BTreeMap::new(),
            noted: Vec::new(),
            open: Open::default(),
            groups: VecDeque::new(),
            changes: 0,
            snapshot: None,
            again: None,
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

    pub const fn generation(&self) -> u32 {
        self.generation
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
        let overdue = self.waiting.overdue(&self.mapping, &mut self.store, self.clock);
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

    /// A snapshot of these tables begins: rows it does not show are gone when it ends, unless it is partial.
    pub fn begin_snapshot(&mut self, snapshot: &str, tables: &[String], at: Position) {
        let tables = rows::tables(&self.mapping, tables);
        self.reading.begin(at.epoch, snapshot, &tables);
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
        let read = self.reading.end(snapshot, &covered, partial);
        self.again = Some(Again { after: None });
        let touch = Touch { position, offset, committed_at, snapshot: true, reread, own: true, traceparent: None };
        for (table, begun) in read {
            rows::sweep(self, table, &touch, |row| row.readings < begun);
        }
    }

    /// How the record of this name, which an earlier generation told of this patient, stands now.
    pub fn stands(&self, patient: &str, name: &str) -> Stands {
        // The mapping does not make such records any more.
        let Some(id) = name::record(&self.mapping, name) else { return Stands::Gone };
        match self.said(&id) {
            Some(Said::Told { patient: told, .. }) if *told == *patient => Stands::Told,
            Some(Said::Told { .. }) => Stands::Gone,
            None if self.waiting.has(&self.mapping, &self.store, &id) => Stands::Waits,
            _ if self.reading.shown(self.mapping.records[id.record].table) => Stands::Gone,
            _ => Stands::Unread,
        }
    }

    /// What is in quarantine and not resolved, without the rows themselves.
    pub fn open_items(&self) -> Vec<Quarantined> {
        Open::items(&self.store)
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
        self.groups.is_empty() && self.touched.is_empty() && self.noted.is_empty() && self.again.is_none()
    }

    /// The next outputs, at most about this many. Groups stay whole. Call until `settled`.
    pub fn settle(&mut self, outputs_max: usize) -> Vec<Output> {
        let mut outputs: Vec<Output> = self.noted.drain(..).map(|item| Output::Quarantined(Box::new(item))).collect();
        while outputs.len() < outputs_max {
            if self.groups.is_empty() {
                self.look_at_some_that_wait();
                settle::group(self);
            }
            match self.groups.pop_front() {
                Some((patient, group)) => settle::tell(self, &patient, group, &mut outputs),
                None if self.again.is_some() => {}
                None => break,
            }
        }
        if self.settled() {
            self.changes = 0;
            self.snapshot = None;
        }
        outputs
    }

    /// Of those that waited for a snapshot.
    fn look_at_some_that_wait(&mut self) {
        let Some(Again { after }) = self.again.take() else { return };
        let (ids, last) = Waiting::page(&self.mapping, &self.store, after.as_deref());
        self.again = last.map(|last| Again { after: Some(last) });
        for id in ids {
            self.look_again(id, true);
        }
    }

    /// Goes on from where its store was left.
    #[must_use]
    pub fn resume(mut self) -> Self {
        self.open = Open::resume(&self.store);
        self.waiting = Waiting::resume(&self.mapping, &self.store);
        if let Some(standing) = self.store.note(STANDING).as_deref().and_then(read::<Standing>) {
            self.clock = standing.clock;
            self.last = standing.last;
            self.reading = Reading::of_note(standing.reading, &self.shapes);
        }
        self
    }

    /// Notes where it stands, between two transactions: what is in the store then is all that it needs to go on.
    pub fn rest(&mut self) -> &mut S {
        self.departed = None;
        let standing = Standing { clock: self.clock, last: self.last, reading: self.reading.noted(&self.shapes) };
        self.store.keep_note(STANDING, Some(write(&standing)));
        &mut self.store
    }

    pub const fn store(&self) -> &S {
        &self.store
    }

    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    fn said(&self, id: &RecordId) -> Option<Said> {
        self.store.said(&name::of(&self.mapping, id))
    }

    fn say(&mut self, id: &RecordId, said: Option<Said>) {
        self.store.say(&name::of(&self.mapping, id), said);
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
