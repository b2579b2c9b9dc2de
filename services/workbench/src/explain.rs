//! How one record came to be, cell by cell: which rows, which joins, which conditions, and what each field made of its cells.
//!
//! What it holds are a patient's values. It is made only for who asks for this very record.

use crate::{
    cases::Entry,
    sample::Sample,
    uses::{self, Use, Wants},
};
use fold::{
    Fold, Output,
    view::{At, View},
};
use mapping::{Condition, Expr, Field, Judged, Look, Mapping, Record, Ref, State, Take, Test, shown};
use std::{fmt::Write, sync::Arc};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The record's own row: its table and identity, and why there is no event where there is none.
    pub head: String,
    /// Each join, with the values that it looked for and whether it found a row.
    pub joins: Vec<String>,
    /// Each condition, with what it looked at and whether it holds.
    pub conditions: Vec<String>,
    /// Each field: its key, the cells that it looked at, and what it told.
    pub fields: Vec<Told>,
    /// What came of it all.
    pub came: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub key: String,
    /// In the order in which they were looked at.
    pub cells: Vec<String>,
    pub told: Option<String>,
}

/// Which record a name is of, such as `result/4711`.
pub fn identity(mapping: &Mapping, name: &str) -> Option<fold::store::RecordId> {
    fold::record_id(mapping, name)
}

/// Of a record by its name, such as `result/4711`, from the rows that were read for it.
pub fn explain(
    mapping: &Arc<Mapping>,
    (source, organisation): (&str, &str),
    name: &str,
    sample: &Sample<'_>,
) -> Explanation {
    let mut fold = Fold::new(mapping.clone(), source, organisation);
    let outputs = fold.step(&sample.entries());
    let of_it = |output: &&Output| match output {
        Output::Event(event) => event.record == name,
        Output::Quarantined(item) => {
            item.item.as_deref().is_some_and(|item| item.starts_with(&format!("{source}:{name}:")))
        }
    };
    let came = outputs.iter().filter(of_it).map(Entry::of).collect();
    let Some(id) = identity(mapping, name) else {
        return Explanation { head: format!("the mapping makes no record `{name}`"), ..Explanation::default() };
    };
    let record = &mapping.records[id.record];
    let table = &mapping.tables[record.table];
    let own = sample.own();
    let id_columns: Vec<&str> = record.id.iter().map(|column| &*table.columns[*column]).collect();
    let of = format!("{} where {} = {}", table.id, id_columns.join(", "), id.id.join(", "));
    let Some(view) = fold::view::find(mapping, source, fold.store(), &id) else {
        let why = if own == 0 {
            "no such row".to_owned()
        } else {
            format!("{own} rows, all of them deleted, or taken back, or without what `only_when` asks for")
        };
        let mut explanation = Explanation { head: format!("{of}: {why}"), came, ..Explanation::default() };
        // The conditions of the row that there is say why.
        if let Some(view) = fold::view::any(mapping, source, fold.store(), &id) {
            let it = Of { mapping, record, view: &view };
            explanation.joins = it.joins();
            explanation.conditions = it.conditions();
            explanation.fields = it.fields(id.record);
        }
        return explanation;
    };
    let rows = if own == 1 { String::new() } else { format!(": of {own} rows the one that counts") };
    let it = Of { mapping, record, view: &view };
    let (joins, conditions, fields) = (it.joins(), it.conditions(), it.fields(id.record));
    Explanation { head: format!("{of}{rows}"), joins, conditions, fields, came }
}

struct Of<'a> {
    mapping: &'a Mapping,
    record: &'a Record,
    view: &'a View<'a>,
}

impl Of<'_> {
    /// `join.column`, as a mapping names it.
    fn name(&self, at: Ref) -> String {
        let table = at.join.map_or(self.record.table, |join| self.record.joins[join].table);
        let column = &self.mapping.tables[table].columns[at.column];
        at.join.map_or_else(|| column.to_string(), |join| format!("{}.{column}", self.record.joins[join].name))
    }

    fn value(&self, at: Ref) -> String {
        if !self.view.there(at) {
            return "no row".into();
        }
        self.view.value(at).map_or_else(|| "NULL".into(), |value| format!("{:?}", shown(value)))
    }

    fn cell(&self, at: Ref) -> String {
        format!("{} = {}", self.name(at), self.value(at))
    }

    fn fields(&self, record: usize) -> Vec<Told> {
        let fields = uses::fields(self.mapping).into_iter().filter(|used| used.record == record);
        fields.map(|used| self.field(&used)).collect()
    }

    fn joins(&self) -> Vec<String> {
        let join = |(place, join): (usize, &mapping::Join)| {
            let table = &self.mapping.tables[join.table];
            let on = join.on.iter().map(|(theirs, ours)| {
                format!("{} = {} ({})", table.columns[*theirs], self.name(*ours), self.value(*ours))
            });
            let found = self.view.there(Ref { join: Some(place), column: 0 });
            let found = if found { "found" } else { "no row" };
            format!("{}: {} where {}: {found}", join.name, table.id, on.collect::<Vec<_>>().join(" and "))
        };
        self.record.joins.iter().enumerate().map(join).collect()
    }

    fn conditions(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (key, conditions) in uses::conditions(self.record) {
            for condition in conditions {
                let holds = holds(condition.holds(self.view));
                all.push(format!("{key}: {}: {holds}", self.condition(condition)));
            }
        }
        all
    }

    fn condition(&self, condition: &Condition) -> String {
        match condition {
            Condition::Any(any) => {
                let any: Vec<String> = any.iter().map(|condition| self.condition(condition)).collect();
                format!("any of ({})", any.join("; "))
            }
            Condition::Cell { cell, test } => {
                let asks = match test {
                    Test::In(words) => format!("is {}", words.join(" or ")),
                    Test::NotIn(words) => format!("is not {}", words.join(" or ")),
                    Test::Present => "present".into(),
                    Test::Absent => "not present".into(),
                    Test::Above(number) => format!("above {number}"),
                };
                format!("{} {asks}", self.cell(*cell))
            }
            Condition::Expr(expr) => self.expr(expr),
        }
    }

    /// The cells that an expression looks at.
    fn expr(&self, expr: &Expr) -> String {
        let cells: Vec<String> = expr.needs().iter().map(|at| self.cell(*at)).collect();
        format!("the expression at `{}` over {}", expr.key, cells.join(", "))
    }

    fn field(&self, used: &Use<'_>) -> Told {
        let field = used.field;
        let mut cells: Vec<String> = field.cells.iter().map(|at| self.looked_at(field, *at)).collect();
        let when = field.when.iter().map(|condition| {
            let judged = condition.holds(self.view);
            let then = if matches!(judged, Ok(true)) { "" } else { ": the field is empty" };
            format!("when {}: {}{then}", self.condition(condition), holds(judged))
        });
        cells.splice(0..0, when);
        cells.extend(field.expr.iter().map(|expr| self.expr(expr)));
        if let (false, Some(constant)) = (field.is_of_row(), &field.otherwise) {
            cells.push(format!("the constant {constant:?}"));
        }
        let told = match used.wants {
            Wants::Time => self.view.time(Some(field)).map(|at| {
                jiff::Timestamp::from_microsecond(at).map_or_else(|_| "beyond any calendar".into(), |at| at.to_string())
            }),
            Wants::State => match self.view.state(Some(field)) {
                State::Listed(word) => Some(format!("{word:?}")),
                State::Unlisted(word) => Some(format!("unknown: {word:?} is not listed")),
                State::Nothing => None,
            },
            _ => self.view.text(Some(field)).map(|text| format!("{text:?}")),
        };
        Told { key: used.key.clone(), cells, told }
    }

    /// A cell, and what the field makes of it.
    fn looked_at(&self, field: &Field, at: Ref) -> String {
        let mut told = self.cell(at);
        let first = self.view.first(Some(field)).map(|(first, _)| first);
        let Some(value) = self.view.value(at) else { return told };
        // Writing to a String cannot fail.
        if let Some(word) = field.words.get(mapping::plain(value).trim()) {
            let _ = write!(told, ", in `words`: {word:?}");
        } else if !field.words.is_empty() {
            let _ = write!(told, ", not in `words`");
        }
        if matches!(field.take, Take::First) {
            match first {
                Some(At::Cell(first)) if first == at => told.push_str(" (taken)"),
                Some(_) => told.push_str(" (another is taken)"),
                None => told.push_str(" (means nothing here)"),
            }
        }
        told
    }
}

/// Never the value that an expression failed on.
fn holds(judged: Judged<'_>) -> &'static str {
    match judged {
        Ok(true) => "holds",
        Ok(false) => "does not hold",
        Err(_) => "its expression failed",
    }
}

impl Explanation {
    pub fn text(&self) -> String {
        let (mut text, nothing) = (format!("{}\n", self.head), "nothing".to_owned());
        let mut part = |name: &str, lines: &[String]| {
            if !lines.is_empty() {
                let _ = write!(text, "\n{name}\n");
                for line in lines {
                    let _ = writeln!(text, "  {line}");
                }
            }
        };
        part("Joins", &self.joins);
        part("Conditions", &self.conditions);
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|field| {
                let told = field.told.as_deref().unwrap_or("nothing");
                format!("{}: {told}\n    from {}", field.key, field.cells.join("\n         "))
            })
            .collect();
        part("Fields", &fields);
        let came: Vec<String> = crate::cases::text(&self.came).lines().map(str::to_owned).collect();
        part("What came", if came.is_empty() { std::slice::from_ref(&nothing) } else { &came });
        text
    }
}
