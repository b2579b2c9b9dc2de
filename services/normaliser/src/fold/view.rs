//! One record with the rows that its joins found, and the fields of an event read from them.

use super::store::{Cells, Key, RecordId, Store};
use crate::mapping::{Condition, Field, Join, Mapping, Record, Ref, Take, civil, date as calendar, plain, shown};
use change::{Cell, Value};
use event::Micros;
use jiff::{civil::DateTime, tz::TimeZone};
use rust_decimal::Decimal;
use std::{cell::RefCell, cmp::Ordering};

/// Something of a record that could not be read as what the mapping says it is. The event goes
/// out without it; the row goes to quarantine too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub reason: &'static str,
    /// `schema.table.column`.
    pub detail: String,
}

pub struct View<'a> {
    pub mapping: &'a Mapping,
    pub record: &'a Record,
    pub source: &'a str,
    root: Cells,
    joined: Vec<Option<Cells>>,
    pub doubts: RefCell<Vec<Doubt>>,
}

/// The record's row, chosen among those that share its identity and are not deleted, with its
/// joins; none when there is no such row or it makes no record of this kind.
pub fn find<'a>(mapping: &'a Mapping, source: &'a str, store: &impl Store, id: &RecordId) -> Option<View<'a>> {
    let record = &mapping.records[id.record];
    let mut chosen: Option<(Key, Cells)> = None;
    for key in store.find(record.table, record.id[0], &id.id[0]) {
        let Some(cells) = store.get(record.table, &key) else { continue };
        let same =
            record.id.iter().zip(id.id.iter()).all(|(column, want)| text(&cells, *column).as_ref() == Some(want));
        if !same || deleted(record, &cells) {
            continue;
        }
        if chosen.as_ref().is_none_or(|(_, best)| !beaten(record.highest, &cells, best)) {
            chosen = Some((key, cells));
        }
    }
    let (_, root) = chosen?;
    let mut view = View {
        mapping,
        record,
        source,
        root,
        joined: Vec::with_capacity(record.joins.len()),
        doubts: RefCell::default(),
    };
    for join in &record.joins {
        let found = joined(store, &view, join);
        view.joined.push(found);
    }
    view.all(&record.only_when).then_some(view)
}

/// Is the row deleted, by what it says of itself?
pub fn deleted(record: &Record, cells: &Cells) -> bool {
    !record.deleted_when.is_empty()
        && record
            .deleted_when
            .iter()
            .any(|condition| condition.holds(&|at: Ref| if at.join.is_none() { text(cells, at.column) } else { None }))
}

pub fn text(cells: &Cells, column: usize) -> Option<String> {
    match &cells[column] {
        Cell::Value(value) => Some(plain(value)),
        Cell::Null | Cell::Unchanged => None,
    }
}

/// Keys come in ascending order, so a tie goes to the later one.
fn beaten(highest: Option<usize>, cells: &Cells, best: &Cells) -> bool {
    highest.is_some_and(|column| compare(&cells[column], &best[column]) == Ordering::Less)
}

fn joined(store: &impl Store, view: &View<'_>, join: &Join) -> Option<Cells> {
    let wanted =
        join.on.iter().map(|(theirs, ours)| Some((*theirs, view.plain(*ours)?))).collect::<Option<Vec<_>>>()?;
    let (first, value) = wanted.first()?;
    let mut best: Option<Cells> = None;
    for key in store.find(join.table, *first, value) {
        let Some(cells) = store.get(join.table, &key) else { continue };
        let same = wanted.iter().all(|(column, want)| text(&cells, *column).as_ref() == Some(want));
        let held = join.only_when.iter().all(|condition| condition.holds(&|at: Ref| text(&cells, at.column)));
        if same && held && best.as_ref().is_none_or(|best| !beaten(join.highest, &cells, best)) {
            best = Some(cells);
        }
    }
    best
}

/// NULL is lowest; numbers and times by value, the rest as text.
fn compare(a: &Cell, b: &Cell) -> Ordering {
    let (Cell::Value(a), Cell::Value(b)) = (a, b) else {
        return matches!(a, Cell::Value(_)).cmp(&matches!(b, Cell::Value(_)));
    };
    match (a, b) {
        (Value::Int(a), Value::Int(b))
        | (Value::Timestamp(a), Value::Timestamp(b))
        | (Value::TimestampTz(a), Value::TimestampTz(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        _ => {
            let (a, b) = (plain(a), plain(b));
            match (a.parse::<Decimal>(), b.parse::<Decimal>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                _ => a.cmp(&b),
            }
        }
    }
}

impl View<'_> {
    fn value(&self, at: Ref) -> Option<&Value> {
        let cells = match at.join {
            None => &self.root,
            Some(join) => self.joined.get(join)?.as_ref()?,
        };
        match &cells[at.column] {
            Cell::Value(value) => Some(value),
            Cell::Null | Cell::Unchanged => None,
        }
    }

    fn plain(&self, at: Ref) -> Option<String> {
        self.value(at).map(plain)
    }

    /// The source's own key of the patient: only where the whole chain of joins is there.
    pub fn patient(&self) -> Option<String> {
        self.plain(self.record.patient).filter(|key| !key.is_empty())
    }

    pub fn all(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| condition.holds(&|at| self.plain(at)))
    }

    pub fn any(&self, conditions: &[Condition]) -> bool {
        conditions.iter().any(|condition| condition.holds(&|at| self.plain(at)))
    }

    /// The first cell of a field that says something, unless the field's condition fails.
    pub fn first(&self, field: Option<&Field>) -> Option<(Ref, &Value)> {
        let field = field.filter(|field| self.all(&field.when))?;
        field.cells.iter().find_map(|at| self.meant(field, *at).map(|value| (*at, value)))
    }

    fn meant(&self, field: &Field, at: Ref) -> Option<&Value> {
        let value = self.value(at)?;
        let nothing = match value {
            Value::Text(text) if text.trim().is_empty() => true,
            value => !field.nulls.is_empty() && field.nulls.contains(&plain(value)),
        };
        (!nothing).then_some(value)
    }

    pub fn text(&self, field: Option<&Field>) -> Option<String> {
        let field = field?;
        if !self.all(&field.when) {
            return None;
        }
        let told = |at: &Ref| {
            let value = self.meant(field, *at)?;
            match field.words.get(plain(value).trim()) {
                Some(word) if word.is_empty() => None,
                Some(word) => Some(word.clone()),
                None => Some(shown(value).trim().to_owned()),
            }
        };
        let said = match &field.take {
            Take::First => {
                // A word that means nothing ends the search: the cell was there.
                field.cells.iter().find(|at| self.meant(field, **at).is_some()).map(told)
            }
            Take::Together(between) => {
                let parts: Vec<String> = field.cells.iter().filter_map(told).collect();
                (!parts.is_empty()).then(|| Some(parts.join(between)))
            }
        };
        said.unwrap_or_else(|| field.otherwise.clone())
    }

    fn doubt(&self, reason: &'static str, at: Ref) {
        let table = at.join.map_or(self.record.table, |join| self.record.joins[join].table);
        let table = &self.mapping.tables[table];
        self.doubts.borrow_mut().push(Doubt { reason, detail: format!("{}.{}", table.id, table.columns[at.column]) });
    }

    pub fn time(&self, field: Option<&Field>) -> Option<Micros> {
        let (at, value) = self.first(field)?;
        let micros = match value {
            Value::TimestampTz(micros) => Some(*micros),
            Value::Timestamp(micros) => civil(*micros).and_then(|at| in_zone(at, &self.mapping.zone)),
            Value::Date(days) => date(*days).and_then(|date| in_zone(date, &self.mapping.zone)),
            Value::Text(text) => instant(text, &self.mapping.zone),
            _ => None,
        };
        if micros.is_none() {
            self.doubt("unreadable time", at);
        }
        micros
    }

    /// Days since 1970-01-01.
    pub fn day(&self, field: Option<&Field>) -> Option<i32> {
        let (at, value) = self.first(field)?;
        let days = match value {
            Value::Date(days) => Some(*days),
            Value::TimestampTz(micros) => jiff::Timestamp::from_microsecond(*micros)
                .ok()
                .and_then(|at| day_of(at.to_zoned(self.mapping.zone.clone()).date())),
            Value::Timestamp(micros) => civil(*micros).and_then(|at| day_of(at.date())),
            Value::Text(text) => text.trim().parse::<jiff::civil::Date>().ok().and_then(day_of),
            _ => None,
        };
        if days.is_none() {
            self.doubt("unreadable date", at);
        }
        days
    }

    /// A limit of a range: infinity is no limit.
    pub fn limit(&self, field: Option<&Field>) -> Option<Decimal> {
        let (at, value) = self.first(field)?;
        let text = plain(value);
        if ["Infinity", "-Infinity", "inf", "-inf", "infinity", "-infinity"].contains(&text.as_str()) {
            return None;
        }
        let number = text.parse().ok();
        if number.is_none() {
            self.doubt("unreadable limit", at);
        }
        number
    }

    pub fn doubted(&self, reason: &'static str, field: Option<&Field>) {
        if let Some((at, _)) = self.first(field) {
            self.doubt(reason, at);
        }
    }

    /// The root row's columns, for quarantine.
    pub fn original(&self) -> Vec<u8> {
        original(&self.mapping.tables[self.record.table].columns, &self.root)
    }
}

/// The columns of a row that the mapping uses, as a JSON object.
pub fn original(columns: &[std::sync::Arc<str>], cells: &[Cell]) -> Vec<u8> {
    let entry = |(name, cell): (&std::sync::Arc<str>, &Cell)| {
        let value = match cell {
            Cell::Null => serde_json::Value::Null,
            Cell::Unchanged => serde_json::json!({ "unchanged": true }),
            Cell::Value(value) => serde_json::Value::String(shown(value)),
        };
        (name.to_string(), value)
    };
    let object: serde_json::Map<String, serde_json::Value> = columns.iter().zip(cells).map(entry).collect();
    serde_json::Value::Object(object).to_string().into_bytes()
}

fn date(days: i32) -> Option<DateTime> {
    calendar(days).map(|date| date.to_datetime(jiff::civil::Time::midnight()))
}

fn day_of(date: jiff::civil::Date) -> Option<i32> {
    date.since(jiff::civil::date(1970, 1, 1)).ok().map(|span| span.get_days())
}

/// Where a clock was turned back and a time came twice, the first; where it was skipped, the one after.
fn in_zone(at: DateTime, zone: &TimeZone) -> Option<Micros> {
    zone.to_ambiguous_zoned(at).compatible().ok().map(|at| at.timestamp().as_microsecond())
}

fn instant(text: &str, zone: &TimeZone) -> Option<Micros> {
    let text = text.trim();
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_microsecond());
    }
    in_zone(text.parse::<DateTime>().ok()?, zone)
}
