//! `Patient/{id}/$summary`: the record as one document, its sections those of the International Patient Summary
//! (<https://hl7.org/fhir/uv/ips/>). No conformance to its profiles is claimed.
//!
//! # Why
//! Whoever reads a document away from here has nobody to ask. So an empty section says why it is empty, and what the whole
//! lacks stands in a section of its own: that something is withheld, and never what or where.

use super::{
    Call, Stop, fhir,
    find::notes,
    lists::{self, LISTS, Listed},
    opened,
    reading::{Found, Reading, version},
    resources::{LOINC, full_url},
    search::{Refused, parameters},
    shape, table,
};
use crate::{
    access::Action,
    app::{Problem, Shared, now},
    database,
    page::format,
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use event::Kind;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Entries of one section; its narrative says that there are more.
const SECTION_MAX: usize = 200;
/// "Patient summary Document"
const SUMMARY: &str = "60591-5";

pub async fn get(State(app): State<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, Stop> {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let unknown = parameters(&call.query)?.into_iter().find(|one| !matches!(one.name.as_str(), "_format" | "_pretty"));
    if unknown.is_some() && !call.is_lenient() {
        return Err(Refused::unsupported("a summary has no parameters").into());
    }
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) =
        opened(&app, &call.signed, transaction, id, (Action::ViewRecord, "fhir-summary-patient")).await?;
    let reading = Reading {
        app: &app,
        transaction: &transaction,
        person: &person,
        decision: &decision,
        what: Action::ViewRecord,
        actor: &call.signed.actor,
    };
    let coverage = lists::coverage(&reading).await?;
    let (mut sections, mut resources, mut cut) = (Vec::new(), vec![reading.own().resource], false);
    for list in &LISTS {
        let Some(code) = list.section else { continue };
        let mut standing = lists::standing(&reading, list).await?;
        cut |= standing.cut;
        if list.kind == Kind::Observation {
            standing.found = newest_of_each(standing.found);
        }
        let empty = || lists::empty_reason(&reading, list.kind, standing.asked, &coverage);
        sections.push(section(list, code, &standing.found, empty));
        resources.extend(standing.found.into_iter().take(SECTION_MAX).map(|found| found.resource));
    }
    let patient = table::named("Patient").ok_or(Problem::NotFound)?;
    let notes = notes(&reading, patient, false, cut).await?;
    transaction.commit().await?;
    sections.extend(lacks(&notes));
    let bundle = document(&call.base(&app), id, sections, resources);
    Ok(fhir(StatusCode::OK, decision.release(bundle).map_err(Problem::from)?))
}

fn document(base: &str, person: Uuid, sections: Vec<Value>, resources: Vec<Value>) -> Value {
    let at = format::machine(now());
    let mut composition = json!({
        "resourceType": "Composition",
        "id": Uuid::now_v7().to_string(),
        "status": "final",
        "type": shape::coding(LOINC, SUMMARY),
        "subject": shape::reference(person),
        "date": at,
        "author": [{"display": "Causeway, from what the linked sources told"}],
        "title": "Patient summary",
        "section": sections,
    });
    version(&mut composition);
    let entries: Vec<Value> = std::iter::once(composition)
        .chain(resources)
        .map(|resource| json!({"fullUrl": full_url(base, &resource), "resource": resource}))
        .collect();
    json!({
        "resourceType": "Bundle",
        "type": "document",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", Uuid::now_v7())},
        "timestamp": at,
        "entry": entries,
    })
}

fn section(list: &Listed, code: &str, found: &[Found], empty: impl Fn() -> Value) -> Value {
    let mut section = json!({"title": list.title, "code": shape::coding(LOINC, code)});
    let mut words: Vec<String> = found.iter().take(SECTION_MAX).map(|found| called(&found.resource)).collect();
    if found.is_empty() {
        let why = empty();
        words.push(why["text"].as_str().unwrap_or_default().to_owned());
        section["emptyReason"] = why;
    } else {
        let names = found.iter().take(SECTION_MAX).map(|found| json!({"reference": found.name()}));
        section["entry"] = names.collect();
    }
    if found.len() > SECTION_MAX {
        words.push(format!("{} more are in the record", found.len() - SECTION_MAX));
    }
    section["text"] = json!({"status": "generated", "div": shape::paragraphs(&words)});
    section
}

/// What it is, when, and how much, in words.
fn called(resource: &Value) -> String {
    let concept = ["code", "medicationCodeableConcept", "vaccineCode"].into_iter().map(|key| &resource[key]);
    let concept = concept.into_iter().find(|concept| !concept.is_null()).unwrap_or(&Value::Null);
    let first = &concept["coding"][0];
    let name = [&concept["text"], &first["display"], &first["code"]].into_iter().find_map(Value::as_str);
    let quantity = &resource["valueQuantity"];
    let number = quantity["value"].as_number().map(|number| {
        let (comparator, unit) = (quantity["comparator"].as_str(), quantity["unit"].as_str());
        format!("{}{number} {}", comparator.unwrap_or_default(), unit.unwrap_or_default()).trim_end().to_owned()
    });
    let value = number.or_else(|| resource["valueString"].as_str().map(str::to_owned));
    let absent = resource["dataAbsentReason"]["text"].as_str().map(|why| format!("no usable value: {why}"));
    let dosage = resource["dosage"][0]["text"].as_str().map(str::to_owned);
    let reaction = resource["reaction"][0]["manifestation"][0]["text"].as_str().map(str::to_owned);
    let held = (resource["status"] == "on-hold").then(|| "suspended: not being given".to_owned());
    let times = ["effectiveDateTime", "onsetDateTime", "occurrenceDateTime", "performedDateTime"];
    let at = times.into_iter().find_map(|key| resource[key].as_str()).map(str::to_owned);
    let parts = [name.map(str::to_owned), value, absent, dosage, reaction, held, at];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What the document lacks, if anything.
fn lacks(notes: &[(&str, Value)]) -> Option<Value> {
    let words: Vec<String> =
        notes.iter().filter_map(|(_, what)| what["diagnostics"].as_str()).map(str::to_owned).collect();
    (!words.is_empty()).then(|| {
        let text = json!({"status": "generated", "div": shape::paragraphs(&words)});
        json!({"title": "What this summary lacks", "text": text})
    })
}

/// The newest result of each test. They come newest first.
fn newest_of_each(found: Vec<Found>) -> Vec<Found> {
    let mut told = BTreeSet::new();
    found.into_iter().filter(|found| told.insert(super::find::test_of(&found.resource))).collect()
}
