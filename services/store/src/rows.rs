//! Rows, what was said, and notes, as entries of the engine.

use crate::{
    EngineError,
    catalogue::{Catalogue, LAYOUT, Noted, TABLE},
    engine::Engine,
    index::FOUND_BY,
    layer::Layer,
    stamp::{self, Stamp},
};
use change::Cell;
use fold::store::{Kept, Key, Others, Said, Shape, Stood, Store, indexed, read, write};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use xxhash_rust::xxh3::xxh3_64;

const ROW: u8 = b'r';
const SAID: u8 = b's';
const NOTE: u8 = b'n';

/// Rows held as they are used.
const CACHE_ROWS: usize = 32_768;
/// A row with more cells or larger ones is read again each time.
const CACHED_ROW_BYTES_MAX: usize = 1_024;
/// Values of which it is remembered that several rows have them.
const SHARED_VALUES: usize = 65_536;

/// A table, a key, and the row, or that there is none.
type Cached = (usize, Key, Option<Kept>);

pub struct DiskStore {
    folder: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) catalogue: Catalogue,
    pub(crate) now: Layer,
    /// What is going down.
    frozen: Option<Arc<Layer>>,
    /// Tables and indexes by number.
    pub(crate) found_by: BTreeSet<(u16, u16)>,
    rows: u64,
    /// And what is known not to be there.
    cache: Mutex<Vec<Option<Cached>>>,
    /// Digests of values that several rows have.
    pub(crate) shared: Vec<u64>,
    pub(crate) failure: Mutex<Option<EngineError>>,
    /// The disk holds more than its stamp says: it went down before it could be told.
    spilt: bool,
    /// Nobody uses it any more: what reads it beside its user ends, and lets go of the folder.
    gone: Arc<AtomicBool>,
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

/// A frozen layer on its way to the disk.
pub struct Checkpoint {
    engine: Engine,
    layer: Arc<Layer>,
    stamp: Vec<u8>,
}

impl Checkpoint {
    /// Blocks until it is on the disk.
    pub fn write(&self) -> Result<(), EngineError> {
        let stamp = [(stamp::KEY, Some(self.stamp.as_slice()))];
        self.engine.write(self.layer.iter().chain(stamp))
    }

    pub fn bytes(&self) -> usize {
        self.layer.bytes()
    }
}

/// Reads the whole store: a block that nobody asks for may have been damaged long ago.
pub struct Scrub {
    engine: Engine,
    gone: Arc<AtomicBool>,
}

/// Between two breaths.
const SCRUBBED_AT_ONCE: u64 = 4_096;
const BREATH: Duration = Duration::from_millis(5);

impl Scrub {
    /// Blocks, for as long as there is something to read and the store is used. How many rows were read.
    pub fn run(&self) -> Result<u64, EngineError> {
        let (mut entries, mut rows) = (0, 0);
        for entry in self.engine.all() {
            let (key, value) = entry?;
            entries += 1;
            rows += u64::from(key.first() == Some(&ROW));
            if key == stamp::KEY {
                let stamp = Stamp::read(&value).ok_or(EngineError::Damaged("the stamp"))?;
                if stamp.rows != rows {
                    return Err(EngineError::Damaged("rows are missing"));
                }
            }
            if entries % SCRUBBED_AT_ONCE == 0 {
                if self.gone.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(BREATH);
            }
        }
        Ok(rows)
    }
}

impl DiskStore {
    /// Makes the indexes that this mapping needs and nobody kept: of many rows that takes a while.
    pub(crate) fn new(folder: &Path, engine: Engine, shapes: &[Shape], rows: u64) -> Result<Self, EngineError> {
        let noted = |tag: u8| engine.range(&[tag], None).collect::<Result<Vec<Noted>, EngineError>>();
        let (catalogue, build, changed) = Catalogue::open(noted(TABLE)?, noted(LAYOUT)?, shapes)?;
        let mut store = Self {
            folder: folder.to_owned(),
            catalogue,
            now: Layer::default(),
            frozen: None,
            found_by: BTreeSet::new(),
            rows,
            cache: Mutex::new(vec![None; CACHE_ROWS]),
            shared: vec![0; SHARED_VALUES],
            failure: Mutex::new(None),
            spilt: false,
            gone: Arc::default(),
            engine,
        };
        for (key, _) in store.entries(&[FOUND_BY], None, usize::MAX) {
            if let [_, a, b, c, d] = *key {
                store.found_by.insert((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
            }
        }
        if rows > 0 {
            for index in build {
                store.build(index)?;
            }
        }
        for (key, value) in changed {
            store.set(&key, Some(value));
        }
        Ok(store)
    }

    /// What waits to go down.
    pub const fn bytes(&self) -> usize {
        self.now.bytes()
    }

    /// Is a layer on its way?
    pub const fn is_freezing(&self) -> bool {
        self.frozen.is_some()
    }

    /// What went wrong, once: from then on nothing that it answers counts. What is damaged is not opened again.
    pub fn failure(&self) -> Option<EngineError> {
        let failure = locked(&self.failure).take();
        failure.iter().for_each(|error| self.condemn(error));
        failure
    }

    /// The next start sets aside what is damaged.
    pub fn condemn(&self, error: &EngineError) {
        if !error.is_of_disk() {
            // Without the mark the next start meets the same damage, and says so again.
            let _ = std::fs::write(crate::mark_of_damage(&self.folder), error.to_string());
        }
    }

    #[cfg(test)]
    pub(crate) fn flush(&self) -> Result<(), EngineError> {
        self.engine.flush()
    }

    /// What reads all of it, beside whoever uses it.
    pub fn scrub(&self) -> Scrub {
        Scrub { engine: self.engine.clone(), gone: self.gone.clone() }
    }

    /// Freezes what there is, as of the stamp. The one before has gone down.
    pub fn freeze(&mut self, stamp: Stamp) -> Checkpoint {
        let layer = Arc::new(std::mem::take(&mut self.now));
        self.frozen = Some(layer.clone());
        let stamp = Stamp { rows: self.rows, ..stamp };
        Checkpoint { engine: self.engine.clone(), layer, stamp: stamp.write() }
    }

    /// It is on the disk.
    pub fn landed(&mut self) {
        self.frozen = None;
        self.spilt = false;
    }

    /// Puts the layer down before what was made of it can be told, when there is too much of it. Until the next
    /// checkpoint the store is worth nothing to another start. Blocks.
    pub fn spill(&mut self) -> Result<(), EngineError> {
        let unstamped = (!self.spilt).then_some((stamp::KEY, None));
        self.engine.write(unstamped.into_iter().chain(self.now.iter()))?;
        self.spilt = true;
        self.now = Layer::default();
        Ok(())
    }

    fn number(&self, table: usize) -> u16 {
        self.catalogue.tables[table].number()
    }

    fn raw(&self, table: usize, key: &str) -> Option<Vec<u8>> {
        self.value(&row_key(self.number(table), key))
    }

    pub(crate) fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some(value) = self.now.get(key) {
            return value.map(<[u8]>::to_vec);
        }
        if let Some(value) = self.frozen.as_ref().and_then(|frozen| frozen.get(key)) {
            return value.map(<[u8]>::to_vec);
        }
        self.engine.get(key).unwrap_or_else(|error| self.fail(error))
    }

    /// The newest of each key.
    pub(crate) fn entries(&self, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let empty = Layer::default();
        let mut now = self.now.range(prefix, after).peekable();
        let mut frozen = self.frozen.as_deref().unwrap_or(&empty).range(prefix, after).peekable();
        let mut beneath = self.engine.range(prefix, after).peekable();
        let mut entries = Vec::new();
        while entries.len() < max {
            let under = match beneath.peek() {
                Some(Ok((key, _))) => Some(key.as_slice()),
                Some(Err(_)) => {
                    if let Some(Err(error)) = beneath.next() {
                        self.fail::<()>(error);
                    }
                    return Vec::new();
                }
                None => None,
            };
            let keys = [now.peek().map(|(key, _)| *key), frozen.peek().map(|(key, _)| *key), under];
            let Some(key) = keys.into_iter().flatten().min().map(<[u8]>::to_vec) else { break };
            let newest = now.next_if(|(at, _)| *at == key).map(|(_, value)| value);
            let older = frozen.next_if(|(at, _)| *at == key).map(|(_, value)| value);
            let oldest = beneath.next_if(|entry| entry.as_ref().is_ok_and(|(at, _)| *at == key));
            let value = match newest.or(older) {
                Some(value) => value.map(<[u8]>::to_vec),
                None => oldest.and_then(Result::ok).map(|(_, value)| value),
            };
            entries.extend(value.map(|value| (key, value)));
        }
        entries
    }

    fn fail<T>(&self, error: EngineError) -> Option<T> {
        locked(&self.failure).get_or_insert(error);
        None
    }

    /// What is there cannot be read as what was written there.
    fn understood<T>(&self, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.fail::<()>(EngineError::Damaged("an entry"));
        }
        value
    }

    pub(crate) fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        self.now.set(key, value);
    }

    /// Some: it is known, or known not to be there.
    fn cached(&self, table: usize, key: &str) -> Option<Option<Kept>> {
        let cache = locked(&self.cache);
        let known = cache[slot(table, key)].as_ref().filter(|(of, known, _)| *of == table && **known == *key)?;
        Some(known.2.clone())
    }

    fn cache(&self, table: usize, key: &Key, row: Option<&Kept>, size: usize) {
        let row = (size <= CACHED_ROW_BYTES_MAX).then(|| (table, key.clone(), row.cloned()));
        locked(&self.cache)[slot(table, key)] = row;
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slot(table: usize, key: &str) -> usize {
    let digest = xxh3_64(key.as_bytes()).wrapping_add((table as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    usize::try_from(digest % CACHE_ROWS as u64).unwrap_or(0)
}

fn row_key(table: u16, key: &str) -> Vec<u8> {
    [&[ROW][..], &table.to_be_bytes(), key.as_bytes()].concat()
}

pub(crate) fn named(tag: u8, name: &str) -> Vec<u8> {
    [&[tag][..], name.as_bytes()].concat()
}

/// What stands in a key after its prefix. Keys were made of text.
pub(crate) fn rest(key: &[u8], prefix: usize) -> Option<&str> {
    std::str::from_utf8(key.get(prefix..)?).ok()
}

impl Store for DiskStore {
    fn add_table(&mut self, name: &str) -> usize {
        let (place, noted) = self.catalogue.add(name);
        if let Some((key, value)) = noted {
            self.set(&key, Some(value));
        }
        place
    }

    fn tables(&self) -> Vec<String> {
        self.catalogue.tables.iter().map(|table| table.name.clone()).collect()
    }

    fn lay_out(&mut self, table: usize, others: &[Arc<str>]) {
        if let Some((key, value)) = self.catalogue.lay_out(table, others) {
            self.set(&key, Some(value));
        }
    }

    fn get(&self, table: usize, key: &str) -> Option<Kept> {
        if let Some(known) = self.cached(table, key) {
            return known;
        }
        let Some(value) = self.raw(table, key) else {
            self.cache(table, &key.into(), None, 0);
            return None;
        };
        let row: Kept = self.understood(self.catalogue.read(&value))?;
        self.cache(table, &key.into(), Some(&row), value.len());
        Some(row)
    }

    fn others(&self, table: usize, key: &str) -> Option<Others> {
        let value = self.raw(table, key)?;
        self.understood(self.catalogue.others(table, &value))
    }

    fn put(&mut self, table: usize, key: Key, row: Kept, others: &[&Cell]) {
        let before = self.get(table, &key);
        self.rows += u64::from(before.is_none());
        self.reindex(table, &key, before.as_ref(), Some(&row));
        let Some(value) = self.understood(self.catalogue.write(table, &row, others)) else { return };
        self.cache(table, &key, Some(&row), value.len());
        self.set(&row_key(self.number(table), &key), Some(value));
    }

    fn shown(&mut self, table: usize, key: &str, readings: u32) {
        let Some(row) = self.get(table, key).filter(|row| row.stands.readings < readings) else { return };
        let Some(value) = self.raw(table, key).and_then(|value| self.understood(Catalogue::shown(&value, readings)))
        else {
            return;
        };
        let row = Kept { stands: Stood { readings, ..row.stands }, ..row };
        self.cache(table, &key.into(), Some(&row), value.len());
        self.set(&row_key(self.number(table), key), Some(value));
    }

    fn remove(&mut self, table: usize, key: &str) -> Option<Kept> {
        let before = self.get(table, key)?;
        self.rows = self.rows.saturating_sub(1);
        self.reindex(table, key, Some(&before), None);
        self.cache(table, &key.into(), None, 0);
        self.set(&row_key(self.number(table), key), None);
        Some(before)
    }

    fn scan(&self, table: usize, after: Option<&str>, max: usize) -> Vec<(Key, Kept)> {
        let number = self.number(table);
        let prefix = row_key(number, "");
        let after = after.map(|after| row_key(number, after));
        let entries = self.entries(&prefix, after.as_deref(), max).into_iter();
        let row = |(key, value): Noted| Some((Key::from(rest(&key, prefix.len())?), self.catalogue.read(&value)?));
        entries.filter_map(|entry| self.understood(row(entry))).collect()
    }

    fn find(&self, table: usize, column: usize, value: &str) -> Vec<(Key, Kept)> {
        let own = self.get(table, value).filter(|row| indexed(row, column).as_deref() == Some(value));
        let mut rows: Vec<(Key, Kept)> = own.into_iter().map(|row| (Key::from(value), row)).collect();
        let number = self.number(table);
        let indexed = self.catalogue.tables[table].indexed.iter().find(|(indexed, _)| *indexed == column);
        let Some((_, index)) = indexed.filter(|(_, index)| self.found_by.contains(&(number, *index))) else {
            return rows;
        };
        let others = self.listed(number, *index, value);
        rows.extend(others.into_iter().filter_map(|key| Some((key.clone(), self.get(table, &key)?))));
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }

    fn said(&self, record: &str) -> Option<Said> {
        let value = self.value(&named(SAID, record))?;
        self.understood(read(&value))
    }

    fn say(&mut self, record: &str, said: Option<Said>) {
        self.set(&named(SAID, record), said.as_ref().map(write));
    }

    fn all_said(&self, after: Option<&str>, max: usize) -> Vec<(String, Said)> {
        let after = after.map(|after| named(SAID, after));
        let entries = self.entries(&[SAID], after.as_deref(), max).into_iter();
        let said = |(key, value): Noted| Some((rest(&key, 1)?.to_owned(), read(&value)?));
        entries.filter_map(|entry| self.understood(said(entry))).collect()
    }

    fn note(&self, name: &str) -> Option<Vec<u8>> {
        self.value(&named(NOTE, name))
    }

    fn keep_note(&mut self, name: &str, note: Option<Vec<u8>>) {
        self.set(&named(NOTE, name), note);
    }

    fn notes(&self, prefix: &str, after: Option<&str>, max: usize) -> Vec<(String, Vec<u8>)> {
        let (prefix, after) = (named(NOTE, prefix), after.map(|after| named(NOTE, after)));
        let entries = self.entries(&prefix, after.as_deref(), max).into_iter();
        entries.filter_map(|(key, value)| Some((rest(&key, 1)?.to_owned(), value))).collect()
    }

    fn rows(&self) -> usize {
        usize::try_from(self.rows).unwrap_or(usize::MAX)
    }
}
