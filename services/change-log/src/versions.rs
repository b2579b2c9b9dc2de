//! What versions of one of our schemas say, read as ours.

use crate::{frame, registry::Registry, registry::RegistryError};
use change::avro::{DecodeError, Resolution};
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// Schema ids that are known. Topics have few; more are somebody's mistake.
const IDS_KNOWN_MAX: usize = 256;
/// Why a message cannot be read. These words stand in `quarantine`.
pub const FOREIGN_MESSAGE: &str = "foreign message";
pub const FOREIGN_SCHEMA: &str = "foreign schema";
pub const MALFORMED: &str = "malformed message";

/// Reads messages of one topic whose writers may have had other versions of the schema.
#[derive(Debug)]
pub struct Versions {
    registry: Registry,
    /// Our schema.
    reader: &'static str,
    /// None: that schema cannot be read as ours. An id never changes its meaning, so that this is remembered.
    known: HashMap<u32, Option<Arc<Resolution>>>,
}

impl Versions {
    pub fn new(registry: Registry, reader: &'static str) -> Self {
        Self { registry, reader, known: HashMap::new() }
    }

    /// The datum as our schema has it, or why there is none. `Err` is not the message's fault: the registry does not
    /// answer, or a later version than ours wrote what ours does not know. The message waits, and is asked for again.
    pub async fn datum<'a>(&mut self, payload: &'a [u8]) -> Result<Result<Cow<'a, [u8]>, &'static str>, RegistryError> {
        let Ok((id, datum)) = frame::unwrap(payload) else { return Ok(Err(FOREIGN_MESSAGE)) };
        let resolution = match self.known.get(&id) {
            Some(known) => known.clone(),
            None => match self.registry.schema(id).await {
                Ok(writer) => self.learn(id, &writer),
                // Not remembered: a registry that was restored may know it tomorrow.
                Err(RegistryError::UnknownId { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        let Some(resolution) = resolution else { return Ok(Err(FOREIGN_SCHEMA)) };
        match resolution.datum(datum) {
            Err(DecodeError::Newer(what)) => Err(RegistryError::Newer { id, what }),
            read => Ok(read.map_err(|_| MALFORMED)),
        }
    }

    fn learn(&mut self, id: u32, writer: &str) -> Option<Arc<Resolution>> {
        let resolution = match Resolution::new(writer, self.reader) {
            Ok(resolution) => Some(Arc::new(resolution)),
            Err(error) => {
                tracing::warn!(schema = id, %error, "a schema on a topic of ours cannot be read as ours");
                None
            }
        };
        if self.known.len() >= IDS_KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(id, resolution.clone());
        resolution
    }
}
