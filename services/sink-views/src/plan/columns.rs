//! Tables as the writer sees them, and rows as columns: one array per column goes to the server.

use event::Micros;
use std::{
    borrow::Cow,
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How a column travels and what it is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    /// Travels as text, exact.
    Numeric,
    Bool,
    Int,
    Long,
    Time,
    /// Travels as days since 1970-01-01.
    Date,
    Bytes,
    /// Travels as text.
    Json,
}

impl Type {
    const fn array(self) -> &'static str {
        match self {
            Self::Text | Self::Numeric | Self::Json => "text[]",
            Self::Bool => "bool[]",
            Self::Int | Self::Date => "int4[]",
            Self::Long => "int8[]",
            Self::Time => "timestamptz[]",
            Self::Bytes => "bytea[]",
        }
    }
}

#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub key: &'static [&'static str],
    /// What every table has comes first: `COMMON`.
    pub own: &'static [(&'static str, Type)],
}

pub const COMMON: [(&str, Type); 20] = [
    ("source", Type::Text),
    ("patient", Type::Text),
    ("record", Type::Text),
    ("organisation", Type::Text),
    ("position", Type::Text),
    ("revision", Type::Int),
    ("event_id", Type::Text),
    ("committed_at", Type::Time),
    ("entered_at", Type::Time),
    ("effective_at", Type::Time),
    ("corrected", Type::Bool),
    ("retracted", Type::Bool),
    ("snapshot", Type::Bool),
    ("generation", Type::Long),
    ("confidential", Type::Bool),
    ("reread", Type::Bool),
    ("incomplete", Type::Text),
    ("effective_precision", Type::Text),
    ("reinterpreted", Type::Bool),
    // What has no column of its own, by the names of the event's schema.
    ("more", Type::Json),
];

impl Table {
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Type)> {
        COMMON.into_iter().chain(self.own.iter().copied())
    }

    /// Inserts, or replaces what is older by its place; tells the keys of what was written.
    ///
    /// `keep_version`: an equal digest in the table keeps the table's version.
    pub fn upsert(&self, keep_version: bool) -> String {
        let names: Vec<&str> = self.columns().map(|(name, _)| name).collect();
        let mut values = Vec::new();
        let mut arrays = Vec::new();
        for (index, (name, kind)) in self.columns().enumerate() {
            arrays.push(format!("${}::{}", index + 1, kind.array()));
            values.push(match kind {
                Type::Numeric => format!("u.{name}::numeric"),
                Type::Json => format!("u.{name}::jsonb"),
                Type::Date => format!("date '1970-01-01' + u.{name}"),
                _ => format!("u.{name}"),
            });
        }
        let mut sets = String::new();
        for name in names.iter().filter(|name| !self.key.contains(name)) {
            let separator = if sets.is_empty() { "" } else { ", " };
            let value = if keep_version && *name == "version" {
                "case when t.version_digest = excluded.version_digest then t.version else excluded.version end".into()
            } else {
                format!("excluded.{name}")
            };
            // Writing to a String cannot fail.
            let _ = write!(sets, "{separator}{name} = {value}");
        }
        let (table, key, names) = (self.name, self.key.join(", "), names.join(", "));
        let (values, arrays) = (values.join(", "), arrays.join(", "));
        format!(
            "insert into record.{table} as t ({names}) select {values} from unnest({arrays}) as u ({names}) \
             on conflict ({key}) do update set {sets} \
             where (excluded.generation, excluded.position, excluded.revision) > (t.generation, t.position, t.revision) \
             returning t.source, t.patient, t.record"
        )
    }
}

/// One value of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i32),
    Long(i64),
    Time(SystemTime),
    Bytes(&'a [u8]),
}

/// What PostgreSQL's text cannot hold.
const NUL: char = '\0';
/// From the year 1 to 9999-12-30T22:00Z: what every reader of the record can show, in any zone. What is beyond is not
/// told, for it would be shown as the newest.
const MICROS_SHOWN: std::ops::RangeInclusive<Micros> = -62_135_596_800_000_000..=253_402_207_200_999_999;
const DAYS_SHOWN: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

impl<'a> Cell<'a> {
    pub fn text(text: &'a str) -> Self {
        let shown = if text.contains(NUL) { text.replace(NUL, "\u{FFFD}").into() } else { Cow::Borrowed(text) };
        Self::Text(shown)
    }

    pub fn maybe(text: Option<&'a String>) -> Self {
        text.map_or(Self::Null, |text| Self::text(text))
    }

    pub fn number(number: Option<rust_decimal::Decimal>) -> Self {
        number.map_or(Self::Null, |number| Self::Text(number.to_string().into()))
    }

    pub fn time(at: Option<Micros>) -> Self {
        at.filter(|at| MICROS_SHOWN.contains(at)).map_or(Self::Null, |at| Self::Time(system_time(at)))
    }

    pub fn day(day: Option<i32>) -> Self {
        day.filter(|day| DAYS_SHOWN.contains(day)).map_or(Self::Null, Self::Int)
    }

    pub fn bool(value: Option<bool>) -> Self {
        value.map_or(Self::Null, Self::Bool)
    }
}

pub fn system_time(at: Micros) -> SystemTime {
    let distance = Duration::from_micros(at.unsigned_abs());
    if at < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// The commit time, which is never null: one outside the calendar reads as the epoch.
pub fn commit_time(at: Micros) -> SystemTime {
    system_time(if MICROS_SHOWN.contains(&at) { at } else { 0 })
}

/// The values of one column, as the driver sends them.
#[derive(Debug)]
pub enum Column<'a> {
    Text(Vec<Option<Cow<'a, str>>>),
    Bool(Vec<Option<bool>>),
    Int(Vec<Option<i32>>),
    Long(Vec<Option<i64>>),
    Time(Vec<Option<SystemTime>>),
    Bytes(Vec<Option<&'a [u8]>>),
}

impl<'a> Column<'a> {
    fn new(kind: Type, rows: usize) -> Self {
        match kind {
            Type::Text | Type::Numeric | Type::Json => Self::Text(Vec::with_capacity(rows)),
            Type::Bool => Self::Bool(Vec::with_capacity(rows)),
            Type::Int | Type::Date => Self::Int(Vec::with_capacity(rows)),
            Type::Long => Self::Long(Vec::with_capacity(rows)),
            Type::Time => Self::Time(Vec::with_capacity(rows)),
            Type::Bytes => Self::Bytes(Vec::with_capacity(rows)),
        }
    }

    /// A cell of another type is null: the tests of `rows` hold cells and columns together.
    fn push(&mut self, cell: Cell<'a>) {
        match (self, cell) {
            (Self::Text(values), Cell::Text(value)) => values.push(Some(value)),
            (Self::Bool(values), Cell::Bool(value)) => values.push(Some(value)),
            (Self::Int(values), Cell::Int(value)) => values.push(Some(value)),
            (Self::Long(values), Cell::Long(value)) => values.push(Some(value)),
            (Self::Time(values), Cell::Time(value)) => values.push(Some(value)),
            (Self::Bytes(values), Cell::Bytes(value)) => values.push(Some(value)),
            (Self::Text(values), _) => values.push(None),
            (Self::Bool(values), _) => values.push(None),
            (Self::Int(values), _) => values.push(None),
            (Self::Long(values), _) => values.push(None),
            (Self::Time(values), _) => values.push(None),
            (Self::Bytes(values), _) => values.push(None),
        }
    }
}

/// Rows turned into columns. A row that is too short is filled with nulls.
pub fn columns<'a>(table: &Table, rows: impl ExactSizeIterator<Item = Vec<Cell<'a>>>) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = table.columns().map(|(_, kind)| Column::new(kind, rows.len())).collect();
    for row in rows {
        let cells = row.into_iter().chain(std::iter::repeat(Cell::Null));
        columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
    }
    columns
}
