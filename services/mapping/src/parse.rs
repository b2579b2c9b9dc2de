//! From the document to the mapping: tables, records, joins.

use super::{
    JOINS_MAX, Join, Mapping, Mistakes, RECORDS_MAX, Record, TABLES_MAX, Table, bodies,
    document::{self, Content, Node, Report, Section},
    expr::Reading,
    scope::{self, Scope},
};
use change::TableId;
use coding::{lab::Lab, value::Marks};
use event::{Kind, datum::Record as _};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::Arc;

/// Reads and checks a mapping. `file` is how mistakes call it.
pub fn parse(file: &str, text: &str) -> Result<Mapping, Mistakes> {
    let root = document::read(file, text)?;
    let report = Report::new(file);
    let mapping = mapping(&report, &root);
    let warnings = report.finish()?;
    // Without mistakes there is a mapping.
    let digest = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    mapping.map(|mapping| Mapping { warnings, digest, ..mapping }).ok_or_else(|| Mistakes(Vec::new()))
}

fn mapping(report: &Report, root: &Node) -> Option<Mapping> {
    let section = Section::of(report, "", root)?;
    let system = section.need_text("system").map(str::to_owned);
    let revision = revision(&section);
    let zone = zone(&section);
    let written = section.take("numbers").and_then(|node| {
        let inner = Section::of(report, "numbers", node)?;
        let marks = marks(&inner);
        inner.finish();
        marks
    });
    let numbers = written.unwrap_or(Marks::PLAIN);
    let sentinels = sentinels(&section);
    let reading = Reading { zone: zone.clone().unwrap_or(TimeZone::UTC), marks: numbers };
    let mut tables = Tables::default();
    for (index, node) in section.list("dictionary").iter().enumerate() {
        dictionary(report, &format!("dictionary[{}]", index + 1), node, &mut tables, &reading);
    }
    let nodes = section.list("record");
    if nodes.is_empty() {
        section.tell(section.line, "record", "is missing: a mapping makes at least one kind of record");
    }
    let mut records: Vec<Record> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("record[{}]", index + 1);
        if let Some(record) = record(report, &path, node, &mut tables, &reading) {
            if records.iter().any(|known| known.name == record.name) {
                report.tell(node.line, &format!("{path}.name"), "another record has this name");
            }
            records.push(record);
        }
    }
    section.finish();
    if records.len() > RECORDS_MAX || tables.0.len() > TABLES_MAX {
        section.tell(section.line, "record", format!("more than {RECORDS_MAX} records or {TABLES_MAX} tables"));
    }
    let warnings = Vec::new();
    let (system, revision, zone) = (system?, revision?, zone?);
    let (lab, release, tables) = (Lab::shipped(), None, tables.0);
    Some(Mapping { system, revision, digest: 0, zone, sentinels, numbers, lab, release, tables, records, warnings })
}

fn revision(section: &Section<'_>) -> Option<u32> {
    let node = section.need("revision")?;
    let Content::Number(number) = node.content else {
        section.tell(node.line, "revision", "expected a whole number");
        return None;
    };
    let revision = u32::try_from(number).ok().filter(|revision| *revision >= 1 && i32::try_from(*revision).is_ok());
    if revision.is_none() {
        section.tell(node.line, "revision", "expected 1 or more");
    }
    revision
}

/// The zone of times without one.
fn zone(section: &Section<'_>) -> Option<TimeZone> {
    section.need("zone")?;
    zone_named(section)
}

/// `zone`, of the file or of a field.
pub fn zone_named(section: &Section<'_>) -> Option<TimeZone> {
    let name = section.text("zone")?;
    let zone = TimeZoneDatabase::bundled().get(name).ok();
    if zone.is_none() {
        section.tell(section.line_of("zone"), "zone", format!("no such time zone: {name}"));
    }
    zone
}

/// Days that mean "none" wherever times stand.
fn sentinels(section: &Section<'_>) -> Vec<jiff::civil::Date> {
    let day = |(line, text): (usize, &str)| {
        let day = text.parse().ok().filter(|day: &jiff::civil::Date| day.to_string() == text);
        if day.is_none() {
            section.tell(line, "sentinels", format!("expected days as 2100-12-31, not `{text}`"));
        }
        day
    };
    section.texts("sentinels").into_iter().filter_map(day).collect()
}

/// `decimal` and `grouping`: what the source's marks mean. None where neither is written.
pub fn marks(section: &Section<'_>) -> Option<Marks> {
    let mark = |name: &'static str, known: &[char]| {
        let text = section.text(name)?;
        let mut letters = text.chars();
        let mark = letters.next().filter(|mark| letters.next().is_none() && known.contains(mark));
        if mark.is_none() {
            let known: Vec<String> = known.iter().map(|mark| format!("\"{mark}\"")).collect();
            section.tell(section.line_of(name), name, format!("expected one of: {}", known.join(", ")));
        }
        mark
    };
    let (decimal, grouping) = (mark("decimal", &Marks::DECIMALS), mark("grouping", &Marks::GROUPINGS));
    if decimal.is_none() && grouping.is_none() {
        return None;
    }
    let marks = Marks { decimal: decimal.unwrap_or(Marks::PLAIN.decimal), grouping };
    if marks.grouping == Some(marks.decimal) {
        section.tell(
            section.line_of("grouping"),
            "grouping",
            "is the decimal mark too: one mark cannot be read two ways",
        );
    }
    Some(marks)
}

/// The tables named so far, each with the columns used so far.
#[derive(Default)]
pub struct Tables(Vec<Table>);

impl Tables {
    fn table(&mut self, section: &Section<'_>, name: &str) -> Option<usize> {
        let Some((schema, table)) =
            name.split_once('.').filter(|(schema, table)| !schema.is_empty() && !table.is_empty())
        else {
            section.tell(section.line_of("table"), "table", "expected schema.table");
            return None;
        };
        let id = TableId { schema: schema.into(), name: table.into() };
        let known = self.0.iter().position(|known| known.id == id);
        Some(known.unwrap_or_else(|| {
            self.0.push(Table { id, columns: Vec::new(), indexed: Vec::new(), dictionary: None });
            self.0.len() - 1
        }))
    }

    /// A column of the table itself, where a join's cell cannot stand.
    fn own(&mut self, section: &Section<'_>, line: usize, key: &str, table: usize, name: &str) -> usize {
        if name.contains('.') {
            section.tell(line, key, format!("expected a column of the table itself, not `{name}`"));
        }
        self.column(table, name)
    }

    pub fn column(&mut self, table: usize, name: &str) -> usize {
        let columns = &mut self.0[table].columns;
        columns.iter().position(|known| **known == *name).unwrap_or_else(|| {
            columns.push(Arc::from(name));
            columns.len() - 1
        })
    }

    fn index(&mut self, table: usize, column: usize) {
        let indexed = &mut self.0[table].indexed;
        if !indexed.contains(&column) {
            indexed.push(column);
        }
    }
}

fn dictionary(report: &Report, path: &str, node: &Node, tables: &mut Tables, reading: &Reading) {
    let Some(section) = Section::of(report, path, node) else { return };
    let table = section.need_text("table").and_then(|name| tables.table(&section, name));
    if let Some(table) = table {
        let mut scope = Scope { tables, table, joins: &[], root: None, reading };
        let conditions = scope.conditions(&section, "deleted_when");
        tables.0[table].dictionary = Some(conditions);
    } else {
        section.take("deleted_when");
    }
    section.finish();
}

fn record(report: &Report, path: &str, node: &Node, tables: &mut Tables, reading: &Reading) -> Option<Record> {
    let section = Section::of(report, path, node)?;
    let kind = section.need_text("kind").and_then(|text| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        if kind.is_none() {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            section.tell(section.line_of("kind"), "kind", format!("expected one of: {}", known.join(", ")));
        }
        kind
    });
    let name = section.need_text("name").map(str::to_owned);
    let table = section.need_text("table").and_then(|text| tables.table(&section, text));
    let (kind, name, table) = (kind?, name?, table?);
    if name.is_empty() || name.contains('/') {
        section.tell(section.line_of("name"), "name", "expected a word without `/`");
    }
    let ids = section.texts("id").into_iter();
    let id: Vec<usize> = ids.map(|(line, column)| tables.own(&section, line, "id", table, column)).collect();
    if id.is_empty() {
        section.tell(node.line, "id", "is missing: the columns that identify the record");
    } else {
        tables.index(table, id[0]);
    }
    let highest = highest(&section, tables, table);
    let joins = joins(&section, tables, table, reading);
    let mut scope = Scope { tables, table, joins: &joins, root: None, reading };
    let deleted_when = scope.conditions(&section, "deleted_when");
    let only_when = scope.conditions(&section, "only_when");
    let confidential_when = scope.conditions(&section, "confidential_when");
    let patient = scope.reference(&section, "patient");
    let organisation = scope.field(&section, "organisation");
    let entered_at = scope.time(&section, "entered_at");
    let effective_at = scope.time(&section, "effective_at");
    let effective_precision = bodies::precision(&section, &mut scope);
    let participants = bodies::many(&section, &mut scope, "participant", event::Participant::FIELDS);
    let location = scope.field(&section, "location");
    let body = bodies::body(kind, &section, &mut scope);
    section.finish();
    let patient = patient?;
    Some(Record {
        kind,
        name,
        table,
        id,
        highest,
        joins,
        deleted_when,
        only_when,
        confidential_when,
        patient,
        organisation,
        entered_at,
        effective_at,
        effective_precision,
        participants,
        location,
        body,
    })
}

fn highest(section: &Section<'_>, tables: &mut Tables, table: usize) -> Option<usize> {
    let column = section.text("highest")?;
    Some(tables.own(section, section.line_of("highest"), "highest", table, column))
}

/// `[record.join.NAME]`, in the order written: each may start from the ones before it.
fn joins(section: &Section<'_>, tables: &mut Tables, root: usize, reading: &Reading) -> Vec<Join> {
    let mut joins: Vec<Join> = Vec::new();
    let Some(node) = section.take("join") else { return joins };
    let Some(all) = Section::of(section.report, &section.key("join"), node) else { return joins };
    if all.entries().len() > JOINS_MAX {
        all.tell(node.line, "", format!("more than {JOINS_MAX} joins"));
    }
    for (name, node) in all.entries() {
        let Some(inner) = Section::of(section.report, &all.key(name), node) else { continue };
        let table = inner.need_text("table").and_then(|text| tables.table(&inner, text));
        let on = inner.need("on").and_then(|node| Section::of(section.report, &inner.key("on"), node));
        let (Some(table), Some(on)) = (table, on) else { continue };
        let mut join = Join { name: name.clone(), ..Join::of(table) };
        pairs(&on, tables, root, reading, &joins, &mut join);
        if on.entries().is_empty() {
            inner.tell(node.line, "on", "expected `their_column = \"our cell\"`");
        }
        join.highest = highest(&inner, tables, table);
        let mut own = Scope { tables, table, joins: &joins, root: Some(root), reading };
        join.only_when = own.conditions(&inner, "only_when");
        join.each = join.on.iter().filter_map(|(_, ours)| ours.join).find(|at| joins[*at].together.is_some());
        let between = join.each.and_then(|at| joins[at].together.clone());
        let own = inner.text("together").map(str::to_owned);
        join.all = own.is_some();
        join.together = own.or(between);
        inner.finish();
        joins.push(join);
    }
    joins
}

/// `on`: their columns, each with our cell, or with what it is.
fn pairs(on: &Section<'_>, tables: &mut Tables, root: usize, reading: &Reading, joins: &[Join], join: &mut Join) {
    for (theirs, node) in on.entries() {
        let column = |tables: &mut Tables| tables.own(on, node.line, theirs, join.table, theirs);
        match &node.content {
            Content::Text(text) => {
                let mut scope = Scope { tables, table: root, joins, root: None, reading };
                let Some(ours) = scope.cell(on, node.line, theirs, text) else { continue };
                let theirs = column(tables);
                if join.on.is_empty() {
                    tables.index(join.table, theirs);
                    let from = ours.join.map_or(root, |join| joins[join].table);
                    tables.index(from, ours.column);
                }
                join.on.push((theirs, ours));
            }
            Content::Table(_) => {
                let Some(constant) = Section::of(on.report, &on.key(theirs), node) else { continue };
                let is = constant.need("is").and_then(|node| scope::word(&constant, "is", node));
                constant.finish();
                join.constants.extend(is.map(|is| (column(tables), is)));
            }
            _ => on.tell(node.line, theirs, "expected the cell it equals, or `{ is = … }`"),
        }
    }
    if let (true, Some((first, _))) = (join.on.is_empty(), join.constants.first()) {
        tables.index(join.table, *first);
    }
}
