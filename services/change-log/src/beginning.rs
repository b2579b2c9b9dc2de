//! Where a log begins: by that it is told from another one that stands in its place, after it was lost.

use crate::{header::Headers, kafka::KafkaSettings, signal::lives::LogNow, tail::TailError, topics::changes_topic};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers as _},
};
use std::time::{Duration, Instant};

/// Without a record for so long, the brokers count as away.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

impl LogNow {
    /// Looks at the log's ends and at the first of its records that has a position.
    pub async fn look(kafka: &KafkaSettings, source: &str) -> Result<Self, TailError> {
        let topic = kafka.topic(&changes_topic(source));
        let mut client = kafka.client();
        client
            .set("group.id", format!("causeway-beginning-{source}"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "1024")
            .set("allow.auto.create.topics", "false");
        let failed_topic = topic.clone();
        let failed = move |source| TailError::Kafka { topic: failed_topic.clone(), source };
        let looking = tokio::task::spawn_blocking(move || {
            let silent = || TailError::Silent { topic: topic.clone() };
            let failed = |source| TailError::Kafka { topic: topic.clone(), source };
            let consumer: BaseConsumer = client.create().map_err(failed)?;
            first(&consumer, &topic).map_err(failed)?.ok_or_else(silent)
        });
        looking.await.unwrap_or_else(|_| Err(failed(KafkaError::Canceled)))
    }
}

fn first(consumer: &BaseConsumer, topic: &str) -> Result<Option<LogNow>, KafkaError> {
    let (low, high) = consumer.fetch_watermarks(topic, 0, SILENCE_MAX)?;
    let mut log = LogNow { begins: None, low, high };
    if low >= high {
        return Ok(Some(log));
    }
    let mut assignment = TopicPartitionList::with_capacity(1);
    assignment.add_partition_offset(topic, 0, Offset::Offset(low))?;
    consumer.assign(&assignment)?;
    let mut heard = Instant::now();
    while heard.elapsed() <= SILENCE_MAX {
        // The client tries again by itself; what does not pass shows as silence.
        let Some(Ok(message)) = consumer.poll(POLL) else { continue };
        heard = Instant::now();
        log.begins = epoch(&message);
        if log.begins.is_some() || message.offset() >= high - 1 {
            return Ok(Some(log));
        }
    }
    Ok(None)
}

/// None of a session's record, and of what is not of this log.
fn epoch(message: &BorrowedMessage<'_>) -> Option<u32> {
    let headers = message.headers()?;
    let headers = Headers::parse(headers.iter().map(|header| (header.key, header.value)))?;
    headers.place.map(|place| place.position.epoch)
}
