//! By which columns rows are found.

use crate::{
    EngineError,
    catalogue::ToBuild,
    layer::Layer,
    rows::{DiskStore, locked, named, rest},
};
use fold::store::{Kept, Key, Store, indexed};
use xxhash_rust::xxh3::xxh3_64;

/// Of a value that rows are found by: [`ONLY`] and the key of the only one, or nothing, and then each has an entry.
const VALUE: u8 = b'v';
const ONLY: u8 = b'k';
const INDEX: u8 = b'i';
/// Of an index that finds rows with another key than the value: without this mark, a row's key is all that finds it.
pub const FOUND_BY: u8 = b'k';

/// Rows read at a time for an index.
const BUILT_AT_ONCE: usize = 4_096;

impl DiskStore {
    /// What the index holds is on the disk before it counts as kept: what a killed run left of one is cleared first.
    pub(crate) fn build(&mut self, ToBuild { table, column, index }: ToBuild) -> Result<(), EngineError> {
        let number = self.catalogue.tables[table].number();
        let name = &self.catalogue.tables[table].name;
        tracing::info!(
            table = name,
            column = &*self.catalogue.tables[table].columns[column],
            "makes an index of the rows that are there"
        );
        for tag in [VALUE, INDEX, FOUND_BY] {
            let prefix = [&[tag][..], &number.to_be_bytes(), &index.to_be_bytes()].concat();
            self.engine.clear(&prefix)?;
        }
        self.found_by.remove(&(number, index));
        let mut after: Option<Key> = None;
        loop {
            let page = self.scan(table, after.as_deref(), BUILT_AT_ONCE);
            for (key, row) in &page {
                if let Some(value) = indexed(row, column).filter(|value| **value != **key) {
                    self.list(number, index, &value, key);
                }
            }
            if let Some(error) = locked(&self.failure).take() {
                return Err(error);
            }
            if page.is_empty() || self.now.bytes() > crate::CHECKPOINT_BYTES {
                self.engine.write(self.now.iter())?;
                self.now = Layer::default();
            }
            match page.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => return Ok(()),
            }
        }
    }

    /// One row more has this value. Most values are of one row: a scan is for those of several.
    fn list(&mut self, table: u16, index: u16, value: &str, key: &str) {
        let of_value = index_prefix(VALUE, table, index, value);
        let digest = xxh3_64(&of_value);
        let slot = usize::try_from(digest % self.shared.len() as u64).unwrap_or(0);
        if self.shared[slot] == digest {
            self.set(&index_key(table, index, value, key), Some(Vec::new()));
            return;
        }
        match self.value(&of_value) {
            None => self.set(&of_value, Some(named(ONLY, key))),
            Some(only) => {
                if let Some(only) = rest(&only, 1) {
                    self.set(&index_key(table, index, value, only), Some(Vec::new()));
                    self.set(&of_value, Some(Vec::new()));
                }
                self.set(&index_key(table, index, value, key), Some(Vec::new()));
                self.shared[slot] = digest;
            }
        }
        if self.found_by.insert((table, index)) {
            self.set(&[&[FOUND_BY][..], &table.to_be_bytes(), &index.to_be_bytes()].concat(), Some(Vec::new()));
        }
    }

    fn unlist(&mut self, table: u16, index: u16, value: &str, key: &str) {
        let of_value = index_prefix(VALUE, table, index, value);
        if self.value(&of_value).is_some_and(|only| only == named(ONLY, key)) {
            self.set(&of_value, None);
        } else {
            self.set(&index_key(table, index, value, key), None);
        }
    }

    /// The row's indexed values, as another row has them or not.
    pub(crate) fn reindex(&mut self, table: usize, key: &str, before: Option<&Kept>, now: Option<&Kept>) {
        let number = self.catalogue.tables[table].number();
        for at in 0..self.catalogue.tables[table].indexed.len() {
            let (column, index) = self.catalogue.tables[table].indexed[at];
            let value = |row: Option<&Kept>| row.and_then(|row| indexed(row, column)).filter(|value| value != key);
            let (before, now) = (value(before), value(now));
            if before == now {
                continue;
            }
            if let Some(before) = before {
                self.unlist(number, index, &before, key);
            }
            if let Some(now) = now {
                self.list(number, index, &now, key);
            }
        }
    }

    /// Keys of the rows that have this value and another key.
    pub(crate) fn listed(&self, table: u16, index: u16, value: &str) -> Vec<Key> {
        let Some(only) = self.value(&index_prefix(VALUE, table, index, value)) else { return Vec::new() };
        if let Some(only) = rest(&only, 1) {
            return vec![only.into()];
        }
        let prefix = index_prefix(INDEX, table, index, value);
        let entries = self.entries(&prefix, None, usize::MAX);
        entries.iter().filter_map(|(key, _)| rest(key, prefix.len())).map(Key::from).collect()
    }
}

fn index_prefix(tag: u8, table: u16, index: u16, value: &str) -> Vec<u8> {
    // The length before it: no value is another's beginning.
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[tag][..], &table.to_be_bytes(), &index.to_be_bytes(), &length, value.as_bytes()].concat()
}

fn index_key(table: u16, index: u16, value: &str, key: &str) -> Vec<u8> {
    let mut whole = index_prefix(INDEX, table, index, value);
    whole.extend(key.as_bytes());
    whole
}
