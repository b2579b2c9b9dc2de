//! Rows of tables that the mapping does not use: kept as they are, for a mapping that will.
//!
//! # Why
//! A mapping that begins to use a table finds its rows here although the log that told them has aged. A table without a
//! key is left out: its rows would be found by all of their content, which no index holds.

use super::{
    Fold, Touch,
    layouts::{self, known_others, lay_out},
    rows::{self, depart, kept, key},
    store::{Key, Store},
};
use change::{Change, Row};

pub fn take<S: Store>(fold: &mut Fold<S>, table: usize, change: &Change, touch: &Touch) {
    match change {
        Change::Snapshot { new } | Change::Insert { new } => put(fold, table, None, new, touch),
        Change::Update { old, new } => put(fold, table, old.as_ref(), new, touch),
        Change::Delete { old } => {
            if let Some(key) = old.as_ref().and_then(key) {
                depart(fold, table, &key, touch.position);
                fold.store.remove(table, &key);
            }
        }
        Change::Truncate => rows::sweep(fold, table, touch, |_| true),
        Change::Message { .. } => {}
    }
}

fn put<S: Store>(fold: &mut Fold<S>, table: usize, old: Option<&Row>, new: &Row, touch: &Touch) {
    let Some(now) = key(new).map(Key::from) else { return };
    lay_out(fold, table, new, touch);
    let before: Key = old.and_then(key).map_or_else(|| now.clone(), Key::from);
    let departed = fold.departed.take().filter(|departed| departed.came_back(table, touch.position));
    let known = known_others(fold, table, new, &before, departed);
    if before != now {
        fold.store.remove(table, &before);
    }
    let row = kept(fold, [].into(), touch);
    let others = layouts::others(&fold.layouts, table, old, new, &known);
    fold.store.put(table, now, row, &others);
}
