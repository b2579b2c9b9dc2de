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
//! A new generation tells nothing of how things came to be as they are: see [`crate::walk`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod body;
mod copies;
pub mod dry;
mod fields;
mod join;
mod layouts;
mod memory;
mod name;
mod noted;
mod open;
mod other;
mod reading;
mod rows;
mod settle;
pub mod store;
mod table;
pub mod view;
mod waiting;
pub mod walk;

pub use body::DATED_LATER;
pub use name::record as record_id;
pub use open::closed;
pub use reading::WAIT_MAX;
pub use settle::digest;
pub use table::made_by;

use change::{Change, Entry, Position};
use event::{MadeBy, Micros, PatientEvent, Quarantined};
use mapping::Mapping;
use open::Open;
use reading::Reading;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use store::{Key, MemoryStore, RecordId, Said, Stood, Store, Told, read, shapes, write};
use waiting::Waiting;
use walk::{Orphans, Walk};

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

impl Output {
    fn item(self) -> Option<Quarantined> {
        match self {
            Self::Quarantined(item) => Some(*item),
            Self::Event(_) => None,
        }
    }
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
    /// Nothing changed, and a walk looks at what is there: where one of the rows was touched last.
    walked: Option<Position>,
    traceparent: Option<Arc<str>>,
}

impl Touch {
    /// By a walk that is here.
    fn of_row(stands: Stood, (position, offset): (Position, i64)) -> Self {
        let Stood { committed_at, snapshot, reread, .. } = stands;
        let walked = Some(stands.position);
        Self { position, offset, committed_at, snapshot, reread, own: true, walked, traceparent: None }
    }

    /// The record's own row came so, and one of its rows was touched last there.
    fn walked_over(&mut self, stands: Stood, latest: Position) {
        let Stood { committed_at, snapshot, reread, .. } = stands;
        (self.walked, self.committed_at, self.snapshot, self.reread) = (Some(latest), committed_at, snapshot, reread);
    }
}

/// A record that is to be settled.
struct Due {
    touch: Touch,
    name: String,
    /// What was said of it.
    said: Option<Said>,
    task: Task,
}

impl Due {
    /// The patient of whom it was told loses it.
    fn leave(&self, told: &Told) -> Self {
        let task = Task::Leave { organisation: told.organisation.clone(), kind: told.kind };
        Self { touch: self.touch.clone(), name: self.name.clone(), said: None, task }
    }
}

/// One step of settling.
enum Task {
    /// The record was told of this patient and is not theirs any more.
    Leave {
        organisation: Key,
        kind: u8,
    },
    Tell(RecordId, Seen),
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

type Group = Vec<Due>;

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
    made_by: MadeBy,
    source: String,
    organisation: String,
    generation: u32,
    store: S,
    /// Names of the store's tables: the mapping's first.
    tables: Vec<String>,
    layouts: layouts::Layouts,
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
    /// Rows are taken in, and nothing is settled.
    quiet: bool,
    walk: Walk,
    orphans: Orphans,
    /// The last place of which an earlier run of this generation told, if that is further on.
    ahead: Option<Position>,
    /// The latest time that the log has told, and the last place in it.
    clock: Micros,
    last: (Position, i64),
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
        let layouts = layouts::Layouts::new(&mapping);
        let tables = mapping.tables.iter().map(|table| table.id.to_string()).collect();
        Self {
            made_by: made_by(&mapping),
            mapping,
            source: source.to_owned(),
            organisation: organisation.to_owned(),
            generation: 0,
            store,
            tables,
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
            quiet: false,
            walk: Walk::default(),
            orphans: Orphans::new(),
            ahead: None,
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

    fn is_mapped(&self, table: usize) -> bool {
        table < self.mapping.tables.len()
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
        if self.quiet {
            return false;
        }
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
        let (committed_at, reread, own, walked) = (self.clock, false, false, None);
        let touch = Touch { position, offset, committed_at, snapshot, reread, own, walked, traceparent: None };
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
        let tables = layouts::tables(self, tables);
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
        let covered = layouts::tables(self, tables);
        let reread = covered.iter().all(|table| self.reading.known(*table));
        let read = self.reading.end(snapshot, &covered, partial);
        self.again = Some(Again { after: None });
        let (snapshot, own, walked) = (true, true, None);
        let touch = Touch { position, offset, committed_at, snapshot, reread, own, walked, traceparent: None };
        for (table, begun) in read {
            rows::sweep(self, table, &touch, |row| row.stands.readings < begun);
        }
        self.wake_walk();
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
        if self.quiet {
            self.again = None;
        }
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
        self.waiting = Waiting::resume(&self.store);
        self.walk = Walk::resume(&self.store);
        layouts::take_in(&mut self);
        if let Some(standing) = self.store.note(STANDING).as_deref().and_then(read::<Standing>) {
            self.clock = standing.clock;
            self.last = standing.last;
            self.reading = Reading::of_note(standing.reading, &self.tables);
        }
        self
    }

    /// Notes where it stands, between two transactions: what is in the store then is all that it needs to go on.
    pub fn rest(&mut self) -> &mut S {
        self.departed = None;
        let standing = Standing { clock: self.clock, last: self.last, reading: self.reading.noted(&self.tables) };
        self.store.keep_note(STANDING, Some(write(&standing)));
        &mut self.store
    }

    pub const fn store(&self) -> &S {
        &self.store
    }

    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
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
