//! One record with the rows that its joins found, and the fields of an event read from them.

use super::{
    join,
    store::{Cells, Kept, RecordId, Stood, Store},
};
use change::{Cell, Position, Value};
use mapping::{
    BodyRule, Broken, Condition, ENTERED_IN_ERROR, Expr, Join, Judged, Look, Mapping, Record, Ref, State, TAKEN_BACK,
    moment, plain, shown,
};
use std::cell::{self, RefCell};

/// Something of a record that could not be read as what the mapping says it is. The event goes
/// out without it; the row goes to quarantine too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub reason: &'static str,
    /// `schema.table.column`.
    pub detail: String,
}

/// An expression gave nothing, for a reason.
pub const BROKEN: &str = "expression failed";

/// Where a value is from.
#[derive(Clone, Copy)]
pub enum At<'a> {
    Cell(Ref),
    Expr(&'a Expr),
}

pub struct View<'a> {
    pub mapping: &'a Mapping,
    pub record: &'a Record,
    pub source: &'a str,
    root: Cells,
    pub joined: Vec<Option<Cells>>,
    /// By join: all its rows, where they are taken together.
    pub together: Vec<Vec<Cells>>,
    /// How the root row came, and where one of the rows was touched last.
    stands: Stood,
    latest: Position,
    pub doubts: RefCell<Vec<Doubt>>,
    /// An expression failed that decides whether there is such a record.
    unjudged: cell::Cell<bool>,
}

/// The rows of a view, apart from what it borrows.
pub struct Found {
    root: Cells,
    joined: Vec<Option<Cells>>,
    pub stands: Stood,
    pub latest: Position,
    doubts: Vec<Doubt>,
    unjudged: bool,
}

impl Found {
    pub fn view<'a>(self, mapping: &'a Mapping, source: &'a str, record: usize) -> View<'a> {
        let Self { root, joined, stands, latest, doubts, unjudged } = self;
        let (record, doubts, unjudged) = (&mapping.records[record], RefCell::new(doubts), cell::Cell::new(unjudged));
        let together = Vec::new();
        View { mapping, record, source, root, joined, together, stands, latest, doubts, unjudged }
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
        if chosen.as_ref().is_none_or(|best| !join::beaten(record.highest, &view.root, &best.root)) {
            chosen = Some(view);
        }
    }
    chosen.filter(|view| !view.taken_back() && view.arises())
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
    let (joined, together) = (Vec::with_capacity(record.joins.len()), Vec::new());
    let Kept { cells: root, stands } = root;
    let latest = stands.position;
    let (doubts, unjudged) = (RefCell::default(), cell::Cell::default());
    let mut view = View { mapping, record, source, root, joined, together, stands, latest, doubts, unjudged };
    for join in &record.joins {
        let rows = join::find(store, &view, join);
        let latest = rows.iter().map(|row| row.stands.position).max();
        view.latest = view.latest.max(latest.unwrap_or(view.latest));
        let rows: Vec<Cells> = rows.into_iter().map(|row| row.cells).collect();
        view.joined.push(join::one(join, &rows));
        view.together.push(if join.together.is_some() { rows } else { Vec::new() });
    }
    view
}

pub fn text(cells: &Cells, column: usize) -> Option<String> {
    match &cells[column] {
        Cell::Value(value) => Some(plain(value)),
        Cell::Null | Cell::Unchanged => None,
    }
}

pub const fn told(cell: &Cell) -> Option<&Value> {
    match cell {
        Cell::Value(value) => Some(value),
        Cell::Null | Cell::Unchanged => None,
    }
}

/// A row by itself, as conditions look at it.
pub struct Own<'a> {
    pub mapping: &'a Mapping,
    pub cells: &'a Cells,
}

impl Look for Own<'_> {
    fn value(&self, at: Ref) -> Option<&Value> {
        told(&self.cells[at.column])
    }

    fn absent(&self, at: Ref) -> bool {
        let nothing = |value| moment::is_nothing(value, &self.mapping.sentinels, &self.mapping.zone);
        self.value(at).is_none_or(nothing)
    }

    fn there(&self, _: Ref) -> bool {
        true
    }
}

impl Look for View<'_> {
    fn value(&self, at: Ref) -> Option<&Value> {
        let cells = match at.join {
            None => &self.root,
            Some(join) => self.joined.get(join)?.as_ref()?,
        };
        told(&cells[at.column])
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
        let Self { root, joined, stands, latest, doubts, unjudged, .. } = self;
        Found { root, joined, stands, latest, doubts: doubts.into_inner(), unjudged: unjudged.get() }
    }

    /// The first join that finds no row, and whose table is one of these.
    pub fn unresolved(&self, of_these: impl Fn(usize) -> bool) -> Option<&Join> {
        let joins = self.record.joins.iter().zip(&self.joined);
        joins.filter(|(_, found)| found.is_none()).map(|(join, _)| join).find(|join| of_these(join.table))
    }

    /// A time that stands for "none".
    pub fn is_nothing(&self, value: &Value) -> bool {
        moment::is_nothing(value, &self.mapping.sentinels, &self.mapping.zone)
    }

    /// Is the row deleted, by what it and the rows it is joined to say?
    pub fn deleted(&self) -> bool {
        self.decided(mapping::any(self.record.deleted_when.iter().map(|it| it.stands(self))), false)
    }

    /// Do its rows make a record of this kind?
    fn arises(&self) -> bool {
        self.decided(mapping::all(self.record.only_when.iter().map(|it| it.holds(self))), true)
    }

    /// Did an expression fail that decides whether there is such a record?
    pub const fn unjudged(&self) -> bool {
        self.unjudged.get()
    }

    fn decided(&self, judged: Judged<'_>, failed: bool) -> bool {
        if judged.is_err() {
            self.unjudged.set(true);
        }
        self.judged(judged, failed)
    }

    /// The answer; where an expression failed, this one, and a doubt.
    pub fn judged(&self, judged: Judged<'_>, failed: bool) -> bool {
        judged.unwrap_or_else(|broken| {
            self.broken(broken);
            failed
        })
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
        self.judged(mapping::any(conditions.iter().map(|it| it.stands(self))), false)
    }

    /// All of these, and at least one.
    pub fn asserted_all(&self, conditions: &[Condition]) -> bool {
        !conditions.is_empty() && self.judged(mapping::all(conditions.iter().map(|it| it.stands(self))), false)
    }

    /// The source's own key of the patient: only where the whole chain of joins is there.
    pub fn patient(&self) -> Option<String> {
        self.plain(self.record.patient).filter(|key| !key.is_empty())
    }

    /// All of these. Where an expression fails, `failed`: what is safe to say.
    pub fn all(&self, conditions: &[Condition], failed: bool) -> bool {
        self.judged(mapping::all(conditions.iter().map(|it| it.holds(self))), failed)
    }

    pub fn any(&self, conditions: &[Condition], failed: bool) -> bool {
        self.judged(mapping::any(conditions.iter().map(|it| it.holds(self))), failed)
    }

    pub fn doubt(&self, reason: &'static str, at: At<'_>) {
        let place = |table: usize| &self.mapping.tables[table];
        self.doubt_of(
            reason,
            match at {
                At::Cell(Ref { join, column }) => {
                    let table = place(join.map_or(self.record.table, |join| self.record.joins[join].table));
                    format!("{}.{}", table.id, table.columns[column])
                }
                At::Expr(expr) => self.key_of(expr),
            },
        );
    }

    /// `schema.table record.key`.
    fn key_of(&self, expr: &Expr) -> String {
        format!("{} {}.{}", self.mapping.tables[self.record.table].id, self.record.name, expr.key)
    }

    /// Of an expression: why it failed, and never on what.
    pub fn broken(&self, Broken { expr, failure }: Broken<'_>) {
        self.doubt_of(BROKEN, format!("{}: {failure}", self.key_of(expr)));
    }

    /// Told once.
    pub fn doubt_of(&self, reason: &'static str, detail: String) {
        let doubt = Doubt { reason, detail };
        let mut doubts = self.doubts.borrow_mut();
        if !doubts.contains(&doubt) {
            doubts.push(doubt);
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
