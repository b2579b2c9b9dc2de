//! What can go wrong with the world around the alerts.

use boot::database::DatabaseError;
use boot::database::DatabaseFault;
use change_log::{RegistryError, Stalled, TopicError};
use rdkafka::error::KafkaError;
use sink_views::ViewsError;

#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    #[error(transparent)]
    Views(#[from] ViewsError),
    #[error("the database refused: {0}")]
    Database(DatabaseFault),
    #[error(transparent)]
    Connect(#[from] DatabaseError),
    #[error("cannot deliver alerts to Kafka")]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("the deliverer lost its connection")]
    Disconnected,
    #[error("a background task ended early")]
    Background,
}

impl From<tokio_postgres::Error> for AlertsError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl AlertsError {
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Views(error) => error.worth_retrying(),
            Self::Database(_) | Self::Kafka(_) | Self::Stalled(_) | Self::Disconnected | Self::Background => true,
            Self::Connect(_) => false,
            Self::Registry(error) => error.worth_retrying(),
            Self::Topic(error) => error.worth_retrying(),
        }
    }
}
