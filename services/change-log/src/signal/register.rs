//! Values by key in `source.signals`, changed by compare-and-set.
//!
//! # Why
//! Whoever writes says which record the new one replaces. Of several who replace the same one the first gets through;
//! the others' records count for nothing, for every reader alike, and are written again.

use super::{SignalError, TOPIC, topic};
use crate::{
    KafkaSettings, topics,
    watch::{Place, Question, Watch, let_go},
};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
    producer::{FutureProducer, FutureRecord},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// A record is tried so often when others write at the same moment.
const WRITES_MAX: usize = 16;
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(1);

/// What a key may hold. A key without a record holds the default.
pub(super) trait Entry: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Whoever follows it has to hear of a record that changes nothing, too.
    const HEARD: bool;

    /// Whether it keeps to its limits: what does not is passed over.
    fn bounded(&self) -> bool;
}

/// As it stands in the topic.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record<T> {
    /// The offset of the record that it replaces; none where there was none.
    #[serde(default)]
    replaces: Option<i64>,
    #[serde(flatten)]
    pub(super) value: T,
}

/// What the records so far come to.
#[derive(Debug, Default)]
struct Standing<T> {
    /// The first record that is still there: what was before it is compacted away.
    first: Option<i64>,
    at: Option<i64>,
    value: T,
}

impl<T> Standing<T> {
    /// Takes the next record in. False: it replaces one that another had replaced already.
    fn take(&mut self, offset: i64, record: Record<T>) -> bool {
        let first = *self.first.get_or_insert(offset);
        let forgotten = record.replaces.is_some_and(|replaced| replaced < first);
        let counts = self.at.is_none() || forgotten || record.replaces == self.at;
        if counts {
            (self.at, self.value) = (Some(offset), record.value);
        }
        counts
    }
}

/// What the key holds now.
pub(super) async fn read<T: Entry>(kafka: &KafkaSettings, key: &str) -> Result<T, SignalError> {
    topics::ensure(kafka, &[topic()]).await?;
    Ok(standing(kafka, key).await?.value)
}

/// Changes what the key holds, and returns it.
pub(super) async fn change<T: Entry + PartialEq>(
    kafka: &KafkaSettings,
    key: &str,
    change: impl Fn(&mut T) -> Result<(), SignalError>,
) -> Result<T, SignalError> {
    topics::ensure(kafka, &[topic()]).await?;
    for _ in 0..WRITES_MAX {
        let Standing { at, value: known, .. } = standing::<T>(kafka, key).await?;
        let mut value = known.clone();
        change(&mut value)?;
        if value == known && !T::HEARD {
            return Ok(value);
        }
        let record = Record { replaces: at, value };
        let offset = write(kafka, key, &record).await?;
        let mut counted = Standing::default();
        let mut ours = false;
        for (at, record) in history::<T>(kafka, key).await? {
            ours |= counted.take(at, record) && at == offset;
        }
        if ours {
            return Ok(record.value);
        }
    }
    Err(SignalError::Contended)
}

async fn standing<T: Entry>(kafka: &KafkaSettings, key: &str) -> Result<Standing<T>, SignalError> {
    let mut standing = Standing::default();
    for (offset, record) in history(kafka, key).await? {
        standing.take(offset, record);
    }
    Ok(standing)
}

async fn write<T: Entry>(kafka: &KafkaSettings, key: &str, record: &Record<T>) -> Result<i64, SignalError> {
    let topic = kafka.topic(TOPIC);
    let failed = |source| SignalError::Kafka { topic: topic.clone(), source };
    let mut client = kafka.client();
    client.set("acks", "all").set("message.timeout.ms", ASK_TIMEOUT.as_millis().to_string());
    let producer: FutureProducer = client.create().map_err(failed)?;
    let value = serde_json::to_vec(record).unwrap_or_default();
    let record = FutureRecord::to(&topic).partition(0).key(key).payload(&value);
    let sent = producer.send(record, ASK_TIMEOUT).await;
    sent.map(|delivery| delivery.offset).map_err(|(error, _)| failed(error))
}

/// The key's records, with their offsets.
async fn history<T: Entry>(kafka: &KafkaSettings, key: &str) -> Result<Vec<(i64, Record<T>)>, SignalError> {
    let (topic, client, key) = (kafka.topic(TOPIC), consumer(kafka), key.to_owned());
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

/// Keeps what the key holds up to date until nobody looks any more, and tells what is new. Returns once it is known.
pub(super) async fn follow<T: Entry>(
    kafka: &KafkaSettings,
    key: &str,
    tell: impl Fn(&T, &str) + Send + 'static,
) -> Result<watch::Receiver<Arc<T>>, SignalError> {
    topics::ensure(kafka, &[topic()]).await?;
    let (mut standing, mut next) = (Standing::<T>::default(), 0);
    for (offset, record) in history(kafka, key).await? {
        standing.take(offset, record);
        next = offset + 1;
    }
    let topic = kafka.topic(TOPIC);
    let failed = |source| SignalError::Kafka { topic: topic.clone(), source };
    let mut consumer = following(kafka, &topic, next).map_err(failed)?;
    let (kafka, mut watch) = (kafka.clone(), Watch::new(kafka, None));
    let (sender, receiver) = watch::channel(Arc::new(standing.value.clone()));
    let key = key.to_owned();
    tokio::spawn(async move {
        loop {
            let received = tokio::select! {
                () = sender.closed() => return,
                received = consumer.recv() => received,
                stalled = watch.stalled(|| Question::reading(vec![Place::read(&*topic, 0, Some(next))], &consumer)) => {
                    tracing::warn!(key, error = %stalled, "following what is wanted of the source");
                    match following(&kafka, &topic, next) {
                        Ok(fresh) => let_go(std::mem::replace(&mut consumer, fresh)),
                        Err(error) => tracing::warn!(key, %error, "no other client"),
                    }
                    continue;
                }
            };
            match received {
                Ok(message) => {
                    watch.heard();
                    next = message.offset() + 1;
                    let record = parse(&message, &key);
                    if record.is_some_and(|record| standing.take(message.offset(), record)) {
                        tell(&standing.value, &key);
                        sender.send_replace(Arc::new(standing.value.clone()));
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

fn following(kafka: &KafkaSettings, topic: &str, from: i64) -> Result<Arc<StreamConsumer>, KafkaError> {
    let consumer: StreamConsumer = consumer(kafka).create()?;
    consumer.assign(&assignment(topic, from)?)?;
    Ok(Arc::new(consumer))
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

/// The record, if it is of this key. What cannot be read is passed over.
fn parse<T: Entry>(message: &BorrowedMessage<'_>, key: &str) -> Option<Record<T>> {
    if message.key()? != key.as_bytes() {
        return None;
    }
    let Some(value) = message.payload() else { return Some(Record::default()) };
    let record = decode(value);
    if record.is_none() {
        tracing::warn!(key, offset = message.offset(), "a record of `{TOPIC}` cannot be read; it is passed over");
    }
    record
}

pub(super) fn decode<T: Entry>(value: &[u8]) -> Option<Record<T>> {
    serde_json::from_slice(value).ok().filter(|record: &Record<T>| record.value.bounded())
}

#[cfg(test)]
mod tests {
    use super::{super::Desired, *};

    #[test]
    fn of_records_that_replace_the_same_one_the_first_counts() {
        let record = |replaces: Option<i64>, id: usize| {
            let value = Desired { replace_epoch: u32::try_from(id).ok(), ..Desired::default() };
            let text = serde_json::to_vec(&Record { replaces, value }).expect("JSON");
            decode::<Desired>(&text).expect("a record")
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
