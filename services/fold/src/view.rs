//! One record with the rows that its joins found, and the fields of an event read from them.

use super::store::{Cells, Kept, RecordId, Stood, Store};
use change::{Cell, Position, Value};
use coding::value::{Marks, number};
use event::{Micros, PartialDate, Precision};
use mapping::{
    BodyRule, Condition, ENTERED_IN_ERROR, Field, Join, Look, Mapping, Record, Ref, Rest, State, TAKEN_BACK, Take,
    moment::{self, Moment},
    order, plain, shown,
};
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
    /// How the root row came, and where one of the rows was touched last.
    stands: Stood,
    latest: Position,
    pub doubts: RefCell<Vec<Doubt>>,
}

/// The rows of a view, apart from what it borrows.
pub struct Found {
    root: Cells,
    joined: Vec<Option<Cells>>,
    pub stands: Stood,
    pub latest: Position,
}

impl Found {
    pub fn view<'a>(self, mapping: &'a Mapping, source: &'a str, record: usize) -> View<'a> {
        let Self { root, joined, stands, latest } = self;
        let (record, doubts) = (&mapping.records[record], RefCell::default());
        View { mapping, record, source, root, joined, stands, latest, doubts }
    }
}

/// The record's row, chosen among those that share its identity and are not deleted, with its
/// joins; none when there is no such row or it makes no record of this kind.
pub fn find<'a>(mapping: &'a Mapping, source: &'a str, store: &impl Store, id: &RecordId) -> Option<View<'a>> {
    let record = &mapping.records[id.record];
    let mut chosen: Option<View<'a>> = None;
    for (_, row) in store.find(record.table, record.id[0], &id.id[0]) {
        let mut rest = record.id.iter().zip(id.id.iter()).skip(1);
        if !rest.all(|(column, want)| text(&row.cells, *column).as_ref() == Some(want)) {
            continue;
        }
        let view = of(mapping, source, store, record, row);
        if view.deleted() {
            continue;
        }
        if chosen.as_ref().is_none_or(|best| !beaten(record.highest, &view.root, &best.root)) {
            chosen = Some(view);
        }
    }
    chosen.filter(|view| !view.taken_back() && view.all(&view.record.only_when))
}

/// The last of the rows that share the record's identity, whatever they make of it: for who asks why there is no record.
pub fn any<'a>(mapping: &'a Mapping, source: &'a str, store: &impl Store, id: &RecordId) -> Option<View<'a>> {
    let record = &mapping.records[id.record];
    let of_it = |(_, row): &(_, Kept)| {
        record.id.iter().zip(id.id.iter()).all(|(column, want)| text(&row.cells, *column).as_ref() == Some(want))
    };
    let (_, row) = store.find(record.table, record.id[0], &id.id[0]).into_iter().rfind(of_it)?;
    Some(of(mapping, source, store, record, row))
}

/// This row of a record's root table, with its joins.
pub fn of<'a>(mapping: &'a Mapping, source: &'a str, store: &impl Store, record: &'a Record, root: Kept) -> View<'a> {
    let joined = Vec::with_capacity(record.joins.len());
    let Kept { cells: root, stands } = root;
    let latest = stands.position;
    let mut view = View { mapping, record, source, root, joined, stands, latest, doubts: RefCell::default() };
    for join in &record.joins {
        let found = self::joined(store, &view, join).map(|row| {
            view.latest = view.latest.max(row.stands.position);
            row.cells
        });
        view.joined.push(found);
    }
    view
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

fn joined(store: &impl Store, view: &View<'_>, join: &Join) -> Option<Kept> {
    let wanted =
        join.on.iter().map(|(theirs, ours)| Some((*theirs, view.plain(*ours)?))).collect::<Option<Vec<_>>>()?;
    let ((first, value), rest) = wanted.split_first()?;
    let mut best: Option<Kept> = None;
    for (_, row) in store.find(join.table, *first, value) {
        let same = rest.iter().all(|(column, want)| text(&row.cells, *column).as_ref() == Some(want));
        let own = Own { mapping: view.mapping, cells: &row.cells };
        let held = join.only_when.iter().all(|condition| condition.holds(&own));
        if same && held && best.as_ref().is_none_or(|best| !beaten(join.highest, &row.cells, &best.cells)) {
            best = Some(row);
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
        _ => order(&plain(a), &plain(b)),
    }
}

/// A row by itself, as conditions look at it.
pub struct Own<'a> {
    pub mapping: &'a Mapping,
    pub cells: &'a Cells,
}

impl Look for Own<'_> {
    fn plain(&self, at: Ref) -> Option<String> {
        text(self.cells, at.column)
    }

    fn absent(&self, at: Ref) -> bool {
        match &self.cells[at.column] {
            Cell::Value(value) => moment::is_nothing(value, &self.mapping.sentinels, &self.mapping.zone),
            Cell::Null | Cell::Unchanged => true,
        }
    }

    fn there(&self, _: Ref) -> bool {
        true
    }
}

impl Look for View<'_> {
    fn plain(&self, at: Ref) -> Option<String> {
        self.value(at).map(plain)
    }

    fn absent(&self, at: Ref) -> bool {
        self.value(at).is_none_or(|value| self.is_nothing(value))
    }

    fn there(&self, at: Ref) -> bool {
        at.join.is_none_or(|join| self.joined.get(join).is_some_and(Option::is_some))
    }
}

impl View<'_> {
    pub const fn stood(&self) -> Stood {
        self.stands
    }

    pub fn found(self) -> Found {
        let Self { root, joined, stands, latest, .. } = self;
        Found { root, joined, stands, latest }
    }

    /// The first join that finds no row, and whose table is one of these.
    pub fn unresolved(&self, of_these: impl Fn(usize) -> bool) -> Option<&Join> {
        let joins = self.record.joins.iter().zip(&self.joined);
        joins.filter(|(_, found)| found.is_none()).map(|(join, _)| join).find(|join| of_these(join.table))
    }

    pub fn value(&self, at: Ref) -> Option<&Value> {
        let cells = match at.join {
            None => &self.root,
            Some(join) => self.joined.get(join)?.as_ref()?,
        };
        match &cells[at.column] {
            Cell::Value(value) => Some(value),
            Cell::Null | Cell::Unchanged => None,
        }
    }

    /// A time that stands for "none".
    fn is_nothing(&self, value: &Value) -> bool {
        moment::is_nothing(value, &self.mapping.sentinels, &self.mapping.zone)
    }

    /// Is the row deleted, by what it and the rows it is joined to say?
    pub fn deleted(&self) -> bool {
        self.asserted(&self.record.deleted_when)
    }

    /// Does the record's own status take it away? The newest row decides: an earlier one does not come back.
    fn taken_back(&self) -> bool {
        let (status, known) = match &self.record.body {
            BodyRule::Observation(rule) => (rule.status.as_ref(), &TAKEN_BACK[..]),
            BodyRule::Medication(rule) => {
                let error = rule.status_when.iter().find(|(status, _)| *status == ENTERED_IN_ERROR);
                if error.is_some_and(|(_, conditions)| self.asserted_all(conditions)) {
                    return true;
                }
                (rule.status.as_ref(), &[ENTERED_IN_ERROR][..])
            }
            _ => return false,
        };
        matches!(self.state(status), State::Listed(word) if known.contains(&word.as_str()))
    }

    /// Any of these, none of which a missing row can meet unless that is what it asks for.
    pub fn asserted(&self, conditions: &[Condition]) -> bool {
        conditions.iter().any(|condition| self.stands(condition))
    }

    /// All of these, and at least one.
    pub fn asserted_all(&self, conditions: &[Condition]) -> bool {
        !conditions.is_empty() && conditions.iter().all(|condition| self.stands(condition))
    }

    fn stands(&self, condition: &Condition) -> bool {
        condition.stands(self)
    }

    /// The source's own key of the patient: only where the whole chain of joins is there.
    pub fn patient(&self) -> Option<String> {
        self.plain(self.record.patient).filter(|key| !key.is_empty())
    }

    pub fn all(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| condition.holds(self))
    }

    pub fn any(&self, conditions: &[Condition]) -> bool {
        conditions.iter().any(|condition| condition.holds(self))
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
            value => {
                let zone = &self.mapping.zone;
                self.is_nothing(value)
                    || !field.nulls.is_empty() && field.nulls.contains(&plain(value))
                    || field.null_days.iter().any(|day| moment::is_on(value, *day, zone))
            }
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
            match (field.words.get(plain(value).trim()), &field.rest) {
                (Some(word), _) | (None, Rest::Word(word)) => (!word.is_empty()).then(|| word.clone()),
                (None, Rest::AsWritten) => Some(shown(value).trim().to_owned()),
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

    /// A field with a vocabulary: the mapping's word, or the source's where the mapping has none.
    pub fn state(&self, field: Option<&Field>) -> State {
        let Some(field) = field.filter(|field| self.all(&field.when)) else { return State::Nothing };
        let Some((_, value)) = self.first(Some(field)) else {
            return field.otherwise.clone().map_or(State::Nothing, State::Listed);
        };
        match field.words.get(plain(value).trim()) {
            Some(word) if word.is_empty() => State::Nothing,
            Some(word) => State::Listed(word.clone()),
            None => State::Unlisted(shown(value).trim().to_owned()),
        }
    }

    fn doubt(&self, reason: &'static str, at: Ref) {
        let table = at.join.map_or(self.record.table, |join| self.record.joins[join].table);
        let table = &self.mapping.tables[table];
        self.doubts.borrow_mut().push(Doubt { reason, detail: format!("{}.{}", table.id, table.columns[at.column]) });
    }

    pub fn time(&self, field: Option<&Field>) -> Option<Micros> {
        self.moment(field, "unreadable time").map(|moment| moment.at)
    }

    fn moment(&self, field: Option<&Field>, unreadable: &'static str) -> Option<Moment> {
        let (at, value) = self.first(field)?;
        let moment = moment::read(value, field.map_or(&[], |field| &field.formats), &self.mapping.zone);
        if moment.is_none() {
            self.doubt(unreadable, at);
        }
        moment
    }

    /// When it was so, as exactly as it is known.
    pub fn effective(&self) -> Option<Moment> {
        let moment = self.moment(self.record.effective_at.as_ref(), "unreadable time")?;
        let told = self.record.effective_precision.as_ref();
        Some(match self.state(told) {
            State::Listed(word) => {
                Precision::parse(&word).map_or(moment, |precision| moment.to(precision, &self.mapping.zone))
            }
            State::Unlisted(_) => {
                self.doubted("unknown precision", told);
                moment
            }
            State::Nothing => moment,
        })
    }

    /// Days since 1970-01-01; or the year or month, where no more is known.
    pub fn day(&self, field: Option<&Field>) -> (Option<i32>, Option<PartialDate>) {
        let Some((at, value)) = self.first(field) else { return (None, None) };
        let formats = field.map_or(&[][..], |field| &field.formats);
        let known = moment::read(value, formats, &self.mapping.zone).and_then(|moment| {
            let day = jiff::Timestamp::from_microsecond(moment.at).ok()?.to_zoned(self.mapping.zone.clone()).date();
            let partial = |month| Some((None, Some(PartialDate::new(u16::try_from(day.year()).ok()?, month)?)));
            match moment.precision {
                Some(Precision::Year) => partial(None),
                Some(Precision::Month) => partial(Some(u8::try_from(day.month()).ok()?)),
                Some(Precision::Day) | None => Some((Some(day_of(day)?), None)),
            }
        });
        known.unwrap_or_else(|| {
            self.doubt("unreadable date", at);
            (None, None)
        })
    }

    /// A limit of a range: infinity is no limit.
    pub fn limit(&self, field: Option<&Field>, marks: Marks) -> Option<Decimal> {
        let (at, value) = self.first(field)?;
        let text = shown(value);
        let text = text.trim();
        if ["Infinity", "-Infinity", "inf", "-inf", "infinity", "-infinity"].contains(&text) {
            return None;
        }
        let number = number(text, marks_of(value, marks));
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

/// The mapping's marks are about text; PostgreSQL writes its own numbers with a point.
pub const fn marks_of(value: &Value, marks: Marks) -> Marks {
    match value {
        Value::Text(_) => marks,
        _ => Marks::PLAIN,
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

fn day_of(date: jiff::civil::Date) -> Option<i32> {
    date.since(jiff::civil::date(1970, 1, 1)).ok().map(|span| span.get_days())
}
