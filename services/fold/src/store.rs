//! What the fold keeps, behind a small trait: whole rows of every table, what was last said of each record, and notes of
//! the fold's own.
//!
//! # Why
//! The fold does no IO. Whoever keeps all this on a disk takes it down between two transactions, with the place in the log
//! that it stands for; [`MemoryStore`] is for tests and for looking at how a store should answer.
//!
//! Rows are kept whole, under the names of their tables and columns: another mapping uses other columns of them, and
//! the log that told them may have aged by then.

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
/// The other columns of a row, by name.
pub type Others = Vec<(Arc<str>, Cell)>;

/// A row as it was told last, as far as the mapping uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub cells: Cells,
    pub stands: Stood,
}

/// How a row came to be as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
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
    Told(Told),
    /// In quarantine until what it misses arrives.
    Waiting,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub patient: Key,
    pub organisation: Key,
    /// By its place in [`event::Kind::ALL`].
    pub kind: u8,
    pub digest: u128,
    /// With what it lacked.
    pub incomplete: bool,
    /// Where it was told.
    pub generation: u32,
    pub position: Position,
    /// The walk that has looked at it last: see [`crate::walk`].
    pub walk: u32,
}

/// A table as a mapping looks at it.
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

/// Tables go by their place: the mapping's first, in its order, and then those that were added. Records and notes go by
/// name. A store that fails answers nothing any more and says so to its owner, who does not tell what was made of that.
pub trait Store: Send {
    /// Takes a table in of which the mapping knows nothing. Its place; the same for the same name.
    fn add_table(&mut self, name: &str) -> usize;
    /// All tables, by place.
    fn tables(&self) -> Vec<String>;
    /// From now on rows of the table have these columns besides the mapping's.
    fn lay_out(&mut self, table: usize, others: &[Arc<str>]);
    fn get(&self, table: usize, key: &str) -> Option<Kept>;
    /// The columns of a row that the mapping does not use.
    fn others(&self, table: usize, key: &str) -> Option<Others>;
    /// Puts a row in the place of the one with this key. `others`: cells of the columns that were laid out.
    fn put(&mut self, table: usize, key: Key, row: Kept, others: &[&Cell]);
    /// Notes that a reading has shown the row.
    fn shown(&mut self, table: usize, key: &str, readings: u32);
    fn remove(&mut self, table: usize, key: &str) -> Option<Kept>;
    /// Rows in the order of their keys, after this one, at most so many.
    fn scan(&self, table: usize, after: Option<&str>, max: usize) -> Vec<(Key, Kept)>;
    /// The rows that hold this value in an indexed column, in the order of their keys.
    fn find(&self, table: usize, column: usize, value: &str) -> Vec<(Key, Kept)>;
    fn said(&self, record: &str) -> Option<Said>;
    fn say(&mut self, record: &str, said: Option<Said>);
    /// What was said of records, in the order of their names, after this one, at most so many.
    fn all_said(&self, after: Option<&str>, max: usize) -> Vec<(String, Said)>;
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

/// Behind what is there.
pub fn write_to<T: Serialize>(value: &T, out: Vec<u8>) -> Option<Vec<u8>> {
    postcard::to_extend(value, out).ok()
}

/// None: not what was written.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// What was written first, and the bytes behind it.
pub fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes).ok()
}

/// Counts the forms of what is kept, and of what a digest is made of. A store of another form is filled anew.
pub const FORM: u32 = 2;
