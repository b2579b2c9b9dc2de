//! A case, and what all cases of a mapping begin with, from their files.

use super::{CHANGES_MAX, Case, Op, Source, Transaction, Written, told};
use change::{Cell, TableId, Value};
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
};
use mapping::{
    Mapping, Mistakes,
    document::{self, Content, Node, Report, Section},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A name that is less like another is not asked after.
const ALIKE: f64 = 0.84;

pub fn source(mapping: &Mapping, path: &Path, text: &str) -> Result<Source, Mistakes> {
    let file = path.display().to_string();
    let root = document::read(&file, text)?;
    let report = Report::new(&file);
    let mut source = Source { name: mapping.system.clone(), ..Source::default() };
    if let Some(section) = Section::of(&report, "", &root) {
        source.name = section.text("source").map_or(source.name, str::to_owned);
        source.organisation = section.text("organisation").unwrap_or_default().to_owned();
        if let Some(keys) = section.need("keys").and_then(|node| Section::of(&report, "keys", node)) {
            source.keys = keys.entries().iter().filter_map(|(table, node)| key(mapping, &keys, table, node)).collect();
        }
        source.changes = changes(mapping, &source.keys, &section);
        section.finish();
    }
    report.finish().map(|_| source)
}

/// `"emis.patient" = "patient_id"`, or a list of columns.
fn key(mapping: &Mapping, section: &Section<'_>, table: &str, node: &Node) -> Option<(String, Vec<String>)> {
    known_table(mapping, section, node.line, table, table)?;
    let columns = match &node.content {
        Content::List(list) => list.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let column = |node: &Node| match &node.content {
        Content::Text(text) => Some(text.clone()),
        _ => {
            section.tell(node.line, table, "expected a column, or a list of columns");
            None
        }
    };
    Some((table.to_owned(), columns.iter().filter_map(column).collect()))
}

pub fn case(mapping: &Mapping, source: &Source, path: PathBuf, text: String) -> Result<Case, Mistakes> {
    let file = path.display().to_string();
    let root = document::read(&file, &text)?;
    let report = Report::new(&file);
    let (mut about, mut transactions) = (String::new(), Vec::new());
    if let Some(section) = Section::of(&report, "", &root) {
        about = section.need_text("about").unwrap_or_default().to_owned();
        let nodes = section.list("transaction");
        if nodes.is_empty() {
            section.tell(section.line, "transaction", "is missing: a case has at least one [[transaction]]");
        }
        for (node, place) in nodes.iter().zip(1..) {
            let inner = Section::of(&report, &format!("transaction[{place}]"), node);
            transactions.extend(inner.map(|inner| transaction(mapping, source, &inner)));
        }
        section.finish();
        let changes: usize = transactions.iter().map(|transaction| transaction.changes.len()).sum();
        if changes > CHANGES_MAX {
            section.tell(section.line, "transaction", format!("more than {CHANGES_MAX} changes"));
        }
    }
    report.finish().map(|_| Case { file: path, about, transactions, text })
}

fn transaction(mapping: &Mapping, source: &Source, section: &Section<'_>) -> Transaction {
    let snapshot = section.yes("snapshot");
    let changes = changes(mapping, &source.keys, section);
    if changes.is_empty() && section.take("changes").is_none() {
        section.tell(section.line, "changes", "is missing: `changes = [{ insert = \"schema.table\", row = { … } }]`");
    }
    if snapshot && changes.iter().any(|change| change.op != Op::Insert) {
        section.tell(section.line_of("snapshot"), "snapshot", "a snapshot reads rows: only `insert` may stand in it");
    }
    let expected = section.take("expected").map_or_else(Vec::new, |node| {
        let Content::Text(text) = &node.content else {
            section.tell(node.line, "expected", "expected text");
            return Vec::new();
        };
        told::read(text, &mut |at, what| section.tell(node.line + 1 + at, "expected", what))
    });
    section.finish();
    Transaction { line: section.line, snapshot, changes, expected }
}

fn changes(mapping: &Mapping, keys: &BTreeMap<String, Vec<String>>, section: &Section<'_>) -> Vec<Written> {
    let nodes = section.list("changes").iter().zip(1..);
    let change = |(node, place): (&Node, usize)| {
        let inner = Section::of(section.report, &section.key(&format!("changes[{place}]")), node)?;
        let change = change(mapping, keys, &inner);
        inner.finish();
        change
    };
    nodes.filter_map(change).collect()
}

fn change(mapping: &Mapping, keys: &BTreeMap<String, Vec<String>>, section: &Section<'_>) -> Option<Written> {
    const OPS: [(&str, Op); 4] =
        [("insert", Op::Insert), ("update", Op::Update), ("delete", Op::Delete), ("truncate", Op::Truncate)];
    let named: Vec<(&str, Op, &str)> =
        OPS.into_iter().filter_map(|(key, op)| Some((key, op, section.text(key)?))).collect();
    let row = section.take("row");
    let [(name, op, table)] = named[..] else {
        section.tell(section.line, "", "expected one of insert, update, delete, truncate = \"schema.table\"");
        return None;
    };
    let line = section.line_of(name);
    let columns = known_table(mapping, section, line, name, table)?;
    let Some(key) = keys.get(table) else {
        let what = format!("the key of `{table}` is not known: add it to [keys] of {}", super::SOURCE);
        section.tell(line, name, what);
        return None;
    };
    let known: Vec<&str> = columns.iter().map(|column| &**column).chain(key.iter().map(String::as_str)).collect();
    let row = row.and_then(|node| Section::of(section.report, &section.key("row"), node));
    let row = row.map_or_else(Vec::new, |row| {
        let cells = row.entries().iter().filter_map(|(column, node)| {
            if !known.contains(&column.as_str()) {
                row.tell(
                    node.line,
                    column,
                    unknown(&format!("the mapping reads no such column of `{table}`"), column, &known),
                );
            }
            Some((column.clone(), cell(&row, column, node)?))
        });
        cells.collect()
    });
    let is_there = |column: &&String| row.iter().any(|(known, _)| known == *column);
    if op != Op::Truncate {
        for column in key.iter().filter(|column| !is_there(column)) {
            section.tell(section.line, "row", format!("has no `{column}`, which is of the key of `{table}`"));
        }
    }
    Some(Written { op, table: table.to_owned(), row })
}

/// The columns that the mapping reads of the table.
fn known_table<'a>(
    mapping: &'a Mapping,
    section: &Section<'_>,
    line: usize,
    key: &str,
    table: &str,
) -> Option<&'a [std::sync::Arc<str>]> {
    let (schema, name) = table.split_once('.').unwrap_or_default();
    let place = mapping.table(&TableId { schema: schema.into(), name: name.into() });
    if place.is_none() {
        let known: Vec<String> = mapping.tables.iter().map(|table| table.id.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        section.tell(line, key, unknown(&format!("the mapping reads no table `{table}`"), table, &known));
    }
    place.map(|place| mapping.tables[place].columns.as_slice())
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let scored = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
    match scored.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((score, meant)) if score >= ALIKE => format!("{what}: is `{meant}` meant?"),
        _ => what.to_owned(),
    }
}

fn cell(section: &Section<'_>, column: &str, node: &Node) -> Option<Cell> {
    if let Content::Table(entries) = &node.content {
        return special(section, column, node.line, entries);
    }
    value(section, column, node).map(Cell::Value)
}

/// What TOML has no word for: `{ unchanged = true }`, `{ bytes = "00ff" }`, `{ float = "0.1" }`, `{ exact = "infinity" }`.
fn special(section: &Section<'_>, column: &str, line: usize, entries: &[(String, Node)]) -> Option<Cell> {
    let cell = match entries {
        [(key, Node { content: Content::Yes(true), .. })] if key == "unchanged" => Some(Cell::Unchanged),
        [(key, Node { content: Content::Text(text), .. })] => match key.as_str() {
            "bytes" => bytes(text).map(|bytes| Cell::Value(Value::Bytes(bytes))),
            "float" => text.parse().ok().map(|number| Cell::Value(Value::Float(number))),
            "exact" => Some(Cell::Value(Value::Exact(text.clone()))),
            _ => None,
        },
        _ => None,
    };
    if cell.is_none() {
        let what =
            "expected { unchanged = true }, { bytes = \"00ff\" }, { float = \"0.1\" } or { exact = \"infinity\" }";
        section.tell(line, column, what);
    }
    cell
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|it| it.len() == 2)?, 16).ok();
    digits.map(byte).collect()
}

fn value(section: &Section<'_>, column: &str, node: &Node) -> Option<Value> {
    Some(match &node.content {
        Content::Text(text) => Value::Text(text.clone()),
        Content::Number(number) => Value::Int(*number),
        Content::Yes(yes) => Value::Bool(*yes),
        Content::List(list) => Value::Array(list.iter().map(|node| value(section, column, node)).collect()),
        Content::Other(text) => {
            let value = numeric(text).map(Value::Numeric).or_else(|| time(text));
            if value.is_none() {
                let what = "expected digits with a point (6.70), inf, nan, or a time as 2026-11-23T09:00:00Z";
                section.tell(node.line, column, what);
            }
            value?
        }
        Content::Table(_) => {
            section.tell(node.line, column, "expected a value");
            return None;
        }
    })
}

/// As PostgreSQL prints it.
fn numeric(text: &str) -> Option<String> {
    match text.trim_start_matches('+') {
        "nan" | "-nan" => return Some("NaN".into()),
        "inf" => return Some("Infinity".into()),
        "-inf" => return Some("-Infinity".into()),
        _ => {}
    }
    let digits = text.trim_start_matches('+').replace('_', "");
    let unsigned = digits.strip_prefix('-').unwrap_or(&digits);
    let plain = unsigned
        .split_once('.')
        .is_some_and(|(whole, fraction)| whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()));
    plain.then_some(digits)
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

fn time(text: &str) -> Option<Value> {
    let text = text.replacen(' ', "T", 1);
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Value::TimestampTz(at.as_microsecond()));
    }
    // jiff reads a day as its midnight, and a time as today's: the length tells them apart.
    if let Some(day) = text.parse::<Date>().ok().filter(|day| day.to_string() == text) {
        return Some(Value::Date(EPOCH.until(day).ok()?.get_days()));
    }
    if text.contains('T') {
        // Without a zone, so that the end of 9999 can be written, too: it is no moment of any.
        let since = text.parse::<DateTime>().ok()?.duration_since(DateTime::from_parts(EPOCH, Time::midnight()));
        return i64::try_from(since.as_micros()).ok().map(Value::Timestamp);
    }
    let at = text.parse::<Time>().ok()?;
    let since = jiff::civil::Time::midnight().until(at).ok()?.total(jiff::Unit::Microsecond).ok()?;
    // Whole microseconds of one day.
    format!("{since:.0}").parse().ok().map(Value::Time)
}
