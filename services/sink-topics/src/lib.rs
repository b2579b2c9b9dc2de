//! Debezium's own topics: each change of `changes.<source>` once more, on `<source>.<schema>.<table>`, with the keys,
//! tombstones and placeholders that Debezium's consumers expect.
//!
//! # Why
//! A projection of the log, so that the log stays the one truth and what reads it does not change. Keys and values are
//! the log's own bytes, except where a large value is unchanged. Nothing is kept elsewhere: every record carries its
//! position, and the offset up to which all records before it were in Kafka when it was written. At a start the ends of
//! the topics are read back: the furthest such offset is where to go on, and no topic takes again what it has.
//! One projector of a source works at a time: it is a member of a consumer group that has one partition to give.

mod error;
mod lease;
mod name;
mod render;
mod status;
mod tails;
mod topics;
mod write;

pub use error::TopicsError;
pub use name::topic_of;
pub use status::{Status, View};

use boot::{Stop, health::Part, restart};
use change_log::{
    Item, KafkaSettings, LogReader, Place, Question, Registry, TopicSpec, Watch, WholeReader, topics as kafka_topics,
};
use lease::Lease;
use std::{sync::Arc, time::Duration};
use topics::Topics;
use write::Writer;

/// How often the status is told and the writer looked after.
const TICK: Duration = Duration::from_secs(1);
/// After the stop signal, what is in flight has so long to be acknowledged.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Writes the topics of one source until the stop signal. No error ends it for good: capture does not depend on it, and
/// its health says what is wrong.
pub async fn run(
    source: String,
    kafka: KafkaSettings,
    registry: Registry,
    status: Arc<Status>,
    health: Part,
    stop: Stop,
) -> Result<(), TopicsError> {
    let projector = Projector { source, kafka, registry, status, health: health.clone(), stop: stop.clone() };
    restart::until_stopped(&health, &stop, |_| true, || projector.attempt()).await
}

struct Projector {
    source: String,
    kafka: KafkaSettings,
    registry: Registry,
    status: Arc<Status>,
    health: Part,
    stop: Stop,
}

impl Projector {
    async fn attempt(&self) -> Result<(), TopicsError> {
        kafka_topics::ensure(&self.kafka, &[TopicSpec::changes(&self.source)]).await?;
        let mut lease = Lease::join(&self.kafka, &self.source, &self.health)?;
        self.health.ready_but("waiting to be the one that writes the topics of its source");
        tokio::select! {
            granted = lease.granted() => granted?,
            () = self.stop.cancelled() => return Ok(()),
        }
        let tails = tails::read(&self.kafka, &self.source).await?;
        let log = self.kafka.topic(&kafka_topics::changes_topic(&self.source));
        let start = self.kafka.watermarks(&log, 0).await;
        let start = start.map_err(|source| TopicsError::Kafka { doing: "ask where the log starts", source })?.0;
        let from = tails.settled().unwrap_or(start);
        let reader = LogReader::open(&self.kafka, &self.registry, &self.source, from)?;
        let mut reader = WholeReader::new(reader);
        reader.tell(&self.health);
        let mut topics = Topics::new(&self.source, &self.kafka, &self.registry, tails);
        let mut writer = Writer::new(&self.kafka, from)?;
        tracing::info!(source = self.source, from, "writing the topics of each table");
        self.health.ready();
        let watched = writer.watch();
        tokio::select! {
            ended = self.pump(&mut reader, &mut topics, &mut writer) => return ended,
            error = self.look_after(&watched) => return Err(error),
            error = lease.lost() => return Err(error),
            () = self.stop.cancelled() => {}
        }
        // What is not acknowledged in time is found missing at the next start.
        let _ = tokio::time::timeout(DRAIN_MAX, writer.drained()).await;
        Ok(())
    }

    async fn pump(
        &self,
        reader: &mut WholeReader,
        topics: &mut Topics<'_>,
        writer: &mut Writer,
    ) -> Result<(), TopicsError> {
        let written = metrics::counter!("causeway_topics_records_total", "source" => self.source.clone());
        loop {
            for whole in reader.read().await?.items {
                let entry = match &whole.item {
                    Item::Entry(entry) => entry,
                    Item::Control(_) => continue,
                    Item::Rejected(rejected) => {
                        // The normaliser puts it into the quarantine.
                        tracing::warn!(
                            source = self.source,
                            offset = rejected.offset,
                            reason = rejected.reason,
                            "a record of the log cannot be read; it is left out of the topics"
                        );
                        metrics::counter!("causeway_topics_left_out_total", "source" => self.source.clone())
                            .increment(1);
                        continue;
                    }
                };
                let topic = topics.of(entry, &whole.message).await?;
                for output in render::render(entry, &whole)? {
                    if topic.takes(entry.position, output.is_tombstone()) {
                        writer.write(&topic.name, entry, &output).await?;
                        written.increment(1);
                        self.status.update(|view| view.records += 1);
                    }
                }
                self.status.update(|view| view.committed_at = entry.committed_at);
            }
            self.status.update(|view| view.topics = topics.len());
        }
    }

    /// Tells the status, until the writer fails.
    async fn look_after(&self, writer: &write::Watch) -> TopicsError {
        let mut alive = Watch::new(&self.kafka, Some(&self.health));
        let log = Place::written(self.kafka.topic(&kafka_topics::changes_topic(&self.source)));
        let mut last = 0;
        loop {
            if let Some(error) = writer.failure() {
                return error;
            }
            let (in_flight, settled) = (writer.in_flight(), writer.settled());
            metrics::gauge!("causeway_topics_in_flight", "source" => self.source.clone())
                .set(u32::try_from(in_flight).unwrap_or(u32::MAX));
            self.status.update(|view| {
                view.in_flight = in_flight;
                view.settled = settled;
            });
            if std::mem::replace(&mut last, settled) != settled {
                alive.heard();
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                stalled = alive.stalled(|| Question::writing(vec![log.clone()], in_flight as u64, None)) => return stalled.into(),
            }
        }
    }
}
