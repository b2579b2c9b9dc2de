//! The rows that joins need, and what was last said of each record.
//!
//! Behind a small trait, so that an embedded checkpointed store can take its place. This one
//! lives in memory and is folded anew from the log's start.

use change::Cell;
use mapping::{Mapping, plain};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// A row's primary key, or a cell, as plain text.
pub type Key = Arc<str>;
/// The columns that the mapping uses, in the mapping's order.
pub type Cells = Arc<[Cell]>;

/// A record: which of the mapping's records, and its identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    pub record: usize,
    pub id: Arc<[String]>,
}

/// What sinks were last told of a record.
#[derive(Clone, PartialEq, Eq)]
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

pub trait Store: Send {
    fn get(&self, table: usize, key: &str) -> Option<Cells>;
    /// Puts a row in the place of the one with this key.
    fn put(&mut self, table: usize, key: Key, cells: Cells);
    fn remove(&mut self, table: usize, key: &str) -> Option<Cells>;
    fn keys(&self, table: usize) -> Vec<Key>;
    /// Keys of the rows that hold this value in an indexed column, ascending.
    fn find(&self, table: usize, column: usize, value: &str) -> Vec<Key>;
    fn said(&self, record: &RecordId) -> Option<Said>;
    fn say(&mut self, record: RecordId, said: Option<Said>);
    fn rows(&self) -> usize;
}

/// Value → keys of the rows that hold it.
type Index = HashMap<Box<str>, BTreeSet<Key>>;

#[derive(Default)]
struct Table {
    rows: HashMap<Key, Cells>,
    /// By column.
    indexes: Vec<(usize, Index)>,
}

#[derive(Default)]
pub struct MemoryStore {
    tables: Vec<Table>,
    said: HashMap<RecordId, Said>,
}

impl MemoryStore {
    pub fn new(mapping: &Mapping) -> Self {
        let table = |table: &mapping::Table| Table {
            rows: HashMap::new(),
            indexes: table.indexed.iter().map(|column| (*column, Index::new())).collect(),
        };
        Self { tables: mapping.tables.iter().map(table).collect(), said: HashMap::new() }
    }
}

fn value(cells: &Cells, column: usize) -> Option<String> {
    match &cells[column] {
        Cell::Value(value) => Some(plain(value)),
        Cell::Null | Cell::Unchanged => None,
    }
}

impl Store for MemoryStore {
    fn get(&self, table: usize, key: &str) -> Option<Cells> {
        self.tables[table].rows.get(key).cloned()
    }

    fn put(&mut self, table: usize, key: Key, cells: Cells) {
        self.remove(table, &key);
        let table = &mut self.tables[table];
        for (column, index) in &mut table.indexes {
            if let Some(value) = value(&cells, *column) {
                index.entry(value.into()).or_default().insert(key.clone());
            }
        }
        table.rows.insert(key, cells);
    }

    fn remove(&mut self, table: usize, key: &str) -> Option<Cells> {
        let table = &mut self.tables[table];
        let cells = table.rows.remove(key)?;
        for (column, index) in &mut table.indexes {
            let Some(value) = value(&cells, *column) else { continue };
            if let Some(keys) = index.get_mut(value.as_str()) {
                keys.remove(key);
                if keys.is_empty() {
                    index.remove(value.as_str());
                }
            }
        }
        Some(cells)
    }

    fn keys(&self, table: usize) -> Vec<Key> {
        let mut keys: Vec<Key> = self.tables[table].rows.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    fn find(&self, table: usize, column: usize, value: &str) -> Vec<Key> {
        let index = self.tables[table].indexes.iter().find(|(indexed, _)| *indexed == column);
        index.and_then(|(_, index)| index.get(value)).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    fn said(&self, record: &RecordId) -> Option<Said> {
        self.said.get(record).cloned()
    }

    fn say(&mut self, record: RecordId, said: Option<Said>) {
        match said {
            Some(said) => self.said.insert(record, said),
            None => self.said.remove(&record),
        };
    }

    fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }
}
