//! By which columns the rows of tables are told. A row that is told by others is another row to whoever reads the log.
//!
//! # Why
//! A key can come, go or change, and the rows that are there keep their names in the log: readers would hold them under
//! those, and once more under the new ones. The stream says by which columns it names a row, the catalogue those of a row
//! that is read. So what a table's rows were told by is kept beside what was read, and once it is not the same for all that
//! were told since its last reading began, the table is read again: what that reading does not show is gone for readers.

use super::{
    coordinator::Coordinator,
    state::{Running, State},
    stored,
};
use crate::catalogue::Member;
use change::{TableId, TableSchema};
use std::collections::HashMap;

/// So often in one session a table is read again because of its key.
const READ_AGAIN_MAX: u32 = 16;
pub(crate) const RENAMED: &str = "its rows are told by another key than before";

/// What the stream is compared with.
pub(crate) struct Named {
    /// Where each table stands among the published.
    places: HashMap<TableId, usize>,
    /// One more for each reading: from then on each table is looked at again.
    pub(super) round: u64,
    again: HashMap<usize, u32>,
}

impl Named {
    pub(super) fn of(published: &[Member]) -> Self {
        let places = published.iter().enumerate().map(|(at, member)| (member.table.clone(), at));
        Self { places: places.collect(), round: 1, again: HashMap::new() }
    }
}

impl State {
    /// A row of the table is told by these columns. True: one that was told since its last reading began was told by
    /// others.
    pub(crate) fn tell_by(&mut self, since: &str, key: Vec<String>) -> bool {
        let known = self.named.entry(since.to_owned()).or_insert_with(|| key.clone());
        let others = *known != key;
        if others {
            *known = key;
            self.renamed.insert(since.to_owned());
        }
        others
    }

    /// Those that were to be read again for their keys when the log was left.
    pub(crate) fn still_renamed(&mut self, published: &[Member]) -> Vec<(Member, &'static str)> {
        self.named.retain(|since, _| published.iter().any(|member| member.since == *since));
        self.renamed.retain(|since| published.iter().any(|member| member.since == *since));
        let renamed = published.iter().filter(|member| self.renamed.contains(&member.since) && self.knows(member));
        renamed.map(|member| (member.clone(), RENAMED)).collect()
    }
}

impl Coordinator {
    pub(crate) const fn round(&self) -> u64 {
        self.named.round
    }

    /// A row of the table is about to be told by its key, or without one.
    pub(crate) fn tells(&mut self, schema: &TableSchema) {
        let Some(at) = self.named.places.get(&schema.table).copied() else { return };
        let key = schema.key_columns().map(|(_, column)| column.name.to_string()).collect();
        if self.state.tell_by(&self.published[at].since, key) {
            self.read_again(at);
        }
    }

    /// Readers take what the table has been told so far for gone, but for what comes now.
    pub(crate) fn begins_anew(&mut self, table: &TableId) {
        if let Some(at) = self.named.places.get(table) {
            self.state.named.remove(&self.published[*at].since);
        }
    }

    fn read_again(&mut self, at: usize) {
        // The log says so at once: the source may forget the row, and the process may end.
        self.forgotten = true;
        let member = self.published[at].clone();
        let waits = |running: &Running| {
            running.predicate.is_none() && running.tables.iter().any(|table| table.since == member.since)
        };
        if self.queue.iter().any(waits) {
            return;
        }
        let times = self.named.again.entry(at).or_default();
        *times += 1;
        if *times > READ_AGAIN_MAX {
            tracing::error!(
                source = self.settings.name,
                table = %member.table,
                times = READ_AGAIN_MAX,
                "its key changes again and again: the table is read once more when the connector starts anew"
            );
            return;
        }
        let again = stored::readable(&self.settings.name, vec![(member, RENAMED)]);
        if !again.is_empty() {
            self.queue.push_back(Running::new(uuid::Uuid::now_v7().to_string(), false, None, &again));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Stored;

    fn member(since: &str) -> Member {
        let table = TableId { schema: "lims".into(), name: "result".into() };
        Member { table, since: since.into(), partitions: None, readable: true, stored: Stored::default() }
    }

    fn key(columns: &[&str]) -> Vec<String> {
        columns.iter().map(|column| (*column).to_owned()).collect()
    }

    #[test]
    fn a_table_is_read_again_once_its_rows_were_told_by_two_keys() {
        let mut state = State::default();
        let table = [member("1.7")];
        state.running = Some(Running::new("first".into(), true, None, &table));
        assert!(!state.tell_by("1.7", key(&["id"])) && !state.tell_by("1.7", key(&["id"])));
        assert!(!state.tell_by("2.7", key(&[])), "another table");
        state.finish();
        assert!(state.still_renamed(&table).is_empty());
        assert!(state.tell_by("1.7", key(&[])), "without a key");
        assert!(!state.tell_by("1.7", key(&[])), "said once");
        assert!(state.tell_by("1.7", key(&["id"])), "by the first one again: it is told by both");
        assert_eq!(state.still_renamed(&table).len(), 1);
        // What was read of a part says nothing of the others; a reading of all does.
        state.reads(&Running::new("part".into(), false, Some("id = 1".into()), &table), &table);
        assert_eq!(state.still_renamed(&table).len(), 1);
        state.reads(&Running::new("again".into(), false, None, &table), &table);
        assert!(state.still_renamed(&table).is_empty());
        assert!(!state.tell_by("1.7", key(&["other"])), "the first since then");
        assert!(state.tell_by("1.7", key(&["other", "id"])));
        assert!(state.still_renamed(&[member("3.7")]).is_empty() && state.renamed.is_empty(), "it is gone");
    }
}
