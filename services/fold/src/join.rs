//! The rows that a join finds: one of them, or all together.

use super::{
    store::{Cells, Kept, Store},
    view::{self, View},
};
use change::{Cell, Value};
use mapping::{Join, Look, ROW, Ref, TOGETHER_MAX, moment, order, plain, shown};
use std::cmp::Ordering;

/// A join that takes all rows found more than anybody reads.
const TOO_MANY: &str = "too many joined rows";

/// A row that a join may find, as its conditions look at it: its own cells, and those that were there before it.
struct Candidate<'a> {
    view: &'a View<'a>,
    cells: &'a Cells,
}

impl Look for Candidate<'_> {
    fn value(&self, at: Ref) -> Option<&Value> {
        match at.join {
            None => view::told(&self.cells[at.column]),
            Some(ROW) => self.view.value(Ref { join: None, ..at }),
            Some(_) => self.view.value(at),
        }
    }

    fn absent(&self, at: Ref) -> bool {
        let nothing = |value| moment::is_nothing(value, &self.view.mapping.sentinels, &self.view.mapping.zone);
        self.value(at).is_none_or(nothing)
    }

    fn there(&self, at: Ref) -> bool {
        at.join.is_none_or(|join| join == ROW || self.view.there(at))
    }
}

/// The rows that it takes, in their order: one at most, unless they are taken together.
pub fn find(store: &impl Store, view: &View<'_>, join: &Join) -> Vec<Kept> {
    let Some(each) = join.each else { return rows(store, view, join, None) };
    let parents = &view.together[each];
    let mut all: Vec<Kept> = parents.iter().flat_map(|parent| rows(store, view, join, Some((each, parent)))).collect();
    few(view, join, &mut all);
    all
}

/// Of one row of a join before it, where that has several.
fn rows(store: &impl Store, view: &View<'_>, join: &Join, parent: Option<(usize, &Cells)>) -> Vec<Kept> {
    let ours = |at: Ref| match parent {
        Some((each, cells)) if at.join == Some(each) => view::text(cells, at.column),
        _ => view.plain(at),
    };
    let linked = join.on.iter().map(|(theirs, at)| Some((*theirs, ours(*at)?))).collect::<Option<Vec<_>>>();
    let Some(mut wanted) = linked else { return Vec::new() };
    wanted.extend(join.constants.iter().cloned());
    let Some(((first, value), rest)) = wanted.split_first() else { return Vec::new() };
    let mut found = store.find(join.table, *first, value);
    found.retain(|(_, row)| {
        let held = || {
            let candidate = Candidate { view, cells: &row.cells };
            view.judged(mapping::all(join.only_when.iter().map(|it| it.holds(&candidate))), false)
        };
        rest.iter().all(|(column, want)| view::text(&row.cells, *column).as_ref() == Some(want)) && held()
    });
    let mut rows: Vec<Kept> = found.into_iter().map(|(_, row)| row).collect();
    if join.all {
        if let Some(column) = join.highest {
            rows.sort_by(|a, b| compare(&a.cells[column], &b.cells[column]));
        }
        few(view, join, &mut rows);
        return rows;
    }
    let better = |best: Kept, row: Kept| if beaten(join.highest, &row.cells, &best.cells) { best } else { row };
    rows.into_iter().reduce(better).into_iter().collect()
}

/// The first of them, and a doubt, where there are too many.
fn few(view: &View<'_>, join: &Join, rows: &mut Vec<Kept>) {
    if rows.len() > TOGETHER_MAX {
        view.doubt_of(TOO_MANY, view.mapping.tables[join.table].id.to_string());
        rows.truncate(TOGETHER_MAX);
    }
}

/// One row of them: what each column says in all of them, together.
pub fn one(join: &Join, rows: &[Cells]) -> Option<Cells> {
    let (first, rest) = rows.split_first()?;
    let Some(between) = join.together.as_ref().filter(|_| !rest.is_empty()) else { return Some(first.clone()) };
    let cell = |column: usize| {
        let said = rows.iter().filter_map(|row| view::told(&row[column])).map(shown);
        let said: Vec<String> = said.filter(|text| !text.trim().is_empty()).collect();
        if said.is_empty() { Cell::Null } else { Cell::Value(Value::Text(said.join(between))) }
    };
    Some((0..first.len()).map(cell).collect::<Vec<_>>().into())
}

/// Keys come in ascending order, so a tie goes to the later one.
pub fn beaten(highest: Option<usize>, cells: &Cells, best: &Cells) -> bool {
    highest.is_some_and(|column| compare(&cells[column], &best[column]) == Ordering::Less)
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
