//! The producers of one session, and what they report.
//!
//! # Why
//! The Kafka client has one request of an idempotent partition in flight, and asks in a loop whether the next may go as
//! soon as a record has waited for its linger. A short linger makes that loop burn a core while a backlog drains; a long
//! one delays what comes alone. Its linger cannot be changed while it runs, so there are two producers of a session's
//! own, and the pace of the records chooses.
//!
//! A producer has threads, and most of a region's sources are quiet most of the time. A quiet source's records go, one at
//! a time, through a producer that all sources share. One at a time, because a failed delivery ends a session, and nothing
//! behind the record that failed may get into the log: it would be a hole. Of its own producers a session takes back what
//! is still in them; what stands in a shared one cannot be taken back without everybody else's. With one record under way
//! there is nothing behind it. Should it arrive after all, it stands before the next session's record or counts for nothing.

use super::{WriteError, WriterSettings};
use crate::{kafka::KafkaSettings, pace::Tempo, topics::TOPIC_RECORD_BYTES_MAX, watch::let_go};
use boot::failpoint;
use rdkafka::{
    ClientConfig, ClientContext, Message,
    error::{KafkaError, KafkaResult},
    message::OwnedHeaders,
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig, ThreadedProducer},
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// What the client adds to each record: its headers and its own bookkeeping.
const RECORD_OVERHEAD_BYTES: u64 = 640;
/// How long a record that comes alone waits for others.
const LIVE_LINGER_MS: f32 = 0.5;

/// What the delivery reports have told so far.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    pub(super) count: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) offset: AtomicI64,
    pub(super) failure: OnceLock<Failure>,
    pub(super) changed: Notify,
}

#[derive(Clone, Debug)]
pub(super) enum Failure {
    Refused(KafkaError),
    OutOfOrder,
}

impl Deliveries {
    fn report(&self, result: &DeliveryResult<'_>, number: u64) {
        failpoint::reached("log.acknowledged");
        if self.failure.get().is_none() {
            let count = self.count.load(Ordering::Acquire);
            match result {
                Ok(message) if number == count => {
                    let bytes = size(message.key().map_or(0, <[u8]>::len), message.payload().map_or(0, <[u8]>::len));
                    self.bytes.fetch_add(bytes, Ordering::AcqRel);
                    self.offset.store(message.offset(), Ordering::Release);
                    self.count.store(count + 1, Ordering::Release);
                }
                // Nothing after a gap counts, whatever is reported of it.
                Ok(_) => drop(self.failure.set(Failure::OutOfOrder)),
                Err((error, _)) => drop(self.failure.set(Failure::Refused(error.clone()))),
            }
        }
        self.changed.notify_one();
    }
}

/// Receives a session's reports on its producer's own thread.
struct Own(Arc<Deliveries>);

impl ClientContext for Own {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ProducerContext for Own {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        self.0.report(result, number as u64);
    }
}

/// Receives everybody's.
pub(crate) struct Everybodys;

/// Whose record it is, and its number there.
pub(crate) struct Sent(Arc<Deliveries>, u64);

impl ClientContext for Everybodys {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ProducerContext for Everybodys {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        sent.0.report(result, sent.1);
    }
}

/// The producer that quiet sources share.
pub(crate) type Quiet = ThreadedProducer<Everybodys>;

/// Asks a producer's client whether it has an answer.
pub(super) type Probe = Box<dyn Fn(&str, Duration) -> KafkaResult<()> + Send + Sync>;

fn probe<C: ProducerContext + Send + Sync + 'static>(producer: &Arc<ThreadedProducer<C>>) -> Probe {
    let producer = Arc::clone(producer);
    Box::new(move |topic, timeout| producer.client().fetch_watermarks(topic, 0, timeout).map(drop))
}

/// What is handed over.
pub(super) struct Record<'r> {
    pub(super) topic: &'r str,
    pub(super) number: u64,
    pub(super) key: &'r [u8],
    pub(super) value: &'r [u8],
    pub(super) headers: OwnedHeaders,
}

/// The producers that a session has by now.
pub(super) struct Producers {
    kafka: KafkaSettings,
    backlog_linger_ms: f32,
    deliveries: Arc<Deliveries>,
    quiet: Arc<Quiet>,
    live: Option<Arc<ThreadedProducer<Own>>>,
    backlog: Option<Arc<ThreadedProducer<Own>>>,
    tempo: Tempo,
    /// The shared one hangs.
    doubted: bool,
}

impl Producers {
    pub(super) fn new(
        kafka: &KafkaSettings,
        settings: WriterSettings,
        deliveries: &Arc<Deliveries>,
    ) -> Result<Self, WriteError> {
        let make = || config(kafka, 0.0).create_with_context(Everybodys);
        Ok(Self {
            kafka: kafka.clone(),
            backlog_linger_ms: f32::from(settings.linger_ms),
            deliveries: Arc::clone(deliveries),
            quiet: kafka.clients.quiet().get(make).map_err(WriteError::Producer)?,
            live: None,
            backlog: None,
            tempo: Tempo::Quiet,
            doubted: false,
        })
    }

    pub(super) const fn tempo(&self) -> Tempo {
        self.tempo
    }

    /// The one that takes the records from here on. Nothing of the others is under way: their requests do not keep each
    /// other's order.
    pub(super) fn take_over(&mut self, tempo: Tempo) -> Result<(), WriteError> {
        let make = |linger_ms: f32| -> Result<_, WriteError> {
            let made = config(&self.kafka, linger_ms).create_with_context(Own(Arc::clone(&self.deliveries)));
            made.map(Arc::new).map_err(WriteError::Producer)
        };
        match tempo {
            Tempo::Quiet => [self.live.take(), self.backlog.take()].into_iter().flatten().for_each(let_go),
            Tempo::Live if self.live.is_none() => self.live = Some(make(LIVE_LINGER_MS)?),
            Tempo::Backlog if self.backlog.is_none() => self.backlog = Some(make(self.backlog_linger_ms)?),
            Tempo::Live | Tempo::Backlog => {}
        }
        self.tempo = tempo;
        Ok(())
    }

    /// Hands a record over, or back where the queue is full.
    #[expect(clippy::result_large_err, reason = "the record goes back to whoever sends it again")]
    pub(super) fn send<'r>(&self, record: Record<'r>) -> Result<(), (KafkaError, Record<'r>)> {
        let own = match self.tempo {
            Tempo::Quiet => None,
            Tempo::Live => self.live.as_ref(),
            Tempo::Backlog => self.backlog.as_ref(),
        };
        let Record { topic, number, key, value, headers } = record;
        let back = |headers: Option<OwnedHeaders>| {
            let headers = headers.unwrap_or_default();
            Record { topic, number, key, value, headers }
        };
        match own {
            Some(own) => {
                let opaque = usize::try_from(number).unwrap_or(usize::MAX);
                let record = BaseRecord::with_opaque_to(topic, opaque).partition(0).key(key).payload(value);
                own.send(record.headers(headers)).map_err(|(error, record)| (error, back(record.headers)))
            }
            None => {
                let opaque = Box::new(Sent(Arc::clone(&self.deliveries), number));
                let record = BaseRecord::with_opaque_to(topic, opaque).partition(0).key(key).payload(value);
                self.quiet.send(record.headers(headers)).map_err(|(error, record)| (error, back(record.headers)))
            }
        }
    }

    /// Of each producer that may have something under way.
    pub(super) fn probes(&self) -> Vec<Probe> {
        let own = [&self.live, &self.backlog].into_iter().flatten().map(probe);
        if self.tempo == Tempo::Quiet { own.chain([probe(&self.quiet)]).collect() } else { own.collect() }
    }

    /// A producer that is in use hangs.
    pub(super) fn doubt(&mut self) {
        self.doubted = self.tempo == Tempo::Quiet;
    }
}

impl Drop for Producers {
    /// Nothing more is sent of what is in its own, even where somebody still looks at one of them.
    fn drop(&mut self) {
        for producer in [self.live.take(), self.backlog.take()].into_iter().flatten() {
            producer.purge(PurgeConfig::default().queue().inflight());
        }
        if self.doubted || self.quiet.client().fatal_error().is_some() {
            self.kafka.clients.quiet().let_go(&self.quiet);
        }
    }
}

fn config(kafka: &KafkaSettings, linger_ms: f32) -> ClientConfig {
    let mut client = kafka.client();
    client
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "0")
        .set("compression.type", "lz4")
        .set("linger.ms", linger_ms.to_string())
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536")
        .set("message.max.bytes", TOPIC_RECORD_BYTES_MAX.to_string())
        .set("allow.auto.create.topics", "false");
    client
}

pub(super) const fn size(key: usize, value: usize) -> u64 {
    (key + value) as u64 + RECORD_OVERHEAD_BYTES
}
