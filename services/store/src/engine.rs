//! The embedded store beneath: fjall, behind the four things that are asked of it.

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

/// Blocks of tables held in memory, of one source.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// A memtable of this size is written as a table.
const MEMTABLE_BYTES: u64 = 64 * 1024 * 1024;
const JOURNAL_BYTES: u64 = 256 * 1024 * 1024;
/// Tables held open, of one source.
const FILES_OPEN_MAX: usize = 128;
const KEYSPACE: &str = "source";
const CLEARED_AT_ONCE: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("it is open in another process")]
    Locked,
    #[error("the disk failed: {}", .0.kind())]
    Disk(std::io::Error),
    /// In the engine's words, which hold no values.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

impl EngineError {
    pub const fn is_of_disk(&self) -> bool {
        matches!(self, Self::Disk(_))
    }
}

/// The name of what went wrong. What else an error of the engine says may hold keys.
impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        use fjall::Error;
        match error {
            Error::Locked => Self::Locked,
            Error::Io(error) => of_io(error),
            Error::Storage(fjall::LsmError::Io(error)) => of_io(error),
            Error::Storage(_) => Self::Damaged("a table or manifest"),
            Error::JournalRecovery(_) | Error::InvalidTrailer | Error::InvalidTag(_) => Self::Damaged("the journal"),
            Error::Decompress(_) => Self::Damaged("a compressed block"),
            Error::InvalidVersion(_) => Self::Damaged("its version"),
            Error::Poisoned => Self::Disk(std::io::Error::other("a write failed")),
            _ => Self::Damaged("unrecoverable"),
        }
    }
}

/// A file that ends too early or is not there is a damaged store; the rest is the disk's.
fn of_io(error: std::io::Error) -> EngineError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidData => {
            EngineError::Damaged("a file")
        }
        _ => EngineError::Disk(error),
    }
}

#[derive(Clone)]
pub struct Engine {
    database: Database,
    keyspace: Keyspace,
}

impl Engine {
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(FILES_OPEN_MAX))
            .worker_threads(1)
            .open()?;
        let keyspace =
            database.keyspace(KEYSPACE, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))?;
        Ok(Self { database, keyspace })
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.keyspace.get(key)?.map(|value| value.to_vec()))
    }

    pub fn is_empty(&self) -> Result<bool, EngineError> {
        Ok(self.keyspace.is_empty()?)
    }

    /// Entries of which the key begins so, after this key, in order.
    pub fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), EngineError>> + use<'a> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = after.map_or_else(|| Included(prefix.to_vec()), |after| Excluded(after.to_vec()));
        let entries = self.keyspace.range::<Vec<u8>, _>((from, Unbounded));
        let entries = entries.map(|entry| {
            let (key, value) = entry.into_inner()?;
            Ok((key.to_vec(), value.to_vec()))
        });
        entries.take_while(move |entry| {
            entry.as_ref().map_or(true, |(key, _): &(Vec<u8>, Vec<u8>)| key.starts_with(prefix))
        })
    }

    /// All of it or nothing, and on the disk when this returns.
    pub fn write<'a>(&self, entries: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Result<(), EngineError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for (key, value) in entries {
            match value {
                Some(value) => batch.insert(&self.keyspace, key, value),
                None => batch.remove(&self.keyspace, key),
            }
        }
        Ok(batch.commit()?)
    }

    /// Removes entries of which the key begins so, some at a time.
    pub fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        loop {
            let found: Result<Vec<_>, _> = self.range(prefix, None).take(CLEARED_AT_ONCE).collect();
            let found = found?;
            if found.is_empty() {
                return Ok(());
            }
            self.write(found.iter().map(|(key, _)| (key.as_slice(), None)))?;
        }
    }

    /// Everything, as of one moment. Each block is checked as it is read.
    pub fn all(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), EngineError>> {
        self.keyspace.iter().map(|entry| {
            let (key, value) = entry.into_inner()?;
            Ok((key.to_vec(), value.to_vec()))
        })
    }

    /// Tests: what is in memory becomes a table.
    #[cfg(test)]
    pub fn flush(&self) -> Result<(), EngineError> {
        Ok(self.keyspace.rotate_memtable_and_wait()?)
    }

    /// Tests: what is in memory begins to become a table.
    #[cfg(test)]
    pub fn begin_flush(&self) -> Result<(), EngineError> {
        self.keyspace.rotate_memtable()?;
        Ok(())
    }
}
