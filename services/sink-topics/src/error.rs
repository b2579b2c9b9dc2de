//! What can stand between the log and the topics.

use change_log::{ReadError, RegistryError, Stalled, TopicError};
use rdkafka::error::KafkaError;

#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    #[error("cannot read the log")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error("cannot create a topic")]
    Topic(#[from] TopicError),
    #[error("cannot register a topic's schema")]
    Registry(#[from] RegistryError),
    #[error("cannot {doing}")]
    Kafka { doing: &'static str, source: KafkaError },
    #[error("Kafka gave nothing of `{topic}` while its end was read back")]
    Silent { topic: String },
    #[error(
        "`{topic}` has {partitions} partitions; a table's topic has one, so that the order of its changes holds: delete \
         the topic, or name the source otherwise"
    )]
    Partitions { topic: String, partitions: usize },
    #[error(
        "the tables {one} and {other} would share the topic `{topic}`; leave one of them out of the source's tables"
    )]
    Shared { topic: String, one: String, other: String },
    #[error("more than {max} topics of one source")]
    TooMany { max: usize },
    #[error("a record of the log does not decode")]
    Decode(#[from] change::avro::DecodeError),
    #[error("another process writes the topics of this source now")]
    Superseded,
}
