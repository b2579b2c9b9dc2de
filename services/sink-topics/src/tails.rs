//! The ends of a source's topics, read back at a start: where each stands, and where to go on in the log.

use crate::error::TopicsError;
use change::Position;
use change_log::{KafkaSettings, frame, header, topics::changes_topic};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier},
    client::DefaultClientContext,
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
/// Topics of one question for their settings.
const DESCRIBED_AT_ONCE_MAX: usize = 500;
const POLL: Duration = Duration::from_millis(100);
/// The offset of the log up to which everything was in the topics when a record was written.
pub(crate) const SETTLED: &str = "causeway.settled";

/// The last record of ours in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) position: Position,
    pub(crate) tombstone: bool,
    pub(crate) settled: i64,
    /// The schema of its value, or of a tombstone's key: it says whose record it is.
    pub(crate) schema: Option<u32>,
}

/// How a topic is, that its owner may have set otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) partitions: usize,
    /// Kafka takes no record without a key.
    pub(crate) compacted: bool,
}

/// By topic.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    pub(crate) tails: HashMap<String, Tail>,
    pub(crate) states: HashMap<String, State>,
    /// How long the log keeps a record; none: for ever, as far as is known.
    pub(crate) kept: Option<Duration>,
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
    let mut tails = reading.await.unwrap_or(Err(failed(KafkaError::Canceled)))?;
    let log = kafka.topic(&changes_topic(source));
    let names: Vec<String> = tails.states.keys().cloned().chain([log.clone()]).collect();
    for (topic, settings) in described(kafka, &names).await {
        if topic == log {
            tails.kept = settings.kept;
        } else if let Some(state) = tails.states.get_mut(&topic) {
            state.compacted = settings.compacted;
        }
    }
    Ok(tails)
}

/// How these topics are now; those that are not there are left out.
pub(crate) async fn states(kafka: &KafkaSettings, topics: Vec<String>) -> Result<HashMap<String, State>, TopicsError> {
    let client = kafka.client();
    let names = topics.clone();
    let asking = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = client.create().map_err(failed)?;
        let metadata = consumer.fetch_metadata(None, METADATA_TIMEOUT).map_err(failed)?;
        let all = metadata.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len()));
        Ok(all.filter(|(name, _)| topics.contains(name)).collect::<Vec<_>>())
    });
    let partitions = asking.await.unwrap_or(Err(failed(KafkaError::Canceled)))?;
    let settings: HashMap<String, Described> = described(kafka, &names).await.into_iter().collect();
    let compacted = |name: &String| settings.get(name).is_some_and(|settings| settings.compacted);
    let state = |(name, partitions)| (State { partitions, compacted: compacted(&name) }, name);
    Ok(partitions.into_iter().map(state).map(|(state, name)| (name, state)).collect())
}

#[derive(Clone, Copy, Debug, Default)]
struct Described {
    compacted: bool,
    kept: Option<Duration>,
}

/// What the topics' settings say. Who may not ask learns it when Kafka refuses a record.
async fn described(kafka: &KafkaSettings, topics: &[String]) -> Vec<(String, Described)> {
    let Ok(admin) = kafka.client().create::<AdminClient<DefaultClientContext>>() else { return Vec::new() };
    let options = AdminOptions::new().request_timeout(Some(METADATA_TIMEOUT));
    let mut all = Vec::with_capacity(topics.len());
    for some in topics.chunks(DESCRIBED_AT_ONCE_MAX) {
        let resources: Vec<_> = some.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let answers = admin.describe_configs(&resources, &options).await;
        for answer in answers.into_iter().flatten() {
            let Ok(resource) = answer else {
                tracing::debug!("the settings of a topic cannot be asked for");
                continue;
            };
            let OwnedResourceSpecifier::Topic(topic) = &resource.specifier else { continue };
            let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
            let compacted = value("cleanup.policy").contains("compact");
            // -1: for ever.
            let kept = value("retention.ms").parse().ok().map(Duration::from_millis);
            all.push((topic.clone(), Described { compacted, kept }));
        }
    }
    all
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
        tails.states.insert(name.clone(), State { partitions: topic.partitions().len(), compacted: false });
        let (low, high) = consumer.fetch_watermarks(&name, 0, METADATA_TIMEOUT).map_err(failed)?;
        if high > low && topic.partitions().len() == 1 {
            let from = Offset::Offset((high - RECORDS_MAX).max(low));
            assignment.add_partition_offset(&name, 0, from).map_err(failed)?;
            open.insert(name, high - 1);
        }
    }
    if tails.states.len() > TOPICS_MAX {
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
    let schema = message.payload().or(message.key()).and_then(|bytes| Some(frame::unwrap(bytes).ok()?.0));
    Some(Tail { position, tombstone: message.payload().is_none(), settled, schema })
}
