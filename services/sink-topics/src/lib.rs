//! Debezium's own topics: each change of `changes.<source>` once more, on `<source>.<schema>.<table>`, with the keys,
//! tombstones and placeholders that Debezium's consumers expect.
//!
//! # Why
//! A projection of the log, so that the log stays the one truth and what reads it does not change. Keys and values are
//! the log's own bytes, except where a large value is unchanged. Every record carries its
//! position, and the offset up to which all records before it were in Kafka when it was written, but for those of tables
//! that wait: from where, [`waiting`] notes. At a start the ends of the topics are read back: the furthest such offset, or
//! the first of the notes, is where to go on, and no topic takes again what it has.
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
    Control, ControlBody, Item, KafkaSettings, LogReader, Place, Question, Registry, TopicSpec, Watch, WholeReader,
    signal::{self, waiting as notes},
    topics as kafka_topics,
};
use lease::Lease;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use topics::Topics;
use waiting::{Start, WaitingTables};
use write::Writer;

/// How often the status is told and the writer looked after.
const TICK: Duration = Duration::from_secs(1);
/// How often is noted up to where the topics have everything. At a start so much of the log is read again.
const NOTED_EVERY: Duration = Duration::from_secs(600);
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
        kafka_topics::ensure(&self.kafka, &[TopicSpec::changes(&self.source), signal::topic()]).await?;
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
        let noted = notes::read(&self.kafka, &self.source).await?;
        let Start { from, goal, lost } = Start::of(tails.settled(), start, &noted);
        let noted = noted.tables;
        let reader = LogReader::open(&self.kafka, &self.registry, &self.source, from)?;
        let mut reader = WholeReader::new(reader);
        reader.tell(&self.health);
        let waiting = WaitingTables::new(tails.kept);
        let mut topics = Topics::new(&self.settings, &self.kafka, &self.registry, &self.keyless_refused, tails);
        waiting.note(noted);
        lost.iter().for_each(|note| topics.lose(&waiting, note));
        let mut writer = Writer::new(&self.kafka, from)?;
        tracing::info!(source = self.source, from, "writing the topics of each table");
        self.health.ready();
        let watched = writer.watch();
        let ended = tokio::select! {
            ended = self.pump(&mut reader, &mut topics, &mut writer, &waiting) => ended,
            error = self.look_after(&watched, &waiting, goal) => Err(error),
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
        let noted = async {
            writer.drained().await;
            notes::settle(&self.kafka, &self.source, watched.settled()).await
        };
        if let Ok(Err(error)) = tokio::time::timeout(DRAIN_MAX, noted).await {
            tracing::debug!(source = self.source, %error, "how far the topics are is not noted");
        }
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
            let batch = reader.read().await?;
            for whole in batch.items {
                let entry = match &whole.item {
                    Item::Entry(entry) => entry,
                    Item::Control(control) => {
                        self.read_anew(control, waiting).await?;
                        continue;
                    }
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
                        let note = waiting.add(entry, &whole.message, topics.name_of(table), error);
                        waiting.note(notes::add(&self.kafka, &self.source, &note).await?);
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
            writer.read(batch.upto.offset);
            self.status.update(|view| view.topics = topics.len());
        }
    }

    /// A snapshot begins that reads tables anew whose place in the log was lost: their topics go on with it.
    async fn read_anew(&self, control: &Control, waiting: &WaitingTables) -> Result<(), TopicsError> {
        let ControlBody::SnapshotBegin(begin) = &control.body else { return Ok(()) };
        if begin.partial {
            return Ok(());
        }
        for note in waiting.read_anew(&begin.tables, control.offset) {
            waiting.note(notes::begin_again(&self.kafka, &self.source, &note).await?);
            waiting.let_go(&note);
            tracing::info!(source = self.source, table = note.name, "its topic goes on with the table's reading");
        }
        Ok(())
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

    /// Tells the status, and notes who need not wait any longer, until the writer fails.
    async fn look_after(&self, writer: &write::Watch, waiting: &WaitingTables, goal: i64) -> TopicsError {
        let mut alive = Watch::new(&self.kafka, Some(&self.health));
        let log = Place::written(self.kafka.topic(&kafka_topics::changes_topic(&self.source)));
        let mut last = 0;
        let mut noted = (Instant::now(), 0);
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
            if noted.0.elapsed() >= NOTED_EVERY && settled > noted.1 {
                if let Err(error) = notes::settle(&self.kafka, &self.source, settled).await {
                    return error.into();
                }
                noted = (Instant::now(), settled);
            }
            let level = waiting.level(settled, goal);
            if !level.is_empty() {
                match notes::strike(&self.kafka, &self.source, &level).await {
                    Ok(noted) => waiting.note(noted),
                    Err(error) => return error.into(),
                }
            }
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
