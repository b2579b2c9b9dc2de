//! What can go wrong, by who must act: the connector itself tries again, or an operator decides.

use crate::signal::SignalError;
use boot::database::DatabaseError;
use change::Lsn;
use change_log::{RegistryError, TailError, TopicError, WriteError};
use pgwire_replication::PgWireError;

#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    #[error("mistakes in the settings of source `{name}`: {what}")]
    Settings { name: String, what: String },
    #[error(transparent)]
    Connect(#[from] DatabaseError),
    #[error("the source database refused a statement or was lost while {doing}")]
    Database { doing: &'static str, source: tokio_postgres::Error },
    #[error("lost the replication stream of slot `{slot}`")]
    Stream { slot: String, source: PgWireError },
    #[error("the source database did not answer within {seconds} s")]
    Slow { seconds: u64 },
    #[error("nothing came over the replication stream of slot `{slot}` for {seconds} s")]
    Silent { slot: String, seconds: u64 },
    #[error("the replication stream cannot be understood")]
    Protocol(#[from] crate::decode::DecodeError),
    #[error("a row names relation {relation}, which the stream has not described")]
    UnknownRelation { relation: u32 },
    #[error("a row of {table} could not be read while taking the snapshot")]
    SnapshotRow { table: String },
    #[error("wal_level of the source is `{found}`; set it to `logical` and restart the server")]
    WalLevel { found: String },
    #[error("the source database is encoded in {found}: Causeway needs one that converts to UTF-8")]
    Encoding { found: String },
    #[error("{what}; let the source's administrator run the script of `causeway source setup {name}`")]
    Privilege { name: String, what: String, source: tokio_postgres::Error },
    #[error("no table of the source matches the setting `tables`")]
    NoTables,
    #[error("slot `{slot}` is in use by another connection (process {pid} of the server)")]
    SlotInUse { slot: String, pid: i32 },
    #[error("slot `{slot}` is not a logical slot of pgoutput in this database; name another slot")]
    ForeignSlot { slot: String },
    #[error(
        "slot `{slot}` is gone, but the log has history: changes since {last} may be missing. To take a new \
         snapshot into a new epoch of the log, set when_lost = \"snapshot\" and start again"
    )]
    SlotGone { slot: String, last: String },
    #[error(
        "slot `{slot}` was invalidated by the server ({status}): changes since {last} are missing. To take a new \
         snapshot into a new epoch of the log, set when_lost = \"snapshot\" and start again"
    )]
    SlotLost { slot: String, status: String, last: String },
    #[error(
        "slot `{slot}` stands at {confirmed}, ahead of its log, which ends at {log}: changes between are missing \
         from the log. Restore the log, or set when_lost = \"snapshot\" to take a new snapshot"
    )]
    SlotAhead { slot: String, confirmed: Lsn, log: Lsn },
    #[error(
        "the log belongs to the server with system id {log} on timeline {log_timeline}; this is {found} on timeline \
         {timeline}. Point the source at the right server, or set when_lost = \"snapshot\" to take a new snapshot"
    )]
    OtherServer { log: String, log_timeline: u32, found: String, timeline: u32 },
    #[error("the log was changed by another connector while this one was starting")]
    LogMoved,
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Signal(#[from] SignalError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("cannot start a thread for the connector")]
    Thread(#[source] std::io::Error),
    #[error("the connector's thread ended unexpectedly")]
    ThreadDied,
    #[error("a record could not be quarantined")]
    Quarantine(#[source] rdkafka::error::KafkaError),
}

impl ConnectorError {
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Database { .. }
            | Self::Stream { .. }
            | Self::Slow { .. }
            | Self::Silent { .. }
            | Self::Protocol(_)
            | Self::UnknownRelation { .. }
            | Self::SnapshotRow { .. }
            | Self::SlotInUse { .. }
            | Self::LogMoved
            | Self::Quarantine(_) => true,
            Self::Signal(SignalError::Topic(error)) | Self::Topic(error) => error.worth_retrying(),
            Self::Write(error) => error.worth_retrying(),
            Self::Signal(_) => true,
            Self::Tail(error) => !matches!(error, TailError::Forgotten { .. }),
            Self::Registry(error) => error.worth_retrying(),
            Self::Settings { .. }
            | Self::Thread(_)
            | Self::ThreadDied
            | Self::Connect(_)
            | Self::WalLevel { .. }
            | Self::Encoding { .. }
            | Self::Privilege { .. }
            | Self::NoTables
            | Self::ForeignSlot { .. }
            | Self::SlotGone { .. }
            | Self::SlotLost { .. }
            | Self::SlotAhead { .. }
            | Self::OtherServer { .. } => false,
        }
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, ConnectorError>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, doing: &'static str) -> Result<T, ConnectorError> {
        self.map_err(|source| ConnectorError::Database { doing, source })
    }
}
