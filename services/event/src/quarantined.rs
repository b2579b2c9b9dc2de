//! What could not be decoded, mapped, coded or linked.

use crate::Micros;
use change::Position;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The header in which the normaliser names an item, so that a restart can tell what is there already.
pub const ITEM_HEADER: &str = "causeway.item";

/// What an operator says of an item that they close by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Seen to: what was set aside is in the record by another way, or does not belong there.
    Resolved,
    /// Given up: it stays out of the record.
    Dropped,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Dropped => "dropped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Resolved, Self::Dropped].into_iter().find(|verdict| verdict.as_str() == text)
    }
}

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
    /// Closed by hand: where on its topic that stands which it closes. What has no name of its own can be told from
    /// another of its kind only so.
    pub closes: Option<i64>,
    pub closed_as: Option<Verdict>,
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
