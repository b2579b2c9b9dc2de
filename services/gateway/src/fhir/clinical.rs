//! Allergies, medicines, problems and encounters, as FHIR has them.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{reading::Found, shape};
use crate::record::{
    clinical::{Allergy, Condition, Medication},
    medicines::{Taking, status_not_understood, taking},
    rows::Encounter,
};
use event::Micros;
use serde_json::{Value, json};
use uuid::Uuid;

const ALLERGY_CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
const ALLERGY_VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";
const CONDITION_CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
const CONDITION_VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
const CONDITION_CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/condition-category";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

pub fn allergy(person: Uuid, row: &Allergy) -> Found {
    let (from, more) = (&row.from, &row.from.more);
    let mut resource = shape::start("AllergyIntolerance", person, from);
    resource["clinicalStatus"] = shape::coding(ALLERGY_CLINICAL, if row.active { "active" } else { "inactive" });
    let certainty = shape::status(more.text("certainty"), &["confirmed", "unconfirmed", "refuted"]);
    shape::set(&mut resource, "verificationStatus", certainty.map(|code| shape::coding(ALLERGY_VERIFICATION, code)));
    shape::set(
        &mut resource,
        "type",
        shape::status(more.text("category"), &["allergy", "intolerance"]).map(Value::from),
    );
    resource["code"] = shape::concept(&row.code, more);
    resource["patient"] = shape::reference(person);
    let onset = more.text("onset_at").map(Value::from);
    shape::set(&mut resource, "onsetDateTime", onset.or_else(|| shape::effective(from)));
    shape::set(&mut resource, "recordedDate", shape::time(from.entered_at));
    let severity = shape::status(row.severity.as_deref(), &["mild", "moderate", "severe"]);
    if let Some(manifestation) = shape::words(row.reaction.as_deref()) {
        let mut reaction = json!({"manifestation": [manifestation]});
        shape::set(&mut reaction, "severity", severity.map(Value::from));
        resource["reaction"] = json!([reaction]);
    }
    // A severity belongs to a reaction: without one, or in words that FHIR does not have, it is a note.
    let lone = severity.is_none() || resource["reaction"].is_null();
    let severity = row.severity.as_ref().filter(|_| lone).map(|severity| format!("Severity: {severity}"));
    let none = row.none_known.then(|| "Somebody recorded that none are known".to_owned());
    let words = shape::fields(more, &[("certainty", "Certainty"), ("category", "Category")]);
    shape::notes(&mut resource, from, none.into_iter().chain(severity).chain(words));
    Found::new(from.effective_at, from, resource)
}

pub fn medication(person: Uuid, row: &Medication, now: Micros) -> Found {
    let (from, more) = (&row.from, &row.from.more);
    let mut resource = shape::start("MedicationStatement", person, from);
    let not_understood = status_not_understood(row);
    let status = match (taking(row, now), row.status.as_deref()) {
        (_, Some("entered-in-error")) => "entered-in-error",
        (_, Some("draft")) => "intended",
        (Taking::Current, _) if not_understood.is_some() => "unknown",
        (Taking::Current, _) => "active",
        (Taking::Suspended, _) => "on-hold",
        (Taking::Stopped, _) => "stopped",
        (Taking::Ended, _) => "completed",
    };
    resource["status"] = status.into();
    shape::set(&mut resource, "statusReason", shape::several(shape::words(row.status_reason.as_deref())));
    resource["medicationCodeableConcept"] = shape::concept(&row.code, more);
    resource["subject"] = shape::reference(person);
    let start = shape::time(row.started_at).or_else(|| shape::effective(from));
    shape::set(&mut resource, "effectivePeriod", shape::period(start, shape::time(row.ended_at)));
    shape::set(&mut resource, "dateAsserted", shape::time(from.entered_at));
    shape::set(&mut resource, "reasonCode", shape::several(shape::told(more, "reason")));
    let mut dosage = shape::words(row.dosage.as_deref()).unwrap_or_else(|| json!({}));
    shape::set(&mut dosage, "route", shape::told(more, "route"));
    shape::set(&mut dosage, "patientInstruction", more.text("patient_instruction").map(Value::from));
    if let Some(dose) = shape::amount(more, "dose_amount", "dose_unit") {
        dosage["doseAndRate"] = json!([{"doseQuantity": dose}]);
    }
    if dosage.as_object().is_some_and(|dosage| !dosage.is_empty()) {
        resource["dosage"] = json!([dosage]);
    }
    let told = not_understood.map(|written| format!("Status as written by the source: {written}"));
    let issued = row.last_issued_at.map(|at| format!("Last issued or given: {}", crate::page::format::when(at)));
    let beside = [("Course", &row.course), ("Quantity", &row.quantity)];
    let beside = beside.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.as_ref()?)));
    let words = shape::fields(
        more,
        &[
            ("frequency", "Frequency"),
            ("form", "Form"),
            ("product", "Product"),
            ("pharmacy_instruction", "To the pharmacy"),
        ],
    );
    shape::notes(&mut resource, from, told.into_iter().chain(beside).chain(issued).chain(words));
    Found::new(row.started_at.or(from.effective_at), from, resource)
}

pub fn condition(person: Uuid, row: &Condition) -> Found {
    let (from, more) = (&row.from, &row.from.more);
    let mut resource = shape::start("Condition", person, from);
    resource["clinicalStatus"] = shape::coding(CONDITION_CLINICAL, if row.active { "active" } else { "inactive" });
    let certainty =
        shape::status(more.text("certainty"), &["unconfirmed", "provisional", "differential", "confirmed", "refuted"]);
    shape::set(&mut resource, "verificationStatus", certainty.map(|code| shape::coding(CONDITION_VERIFICATION, code)));
    resource["category"] = json!([shape::coding(CONDITION_CATEGORY, "problem-list-item")]);
    shape::set(&mut resource, "severity", shape::told(more, "severity"));
    resource["code"] = shape::concept(&row.code, more);
    shape::set(&mut resource, "bodySite", shape::several(shape::told(more, "body_site")));
    resource["subject"] = shape::reference(person);
    shape::set(&mut resource, "onsetDateTime", shape::effective(from));
    shape::set(&mut resource, "recordedDate", shape::time(from.entered_at));
    // What is active has not abated: then the end that its source tells is a note.
    let ended = shape::time(row.ended_at);
    let contradicts = ended.as_ref().filter(|_| row.active).and_then(Value::as_str).map(|at| format!("Ends: {at}"));
    shape::set(&mut resource, "abatementDateTime", ended.clone().filter(|_| !row.active));
    let significance = row.significance.as_ref().map(|ranked| format!("Significance: {ranked}"));
    let words = shape::fields(
        more,
        &[("certainty", "Certainty"), ("episode", "Episode"), ("reviewed_at", "Reviewed"), ("comment", "Comment")],
    );
    shape::notes(&mut resource, from, significance.into_iter().chain(contradicts).chain(words));
    Found::new(from.effective_at, from, resource)
}

pub fn encounter(person: Uuid, row: &Encounter, now: Micros) -> Found {
    let (from, more) = (&row.from, &row.from.more);
    let mut resource = shape::start("Encounter", person, from);
    let known = [
        "planned",
        "arrived",
        "triaged",
        "in-progress",
        "onleave",
        "finished",
        "cancelled",
        "entered-in-error",
        "unknown",
    ];
    let written = more.text("status");
    let understood = shape::status(written, &known);
    resource["status"] = match (understood, row.started_at, row.ended_at) {
        (Some(status), ..) => status,
        (None, _, Some(ended)) if ended <= now => "finished",
        // Asked for: whether the patient has been seen, nobody says.
        (None, ..) if row.referral => "unknown",
        (None, Some(started), _) if started > now => "planned",
        (None, Some(_), None) => "in-progress",
        (None, ..) => "unknown",
    }
    .into();
    resource["class"] = class(&row.class);
    let referral = row.referral.then(|| json!({"text": "Referral"}));
    let types: Vec<Value> = referral.into_iter().chain(shape::words(row.text.as_deref())).collect();
    shape::set(&mut resource, "type", (!types.is_empty()).then(|| types.into()));
    shape::set(&mut resource, "serviceType", shape::told(more, "service"));
    resource["subject"] = shape::reference(person);
    let start = shape::time(row.started_at).or_else(|| shape::effective(from));
    shape::set(&mut resource, "period", shape::period(start, shape::time(row.ended_at)));
    shape::set(&mut resource, "reasonCode", shape::several(shape::told(more, "reason")));
    shape::set(&mut resource, "location", more.text("location").map(|place| json!([{"location": {"display": place}}])));
    let people = shape::people(more, &["performer", "author", "recorder", "attender"]);
    let participants: Vec<Value> = people.into_iter().map(|who| json!({"individual": who})).collect();
    shape::set(&mut resource, "participant", (!participants.is_empty()).then(|| participants.into()));
    resource["serviceProvider"] = shape::organisation(from);
    let words =
        shape::status_note(written, understood).into_iter().chain(shape::fields(more, &[("outcome", "Outcome")]));
    shape::narrative(&mut resource, from, words);
    Found::new(row.started_at.or(from.effective_at), from, resource)
}

/// HL7 v3's code where it is one, else the source's own word.
fn class(written: &str) -> Value {
    const KNOWN: [&str; 11] = ["AMB", "EMER", "FLD", "HH", "IMP", "ACUTE", "NONAC", "OBSENC", "PRENC", "SS", "VR"];
    match written.trim() {
        "" => shape::absent("unknown"),
        code if KNOWN.contains(&code) => json!({"system": ACT_CODE, "code": code}),
        words => json!({"display": words}),
    }
}
