//! What follows from a kind's table alone: each field told by what the mapping says for it.

use crate::{fields::marks_of, view::View};
use coding::{Coded, Given, value::number};
use event::{Fields, Participant, Shape, Told, datum::Record};
use mapping::{CodeOf, CodeRule, Field, Mapping, Rule, shown};
use rust_decimal::Decimal;

/// The fields of a record, in the order of its table; nothing where the mapping says nothing of any.
pub fn told(view: &View<'_>, fields: Fields, rules: &[Rule]) -> Vec<Told> {
    fields.iter().zip(rules).map(|((_, shape), rule)| one(view, *shape, rule)).collect()
}

/// A record with what the mapping says of its table, and defaults for the rest.
pub fn more<T: Record>(view: &View<'_>, rules: &[Rule]) -> T {
    if rules.is_empty() { T::default() } else { T::of(told(view, T::FIELDS, rules)) }
}

pub fn participants(view: &View<'_>, rules: &[Vec<Rule>]) -> Vec<Participant> {
    let Told::Many(told) = entries(view, Participant::FIELDS, rules) else { return Vec::new() };
    told.into_iter().map(Participant::of).collect()
}

pub fn code<'a>(view: &View<'a>, rule: &CodeRule) -> Coded<'a> {
    let given = |of: &CodeOf| {
        let code = view.text(Some(&of.code))?;
        let (version, display) = (view.text(of.version.as_ref()), view.text(of.display.as_ref()));
        Some(Given { system: of.system, code, version, display })
    };
    let codes: Vec<Given> = rule.codes.iter().filter_map(given).collect();
    let mut coded = coding::code(&view.mapping.lab, view.source, view.text(rule.text.as_ref()), &codes);
    if let Some(release) = &view.mapping.release {
        coding::release::add(&mut coded.code, &codes, release);
        // What a release says that a code means may be what the lab table watches.
        let mapped = || view.mapping.lab.find(coding::System::Snomed, coded.code.snomed.as_deref()?);
        coded.analyte = coded.analyte.or_else(|| mapped().map(|found| found.analyte));
    }
    coded
}

/// By which revisions events are made of rows.
pub fn made_by(mapping: &Mapping) -> event::MadeBy {
    let units = mapping.lab.release().to_owned();
    let terminology = match &mapping.release {
        Some(release) => format!("{units}; {}", release.id()),
        None => units.clone(),
    };
    let mapping = format!("{} {}", mapping.system, mapping.revision);
    event::MadeBy { mapping, terminology, units }
}

fn one(view: &View<'_>, shape: Shape, rule: &Rule) -> Told {
    match (shape, rule) {
        (Shape::Text, Rule::Cell(field)) => view.text(Some(field)).map_or(Told::Nothing, Told::Text),
        (Shape::Time, Rule::Cell(field)) => view.time(Some(field)).map_or(Told::Nothing, Told::Time),
        (Shape::Day, Rule::Cell(field)) => view.day(Some(field)).0.map_or(Told::Nothing, Told::Day),
        (Shape::Number, Rule::Cell(field)) => decimal(view, field).map_or(Told::Nothing, Told::Number),
        (Shape::Code, Rule::Code(rule)) => Told::Code(Box::new(code(view, rule).code)),
        (Shape::One(fields), Rule::One(rules)) => entry(view, fields, rules).map_or(Told::Nothing, Told::One),
        (Shape::Many(fields), Rule::Many(rules)) => entries(view, fields, rules),
        _ => Told::Nothing,
    }
}

fn entries(view: &View<'_>, fields: Fields, rules: &[Vec<Rule>]) -> Told {
    let told: Vec<Vec<Told>> = rules.iter().filter_map(|rules| entry(view, fields, rules)).collect();
    if told.is_empty() { Told::Nothing } else { Told::Many(told) }
}

/// None where the row says nothing of it: constants alone make nobody a participant.
fn entry(view: &View<'_>, fields: Fields, rules: &[Rule]) -> Option<Vec<Told>> {
    let told = told(view, fields, rules);
    let from_the_row = |rule: &Rule| !matches!(rule, Rule::Cell(field) if !field.is_of_row());
    told.iter().zip(rules).any(|(told, rule)| *told != Told::Nothing && from_the_row(rule)).then_some(told)
}

/// A number, exactly.
fn decimal(view: &View<'_>, field: &Field) -> Option<Decimal> {
    let (_, value) = view.first(Some(field))?;
    let known = number(shown(&value).trim(), marks_of(&value, view.mapping.numbers));
    if known.is_none() {
        view.doubted("unreadable number", Some(field));
    }
    known
}
