//! Writing `changes.<source>`: one session, idempotent producers, no gap.
//!
//! # Why
//! What a session has sent is acknowledged in order or the session ends: nothing behind a record that failed counts, and
//! as little as can be of it gets into the log. Which producer takes the records: see `producers`.

mod producers;

pub(crate) use producers::Quiet;

use crate::{
    control::{SESSION, Session},
    frame,
    header::{self, Kind},
    kafka::KafkaSettings,
    pace::{Pace, Tempo},
    records::{RecordRef, Records},
    registry::{Registry, RegistryError},
    tail::{LogTail, TailError},
    topics::changes_topic,
    watch::{Own, Place, Question, Stalled, Watch},
};
use boot::{failpoint, health::Part};
use change::{Batch, Durable, Position, Sink, position::POSITION_TEXT_BYTES};
use producers::{Deliveries, Failure, Producers, Record, size};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
};
use serde::Deserialize;
use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Records that Kafka has not acknowledged yet.
pub const IN_FLIGHT_RECORDS_MAX: u64 = 12_288;
/// Their bytes. A single larger record goes alone.
pub const IN_FLIGHT_BYTES_MAX: u64 = 12 * 1024 * 1024;
/// While others fill the queue of the producer that is shared.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);
/// How long Kafka may take to acknowledge the session record.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriterSettings {
    /// How long a backlog's record waits for others to share its request. One that comes alone hardly waits.
    pub linger_ms: u16,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self { linger_ms: 20 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("cannot start a Kafka producer")]
    Producer(#[source] KafkaError),
    #[error("Kafka refused a record of `{topic}`")]
    Refused { topic: String, source: KafkaError },
    #[error("Kafka acknowledged records of `{topic}` out of order")]
    OutOfOrder { topic: String },
    #[error("Kafka did not acknowledge a session of `{topic}` within {} s", SESSION_TIMEOUT.as_secs())]
    NoSession { topic: String },
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl WriteError {
    pub const fn worth_retrying(&self) -> bool {
        match self {
            Self::Registry(error) => error.worth_retrying(),
            Self::Tail(TailError::Forgotten { .. }) => false,
            Self::Producer(_)
            | Self::Refused { .. }
            | Self::OutOfOrder { .. }
            | Self::NoSession { .. }
            | Self::Stalled(_)
            | Self::Tail(_) => true,
        }
    }
}

/// The writing end of a source's log, for one session.
pub struct LogWriter<P> {
    producers: Producers,
    watch: Watch,
    opened: Instant,
    pace: Pace,
    deliveries: Arc<Deliveries>,
    topic: Arc<str>,
    session: String,
    previous: [u8; POSITION_TEXT_BYTES],
    sent: u64,
    sent_bytes: u64,
    /// What is reached once so many records are delivered.
    points: VecDeque<(u64, P)>,
}

impl<P> std::fmt::Debug for LogWriter<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("topic", &self.topic).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl<P: Copy + Send> LogWriter<P> {
    /// Takes the log over: appends the session record, waits for it, and reads back to it. The caller holds the
    /// source's slot already, and goes on after the last record of the tail.
    pub async fn open(
        kafka: &KafkaSettings,
        registry: &Registry,
        settings: WriterSettings,
        session: &Session,
    ) -> Result<(Self, LogTail), WriteError> {
        let topic: Arc<str> = kafka.topic(&changes_topic(&session.source)).into();
        let id = registry.register(SESSION.name, SESSION.text).await?;
        let deliveries = Arc::new(Deliveries::default());
        let mut writer = Self {
            producers: Producers::new(kafka, settings, &deliveries)?,
            watch: Watch::new(kafka, None),
            opened: Instant::now(),
            pace: Pace::default(),
            deliveries,
            topic,
            session: String::new(),
            previous: position_text(Position::START),
            sent: 0,
            sent_bytes: 0,
            points: VecDeque::new(),
        };
        let offset = writer.append_session(id, session).await?;
        failpoint::reached("log.session-written");
        let tail = LogTail::read(kafka, &session.source, Some(offset)).await?;
        writer.session = offset.to_string();
        writer.previous = position_text(tail.last.map_or(Position::START, |last| last.position));
        failpoint::reached("log.tail-read");
        Ok((writer, tail))
    }

    /// The part is not ready while Kafka does not answer.
    pub fn tell(&mut self, part: &Part) {
        self.watch.tell(part);
    }

    async fn append_session(&mut self, schema_id: u32, session: &Session) -> Result<i64, WriteError> {
        let mut value = Vec::new();
        frame::start(schema_id, &mut value);
        session.encode(&mut value);
        let kind = Kind::Session.name();
        let headers = OwnedHeaders::new_with_capacity(1).insert(Header { key: header::KIND, value: Some(kind) });
        self.send(kind.as_bytes(), &value, headers).await?;
        let acknowledged = async {
            self.delivered().await?;
            Ok(self.deliveries.offset.load(Ordering::Acquire))
        };
        let waited = tokio::time::timeout(SESSION_TIMEOUT, acknowledged).await;
        waited.unwrap_or_else(|_| Err(WriteError::NoSession { topic: self.topic.to_string() }))
    }

    /// Waits for a report of deliveries, so long as the producers get on: there, and when something is under way. Cancel-safe.
    async fn changed(&mut self) -> Result<(), WriteError> {
        let Self { producers, watch, deliveries, topic, sent, .. } = self;
        let question = || {
            let waiting = *sent - deliveries.count.load(Ordering::Acquire);
            // With nothing under way it is enough that Kafka is there: the next record shows whether they get on.
            let probes = if waiting > 0 { producers.probes() } else { Vec::new() };
            let own: Option<Own> = (!probes.is_empty()).then_some(Box::new(move |place: &Place, timeout| {
                probes.iter().try_for_each(|probe| probe(&place.topic, timeout))
            }));
            Question::writing(vec![Place::read(&**topic, 0, None)], waiting, own)
        };
        tokio::select! {
            biased;
            () = deliveries.changed.notified() => {
                watch.heard();
                Ok(())
            }
            stalled = watch.stalled(question) => {
                producers.doubt();
                Err(stalled.into())
            }
        }
    }

    /// Waits until all that was sent is acknowledged.
    pub async fn delivered(&mut self) -> Result<(), WriteError> {
        while self.in_flight() > 0 {
            self.failed()?;
            self.changed().await?;
        }
        Ok(())
    }

    /// Chooses the producer for so many records. The one takes over from the other only when nothing of it is in flight.
    async fn choose(&mut self, records: usize) -> Result<(), WriteError> {
        let tempo = self.pace.tempo(self.opened.elapsed(), records);
        if tempo != self.producers.tempo() {
            self.delivered().await?;
            self.producers.take_over(tempo)?;
        }
        Ok(())
    }

    /// The source's log.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Records handed over but not acknowledged.
    pub fn in_flight(&self) -> u64 {
        self.sent - self.deliveries.count.load(Ordering::Acquire)
    }

    async fn write(&mut self, record: &RecordRef<'_>, snapshot: Option<&str>) -> Result<(), WriteError> {
        let position = position_text(record.position);
        let mut headers = OwnedHeaders::new_with_capacity(6)
            .insert(Header { key: header::KIND, value: Some(record.kind.name()) })
            .insert(Header { key: header::SESSION, value: Some(&self.session) })
            .insert(Header { key: header::POSITION, value: Some(&position[..]) })
            .insert(Header { key: header::PREVIOUS, value: Some(&self.previous[..]) });
        if let Some(end) = record.commit_end {
            let mut text = LsnText::default();
            // The buffer holds any LSN.
            let _ = write!(text, "{end}");
            headers = headers.insert(Header { key: header::COMMIT_END, value: Some(text.bytes()) });
        }
        let parts = [
            (header::UNCHANGED, record.unchanged),
            (header::EXACT, record.exact),
            (header::EXACT_BEFORE, record.exact_before),
            (header::SNAPSHOT, snapshot.unwrap_or_default().as_bytes()),
            (header::ORIGIN, record.origin.unwrap_or_default().as_bytes()),
            (header::TRACE_PARENT, record.trace_parent.map_or(&[][..], |trace| &trace[..])),
        ];
        for (key, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        self.send(record.key, record.value, headers).await?;
        self.previous = position;
        if record.kind == Kind::Change && record.commit_end.is_some() {
            failpoint::reached("log.transaction-produced");
        }
        Ok(())
    }

    async fn send(&mut self, key: &[u8], value: &[u8], headers: OwnedHeaders) -> Result<(), WriteError> {
        let bytes = size(key.len(), value.len());
        while !self.has_room_for(bytes) {
            self.failed()?;
            self.changed().await?;
        }
        let topic = Arc::clone(&self.topic);
        let mut record = Record { topic: &topic, number: self.sent, key, value, headers };
        while let Err((error, back)) = self.producers.send(record) {
            self.failed()?;
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(WriteError::Refused { topic: topic.to_string(), source: error });
            }
            record = back;
            if self.in_flight() > 0 { self.changed().await? } else { tokio::time::sleep(QUEUE_FULL_WAIT).await }
        }
        self.sent += 1;
        self.sent_bytes += bytes;
        failpoint::reached("log.produced");
        Ok(())
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        let in_flight = self.in_flight();
        if self.producers.tempo() == Tempo::Quiet {
            return in_flight == 0;
        }
        let bytes_in_flight = self.sent_bytes - self.deliveries.bytes.load(Ordering::Acquire);
        in_flight == 0 || (in_flight < IN_FLIGHT_RECORDS_MAX && bytes_in_flight + bytes <= IN_FLIGHT_BYTES_MAX)
    }

    fn failed(&self) -> Result<(), WriteError> {
        match self.deliveries.failure.get() {
            None => Ok(()),
            Some(Failure::Refused(source)) => {
                Err(WriteError::Refused { topic: self.topic.to_string(), source: source.clone() })
            }
            Some(Failure::OutOfOrder) => Err(WriteError::OutOfOrder { topic: self.topic.to_string() }),
        }
    }
}

impl<P: Copy + Send> Sink<Records, P> for LogWriter<P> {
    type Error = WriteError;

    async fn enqueue(&mut self, batch: Batch<Records, P>) -> Result<(), WriteError> {
        self.choose(batch.items.iter().map(Records::len).sum()).await?;
        for records in &batch.items {
            for record in records.iter() {
                self.write(&record, records.snapshot.as_deref()).await?;
            }
        }
        match self.points.back_mut() {
            Some((sent, point)) if *sent == self.sent => *point = batch.upto,
            _ => self.points.push_back((self.sent, batch.upto)),
        }
        Ok(())
    }

    async fn durable(&mut self) -> Result<Durable<P>, WriteError> {
        loop {
            self.failed()?;
            let delivered = self.deliveries.count.load(Ordering::Acquire);
            let mut reached = None;
            while self.points.front().is_some_and(|(sent, _)| *sent <= delivered) {
                reached = self.points.pop_front();
            }
            if let Some((_, point)) = reached {
                failpoint::reached("log.durable");
                return Ok(Durable::promise(point));
            }
            self.changed().await?;
        }
    }
}

fn position_text(position: Position) -> [u8; POSITION_TEXT_BYTES] {
    let mut text = [b'.'; POSITION_TEXT_BYTES];
    hexadecimal(&mut text[..8], u64::from(position.epoch));
    hexadecimal(&mut text[9..25], position.commit.0);
    hexadecimal(&mut text[26..], position.ordinal);
    text
}

/// As many lower-case digits as there is room for.
fn hexadecimal(text: &mut [u8], value: u64) {
    let mut rest = value;
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 0xF) as usize];
        rest >>= 4;
    }
}

/// An LSN's text without an allocation: two numbers of eight digits and a slash.
#[derive(Default)]
struct LsnText {
    text: [u8; 17],
    length: usize,
}

impl LsnText {
    fn bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

impl std::fmt::Write for LsnText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let mut room = &mut self.text[self.length..];
        std::io::Write::write_all(&mut room, text.as_bytes()).map_err(|_| std::fmt::Error)?;
        self.length += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::Lsn;

    #[test]
    fn positions_print_as_they_do_elsewhere() {
        for position in [
            Position::START,
            Position::new(1, Lsn(0x16_B374_D848), 77),
            Position::new(u32::MAX, Lsn(u64::MAX), u64::MAX),
        ] {
            assert_eq!(position_text(position), position.to_string().as_bytes());
        }
        let mut text = LsnText::default();
        write!(text, "{}", Lsn(u64::MAX)).expect("room");
        assert_eq!(text.bytes(), b"FFFFFFFF/FFFFFFFF");
    }
}
