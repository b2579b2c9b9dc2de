//! What was issued, dispensed or given of a medicine: each phase is a type of its own.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{entries::micros, reading::Found, shape, table::Phase};
use crate::record::entries::Entry;
use serde_json::{Value, json};
use uuid::Uuid;

/// As its source tells. What nobody can place is among what was dispensed, with the word that was written.
pub fn phase(entry: &Entry) -> Phase {
    match entry.from.more.text("phase") {
        Some("issue") => Phase::Issue,
        Some("administration") => Phase::Administration,
        _ => Phase::Dispense,
    }
}

pub fn found(person: Uuid, entry: &Entry) -> Found {
    let phase = phase(entry);
    let (from, more) = (&entry.from, &entry.from.more);
    let (kind, known): (_, &[&str]) = match phase {
        Phase::Issue => (
            "MedicationRequest",
            &["active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown"],
        ),
        Phase::Administration => (
            "MedicationAdministration",
            &["in-progress", "not-done", "on-hold", "completed", "entered-in-error", "stopped", "unknown"],
        ),
        Phase::Dispense => (
            "MedicationDispense",
            &[
                "preparation",
                "in-progress",
                "cancelled",
                "on-hold",
                "completed",
                "entered-in-error",
                "stopped",
                "declined",
                "unknown",
            ],
        ),
    };
    let mut resource = shape::start(kind, person, from);
    let understood = shape::status(more.text("status"), known);
    resource["status"] = understood.unwrap_or("unknown").into();
    resource["medicationCodeableConcept"] = shape::concept(&entry.code, more);
    resource["subject"] = shape::reference(person);
    let at = micros(entry, "given_at").or(from.effective_at);
    match phase {
        Phase::Issue => issue(&mut resource, entry, at),
        Phase::Dispense => dispense(&mut resource, entry, at),
        Phase::Administration => administration(&mut resource, entry, at),
    }
    let reason = more.text("reason").map(|reason| format!("Reason: {reason}"));
    let words = shape::status_note(more.text("status"), understood);
    let medicine = shape::fields(more, &[("medication", "Medicine's identifier within its source")]);
    shape::notes(&mut resource, from, words.into_iter().chain(reason).chain(medicine));
    Found::new(at, from, resource)
}

fn issue(resource: &mut Value, entry: &Entry, at: Option<event::Micros>) {
    let more = &entry.from.more;
    resource["intent"] = "order".into();
    shape::set(resource, "authoredOn", shape::time(at));
    let requester = shape::people(more, &["prescriber", "requester"]).into_iter().next();
    shape::set(resource, "requester", requester);
    shape::set(resource, "dosageInstruction", shape::several(dosage(entry)));
    let mut request = json!({});
    shape::set(&mut request, "quantity", shape::amount(more, "quantity_amount", "quantity_unit"));
    shape::set(&mut request, "expectedSupplyDuration", days(entry));
    shape::set(resource, "dispenseRequest", filled(request));
}

fn dispense(resource: &mut Value, entry: &Entry, at: Option<event::Micros>) {
    let more = &entry.from.more;
    shape::set(resource, "type", shape::told(more, "phase"));
    shape::set(resource, "quantity", shape::amount(more, "quantity_amount", "quantity_unit"));
    shape::set(resource, "daysSupply", days(entry));
    shape::set(resource, "whenHandedOver", shape::time(at));
    shape::set(resource, "dosageInstruction", shape::several(dosage(entry)));
}

fn administration(resource: &mut Value, entry: &Entry, at: Option<event::Micros>) {
    let more = &entry.from.more;
    match shape::time(at) {
        Some(at) => resource["effectiveDateTime"] = at,
        None => resource["_effectiveDateTime"] = shape::absent("unknown"),
    }
    let performers: Vec<Value> =
        shape::people(more, &["performer"]).into_iter().map(|who| json!({"actor": who})).collect();
    shape::set(resource, "performer", (!performers.is_empty()).then(|| performers.into()));
    // R4 (mad-1) knows no dosage of an administration without its dose.
    if let Some(dose) = shape::amount(more, "dose_amount", "dose_unit") {
        let mut dosage = json!({"dose": dose});
        shape::set(&mut dosage, "text", more.text("dosage").map(Value::from));
        shape::set(&mut dosage, "route", shape::told(more, "route"));
        resource["dosage"] = dosage;
    }
}

fn dosage(entry: &Entry) -> Option<Value> {
    let more = &entry.from.more;
    let mut dosage = shape::told(more, "dosage").unwrap_or_else(|| json!({}));
    shape::set(&mut dosage, "route", shape::told(more, "route"));
    if let Some(dose) = shape::amount(more, "dose_amount", "dose_unit") {
        dosage["doseAndRate"] = json!([{"doseQuantity": dose}]);
    }
    filled(dosage)
}

fn days(entry: &Entry) -> Option<Value> {
    let mut days = shape::amount(&entry.from.more, "days", "")?;
    for (key, value) in [("unit", "day"), ("system", "http://unitsofmeasure.org"), ("code", "d")] {
        days[key] = value.into();
    }
    Some(days)
}

fn filled(object: Value) -> Option<Value> {
    object.as_object().is_some_and(|fields| !fields.is_empty()).then_some(object)
}
