//! Rows that change without a row's change: the stream says nothing of them, so their table is read again.
//!
//! # Why
//! A partition that is truncated by itself, a column that comes with a default, is renamed, computed no more or converted,
//! and a label that is renamed change what rows hold, and no row of them is in the stream. The catalogue tells: by the file
//! that holds a table's rows, which is another one when they are written anew, and by its columns. What it said when the
//! table was read is kept beside what was read.
//! `VACUUM FULL`, `CLUSTER` and a `TRUNCATE` that the stream tells make another file, too, but touch no column.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::state::{Running, State};
use crate::catalogue::Member;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Partitions of one table that are followed; the state that the log carries names each.
const FOLLOWED_MAX: usize = 10_000;

/// What the catalogue says of how a table's rows are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Stored {
    /// For each column, in the order of their numbers, what stands for its name and type; `-`: dropped, or computed.
    columns: String,
    /// Another one whenever a column's definition is written.
    catalogue: String,
    /// Of the enums in it, what stands for each label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// By partition, or by nothing: its file, and the columns whose default its older rows lack (`16390+4+5`).
    files: BTreeMap<String, String>,
}

impl Stored {
    pub(crate) fn parse(text: &str) -> Self {
        let mut stored: Self = serde_json::from_str(text).unwrap_or_default();
        if stored.files.len() > FOLLOWED_MAX {
            stored.files.clear();
        }
        stored
    }

    /// How rows may have changed since.
    fn changed(&self, now: &Self) -> Option<&'static str> {
        let (before, after) = (self.columns.split(','), now.columns.split(','));
        if before.zip(after).any(|(before, after)| before != after && after != "-") {
            return Some("a column was renamed, converted, or is computed no more");
        }
        if self.labels.iter().any(|(label, text)| now.labels.get(label).is_some_and(|now| now != text)) {
            return Some("a label of an enum was renamed");
        }
        // A partition that is new here is read by itself.
        let both = self.files.iter().filter_map(|(part, before)| Some((part, before, now.files.get(part)?)));
        for (part, before, after) in both {
            let (mut before, mut after) = (before.split('+'), after.split('+'));
            let is_another = before.next() != after.next();
            if is_another && !part.is_empty() {
                return Some("a partition was truncated, or written anew");
            }
            if is_another && self.catalogue != now.catalogue {
                return Some("its rows were written anew");
            }
            let known: BTreeSet<&str> = before.collect();
            if after.any(|column| !known.contains(column)) {
                return Some("a column came with a default");
            }
        }
        None
    }
}

/// Those that may be read of the tables that the log is wrong about. Of the others nothing is taken in: they are read as
/// soon as they may be.
pub(crate) fn readable(source: &str, wrong: Vec<(Member, &'static str)>) -> Vec<Member> {
    let mut again = Vec::new();
    for (member, why) in wrong {
        let table = member.table.to_string();
        if member.readable {
            tracing::warn!(source, table, why, "the log is wrong about rows of the table: it is read again");
            again.push(member);
        } else {
            tracing::error!(
                source,
                table,
                why,
                "the log is wrong about rows of the table: this role may not read it again. `causeway source list` has \
                 the statement that lets it"
            );
        }
    }
    again
}

impl State {
    /// The tables that are to be read again, and why; takes in what changed no row. True: the log does not say so yet.
    pub(crate) fn follow_stored(&mut self, published: &[Member]) -> (Vec<(Member, &'static str)>, bool) {
        let before = self.stored.clone();
        self.stored.retain(|since, _| published.iter().any(|member| member.since == *since));
        let mut changed = Vec::new();
        for member in published {
            if !self.knows(member) {
                continue;
            }
            let known = self.stored.get(&member.since);
            match known.and_then(|known| known.changed(&member.stored)) {
                Some(why) => changed.push((member.clone(), why)),
                None => drop(self.stored.insert(member.since.clone(), member.stored.clone())),
            }
        }
        let news = self.stored != before;
        (changed, news)
    }

    /// A reading begins: what it finds is at least as new as what was seen of these tables.
    pub(crate) fn reads(&mut self, running: &Running, published: &[Member]) {
        if running.predicate.is_some() {
            return;
        }
        for member in published {
            if running.tables.iter().any(|table| table.since == member.since) {
                self.stored.insert(member.since.clone(), member.stored.clone());
                self.named.remove(&member.since);
                self.renamed.remove(&member.since);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::TableId;

    fn stored(columns: &str, catalogue: &str, files: &[(&str, &str)]) -> Stored {
        let files = files.iter().map(|(part, file)| ((*part).to_owned(), (*file).to_owned())).collect();
        Stored { columns: columns.into(), catalogue: catalogue.into(), labels: BTreeMap::new(), files }
    }

    fn member(stored: Stored) -> Member {
        let table = TableId { schema: "lims".into(), name: "result".into() };
        Member { table, since: "1.7".into(), partitions: None, readable: true, stored }
    }

    #[test]
    fn what_changes_rows_without_a_word_is_seen_and_what_changes_none_is_not() {
        let check = |before: &Stored, now: Stored, want: Option<&str>| {
            let told = before.changed(&now);
            assert!(told.map(|told| want.is_some_and(|want| told.contains(want))) == want.map(|_| true), "{told:?}");
        };
        let plain = stored("id,no,-", "x1", &[("", "100")]);
        check(&plain, plain.clone(), None);
        // VACUUM FULL, CLUSTER, TRUNCATE, another tablespace.
        check(&plain, stored("id,no,-", "x1", &[("", "101")]), None);
        // SET STATISTICS, NOT NULL; a column without a default comes, another one is dropped.
        check(&plain, stored("id,no,-", "x2", &[("", "100")]), None);
        check(&plain, stored("id,-,-,un", "x2", &[("", "100")]), None);
        check(&plain, stored("id,no,-,un", "x2", &[("", "100+4")]), Some("default"));
        // A default that is worked out for each row, or a conversion to the same type.
        check(&plain, stored("id,no,-,un", "x2", &[("", "101")]), Some("written anew"));
        check(&plain, stored("id,xx,-", "x2", &[("", "100")]), Some("renamed, converted"));
        check(&plain, stored("id,no,g", "x2", &[("", "100")]), Some("computed no more"));

        let parts = stored("id,no", "x1", &[("7", "7"), ("8", "8+2")]);
        check(&parts, stored("id,no", "x1", &[("7", "7"), ("8", "9+2")]), Some("partition"));
        check(&parts, stored("id,no", "x1", &[("7", "7"), ("8", "8+2"), ("9", "11+2")]), None);
        check(&parts, stored("id,no", "x1", &[("7", "7")]), None);
        check(&parts, stored("id,no,un", "x2", &[("7", "7+3"), ("8", "8+2+3")]), Some("default"));

        let labelled = |text: &str| Stored { labels: [("5".into(), text.into())].into(), ..plain.clone() };
        check(&labelled("final"), labelled("done"), Some("label"));
        check(&plain, labelled("final"), None);
    }

    #[test]
    fn a_table_is_read_again_until_a_reading_has_begun_that_sees_the_change() {
        let (old, new) = (stored("id", "x1", &[("7", "7")]), stored("id", "x1", &[("7", "8")]));
        let mut state = State::default();
        let follow = |state: &mut State, stored: &Stored| {
            let (changed, news) = state.follow_stored(&[member(stored.clone())]);
            (changed.len(), news)
        };
        assert_eq!(follow(&mut state, &old), (0, false), "it is going to be read");
        let first = Running::new("a".into(), true, None, &[member(old.clone())]);
        state.reads(&first, &[member(old.clone())]);
        state.running = Some(first);
        assert_eq!(follow(&mut state, &old), (0, false));
        // While it is read, and after a kill: the reading goes on, and another one follows it.
        assert_eq!(follow(&mut state, &new), (1, false));
        assert_eq!(follow(&mut state, &new), (1, false));
        state.finish();
        assert_eq!(follow(&mut state, &new), (1, false));
        let part = Running::new("b".into(), false, Some("id = 1".into()), &[member(new.clone())]);
        state.reads(&part, &[member(new.clone())]);
        assert_eq!(follow(&mut state, &new), (1, false), "a part of it is not all of it");
        state.reads(&Running::new("c".into(), false, None, &[member(new.clone())]), &[member(new.clone())]);
        assert_eq!(follow(&mut state, &new), (0, false), "once is enough");
        assert_eq!(follow(&mut state, &stored("id,no", "x2", &[("7", "8")])), (0, true));
        // A log of before that was kept takes what it finds.
        let mut state = State { read: ["1.7".to_owned()].into(), ..State::default() };
        assert_eq!(follow(&mut state, &old), (0, true));
        assert_eq!(state.follow_stored(&[]), (Vec::new(), true));
        assert!(state.stored.is_empty());
    }

    #[test]
    fn the_catalogues_text_is_read_and_too_many_partitions_are_not_followed() {
        let text = r#"{"files": {"": "100+4"}, "labels": {"5": "a"}, "columns": "id,-", "catalogue": "x"}"#;
        let want = Stored { labels: [("5".into(), "a".into())].into(), ..stored("id,-", "x", &[("", "100+4")]) };
        assert_eq!(Stored::parse(text), want);
        let many: BTreeMap<String, String> = (0..=FOLLOWED_MAX).map(|n| (n.to_string(), "1".into())).collect();
        let text = serde_json::to_string(&Stored { files: many, ..Stored::default() }).expect("text");
        assert!(Stored::parse(&text).files.is_empty());
    }
}
