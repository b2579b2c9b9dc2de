//! What can go wrong with the world around the sinks. A bad message is not an error: it is quarantined.

use change_log::{RegistryError, TopicError};
use rdkafka::error::KafkaError;
use tokio_postgres::error::SqlState;

/// A database's refusal without its detail: PostgreSQL quotes values there, and values are patients'.
#[derive(Debug, thiserror::Error)]
#[error("{told}")]
pub struct DatabaseFault {
    code: Option<SqlState>,
    told: String,
}

impl From<tokio_postgres::Error> for DatabaseFault {
    fn from(error: tokio_postgres::Error) -> Self {
        let told = error.as_db_error().map_or_else(
            || error.to_string(),
            |fault| {
                let on = fault.constraint().or(fault.table()).map_or_else(String::new, |name| format!(" on {name}"));
                format!("SQLSTATE {}{on}", fault.code().code())
            },
        );
        Self { code: error.code().cloned(), told }
    }
}

impl DatabaseFault {
    /// Another transaction was in the way: the same again may go through at once.
    pub fn in_the_way(&self) -> bool {
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE]
            .iter()
            .any(|code| self.code.as_ref() == Some(code))
    }

    /// The rows themselves are refused: data exception, integrity violation, limit exceeded.
    pub fn about_the_data(&self) -> bool {
        self.code.as_ref().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    #[error("the database is away")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("the database refused: {0}")]
    Database(DatabaseFault),
    #[error("the links of a batch's patients kept changing")]
    Unsettled,
    #[error("cannot {doing}")]
    Kafka { doing: &'static str, source: KafkaError },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("cannot bring the schema `{schema}` up to date")]
    Migration { schema: &'static str, source: Box<refinery::Error> },
    #[error("the sinks are running: stop them, and start them again after the rebuild")]
    Running,
    #[error("a background task ended early")]
    Background,
    #[error("batch_rows must be from 1 to {max}")]
    BatchRows { max: usize },
}

impl From<tokio_postgres::Error> for ViewsError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl ViewsError {
    pub fn kafka(doing: &'static str) -> impl Fn(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }

    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Pool(_) | Self::Database(_) | Self::Unsettled | Self::Kafka { .. } | Self::Background => true,
            Self::Registry(error) => error.worth_retrying(),
            Self::Topic(error) => error.worth_retrying(),
            // A database that is away shows here as well; a migration that is wrong stays wrong, loudly.
            Self::Migration { .. } => true,
            Self::Running | Self::BatchRows { .. } => false,
        }
    }

    pub(crate) fn fault(&self) -> Option<&DatabaseFault> {
        match self {
            Self::Database(fault) => Some(fault),
            _ => None,
        }
    }
}
