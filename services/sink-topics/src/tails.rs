//! The ends of a source's topics, read back at a start: where each stands, and where to go on in the log.

use crate::error::TopicsError;
use change::Position;
use change_log::{KafkaSettings, header};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers as _},
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Topics of one source.
pub(crate) const TOPICS_MAX: usize = 10_000;
/// Of each topic so many records are read back: the last of ours is among them unless another writes there too.
const RECORDS_MAX: i64 = 16;
const METADATA_TIMEOUT: Duration = Duration::from_secs(15);
const SILENCE_MAX: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);
/// The offset of the log up to which everything was in the topics when a record was written.
pub(crate) const SETTLED: &str = "causeway.settled";

/// The last record of ours in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) position: Position,
    pub(crate) tombstone: bool,
    pub(crate) settled: i64,
}

/// By topic.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    pub(crate) tails: HashMap<String, Tail>,
    pub(crate) partitions: HashMap<String, usize>,
}

impl Tails {
    /// Everything before this record of the log is in the topics; it is read again, and taken only where it is missing.
    pub(crate) fn settled(&self) -> Option<i64> {
        self.tails.values().map(|tail| tail.settled).max()
    }
}

pub(crate) async fn read(kafka: &KafkaSettings, source: &str) -> Result<Tails, TopicsError> {
    let prefix = format!("{}.", kafka.topic(source));
    let mut client = kafka.client();
    client
        .set("group.id", format!("causeway-topics-tail-{source}"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "50")
        .set("queued.max.messages.kbytes", "4096")
        .set("allow.auto.create.topics", "false");
    let reading = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = client.create().map_err(failed)?;
        read_back(&consumer, &prefix)
    });
    reading.await.unwrap_or(Err(failed(KafkaError::Canceled)))
}

const fn failed(source: KafkaError) -> TopicsError {
    TopicsError::Kafka { doing: "read back the ends of the topics", source }
}

fn read_back(consumer: &BaseConsumer, prefix: &str) -> Result<Tails, TopicsError> {
    let metadata = consumer.fetch_metadata(None, METADATA_TIMEOUT).map_err(failed)?;
    let mut tails = Tails::default();
    let mut assignment = TopicPartitionList::new();
    // Of each topic that is read back: the offset of its last record.
    let mut open = HashMap::new();
    for topic in metadata.topics().iter().filter(|topic| topic.name().starts_with(prefix)) {
        let name = topic.name().to_owned();
        tails.partitions.insert(name.clone(), topic.partitions().len());
        let (low, high) = consumer.fetch_watermarks(&name, 0, METADATA_TIMEOUT).map_err(failed)?;
        if high > low && topic.partitions().len() == 1 {
            let from = Offset::Offset((high - RECORDS_MAX).max(low));
            assignment.add_partition_offset(&name, 0, from).map_err(failed)?;
            open.insert(name, high - 1);
        }
    }
    if tails.partitions.len() > TOPICS_MAX {
        return Err(TopicsError::TooMany { max: TOPICS_MAX });
    }
    consumer.assign(&assignment).map_err(failed)?;
    let mut heard = Instant::now();
    while let Some(waiting) = open.keys().next() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if let Some(tail) = tail_of(&message) {
                    tails.tails.insert(message.topic().to_owned(), tail);
                }
                if open.get(message.topic()).is_some_and(|last| message.offset() >= *last) {
                    open.remove(message.topic());
                }
            }
            // The client tries again by itself; what does not pass shows as silence.
            Some(Err(error)) => tracing::debug!(%error, "reading back the ends of topics"),
            None if heard.elapsed() > SILENCE_MAX => return Err(TopicsError::Silent { topic: waiting.clone() }),
            None => {}
        }
    }
    Ok(tails)
}

/// None of a record that somebody else wrote.
fn tail_of(message: &BorrowedMessage<'_>) -> Option<Tail> {
    let headers = message.headers()?;
    let text = |name: &str| {
        let header = headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok()
    };
    let position = text(header::POSITION)?.parse().ok()?;
    let settled = text(SETTLED)?.parse().ok()?;
    Some(Tail { position, tombstone: message.payload().is_none(), settled })
}
