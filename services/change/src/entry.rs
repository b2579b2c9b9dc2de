//! One change with its place in the log.

use crate::{
    position::{Lsn, Position},
    row::Row,
    table::TableSchema,
};
use std::sync::Arc;

/// What one message of the source says. A new kind breaks every `match` until handled.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A row read by a snapshot.
    Snapshot {
        new: Row,
    },
    Insert {
        new: Row,
    },
    /// `old` is what the replica identity gives: nothing, the key, or the whole row.
    Update {
        old: Option<Row>,
        new: Row,
    },
    Delete {
        old: Option<Row>,
    },
    Truncate,
    /// `pg_logical_emit_message`.
    Message {
        prefix: String,
        content: Vec<u8>,
    },
}

/// A change as a reader of `changes.<source>` gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub position: Position,
    /// The offset in `changes.<source>`.
    pub offset: i64,
    /// The table; of a logical message, none.
    pub table: Option<Arc<TableSchema>>,
    pub change: Change,
    /// Commit time at the source, microseconds since the epoch.
    pub committed_at: i64,
    /// On the last record of a transaction: where the commit ends.
    pub commit_end: Option<Lsn>,
    pub traceparent: Option<String>,
    /// The node from which the source itself received the change; none of its own.
    pub origin: Option<String>,
}
