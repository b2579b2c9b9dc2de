//! What can end a run of the linker.

use boot::database::DatabaseFault;
use change_log::{RegistryError, Stalled, TopicError};
use rdkafka::error::KafkaError;

#[derive(Debug, thiserror::Error)]
pub enum LinkerError {
    #[error("cannot use the schema registry")]
    Registry(#[from] RegistryError),
    #[error("cannot create topics")]
    Topic(#[from] TopicError),
    #[error("cannot {doing}")]
    Kafka { doing: &'static str, source: KafkaError },
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error("the delivery of a link was given up")]
    Undelivered,
    #[error("a background task ended early")]
    Background,
    #[error("cannot use the identity database")]
    Database(#[source] DatabaseFault),
    #[error("no connection to the identity database")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("the identity database holds what nobody can read in `{0}`")]
    Stored(&'static str),
    #[error("cannot migrate the identity schema")]
    Migration(#[from] refinery::Error),
}

impl From<tokio_postgres::Error> for LinkerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl LinkerError {
    /// The database refuses rows for what they say: the same again is refused again.
    pub(crate) fn is_about_the_data(&self) -> bool {
        matches!(self, Self::Database(fault) if fault.about_the_data())
    }

    pub(crate) const fn kafka(doing: &'static str) -> impl Fn(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }

    /// Whether starting again can help.
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Stored(_) => false,
            Self::Registry(error) => error.worth_retrying(),
            Self::Topic(error) => error.worth_retrying(),
            Self::Database(fault) => !fault.is_of(&["42"]),
            // A database that is away looks like a failed migration too.
            Self::Kafka { .. } | Self::Stalled(_) | Self::Undelivered | Self::Background => true,
            Self::Pool(_) | Self::Migration(_) => true,
        }
    }
}
