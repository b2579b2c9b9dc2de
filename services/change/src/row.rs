//! Rows as readers of the log hold them: owned, typed, and exact.

use crate::table::TableSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// `Unchanged` is not `Null`: the log left a large value out.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Cell {
    Null,
    Unchanged,
    Value(Value),
}

/// A value, exact. Numbers beyond `i64` are text in PostgreSQL's own notation, never `f64`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Digits as the server prints them: `6.70`, `NaN`, `-Infinity`.
    Numeric(String),
    /// Text, uuid, json, enum labels, intervals and times with an offset in ISO form, bits, points, hstore as JSON, and
    /// types that travel as flagged text.
    Text(String),
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00, in a zone that the source does not tell.
    Timestamp(i64),
    /// Microseconds since 1970-01-01T00:00Z.
    TimestampTz(i64),
    Array(Vec<Option<Value>>),
    /// A value its column's wire type cannot hold (`infinity`, a year BC): the server's text.
    Exact(String),
}

/// Rows never show what is in them.
impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Unchanged => "unchanged",
            Self::Value(_) => "(hidden)",
        })
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Invariant: as many cells as the schema has columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    schema: Arc<TableSchema>,
    cells: Vec<Cell>,
}

impl Row {
    /// `None` when the number of cells differs from the number of columns.
    pub fn new(schema: Arc<TableSchema>, cells: Vec<Cell>) -> Option<Self> {
        (schema.columns.len() == cells.len()).then_some(Self { schema, cells })
    }

    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    pub fn get(&self, column: &str) -> Option<&Cell> {
        self.schema.index_of(column).map(|index| &self.cells[index])
    }

    /// The row with `Unchanged` cells taken from `old`, matched by column name.
    #[must_use]
    pub fn filled_from(mut self, old: &Self) -> Self {
        for (column, cell) in self.schema.columns.iter().zip(&mut self.cells) {
            if *cell == Cell::Unchanged
                && let Some(known) = old.get(&column.name)
            {
                *cell = known.clone();
            }
        }
        self
    }
}
