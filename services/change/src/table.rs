//! Tables and the types their columns travel as.

use std::{fmt, sync::Arc};

/// `schema.name`, as the database spells them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    pub schema: Arc<str>,
    pub name: Arc<str>,
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Digits of a second that a moment has unless its column says less.
pub const SECOND_DIGITS: u8 = 6;

/// How a column travels. The Avro form of each is in `docs/types.md`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    Bool,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    /// `numeric(precision, scale)`: Connect `Decimal`.
    Decimal {
        precision: u16,
        scale: u16,
    },
    /// `numeric` without a scale: Debezium `VariableScaleDecimal`.
    Numeric,
    /// `money`, with as many digits after the point as the database's currency has: Connect `Decimal`.
    Money {
        scale: u16,
    },
    /// `bit(n)`: Debezium `Bits`.
    Bits {
        length: u32,
    },
    Text,
    Bytes,
    Date,
    Time,
    /// `timetz`: ISO text that keeps the offset.
    TimeTz,
    Timestamp,
    /// With as many digits of a second as the column has, at most [`SECOND_DIGITS`].
    TimestampTz {
        digits: u8,
    },
    /// ISO text that keeps months, days and microseconds apart.
    Interval,
    Uuid,
    Json,
    /// As a JSON object of texts.
    Hstore,
    Xml,
    Ltree,
    Tsvector,
    /// Two coordinates.
    Point,
    Enum {
        allowed: Arc<[Arc<str>]>,
    },
    Array(Arc<ColumnType>),
    /// Any other type: its text as the server prints it, flagged with the type's name.
    Flagged {
        type_name: Arc<str>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    pub name: Arc<str>,
    pub kind: ColumnType,
    pub key: bool,
}

/// One shape of one table. Shared by all rows that have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableSchema {
    pub table: TableId,
    pub columns: Vec<Column>,
}

impl TableSchema {
    pub fn index_of(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| &*c.name == column)
    }

    pub fn key_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, c)| c.key)
    }
}
