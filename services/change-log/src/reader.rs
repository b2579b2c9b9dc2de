//! Reading `changes.<source>`: batches in offset order, by the session rule, without holes.

use crate::{
    control::{Progress, Session, Snapshot},
    frame,
    header::{Headers, Hole, Kind, SessionRule, Verdict},
    kafka::KafkaSettings,
    logs::Log,
    registry::{Registry, RegistryError},
    topics::changes_topic,
    watch::{Place, Question, Stalled, Watch, let_go},
};
use boot::health::Part;
use change::{
    Batch, Durable, Entry, Lsn, Position, Source,
    avro::{EnvelopePlan, Folded},
};
use rdkafka::{
    Message,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Headers as _, OwnedMessage},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

pub const BATCH_ITEMS_MAX: usize = 4_096;
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Compiled schemas of one log; beyond it the cache starts afresh.
pub const PLANS_MAX: usize = 1_024;

/// One record of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Entry(Entry),
    Control(Control),
    /// A record that cannot be read. It is for the quarantine; the log goes on.
    Rejected(Rejected),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    pub offset: i64,
    /// None of a session record.
    pub position: Option<Position>,
    pub body: ControlBody,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ControlBody {
    Session(Session),
    Progress(Progress),
    SnapshotBegin(Snapshot),
    SnapshotChunk(Snapshot),
    SnapshotEnd(Snapshot),
}

/// The bytes as they were, and why they cannot be read.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejected {
    pub offset: i64,
    /// None of a message that is not one of ours.
    pub position: Option<Position>,
    pub commit_end: Option<Lsn>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Fixed words, without values.
    pub reason: String,
}

/// Never shows the bytes.
impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("offset", &self.offset)
            .field("position", &self.position)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// Where a reader stands: kept by whoever applies the batches, to go on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPoint {
    /// The offset to read next.
    pub offset: i64,
    pub rule: SessionRule,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read `{topic}`")]
    Kafka { topic: String, source: KafkaError },
    #[error("`{topic}` no longer holds offset {offset}: its records are older than the topic keeps")]
    Expired { topic: String, offset: i64 },
    #[error("`{topic}` cannot be trusted")]
    Hole { topic: String, source: Hole },
    #[error("cannot read the schema of a record")]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Stalled(#[from] Stalled),
}

impl ReadError {
    pub const fn worth_retrying(&self) -> bool {
        match self {
            Self::Kafka { .. } | Self::Stalled(_) => true,
            Self::Registry(error) => error.worth_retrying(),
            Self::Expired { .. } | Self::Hole { .. } => false,
        }
    }
}

/// A reader of one source's log. `read` is cancel-safe, and can be called again after an error that is worth
/// retrying; after a stall that is with another client.
pub struct LogReader {
    topic: String,
    kafka: KafkaSettings,
    log: Log,
    watch: Watch,
    registry: Registry,
    plans: HashMap<u32, Result<Arc<EnvelopePlan>, String>>,
    point: LogPoint,
    /// A record that waits for its schema.
    stash: Option<OwnedMessage>,
    items: Vec<Item>,
    /// The messages of `items`, for whoever passes their bytes on.
    pub(crate) messages: Option<Vec<OwnedMessage>>,
    bytes: usize,
    between: bool,
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").field("topic", &self.topic).field("point", &self.point).finish_non_exhaustive()
    }
}

impl LogReader {
    /// Reads the source's log from an offset on; 0 is its start.
    pub fn open(kafka: &KafkaSettings, registry: &Registry, source: &str, offset: i64) -> Result<Self, ReadError> {
        Self::resume(kafka, registry, source, LogPoint { offset, rule: SessionRule::default() })
    }

    /// Goes on where a reader stood, so that no hole can lie between.
    pub fn resume(
        kafka: &KafkaSettings,
        registry: &Registry,
        source: &str,
        point: LogPoint,
    ) -> Result<Self, ReadError> {
        let topic = kafka.topic(&changes_topic(source));
        Ok(Self {
            log: open(kafka, &topic, point)?,
            topic,
            kafka: kafka.clone(),
            watch: Watch::new(kafka, None),
            registry: registry.clone(),
            plans: HashMap::new(),
            point,
            stash: None,
            items: Vec::new(),
            messages: None,
            bytes: 0,
            between: false,
        })
    }

    /// The part is not ready while Kafka does not answer.
    pub fn tell(&mut self, part: &Part) {
        self.watch.tell(part);
    }

    /// Whether batches end between two transactions, where one ends among their items.
    pub const fn end_between(&mut self, wanted: bool) {
        self.between = wanted;
    }

    /// Where the reader stands after the last batch.
    pub const fn point(&self) -> LogPoint {
        self.point
    }

    /// The offsets of the first record that is still held and of the next one to be written.
    pub async fn watermarks(&self) -> Result<(i64, i64), ReadError> {
        let asked = self.kafka.watermarks(&self.topic, 0).await;
        asked.map_err(|source| ReadError::Kafka { topic: self.topic.clone(), source })
    }

    /// The next records: at least one, and no more than are there already.
    pub async fn read(&mut self) -> Result<Batch<Item, LogPoint>, ReadError> {
        loop {
            if let Some(message) = self.stash.take() {
                self.take_stashed(message).await?;
            } else if self.items.is_empty() {
                let message = self.next().await?;
                self.take(message)?;
            } else if self.items.len() < BATCH_ITEMS_MAX
                && self.bytes < BATCH_BYTES_MAX
                && !(self.between && self.is_between())
            {
                match self.received_already() {
                    Some(message) => {
                        let message = message?;
                        self.take(message)?;
                    }
                    None => break,
                }
            } else {
                break;
            }
        }
        self.bytes = 0;
        Ok(Batch { items: std::mem::take(&mut self.items), upto: self.point })
    }

    /// Does the last item end something?
    fn is_between(&self) -> bool {
        match self.items.last() {
            Some(Item::Entry(entry)) => entry.commit_end.is_some(),
            Some(Item::Control(control)) => !matches!(control.body, ControlBody::Session(_)),
            Some(Item::Rejected(_)) | None => false,
        }
    }

    /// The next message, waited for. A client that hangs is replaced, and the error says so.
    async fn next(&mut self) -> Result<OwnedMessage, ReadError> {
        let Self { topic, log, watch, point, .. } = self;
        let place = || vec![Place::read(&**topic, 0, Some(point.offset))];
        let received = tokio::select! {
            biased;
            received = log.recv() => received.map(|message| message.detach()),
            stalled = watch.stalled(|| Question::reading(place(), log.consumer())) => {
                log.doubt();
                let fresh = open(&self.kafka, topic, *point)?;
                let_go(std::mem::replace(log, fresh));
                return Err(stalled.into());
            }
        };
        match received {
            Ok(message) => {
                watch.heard();
                Ok(message)
            }
            Err(error) => {
                watch.doubt();
                Err(self.failure(error))
            }
        }
    }

    /// A message that needs no waiting.
    fn received_already(&self) -> Option<Result<OwnedMessage, ReadError>> {
        let received = pin!(self.log.recv());
        match received.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(message)) => Some(Ok(message.detach())),
            Poll::Ready(Err(error)) => Some(Err(self.failure(error))),
            Poll::Pending => None,
        }
    }

    fn failure(&self, source: KafkaError) -> ReadError {
        match source.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                ReadError::Expired { topic: self.topic.clone(), offset: self.point.offset }
            }
            _ => ReadError::Kafka { topic: self.topic.clone(), source },
        }
    }

    /// Takes the message, or puts it by until its schema is known.
    fn take(&mut self, message: OwnedMessage) -> Result<(), ReadError> {
        if let Some(id) = schema_id(&message)
            && !self.plans.contains_key(&id)
            && headers(&message).is_some_and(|headers| headers.kind == Kind::Change)
        {
            self.stash = Some(message);
            return Ok(());
        }
        self.accept(message)
    }

    /// Fetches the schema. The message goes back if that is interrupted or fails.
    async fn take_stashed(&mut self, message: OwnedMessage) -> Result<(), ReadError> {
        let Some(id) = schema_id(&message) else { return self.accept(message) };
        self.stash = Some(message);
        let plan = match self.registry.schema(id).await {
            Ok(schema) => EnvelopePlan::compile(&schema).map(Arc::new).map_err(|error| error.to_string()),
            // Not remembered: a registry that was restored may know it tomorrow.
            Err(RegistryError::UnknownId { .. }) => {
                return self.stash.take().map_or(Ok(()), |message| self.accept(message));
            }
            Err(error) => return Err(error.into()),
        };
        if self.plans.len() >= PLANS_MAX {
            self.plans.clear();
        }
        self.plans.insert(id, plan);
        match self.stash.take() {
            Some(message) => self.accept(message),
            None => Ok(()),
        }
    }

    fn accept(&mut self, message: OwnedMessage) -> Result<(), ReadError> {
        let offset = message.offset();
        self.bytes += message.payload().map_or(0, <[u8]>::len);
        let item = match headers(&message) {
            None => rejected(&message, None, "foreign message: not the headers of this log"),
            Some(headers) => {
                let verdict = self.point.rule.judge(offset, headers.place.as_ref());
                match verdict.map_err(|source| ReadError::Hole { topic: self.topic.clone(), source })? {
                    Verdict::Void => {
                        self.point.offset = offset + 1;
                        return Ok(());
                    }
                    Verdict::Accepted => self.item(&message, &headers),
                }
            }
        };
        self.point.offset = offset + 1;
        self.items.push(item);
        if let Some(messages) = &mut self.messages {
            messages.push(message);
        }
        Ok(())
    }

    /// How a message's schema is read, if it is known.
    pub(crate) fn plan_of(&self, message: &OwnedMessage) -> Option<&Arc<EnvelopePlan>> {
        self.plans.get(&schema_id(message)?)?.as_ref().ok()
    }

    fn item(&self, message: &OwnedMessage, headers: &Headers<'_>) -> Item {
        let body = match headers.kind {
            Kind::Change => self.entry(message, headers).map(Item::Entry),
            _ => control(message, headers).map(Item::Control),
        };
        body.unwrap_or_else(|reason| rejected(message, Some(headers), &reason))
    }

    fn entry(&self, message: &OwnedMessage, headers: &Headers<'_>) -> Result<Entry, String> {
        let (id, datum) = framed(message)?;
        let plan = match self.plans.get(&id) {
            Some(plan) => plan.as_ref().map_err(Clone::clone)?,
            None => return Err(RegistryError::UnknownId { id }.to_string()),
        };
        let folded = Folded { unchanged: headers.unchanged, exact: headers.exact, exact_before: headers.exact_before };
        let decoded = plan.decode(datum, &folded).map_err(|error| error.to_string())?;
        Ok(Entry {
            position: headers.place.map(|place| place.position).ok_or("no position")?,
            offset: message.offset(),
            table: decoded.table,
            change: decoded.change,
            committed_at: decoded.committed_at,
            commit_end: headers.commit_end,
            traceparent: headers.trace_parent.map(str::to_owned),
            origin: headers.origin.map(str::to_owned),
        })
    }
}

/// Reads on from the point.
fn open(kafka: &KafkaSettings, topic: &str, point: LogPoint) -> Result<Log, ReadError> {
    let opened = kafka.clients.logs().open(kafka, topic, point.offset);
    opened.map_err(|source| ReadError::Kafka { topic: topic.to_owned(), source })
}

impl Source<Item, LogPoint> for LogReader {
    type Error = ReadError;

    async fn read(&mut self) -> Result<Option<Batch<Item, LogPoint>>, ReadError> {
        Self::read(self).await.map(Some)
    }

    /// Nothing to forget: the log keeps by time, and whoever applies the batches keeps the point.
    async fn confirm(&mut self, _upto: Durable<LogPoint>) -> Result<(), ReadError> {
        Ok(())
    }
}

fn framed(message: &OwnedMessage) -> Result<(u32, &[u8]), String> {
    frame::unwrap(message.payload().unwrap_or_default()).map_err(|error| error.to_string())
}

fn schema_id(message: &OwnedMessage) -> Option<u32> {
    framed(message).ok().map(|(id, _)| id)
}

fn headers(message: &OwnedMessage) -> Option<Headers<'_>> {
    Headers::parse(message.headers()?.iter().map(|header| (header.key, header.value)))
}

fn control(message: &OwnedMessage, headers: &Headers<'_>) -> Result<Control, String> {
    let (_, datum) = framed(message)?;
    let snapshot = || Snapshot::decode(datum);
    let body = match headers.kind {
        Kind::Session => Session::decode(datum).map(ControlBody::Session),
        Kind::Progress => Progress::decode(datum).map(ControlBody::Progress),
        Kind::SnapshotBegin => snapshot().map(ControlBody::SnapshotBegin),
        Kind::SnapshotChunk => snapshot().map(ControlBody::SnapshotChunk),
        Kind::SnapshotEnd => snapshot().map(ControlBody::SnapshotEnd),
        Kind::Change => return Err("not a control record".into()),
    };
    let body = body.map_err(|error| error.to_string())?;
    Ok(Control { offset: message.offset(), position: headers.place.map(|place| place.position), body })
}

fn rejected(message: &OwnedMessage, headers: Option<&Headers<'_>>, reason: &str) -> Item {
    Item::Rejected(Rejected {
        offset: message.offset(),
        position: headers.and_then(|headers| headers.place).map(|place| place.position),
        commit_end: headers.and_then(|headers| headers.commit_end),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        reason: reason.to_owned(),
    })
}
