//! What resources of every type have in common: names, times, codes, notes.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{
    detail,
    resources::{self, ODS, known_codings, meta, record_id, source_uri},
};
use crate::{
    page::format,
    record::{
        clinical::{Coded, Provenance},
        more::{More, text},
    },
};
use event::Micros;
use serde_json::{Map, Value, json};
use uuid::Uuid;

const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// The beginning of a resource that is made of one record.
pub fn start(kind: &str, person: Uuid, from: &Provenance) -> Value {
    json!({
        "resourceType": kind,
        "id": record_id(person, &from.source, &from.patient, &from.record),
        "meta": meta(&from.source, &from.event_id, from.committed_at),
        "identifier": [{"system": source_uri(&from.source), "value": from.record}],
    })
}

pub fn reference(person: Uuid) -> Value {
    json!({"reference": format!("Patient/{person}")})
}

/// The organisation that holds the record, which no resource describes.
pub fn organisation(from: &Provenance) -> Value {
    json!({"identifier": {"system": ODS, "value": from.organisation}})
}

/// As exactly as it is known. FHIR knows no empty times.
pub fn effective(from: &Provenance) -> Option<Value> {
    let at = from.effective_at?;
    let time = match from.effective_precision {
        None => format::machine(at),
        Some(precision) => format::machine_to(at, precision),
    };
    (!time.is_empty()).then(|| time.into())
}

pub fn time(at: Option<Micros>) -> Option<Value> {
    at.map(format::machine).filter(|time| !time.is_empty()).map(Value::from)
}

/// Sets what there is.
pub fn set(resource: &mut Value, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        resource[key] = value;
    }
}

pub fn period(start: Option<Value>, end: Option<Value>) -> Option<Value> {
    let ends = [("start", start), ("end", end)].into_iter();
    let period: Map<String, Value> = ends.filter_map(|(key, at)| Some((key.to_owned(), at?))).collect();
    (!period.is_empty()).then_some(Value::Object(period))
}

pub fn words(text: Option<&str>) -> Option<Value> {
    text.filter(|text| !text.trim().is_empty()).map(|text| json!({"text": text}))
}

/// A field of `more`, in words.
pub fn told(more: &More, name: &str) -> Option<Value> {
    words(more.text(name))
}

/// A list of one.
pub fn several(one: Option<Value>) -> Option<Value> {
    one.map(|one| json!([one]))
}

/// What something is. Nothing is nameless: a concept without words and codes would be empty.
pub fn concept(coded: &Coded, more: &More) -> Value {
    let codings = detail::codings(&more.codings()).unwrap_or_else(|| known_codings(coded));
    let mut concept = Map::new();
    if !codings.is_empty() {
        concept.insert("coding".into(), codings.into());
    }
    if !coded.text.trim().is_empty() {
        concept.insert("text".into(), coded.text.clone().into());
    }
    if concept.is_empty() {
        concept.insert("text".into(), "Not named by its source".into());
    }
    Value::Object(concept)
}

pub fn coding(system: &str, code: &str) -> Value {
    json!({"coding": [{"system": system, "code": code}]})
}

/// One of FHIR's words, if the source's is one.
pub fn status<'a>(written: Option<&str>, known: &[&'a str]) -> Option<&'a str> {
    let written = written?.trim().to_lowercase().replace([' ', '_'], "-");
    known.iter().copied().find(|word| *word == written)
}

/// The status, of a type whose statuses have no word for what is not understood. `told` is what stands where the source says
/// nothing; `doubted`, where it says something else, and then it is marked as made up.
pub fn status_or(resource: &mut Value, written: Option<&str>, understood: Option<&str>, told: &str, doubted: &str) {
    let says = written.is_some_and(|written| !written.trim().is_empty());
    resource["status"] = understood.unwrap_or(if says { doubted } else { told }).into();
    if says && understood.is_none() {
        resource["_status"] = absent("unknown");
    }
}

/// Why an element has no value.
pub fn absent(why: &str) -> Value {
    json!({"extension": [{"url": ABSENT, "valueCode": why}]})
}

/// What the source wrote for a status that is not one of FHIR's.
pub fn status_note(written: Option<&str>, understood: Option<&str>) -> Option<String> {
    let written = written.filter(|written| !written.trim().is_empty())?;
    understood.is_none().then(|| format!("Status as written by the source: {written}"))
}

/// The words of each of these fields, with their names.
pub fn fields(more: &More, names: &[(&str, &str)]) -> Vec<String> {
    names.iter().filter_map(|(name, shown)| Some(format!("{shown}: {}", more.text(name)?))).collect()
}

/// Of a type that has notes.
pub fn notes(resource: &mut Value, from: &Provenance, notes: impl IntoIterator<Item = String>) {
    let all: Vec<Value> = notes.into_iter().chain(from.lacks()).map(|words| json!({"text": words})).collect();
    if !all.is_empty() {
        resource["note"] = all.into();
    }
}

/// Of a type that has none: what its elements cannot say stands in its narrative.
pub fn narrative(resource: &mut Value, from: &Provenance, words: impl IntoIterator<Item = String>) {
    let all: Vec<String> = words.into_iter().chain(from.lacks()).collect();
    if !all.is_empty() {
        resource["text"] = json!({"status": "additional", "div": paragraphs(&all)});
    }
}

pub fn paragraphs(words: &[String]) -> String {
    let each = words.iter().map(|words| format!("<p>{}</p>", html(words)));
    format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{}</div>", each.collect::<String>())
}

/// Text of a source is never markup, and holds no character that XML has not.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && !matches!(c, '\n' | '\t' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// Everybody of these roles whom the source names.
pub fn people(more: &More, roles: &[&str]) -> Vec<Value> {
    let named = more.list("participants").filter(|one| text(one, "role").is_some_and(|role| roles.contains(&role)));
    named.filter_map(|one| text(one, "name").map(|name| json!({"display": name}))).collect()
}

/// `5 mg`, where the number is one.
pub fn amount(more: &More, number: &str, unit: &str) -> Option<Value> {
    let number: rust_decimal::Decimal = more.text(number)?.parse().ok()?;
    let mut amount = json!({"value": resources::json_number(number)});
    set(&mut amount, "unit", more.text(unit).filter(|unit| !unit.trim().is_empty()).map(Value::from));
    Some(amount)
}
