//! Tables whose topic cannot take their records: they wait, and the others go on.
//!
//! # Why
//! What a table waits with is in the log, and nowhere else: while one waits, no record says that more is settled than
//! what stands before its first, so that every start reads from there. The log keeps it for so long, and this is said
//! in time.

use crate::{error::TopicsError, tails};
use change::{Entry, TableId};
use change_log::KafkaSettings;
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

/// Those of one run of the projector.
pub(crate) struct WaitingTables {
    tables: Mutex<BTreeMap<Option<TableId>, (Waiting, TopicsError)>>,
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
        Self { tables: Mutex::default(), kept, started: Instant::now() }
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

    pub(crate) fn add(&self, entry: &Entry, message: &OwnedMessage, topic: String, error: TopicsError) {
        let table = entry.table.as_ref().map(|schema| schema.table.clone());
        let name = name_of(table.as_ref());
        let since = message.timestamp().to_millis().unwrap_or(entry.committed_at / 1_000);
        let waiting = Waiting { table: name, topic, why: error.to_string(), offset: entry.offset, since };
        tracing::error!(table = waiting.table, offset = waiting.offset, error = waiting.why, "a table waits");
        self.tables().insert(table, (waiting, error));
    }

    /// None while no table waits.
    pub(crate) fn said(&self, now: SystemTime) -> Option<Said> {
        let tables = self.tables();
        let (first, _) = tables.values().min_by_key(|(waiting, _)| waiting.offset)?;
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(first.since.max(0).cast_unsigned());
        let waited = now.duration_since(since).unwrap_or_default();
        let left = self.kept.map(|kept| kept.saturating_sub(waited));
        let alarm = self.kept.zip(left).is_some_and(|(kept, left)| left < ALARM_BEFORE.min(kept / 2));
        let hours = |time: Duration| time.as_secs() / SECONDS_PER_HOUR;
        let until = left.map(|left| format!(", and the log keeps them for {} hours more", hours(left)));
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

/// Of logical messages, `message`.
pub(crate) fn name_of(table: Option<&TableId>) -> String {
    table.map_or_else(|| "message".to_owned(), TableId::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

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
