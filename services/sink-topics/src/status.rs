//! How the projector is doing, for whoever shows it.

use crate::waiting::Waiting;
use serde::Serialize;

/// Shared by the projector, which writes it, and anyone, who reads it.
pub type Status = boot::shown::Shown<View>;

/// One moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct View {
    /// Topics written to since the start.
    pub topics: usize,
    /// Records handed to Kafka since the start, tombstones among them.
    pub records: u64,
    pub in_flight: usize,
    /// Tables whose topic cannot take their records.
    pub waiting: Vec<Waiting>,
    /// The offset of `changes.<source>` up to which everything is in the topics, but for what tables wait with.
    pub settled: i64,
    /// Commit time of the last change that was read, microseconds since the epoch.
    pub committed_at: i64,
}
