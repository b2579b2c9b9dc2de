//! `source.progress`: up to when each source's changes have been told, so that a source that is quiet differs from one that
//! nobody listens to.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::topics::{Kept, TopicSpec};
use serde::{Deserialize, Serialize};

/// Key: the source; value: [`Told`] as JSON.
pub const TOPIC: &str = "source.progress";

/// Every change that the source had committed by `at` is on `patient.events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub source: String,
    /// ODS code of the organisation that runs the source.
    pub organisation: String,
    /// By the source's clock, and never later than the normaliser's; microseconds since the epoch.
    pub at: i64,
}

/// The topic, for [`crate::topics::ensure`].
pub fn topic() -> TopicSpec {
    TopicSpec::new(TOPIC, 1, Kept::Compacted)
}

impl Told {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::json!(self).to_string().into_bytes()
    }

    /// `None` for what is not ours.
    pub fn decode(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_grows() {
        let told = Told { source: "riverside".into(), organisation: "R1V01".into(), at: 1_800_000_000_000_000 };
        assert_eq!(Told::decode(&told.encode()), Some(told));
        let grown = br#"{"source":"s","organisation":"o","at":1,"more":true}"#;
        assert_eq!(Told::decode(grown).map(|told| told.at), Some(1));
        assert_eq!(Told::decode(b"{}"), None);
        assert_eq!(Told::decode(b"\xff"), None);
    }
}
