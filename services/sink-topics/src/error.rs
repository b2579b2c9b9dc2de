//! What can stand between the log and the topics.

use change_log::{ReadError, RegistryError, Stalled, TopicError, signal::SignalError};
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
    #[error("cannot write to `{topic}`")]
    Write { topic: String, source: KafkaError },
    #[error("{table} need not wait any longer: the topics are written from where it began to")]
    Mended { table: String },
    #[error("Kafka gave nothing of `{topic}` while its end was read back")]
    Silent { topic: String },
    #[error(
        "`{topic}` has {partitions} partitions; a table's topic has one, so that the order of its changes holds: delete \
         the topic, name the source otherwise, or name the table in the source's `topics_without`"
    )]
    Partitions { topic: String, partitions: usize },
    #[error(
        "`{topic}` is compacted, where Kafka takes no record without a key: set its cleanup.policy to delete, give the \
         table a key, or name it in the source's `topics_without`"
    )]
    Compacted { topic: String },
    #[error("Kafka takes no record without a key on `{topic}`")]
    Keyless { topic: String },
    #[error(
        "the topic `{topic}` is that of {other}, whose name becomes the same: name one of the two tables in the source's \
         `topics_without`, and it has no topic"
    )]
    Shared { topic: String, other: String },
    #[error(
        "the log has dropped changes before its topic took them: read it again with `causeway source snapshot CONFIG \
         {source_name} --table {table}`, whose rows its topic then has"
    )]
    Lost { table: String, source_name: String },
    #[error("cannot note which tables wait")]
    Note(#[from] SignalError),
    #[error("more than {max} topics of one source")]
    TooMany { max: usize },
    #[error("a record of the log does not decode")]
    Decode(#[from] change::avro::DecodeError),
    #[error("another process writes the topics of this source now")]
    Superseded,
}

impl TopicsError {
    /// Whether it concerns one table only, which waits while the others go on.
    pub(crate) const fn of_one_table(&self) -> bool {
        matches!(self, Self::Partitions { .. } | Self::Compacted { .. } | Self::Keyless { .. } | Self::Shared { .. })
    }
}
