//! What is read, what is being read and what is not: kept in the log itself, so that a killed snapshot goes on.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::stored::Stored;
use crate::catalogue::Member;
use change::TableId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Requests that are remembered as done.
const FINISHED_MAX: usize = 256;
/// Rows that took another key while their table was read, and wait to be read alone.
pub(crate) const SINGLES_MAX: usize = 10_000;

/// All of it, as JSON in the log's control records. It holds keys of rows, and is never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) running: Option<Running>,
    /// Requests that are done.
    pub(crate) finished: VecDeque<String>,
    /// Those of them that were given up.
    pub(crate) given_up: VecDeque<String>,
    /// Tables that were read whole in this epoch, by [`Member::since`]: a printed name may be that of two tables.
    pub(crate) read: BTreeSet<String>,
    /// Partitions whose rows were read with their table, or are going to be; by [`Member::since`] of the table.
    pub(crate) partitions: BTreeMap<String, BTreeSet<String>>,
    /// How the rows of tables were kept when they were read, or when it changed none last; by [`Member::since`].
    pub(crate) stored: BTreeMap<String, Stored>,
    /// The columns of the key by which rows were told since a reading of their table began; by [`Member::since`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) named: BTreeMap<String, Vec<String>>,
    /// Those of which there are others, told by another key: they are to be read again.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) renamed: BTreeSet<String>,
}

/// The requests that are done, as the end of a log tells.
pub fn finished_snapshots(tail: &change_log::LogTail) -> Vec<String> {
    State::of(tail).finished.into_iter().collect()
}

/// Whether the request was given up: a row does not take its condition.
pub fn was_given_up(tail: &change_log::LogTail, id: &str) -> bool {
    State::of(tail).given_up.iter().any(|given_up| given_up == id)
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Running {
    pub(crate) id: String,
    /// The first of its epoch: the source is not ready before it is over.
    pub(crate) initial: bool,
    /// Only rows for which this SQL is true.
    pub(crate) predicate: Option<String>,
    /// The predicate is that of these partitions, which were attached with rows in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) partitions: Vec<String>,
    /// A row does not take the predicate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) given_up: bool,
    pub(crate) rows: u64,
    pub(crate) tables: Vec<TableState>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TableState {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// As [`Member::since`].
    pub(crate) since: String,
    pub(crate) done: bool,
    /// It was not published any more: nothing is known of its rows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
    pub(crate) rows: u64,
    /// The columns whose ranges the segments are. Empty: not planned yet, or without a key.
    pub(crate) key: Vec<String>,
    pub(crate) segments: Vec<Segment>,
}

/// A range of keys, as the server prints them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Segment {
    pub(crate) done: bool,
    /// Bounds of the key's first column: after this, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// … and up to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upto: Option<String>,
    /// The last key that was read. Empty: none yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<String>,
    /// Not a range, but this one row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) only: Vec<String>,
}

impl State {
    /// As the end of a log tells it.
    pub(crate) fn of(tail: &change_log::LogTail) -> Self {
        tail.state.as_deref().and_then(Self::parse).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn text(&self) -> String {
        // Strings and numbers in structs: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Forgets what was read of tables that are no longer what they were, or where they were: their changes in between
    /// were not told. True: there were some.
    pub(crate) fn forget(&mut self, published: &[Member]) -> bool {
        let before = self.read.len();
        self.read.retain(|since| published.iter().any(|member| member.since == *since));
        let mut forgotten = self.read.len() < before;
        for table in self.running.iter_mut().flat_map(|running| &mut running.tables) {
            let now = published.iter().find(|member| member.table == table.id());
            if let Some(member) = now.filter(|member| member.since != table.since) {
                *table = TableState::new(member);
                forgotten = true;
            }
        }
        forgotten
    }

    /// Tables that are left out for now are not read, nor does what was read of them hold. True: there were some.
    pub(crate) fn leave_out(&mut self, paused: &[Member]) -> bool {
        let mut left_out = false;
        let mut keep = |since: &String| {
            let stays = paused.iter().all(|member| member.since != *since);
            left_out |= !stays;
            stays
        };
        self.read.retain(&mut keep);
        if let Some(running) = &mut self.running {
            running.tables.retain(|table| keep(&table.since));
        }
        left_out
    }

    /// Whether the table was read, or is being read.
    pub(crate) fn knows(&self, member: &Member) -> bool {
        let mut running = self.running.iter().flat_map(|running| &running.tables);
        self.read.contains(&member.since) || running.any(|table| table.since == member.since)
    }

    /// The running snapshot is over.
    pub(crate) fn finish(&mut self) -> Option<Running> {
        let running = self.running.take()?;
        if running.predicate.is_none() {
            self.read.extend(running.there().map(|table| table.since.clone()));
        }
        if let Some(known) = running.tables.first().and_then(|table| self.partitions.get_mut(&table.since)) {
            known.extend(running.partitions.iter().cloned());
        }
        if running.given_up {
            self.given_up.push_back(running.id.clone());
        }
        self.finished.push_back(running.id.clone());
        for told in [&mut self.finished, &mut self.given_up] {
            while told.len() > FINISHED_MAX {
                told.pop_front();
            }
        }
        Some(running)
    }
}

impl Running {
    pub(crate) fn new(id: String, initial: bool, predicate: Option<String>, tables: &[Member]) -> Self {
        let tables = tables.iter().map(TableState::new);
        Self { id, initial, predicate, partitions: Vec::new(), given_up: false, rows: 0, tables: tables.collect() }
    }

    pub(crate) fn is_asked_with_condition(&self) -> bool {
        self.predicate.is_some() && self.partitions.is_empty()
    }

    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
        for table in &mut self.tables {
            table.done = true;
            table.segments.clear();
        }
    }

    /// The tables that are there to be read.
    fn there(&self) -> impl Iterator<Item = &TableState> {
        self.tables.iter().filter(|table| !table.gone)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.there().map(|table| table.id().to_string()).collect()
    }

    /// Whether the log knows nothing of the table yet. What the slot's making waited for needs no more waiting.
    pub(crate) fn is_new(&self, table: usize, read: &BTreeSet<String>) -> bool {
        !self.initial && self.tables.get(table).is_some_and(|table| !read.contains(&table.since))
    }

    pub(crate) fn done(&self) -> bool {
        self.tables.iter().all(|table| table.done)
    }

    pub(crate) fn tables_done(&self) -> usize {
        self.tables.iter().filter(|table| table.done).count()
    }
}

impl TableState {
    fn new(Member { table, since, .. }: &Member) -> Self {
        let (schema, name) = (table.schema.to_string(), table.name.to_string());
        Self { schema, name, since: since.clone(), ..Self::default() }
    }

    pub(crate) fn id(&self) -> TableId {
        TableId { schema: self.schema.as_str().into(), name: self.name.as_str().into() }
    }

    /// Cuts the key's range at these values of its first column.
    pub(crate) fn plan(&mut self, key: Vec<String>, bounds: Vec<String>) {
        if self.key == key && !self.segments.is_empty() {
            return;
        }
        let from = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
        let upto = bounds.iter().cloned().map(Some).chain(std::iter::once(None));
        self.segments = from.zip(upto).map(|(from, upto)| Segment { from, upto, ..Segment::default() }).collect();
        self.key = key;
        self.rows = 0;
    }

    /// A chunk of a segment is in the log.
    pub(crate) fn advance(&mut self, segment: usize, rows: u64, last: Option<Vec<String>>, complete: bool) {
        self.rows += rows;
        if let Some(segment) = self.segments.get_mut(segment) {
            segment.after = last.unwrap_or_else(|| std::mem::take(&mut segment.after));
            segment.done = complete;
        }
        self.done = self.segments.iter().all(|segment| segment.done);
        if self.done {
            self.segments.clear();
        }
    }

    /// The row took this key from one that was not read yet. False: there are too many.
    pub(crate) fn single(&mut self, key: Vec<String>) -> bool {
        if self.segments.iter().filter(|segment| !segment.only.is_empty()).count() >= SINGLES_MAX {
            return false;
        }
        self.segments.push(Segment { only: key, ..Segment::default() });
        true
    }

    /// Everything of it is to be read again.
    pub(crate) fn restart(&mut self) {
        let (schema, name, since) = (&mut self.schema, &mut self.name, &mut self.since);
        let (schema, name, since) = (std::mem::take(schema), std::mem::take(name), std::mem::take(since));
        *self = Self { schema, name, since, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_table_is_cut_read_and_done() {
        let mut table = TableState { name: "lims.result".into(), ..TableState::default() };
        table.plan(words(&["id"]), words(&["10", "20"]));
        let ranges: Vec<_> = table.segments.iter().map(|s| (s.from.as_deref(), s.upto.as_deref())).collect();
        assert_eq!(ranges, [(None, Some("10")), (Some("10"), Some("20")), (Some("20"), None)]);
        table.advance(0, 5, Some(words(&["5"])), false);
        assert_eq!(table.segments[0].after, ["5"]);
        table.plan(words(&["id"]), words(&["11"]));
        assert_eq!(table.segments.len(), 3, "a plan that has begun is kept");
        table.advance(0, 0, None, true);
        assert_eq!(table.segments[0].after, ["5"]);
        assert!(table.single(words(&["3"])));
        for segment in 1..4 {
            assert!(!table.done);
            table.advance(segment, 1, None, true);
        }
        assert!(table.done && table.rows == 8);
        table.plan(words(&["other"]), Vec::new());
        assert_eq!((table.segments.len(), table.rows), (1, 0), "another key starts over");
    }

    #[test]
    fn the_state_survives_its_text() {
        let mut state = State { running: Some(Running::new("r".into(), true, None, &[b("1.7")])), ..State::default() };
        if let Some(table) = state.running.as_mut().and_then(|running| running.tables.first_mut()) {
            table.plan(words(&["id"]), words(&["'quoted\""]));
        }
        assert!(State::parse(&state.text()).as_ref() == Some(&state));
        assert!(state.finish().is_some_and(|running| running.initial));
        assert_eq!((state.finished.len(), state.read.len()), (1, 1));
        assert!(State::parse(&state.text()).as_ref() == Some(&state));
    }

    fn b(since: &str) -> Member {
        let table = TableId { schema: "a".into(), name: "b".into() };
        Member { table, since: since.into(), partitions: None, readable: true, stored: Stored::default() }
    }

    #[test]
    fn a_table_that_is_left_out_is_neither_read_nor_known() {
        let two = [b("1.7"), b("2.7")];
        let mut state = State { running: Some(Running::new("r".into(), true, None, &two)), ..State::default() };
        state.read.insert("3.7".into());
        assert!(!state.leave_out(&[]) && state.leave_out(&[b("2.7"), b("3.7")]));
        assert!(state.knows(&two[0]) && !state.knows(&two[1]) && state.read.is_empty());
        assert!(state.leave_out(&two) && state.running.as_ref().is_some_and(Running::done), "nothing is left to read");
        state.finish();
        assert!(!state.knows(&two[0]));
    }

    #[test]
    fn a_table_that_was_away_is_forgotten() {
        let mut state = State { running: Some(Running::new("r".into(), true, None, &[b("1.7")])), ..State::default() };
        state.finish();
        assert!(!state.forget(&[b("1.7")]) && state.read.len() == 1);
        assert!(state.clone().forget(&[]), "taken out of the publication");
        assert!(state.clone().forget(&[b("1.8")]), "taken out, and put in again");
        assert!(state.forget(&[b("2.7")]) && state.read.is_empty(), "made anew under the same name");

        state.running = Some(Running::new("s".into(), false, None, &[b("2.7")]));
        let half = |state: &mut State| {
            let table = &mut state.running.as_mut().expect("it runs").tables[0];
            table.plan(words(&["id"]), words(&["10"]));
            table.advance(0, 5, None, true);
        };
        half(&mut state);
        assert!(!state.forget(&[b("2.7")]));
        assert!(!state.forget(&[]), "its reader says that it is gone");
        assert!(state.forget(&[b("3.7")]));
        let table = &state.running.as_ref().expect("it runs").tables[0];
        assert_eq!((table.rows, &*table.since, table.segments.len()), (0, "3.7", 0), "it starts over");
    }
}
