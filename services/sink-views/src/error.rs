//! What can go wrong with the world around the sinks. A bad message is not an error: it is quarantined.

use boot::database::DatabaseFault;
use change_log::{RegistryError, Stalled, TopicError};
use rdkafka::error::KafkaError;

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
    Stalled(#[from] Stalled),
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
            Self::Pool(_)
            | Self::Database(_)
            | Self::Unsettled
            | Self::Kafka { .. }
            | Self::Stalled(_)
            | Self::Background => true,
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
