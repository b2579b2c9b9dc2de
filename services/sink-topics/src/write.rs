//! Writing to many topics with one idempotent producer, and knowing up to where everything has arrived.

use crate::{error::TopicsError, render::Output, tails::SETTLED};
use change::Entry;
use change_log::{KafkaSettings, header, topics::TOPIC_RECORD_BYTES_MAX};
use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage},
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Records that Kafka has not acknowledged yet.
const IN_FLIGHT_RECORDS_MAX: usize = 8_192;
/// Their bytes. A single larger record goes alone.
const IN_FLIGHT_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Headers of the log that stand on the topics, too.
const PASSED_ON: [&str; 5] =
    [header::UNCHANGED, header::EXACT, header::EXACT_BEFORE, header::ORIGIN, header::TRACE_PARENT];

/// Records in the order they were handed over, from the first that is not acknowledged.
#[derive(Debug)]
struct Flight {
    records: VecDeque<Record>,
    /// The number of the first of them.
    first: usize,
    bytes: usize,
    /// Everything in the log before this offset is in the topics, but for what tables wait with.
    settled: i64,
    /// The log has been read up to here.
    read: i64,
    failure: Option<Failure>,
}

/// What Kafka did not take, and where.
#[derive(Clone, Debug)]
struct Failure {
    topic: String,
    keyless: bool,
    error: KafkaError,
}

#[derive(Debug)]
struct Record {
    offset: i64,
    bytes: usize,
    arrived: bool,
}

impl Flight {
    fn push(&mut self, offset: i64, bytes: usize) -> usize {
        self.records.push_back(Record { offset, bytes, arrived: false });
        self.bytes += bytes;
        self.first + self.records.len() - 1
    }

    /// Topics acknowledge in an order of their own: only what has nothing open before it is settled.
    fn arrived(&mut self, number: usize) {
        if let Some(record) = number.checked_sub(self.first).and_then(|at| self.records.get_mut(at)) {
            record.arrived = true;
        }
        while let Some(&Record { offset, bytes, arrived: true }) = self.records.front() {
            self.records.pop_front();
            self.first += 1;
            self.bytes -= bytes;
            self.settled = offset;
        }
        self.rest();
    }

    /// Nothing of what was read is on its way: it is settled, even if there was nothing to write.
    fn rest(&mut self) {
        if self.records.is_empty() {
            self.settled = self.settled.max(self.read);
        }
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.records.is_empty()
            || (self.records.len() < IN_FLIGHT_RECORDS_MAX && self.bytes + bytes <= IN_FLIGHT_BYTES_MAX)
    }
}

#[derive(Debug)]
struct Shared {
    flight: Mutex<Flight>,
    changed: Notify,
}

impl Shared {
    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives the reports on the producer's own thread.
struct Reports(Arc<Shared>);

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(_) => self.0.flight().arrived(number),
            Err((error, message)) => {
                let failure = || Failure {
                    topic: message.topic().to_owned(),
                    keyless: message.key().is_none(),
                    error: error.clone(),
                };
                self.0.flight().failure.get_or_insert_with(failure);
            }
        }
        self.0.changed.notify_one();
    }
}

pub(crate) struct Writer {
    producer: ThreadedProducer<Reports>,
    shared: Arc<Shared>,
}

/// A look at a writer from beside.
pub(crate) struct Watch(Arc<Shared>);

impl Watch {
    pub(crate) fn failure(&self) -> Option<TopicsError> {
        self.0.flight().failure.clone().map(refused)
    }

    /// The topic on which Kafka took no record without a key, if that is what failed.
    pub(crate) fn keyless_refused(&self) -> Option<String> {
        let flight = self.0.flight();
        let failure = flight.failure.as_ref()?;
        let refused = failure.error.rdkafka_error_code() == Some(RDKafkaErrorCode::InvalidRecord);
        (failure.keyless && refused).then(|| failure.topic.clone())
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.0.flight().records.len()
    }

    pub(crate) fn settled(&self) -> i64 {
        self.0.flight().settled
    }
}

fn refused(Failure { topic, error, .. }: Failure) -> TopicsError {
    TopicsError::Write { topic, source: error }
}

impl Writer {
    /// `settled`: where reading the log starts.
    pub(crate) fn new(kafka: &KafkaSettings, settled: i64) -> Result<Self, TopicsError> {
        let flight = Flight { records: VecDeque::new(), first: 0, bytes: 0, settled, read: settled, failure: None };
        let shared = Arc::new(Shared { flight: Mutex::new(flight), changed: Notify::new() });
        let producer = kafka
            .client()
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", TOPIC_RECORD_BYTES_MAX.to_string())
            .set("allow.auto.create.topics", "false")
            .create_with_context(Reports(Arc::clone(&shared)))
            .map_err(|source| TopicsError::Kafka { doing: "start a producer", source })?;
        Ok(Self { producer, shared })
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared))
    }

    /// All before this offset of the log was read, and handed over if it had to be.
    pub(crate) fn read(&self, offset: i64) {
        let mut flight = self.shared.flight();
        flight.read = offset;
        flight.rest();
    }

    /// Hands a record over; waits while too many are in flight.
    pub(crate) async fn write(
        &mut self,
        topic: &str,
        entry: &Entry,
        message: &OwnedMessage,
        output: &Output<'_>,
    ) -> Result<(), TopicsError> {
        let bytes = output.key.map_or(0, <[u8]>::len) + output.value.as_ref().map_or(0, |value| value.len());
        let (number, settled) = loop {
            {
                let mut flight = self.shared.flight();
                if let Some(error) = &flight.failure {
                    return Err(refused(error.clone()));
                }
                if flight.has_room_for(bytes) {
                    let settled = flight.settled;
                    break (flight.push(entry.offset, bytes), settled);
                }
            }
            self.shared.changed.notified().await;
        };
        let headers = headers(entry, message, settled);
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, number).partition(0).headers(headers);
        record.key = output.key;
        record.payload = output.value.as_deref();
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(TopicsError::Write { topic: topic.to_owned(), source: error });
            }
            record = back;
            self.shared.changed.notified().await;
        }
        Ok(())
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn drained(&self) {
        while self.producer.in_flight_count() > 0 || !self.shared.flight().records.is_empty() {
            self.shared.changed.notified().await;
        }
    }
}

/// Where the record stands, and what the log says beside its datum.
fn headers(entry: &Entry, message: &OwnedMessage, settled: i64) -> OwnedHeaders {
    let (position, settled) = (entry.position.to_string(), settled.to_string());
    let mut headers = OwnedHeaders::new_with_capacity(PASSED_ON.len() + 2)
        .insert(Header { key: header::POSITION, value: Some(&position) })
        .insert(Header { key: SETTLED, value: Some(&settled) });
    for passed in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        if PASSED_ON.contains(&passed.key) {
            headers = headers.insert(passed);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_is_what_has_nothing_open_before_it() {
        let mut flight = Flight { records: VecDeque::new(), first: 0, bytes: 0, settled: 4, read: 4, failure: None };
        let numbers: Vec<usize> = [5, 6, 6, 9].into_iter().map(|offset| flight.push(offset, 10)).collect();
        flight.arrived(numbers[1]);
        flight.arrived(numbers[3]);
        assert_eq!((flight.settled, flight.records.len()), (4, 4), "the first is open");
        flight.arrived(numbers[0]);
        assert_eq!((flight.settled, flight.bytes), (6, 20), "the tombstone of 6 is open");
        flight.arrived(numbers[2]);
        assert_eq!((flight.settled, flight.bytes), (9, 0));
        assert_eq!(flight.push(12, 1), 4);
        (flight.read, flight.settled) = (20, 9);
        flight.rest();
        assert_eq!(flight.settled, 9, "12 is open");
        flight.arrived(4);
        assert_eq!(flight.settled, 20, "nothing that was read is open");
    }

    #[test]
    fn one_large_record_goes_alone() {
        let mut flight = Flight { records: VecDeque::new(), first: 0, bytes: 0, settled: 0, read: 0, failure: None };
        assert!(flight.has_room_for(2 * IN_FLIGHT_BYTES_MAX));
        flight.push(1, 2 * IN_FLIGHT_BYTES_MAX);
        assert!(!flight.has_room_for(1));
    }
}
