//! What operators want of a source: paused or not, snapshots to take, losses and schemas that they accept.
//!
//! # Why
//! The connector keeps nothing of its own, so what is wanted stands in a small compacted topic, one record for each
//! source, and survives every restart. The connector follows it; `causeway source …` changes it. Whoever writes says
//! which record the new one replaces. Of several who replace the same one the first gets through; the others' records
//! count for nothing, for every reader alike, and are written again. So no change is lost, however many there are.

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

/// As it stands in the topic.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// The offset of the record that it replaces; none where there was none.
    #[serde(default)]
    replaces: Option<i64>,
    #[serde(flatten)]
    desired: Desired,
}

/// What the records so far come to.
#[derive(Debug, Default)]
struct Standing {
    /// The first record that is still there: what was before it is compacted away.
    first: Option<i64>,
    at: Option<i64>,
    desired: Desired,
}

impl Standing {
    /// Takes the next record in. False: it replaces one that another had replaced already.
    fn take(&mut self, offset: i64, record: Record) -> bool {
        let first = *self.first.get_or_insert(offset);
        let forgotten = record.replaces.is_some_and(|replaced| replaced < first);
        let counts = self.at.is_none() || forgotten || record.replaces == self.at;
        if counts {
            (self.at, self.desired) = (Some(offset), record.desired);
        }
        counts
    }
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
    Ok(standing(kafka, source).await?.desired)
}

/// Changes what is wanted of the source, and returns it.
pub async fn change(
    kafka: &KafkaSettings,
    source: &str,
    change: impl Fn(&mut Desired) -> Result<(), SignalError>,
) -> Result<Desired, SignalError> {
    topics::ensure(kafka, &[topic()]).await?;
    for _ in 0..WRITES_MAX {
        let Standing { at, mut desired, .. } = standing(kafka, source).await?;
        change(&mut desired)?;
        let record = Record { replaces: at, desired };
        let offset = write(kafka, source, &record).await?;
        let mut counted = Standing::default();
        let mut ours = false;
        for (at, record) in history(kafka, source).await? {
            ours |= counted.take(at, record) && at == offset;
        }
        if ours {
            return Ok(record.desired);
        }
    }
    Err(SignalError::Contended)
}

async fn standing(kafka: &KafkaSettings, source: &str) -> Result<Standing, SignalError> {
    let mut standing = Standing::default();
    for (offset, record) in history(kafka, source).await? {
        standing.take(offset, record);
    }
    Ok(standing)
}

async fn write(kafka: &KafkaSettings, source: &str, record: &Record) -> Result<i64, SignalError> {
    let topic = kafka.topic(TOPIC);
    let failed = |source| SignalError::Kafka { topic: topic.clone(), source };
    let mut client = kafka.client();
    client.set("acks", "all").set("message.timeout.ms", ASK_TIMEOUT.as_millis().to_string());
    let producer: FutureProducer = client.create().map_err(failed)?;
    let value = serde_json::to_vec(record).unwrap_or_default();
    let record = FutureRecord::to(&topic).partition(0).key(source).payload(&value);
    let sent = producer.send(record, ASK_TIMEOUT).await;
    sent.map(|delivery| delivery.offset).map_err(|(error, _)| failed(error))
}

/// The source's records, with their offsets.
async fn history(kafka: &KafkaSettings, source: &str) -> Result<Vec<(i64, Record)>, SignalError> {
    let (topic, client, key) = (kafka.topic(TOPIC), consumer(kafka), source.to_owned());
    let asking_topic = topic.clone();
    let asking = tokio::task::spawn_blocking(move || -> Result<_, KafkaError> {
        let consumer: BaseConsumer = client.create()?;
        let (low, high) = consumer.fetch_watermarks(&topic, 0, ASK_TIMEOUT)?;
        let mut found = Vec::new();
        if low >= high {
            return Ok(Some(found));
        }
        consumer.assign(&assignment(&topic, low)?)?;
        let deadline = Instant::now() + ASK_TIMEOUT;
        while consumer.position()?.find_partition(&topic, 0).is_none_or(|at| !reached(at.offset(), high)) {
            if let Some(Ok(message)) = consumer.poll(POLL) {
                found.extend(parse(&message, &key).map(|record| (message.offset(), record)));
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
    let (mut standing, mut next) = (Standing::default(), 0);
    for (offset, record) in history(kafka, source).await? {
        standing.take(offset, record);
        next = offset + 1;
    }
    let topic = kafka.topic(TOPIC);
    let failed = |source| SignalError::Kafka { topic: topic.clone(), source };
    let consumer: StreamConsumer = consumer(kafka).create().map_err(failed)?;
    consumer.assign(&assignment(&topic, next).map_err(failed)?).map_err(failed)?;
    let (sender, receiver) = watch::channel(Arc::new(standing.desired.clone()));
    let source = source.to_owned();
    tokio::spawn(async move {
        loop {
            let received = tokio::select! {
                () = sender.closed() => return,
                received = consumer.recv() => received,
            };
            match received {
                Ok(message) => {
                    let record = parse(&message, &source);
                    if record.is_some_and(|record| standing.take(message.offset(), record)) {
                        let desired = &standing.desired;
                        tracing::info!(
                            source,
                            paused = desired.paused,
                            snapshots = desired.snapshots.len(),
                            snapshots_paused = desired.snapshots_paused,
                            "an operator wants something"
                        );
                        sender.send_replace(Arc::new(desired.clone()));
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
fn parse(message: &BorrowedMessage<'_>, source: &str) -> Option<Record> {
    if message.key()? != source.as_bytes() {
        return None;
    }
    let Some(value) = message.payload() else { return Some(Record::default()) };
    let record = decode(value);
    if record.is_none() {
        tracing::warn!(source, offset = message.offset(), "a record of `{TOPIC}` cannot be read; it is passed over");
    }
    record
}

fn decode(value: &[u8]) -> Option<Record> {
    let record: Record = serde_json::from_slice(value).ok()?;
    let desired = &record.desired;
    let bounded = desired.snapshots.len() <= SNAPSHOTS_MAX
        && desired.accepted.len() <= ACCEPTED_MAX
        && desired.snapshots.iter().all(|request| {
            request.tables.len() <= TABLES_MAX && (request.predicate.is_none() || request.tables.len() == 1)
        });
    bounded.then_some(record)
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
        assert_eq!(decode(&text).map(|record| record.desired), Some(desired));
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
        assert!(decode(b"{}").is_some_and(|record| record.desired == Desired::default()));
        assert!(decode(b"paused").is_none());
        assert!(decode(br#"{"snapshots": [{"id": "1", "tables": ["a.b", "a.c"], "predicate": "x > 1"}]}"#).is_none());
        let many: Vec<SnapshotRequest> = (0..=SNAPSHOTS_MAX).map(request).collect();
        let desired = Desired { snapshots: many, ..Desired::default() };
        assert!(decode(&serde_json::to_vec(&desired).expect("JSON")).is_none());
    }

    #[test]
    fn of_records_that_replace_the_same_one_the_first_counts() {
        let record = |replaces: Option<i64>, id: usize| {
            let desired = Desired { snapshots: vec![request(id)], ..Desired::default() };
            let text = serde_json::to_vec(&Record { replaces, desired }).expect("JSON");
            decode(&text).expect("a record")
        };
        let taken = |records: &[(i64, Option<i64>)]| -> Vec<bool> {
            let mut standing = Standing::default();
            records.iter().map(|(offset, replaces)| standing.take(*offset, record(*replaces, 0))).collect()
        };
        // Three at the same moment, and again until all are through.
        let three = [(0, None), (1, None), (2, None), (3, Some(0)), (4, Some(0)), (5, Some(3))];
        assert_eq!(taken(&three), [true, false, false, true, false, true]);
        // After compaction, what the first ones replaced is gone.
        assert_eq!(taken(&[(4, Some(0)), (5, Some(3)), (6, Some(3)), (7, Some(5))]), [true, true, true, false]);
    }
}
