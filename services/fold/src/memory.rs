//! A store that lives in memory.

use super::store::{Kept, Key, Others, Said, Shape, Stood, Store, indexed};
use change::Cell;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

/// Value → keys of the rows that hold it.
type Index = HashMap<Box<str>, BTreeSet<Key>>;

#[derive(Clone, Default)]
struct Table {
    name: String,
    columns: Vec<Arc<str>>,
    others: Vec<Arc<str>>,
    rows: BTreeMap<Key, (Kept, Others)>,
    /// By column.
    indexes: Vec<(usize, Index)>,
}

impl Table {
    fn of(shape: &Shape) -> Self {
        Self {
            name: shape.table.clone(),
            columns: shape.columns.iter().map(|name| name.as_str().into()).collect(),
            indexes: shape.indexed.iter().map(|column| (*column, Index::new())).collect(),
            ..Self::default()
        }
    }

    fn put(&mut self, key: Key, row: Kept, others: Others) {
        self.remove(&key);
        for (column, index) in &mut self.indexes {
            if let Some(value) = indexed(&row, *column) {
                index.entry(value.into()).or_default().insert(key.clone());
            }
        }
        self.rows.insert(key, (row, others));
    }

    fn remove(&mut self, key: &str) -> Option<Kept> {
        let (row, _) = self.rows.remove(key)?;
        for (column, index) in &mut self.indexes {
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
}

#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Vec<Table>,
    said: BTreeMap<String, Said>,
    notes: BTreeMap<String, Vec<u8>>,
}

impl MemoryStore {
    pub fn new(shapes: &[Shape]) -> Self {
        Self { tables: shapes.iter().map(Table::of).collect(), ..Self::default() }
    }

    /// The same rows as another mapping looks at them.
    #[must_use]
    pub fn reshaped(self, shapes: &[Shape]) -> Self {
        let mut tables: Vec<Table> = shapes.iter().map(Table::of).collect();
        for before in self.tables {
            let place = tables.iter().position(|table| table.name == before.name).unwrap_or_else(|| {
                tables.push(Table { name: before.name.clone(), ..Table::default() });
                tables.len() - 1
            });
            let table = &mut tables[place];
            for (key, (row, others)) in before.rows {
                let named = before.columns.iter().cloned().zip(row.cells.iter().cloned());
                let mut whole: Vec<(Arc<str>, Cell)> = named.chain(others).collect();
                let mut take = |name: &Arc<str>| {
                    let at = whole.iter().position(|(known, _)| known == name);
                    at.map_or(Cell::Null, |at| whole.swap_remove(at).1)
                };
                let cells = table.columns.iter().map(&mut take).collect();
                whole.sort_by(|(a, _), (b, _)| a.cmp(b));
                table.put(key, Kept { cells, ..row }, whole);
            }
        }
        Self { tables, ..self }
    }
}

impl Store for MemoryStore {
    fn add_table(&mut self, name: &str) -> usize {
        self.tables.iter().position(|table| table.name == name).unwrap_or_else(|| {
            self.tables.push(Table { name: name.to_owned(), ..Table::default() });
            self.tables.len() - 1
        })
    }

    fn tables(&self) -> Vec<String> {
        self.tables.iter().map(|table| table.name.clone()).collect()
    }

    fn lay_out(&mut self, table: usize, others: &[Arc<str>]) {
        self.tables[table].others = others.to_vec();
    }

    fn get(&self, table: usize, key: &str) -> Option<Kept> {
        self.tables[table].rows.get(key).map(|(row, _)| row.clone())
    }

    fn others(&self, table: usize, key: &str) -> Option<Others> {
        self.tables[table].rows.get(key).map(|(_, others)| others.clone())
    }

    fn put(&mut self, table: usize, key: Key, row: Kept, others: &[&Cell]) {
        let table = &mut self.tables[table];
        let others = table.others.iter().cloned().zip(others.iter().map(|cell| (*cell).clone())).collect();
        table.put(key, row, others);
    }

    fn shown(&mut self, table: usize, key: &str, readings: u32) {
        if let Some((row, _)) = self.tables[table].rows.get_mut(key) {
            row.stands = Stood { readings, ..row.stands };
        }
    }

    fn remove(&mut self, table: usize, key: &str) -> Option<Kept> {
        self.tables[table].remove(key)
    }

    fn scan(&self, table: usize, after: Option<&str>, max: usize) -> Vec<(Key, Kept)> {
        let from = after.map_or(Unbounded, Excluded);
        let rows = self.tables[table].rows.range::<str, _>((from, Unbounded));
        rows.take(max).map(|(key, (row, _))| (key.clone(), row.clone())).collect()
    }

    fn find(&self, table: usize, column: usize, value: &str) -> Vec<(Key, Kept)> {
        let table = &self.tables[table];
        let index = table.indexes.iter().find(|(indexed, _)| *indexed == column);
        let keys = index.and_then(|(_, index)| index.get(value)).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), table.rows.get(key)?.0.clone()))).collect()
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

    fn all_said(&self, after: Option<&str>, max: usize) -> Vec<(String, Said)> {
        let said = self.said.range::<str, _>((after.map_or(Unbounded, Excluded), Unbounded));
        said.take(max).map(|(name, said)| (name.clone(), said.clone())).collect()
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
