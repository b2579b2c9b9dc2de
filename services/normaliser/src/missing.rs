//! What a log that has lost its beginning does not hold: the tables whose rows have to be read again before anything can
//! be told from it.
//!
//! # Why
//! Without a store the fold starts from nothing. Where the log's first records are older than its topic keeps, rows are missing that others
//! are joined with, and a row that is there may be an old one. So nothing is told until each table has been read as a whole
//! after the first record that is left. A snapshot that is in the log already does; otherwise an operator asks for one. Then
//! what differs from what was told is told, as of a new generation: see [`fold::walk`].

use crate::error::NormaliserError;
use boot::restart::in_one_line;
use change_log::{
    KafkaSettings, Registry,
    control::Snapshot,
    signal::{self, Desired, SnapshotRequest},
};
use mapping::Mapping;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first offset that the log still holds.
    start: i64,
    /// What was told ends before this one.
    told_before: i64,
    tables: BTreeSet<String>,
    /// Snapshots of whole tables that began after it, by id, with their tables and the source's time.
    begun: BTreeMap<String, (BTreeSet<String>, i64)>,
    asked: Asked,
}

/// Whether the rows were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    No,
    /// On this day; it is asked for again on the next.
    On(i64),
    /// An operator has paused snapshots.
    Paused,
}

const MICROS_A_DAY: i64 = 86_400_000_000;

impl Missing {
    /// Nothing of a log that begins at its beginning.
    pub async fn of(
        registry: &Registry,
        source: &str,
        mapping: &Mapping,
        start: i64,
        told_before: i64,
    ) -> Result<Option<Self>, NormaliserError> {
        if start == 0 {
            return Ok(None);
        }
        let mut tables = BTreeSet::new();
        for table in &mapping.tables {
            let table = table.id.to_string();
            // A table without a schema has never had a row in the log.
            if registry.latest(&format!("{source}.{table}.Envelope")).await?.is_some() {
                tables.insert(table);
            }
        }
        Ok(Self::new(start, told_before, tables))
    }

    fn new(start: i64, told_before: i64, tables: BTreeSet<String>) -> Option<Self> {
        (!tables.is_empty()).then(|| Self { start, told_before, tables, begun: BTreeMap::new(), asked: Asked::No })
    }

    /// A snapshot begins.
    pub fn begin(&mut self, snapshot: &Snapshot) {
        if snapshot.partial {
            return;
        }
        // A table without keys that has to be begun again is announced again, alone.
        let begun = || (snapshot.tables.iter().cloned().collect(), snapshot.at);
        self.begun.entry(snapshot.snapshot.clone()).or_insert_with(begun);
    }

    /// Is what is missing being read? What began longer ago may have been given up.
    fn is_under_way(&self, now: i64) -> bool {
        let reads = |tables: &BTreeSet<String>| self.tables.is_subset(tables);
        self.begun.values().any(|(tables, at)| now.saturating_sub(*at) < MICROS_A_DAY && reads(tables))
    }

    /// It is over. True: nothing is missing any more.
    pub fn end(&mut self, snapshot: &Snapshot) -> bool {
        // One whose beginning is lost may have shown rows there.
        let (read, _) = self.begun.remove(&snapshot.snapshot).unwrap_or_default();
        self.tables.retain(|table| !read.contains(table));
        if self.tables.is_empty() {
            tracing::info!(start = self.start, "what the log had lost is read again");
        }
        self.tables.is_empty()
    }

    /// Asks the connector to read everything again, unless that is under way: once a day, under an id of that day.
    pub async fn ask(&mut self, kafka: &KafkaSettings, source: &str, generation: u32) {
        let now = jiff::Timestamp::now().as_microsecond();
        let day = now.div_euclid(MICROS_A_DAY);
        if self.is_under_way(now) || self.asked == Asked::On(day) {
            return;
        }
        let id = request_id(source, generation, self.start, day);
        let request = SnapshotRequest { id: id.clone(), requested_at: now, ..SnapshotRequest::default() };
        let ask = |desired: &mut Desired| {
            let known = desired.snapshots.iter().any(|known| known.id == id);
            if known { Ok(()) } else { desired.request(request.clone(), &[]) }
        };
        let asked = async {
            // Looked at first: what is changed is written, and wakes the connector, whether it differs or not.
            let paused = signal::read(kafka, source).await?.snapshots_paused;
            if !paused {
                signal::change(kafka, source, ask).await?;
            }
            Ok::<_, signal::SignalError>(paused)
        };
        match asked.await {
            Ok(true) => self.asked = Asked::Paused,
            Ok(false) => {
                tracing::warn!(source, id, start = self.start, "asks for a snapshot: the log has lost its beginning");
                self.asked = Asked::On(day);
            }
            Err(error) => tracing::warn!(source, error = in_one_line(&error), "could not ask for a snapshot"),
        }
    }

    /// For whoever runs it.
    pub fn what_to_do(&self, source: &str) -> String {
        let tables: Vec<&str> = self.tables.iter().map(String::as_str).collect();
        let mut what = format!(
            "the log of {source} has lost what was before offset {}, and nothing is told from it until these tables are \
             read again: {}. {}",
            self.start,
            tables.join(", "),
            match self.asked {
                Asked::No => "A snapshot will be asked for".to_owned(),
                Asked::On(_) => "A snapshot was asked for".to_owned(),
                Asked::Paused =>
                    format!("Snapshots of it are paused: run `causeway source snapshot CONFIG {source} --resume`"),
            }
        );
        if self.told_before < self.start {
            what += &format!(
                ". What was from offset {} on was lost before it was told: the snapshot shows what it left behind, and not \
                 what came and went meanwhile",
                self.told_before
            );
        }
        what
    }
}

/// The same however often it is asked for on one day.
fn request_id(source: &str, generation: u32, start: i64, day: i64) -> String {
    let digest = xxhash_rust::xxh3::xxh3_128(format!("{source}:{generation}:{start}:{day}").as_bytes());
    uuid::Builder::from_u128(digest).with_version(uuid::Version::Custom).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::Lsn;

    fn snapshot(id: &str, tables: &[&str], partial: bool) -> Snapshot {
        Snapshot {
            snapshot: id.into(),
            table: None,
            rows: 0,
            lsn: Lsn(1),
            at: 0,
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            partial,
            state: None,
        }
    }

    fn missing(tables: &[&str]) -> Missing {
        Missing::new(7, 9, tables.iter().map(|table| (*table).to_owned()).collect()).expect("some")
    }

    #[test]
    fn each_table_is_read_whole_and_from_its_beginning() {
        let mut missing = missing(&["a.b", "a.c"]);
        assert!(!missing.end(&snapshot("lost beginning", &["a.b", "a.c"], false)));
        let part = snapshot("some rows", &["a.b", "a.c"], true);
        missing.begin(&part);
        assert!(!missing.end(&part));
        let one = snapshot("one", &["a.b"], false);
        missing.begin(&one);
        assert!(!missing.end(&one));
        let told = missing.what_to_do("gp");
        assert!(!told.contains("before it was told"), "{told}");
        for (asked, says) in [
            (Asked::No, "A snapshot will be asked for"),
            (Asked::On(20_000), "A snapshot was asked for"),
            (Asked::Paused, "`causeway source snapshot CONFIG gp --resume`"),
        ] {
            missing.asked = asked;
            let told = missing.what_to_do("gp");
            assert!(told.contains("read again: a.c. ") && told.contains(says), "{told}");
        }
        // One that was given up, or reads other tables, is not waited for.
        missing.begin(&snapshot("other tables", &["x.y"], false));
        missing.begin(&snapshot("some rows again", &["a.c"], true));
        assert!(!missing.is_under_way(5));
        missing.begin(&snapshot("all", &["a.b", "a.c"], false));
        assert!(missing.is_under_way(MICROS_A_DAY - 1) && !missing.is_under_way(MICROS_A_DAY));
        // The same however often it is asked for on one day.
        let id = request_id("gp", 3, 7, 20_000);
        assert!(id == request_id("gp", 3, 7, 20_000) && id != request_id("gp", 3, 7, 20_001), "{id}");
        let other = snapshot("other", &["a.c", "x.y"], false);
        missing.begin(&other);
        assert!(missing.end(&other), "both are there now");
    }

    #[test]
    fn a_log_without_tables_of_ours_misses_nothing() {
        assert_eq!(Missing::new(7, 9, BTreeSet::new()), None);
        let told = Missing::new(7, 5, BTreeSet::from(["a.b".into()])).expect("some").what_to_do("gp");
        assert!(told.contains("from offset 5 on was lost before it was told"), "{told}");
    }
}
