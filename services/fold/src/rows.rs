//! One change into the store, and which records it touches.

use super::{
    Fold, Touch, copies,
    layouts::{self, known_others, lay_out},
    open::{self, About},
    other,
    store::{Cells, Kept, Key, Others, RecordId, Stood, Store},
    view,
};
use change::{Cell, Change, Entry, Position, Row};
use event::Quarantined;
use mapping::{Mapping, plain};
use std::{collections::btree_map, sync::Arc};

/// Between the parts of a composite key; a part that holds it is escaped.
const KEY_SEPARATOR: &str = "\u{1f}";
/// Rows looked at at a time when many may go.
const SWEPT_AT_ONCE: usize = 4_096;

/// A row that went at a position.
#[derive(Debug)]
pub struct Departed {
    pub table: usize,
    pub position: Position,
    pub cells: Cells,
    pub others: Others,
}

impl Departed {
    /// A changed key is told as a deletion and an insertion right behind it. Values that the log left out of the latter
    /// are those of the row that went.
    pub fn came_back(&self, table: usize, at: Position) -> bool {
        let next = Position { ordinal: self.position.ordinal + 1, ..self.position };
        self.table == table && next == at
    }
}

pub fn take<S: Store>(fold: &mut Fold<S>, entry: &Entry) {
    let Some(schema) = &entry.table else { return };
    let table = layouts::place(fold, &schema.table);
    let touch = Touch {
        position: entry.position,
        offset: entry.offset,
        committed_at: entry.committed_at,
        snapshot: matches!(entry.change, Change::Snapshot { .. }),
        reread: matches!(entry.change, Change::Snapshot { .. }) && fold.reading.known(table),
        own: true,
        walked: None,
        traceparent: entry.traceparent.as_deref().map(Arc::from),
    };
    if !fold.is_mapped(table) {
        return other::take(fold, table, &entry.change, &touch);
    }
    match &entry.change {
        Change::Snapshot { new } | Change::Insert { new } => put(fold, table, None, new, &touch),
        Change::Update { old, new } => put(fold, table, old.as_ref(), new, &touch),
        Change::Delete { old: Some(old) } if keyless(old) => {
            lay_out(fold, table, old, &touch);
            let (gone, _) = cells(fold, table, None, old, None);
            let forgets = fold.mapping.tables[table].dictionary.is_none();
            if forgets && let Some(key) = copies::take_one(fold, table, &gone) {
                settle_row(fold, table, &key, Vec::new());
                touch_all(fold, table, &gone, &touch);
            }
        }
        Change::Delete { old } => match old.as_ref().and_then(key) {
            Some(key) => {
                depart(fold, table, &key, touch.position);
                remove(fold, table, &key, &touch);
            }
            None => {
                let item = note(fold, table, &touch, "delete without a key", "", None);
                fold.noted.push(item);
            }
        },
        Change::Truncate => sweep(fold, table, &touch, |_| true),
        Change::Message { .. } => {}
    }
}

/// Remembers the row for the next change.
pub fn depart<S: Store>(fold: &mut Fold<S>, table: usize, key: &str, position: Position) {
    let Some(row) = fold.store.get(table, key) else { return };
    let others = fold.store.others(table, key).unwrap_or_default();
    fold.departed = Some(Departed { table, position, cells: row.cells, others });
}

/// Such a table has REPLICA IDENTITY FULL if its rows change: the old row is whole, and its content is all that names it.
fn keyless(row: &Row) -> bool {
    row.schema().key_columns().next().is_none()
}

/// The primary key as text; none when the row does not hold all of it.
pub fn key(row: &Row) -> Option<String> {
    let parts: Option<Vec<String>> = row
        .schema()
        .key_columns()
        .map(|(index, _)| match &row.cells()[index] {
            Cell::Value(value) => Some(plain(value)),
            Cell::Null | Cell::Unchanged => None,
        })
        .collect();
    let mut parts = parts.filter(|parts| !parts.is_empty())?;
    if parts.len() > 1 {
        // Two keys never become one row, whatever a part holds.
        for part in parts.iter_mut().filter(|part| part.contains(['\u{1e}', '\u{1f}'])) {
            *part = part.replace('\u{1e}', "\u{1e}e").replace('\u{1f}', "\u{1e}s");
        }
    }
    Some(parts.join(KEY_SEPARATOR))
}

fn put<S: Store>(fold: &mut Fold<S>, table: usize, old: Option<&Row>, new: &Row, touch: &Touch) {
    lay_out(fold, table, new, touch);
    let Some(now) = key(new).map(Key::from) else { return put_copy(fold, table, old, new, touch) };
    let before: Key = old.and_then(key).map_or_else(|| now.clone(), Key::from);
    let prior = fold.store.get(table, &before).map(|row| row.cells);
    let departed = fold.departed.take().filter(|departed| departed.came_back(table, touch.position));
    let known = prior.as_ref().or(departed.as_ref().map(|departed| &departed.cells));
    let (cells, unknown) = cells(fold, table, old, new, known);
    if passed_over(fold, table, &cells) {
        let readings = fold.reading.begun();
        return fold.store.shown(table, &now, readings);
    }
    let known = known_others(fold, table, new, &before, departed);
    if before != now {
        fold.store.remove(table, &before);
        settle_row(fold, table, &before, Vec::new());
    }
    // A row that was there under the new key is replaced: a log read again from its start may show that.
    let replaced = if before == now { None } else { fold.store.get(table, &now).map(|row| row.cells) };
    let row = kept(fold, cells.clone(), touch);
    let others = layouts::others(&fold.layouts, table, old, new, &known);
    fold.store.put(table, now.clone(), row, &others);
    for prior in [prior, replaced].into_iter().flatten() {
        if prior != cells {
            touch_all(fold, table, &prior, touch);
        }
    }
    let wrong = wrong_with(fold, table, &now, &cells, unknown, touch);
    settle_row(fold, table, &now, wrong);
    touch_all(fold, table, &cells, touch);
}

/// A row of a table without a key. An update is told with the whole old row.
fn put_copy<S: Store>(fold: &mut Fold<S>, table: usize, old: Option<&Row>, new: &Row, touch: &Touch) {
    let before = old.map(|old| cells(fold, table, None, old, None).0);
    let (now, unknown) = cells(fold, table, old, new, before.as_ref());
    if passed_over(fold, table, &now) {
        return;
    }
    if let Some(before) = before
        && let Some(key) = copies::take_one(fold, table, &before)
    {
        settle_row(fold, table, &key, Vec::new());
        if before != now {
            touch_all(fold, table, &before, touch);
        }
    }
    let row = kept(fold, now.clone(), touch);
    // The old row is told whole.
    let none = Others::new();
    let others: Vec<Cell> = layouts::others(&fold.layouts, table, old, new, &none).into_iter().cloned().collect();
    let others: Vec<&Cell> = others.iter().collect();
    if let Some(key) = copies::put_one(fold, table, row, touch, &others) {
        let wrong = wrong_with(fold, table, &key, &now, unknown, touch);
        settle_row(fold, table, &key, wrong);
    }
    touch_all(fold, table, &now, touch);
}

/// Is this an entry that a dictionary is told to forget?
fn passed_over<S>(fold: &Fold<S>, table: usize, cells: &Cells) -> bool {
    let conditions = fold.mapping.tables[table].dictionary.iter().flatten();
    let own = view::Own { mapping: &fold.mapping, cells };
    // An entry is kept where an expression cannot say.
    mapping::any(conditions.into_iter().map(|condition| condition.holds(&own))).unwrap_or(false)
}

fn remove<S: Store>(fold: &mut Fold<S>, table: usize, key: &str, touch: &Touch) {
    if !fold.is_mapped(table) {
        fold.store.remove(table, key);
        return;
    }
    if fold.mapping.tables[table].dictionary.is_some() {
        return;
    }
    if let Some(prior) = fold.store.remove(table, key) {
        settle_row(fold, table, key, Vec::new());
        touch_all(fold, table, &prior.cells, touch);
    }
}

/// Removes the rows of a table that are to go.
pub fn sweep<S: Store>(fold: &mut Fold<S>, table: usize, touch: &Touch, goes: impl Fn(&Kept) -> bool) {
    let mut after: Option<Key> = None;
    loop {
        let page = fold.store.scan(table, after.as_deref(), SWEPT_AT_ONCE);
        for (key, _) in page.iter().filter(|(_, row)| goes(row)) {
            remove(fold, table, key, touch);
        }
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return,
        }
    }
}

pub fn kept<S>(fold: &Fold<S>, cells: Cells, touch: &Touch) -> Kept {
    let Touch { position, committed_at, snapshot, reread, .. } = *touch;
    Kept { cells, stands: Stood { readings: fold.reading.begun(), position, committed_at, snapshot, reread } }
}

/// The mapping's columns of the row, what the log left out filled from the row as it was known; and the columns of which
/// nothing is known.
fn cells<S: Store>(
    fold: &Fold<S>,
    table: usize,
    old: Option<&Row>,
    new: &Row,
    known: Option<&Cells>,
) -> (Cells, Vec<Arc<str>>) {
    let columns = &fold.mapping.tables[table].columns;
    let places = fold.layouts.places(table);
    let mut unknown = Vec::new();
    let mut cells = Vec::with_capacity(columns.len());
    for (at, name) in columns.iter().enumerate() {
        let cell = places.get(at).copied().flatten().map_or(&Cell::Null, |place| &new.cells()[place]);
        if *cell != Cell::Unchanged {
            cells.push(cell.clone());
            continue;
        }
        let known = known.map(|known| &known[at]).or_else(|| old.and_then(|old| old.get(name)));
        match known {
            Some(known) if *known != Cell::Unchanged => cells.push(known.clone()),
            _ => {
                unknown.push(name.clone());
                cells.push(Cell::Unchanged);
            }
        }
    }
    (cells.into(), unknown)
}

pub fn note<S>(
    fold: &Fold<S>,
    table: usize,
    touch: &Touch,
    reason: &str,
    column: &str,
    cells: Option<&Cells>,
) -> Quarantined {
    let id = &fold.tables[table];
    let columns = &fold.mapping.tables[table].columns;
    let detail = if column.is_empty() { id.clone() } else { format!("{id}.{column}") };
    Quarantined {
        source: fold.source.clone(),
        position: Some(touch.position),
        stage: "normaliser".into(),
        reason: reason.into(),
        detail,
        table: Some(id.clone()),
        topic: Some(format!("changes.{}", fold.source)),
        partition: Some(0),
        offset: Some(touch.offset),
        original: cells.map(|cells| view::original(columns, cells)),
        committed_at: Some(touch.committed_at),
        ..Quarantined::default()
    }
}

/// Its name, among those of a row.
pub fn named(item: Quarantined, row: &str) -> Quarantined {
    let name = open::name(&item.source, &format!("row {row}"), &item.reason, &item.detail);
    Quarantined { item: Some(name), ..item }
}

/// What is wrong with a row now. Nothing, once it is gone. While it is quiet, what is over is over, and the walk says what
/// is wrong.
fn settle_row<S: Store>(fold: &mut Fold<S>, table: usize, key: &str, wrong: Vec<Quarantined>) {
    if fold.quiet && !wrong.is_empty() {
        return;
    }
    let told = fold.open.settle(&mut fold.store, &About::Row(&fold.tables[table], key), wrong);
    fold.noted.extend(told);
}

/// Looks at a row that is there as at one that came.
pub fn look_at<S: Store>(fold: &mut Fold<S>, table: usize, key: &str, cells: &Cells, touch: &Touch) {
    let columns = fold.mapping.tables[table].columns.iter().zip(cells.iter());
    let unknown = columns.filter(|(_, cell)| **cell == Cell::Unchanged).map(|(name, _)| name.clone()).collect();
    let wrong = wrong_with(fold, table, key, cells, unknown, touch);
    settle_row(fold, table, key, wrong);
}

fn wrong_with<S: Store>(
    fold: &Fold<S>,
    table: usize,
    key: &str,
    cells: &Cells,
    unknown: Vec<Arc<str>>,
    touch: &Touch,
) -> Vec<Quarantined> {
    let unseen = unknown.iter().map(|column| ("unchanged value never seen", column));
    let without_id = missing_id(fold, table, cells, touch);
    let all = unseen.chain(without_id.iter().map(|column| ("missing record id", column)));
    all.map(|(reason, column)| named(note(fold, table, touch, reason, column, Some(cells)), key)).collect()
}

/// The columns by which a row that lives does not say which record it is.
fn missing_id<S: Store>(fold: &Fold<S>, table: usize, cells: &Cells, touch: &Touch) -> Vec<Arc<str>> {
    let mapping = &fold.mapping;
    let mut missing = Vec::new();
    let row = kept(fold, cells.clone(), touch);
    for record in mapping.records.iter().filter(|record| record.table == table) {
        for column in record.id.iter().filter(|column| view::text(cells, **column).is_none()) {
            if !view::of(mapping, &fold.source, &fold.store, record, row.clone()).deleted() {
                missing.push(mapping.tables[table].columns[*column].clone());
            }
        }
    }
    missing
}

/// Every record that this state of a row takes part in.
fn touch_all<S: Store>(fold: &mut Fold<S>, table: usize, cells: &Cells, touch: &Touch) {
    if fold.quiet {
        return;
    }
    let (mapping, uses) = (fold.mapping.clone(), fold.layouts.uses(table));
    for record in &uses.roots {
        touch_root(fold, &mapping, *record, cells, touch);
    }
    for (record, join) in &uses.joins {
        walk(fold, &mapping, *record, *join, cells, touch);
    }
}

pub fn touch_root<S>(fold: &mut Fold<S>, mapping: &Mapping, record: usize, cells: &Cells, touch: &Touch) {
    let id: Option<Vec<String>> = mapping.records[record].id.iter().map(|column| view::text(cells, *column)).collect();
    let Some(id) = id else { return };
    let touch = touch.clone();
    match fold.touched.entry(RecordId { record, id: id.into() }) {
        // A row beside it does not change how the record itself came.
        btree_map::Entry::Occupied(mut known) if known.get().own && !touch.own => {
            let Touch { position, offset, .. } = touch;
            let known = known.get_mut();
            (known.position, known.offset) = (position, offset);
        }
        btree_map::Entry::Occupied(mut known) => drop(known.insert(touch)),
        btree_map::Entry::Vacant(free) => {
            free.insert(touch);
        }
    }
}

/// From a joined row back to the root rows that find it. Links that a later change of the same
/// transaction makes or cuts touch their records by themselves.
fn walk<S: Store>(fold: &mut Fold<S>, mapping: &Mapping, record: usize, join: usize, cells: &Cells, touch: &Touch) {
    let joins = &mapping.records[record].joins;
    let is = |(column, text): &(usize, String)| view::text(cells, *column).as_ref() == Some(text);
    if !joins[join].constants.iter().all(is) {
        return;
    }
    let Some((theirs, ours)) = joins[join].on.first() else { return touch_every(fold, mapping, record, touch) };
    let Some(value) = view::text(cells, *theirs) else { return };
    let from = ours.join.map_or(mapping.records[record].table, |parent| joins[parent].table);
    let touch = &Touch { own: false, ..touch.clone() };
    for (_, Kept { cells, .. }) in fold.store.find(from, ours.column, &value) {
        match ours.join {
            None => touch_root(fold, mapping, record, &cells, touch),
            Some(parent) => walk(fold, mapping, record, parent, &cells, touch),
        }
    }
}

/// A row that is found by what it is, and not by what a root row says, is found by all of them.
fn touch_every<S: Store>(fold: &mut Fold<S>, mapping: &Mapping, record: usize, touch: &Touch) {
    let touch = &Touch { own: false, ..touch.clone() };
    let mut after: Option<Key> = None;
    loop {
        let page = fold.store.scan(mapping.records[record].table, after.as_deref(), SWEPT_AT_ONCE);
        for (_, row) in &page {
            touch_root(fold, mapping, record, &row.cells, touch);
        }
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return,
        }
    }
}
