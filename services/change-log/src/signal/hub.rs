//! The one reader of `source.signals` that a process has: everybody in it asks here.
//!
//! # Why
//! Every source has a handful of keys, and asks for them at each of its starts. If each asked Kafka with a client of its
//! own and read the topic from its beginning, hundreds of sources would read it hundreds of times, and hold a client each
//! to follow it. So it is read once, as long as the process lives; who asks waits until what stood there when they asked
//! has been read.

use super::{
    SignalError, TOPIC,
    register::{ASK_TIMEOUT, consumer, replaces},
    topic,
};
use crate::{
    KafkaSettings, topics,
    watch::{Held as HeldClient, Place, Question, Watch},
};
use boot::Stop;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// Records of a key that are remembered to have counted: whoever wrote one asks soon whether it did.
const COUNTED_KEPT: usize = 256;
const RETRY: Duration = Duration::from_secs(1);

/// What a key holds, by the records so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The first record that is still there: what was before it is compacted away.
    first: Option<i64>,
    /// The record that counts.
    pub(super) at: Option<i64>,
    pub(super) value: Option<Arc<[u8]>>,
}

impl Held {
    /// Takes the next record in. False: it replaces one that another had replaced already.
    pub(super) fn take(&mut self, offset: i64, replaces: Option<i64>, value: Option<&[u8]>) -> bool {
        let first = *self.first.get_or_insert(offset);
        let forgotten = replaces.is_some_and(|replaced| replaced < first);
        let counts = self.at.is_none() || forgotten || replaces == self.at;
        if counts {
            (self.at, self.value) = (Some(offset), value.map(Arc::from));
        }
        counts
    }
}

/// All keys, and who follows them.
#[derive(Default)]
pub(crate) struct Hub {
    shared: Arc<Shared>,
    reading: Mutex<Option<Reading>>,
}

struct Reading {
    task: JoinHandle<()>,
    stop: Stop,
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(reading) = self.reading.lock().unwrap_or_else(PoisonError::into_inner).take() {
            reading.stop.cancel();
        }
    }
}

struct Shared {
    keys: Mutex<HashMap<String, Key>>,
    /// Behind the last record that was read.
    next: watch::Sender<i64>,
}

#[derive(Default)]
struct Key {
    held: watch::Sender<Held>,
    counted: VecDeque<i64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { keys: Mutex::default(), next: watch::Sender::new(0) }
    }
}

impl Shared {
    fn keys(&self) -> MutexGuard<'_, HashMap<String, Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let replaces = key.and_then(|key| replaces(key, message.payload(), message.offset()));
        if let (Some(key), Some(replaces)) = (key, replaces) {
            let mut keys = self.keys();
            let Key { held, counted } = keys.entry(key.to_owned()).or_default();
            if held.send_if_modified(|held| held.take(message.offset(), replaces, message.payload())) {
                counted.push_back(message.offset());
                if counted.len() > COUNTED_KEPT {
                    counted.pop_front();
                }
            }
        }
        self.next.send_replace(message.offset() + 1);
    }

    /// The topic is another one: what was read counts no more.
    fn forget(&self) {
        for key in self.keys().values_mut() {
            key.counted.clear();
            key.held.send_replace(Held::default());
        }
        self.next.send_replace(0);
    }
}

impl Hub {
    /// What the key holds now.
    pub(super) async fn held(&self, kafka: &KafkaSettings, key: &str) -> Result<Held, SignalError> {
        self.level(kafka).await?;
        Ok(self.shared.keys().get(key).map(|key| key.held.borrow().clone()).unwrap_or_default())
    }

    /// What the key holds, from now on.
    pub(super) async fn follow(&self, kafka: &KafkaSettings, key: &str) -> Result<watch::Receiver<Held>, SignalError> {
        self.level(kafka).await?;
        Ok(self.shared.keys().entry(key.to_owned()).or_default().held.subscribe())
    }

    /// Whether the key's record at this offset counts, once it has been read.
    pub(super) async fn counted(&self, kafka: &KafkaSettings, key: &str, offset: i64) -> Result<bool, SignalError> {
        self.read_upto(kafka, offset + 1).await?;
        Ok(self.shared.keys().get(key).is_some_and(|key| key.counted.contains(&offset)))
    }

    /// Waits until everything that the topic holds has been read.
    async fn level(&self, kafka: &KafkaSettings) -> Result<(), SignalError> {
        let name = kafka.topic(TOPIC);
        if self.is_unread() {
            topics::ensure(kafka, &[topic()]).await?;
        }
        let asked = kafka.watermarks(&name, 0).await;
        let (low, high) = asked.map_err(|source| SignalError::Kafka { topic: name, source })?;
        if high < *self.shared.next.borrow() {
            tracing::warn!("`{TOPIC}` is shorter than it was: it is read anew");
            self.end_reading();
            self.shared.forget();
        }
        if low < high { self.read_upto(kafka, high).await } else { self.begin_reading(kafka) }
    }

    async fn read_upto(&self, kafka: &KafkaSettings, upto: i64) -> Result<(), SignalError> {
        self.begin_reading(kafka)?;
        let mut next = self.shared.next.subscribe();
        let read = tokio::time::timeout(ASK_TIMEOUT, next.wait_for(|next| *next >= upto)).await;
        match read {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                self.end_reading();
                Err(SignalError::Silent { topic: kafka.topic(TOPIC) })
            }
        }
    }

    fn is_unread(&self) -> bool {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Unless it is being read. A task ends with the runtime that it was begun on.
    fn begin_reading(&self, kafka: &KafkaSettings) -> Result<(), SignalError> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if reading.as_ref().is_some_and(|reading| !reading.task.is_finished()) {
            return Ok(());
        }
        let topic = kafka.topic(TOPIC);
        let from = *self.shared.next.borrow();
        let consumer = open(kafka, &topic, from).map_err(|source| SignalError::Kafka { topic, source })?;
        let (stop, kafka) = (Stop::new(), kafka.apart());
        let (following, stopped) = (read(kafka, consumer, Arc::clone(&self.shared)), stop.clone());
        let task = tokio::spawn(async move {
            let _ = stopped.run_until_cancelled(following).await;
        });
        *reading = Some(Reading { task, stop });
        Ok(())
    }

    /// Whoever asks next begins anew, with another client.
    fn end_reading(&self) {
        if let Some(reading) = self.reading.lock().unwrap_or_else(PoisonError::into_inner).take() {
            reading.stop.cancel();
        }
    }
}

fn open(kafka: &KafkaSettings, topic: &str, from: i64) -> Result<HeldClient<StreamConsumer>, KafkaError> {
    let consumer: StreamConsumer = consumer(kafka).create()?;
    let mut assignment = TopicPartitionList::with_capacity(1);
    assignment.add_partition_offset(topic, 0, Offset::Offset(from))?;
    consumer.assign(&assignment)?;
    Ok(HeldClient::new(Arc::new(consumer)))
}

/// Reads on and on. A client that hangs is replaced.
async fn read(kafka: KafkaSettings, mut held: HeldClient<StreamConsumer>, shared: Arc<Shared>) {
    let topic = kafka.topic(TOPIC);
    let mut watch = Watch::new(&kafka, None);
    loop {
        let next = *shared.next.borrow();
        let received = tokio::select! {
            received = held.client.recv() => received,
            stalled = watch.stalled(|| Question::reading(vec![Place::read(&*topic, 0, Some(next))], &held.client)) => {
                tracing::warn!(error = %stalled, "following what is wanted of the sources");
                match open(&kafka, &topic, next) {
                    Ok(fresh) => held = fresh,
                    Err(error) => tracing::warn!(%error, "no other client"),
                }
                continue;
            }
        };
        match received {
            Ok(message) => {
                watch.heard();
                shared.take(&message);
            }
            // The client connects again by itself.
            Err(error) => {
                tracing::debug!(%error, "following what is wanted of the sources");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_records_that_replace_the_same_one_the_first_counts() {
        let taken = |records: &[(i64, Option<i64>)]| -> Vec<bool> {
            let mut held = Held::default();
            records.iter().map(|(offset, replaces)| held.take(*offset, *replaces, Some(b"{}"))).collect()
        };
        // Three at the same moment, and again until all are through.
        let three = [(0, None), (1, None), (2, None), (3, Some(0)), (4, Some(0)), (5, Some(3))];
        assert_eq!(taken(&three), [true, false, false, true, false, true]);
        // After compaction, what the first ones replaced is gone.
        assert_eq!(taken(&[(4, Some(0)), (5, Some(3)), (6, Some(3)), (7, Some(5))]), [true, true, true, false]);
    }

    #[test]
    fn who_follows_sees_what_counts_and_a_topic_that_is_another_one() {
        let shared = Shared::default();
        let mut follower = shared.keys().entry("gp".into()).or_default().held.subscribe();
        let take = |offset, replaces| {
            let mut keys = shared.keys();
            let key = keys.get_mut("gp").expect("the key");
            key.held.send_if_modified(|held| held.take(offset, replaces, Some(b"{}")))
        };
        assert!(take(4, None));
        assert_eq!((follower.has_changed().ok(), follower.borrow_and_update().at), (Some(true), Some(4)));
        assert!(!take(5, None), "another was there first");
        assert_eq!(follower.has_changed().ok(), Some(false), "nothing is told of what does not count");
        shared.forget();
        assert_eq!(follower.borrow_and_update().clone(), Held::default());
    }
}
