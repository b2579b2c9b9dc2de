//! A store that lives in memory.

use super::store::{Kept, Key, Said, Shape, Store, indexed};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Included, Unbounded},
};

/// Value → keys of the rows that hold it.
type Index = HashMap<Box<str>, BTreeSet<Key>>;

#[derive(Default)]
struct Table {
    rows: BTreeMap<Key, Kept>,
    /// By column.
    indexes: Vec<(usize, Index)>,
}

#[derive(Default)]
pub struct MemoryStore {
    tables: Vec<Table>,
    said: HashMap<String, Said>,
    notes: BTreeMap<String, Vec<u8>>,
}

impl MemoryStore {
    pub fn new(shapes: &[Shape]) -> Self {
        let table = |shape: &Shape| Table {
            rows: BTreeMap::new(),
            indexes: shape.indexed.iter().map(|column| (*column, Index::new())).collect(),
        };
        Self { tables: shapes.iter().map(table).collect(), ..Self::default() }
    }
}

impl Store for MemoryStore {
    fn get(&self, table: usize, key: &str) -> Option<Kept> {
        self.tables[table].rows.get(key).cloned()
    }

    fn put(&mut self, table: usize, key: Key, row: Kept) {
        self.remove(table, &key);
        let table = &mut self.tables[table];
        for (column, index) in &mut table.indexes {
            if let Some(value) = indexed(&row, *column) {
                index.entry(value.into()).or_default().insert(key.clone());
            }
        }
        table.rows.insert(key, row);
    }

    fn remove(&mut self, table: usize, key: &str) -> Option<Kept> {
        let table = &mut self.tables[table];
        let row = table.rows.remove(key)?;
        for (column, index) in &mut table.indexes {
            let Some(value) = indexed(&row, *column) else { continue };
            if let Some(keys) = index.get_mut(value.as_str()) {
                keys.remove(key);
                if keys.is_empty() {
                    index.remove(value.as_str());
                }
            }
        }
        Some(row)
    }

    fn scan(&self, table: usize, after: Option<&str>, max: usize) -> Vec<(Key, Kept)> {
        let from = after.map_or(Unbounded, Excluded);
        let rows = self.tables[table].rows.range::<str, _>((from, Unbounded));
        rows.take(max).map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    fn find(&self, table: usize, column: usize, value: &str) -> Vec<Key> {
        let index = self.tables[table].indexes.iter().find(|(indexed, _)| *indexed == column);
        index.and_then(|(_, index)| index.get(value)).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    fn said(&self, record: &str) -> Option<Said> {
        self.said.get(record).cloned()
    }

    fn say(&mut self, record: &str, said: Option<Said>) {
        match said {
            Some(said) => self.said.insert(record.to_owned(), said),
            None => self.said.remove(record),
        };
    }

    fn note(&self, name: &str) -> Option<Vec<u8>> {
        self.notes.get(name).cloned()
    }

    fn keep_note(&mut self, name: &str, note: Option<Vec<u8>>) {
        match note {
            Some(note) => self.notes.insert(name.to_owned(), note),
            None => self.notes.remove(name),
        };
    }

    fn notes(&self, prefix: &str, after: Option<&str>, max: usize) -> Vec<(String, Vec<u8>)> {
        let from = after.map_or(Included(prefix), Excluded);
        let notes = self.notes.range::<str, _>((from, Unbounded));
        let notes = notes.take_while(|(name, _)| name.starts_with(prefix)).take(max);
        notes.map(|(name, note)| (name.clone(), note.clone())).collect()
    }

    fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }
}
