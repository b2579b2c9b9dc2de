//! What could not be decoded, mapped, coded or linked.

use crate::Micros;
use change::Position;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Kept whole, so that it can be looked at and replayed. The words never hold values.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Empty when the message does not tell.
    pub source: String,
    pub position: Option<Position>,
    /// The service that gave up: `capture`, `normaliser`, `linker`, `views`.
    pub stage: String,
    /// Fixed words: `missing patient`, `malformed message`.
    pub reason: String,
    /// Which column or rule.
    pub detail: String,
    /// `schema.name` at the source.
    pub table: Option<String>,
    /// Where it was read from; none when it never reached a topic.
    pub key: Option<Vec<u8>>,
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    /// The source's own patient key, where known.
    pub patient: Option<String>,
    /// The message's value as it was.
    pub original: Option<Vec<u8>>,
    pub committed_at: Option<Micros>,
    /// What is wrong of what: the same however often it is told. None: the message stands for itself.
    pub item: Option<String>,
    /// Resolved: it says so of what was told before under this name.
    pub closed: bool,
}

impl Quarantined {
    /// What the item goes by: its name, or where it was told, of those that stand for themselves.
    pub fn name(&self) -> String {
        self.item.clone().unwrap_or_else(|| {
            let position = self.position.map_or_else(String::new, |position| position.to_string());
            let offset = self.offset.unwrap_or(-1);
            format!("{}:{position}:{offset}:{}:{}", self.source, self.reason, self.detail)
        })
    }
}

/// Logs never show what is in it.
impl fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantined")
            .field("source", &self.source)
            .field("position", &self.position)
            .field("stage", &self.stage)
            .field("reason", &self.reason)
            .field("table", &self.table)
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
