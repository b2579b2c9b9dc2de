//! Reading many logs with few clients: each log has a queue of its own in one of them.

use crate::{KafkaSettings, topics::RECORD_BYTES_MAX, watch::Held};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer, stream_consumer::StreamPartitionQueue},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::JoinHandle;

/// So many clients are made before one reads several logs; then each log goes to the one with the fewest.
pub const CLIENTS_MAX: usize = 8;
/// What is fetched ahead of each log.
const PREFETCH_KBYTES: &str = "4096";

/// The clients that read logs.
#[derive(Default)]
pub(crate) struct Logs(Mutex<Vec<Weak<Client>>>);

/// Reads logs, each at most once.
pub(crate) struct Client {
    held: Held<StreamConsumer>,
    topics: Mutex<BTreeSet<String>>,
    hangs: AtomicBool,
    /// What concerns no log in particular.
    events: JoinHandle<()>,
}

/// One log, read from an offset on.
pub(crate) struct Log {
    client: Arc<Client>,
    /// None only while it is dropped.
    queue: Option<StreamPartitionQueue<rdkafka::consumer::DefaultConsumerContext>>,
    topic: String,
}

impl Logs {
    pub(crate) fn open(&self, kafka: &KafkaSettings, topic: &str, offset: i64) -> KafkaResult<Log> {
        let client = {
            let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            clients.retain(|client| client.strong_count() > 0);
            let alive: Vec<Arc<Client>> = clients.iter().filter_map(Weak::upgrade).filter(|it| it.is_well()).collect();
            let free = alive.iter().filter(|client| !client.topics().contains(topic));
            let client = match free.min_by_key(|client| client.topics().len()) {
                Some(client) if alive.len() >= CLIENTS_MAX => Arc::clone(client),
                _ => {
                    let client = Arc::new(Client::new(kafka)?);
                    clients.push(Arc::downgrade(&client));
                    client
                }
            };
            client.topics().insert(topic.to_owned());
            client
        };
        client.open(topic, offset)
    }
}

impl Client {
    fn new(kafka: &KafkaSettings) -> KafkaResult<Self> {
        let consumer: StreamConsumer = kafka
            .client()
            .set("group.id", "causeway-logs")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "50")
            .set("fetch.queue.backoff.ms", "20")
            .set("queued.max.messages.kbytes", PREFETCH_KBYTES)
            .set("fetch.message.max.bytes", RECORD_BYTES_MAX.to_string())
            .set("fetch.max.bytes", (2 * RECORD_BYTES_MAX).to_string())
            .set("allow.auto.create.topics", "false")
            .create()?;
        let held = Held::new(Arc::new(consumer));
        let heard = held.again();
        let events = tokio::spawn(async move {
            loop {
                match heard.client.recv().await {
                    // A queue of its own takes each log's records from before it is read: none comes here.
                    Ok(message) => tracing::error!(topic = rdkafka::Message::topic(&message), "a record went astray"),
                    Err(error) => tracing::debug!(%error, "reading logs"),
                }
            }
        });
        Ok(Self { held, topics: Mutex::default(), hangs: AtomicBool::new(false), events })
    }

    fn topics(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_well(&self) -> bool {
        !self.hangs.load(Ordering::Acquire)
    }

    /// The topic is among its own already, and nobody else's.
    fn open(self: Arc<Self>, topic: &str, offset: i64) -> KafkaResult<Log> {
        // Dropped, it gives the topic back.
        let mut log = Log { client: self, queue: None, topic: topic.to_owned() };
        let queue = log.client.held.client.split_partition_queue(topic, 0);
        log.queue = Some(queue.ok_or(KafkaError::Canceled)?);
        let mut assignment = TopicPartitionList::with_capacity(1);
        assignment.add_partition_offset(topic, 0, Offset::Offset(offset))?;
        log.client.held.client.incremental_assign(&assignment)?;
        Ok(log)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.events.abort();
    }
}

impl Log {
    /// The next record. Cancel-safe.
    pub(crate) async fn recv(&self) -> KafkaResult<BorrowedMessage<'_>> {
        match &self.queue {
            Some(queue) => queue.recv().await,
            None => Err(KafkaError::Canceled),
        }
    }

    pub(crate) fn consumer(&self) -> &Arc<StreamConsumer> {
        &self.client.held.client
    }

    /// Its client hangs: nobody begins to read with it any more, and it ends with the last who does.
    pub(crate) fn doubt(&self) {
        self.client.hangs.store(true, Ordering::Release);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut assignment = TopicPartitionList::with_capacity(1);
        assignment.add_partition(&self.topic, 0);
        if let Err(error) = self.client.held.client.incremental_unassign(&assignment) {
            tracing::debug!(%error, topic = self.topic, "a log that was not read");
        }
        drop(self.queue.take());
        // Only now may another begin to read the topic with this client: its queue is the same.
        self.client.topics().remove(&self.topic);
    }
}
