//! What can end a run of the linker.

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
    Database(#[from] tokio_postgres::Error),
    #[error("no connection to the identity database")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("the identity database holds what nobody can read in `{0}`")]
    Stored(&'static str),
    #[error(
        "more than {} patients could be one person with each other: raise bands.link of the weights",
        crate::store::TOGETHER_MAX
    )]
    TooManyTogether,
    #[error("cannot migrate the identity schema")]
    Migration(#[from] refinery::Error),
}

impl LinkerError {
    pub(crate) const fn kafka(doing: &'static str) -> impl Fn(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }

    /// Whether starting again can help.
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Stored(_) | Self::TooManyTogether => false,
            Self::Registry(error) => error.worth_retrying(),
            Self::Topic(error) => error.worth_retrying(),
            Self::Database(error) => error.code().is_none_or(|code| !code.code().starts_with("42")),
            // A database that is away looks like a failed migration too.
            Self::Kafka { .. } | Self::Stalled(_) | Self::Undelivered | Self::Background => true,
            Self::Pool(_) | Self::Migration(_) => true,
        }
    }
}
