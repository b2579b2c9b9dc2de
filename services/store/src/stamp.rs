//! What a store stands for: which log, up to where, under which mapping.

use change_log::{
    LogPoint,
    owners::{Offsets, Owned},
};
use fold::store::{FORM, read, write};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Its place in the store.
pub const KEY: &[u8] = b"z";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub form: u32,
    pub source: String,
    pub generation: u32,
    pub revision: u32,
    /// The epoch of the log's first record, where that is known.
    pub log: Option<u32>,
    /// Everything before this is in the store, and told.
    pub point: LogPoint,
    /// Where what was told ended: what was told after that may not be in the store.
    pub tails: Tails,
    /// Who told it, where several processes may.
    pub owned: Owned,
    /// What a walk that is not over tells was told in other words before: nobody waits for it to know how things stand.
    pub known: bool,
    /// Tables that the connector left out, and that have not been read anew.
    pub left_out: Vec<String>,
    pub rows: u64,
}

/// For each topic and partition, the offset after what was acknowledged last.
pub type Tails = Offsets;

impl Stamp {
    /// Of this version's form.
    pub fn new(source: &str, (generation, revision): (u32, u32), point: LogPoint) -> Self {
        Self { form: FORM, source: source.to_owned(), generation, revision, point, ..Self::default() }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = write(self);
        bytes.extend(xxh3_64(&bytes).to_be_bytes());
        bytes
    }

    /// None: not what was written.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (stamp, sum) = bytes.split_last_chunk::<8>()?;
        (xxh3_64(stamp).to_be_bytes() == *sum).then(|| read(stamp))?
    }
}
