//! What the stream does to tables while they are read.

use super::{
    coordinator::Coordinator,
    state::TableState,
    window::{Bag, Kept, Touch, Window},
};
use crate::{decode::Cell, relation::Relation};

/// What the stream does meanwhile, by key or without.
pub(super) enum Beside {
    Keyed(Window),
    Keyless(Bag),
}

impl Beside {
    pub(super) const fn spoilt(&self) -> bool {
        match self {
            Self::Keyed(window) => window.spoilt(),
            Self::Keyless(bag) => bag.spoilt(),
        }
    }

    fn spoil(&mut self) {
        match self {
            Self::Keyed(window) => window.spoil(),
            Self::Keyless(bag) => bag.spoil(),
        }
    }
}

/// Where the stream stands: a change of a table in a transaction.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) oid: u32,
    pub(crate) xid: u32,
    pub(crate) relation: &'a Relation,
}

impl At<'_> {
    fn key<'c>(&self, row: impl Iterator<Item = Cell<'c>> + Clone) -> Vec<u8> {
        let mut key = Vec::new();
        self.relation.key(&mut key, row);
        key
    }
}

fn kept<'c>(row: impl Iterator<Item = Cell<'c>>) -> Vec<Kept> {
    row.map(Kept::of).collect()
}

impl Coordinator {
    #[inline]
    pub(crate) fn watches(&self, oid: u32) -> bool {
        !self.open.is_empty() && self.open.iter().any(|open| open.oid == oid)
    }

    /// Whether the table is being read, or is about to be.
    pub(crate) fn reads(&self, oid: u32) -> bool {
        self.watches(oid) || self.plans.values().any(|plan| plan.oid == oid)
    }

    pub(crate) fn inserted<'c>(&mut self, at: At<'_>, row: impl Iterator<Item = Cell<'c>> + Clone) {
        for open in self.open.iter_mut().filter(|open| open.oid == at.oid) {
            match &mut open.beside {
                Beside::Keyed(window) => window.touch(at.xid, &at.key(row.clone()), Touch::Told),
                Beside::Keyless(bag) => bag.come(at.xid, kept(row.clone())),
            }
        }
    }

    pub(crate) fn deleted<'c>(&mut self, at: At<'_>, row: impl Iterator<Item = Cell<'c>> + Clone) {
        for open in self.open.iter_mut().filter(|open| open.oid == at.oid) {
            match &mut open.beside {
                Beside::Keyed(window) => window.touch(at.xid, &at.key(row.clone()), Touch::Told),
                Beside::Keyless(bag) => bag.gone(at.xid, kept(row.clone())),
            }
        }
    }

    pub(crate) fn updated<'c>(
        &mut self,
        at: At<'_>,
        before: impl Iterator<Item = Cell<'c>> + Clone,
        after: impl Iterator<Item = Cell<'c>> + Clone,
    ) {
        for open in self.open.iter_mut().filter(|open| open.oid == at.oid) {
            match &mut open.beside {
                Beside::Keyed(window) => {
                    window.update(at.xid, &at.key(before.clone()), &at.key(after.clone()), kept(after.clone()));
                }
                Beside::Keyless(bag) => {
                    bag.gone(at.xid, kept(before.clone()));
                    bag.come(at.xid, kept(after.clone()));
                }
            }
        }
    }

    /// The row took another key, and the stream left values out that only a reading can tell. True: a table that is
    /// being read has to read it alone.
    pub(crate) fn moved<'c>(&mut self, oid: u32, relation: &Relation, row: impl Iterator<Item = Cell<'c>>) -> bool {
        let cells: Vec<Cell<'c>> = row.collect();
        if !cells.contains(&Cell::Unchanged) {
            return false;
        }
        let planned = self.plans.iter().find(|(_, plan)| plan.oid == oid).map(|(table, _)| *table);
        let Some(running) = self.state.running.as_mut() else { return false };
        // After a restart the stream may be ahead of the worker that plans a half-read table again.
        let begun = |table: &TableState| !table.done && !table.key.is_empty() && table.id() == relation.schema.table;
        let Some(table) = planned.or_else(|| running.tables.iter().position(begun)) else { return false };
        let state = &mut running.tables[table];
        let value = |column: &String| match cells.get(relation.schema.index_of(column)?)? {
            Cell::Text(text) => Some(relation.charset().kept(text)),
            Cell::Null | Cell::Unchanged => None,
        };
        let key: Option<Vec<String>> = state.key.iter().map(value).collect();
        if state.done || key.is_none_or(|key| !state.single(key)) {
            state.restart();
            self.plans.remove(&table);
            self.reshaped(oid);
        }
        true
    }

    pub(crate) fn truncated(&mut self, at: &At<'_>) {
        let xid = at.xid;
        for open in self.open.iter_mut().filter(|open| open.oid == at.oid) {
            match &mut open.beside {
                Beside::Keyed(window) => window.truncate(xid),
                Beside::Keyless(bag) => bag.truncate(xid),
            }
        }
    }

    /// The table has another shape: what is being read of it does not fit.
    pub(crate) fn reshaped(&mut self, oid: u32) {
        for open in self.open.iter_mut().filter(|open| open.oid == oid) {
            open.beside.spoil();
        }
    }
}
