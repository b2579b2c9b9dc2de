//! Which tables there are, and how their rows are laid out now.

use super::{
    Fold, Touch,
    open::About,
    rows::{self, Departed},
    store::{Others, Store},
};
use change::{Cell, Row, TableId, TableSchema};
use mapping::Mapping;
use std::{collections::HashMap, sync::Arc};

/// How the rows of a table are laid out now. A changed schema brings a new layout.
struct Layout {
    schema: Arc<TableSchema>,
    /// For each of the mapping's columns: its place in the row.
    places: Vec<Option<usize>>,
    /// The places of the other columns.
    others: Vec<usize>,
}

pub struct Layouts {
    tables: HashMap<TableId, usize>,
    known: Vec<Option<Layout>>,
    /// For each of the mapping's tables: the records it is the root of, and the (record, join) that find its rows.
    uses: Vec<Arc<Uses>>,
}

#[derive(Default)]
pub struct Uses {
    pub roots: Vec<usize>,
    pub joins: Vec<(usize, usize)>,
}

impl Layouts {
    pub fn new(mapping: &Mapping) -> Self {
        let mut uses: Vec<Uses> = mapping.tables.iter().map(|_| Uses::default()).collect();
        for (index, record) in mapping.records.iter().enumerate() {
            uses[record.table].roots.push(index);
            for (at, join) in record.joins.iter().enumerate() {
                uses[join.table].joins.push((index, at));
            }
        }
        Self {
            tables: mapping.tables.iter().enumerate().map(|(index, table)| (table.id.clone(), index)).collect(),
            known: mapping.tables.iter().map(|_| None).collect(),
            uses: uses.into_iter().map(Arc::new).collect(),
        }
    }

    pub fn uses(&self, table: usize) -> Arc<Uses> {
        self.uses[table].clone()
    }

    /// For each of the mapping's columns: its place in the rows that come.
    pub fn places(&self, table: usize) -> &[Option<usize>] {
        self.known[table].as_ref().map_or(&[], |layout| &layout.places)
    }
}

/// The place of a table, whether the mapping knows it or not.
pub fn place<S: Store>(fold: &mut Fold<S>, id: &TableId) -> usize {
    if let Some(place) = fold.layouts.tables.get(id) {
        return *place;
    }
    let place = named_table(fold, &id.to_string());
    fold.layouts.tables.insert(id.clone(), place);
    place
}

/// The same, of a table called `schema.name`.
fn named_table<S: Store>(fold: &mut Fold<S>, name: &str) -> usize {
    if let Some(place) = fold.tables.iter().position(|table| table == name) {
        return place;
    }
    let place = fold.store.add_table(name);
    fold.tables.push(name.to_owned());
    fold.layouts.known.push(None);
    place
}

pub fn tables<S: Store>(fold: &mut Fold<S>, names: &[String]) -> Vec<usize> {
    names.iter().map(|name| named_table(fold, name)).collect()
}

/// Tables that a store holds and the mapping does not know.
pub fn take_in<S: Store>(fold: &mut Fold<S>) {
    for name in fold.store.tables() {
        named_table(fold, &name);
    }
}

/// A table's layout follows its schema; a column of the mapping that is not there is told once, and once it is back.
pub fn lay_out<S: Store>(fold: &mut Fold<S>, table: usize, row: &Row, touch: &Touch) {
    let schema = row.schema();
    if let Some(layout) = &fold.layouts.known[table]
        && (Arc::ptr_eq(&layout.schema, schema) || layout.schema == *schema)
    {
        return;
    }
    let mapping = fold.mapping.clone();
    let columns = mapping.tables.get(table).map_or(&[][..], |table| &table.columns);
    let places: Vec<Option<usize>> = columns.iter().map(|name| schema.index_of(name)).collect();
    let others: Vec<usize> = (0..schema.columns.len()).filter(|place| !places.contains(&Some(*place))).collect();
    let names: Vec<Arc<str>> = others.iter().map(|place| schema.columns[*place].name.clone()).collect();
    fold.store.lay_out(table, &names);
    fold.layouts.known[table] = Some(Layout { schema: schema.clone(), places, others });
    miss_columns(fold, table, touch);
}

/// Says which of the mapping's columns a table does not have.
pub fn miss_columns<S: Store>(fold: &mut Fold<S>, table: usize, touch: &Touch) {
    let Some(layout) = fold.layouts.known[table].as_ref().filter(|_| fold.is_mapped(table) && !fold.quiet) else {
        return;
    };
    let columns = &fold.mapping.tables[table].columns;
    let missing = columns.iter().zip(&layout.places).filter(|(_, place)| place.is_none());
    let items = missing
        .map(|(name, _)| rows::named(rows::note(fold, table, touch, "missing column", name, None), ""))
        .collect();
    let told = fold.open.settle(&mut fold.store, &About::Table(&fold.tables[table]), items);
    fold.noted.extend(told);
}

/// The columns that the mapping does not use, of the row as it was: only where the log left one of them out.
pub fn known_others<S: Store>(
    fold: &Fold<S>,
    table: usize,
    new: &Row,
    before: &str,
    departed: Option<Departed>,
) -> Others {
    let layout = fold.layouts.known[table].as_ref();
    let unchanged = layout.is_some_and(|it| it.others.iter().any(|place| new.cells()[*place] == Cell::Unchanged));
    if !unchanged {
        return Others::new();
    }
    fold.store.others(table, before).or(departed.map(|departed| departed.others)).unwrap_or_default()
}

/// The columns that the mapping does not use, in the order in which they are laid out.
pub fn others<'a>(
    layouts: &Layouts,
    table: usize,
    old: Option<&'a Row>,
    new: &'a Row,
    known: &'a Others,
) -> Vec<&'a Cell> {
    let places = layouts.known[table].as_ref().map_or(&[][..], |layout| &layout.others);
    let cell = |place: &usize| {
        let cell = &new.cells()[*place];
        if *cell != Cell::Unchanged {
            return cell;
        }
        let name = &new.schema().columns[*place].name;
        let known = known.iter().find(|(column, _)| column == name).map(|(_, cell)| cell);
        known.or_else(|| old.and_then(|old| old.get(name))).unwrap_or(cell)
    };
    places.iter().map(cell).collect()
}
