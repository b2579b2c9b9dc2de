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
        let failing = topic.clone();
        let failed = move |source| TailError::Kafka { topic: failing.clone(), source };
        let unread = failed.clone();
        let looking = move |consumer: &BaseConsumer| {
            first(consumer, &topic).map_err(unread)?.ok_or_else(|| TailError::Silent { topic: topic.clone() })
        };
        kafka.look(failed, looking).await
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
        let Some(Ok(message)) = consumer.poll(POLL).filter(|it| it.as_ref().is_ok_and(|it| it.topic() == topic)) else {
            continue;
        };
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
