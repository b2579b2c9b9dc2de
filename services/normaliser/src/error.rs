//! What can end a run.

use change_log::{ReadError, RegistryError, Stalled, TailError, TopicError, signal::SignalError};
use mapping::Mistakes;
use rdkafka::error::KafkaError;
use store::{EngineError, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum NormaliserError {
    #[error("the mapping has mistakes:\n{0}")]
    Mapping(#[from] Mistakes),
    #[error("cannot read the log of changes")]
    Read(#[from] ReadError),
    #[error("cannot use the schema registry")]
    Registry(#[from] RegistryError),
    #[error("cannot create topics")]
    Topic(#[from] TopicError),
    #[error("cannot {doing}")]
    Kafka { doing: &'static str, source: KafkaError },
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error("the delivery of an event was given up")]
    Undelivered,
    #[error("the log is not the one that was told: it was lost and began anew")]
    LogBegunAnew,
    #[error("an operator asked for a replay: a new generation begins")]
    Replayed,
    #[error("cannot fix the generation of what is told")]
    Signal(#[from] SignalError),
    #[error("cannot look at where the log begins")]
    Tail(#[from] TailError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store cannot be read or written: {0}")]
    Kept(EngineError),
    #[error("another process works for the source by now")]
    Elsewhere,
    #[error("a background task ended early")]
    Background,
}

impl NormaliserError {
    pub(crate) const fn kafka(doing: &'static str) -> impl Fn(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }

    /// Whether starting again can help.
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Mapping(_) => false,
            // What is left of the log is read next, and says what it lacks.
            Self::Read(ReadError::Expired { .. }) => true,
            Self::Read(error) => error.worth_retrying(),
            Self::Registry(error) => error.worth_retrying(),
            Self::Topic(error) => error.worth_retrying(),
            Self::Kafka { .. } | Self::Signal(_) | Self::Tail(_) => true,
            Self::LogBegunAnew | Self::Replayed | Self::Elsewhere => true,
            Self::Store(_) | Self::Kept(_) | Self::Stalled(_) | Self::Undelivered | Self::Background => true,
        }
    }
}
