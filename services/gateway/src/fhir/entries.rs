//! Kinds of records that need nothing but their table, as FHIR has them: procedures, immunisations, documents, flags, and
//! laboratories' reports.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{reading::Found, resources::record_id, shape};
use crate::record::{clinical::Observation, entries::Entry, more::text};
use event::{Kind, Micros};
use serde_json::{Value, json};
use uuid::Uuid;

const DIAGNOSTIC_SECTION: &str = "http://terminology.hl7.org/CodeSystem/v2-0074";

/// None of a kind that is served in another way, or not yet.
pub fn found(person: Uuid, entry: &Entry) -> Option<Found> {
    let resource = match entry.kind {
        Kind::Procedure => procedure(person, entry),
        Kind::Immunisation => immunisation(person, entry),
        Kind::Document => document(person, entry),
        Kind::Flag => flag(person, entry),
        _ => return None,
    };
    Some(Found::new(at(entry), &entry.from, resource))
}

fn at(entry: &Entry) -> Option<Micros> {
    let told = ["started_at", "issued_at", "written_at", "given_at"].into_iter().find_map(|name| micros(entry, name));
    entry.from.effective_at.or(told)
}

pub fn micros(entry: &Entry, name: &str) -> Option<Micros> {
    entry.from.more.text(name)?.parse::<jiff::Timestamp>().ok().map(|at| at.as_microsecond())
}

fn procedure(person: Uuid, entry: &Entry) -> Value {
    let (from, more) = (&entry.from, &entry.from.more);
    let mut resource = shape::start("Procedure", person, from);
    let known =
        ["preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "entered-in-error", "unknown"];
    let understood = shape::status(more.text("status"), &known);
    resource["status"] = understood.unwrap_or("unknown").into();
    resource["code"] = shape::concept(&entry.code, more);
    resource["subject"] = shape::reference(person);
    let (start, end) = (more.text("started_at").map(Value::from), more.text("ended_at").map(Value::from));
    match (shape::effective(from), start, end) {
        (Some(at), None, None) => resource["performedDateTime"] = at,
        (at, start, end) => shape::set(&mut resource, "performedPeriod", shape::period(start.or(at), end)),
    }
    let performers: Vec<Value> =
        shape::people(more, &["performer"]).into_iter().map(|who| json!({"actor": who})).collect();
    shape::set(&mut resource, "performer", (!performers.is_empty()).then(|| performers.into()));
    for (key, name) in [("reasonCode", "reason"), ("bodySite", "body_site")] {
        shape::set(&mut resource, key, shape::several(shape::told(more, name)));
    }
    shape::set(&mut resource, "outcome", shape::told(more, "outcome"));
    let words = shape::status_note(more.text("status"), understood);
    shape::notes(&mut resource, from, words.into_iter().chain(shape::fields(more, &[("comment", "Comment")])));
    resource
}

fn immunisation(person: Uuid, entry: &Entry) -> Value {
    let (from, more) = (&entry.from, &entry.from.more);
    let mut resource = shape::start("Immunization", person, from);
    let understood = shape::status(more.text("status"), &["completed", "entered-in-error", "not-done"]);
    // Nobody counts on a vaccination of which its source says what nobody understands.
    shape::status_or(&mut resource, more.text("status"), understood, "completed", "not-done");
    let not_done = understood == Some("not-done");
    resource["vaccineCode"] = shape::concept(&entry.code, more);
    resource["patient"] = shape::reference(person);
    match shape::effective(from) {
        Some(at) => resource["occurrenceDateTime"] = at,
        None => resource["occurrenceString"] = "Not dated by its source".into(),
    }
    shape::set(&mut resource, "recorded", shape::time(from.entered_at));
    shape::set(&mut resource, "lotNumber", more.text("batch").map(Value::from));
    shape::set(&mut resource, "expirationDate", more.text("expires_on").map(Value::from));
    for (key, name) in [("site", "body_site"), ("route", "route")] {
        shape::set(&mut resource, key, shape::told(more, name));
    }
    match shape::told(more, "reason") {
        Some(reason) if not_done => resource["statusReason"] = reason,
        reason => shape::set(&mut resource, "reasonCode", shape::several(reason)),
    }
    if let Some(dose) = more.text("dose").filter(|dose| !dose.trim().is_empty()) {
        resource["protocolApplied"] = json!([{"doseNumberString": dose}]);
    }
    let performers: Vec<Value> =
        shape::people(more, &["performer"]).into_iter().map(|who| json!({"actor": who})).collect();
    shape::set(&mut resource, "performer", (!performers.is_empty()).then(|| performers.into()));
    let words = shape::status_note(more.text("status"), understood);
    let beside = shape::fields(more, &[("product", "Product"), ("comment", "Comment")]);
    shape::notes(&mut resource, from, words.into_iter().chain(beside));
    resource
}

fn document(person: Uuid, entry: &Entry) -> Value {
    let (from, more) = (&entry.from, &entry.from.more);
    let mut resource = shape::start("DocumentReference", person, from);
    let understood = shape::status(more.text("status"), &["current", "superseded", "entered-in-error"]);
    shape::status_or(&mut resource, more.text("status"), understood, "current", "current");
    resource["type"] = shape::concept(&entry.code, more);
    resource["subject"] = shape::reference(person);
    shape::set(&mut resource, "date", shape::time(micros(entry, "written_at").or(from.effective_at)));
    let authors = shape::people(more, &["author"]);
    shape::set(&mut resource, "author", (!authors.is_empty()).then(|| authors.into()));
    resource["custodian"] = shape::organisation(from);
    shape::set(&mut resource, "description", more.text("title").map(Value::from));
    // That there is one: the document itself stays where it is.
    let title = more.text("title").filter(|title| !title.trim().is_empty()).unwrap_or("Held by its source");
    let mut attachment = json!({"title": title});
    shape::set(
        &mut attachment,
        "contentType",
        more.text("media_type").filter(|kind| kind.contains('/')).map(Value::from),
    );
    resource["content"] = json!([{"attachment": attachment}]);
    if let (Some(identifier), Some(all)) = (more.text("identifier"), resource["identifier"].as_array_mut()) {
        all.push(json!({"value": identifier}));
    }
    let words = shape::status_note(more.text("status"), understood);
    shape::narrative(&mut resource, from, words.into_iter().chain(shape::fields(more, &[("comment", "Comment")])));
    resource
}

fn flag(person: Uuid, entry: &Entry) -> Value {
    let (from, more) = (&entry.from, &entry.from.more);
    let mut resource = shape::start("Flag", person, from);
    let understood = shape::status(more.text("status"), &["active", "inactive", "entered-in-error"]);
    // What nobody says has ended is to be known.
    let ended = more.text("ended_at").is_some() || shape::status(more.text("status"), &["ended"]).is_some();
    resource["status"] = understood.unwrap_or(if ended { "inactive" } else { "active" }).into();
    shape::set(&mut resource, "category", shape::several(shape::told(more, "category")));
    resource["code"] = shape::concept(&entry.code, more);
    resource["subject"] = shape::reference(person);
    let start = more.text("started_at").map(Value::from).or_else(|| shape::effective(from));
    shape::set(&mut resource, "period", shape::period(start, more.text("ended_at").map(Value::from)));
    let words = shape::status_note(more.text("status"), understood);
    shape::narrative(&mut resource, from, words.into_iter().chain(shape::fields(more, &[("comment", "Comment")])));
    resource
}

/// A report with those results of its source that bear its identifier.
pub fn report(person: Uuid, entry: &Entry, results: &[Observation]) -> Found {
    let (from, more) = (&entry.from, &entry.from.more);
    let mut resource = shape::start("DiagnosticReport", person, from);
    let known = [
        "registered",
        "partial",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "appended",
        "cancelled",
        "entered-in-error",
        "unknown",
    ];
    let understood = shape::status(more.text("status"), &known);
    resource["status"] = understood.unwrap_or("unknown").into();
    resource["category"] = json!([shape::coding(DIAGNOSTIC_SECTION, "LAB")]);
    resource["code"] = shape::concept(&entry.code, more);
    resource["subject"] = shape::reference(person);
    shape::set(&mut resource, "effectiveDateTime", shape::effective(from));
    shape::set(&mut resource, "issued", shape::time(micros(entry, "issued_at")));
    let people = shape::people(more, &["performer"]);
    resource["performer"] = std::iter::once(shape::organisation(from)).chain(people).collect();
    let specimen = more.text("specimen").map(|id| json!({"identifier": {"value": id}}));
    let kind = more.one("material").and_then(|material| text(material, "kind")).map(Value::from);
    if specimen.is_some() || kind.is_some() {
        let mut specimen = specimen.unwrap_or_else(|| json!({}));
        shape::set(&mut specimen, "display", kind);
        resource["specimen"] = json!([specimen]);
    }
    let report = more.text("report");
    let own = |row: &&Observation| {
        let of = &row.from;
        report.is_some()
            && (&of.source, &of.patient) == (&from.source, &from.patient)
            && of.more.text("report") == report
    };
    let name = |of: &Observation| record_id(person, &of.from.source, &of.from.patient, &of.from.record);
    let results: Vec<Value> =
        results.iter().filter(own).map(|row| json!({"reference": format!("Observation/{}", name(row))})).collect();
    shape::set(&mut resource, "result", (!results.is_empty()).then(|| results.into()));
    shape::set(&mut resource, "conclusion", more.text("conclusion").map(Value::from));
    let words = shape::status_note(more.text("status"), understood);
    shape::narrative(&mut resource, from, words.into_iter().chain(shape::fields(more, &[("comment", "Comment")])));
    Found::new(at(entry), from, resource)
}
