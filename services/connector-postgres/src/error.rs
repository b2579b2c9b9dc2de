//! What can go wrong, by who must act: the connector itself tries again, or an operator decides.

use boot::{
    database::{DatabaseError, DatabaseFault, Refusal},
    panics::Panicked,
};
use change::{Lsn, TableId};
use change_log::{
    RegistryError, Stalled, TailError, TopicError, WriteError,
    signal::{SignalError, aside::ASIDE_MAX},
};
use pgwire_replication::PgWireError;
use tokio_postgres::error::SqlState;

#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    #[error("mistakes in the settings of source `{name}`: {what}")]
    Settings { name: String, what: String },
    #[error(transparent)]
    Connect(#[from] DatabaseError),
    #[error("the database server of source `{source_name}` is refused: {why}")]
    Untrusted { source_name: String, why: Refusal },
    #[error("the source database refused a statement or was lost while {doing}")]
    Database { doing: &'static str, source: DatabaseFault },
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
    #[error(
        "{what}; let the source's administrator run the script of `causeway source setup CONFIG {source_name} --print-sql`"
    )]
    Privilege { source_name: String, what: String },
    #[error(
        "the connector's role may not read all rows of {table}, and a snapshot leaves none out. Let the source's administrator \
         grant select on it or, where it has row-level security, run `alter role … bypassrls`: `causeway source list` has \
         the statement"
    )]
    Unreadable { table: String, source: DatabaseFault },
    #[error("no table of the source matches the setting `tables`")]
    NoTables,
    #[error(
        "publication `{publication}` leaves out columns of keys: {tables}. Without its key nothing tells a row in the log \
         from another. Let the source's administrator run `{sql}`"
    )]
    KeyNotPublished { publication: String, tables: String, sql: String },
    #[error(
        "{table} cannot be read by its key: what comes behind the last row that was read is that row again, or its key \
         cannot be read at all. Nothing of this part was told. Look at the key's columns: are they published, and do their \
         types print what they read?"
    )]
    NoProgress { table: String },
    #[error(
        "slot `{slot}` is in use by another connection (process {pid} of the server, which calls itself `{name}`). Stop \
         whoever that is, or let the source's administrator run `select pg_terminate_backend({pid})`"
    )]
    SlotInUse { slot: String, pid: i32, name: String },
    #[error(
        "slot `{slot}` is not a logical slot of pgoutput in this database: name another `slot` in the settings of \
         source `{source_name}`, or let its administrator run `select pg_drop_replication_slot('{slot}')`"
    )]
    ForeignSlot { source_name: String, slot: String },
    #[error(
        "slot `{slot}` does not continue the log, which ends at {last}: {why}. To read all tables anew into a new epoch \
         of the log: `causeway source snapshot CONFIG {source_name} --recreate-slot`"
    )]
    Broken { source_name: String, slot: String, last: String, why: Break },
    #[error(
        "the WAL that slot `{slot}` has still to read was written in part while publication `{publication}` did not exist: it \
         was dropped, and made again. Servers before PostgreSQL 18 cannot read that WAL, so changes in it are missing. To \
         read all tables anew into a new epoch of the log: `causeway source snapshot CONFIG {source_name} --recreate-slot`"
    )]
    PublicationMissed { source_name: String, slot: String, publication: String },
    #[error(
        "{table} has a new shape that readers of its log may not understand (subject `{subject}`): {differences}. Nothing \
         is told of the table; the rest of the source goes on. Let the shape in with `causeway source accept-schema CONFIG \
         {source_name} {table}`, or change the table back: then all of it is read anew"
    )]
    Incompatible { source_name: String, table: TableId, subject: String, differences: String },
    #[error("{ASIDE_MAX} tables are left out for their shapes already, and with one more the source waits")]
    TooManyAside { source: Box<ConnectorError> },
    #[error("the log was changed by another connector while this one was starting")]
    LogMoved,
    #[error(transparent)]
    Stalled(#[from] Stalled),
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
    #[error(transparent)]
    Panicked(#[from] Panicked),
    #[error("a record could not be quarantined")]
    Quarantine(#[source] rdkafka::error::KafkaError),
}

/// Why a slot does not continue its log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    #[error("it is gone, so changes since then may be missing")]
    SlotGone,
    #[error("the server has invalidated it ({reason}), so changes since then are missing")]
    SlotLost { reason: String },
    #[error(
        "it stands at {confirmed}, ahead of its log ({log}), so changes between are missing from the log. Bring the log \
         back if it can be"
    )]
    SlotAhead { confirmed: Lsn, log: Lsn },
    #[error(
        "the log is of the server with system id {log}, and this one has {found}. If it is the wrong one, mend `url`"
    )]
    OtherServer { log: String, found: String },
    #[error(
        "the log is of timeline {log} of this server, which is on timeline {found} now: it was promoted or restored, and \
         may have lost what the log holds"
    )]
    OtherTimeline { log: u32, found: u32 },
    #[error("the log stands at {log}, and the server's WAL ends at {server}: it has lost what the log holds")]
    ServerBehind { log: Lsn, server: Lsn },
}

impl ConnectorError {
    /// An operator, here or at the source, lets the connector go on; until then there is nothing to do.
    pub const fn waits_for_operator(&self) -> bool {
        matches!(
            self,
            Self::Broken { .. }
                | Self::ForeignSlot { .. }
                | Self::PublicationMissed { .. }
                | Self::Incompatible { .. }
                | Self::TooManyAside { .. }
                | Self::Untrusted { .. }
                | Self::Privilege { .. }
                | Self::NoTables
                | Self::KeyNotPublished { .. }
                | Self::WalLevel { .. }
                | Self::Tail(TailError::Forgotten { .. })
        )
    }

    /// Names the table that may not be read.
    pub(crate) fn of_table(self, schema: &str, name: &str) -> Self {
        match self {
            Self::Database { source, .. } if source.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                Self::Unreadable { table: format!("{schema}.{name}"), source }
            }
            other => other,
        }
    }

    /// Rows were refused, or the statement that asked for them: a data exception, or a syntax error or a rule that is not
    /// about privileges.
    pub(crate) fn is_of_the_condition(&self) -> bool {
        matches!(self, Self::Database { source, .. } if source.is_of(&["22", "42"]))
    }

    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Database { .. }
            | Self::Unreadable { .. }
            | Self::Stream { .. }
            | Self::Slow { .. }
            | Self::Silent { .. }
            | Self::Protocol(_)
            | Self::UnknownRelation { .. }
            | Self::SnapshotRow { .. }
            | Self::NoProgress { .. }
            | Self::SlotInUse { .. }
            | Self::LogMoved
            | Self::Stalled(_)
            | Self::Quarantine(_) => true,
            Self::Signal(SignalError::Topic(error)) | Self::Topic(error) => error.worth_retrying(),
            Self::Write(error) => error.worth_retrying(),
            Self::Signal(_) => true,
            Self::Tail(error) => !matches!(error, TailError::Forgotten { .. }),
            Self::Registry(error) => error.worth_retrying(),
            Self::Settings { .. }
            | Self::Panicked(_)
            | Self::Connect(_)
            | Self::WalLevel { .. }
            | Self::Privilege { .. }
            | Self::NoTables
            | Self::KeyNotPublished { .. }
            | Self::ForeignSlot { .. }
            | Self::Untrusted { .. }
            | Self::PublicationMissed { .. }
            | Self::Incompatible { .. }
            | Self::TooManyAside { .. }
            | Self::Broken { .. } => false,
        }
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, ConnectorError>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, doing: &'static str) -> Result<T, ConnectorError> {
        self.map_err(|source| ConnectorError::Database { doing, source: source.into() })
    }
}
