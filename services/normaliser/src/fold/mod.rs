//! The fold: a source's log in, patient events out.
//!
//! # Why
//! A transaction's rows go into the store, the records they touch (as root rows or through a
//! join) are made anew, and what differs from what was last said becomes events. Everything is
//! a function of the log alone, so folding it again gives the same events with the same ids.
//!
//! A snapshot's rows come table by table, so its records are made only when it is over:
//! until then a result may well have come before its patient.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod body;
mod copies;
mod rows;
mod settle;
pub mod store;
mod view;

pub use body::DATED_LATER;

use crate::mapping::Mapping;
use change::{Change, Entry, Position};
use event::{Micros, PatientEvent, Quarantined};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use store::{Key, MemoryStore, RecordId, Store};

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
    store: S,
    layouts: rows::Layouts,
    touched: BTreeMap<RecordId, Touch>,
    /// What could not be taken into the store.
    noted: Vec<Quarantined>,
    /// Groups still to be told, by patient; the empty patient is "nobody".
    groups: VecDeque<(Key, Group)>,
    changes: usize,
    /// The commit of the snapshot whose rows wait to be settled.
    snapshot: Option<Position>,
    /// Rows known before a snapshot began that it has not shown yet.
    stale: BTreeSet<(usize, Key)>,
    /// The row that the last change deleted: the next may be the same row under another key.
    departed: Option<rows::Departed>,
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
            store,
            layouts,
            touched: BTreeMap::new(),
            noted: Vec::new(),
            groups: VecDeque::new(),
            changes: 0,
            snapshot: None,
            stale: BTreeSet::new(),
            departed: None,
        }
    }

    pub fn rows(&self) -> usize {
        self.store.rows()
    }

    /// Must what was applied be settled before this entry is?
    pub fn due_before(&self, entry: &Entry) -> bool {
        let snapshot = matches!(entry.change, Change::Snapshot { .. });
        self.snapshot
            .is_some_and(|at| !snapshot || (at.epoch, at.commit) != (entry.position.epoch, entry.position.commit))
    }

    /// Takes one change into the store. True: settle now, for a transaction or a piece of one is over.
    pub fn apply(&mut self, entry: &Entry) -> bool {
        self.changes += 1;
        let snapshot = matches!(entry.change, Change::Snapshot { .. });
        if snapshot {
            self.snapshot = Some(entry.position);
        }
        rows::take(self, entry);
        !snapshot && (entry.commit_end.is_some() || self.changes >= TRANSACTION_CHANGES_MAX)
    }

    /// A snapshot of these tables begins: rows it does not show are gone when it ends.
    pub fn begin_snapshot(&mut self, tables: &[String]) {
        for index in rows::tables(&self.mapping, tables) {
            let keys = self.store.keys(index);
            self.stale.extend(keys.into_iter().map(|key| (index, key)));
        }
    }

    /// The snapshot is over. Settle next.
    pub fn end_snapshot(&mut self, tables: &[String], position: Position, offset: i64, committed_at: Micros) {
        let touch = Touch { position, offset, committed_at, snapshot: true, traceparent: None };
        let covered = rows::tables(&self.mapping, tables);
        let (gone, rest) = std::mem::take(&mut self.stale).into_iter().partition(|(index, _)| covered.contains(index));
        self.stale = rest;
        let gone: BTreeSet<(usize, Key)> = gone;
        for (index, key) in gone {
            rows::remove(self, index, &key, &touch);
        }
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
