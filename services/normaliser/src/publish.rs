//! Onto Kafka in order, a bounded number in flight, with marks between: a mark comes out only
//! when everything before it is acknowledged.

use crate::error::NormaliserError;
use boot::health::Part;
use change_log::{
    KafkaSettings, Place, Question, Stalled, Watch, frame,
    owners::OWNER,
    topics::{EVENTS, QUARANTINE, QUARANTINED_BYTES_MAX},
};
use event::{avro, cloud_events};
use fold::Output;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _},
};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::Tails;

/// Events sent and not yet acknowledged.
pub const IN_FLIGHT_MAX: usize = 10_000;
/// Marks between them.
pub const MARKS_MAX: usize = 10_000;
/// How long to wait when the client's own queue is full.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

pub use event::quarantined::ITEM_HEADER;

enum Waiting {
    Delivery {
        topic: &'static str,
        future: DeliveryFuture,
    },
    /// An offset, and which mark it is.
    Mark(i64, u64),
}

pub struct Publisher {
    kafka: KafkaSettings,
    /// All sources have the same.
    producer: Arc<FutureProducer>,
    settling: Settling,
    watch: Watch,
    events_topic: String,
    quarantine_topic: String,
    events_schema: u32,
    quarantine_schema: u32,
    waiting: VecDeque<Waiting>,
    in_flight: usize,
    /// What an earlier run wrote after its last commit.
    already: HashSet<u128>,
    /// Who tells, where several processes may.
    owner: Option<String>,
    ends: Ends,
    /// The last mark that came out: every output of the log before this offset is on Kafka.
    pub durable: Option<i64>,
    /// Which mark that was: several may bear one offset.
    pub reached: u64,
    marks: u64,
}

pub struct Schemas {
    pub events: u32,
    pub quarantine: u32,
}

impl Publisher {
    pub fn new(
        kafka: &KafkaSettings,
        schemas: &Schemas,
        (tails, already): (Tails, HashSet<u128>),
        owner: Option<String>,
        (part, settling): (&Part, &Settling),
    ) -> Result<Self, NormaliserError> {
        Ok(Self {
            kafka: kafka.clone(),
            producer: kafka.shared_outbox().map_err(NormaliserError::kafka("make a producer"))?,
            settling: settling.clone(),
            watch: Watch::new(kafka, Some(part)),
            events_topic: kafka.topic(EVENTS),
            quarantine_topic: kafka.topic(QUARANTINE),
            events_schema: schemas.events,
            quarantine_schema: schemas.quarantine,
            waiting: VecDeque::new(),
            in_flight: 0,
            already,
            owner,
            ends: Ends { marked: tails, ahead: Tails::new() },
            durable: None,
            reached: 0,
            marks: 0,
        })
    }

    /// Where the topics ended at the last mark that came out.
    pub const fn tails(&self) -> &Tails {
        &self.ends.marked
    }

    pub fn producer(&self) -> Arc<FutureProducer> {
        Arc::clone(&self.producer)
    }

    /// Sends, unless an earlier run has. Waits while too many are in flight.
    pub async fn send(&mut self, output: &Output) -> Result<(), NormaliserError> {
        let (topic, key, id, payload, headers) = match output {
            Output::Event(event) => {
                let mut payload = Vec::new();
                frame::start(self.events_schema, &mut payload);
                avro::encode(event, &mut payload);
                (EVENTS, event.patient.to_string(), event.id(), payload, cloud_events::headers(event))
            }
            Output::Quarantined(item) => {
                let mut payload = Vec::new();
                frame::start(self.quarantine_schema, &mut payload);
                avro::encode_quarantined_within(item, QUARANTINED_BYTES_MAX, &mut payload);
                let id = item_id(item);
                (
                    QUARANTINE,
                    item.position.map_or_else(String::new, |p| p.to_string()),
                    id.clone(),
                    payload,
                    vec![(ITEM_HEADER, id)],
                )
            }
        };
        if self.already.remove(&digest(&id)) {
            return Ok(());
        }
        let mut owned = OwnedHeaders::new_with_capacity(headers.len() + 1);
        if let Some(owner) = &self.owner {
            owned = owned.insert(Header { key: OWNER, value: Some(owner.as_bytes()) });
        }
        for (key, value) in &headers {
            owned = owned.insert(Header { key, value: Some(value.as_bytes()) });
        }
        let name = if topic == EVENTS { &self.events_topic } else { &self.quarantine_topic }.clone();
        let mut record = FutureRecord::to(&name).key(&key).payload(&payload).headers(owned);
        loop {
            while self.in_flight >= IN_FLIGHT_MAX {
                self.reap().await?;
            }
            match self.producer.send_result(record) {
                Ok(future) => {
                    self.in_flight += 1;
                    self.waiting.push_back(Waiting::Delivery { topic, future });
                    return Ok(());
                }
                Err((error, unsent)) => {
                    if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                        return Err(NormaliserError::Kafka { doing: "send an event", source: error });
                    }
                    record = unsent;
                    tokio::time::sleep(QUEUE_FULL_WAIT).await;
                }
            }
        }
    }

    /// Everything the log says before this offset has been sent.
    pub async fn mark(&mut self, offset: i64) -> Result<u64, NormaliserError> {
        self.marks += 1;
        if let Some(Waiting::Mark(last, number)) = self.waiting.back_mut() {
            (*last, *number) = (offset, self.marks);
            return Ok(self.marks);
        }
        while self.waiting.len() - self.in_flight >= MARKS_MAX {
            self.reap().await?;
        }
        self.waiting.push_back(Waiting::Mark(offset, self.marks));
        Ok(self.marks)
    }

    /// Waits for the oldest, so long as the producer gets on; for ever if there is none. Cancel-safe.
    pub async fn reap(&mut self) -> Result<(), NormaliserError> {
        let Self { kafka, producer, watch, events_topic, quarantine_topic, in_flight, .. } = self;
        let topics = [events_topic.as_str(), quarantine_topic.as_str()];
        match self.waiting.front_mut() {
            None => std::future::pending().await,
            Some(Waiting::Mark(offset, number)) => {
                (self.durable, self.reached) = (Some(*offset), *number);
                self.ends.mark();
            }
            Some(Waiting::Delivery { topic, future }) => {
                let delivered = tokio::select! {
                    biased;
                    delivered = future => delivered,
                    stalled = stalled(watch, producer, topics, *in_flight) => {
                        kafka.let_go_of_outbox(producer);
                        return Err(stalled.into());
                    }
                };
                self.watch.heard();
                let delivery = match delivered {
                    Ok(Ok(delivery)) => delivery,
                    Ok(Err((source, _))) => return Err(NormaliserError::Kafka { doing: "deliver an event", source }),
                    Err(_) => return Err(NormaliserError::Undelivered),
                };
                self.ends.take(topic, delivery.partition, delivery.offset);
                self.in_flight -= 1;
            }
        }
        self.waiting.pop_front();
        Ok(())
    }
}

/// Where the topics end. What was taken since the last mark is looked for behind it: whoever starts at the mark tells it
/// again, and must find it.
#[derive(Default)]
struct Ends {
    marked: Tails,
    ahead: Tails,
}

impl Ends {
    fn take(&mut self, topic: &str, partition: i32, offset: i64) {
        let ends = match self.ahead.get_mut(topic) {
            Some(ends) => ends,
            None => self.ahead.entry(topic.to_owned()).or_default(),
        };
        let end = ends.entry(partition).or_default();
        *end = (*end).max(offset + 1);
    }

    fn mark(&mut self) {
        for (topic, ahead) in &mut self.ahead {
            if ahead.is_empty() {
                continue;
            }
            let ends = self.marked.entry(topic.clone()).or_default();
            for (partition, ahead) in std::mem::take(ahead) {
                let end = ends.entry(partition).or_default();
                *end = (*end).max(ahead);
            }
        }
    }
}

async fn stalled(watch: &mut Watch, producer: &Arc<FutureProducer>, topics: [&str; 2], in_flight: usize) -> Stalled {
    let question = || {
        let producer = Arc::clone(producer);
        let own = move |place: &Place, timeout| producer.client().fetch_watermarks(&place.topic, 0, timeout).map(drop);
        Question::writing(topics.map(Place::written).to_vec(), in_flight as u64, Some(Box::new(own)))
    };
    watch.stalled(question).await
}

impl Drop for Publisher {
    /// The next run of the source begins when nothing of this one is on its way any more.
    fn drop(&mut self) {
        if self.producer.client().fatal_error().is_some() {
            self.kafka.let_go_of_outbox(&self.producer);
        }
        let sent = std::mem::take(&mut self.waiting).into_iter().filter_map(|waiting| match waiting {
            Waiting::Delivery { future, .. } => Some(future),
            Waiting::Mark(..) => None,
        });
        self.settling.leave(sent.collect());
    }
}

/// What a source's earlier runs have sent, and Kafka has neither taken nor refused: it stands in the producer that all
/// sources share, and cannot be taken back.
#[derive(Clone, Default)]
pub struct Settling(Arc<Mutex<Vec<DeliveryFuture>>>);

impl Settling {
    fn leave(&self, sent: Vec<DeliveryFuture>) {
        self.left().extend(sent);
    }

    fn left(&self) -> MutexGuard<'_, Vec<DeliveryFuture>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is under way. What was taken stands on the topics then, where the next run looks.
    pub async fn settled(&self) {
        let sent = std::mem::take(&mut *self.left());
        for delivery in sent {
            drop(delivery.await);
        }
    }
}

/// One telling of an item: an item that is told again is another.
fn item_id(item: &event::Quarantined) -> String {
    let told = match (&item.item, item.position) {
        (Some(name), Some(position)) => format!("{name}@{position}:{}", item.offset.unwrap_or(-1)),
        _ => item.name(),
    };
    if item.closed { format!("{told}:closed") } else { told }
}

pub fn digest(id: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_after_a_mark_is_looked_for_behind_it() {
        let told = |ends: &Ends| ends.marked.get("t").cloned().unwrap_or_default().into_iter().collect::<Vec<_>>();
        let mut ends = Ends::default();
        ends.take("t", 0, 4);
        ends.mark();
        ends.take("t", 0, 5);
        ends.take("t", 1, 9);
        assert_eq!(told(&ends), [(0, 5)]);
        ends.mark();
        assert_eq!(told(&ends), [(0, 6), (1, 10)]);
        ends.take("t", 0, 2);
        ends.mark();
        assert_eq!(told(&ends), [(0, 6), (1, 10)]);
    }
}
