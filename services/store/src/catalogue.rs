//! Which tables a store holds, and how rows were laid out when they came.
//!
//! # Why
//! A row outlives the mapping under which it came, and the shape that its table had. So tables, columns and indexes have
//! numbers of their own here, and each row says by which layout it is to be read.

use crate::EngineError;
use change::Cell;
use fold::store::{Kept, Others, Shape, Stood, read, take, write_to};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// By the table's name.
pub const TABLE: u8 = b't';
/// By the layout's number.
pub const LAYOUT: u8 = b'l';

/// A table as it is noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    number: u16,
    /// An index goes by its place here for ever.
    indexes: Vec<Index>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    column: String,
    /// It holds what the rows hold.
    kept: bool,
}

pub struct Table {
    pub name: String,
    pub entry: Entry,
    /// The mapping's.
    pub columns: Vec<Arc<str>>,
    /// Places of the columns that rows are found by, each with its index.
    pub indexed: Vec<(usize, u16)>,
    /// Of rows that come, once that is known.
    layout: Option<u16>,
}

impl Table {
    pub const fn number(&self) -> u16 {
        self.entry.number
    }
}

/// The columns of a row in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    table: u16,
    columns: Vec<Arc<str>>,
}

/// How the mapping's columns are read from a row.
#[derive(Debug)]
enum How {
    /// They come first.
    First(usize),
    Places(Vec<Option<usize>>),
}

/// Before a row's cells.
#[derive(Serialize, Deserialize)]
struct Head {
    layout: u16,
    stands: Stood,
}

#[derive(Default)]
pub struct Catalogue {
    /// The mapping's first, in its order.
    pub tables: Vec<Table>,
    layouts: Vec<(Layout, How)>,
}

/// An index that is to be made of the rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToBuild {
    pub table: usize,
    pub column: usize,
    pub index: u16,
}

/// An entry of the engine.
pub type Noted = (Vec<u8>, Vec<u8>);

impl Catalogue {
    /// As it was noted, for a mapping's tables; the indexes that this one needs and nobody kept, and what is to be noted.
    pub fn open(
        tables: Vec<Noted>,
        layouts: Vec<Noted>,
        shapes: &[Shape],
    ) -> Result<(Self, Vec<ToBuild>, Vec<Noted>), EngineError> {
        let mut known: Vec<(String, Entry)> = Vec::new();
        for (key, value) in tables {
            let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned);
            known.push(name.zip(read(&value)).ok_or(EngineError::Damaged("a table's name"))?);
        }
        let (mut it, mut build, mut noted) = (Self::default(), Vec::new(), Vec::new());
        let mut next = known.iter().map(|(_, entry)| entry.number + 1).max().unwrap_or(0);
        for (place, shape) in shapes.iter().enumerate() {
            let at = known.iter().position(|(name, _)| *name == shape.table);
            let mut entry = at.map_or_else(
                || {
                    next += 1;
                    Entry { number: next - 1, indexes: Vec::new() }
                },
                |at| known.swap_remove(at).1,
            );
            let before = at.map(|_| entry.clone());
            let indexed = entry.index(shape, |column, index| build.push(ToBuild { table: place, column, index }));
            let columns = shape.columns.iter().map(|name| name.as_str().into()).collect();
            let table = Table { name: shape.table.clone(), entry, columns, indexed, layout: None };
            if before.as_ref() != Some(&table.entry) {
                noted.push(note_of(&table));
            }
            it.tables.push(table);
        }
        known.sort_by_key(|(_, entry)| entry.number);
        for (name, entry) in known {
            it.tables.push(Table { name, entry, columns: Vec::new(), indexed: Vec::new(), layout: None });
        }
        for (_, value) in layouts {
            let layout: Layout = read(&value).ok_or(EngineError::Damaged("a layout"))?;
            let how = it.how(&layout).ok_or(EngineError::Damaged("a layout's table"))?;
            it.layouts.push((layout, how));
        }
        Ok((it, build, noted))
    }

    fn how(&self, layout: &Layout) -> Option<How> {
        let table = self.tables.iter().find(|table| table.number() == layout.table)?;
        let columns = &table.columns;
        if layout.columns.starts_with(columns) {
            return Some(How::First(columns.len()));
        }
        let place = |column: &Arc<str>| layout.columns.iter().position(|name| name == column);
        Some(How::Places(columns.iter().map(place).collect()))
    }

    /// A table that the mapping does not know. Its place, and its note if it is new.
    pub fn add(&mut self, name: &str) -> (usize, Option<Noted>) {
        if let Some(place) = self.tables.iter().position(|table| table.name == name) {
            return (place, None);
        }
        let number = self.tables.iter().map(|table| table.number() + 1).max().unwrap_or(0);
        let entry = Entry { number, indexes: Vec::new() };
        let table = Table { name: name.to_owned(), entry, columns: Vec::new(), indexed: Vec::new(), layout: None };
        let noted = note_of(&table);
        self.tables.push(table);
        (self.tables.len() - 1, Some(noted))
    }

    /// Rows of this table have these columns from now on, besides the mapping's. The layout's note if it is new.
    pub fn lay_out(&mut self, table: usize, others: &[Arc<str>]) -> Option<Noted> {
        let number = self.tables[table].number();
        let columns = self.tables[table].columns.iter().chain(others).cloned().collect();
        let layout = Layout { table: number, columns };
        let known = self.layouts.iter().position(|(known, _)| *known == layout);
        let at = known.unwrap_or(self.layouts.len());
        // Beyond, rows are laid out as the last one says: so many shapes no table had.
        let number = u16::try_from(at).ok()?;
        self.tables[table].layout = Some(number);
        if known.is_some() {
            return None;
        }
        let noted = (layout_key(number), fold::store::write(&layout));
        let how = How::First(self.tables[table].columns.len());
        self.layouts.push((layout, how));
        Some(noted)
    }

    /// A row's bytes. `others`: what was laid out.
    pub fn write(&self, table: usize, row: &Kept, others: &[&Cell]) -> Option<Vec<u8>> {
        let head = Head { layout: self.tables[table].layout?, stands: row.stands };
        let mut out = write_to(&head, Vec::with_capacity(128))?;
        for cell in row.cells.iter().chain(others.iter().copied()) {
            out = write_to(cell, out)?;
        }
        Some(out)
    }

    /// The mapping's columns of a row.
    pub fn read(&self, bytes: &[u8]) -> Option<Kept> {
        let (Head { layout, stands }, mut rest) = take::<Head>(bytes)?;
        let (layout, how) = self.layouts.get(usize::from(layout))?;
        let mut next = || {
            let (cell, after) = take::<Cell>(rest)?;
            rest = after;
            Some(cell)
        };
        let cells = match how {
            How::First(count) => (0..*count).map(|_| next()).collect::<Option<_>>()?,
            How::Places(places) => {
                let whole: Vec<Cell> = layout.columns.iter().map(|_| next()).collect::<Option<_>>()?;
                let cell = |place: &Option<usize>| place.map_or(Cell::Null, |place| whole[place].clone());
                places.iter().map(cell).collect()
            }
        };
        Some(Kept { cells, stands })
    }

    /// The columns of a row that the mapping does not use.
    pub fn others(&self, table: usize, bytes: &[u8]) -> Option<Others> {
        let (Head { layout, .. }, mut rest) = take::<Head>(bytes)?;
        let (layout, _) = self.layouts.get(usize::from(layout))?;
        let mut others = Others::new();
        for name in &layout.columns {
            let (cell, after) = take::<Cell>(rest)?;
            rest = after;
            if !self.tables[table].columns.contains(name) {
                others.push((name.clone(), cell));
            }
        }
        Some(others)
    }

    /// The same row, shown by another reading.
    pub fn shown(bytes: &[u8], readings: u32) -> Option<Vec<u8>> {
        let (Head { layout, stands }, rest) = take::<Head>(bytes)?;
        let mut out =
            write_to(&Head { layout, stands: Stood { readings, ..stands } }, Vec::with_capacity(bytes.len()))?;
        out.extend(rest);
        Some(out)
    }
}

impl Entry {
    /// The indexes of a shape's columns; `build` is told of those that nobody kept. Those that are not needed are not
    /// kept any more.
    fn index(&mut self, shape: &Shape, mut build: impl FnMut(usize, u16)) -> Vec<(usize, u16)> {
        let wanted = |index: &Index| shape.indexed.iter().any(|column| shape.columns[*column] == index.column);
        self.indexes.iter_mut().for_each(|index| index.kept &= wanted(index));
        let mut indexed = Vec::new();
        for column in &shape.indexed {
            let name = &shape.columns[*column];
            let at = self.indexes.iter().position(|index| index.column == *name).unwrap_or_else(|| {
                self.indexes.push(Index { column: name.clone(), kept: false });
                self.indexes.len() - 1
            });
            // A mapping has fewer columns.
            let number = u16::try_from(at).unwrap_or(u16::MAX);
            if !std::mem::replace(&mut self.indexes[at].kept, true) {
                build(*column, number);
            }
            indexed.push((*column, number));
        }
        indexed
    }
}

fn note_of(table: &Table) -> Noted {
    ([&[TABLE][..], table.name.as_bytes()].concat(), fold::store::write(&table.entry))
}

fn layout_key(number: u16) -> Vec<u8> {
    [&[LAYOUT][..], &number.to_be_bytes()].concat()
}
