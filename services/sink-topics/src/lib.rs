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
mod settings;
mod status;
mod tails;
mod topics;
mod waiting;
mod write;

pub use error::TopicsError;
pub use name::topic_of;
pub use settings::Settings;
pub use status::{Status, View};
pub use waiting::Waiting;

use boot::{Stop, health::Part, restart};
use change::Change;

use change_log::{
    Item, KafkaSettings, LogReader, Place, Question, Registry, TopicSpec, Watch, WholeReader, topics as kafka_topics,
};
use lease::Lease;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use topics::Topics;
use waiting::WaitingTables;
use write::Writer;

/// How often the status is told and the writer looked after.
const TICK: Duration = Duration::from_secs(1);
/// After the stop signal, what is in flight has so long to be acknowledged.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Writes the topics of one source until the stop signal. No error ends it for good: capture does not depend on it, and
/// its health says what is wrong.
pub async fn run(
    settings: Settings,
    kafka: KafkaSettings,
    registry: Registry,
    status: Arc<Status>,
    health: Part,
    stop: Stop,
) -> Result<(), TopicsError> {
    let projector = Projector {
        source: settings.source.clone(),
        settings,
        kafka,
        registry,
        status,
        health: health.clone(),
        stop: stop.clone(),
        keyless_refused: Mutex::default(),
    };
    restart::until_stopped(&health, &stop, |_| true, || projector.attempt()).await
}

struct Projector {
    settings: Settings,
    source: String,
    kafka: KafkaSettings,
    registry: Registry,
    status: Arc<Status>,
    health: Part,
    stop: Stop,
    /// Topics on which Kafka refused a record without a key since the start, whatever their settings say.
    keyless_refused: Mutex<HashSet<String>>,
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
        let waiting = WaitingTables::new(tails.kept);
        let mut topics = Topics::new(&self.settings, &self.kafka, &self.registry, &self.keyless_refused, tails);
        let mut writer = Writer::new(&self.kafka, from)?;
        tracing::info!(source = self.source, from, "writing the topics of each table");
        self.health.ready();
        let watched = writer.watch();
        let ended = tokio::select! {
            ended = self.pump(&mut reader, &mut topics, &mut writer, &waiting) => ended,
            error = self.look_after(&watched, &waiting) => Err(error),
            error = waiting.mended(&self.kafka) => Err(error),
            error = lease.lost() => Err(error),
            () = self.stop.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            let mut refused = self.keyless_refused.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(error, TopicsError::Mended { .. }) {
                refused.clear();
            }
            refused.extend(watched.keyless_refused());
            return Err(error);
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
        waiting: &WaitingTables,
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
                self.status.update(|view| view.committed_at = entry.committed_at);
                if matches!(entry.change, Change::Truncate) && !self.settings.truncations {
                    continue;
                }
                let table = entry.table.as_ref().map(|schema| &schema.table);
                if topics.leaves_out(table) || waiting.has(table) {
                    continue;
                }
                let topic = match topics.of(entry, &whole.message).await {
                    Ok(topic) => topic,
                    Err(error) if error.of_one_table() => {
                        waiting.add(entry, &whole.message, topics.name_of(table), error);
                        writer.hold(entry.offset);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                for output in render::render(entry, &whole)? {
                    if topic.takes(entry.position, output.is_tombstone()) {
                        writer.write(&topic.name, entry, &whole.message, &output).await?;
                        written.increment(1);
                        self.status.update(|view| view.records += 1);
                    }
                }
            }
            self.status.update(|view| view.topics = topics.len());
        }
    }

    /// Says which tables wait, and raises an alarm while there is time.
    fn tell(&self, waiting: &WaitingTables) {
        let all = waiting.all();
        let gauge = |name| metrics::gauge!(name, "source" => self.source.clone());
        gauge("causeway_topics_waiting").set(u32::try_from(all.len()).unwrap_or(u32::MAX));
        self.status.update(|view| view.waiting = all);
        let said = waiting.said(SystemTime::now());
        let left = said.as_ref().and_then(|said| said.left).map_or(f64::INFINITY, |left| left.as_secs_f64());
        gauge("causeway_topics_waiting_left_seconds").set(left);
        let Some(said) = said else { return };
        if said.alarm {
            self.health.not_ready(said.what);
        } else {
            self.health.ready_but(said.what);
        }
    }

    /// Tells the status, until the writer fails.
    async fn look_after(&self, writer: &write::Watch, waiting: &WaitingTables) -> TopicsError {
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
            self.tell(waiting);
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
