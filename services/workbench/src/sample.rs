//! Rows of a live database as the log would have told them: those that make a record, and those that its joins find.
//!
//! # Why
//! What a mapping makes of a database is known only by doing it. So a few rows are read and go through the fold that runs in
//! production. Which rows, one question after another: first the record's own, then those of each join, by the values that
//! are known by then. Whoever asks the database does nothing but ask.

use change::{
    Cell, Change, Column, ColumnType, Lsn, Position, Row, TableSchema, Value,
    described::{Described, DescribedColumn, Family},
};
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
};
use mapping::{Mapping, Ref, plain};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Values that are asked for at once.
pub const VALUES_MAX: usize = 5_000;
/// Rows that one question may bring.
pub const ROWS_MAX: usize = 50_000;
/// A transaction that the fold takes at once has fewer changes.
const _: () = assert!(ROWS_MAX <= fold::TRANSACTION_CHANGES_MAX, "the record's own rows are settled once");

/// What is asked for next: a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    table: usize,
    pub sql: String,
}

/// Which of a record's rows are looked at.
#[derive(Clone, Debug)]
pub enum Which {
    /// The row or rows of this identity.
    Id(Vec<String>),
    /// So many, as they come.
    Some(usize),
}

pub struct Sample<'a> {
    mapping: &'a Mapping,
    record: usize,
    tables: &'a [Described],
    which: Which,
    /// By table of the mapping: rows by their text.
    rows: BTreeMap<usize, BTreeMap<String, Row>>,
    /// Rows that stage by stage were found: the record's own, then each join's.
    stages: Vec<Vec<Row>>,
    waiting: Vec<Question>,
    found: Vec<Row>,
}

impl<'a> Sample<'a> {
    pub fn new(mapping: &'a Mapping, record: usize, tables: &'a [Described], which: Which) -> Self {
        let (rows, stages, found) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut sample = Self { mapping, record, tables, which, rows, stages, waiting: Vec::new(), found };
        sample.waiting = sample.first().into_iter().collect();
        sample
    }

    /// None: all is known.
    pub fn question(&mut self) -> Option<Question> {
        loop {
            if let Some(question) = self.waiting.pop() {
                return Some(question);
            }
            let join = self.stages.len();
            self.stages.push(std::mem::take(&mut self.found));
            if join >= self.mapping.records[self.record].joins.len() {
                return None;
            }
            self.waiting = self.of_join(join);
        }
    }

    pub fn take(&mut self, question: &Question, answer: Vec<Vec<Option<String>>>) {
        let Some(described) = self.described(question.table) else { return };
        let schema = self.schema(question.table, described);
        let types: Vec<Option<&DescribedColumn>> =
            schema.columns.iter().map(|column| described.column(&column.name)).collect();
        for cells in answer {
            let text = cells.iter().map(|cell| cell.as_deref().unwrap_or("\u{0}")).collect::<Vec<_>>().join("\u{1f}");
            let cell = |(text, column): (Option<String>, &Option<&DescribedColumn>)| {
                text.map_or(Cell::Null, |text| {
                    Cell::Value(column.map_or_else(|| Value::Text(text.clone()), |it| value(it, &text)))
                })
            };
            let cells = cells.into_iter().zip(&types).map(cell).collect();
            if let Some(row) = Row::new(schema.clone(), cells) {
                self.found.push(row.clone());
                self.rows.entry(question.table).or_default().insert(text, row);
            }
        }
    }

    /// How many of the record's own rows were read.
    pub fn own(&self) -> usize {
        self.stages.first().map_or(0, Vec::len)
    }

    /// One transaction: what is joined comes before the record's own rows.
    pub fn entries(&self) -> Vec<change::Entry> {
        let root = self.mapping.records[self.record].table;
        let joined = self.rows.iter().filter(|(table, _)| **table != root);
        let own = self.rows.iter().filter(|(table, _)| **table == root);
        let rows: Vec<&Row> = joined.chain(own).flat_map(|(_, rows)| rows.values()).collect();
        let last = rows.len();
        let entry = |(row, ordinal): (&Row, usize)| change::Entry {
            position: Position::new(1, Lsn(1), ordinal as u64),
            offset: i64::try_from(ordinal).unwrap_or(i64::MAX),
            table: Some(row.schema().clone()),
            change: Change::Insert { new: row.clone() },
            committed_at: 0,
            commit_end: (ordinal == last).then_some(Lsn(2)),
            traceparent: None,
            origin: None,
        };
        rows.into_iter().zip(1_usize..).map(entry).collect()
    }

    fn described(&self, table: usize) -> Option<&'a Described> {
        let id = &self.mapping.tables[table].id;
        self.tables.iter().find(|described| described.table == *id)
    }

    /// The columns that the mapping reads and the database has, and the key's.
    fn schema(&self, table: usize, described: &Described) -> Arc<TableSchema> {
        let read = self.mapping.tables[table].columns.iter().filter(|name| described.column(name).is_some());
        let mut names: Vec<Arc<str>> = read.cloned().collect();
        let key = described.key.iter().filter(|key| !names.iter().any(|name| **name == ***key));
        let key: Vec<Arc<str>> = key.map(|key| Arc::from(key.as_str())).collect();
        names.extend(key);
        let column = |name: Arc<str>| {
            let key = described.key.iter().any(|key| **key == *name);
            Column { name, kind: ColumnType::Text, key }
        };
        let columns = names.into_iter().map(column).collect();
        Arc::new(TableSchema { table: described.table.clone(), columns })
    }

    fn select(&self, table: usize, rest: &str) -> Option<Question> {
        let described = self.described(table)?;
        let columns: Vec<String> =
            self.schema(table, described).columns.iter().map(|column| quoted(&column.name)).collect();
        let of = format!("{}.{}", quoted(&described.table.schema), quoted(&described.table.name));
        Some(Question { table, sql: format!("select {} from {of} {rest}", columns.join(", ")) })
    }

    /// `column = one of these`, by the column's own type, so that an index serves.
    fn is_one_of(&self, table: usize, column: usize, values: &[String]) -> Option<String> {
        let name = &self.mapping.tables[table].columns[column];
        let type_name = &self.described(table)?.column(name)?.type_name;
        let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
        Some(format!("{} = any(array[{}]::text[]::{type_name}[])", quoted(name), values.join(", ")))
    }

    fn first(&self) -> Option<Question> {
        let record = &self.mapping.records[self.record];
        let rest = match &self.which {
            Which::Some(rows) => format!("limit {}", rows.min(&ROWS_MAX)),
            Which::Id(id) => {
                let same = record.id.iter().zip(id);
                let same: Option<Vec<String>> = same
                    .map(|(column, value)| self.is_one_of(record.table, *column, std::slice::from_ref(value)))
                    .collect();
                format!("where {} limit {ROWS_MAX}", same?.join(" and "))
            }
        };
        self.select(record.table, &rest)
    }

    fn of_join(&self, join: usize) -> Vec<Question> {
        let rule = &self.mapping.records[self.record].joins[join];
        let linked = rule.on.first().map(|(theirs, ours)| (theirs, self.values(*ours).into_iter().collect()));
        let named = rule.constants.first().map(|(theirs, text)| (theirs, vec![text.clone()]));
        let Some((theirs, values)): Option<(&usize, Vec<String>)> = linked.or(named) else { return Vec::new() };
        let question = |values: &[String]| {
            let fits: Vec<String> =
                values.iter().filter(|value| self.fits(rule.table, *theirs, value)).cloned().collect();
            let one_of = self.is_one_of(rule.table, *theirs, &fits).filter(|_| !fits.is_empty())?;
            self.select(rule.table, &format!("where {one_of} limit {ROWS_MAX}"))
        };
        values.chunks(VALUES_MAX).filter_map(question).collect()
    }

    /// A value that the column's type cannot hold finds nothing.
    fn fits(&self, table: usize, column: usize, value: &str) -> bool {
        let name = &self.mapping.tables[table].columns[column];
        let Some(column) = self.described(table).and_then(|described| described.column(name)) else { return false };
        let whole = || value.parse::<i64>().is_ok();
        let digits = || !value.is_empty() && value.chars().all(|it| it.is_ascii_digit() || "+-.".contains(it));
        match column.family {
            Family::Number if column.type_name == "bigint" => whole(),
            Family::Number if column.type_name == "integer" => value.parse::<i32>().is_ok(),
            Family::Number if column.type_name == "smallint" => value.parse::<i16>().is_ok(),
            Family::Number => digits(),
            Family::Text => true,
            Family::Uuid => value.len() == 36 && value.chars().all(|it| it.is_ascii_hexdigit() || it == '-'),
            Family::Bool => ["true", "false"].contains(&value),
            Family::Day | Family::Moment => value.starts_with(|it: char| it.is_ascii_digit()),
            Family::TimeOfDay | Family::Bytes => false,
            Family::Other => column.labels.iter().any(|label| label == value),
        }
    }

    /// The values of a cell in all rows that were found so far.
    fn values(&self, at: Ref) -> BTreeSet<String> {
        let record = &self.mapping.records[self.record];
        let (stage, table) = at.join.map_or((0, record.table), |join| (join + 1, record.joins[join].table));
        let name = &self.mapping.tables[table].columns[at.column];
        let rows = self.stages.get(stage).into_iter().flatten();
        let value = |row: &Row| match row.get(name) {
            Some(Cell::Value(value)) => Some(plain(value)),
            _ => None,
        };
        rows.filter_map(value).collect()
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whatever the server takes a backslash for.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A value as the log tells it, from the server's text of it. Arrays and what is of a type of its own stay text.
fn value(column: &DescribedColumn, text: &str) -> Value {
    let exact = || Value::Exact(text.to_owned());
    let micros = |at: DateTime| Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond());
    match column.family {
        Family::Bool => Value::Bool(text == "t" || text == "true"),
        Family::Number => match column.type_name.as_str() {
            "smallint" | "integer" | "bigint" | "oid" => text.parse().map_or_else(|_| exact(), Value::Int),
            "real" | "double precision" => text.parse().map_or_else(|_| exact(), Value::Float),
            _ => Value::Numeric(text.to_owned()),
        },
        Family::Day => {
            let days = text.parse::<Date>().ok().and_then(|day| jiff::civil::date(1970, 1, 1).until(day).ok());
            days.map_or_else(exact, |days| Value::Date(days.get_days()))
        }
        Family::Moment => {
            let iso = text.replacen(' ', "T", 1);
            if column.type_name.ends_with("with time zone") {
                let at = iso.strip_suffix("+00").and_then(|at| format!("{at}Z").parse::<Timestamp>().ok());
                return at.map_or_else(exact, |at| Value::TimestampTz(at.as_microsecond()));
            }
            iso.parse::<DateTime>().ok().and_then(micros).map_or_else(exact, Value::Timestamp)
        }
        Family::TimeOfDay => {
            let at = text.parse::<Time>().ok().and_then(|at| micros(at.on(1970, 1, 1)));
            at.map_or_else(exact, Value::Time)
        }
        Family::Bytes => {
            let digits = text.strip_prefix("\\x").unwrap_or_default().as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().map_or_else(exact, Value::Bytes)
        }
        Family::Text | Family::Uuid | Family::Other => Value::Text(text.to_owned()),
    }
}
