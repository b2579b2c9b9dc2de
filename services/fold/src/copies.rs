//! Rows of tables without a key: their content is all that names them, and rows that are alike may be several.
//!
//! # Why
//! With REPLICA IDENTITY FULL an update and a delete tell the whole old row and nothing else. Looked for by its
//! position, the old row was never found: an update added a second row and a delete left it. A row is still kept under
//! the position that told it, so that of several with one identity the later counts; it is found by its content.
//! What the mapping does not use is no part of the content, so a column added elsewhere hides no row.

use super::{
    Fold, Touch,
    store::{Cells, Kept, Key, Store},
    view,
};
use change::Cell;

/// The rows that are alike. A row without a value in any column that rows are found by takes part in nothing.
fn alike<S: Store>(fold: &Fold<S>, table: usize, cells: &Cells) -> Vec<(Key, Kept)> {
    let indexed = &fold.mapping.tables[table].indexed;
    let Some((column, value)) = indexed.iter().find_map(|at| Some((*at, view::text(cells, *at)?))) else {
        return Vec::new();
    };
    fold.store.find(table, column, &value).into_iter().filter(|(_, row)| row.cells == *cells).collect()
}

/// A row more, and the key that it is kept under. While a snapshot is read, one of those that it has not shown yet is taken
/// for it; and one that nothing could find is not kept.
pub fn put_one<S: Store>(fold: &mut Fold<S>, table: usize, row: Kept, touch: &Touch, others: &[&Cell]) -> Option<Key> {
    if let Some(since) = fold.reading.since(table) {
        let noted = alike(fold, table, &row.cells).into_iter().find(|(_, known)| known.stands.readings < since);
        if let Some((key, _)) = noted {
            fold.store.shown(table, &key, fold.reading.begun());
            return None;
        }
    }
    let indexed = &fold.mapping.tables[table].indexed;
    // Positions are ordered as texts too.
    let key = Key::from(touch.position.to_string());
    if indexed.iter().any(|at| view::text(&row.cells, *at).is_some()) {
        fold.store.put(table, key.clone(), row, others);
    }
    Some(key)
}

/// A row less: one that the snapshot has shown, if one is being read. Its key; none, if there was none.
pub fn take_one<S: Store>(fold: &mut Fold<S>, table: usize, cells: &Cells) -> Option<Key> {
    let rows = alike(fold, table, cells);
    let since = fold.reading.since(table).unwrap_or(0);
    let shown = rows.iter().rev().find(|(_, row)| row.stands.readings >= since);
    let key = shown.or(rows.last()).map(|(key, _)| key.clone())?;
    fold.store.remove(table, &key);
    Some(key)
}
