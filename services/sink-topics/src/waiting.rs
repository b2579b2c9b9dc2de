//! Tables whose topic cannot take their records: they wait, and the others go on.
//!
//! # Why
//! What a table waits with is in the log, and nowhere else: from which offset on is noted, and every start reads from the
//! first of these. The log keeps it for so long, and this is said in time. What it has dropped by then is lost to that
//! table's topic alone: its records count for nothing until it is read anew, and the other tables go on.

use crate::{error::TopicsError, tails};
use change::{Entry, TableId};
use change_log::{KafkaSettings, signal::waiting as notes};
use rdkafka::message::{Message as _, OwnedMessage};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// With less left than this, or than half of what the log keeps, a table that waits is an alarm.
const ALARM_BEFORE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often is looked whether a topic takes its records now.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// What Kafka refused for no reason that its settings tell is tried again after this time.
const TRY_AGAIN: Duration = Duration::from_secs(600);
const SECONDS_PER_HOUR: u64 = 3_600;

/// A table that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    pub table: String,
    pub topic: String,
    pub why: String,
    /// The first record of the log that its topic lacks.
    pub offset: i64,
    /// When the log took it, milliseconds since the epoch.
    pub since: i64,
}

/// Where to go on in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) from: i64,
    /// Where the tables are that do not wait: who did and does not any more is level once this is reached.
    pub(crate) goal: i64,
    /// Tables that wait with records which the log does not hold any more.
    pub(crate) lost: Vec<notes::Waiting>,
}

impl Start {
    /// `settled`: what the topics' ends say, nothing if they hold nothing; `held`: the log's first offset.
    pub(crate) fn of(settled: Option<i64>, held: i64, noted: &notes::Tables) -> Self {
        let goal = settled.map_or(held, |settled| settled.max(noted.settled));
        let (lost, waiting): (Vec<_>, Vec<_>) = noted.tables.iter().cloned().partition(|table| table.offset < held);
        let from = waiting.iter().map(|table| table.offset).fold(goal, i64::min);
        Self { from, goal, lost }
    }
}

/// Those of one run of the projector.
pub(crate) struct WaitingTables {
    tables: Mutex<BTreeMap<Option<TableId>, (Waiting, TopicsError)>>,
    /// What is noted of them, and of those that need not wait any longer and are not level yet.
    noted: Mutex<Vec<notes::Waiting>>,
    /// How long the log keeps a record; none: for ever.
    kept: Option<Duration>,
    started: Instant,
}

/// What is to be said of them.
pub(crate) struct Said {
    pub(crate) what: String,
    pub(crate) alarm: bool,
    /// Until the log drops the first of their records.
    pub(crate) left: Option<Duration>,
}

impl WaitingTables {
    pub(crate) fn new(kept: Option<Duration>) -> Self {
        Self { tables: Mutex::default(), noted: Mutex::default(), kept, started: Instant::now() }
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<Option<TableId>, (Waiting, TopicsError)>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, table: Option<&TableId>) -> bool {
        let tables = self.tables();
        !tables.is_empty() && tables.contains_key(&table.cloned())
    }

    pub(crate) fn all(&self) -> Vec<Waiting> {
        self.tables().values().map(|(waiting, _)| waiting.clone()).collect()
    }

    fn noted(&self) -> MutexGuard<'_, Vec<notes::Waiting>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, noted: Vec<notes::Waiting>) {
        *self.noted() = noted;
    }

    /// The table waits from this record on.
    pub(crate) fn add(
        &self,
        entry: &Entry,
        message: &OwnedMessage,
        topic: String,
        error: TopicsError,
    ) -> notes::Waiting {
        let table = entry.table.as_ref().map(|schema| schema.table.clone());
        let since = message.timestamp().to_millis().unwrap_or(entry.committed_at / 1_000);
        let note = note_of(table.as_ref(), entry.offset, since);
        self.insert(table, &note, topic, error);
        note
    }

    /// The log does not hold any more what the table waits with.
    pub(crate) fn lose(&self, source: &str, note: &notes::Waiting, topic: String) {
        let table = table_of(note);
        let error = TopicsError::Lost { table: name_of(table.as_ref()), source_name: source.to_owned() };
        self.insert(table, note, topic, error);
    }

    fn insert(&self, table: Option<TableId>, note: &notes::Waiting, topic: String, error: TopicsError) {
        let (name, why) = (name_of(table.as_ref()), error.to_string());
        let waiting = Waiting { table: name, topic, why, offset: note.offset, since: note.since };
        tracing::error!(table = waiting.table, offset = waiting.offset, error = waiting.why, "a table waits");
        self.tables().insert(table, (waiting, error));
    }

    /// Of these tables, those that are lost: they are read anew from this offset on.
    pub(crate) fn read_anew(&self, tables: &[String], offset: i64) -> Vec<notes::Waiting> {
        let waiting = self.tables();
        let lost = waiting.iter().filter(|(_, (waiting, error))| {
            matches!(error, TopicsError::Lost { .. }) && tables.contains(&waiting.table)
        });
        lost.map(|(table, (waiting, _))| note_of(table.as_ref(), offset, waiting.since)).collect()
    }

    pub(crate) fn let_go(&self, note: &notes::Waiting) {
        self.tables().remove(&table_of(note));
    }

    /// Those whose topics have what they waited with, now that all before this offset is in the topics.
    pub(crate) fn level(&self, settled: i64, goal: i64) -> Vec<notes::Waiting> {
        let noted = self.noted();
        let level = noted.iter().filter(|note| settled >= goal.max(note.offset) && !self.has(table_of(note).as_ref()));
        level.cloned().collect()
    }

    /// None while no table waits.
    pub(crate) fn said(&self, now: SystemTime) -> Option<Said> {
        let tables = self.tables();
        let lost = |error: &TopicsError| matches!(error, TopicsError::Lost { .. });
        let (first, error) = tables.values().min_by_key(|(waiting, error)| (!lost(error), waiting.offset))?;
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(first.since.max(0).cast_unsigned());
        let waited = now.duration_since(since).unwrap_or_default();
        let left = if lost(error) { Some(Duration::ZERO) } else { self.kept.map(|kept| kept.saturating_sub(waited)) };
        let alarm = lost(error) || self.kept.zip(left).is_some_and(|(kept, left)| left < ALARM_BEFORE.min(kept / 2));
        let hours = |time: Duration| time.as_secs() / SECONDS_PER_HOUR;
        let until = left.filter(|left| !left.is_zero());
        let until = until.map(|left| format!(", and the log keeps them for {} hours more", hours(left)));
        let others = tables.len() - 1;
        let others = if others > 0 { format!("; {others} more tables wait") } else { String::new() };
        let what = format!(
            "{} waits: {}. Its changes of {} hours are not in its topic{}{others}",
            first.table,
            first.why,
            hours(waited),
            until.unwrap_or_default()
        );
        Some(Said { what, alarm, left })
    }

    /// Ends with an error once a table need not wait any longer.
    pub(crate) async fn mended(&self, kafka: &KafkaSettings) -> TopicsError {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let topics: Vec<String> = self.all().into_iter().map(|waiting| waiting.topic).collect();
            if topics.is_empty() {
                continue;
            }
            let Ok(states) = tails::states(kafka, topics).await else { continue };
            let mended = |(waiting, error): &(Waiting, TopicsError)| {
                let state = states.get(&waiting.topic);
                match error {
                    TopicsError::Compacted { .. } => state.is_none_or(|state| !state.compacted),
                    TopicsError::Partitions { .. } => state.is_none_or(|state| state.partitions == 1),
                    TopicsError::Keyless { .. } => self.started.elapsed() > TRY_AGAIN,
                    _ => false,
                }
            };
            if let Some((waiting, _)) = self.tables().values().find(|waiting| mended(waiting)) {
                return TopicsError::Mended { table: waiting.table.clone() };
            }
        }
    }
}

fn note_of(table: Option<&TableId>, offset: i64, since: i64) -> notes::Waiting {
    let schema = table.map(|table| table.schema.to_string()).unwrap_or_default();
    let name = table.map_or_else(|| name_of(None), |table| table.name.to_string());
    notes::Waiting { schema, name, offset, since }
}

pub(crate) fn table_of(note: &notes::Waiting) -> Option<TableId> {
    let table = || TableId { schema: note.schema.as_str().into(), name: note.name.as_str().into() };
    (!note.schema.is_empty()).then(table)
}

/// Of logical messages, `message`.
pub(crate) fn name_of(table: Option<&TableId>) -> String {
    table.map_or_else(|| "message".to_owned(), TableId::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(table: &str, offset: i64) -> notes::Waiting {
        notes::Waiting { schema: "public".into(), name: table.into(), offset, since: 1_000 }
    }

    #[test]
    fn what_the_log_has_dropped_is_lost_to_the_table_that_waited_with_it_alone() {
        let start = |settled, held, noted: &[notes::Waiting]| {
            Start::of(settled, held, &notes::Tables { tables: noted.to_vec(), settled: 7 })
        };
        let none_waits = |from| Start { from, goal: from, lost: Vec::new() };
        assert_eq!(start(None, 5, &[]), none_waits(5));
        assert_eq!(start(Some(90), 5, &[]), none_waits(90));
        let both = [note("event", 40), note("heap", 60)];
        assert_eq!(start(Some(90), 5, &both), Start { from: 40, goal: 90, lost: Vec::new() });
        assert_eq!(start(Some(90), 40, &both).lost, [], "the log still holds the first of them");
        // Only what the first waits with is gone.
        let lost = vec![note("event", 40)];
        assert_eq!(start(Some(90), 41, &both), Start { from: 60, goal: 90, lost });
        assert_eq!(start(Some(90), 90, &both), Start { from: 90, goal: 90, lost: both.to_vec() });
        // The log has lost what all topics lack: reading it says so.
        assert_eq!(start(Some(90), 100, &both).from, 90);
        // Nothing happened: the last record was written before that was known.
        assert_eq!(start(Some(3), 5, &[]), none_waits(7));
    }

    #[test]
    fn a_table_that_lost_its_place_waits_until_it_is_read_anew_and_then_until_it_is_level() {
        let tables = WaitingTables::new(None);
        tables.note(vec![note("event", 40), note("heap", 60)]);
        tables.lose("gp", &note("event", 40), "gp.public.event".into());
        let event = TableId { schema: "public".into(), name: "event".into() };
        assert!(tables.has(Some(&event)) && !tables.has(None));
        let why = tables.all().remove(0).why;
        assert!(why.contains("`causeway source snapshot CONFIG gp --table public.event`"), "{why}");
        let said = tables.said(SystemTime::UNIX_EPOCH).expect("one waits");
        assert!(said.alarm && said.left == Some(Duration::ZERO) && !said.what.contains("more"), "{}", said.what);
        assert_eq!(tables.level(89, 90), [], "not where the others were");
        assert_eq!(tables.level(90, 90), [note("heap", 60)]);
        // Another table is read, then this one.
        assert_eq!(tables.read_anew(&["public.heap".into()], 95), []);
        assert_eq!(tables.read_anew(&["public.heap".into(), "public.event".into()], 95), [note("event", 95)]);
        assert!(tables.has(Some(&event)), "not before it is noted");
        tables.note(vec![note("event", 95)]);
        tables.let_go(&note("event", 95));
        assert!(!tables.has(Some(&event)));
        assert_eq!(tables.level(94, 90), [], "the reading is behind that");
        assert_eq!(tables.level(95, 90), [note("event", 95)]);
    }

    #[test]
    fn a_table_that_waits_alarms_before_the_log_drops_its_records() {
        let hour = Duration::from_secs(SECONDS_PER_HOUR);
        let said = |kept: Option<Duration>, waited: Duration| {
            let tables = WaitingTables::new(kept);
            let waiting = Waiting {
                table: "public.event".into(),
                topic: "gp.public.event".into(),
                why: "no".into(),
                offset: 7,
                since: 1_000,
            };
            let table = TableId { schema: "public".into(), name: "event".into() };
            tables.tables().insert(Some(table.clone()), (waiting, TopicsError::Superseded));
            assert!(tables.has(Some(&table)) && !tables.has(None));
            tables.said(SystemTime::UNIX_EPOCH + Duration::from_secs(1) + waited).expect("one waits")
        };
        let early = said(Some(24 * 14 * hour), 2 * hour);
        assert!(!early.alarm, "{}", early.what);
        assert_eq!(
            early.what,
            "public.event waits: no. Its changes of 2 hours are not in its topic, and the log keeps them for 334 hours more"
        );
        assert!(said(Some(24 * 14 * hour), 24 * 8 * hour).alarm);
        assert!(said(Some(4 * hour), 3 * hour).alarm && !said(Some(4 * hour), hour).alarm);
        assert!(said(Some(hour), 4 * hour).left == Some(Duration::ZERO));
        assert!(!said(None, 24 * 400 * hour).alarm, "a log that is kept for ever drops nothing");
        assert!(WaitingTables::new(None).said(SystemTime::UNIX_EPOCH).is_none());
    }
}
