//! Mapped tables whose changes the connector leaves out: a source of which one is missing is not as fresh as its log.
//!
//! # Why
//! A connector leaves a table out whose shape readers of its log may not understand, or that is paused while the slot keeps
//! too much, and goes on with the others. It knows no mapping; here it is known which tables a record is made of. While one
//! of those is left out, and until it has been read anew, nobody is told that the source is level: its records say that
//! they may be behind. The connector strikes its note out once the log holds the end of that reading; that is seen here
//! before or after the end itself is, so both are waited for.

use change_log::signal::aside::Tables;
use mapping::Mapping;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::watch;

pub struct LeftOut {
    aside: watch::Receiver<Arc<Tables>>,
    mapped: BTreeSet<String>,
    /// Left out now, or not read anew since.
    behind: BTreeSet<String>,
    /// Read whole while the note said that they were being read.
    read: BTreeSet<String>,
}

impl LeftOut {
    /// `behind`: as an earlier run knew them, where this one goes on.
    pub fn new(aside: watch::Receiver<Arc<Tables>>, mapping: &Mapping, behind: &[String]) -> Self {
        let mapped = mapping.tables.iter().map(|table| table.id.to_string()).collect();
        Self { aside, mapped, behind: behind.iter().cloned().collect(), read: BTreeSet::new() }
    }

    /// For whoever goes on from here.
    pub fn behind(&self) -> Vec<String> {
        self.behind.iter().cloned().collect()
    }

    /// Why the source is not level; none if it is.
    pub fn why(&mut self) -> Option<String> {
        let (aside, reading) = {
            let tables = self.aside.borrow();
            (tables.names(), tables.reading())
        };
        self.read.retain(|table| reading.contains(table) || !aside.contains(table));
        let over = |table: &String| !aside.contains(table) && self.read.contains(table);
        self.behind.retain(|table| !over(table));
        self.read.retain(|table| aside.contains(table));
        self.behind.extend(aside.into_iter().filter(|table| self.mapped.contains(table)));
        let behind: Vec<&str> = self.behind.iter().map(String::as_str).collect();
        (!behind.is_empty()).then(|| {
            format!(
                "{} left out by the connector, and not read anew since: its records may be behind. `causeway source list \
                 CONFIG` says why",
                behind.join(", ")
            )
        })
    }

    /// These tables have been read whole.
    pub fn read(&mut self, tables: &[String]) {
        let (aside, reading) = {
            let tables = self.aside.borrow();
            (tables.names(), tables.reading())
        };
        self.behind.retain(|table| aside.contains(table) || !tables.contains(table));
        self.read.extend(tables.iter().filter(|table| reading.contains(table)).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use change_log::signal::Aside;

    #[test]
    fn a_table_is_behind_until_its_note_is_struck_out_and_its_reading_is_seen_to_end() {
        let noted = |reading: bool| {
            let note = |name: &str| Aside {
                schema: "lims".into(),
                name: name.into(),
                paused: true,
                reading,
                ..Aside::default()
            };
            Arc::new(Tables::from(vec![note("result"), note("log")]))
        };
        let (notes, aside) = watch::channel(Arc::new(Tables::default()));
        let mapped = BTreeSet::from(["lims.result".to_owned()]);
        let mut left_out = LeftOut { aside, mapped, behind: BTreeSet::new(), read: BTreeSet::new() };
        let all = ["lims.result".to_owned(), "lims.log".to_owned()];
        for struck_first in [false, true] {
            assert_eq!(left_out.why(), None);
            notes.send_replace(noted(false));
            // An end from before the note says nothing.
            left_out.read(&all);
            assert!(
                left_out.why().is_some_and(|why| why.starts_with("lims.result left out")),
                "a mapped one is missing"
            );
            notes.send_replace(noted(true));
            assert!(left_out.why().is_some(), "not read yet");
            if !struck_first {
                left_out.read(&all);
                assert!(left_out.why().is_some(), "not struck out yet");
            }
            notes.send_replace(Arc::default());
            if struck_first {
                assert!(left_out.why().is_some(), "not seen to be read yet");
                left_out.read(&all);
            }
        }
        assert_eq!(left_out.why(), None);
        // Read, and left out again before the note was struck out.
        notes.send_replace(noted(true));
        left_out.read(&all);
        notes.send_replace(noted(false));
        assert!(left_out.why().is_some());
        notes.send_replace(noted(true));
        notes.send_replace(Arc::default());
        assert!(left_out.why().is_some(), "that end does not count");
    }
}
