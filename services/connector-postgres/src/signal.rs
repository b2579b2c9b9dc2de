//! What operators want of a source: paused or not, snapshots to take, losses and schemas that they accept.
//!
//! # Why
//! The connector keeps nothing of its own, so what is wanted stands in a small compacted topic, one record for each
//! source, and survives every restart. The connector follows it; `causeway source …` changes it. Two who change it at
//! the same moment both get through: whoever wrote second sees the other's record before his own, and writes again.

use change_log::{KafkaSettings, Kept, TopicError, TopicSpec, topics};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
    producer::{FutureProducer, FutureRecord},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Key: the source; value: [`Desired`] as JSON.
pub const TOPIC: &str = "source.signals";
/// Snapshots that can be asked for and are not done yet.
pub const SNAPSHOTS_MAX: usize = 32;
/// Tables of one request.
pub const TABLES_MAX: usize = 1_000;
/// Schemas that were accepted; the oldest is forgotten.
pub const ACCEPTED_MAX: usize = 64;
/// A record is tried so often when others write at the same moment.
const WRITES_MAX: usize = 16;
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(1);

/// What an operator wants of one source. A record that is missing wants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Desired {
    /// The source is not read. Its slot is kept, and keeps WAL.
    pub paused: bool,
    pub snapshots_paused: bool,
    /// In the order in which they were asked for.
    pub snapshots: Vec<SnapshotRequest>,
    /// Give up this epoch of the log, and read everything anew in the next one, from a new slot. Used up when the log
    /// has moved on.
    pub replace_epoch: Option<u32>,
    pub accepted: Vec<AcceptedSchema>,
}

/// Rows that are to be read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// A UUID.
    pub id: String,
    /// `schema.table`; empty means all.
    #[serde(default)]
    pub tables: Vec<String>,
    /// SQL, of one table only.
    #[serde(default)]
    pub predicate: Option<String>,
    /// Microseconds since the epoch.
    #[serde(default)]
    pub requested_at: i64,
}

/// A schema that may follow another one although the registry calls it incompatible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedSchema {
    /// The registry's subject.
    pub subject: String,
    /// The id of the subject's newest schema when this was said. Used up when there is a newer one.
    pub after: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    #[error("cannot read or write what is wanted of the sources (topic `{topic}`)")]
    Kafka { topic: String, source: KafkaError },
    #[error("Kafka gave no record of `{topic}` for {} s", ASK_TIMEOUT.as_secs())]
    Silent { topic: String },
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("{SNAPSHOTS_MAX} snapshots are waiting already: let one finish first")]
    TooMany,
    #[error("others change what is wanted of this source at the same moment; try again")]
    Contended,
}

impl Desired {
    /// Adds a request, and lets go of those that are done.
    pub fn request(&mut self, request: SnapshotRequest, done: &[String]) -> Result<(), SignalError> {
        self.snapshots.retain(|known| !done.contains(&known.id));
        if self.snapshots.len() >= SNAPSHOTS_MAX {
            return Err(SignalError::TooMany);
        }
        self.snapshots.push(request);
        Ok(())
    }

    /// Lets the next schema of the subject in.
    pub fn accept(&mut self, subject: &str, after: u32) {
        self.accepted.retain(|accepted| accepted.subject != subject);
        self.accepted.push(AcceptedSchema { subject: subject.to_owned(), after });
        let surplus = self.accepted.len().saturating_sub(ACCEPTED_MAX);
        self.accepted.drain(..surplus);
    }

    /// Whether the schema after this one was let in.
    pub fn accepts(&self, subject: &str, after: u32) -> bool {
        self.accepted.iter().any(|accepted| accepted.subject == subject && accepted.after == after)
    }
}

/// The topic, for [`change_log::topics::ensure`].
pub fn topic() -> TopicSpec {
    TopicSpec::new(TOPIC, 1, Kept::Compacted)
}

/// What is wanted of the source now.
pub async fn read(kafka: &KafkaSettings, source: &str) -> Result<Desired, SignalError> {
    topics::ensure(kafka, &[topic()]).await?;
    Ok(history(kafka, source, 0).await?.pop().map(|(_, desired)| desired).unwrap_or_default())
}

/// Changes what is wanted of the source, and returns it.
pub async fn change(
    kafka: &KafkaSettings,
    source: &str,
    change: impl Fn(&mut Desired) -> Result<(), SignalError>,
) -> Result<Desired, SignalError> {
    topics::ensure(kafka, &[topic()]).await?;
    let mut before = history(kafka, source, 0).await?.pop();
    for _ in 0..WRITES_MAX {
        let (read_upto, mut desired) = before.map_or((0, Desired::default()), |(offset, found)| (offset + 1, found));
        change(&mut desired)?;
        let offset = write(kafka, source, &desired).await?;
        // Another's record between the one that was read and ours did not know of ours, nor ours of it.
        let mut between = history(kafka, source, read_upto).await?;
        between.retain(|(at, _)| *at < offset);
        let Some(missed) = between.pop() else { return Ok(desired) };
        before = Some((offset, missed.1));
    }
    Err(SignalError::Contended)
}

async fn write(kafka: &KafkaSettings, source: &str, desired: &Desired) -> Result<i64, SignalError> {
    let topic = kafka.topic(TOPIC);
    let failed = |source| SignalError::Kafka { topic: topic.clone(), source };
    let mut client = kafka.client();
    client.set("acks", "all").set("message.timeout.ms", ASK_TIMEOUT.as_millis().to_string());
    let producer: FutureProducer = client.create().map_err(failed)?;
    let value = serde_json::to_vec(desired).unwrap_or_default();
    let record = FutureRecord::to(&topic).partition(0).key(source).payload(&value);
    let sent = producer.send(record, ASK_TIMEOUT).await;
    sent.map(|delivery| delivery.offset).map_err(|(error, _)| failed(error))
}

/// The source's records from an offset on, with their offsets.
async fn history(kafka: &KafkaSettings, source: &str, from: i64) -> Result<Vec<(i64, Desired)>, SignalError> {
    let (topic, client, key) = (kafka.topic(TOPIC), consumer(kafka), source.to_owned());
    let asking_topic = topic.clone();
    let asking = tokio::task::spawn_blocking(move || -> Result<_, KafkaError> {
        let consumer: BaseConsumer = client.create()?;
        let (low, high) = consumer.fetch_watermarks(&topic, 0, ASK_TIMEOUT)?;
        let mut found = Vec::new();
        if from.max(low) >= high {
            return Ok(Some(found));
        }
        consumer.assign(&assignment(&topic, from.max(low))?)?;
        let deadline = Instant::now() + ASK_TIMEOUT;
        while consumer.position()?.find_partition(&topic, 0).is_none_or(|at| !reached(at.offset(), high)) {
            if let Some(Ok(message)) = consumer.poll(POLL) {
                found.extend(parse(&message, &key).map(|desired| (message.offset(), desired)));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
        }
        Ok(Some(found))
    });
    let topic = asking_topic;
    match asking.await {
        Ok(Ok(Some(found))) => Ok(found),
        Ok(Ok(None)) => Err(SignalError::Silent { topic }),
        Ok(Err(source)) => Err(SignalError::Kafka { topic, source }),
        Err(_) => Err(SignalError::Kafka { topic, source: KafkaError::Canceled }),
    }
}

/// Keeps what is wanted of the source up to date until nobody looks any more. Returns once it is known.
pub(crate) async fn follow(kafka: &KafkaSettings, source: &str) -> Result<watch::Receiver<Arc<Desired>>, SignalError> {
    let records = history(kafka, source, 0).await?;
    let (next, desired) =
        records.into_iter().next_back().map_or((0, Desired::default()), |(at, found)| (at + 1, found));
    let topic = kafka.topic(TOPIC);
    let failed = |source| SignalError::Kafka { topic: topic.clone(), source };
    let consumer: StreamConsumer = consumer(kafka).create().map_err(failed)?;
    consumer.assign(&assignment(&topic, next).map_err(failed)?).map_err(failed)?;
    let (sender, receiver) = watch::channel(Arc::new(desired));
    let source = source.to_owned();
    tokio::spawn(async move {
        loop {
            let received = tokio::select! {
                () = sender.closed() => return,
                received = consumer.recv() => received,
            };
            match received {
                Ok(message) => {
                    if let Some(desired) = parse(&message, &source) {
                        tracing::info!(
                            source,
                            paused = desired.paused,
                            snapshots = desired.snapshots.len(),
                            snapshots_paused = desired.snapshots_paused,
                            "an operator wants something"
                        );
                        sender.send_replace(Arc::new(desired));
                    }
                }
                // The client connects again by itself.
                Err(error) => {
                    tracing::debug!(%error, "following what is wanted of the source");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
    Ok(receiver)
}

fn consumer(kafka: &KafkaSettings) -> rdkafka::ClientConfig {
    let mut client = kafka.client();
    client
        .set("group.id", "causeway-signals")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "1024")
        .set("allow.auto.create.topics", "false");
    client
}

fn assignment(topic: &str, from: i64) -> Result<TopicPartitionList, KafkaError> {
    let mut assignment = TopicPartitionList::with_capacity(1);
    assignment.add_partition_offset(topic, 0, Offset::Offset(from))?;
    Ok(assignment)
}

fn reached(at: Offset, high: i64) -> bool {
    matches!(at, Offset::Offset(at) if at >= high)
}

/// The record, if it is of this source. What cannot be read is passed over.
fn parse(message: &BorrowedMessage<'_>, source: &str) -> Option<Desired> {
    if message.key()? != source.as_bytes() {
        return None;
    }
    let Some(value) = message.payload() else { return Some(Desired::default()) };
    let desired = decode(value);
    if desired.is_none() {
        tracing::warn!(source, offset = message.offset(), "a record of `{TOPIC}` cannot be read; it is passed over");
    }
    desired
}

fn decode(value: &[u8]) -> Option<Desired> {
    let desired: Desired = serde_json::from_slice(value).ok()?;
    let bounded = desired.snapshots.len() <= SNAPSHOTS_MAX
        && desired.accepted.len() <= ACCEPTED_MAX
        && desired.snapshots.iter().all(|request| {
            request.tables.len() <= TABLES_MAX && (request.predicate.is_none() || request.tables.len() == 1)
        });
    bounded.then_some(desired)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: usize) -> SnapshotRequest {
        SnapshotRequest { id: id.to_string(), ..SnapshotRequest::default() }
    }

    #[test]
    fn requests_are_bounded_and_go_when_they_are_done() {
        let mut desired = Desired::default();
        for id in 0..SNAPSHOTS_MAX {
            desired.request(request(id), &[]).expect("room");
        }
        assert!(matches!(desired.request(request(99), &[]), Err(SignalError::TooMany)));
        desired.request(request(99), &["3".into()]).expect("room again");
        assert_eq!((desired.snapshots.len(), &*desired.snapshots[3].id), (SNAPSHOTS_MAX, "4"));
        let text = serde_json::to_vec(&desired).expect("JSON");
        assert_eq!(decode(&text), Some(desired));
    }

    #[test]
    fn an_accepted_schema_is_used_up() {
        let mut desired = Desired::default();
        desired.accept("s.Envelope", 4);
        assert!(desired.accepts("s.Envelope", 4) && !desired.accepts("s.Envelope", 5));
        desired.accept("s.Envelope", 5);
        assert!(!desired.accepts("s.Envelope", 4) && desired.accepts("s.Envelope", 5));
    }

    #[test]
    fn bad_records_are_not_taken() {
        assert_eq!(decode(b"{}"), Some(Desired::default()));
        assert_eq!(decode(b"paused"), None);
        assert_eq!(decode(br#"{"snapshots": [{"id": "1", "tables": ["a.b", "a.c"], "predicate": "x > 1"}]}"#), None);
        let many: Vec<SnapshotRequest> = (0..=SNAPSHOTS_MAX).map(request).collect();
        let desired = Desired { snapshots: many, ..Desired::default() };
        assert_eq!(decode(&serde_json::to_vec(&desired).expect("JSON")), None);
    }
}
