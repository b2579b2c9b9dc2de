//! How a connector is doing, for whoever shows it.

use crate::{budget::SlotView, upkeep::Advice};
use change::Lsn;
use serde::Serialize;

/// Shared by the connector, which writes it, and anyone, who reads it.
pub type Status = boot::shown::Shown<View>;

/// One moment of a connector.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct View {
    pub phase: Phase,
    /// Records written since the process started.
    pub changes: u64,
    pub changes_per_s: f64,
    /// For how long a commit has waited to be in the log; 0 if none waits. Of a source that is not read: for how long its
    /// server has had what the log does not hold.
    pub lag_s: f64,
    /// WAL that the server has and of which the log does not know yet.
    pub lag_bytes: u64,
    /// When the oldest transaction was committed that was read and is not in the log.
    #[serde(skip)]
    pub unconfirmed_since: Option<i64>,
    #[serde(skip)]
    pub level: Option<Lsn>,
    /// The slot's confirmed place.
    pub confirmed: Option<String>,
    pub reconnects: u64,
    /// Rows too large for the log, told in the quarantine.
    pub quarantined: u64,
    /// Changes with bytes that no character of the database's encoding has: they are told beside the row, spelt.
    pub spelt: u64,
    pub snapshot: Option<SnapshotView>,
    pub slot: Option<SlotView>,
    /// Sessions of its database that run statements, on average; asked only where snapshots wait for that.
    pub active_sessions: Option<f64>,
    /// Left out until the slot keeps far less than its budget; then they are read anew.
    pub paused_tables: Vec<String>,
    /// Left out until their shape is let in, or they are changed back; then they are read anew.
    pub refused_tables: Vec<LeftOutTable>,
    /// Why the source stands still until an operator decides, and with which command.
    pub refused: Option<String>,
    /// What the source's administrator has to decide; the rest of the source goes on meanwhile.
    pub advice: Vec<Advice>,
}

/// A table whose shape readers of its log may not understand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOutTable {
    pub table: String,
    /// When its first change was left out.
    pub since: String,
    /// With the command that lets it in.
    pub why: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    #[default]
    Starting,
    Snapshot,
    Streaming,
    /// Waiting to try again.
    Waiting,
    /// An operator paused it.
    Paused,
    /// An operator must decide how to go on; `refused` says what about.
    Refused,
    Stopped,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SnapshotView {
    pub id: String,
    pub table: String,
    pub tables_done: usize,
    pub tables: usize,
    pub rows: u64,
    /// What the server's statistics expect, of all tables; never below `rows`.
    pub rows_estimated: u64,
    pub rows_per_s: f64,
    /// At that rate.
    pub seconds_left: Option<f64>,
    pub done: bool,
    pub paused: bool,
    /// What it waits for, or what slows it down.
    pub waits_for: Option<&'static str>,
    /// Why a part of it has to be read again.
    pub problem: Option<String>,
}
