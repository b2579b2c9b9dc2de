//! How far a source's log has been told: a consumer group's offset, with the ends of the topics
//! written to as its metadata. On a restart, what was written after those ends is read, so that
//! nothing is written twice.
//!
//! The group bears the generation: a new one tells the log anew, in its last state, and sinks take
//! it because (generation, position) is beyond what they hold. Generation 0 goes on in the group of
//! its revision, as it was before there were generations.

use crate::{
    error::NormaliserError,
    publish::{ITEM_HEADER, digest},
};
use change_log::{
    KafkaSettings, Owners, Registry, Versions,
    owners::{Owned, Seen},
    signal::Generation,
    topics::{EVENTS, QUARANTINE, changes_topic},
};
use event::{PatientEvent, Quarantined, avro};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, Headers},
    types::RDKafkaErrorCode,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use store::Tails;

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a topic's end may keep silent while it is being read up to.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What a killed run sent is on its topic after this time, unless more came within it.
const SETTLE: Duration = Duration::from_millis(500);
/// A run that is not dead writes on and on: it is not waited for longer.
const ROUNDS_MAX: usize = 20;

/// Events read before they are looked at.
const TOLD_AHEAD_MAX: usize = 1_000;

/// What was told, as it is read.
pub struct ToldEvents {
    events: tokio::sync::mpsc::Receiver<Result<PatientEvent, NormaliserError>>,
    reading: tokio::task::JoinHandle<()>,
}

impl ToldEvents {
    pub async fn next(&mut self) -> Option<Result<PatientEvent, NormaliserError>> {
        self.events.recv().await
    }
}

impl Drop for ToldEvents {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

#[derive(Clone)]
pub struct Progress {
    consumer: Arc<BaseConsumer>,
    topic: String,
    source: String,
    names: [(&'static str, String); 2],
    /// Who commits, where several processes may.
    owned: Owned,
}

/// Where the last run stood.
#[derive(Debug, Default)]
pub struct Stand {
    /// Everything before this offset of the log is told.
    pub offset: i64,
    /// Where the topics ended then.
    pub tails: Tails,
    /// Who said so.
    pub owned: Owned,
}

/// What is committed beside the offset.
#[derive(Serialize, Deserialize)]
struct Beside {
    owned: Owned,
    tails: Tails,
}

impl Progress {
    pub fn open(kafka: &KafkaSettings, source: &str, generation: &Generation) -> Result<Self, NormaliserError> {
        let life = match generation.number {
            0 => generation.revision.to_string(),
            number => format!("g{number}"),
        };
        let consumer = kafka
            .client()
            .set("group.id", kafka.topic(&format!("causeway-normaliser-{source}-{life}")))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "false")
            .create()
            .map_err(NormaliserError::kafka("make a consumer"))?;
        Ok(Self {
            consumer: Arc::new(consumer),
            topic: kafka.topic(&changes_topic(source)),
            source: source.to_owned(),
            names: [EVENTS, QUARANTINE].map(|name| (name, kafka.topic(name))),
            owned: Owned::default(),
        })
    }

    /// Commits as this owner.
    #[must_use]
    pub fn of(self, owned: Owned) -> Self {
        Self { owned, ..self }
    }

    /// Where the last run stood, by its last commit.
    pub async fn load(&self) -> Result<Stand, NormaliserError> {
        let (consumer, topic) = (self.consumer.clone(), self.topic.clone());
        let loaded = tokio::task::spawn_blocking(move || committed(&consumer, &topic)).await;
        let loaded = loaded.map_err(|_| NormaliserError::Background)?;
        loaded.map_err(NormaliserError::kafka("read how far the log was told"))
    }

    /// What stands on the topics after these ends: read until nothing more comes, as a run that was killed a moment ago may
    /// have left requests that the broker has yet to take. `owned`: who told what stands before.
    pub async fn already(&self, since: &Tails, owned: &Owned) -> Result<HashSet<u128>, NormaliserError> {
        let (consumer, source, names) = (self.consumer.clone(), self.source.clone(), self.names.clone());
        let mut from = since.clone();
        let mut owners = names.clone().map(|(name, _)| owned.at(name, since, &source));
        let load = move || -> KafkaResult<HashSet<u128>> {
            let mut already = HashSet::new();
            for round in 0..ROUNDS_MAX {
                let mut more = round == 0;
                let before = already.len();
                for ((name, full), owners) in names.iter().zip(&mut owners) {
                    let mut take =
                        |message: &BorrowedMessage<'_>| already.extend(own_id(message, &source).map(|id| digest(&id)));
                    read_since(&consumer, (name, full), (&mut from, owners), &mut take)?;
                }
                more |= already.len() > before;
                if !more {
                    break;
                }
                std::thread::sleep(SETTLE);
            }
            Ok(already)
        };
        let loaded = tokio::task::spawn_blocking(load).await.map_err(|_| NormaliserError::Background)?;
        loaded.map_err(NormaliserError::kafka("read what was told"))
    }

    /// The events that were told of this source after these ends of the topic, in the order of each partition. What cannot
    /// be read is in quarantine.
    pub fn told_since(&self, registry: &Registry, since: Tails, owned: Owned) -> ToldEvents {
        let (send, events) = tokio::sync::mpsc::channel(TOLD_AHEAD_MAX);
        let send_event = send.clone();
        let take = move |(): &mut (), datum: &[u8]| {
            if let Ok(event) = avro::decode(datum) {
                // Nobody listens any more: the rest is read for nothing.
                let _ = send_event.blocking_send(Ok(event));
            }
        };
        let versions = Versions::new(registry.clone(), avro::SCHEMA);
        let progress = self.clone();
        let reading = tokio::spawn(async move {
            if let Err(error) = progress.told(versions, (EVENTS, since, owned), take).await {
                let _ = send.send(Err(error)).await;
            }
        });
        ToldEvents { events, reading }
    }

    /// What is in quarantine of this source, told by the normaliser and not closed, by its name. What has none, from before
    /// items had names, goes by where it was told.
    pub async fn open_items(&self, registry: &Registry) -> Result<BTreeMap<String, Quarantined>, NormaliserError> {
        let take = |open: &mut BTreeMap<String, Quarantined>, datum: &[u8]| {
            let Ok(item) = avro::decode_quarantined(datum) else { return };
            let name = item.name();
            if item.closed {
                open.remove(&name);
            } else {
                open.insert(name, Quarantined { original: None, key: None, ..item });
            }
        };
        let versions = Versions::new(registry.clone(), avro::QUARANTINED_SCHEMA);
        self.told(versions, (QUARANTINE, Tails::new(), Owned::default()), take).await
    }

    /// Everything that was told of this source on a topic, taken in one by one. What cannot be read is passed over; a registry
    /// that does not answer is an error.
    async fn told<T: Default + Send + 'static>(
        &self,
        mut versions: Versions,
        (topic, since, owned): (&'static str, Tails, Owned),
        mut into: impl FnMut(&mut T, &[u8]) + Send + 'static,
    ) -> Result<T, NormaliserError> {
        let (consumer, source, names) = (self.consumer.clone(), self.source.clone(), self.names.clone());
        let runtime = tokio::runtime::Handle::current();
        let load = move || -> Result<T, NormaliserError> {
            let (mut told, mut from, mut failed) = (T::default(), since, None);
            for (name, full) in names.iter().filter(|(name, _)| *name == topic) {
                let mut take = |message: &BorrowedMessage<'_>| {
                    let Some(payload) = message.payload().filter(|_| own_id(message, &source).is_some()) else {
                        return;
                    };
                    match runtime.block_on(versions.datum(payload)) {
                        Ok(Ok(datum)) => into(&mut told, &datum),
                        Ok(Err(_)) => {}
                        Err(error) => failed = Some(error),
                    }
                };
                let mut owners = owned.at(name, &from, &source);
                let read = read_since(&consumer, (name, full), (&mut from, &mut owners), &mut take);
                read.map_err(NormaliserError::kafka("read what was told"))?;
            }
            failed.map_or(Ok(told), |error| Err(error.into()))
        };
        tokio::task::spawn_blocking(load).await.map_err(|_| NormaliserError::Background)?
    }

    pub async fn commit(&self, offset: i64, tails: &Tails) -> Result<(), NormaliserError> {
        let (consumer, topic) = (self.consumer.clone(), self.topic.clone());
        let metadata = match &self.owned {
            // As it was before processes could share their work.
            owned if *owned == Owned::default() => serde_json::json!(tails),
            owned => serde_json::json!(Beside { owned: owned.clone(), tails: tails.clone() }),
        };
        let metadata = metadata.to_string();
        let commit = move || -> KafkaResult<()> {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition(&topic, 0).set_offset(Offset::Offset(offset))?;
            if let Some(mut element) = list.find_partition(&topic, 0) {
                element.set_metadata(metadata);
            }
            consumer.commit(&list, CommitMode::Sync)
        };
        let committed = tokio::task::spawn_blocking(commit).await.map_err(|_| NormaliserError::Background)?;
        committed.map_err(NormaliserError::kafka("commit how far the log is told"))
    }
}

fn committed(consumer: &BaseConsumer, topic: &str) -> KafkaResult<Stand> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, 0);
    let list = consumer.committed_offsets(list, TIMEOUT)?;
    let Some(element) = list.find_partition(topic, 0) else { return Ok(Stand::default()) };
    let Offset::Offset(offset) = element.offset() else { return Ok(Stand::default()) };
    // Ends that cannot be read mean reading the topics from their start: slow, never wrong.
    let beside = serde_json::from_str(element.metadata()).unwrap_or_else(|_| Beside {
        owned: Owned::default(),
        tails: serde_json::from_str(element.metadata()).unwrap_or_default(),
    });
    let Beside { owned, tails } = beside;
    Ok(Stand { offset, tails, owned })
}

/// Every message after `from`, which moves to the topic's ends; but what an older owner wrote behind a newer one's first.
fn read_since(
    consumer: &BaseConsumer,
    (name, topic): (&'static str, &str),
    (from, owners): (&mut Tails, &mut Owners),
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> KafkaResult<()> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions: Vec<i32> = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
    let from = from.entry(name.to_owned()).or_default();
    let mut ends = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
        let start = from.insert(partition, high).unwrap_or(0).max(low);
        if start < high {
            list.add_partition_offset(topic, partition, Offset::Offset(start))?;
            ends.insert(partition, high);
        }
    }
    consumer.assign(&list)?;
    let mut heard = Instant::now();
    while !ends.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(message) => {
                let message = message?;
                heard = Instant::now();
                if owners.look(&message) == Seen::Output {
                    take(&message);
                }
                if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    ends.remove(&message.partition());
                }
            }
            None if heard.elapsed() > SILENCE_MAX => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            None => {}
        }
    }
    consumer.unassign()
}

/// The id of an event or quarantined item, when it is this source's.
fn own_id(message: &impl Message, source: &str) -> Option<String> {
    let headers = message.headers()?;
    let text = |name: &str| {
        let header = headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok().map(str::to_owned)
    };
    let id = text("ce_id").or_else(|| text(ITEM_HEADER))?;
    id.strip_prefix(source).is_some_and(|rest| rest.starts_with(':')).then_some(id)
}
