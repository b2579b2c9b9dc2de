//! What the fold keeps, behind a small trait: the rows that joins need, what was last said of each record, and notes of
//! the fold's own.
//!
//! # Why
//! The fold does no IO. Whoever keeps all this on a disk takes it down between two transactions, with the place in the log
//! that it stands for; [`MemoryStore`] is for tests and for looking at how a store should answer.

use change::{Cell, Position};
use event::Micros;
use mapping::plain;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use crate::memory::MemoryStore;

/// A row's primary key, or a cell, as plain text.
pub type Key = Arc<str>;
/// The columns that the mapping uses, in the mapping's order.
pub type Cells = Arc<[Cell]>;

/// A row as it was told last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub cells: Cells,
    /// How many readings of tables had begun by then: a reading that began later has not shown it yet.
    pub readings: u32,
    pub position: Position,
    pub committed_at: Micros,
    /// Told by a snapshot, and by one that was not its table's first.
    pub snapshot: bool,
    pub reread: bool,
}

/// A record: which of the mapping's records, and its identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    pub record: usize,
    pub id: Arc<[String]>,
}

/// What sinks were last told of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    Told {
        patient: Key,
        organisation: Key,
        digest: u128,
        /// With what it lacked.
        incomplete: bool,
    },
    /// In quarantine until what it misses arrives.
    Waiting,
}

/// A table as a store keeps it: by its name, for a place in a mapping is another one tomorrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub table: String,
    pub columns: Vec<String>,
    /// Places of the columns that rows are found by.
    pub indexed: Vec<usize>,
}

/// The shapes of a mapping's tables, in its order.
pub fn shapes(mapping: &mapping::Mapping) -> Vec<Shape> {
    let shape = |table: &mapping::Table| Shape {
        table: table.id.to_string(),
        columns: table.columns.iter().map(ToString::to_string).collect(),
        indexed: table.indexed.clone(),
    };
    mapping.tables.iter().map(shape).collect()
}

/// Records and notes go by name. A store that fails answers nothing any more and says so to its owner, who does not tell
/// what was made of that.
pub trait Store: Send {
    fn get(&self, table: usize, key: &str) -> Option<Kept>;
    /// Puts a row in the place of the one with this key.
    fn put(&mut self, table: usize, key: Key, row: Kept);
    fn remove(&mut self, table: usize, key: &str) -> Option<Kept>;
    /// Rows in the order of their keys, after this one, at most so many.
    fn scan(&self, table: usize, after: Option<&str>, max: usize) -> Vec<(Key, Kept)>;
    /// Keys of the rows that hold this value in an indexed column, ascending.
    fn find(&self, table: usize, column: usize, value: &str) -> Vec<Key>;
    fn said(&self, record: &str) -> Option<Said>;
    fn say(&mut self, record: &str, said: Option<Said>);
    fn note(&self, name: &str) -> Option<Vec<u8>>;
    fn keep_note(&mut self, name: &str, note: Option<Vec<u8>>);
    /// Notes whose names begin so, in order, after this one of them, at most so many.
    fn notes(&self, prefix: &str, after: Option<&str>, max: usize) -> Vec<(String, Vec<u8>)>;
    fn rows(&self) -> usize;
}

/// What an index knows of a row's column.
pub fn indexed(row: &Kept, column: usize) -> Option<String> {
    match row.cells.get(column)? {
        Cell::Value(value) => Some(plain(value)),
        Cell::Null | Cell::Unchanged => None,
    }
}

/// What is kept, as bytes. A store bears a version of this form: see [`FORM`].
pub fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // What is written here has no form that can fail: sizes are known and nothing is borrowed.
    postcard::to_stdvec(value).unwrap_or_default()
}

/// None: not what was written.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// Counts the forms of what is kept, and of what a digest is made of. A store of another form is filled anew.
pub const FORM: u32 = 2;
