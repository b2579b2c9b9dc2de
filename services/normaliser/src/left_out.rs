//! Mapped tables whose changes the connector leaves out: a source of which one is missing is not as fresh as its log.
//!
//! # Why
//! A connector sets a table aside whose shape readers of its log may not understand, and goes on with the others. It knows
//! no mapping; here it is known which tables a record is made of. While one of those is left out, and until it has been
//! read anew, nobody is told that the source is level: its records say that they may be behind.

use change_log::signal::aside::Tables;
use mapping::Mapping;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::watch;

pub struct LeftOut {
    aside: watch::Receiver<Arc<Tables>>,
    mapped: BTreeSet<String>,
    /// Left out now, or not read anew since.
    behind: BTreeSet<String>,
}

impl LeftOut {
    pub fn new(aside: watch::Receiver<Arc<Tables>>, mapping: &Mapping) -> Self {
        let mapped = mapping.tables.iter().map(|table| table.id.to_string()).collect();
        Self { aside, mapped, behind: BTreeSet::new() }
    }

    /// Why the source is not level; none if it is.
    pub fn why(&mut self) -> Option<String> {
        let aside = self.aside.borrow().names();
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
        let aside = self.aside.borrow().names();
        self.behind.retain(|table| aside.contains(table) || !tables.contains(table));
    }
}
