//! What a store stands for: which log, up to where, under which mapping.

use change_log::LogPoint;
use fold::store::{FORM, Shape, read, write};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Its place in the store.
pub const KEY: &[u8] = b"z";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub form: u32,
    pub source: String,
    pub generation: u32,
    pub revision: u32,
    /// Everything before this is in the store, and told.
    pub point: LogPoint,
    pub shapes: Vec<Shape>,
    /// Tables that no snapshot has shown whole since the generation began.
    pub unread: Vec<String>,
    /// Tables that the connector left out, and that have not been read anew.
    pub left_out: Vec<String>,
    /// The log had lost its beginning when the generation began.
    pub aged: bool,
    pub rows: u64,
}

impl Stamp {
    /// Of this version's form.
    pub fn new(source: &str, (generation, revision): (u32, u32), point: LogPoint, shapes: &[Shape]) -> Self {
        let (source, shapes) = (source.to_owned(), shapes.to_vec());
        Self {
            form: FORM,
            source,
            generation,
            revision,
            point,
            shapes,
            unread: Vec::new(),
            left_out: Vec::new(),
            aged: false,
            rows: 0,
        }
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
