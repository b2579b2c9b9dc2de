//! The shapes of FHIR R4 resources, made from rows that may be shown.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{NHS_NUMBER_SYSTEM, detail, search::Refused, shape};
use crate::{
    access::{Decision, Released},
    app::Problem,
    page::{format, patient::main_identity},
    record::{
        Person,
        clinical::{Coded, Observation},
        rows::DIGEST_CHARS,
    },
};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub const SNOMED: &str = "http://snomed.info/sct";
pub const LOINC: &str = "http://loinc.org";
const UCUM: &str = "http://unitsofmeasure.org";
const VERIFICATION: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus";
const VERIFICATION_STATUS: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland";
const ABSENT: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";
const ABSENT_EXTENSION: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
/// The value set `administrative-gender`.
const GENDERS: [&str; 4] = ["male", "female", "other", "unknown"];
/// The system of organisations' codes.
pub const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
/// Of what a source calls its own patients and records; the source's name follows.
pub const SOURCE_URI: &str = "urn:causeway:source:";

/// The person's uuid, a dot, and a digest of the record's key. It holds as long as the link to the person does.
pub fn record_id(person: Uuid, source: &str, patient: &str, record: &str) -> String {
    let mut digest = Sha256::new();
    for part in [source, patient, record] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{person}.{}", &hex[..DIGEST_CHARS])
}

pub fn person_of(id: &str) -> Option<Uuid> {
    id.split_once('.')?.0.parse().ok()
}

pub fn outcome(problem: &Problem) -> Released<Value> {
    Released::about_nobody(problem).map(outcome_of)
}

fn outcome_of(problem: &Problem) -> Value {
    let code = match problem {
        Problem::NotSignedIn => "login",
        Problem::Forbidden { .. } => "forbidden",
        Problem::NotFound => "not-found",
        Problem::Bad(_) => "invalid",
        Problem::Conflict(_) => "conflict",
        Problem::TooSlow => "timeout",
        Problem::TooLarge => "too-long",
        Problem::Throttled(_) => "throttled",
        Problem::Busy => "transient",
        Problem::Failed => "exception",
    };
    let issue = json!([{"severity": "error", "code": code, "diagnostics": problem.words()}]);
    json!({"resourceType": "OperationOutcome", "issue": issue})
}

pub fn refused(refused: &Refused) -> Released<Value> {
    let outcome = |refused: &Refused| json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": refused.code, "diagnostics": refused.words}]});
    Released::about_nobody(refused).map(outcome)
}

/// A resource in a bundle, and why it is there.
pub struct Entry {
    pub resource: Value,
    pub mode: &'static str,
}

/// A searchset of resources at `base`. FHIR knows no empty arrays.
pub fn bundle(base: &str, total: Option<usize>, entries: Vec<Entry>, links: &[(&str, String)]) -> Value {
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|Entry { resource, mode }| {
            json!({"fullUrl": full_url(base, &resource), "resource": resource, "search": {"mode": mode}})
        })
        .collect();
    let links: Vec<Value> = links.iter().map(|(relation, url)| json!({"relation": relation, "url": url})).collect();
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset"});
    shape::set(&mut bundle, "total", total.map(Value::from));
    for (key, list) in [("link", links), ("entry", entries)] {
        if !list.is_empty() {
            bundle[key] = Value::Array(list);
        }
    }
    bundle
}

/// Where a resource is read.
pub fn full_url(base: &str, resource: &Value) -> String {
    format!("{base}/{}/{}", text(&resource["resourceType"]), text(&resource["id"]))
}

/// Adds what the answer lacks, in words that do not say what it is.
pub fn note(bundle: &mut Value, code: &str, what: Value) {
    let mut issue = json!({"severity": "information", "code": code});
    if let (Some(issue), Value::Object(what)) = (issue.as_object_mut(), what) {
        issue.extend(what);
    }
    // It is nowhere to be read again; but every entry has an address, of its own.
    let url = format!("urn:uuid:{}", name_of(&issue));
    let resource = json!({"resourceType": "OperationOutcome", "issue": [issue]});
    let outcome = json!({"fullUrl": url, "resource": resource, "search": {"mode": "outcome"}});
    match bundle["entry"].as_array_mut() {
        Some(entries) => entries.push(outcome),
        None => bundle["entry"] = json!([outcome]),
    }
}

/// The same of the same issue, as a UUID.
fn name_of(issue: &Value) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(issue.to_string().as_bytes())[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// A time out of range is left out: FHIR knows no empty ones.
fn at(resource: &mut Value, key: &str, micros: event::Micros) {
    let time = format::machine(micros);
    if !time.is_empty() {
        resource[key] = time.into();
    }
}

pub fn meta(source: &str, event_id: &str, committed_at: event::Micros) -> Value {
    let mut meta = json!({"source": format!("{}#{event_id}", source_uri(source))});
    at(&mut meta, "lastUpdated", committed_at);
    meta
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn patient(person: &Person, decision: &Decision) -> Value {
    let mut resource = Map::new();
    resource.insert("resourceType".into(), "Patient".into());
    resource.insert("id".into(), person.id.to_string().into());
    let shown: Vec<_> = person.identities.iter().filter(|identity| identity.shown_by(decision)).collect();
    let mut identifiers: Vec<Value> = Vec::new();
    for identity in &shown {
        if let Some(number) = &identity.nhs_number {
            let code = if identity.nhs_number_verified { "01" } else { "02" };
            let coding = json!({"coding": [{"system": VERIFICATION_STATUS, "code": code}]});
            let identifier = json!({
                "extension": [{"url": VERIFICATION, "valueCodeableConcept": coding}],
                "use": "official", "system": NHS_NUMBER_SYSTEM, "value": number,
            });
            if !identifiers.contains(&identifier) {
                identifiers.push(identifier);
            }
        }
        identifiers
            .push(json!({"use": "secondary", "system": source_uri(&identity.source), "value": identity.patient}));
    }
    if let Some(identity) = main_identity(person, decision) {
        resource.insert("meta".into(), meta(&identity.source, &identity.event_id, identity.committed_at));
        let mut name = Map::from_iter([("use".to_owned(), Value::from("official"))]);
        if let Some(family) = &identity.family {
            name.insert("family".into(), family.clone().into());
        }
        if let Some(given) = &identity.given {
            name.insert("given".into(), given.split_whitespace().collect());
        }
        resource.insert("identifier".into(), identifiers.into());
        resource.insert("name".into(), json!([name]));
        if let Some(gender) = &identity.gender {
            let (key, value) = gender_of(gender);
            resource.insert(key.into(), value);
        }
        if let Some(birth) = &identity.birth_date {
            resource.insert("birthDate".into(), birth.clone().into());
        }
        if let Some(death) = &identity.death_date {
            resource.insert("deceasedDateTime".into(), death.clone().into());
        }
        if let Some(postcode) = &identity.postcode {
            resource.insert("address".into(), json!([{"postalCode": postcode}]));
        }
        detail::patient(&identity.more, &mut resource);
        if let Some(practice) = shown.iter().find_map(|identity| identity.registered_practice.as_ref()) {
            let identifier = json!({"system": ODS, "value": practice});
            resource.insert("generalPractitioner".into(), json!([{"identifier": identifier}]));
        }
    }
    Value::Object(resource)
}

/// FHIR's code, or that there is one which FHIR does not know.
fn gender_of(gender: &str) -> (&'static str, Value) {
    if GENDERS.contains(&gender) {
        return ("gender", gender.into());
    }
    let extension = json!([{"url": ABSENT_EXTENSION, "valueCode": "unsupported"}]);
    ("_gender", json!({"extension": extension}))
}

pub fn source_uri(source: &str) -> String {
    format!("{SOURCE_URI}{source}")
}

pub fn observation(person: Uuid, row: &Observation) -> Value {
    let from = &row.from;
    let status = match row.status.as_deref() {
        Some("preliminary") => "preliminary",
        Some("corrected") => "corrected",
        Some("final") => "final",
        Some(_) | None => "unknown",
    };
    let mut resource = json!({
        "resourceType": "Observation",
        "id": record_id(person, &from.source, &from.patient, &from.record),
        "meta": meta(&from.source, &from.event_id, from.committed_at),
        "identifier": [{"system": source_uri(&from.source), "value": from.record}],
        "status": status,
        "code": shape::concept(&row.code, &from.more),
        "subject": {"reference": format!("Patient/{person}")},
        "performer": [{"identifier": {"system": ODS, "value": from.organisation}}],
    });
    if row.analyte.is_some() || row.specimen.is_some() {
        let system = "http://terminology.hl7.org/CodeSystem/observation-category";
        resource["category"] = json!([{"coding": [{"system": system, "code": "laboratory"}]}]);
    }
    if let Some(time) = from.effective_at {
        // FHIR's dateTime may be a year or a month.
        match from.effective_precision {
            None => at(&mut resource, "effectiveDateTime", time),
            Some(precision) => resource["effectiveDateTime"] = format::machine_to(time, precision).into(),
        }
    }
    if let Some(time) = row.authorised_at {
        at(&mut resource, "issued", time);
    }
    if let Some(specimen) = &row.specimen {
        resource["specimen"] = json!({"identifier": {"value": specimen}});
    }
    value(row, &mut resource);
    interpretation(row, &mut resource);
    detail::observation(&from.more, &mut resource);
    let written = written(row).map(|words| json!({"text": words}));
    let comment = row.comment.as_ref().map(|comment| json!({"text": comment}));
    let said = judged(row).into_iter().map(|words| json!({"text": words}));
    let beside = detail::notes(&from.more);
    let lacks = from.lacks().map(|words| json!({"text": words}));
    let notes: Vec<Value> = written.into_iter().chain(comment).chain(said).chain(beside).chain(lacks).collect();
    if !notes.is_empty() {
        resource["note"] = notes.into();
    }
    resource
}

/// Of a row from before codings were told one by one.
pub fn known_codings(coded: &Coded) -> Vec<Value> {
    let mut codings = Vec::new();
    for (system, known) in [(SNOMED, &coded.snomed), (LOINC, &coded.loinc)] {
        if let Some(known) = known {
            codings.push(json!({"system": system, "code": known}));
        }
    }
    // The original coding, as the source wrote it, is the one a user chose.
    if let Some(original) = &coded.code {
        let known =
            |coding: &Value| coding["code"] == **original && coded.system.as_deref() == coding["system"].as_str();
        match codings.iter_mut().find(|coding| known(coding)) {
            Some(coding) => coding["userSelected"] = true.into(),
            None => {
                let mut coding = json!({"code": original, "userSelected": true});
                if let Some(system) = &coded.system {
                    coding["system"] = system.clone().into();
                }
                codings.push(coding);
            }
        }
    }
    codings
}

/// A number only where number and unit are understood; otherwise why not.
fn value(row: &Observation, resource: &mut Value) {
    let usable = row.unusable().is_none();
    let quantity = match (row.canonical_number, &row.canonical_unit, row.number) {
        (Some(number), Some(unit), _) => Some(quantity(row, number, Some((unit, true)))),
        (_, _, Some(number)) if usable => Some(quantity(row, number, row.unit.as_ref().map(|unit| (unit, false)))),
        _ => None,
    };
    match (quantity, &row.text, row.unusable()) {
        (Some(quantity), ..) => resource["valueQuantity"] = quantity,
        (None, Some(text), None) => resource["valueString"] = text.clone().into(),
        (None, _, Some(unchecked)) => resource["dataAbsentReason"] = absent(unchecked),
        (None, None, None) => resource["dataAbsentReason"] = absent("no value recorded"),
    }
}

fn quantity(row: &Observation, number: Decimal, unit: Option<(&String, bool)>) -> Value {
    let mut quantity = json!({"value": json_number(number)});
    if let Some(comparator) = &row.comparator {
        quantity["comparator"] = comparator.clone().into();
    }
    if let Some((unit, ucum)) = unit.filter(|(unit, _)| !unit.trim().is_empty()) {
        quantity["unit"] = unit.clone().into();
        if ucum {
            quantity["system"] = UCUM.into();
            quantity["code"] = unit.clone().into();
        }
    }
    quantity
}

/// Whole numbers stay whole; others take the shortest decimal that means the same.
pub fn json_number(number: Decimal) -> Value {
    let number = number.normalize();
    if number.scale() == 0
        && let Some(whole) = number.to_i64()
    {
        return whole.into();
    }
    number.to_f64().map_or(Value::Null, Value::from)
}

fn absent(why: &str) -> Value {
    let code = match why {
        "not a number" => "not-a-number",
        "no value recorded" => "unknown",
        _ => "unsupported",
    };
    json!({"coding": [{"system": ABSENT, "code": code}], "text": why})
}

fn interpretation(row: &Observation, resource: &mut Value) {
    if let Some(flag) = &row.flag {
        let code = match flag.as_str() {
            "critical-low" => Some("LL"),
            "critical-high" => Some("HH"),
            "low" => Some("L"),
            "high" => Some("H"),
            _ => None,
        };
        let mut concept = json!({"text": flag});
        if let Some(code) = code {
            let system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
            concept["coding"] = json!([{"system": system, "code": code}]);
        }
        resource["interpretation"] = json!([concept]);
    }
    if let Some(range) = range(row) {
        resource["referenceRange"] = json!([range]);
    }
}

/// In the unit of the value, or in words with the source's own: bounds in another unit than the value's would be compared
/// with it.
fn range(row: &Observation) -> Option<Value> {
    if row.range_low.is_none() && row.range_high.is_none() {
        return None;
    }
    let written = row.unit.as_deref().filter(|unit| !unit.trim().is_empty());
    let (unit, ucum) = match (&row.canonical_number, row.canonical_unit.as_deref()) {
        (Some(number), Some(unit)) if Some(unit) == written || same_scale(*number, row.number) => (Some(unit), true),
        (Some(_), Some(_)) => return Some(json!({"text": range_words(row, written)})),
        _ => (written, false),
    };
    let mut range = Map::new();
    for (key, bound) in [("low", row.range_low), ("high", row.range_high)] {
        let Some(bound) = bound.map(json_number) else { continue };
        let mut quantity = json!({"value": bound});
        if let Some(unit) = unit {
            quantity["unit"] = unit.into();
            if ucum {
                quantity["system"] = UCUM.into();
                quantity["code"] = unit.into();
            }
        }
        range.insert(key.into(), quantity);
    }
    Some(Value::Object(range))
}

/// One unit by two names, as mEq/L and mmol/L of potassium: the number stayed.
fn same_scale(canonical: Decimal, number: Option<Decimal>) -> bool {
    number == Some(canonical) && !canonical.is_zero()
}

fn range_words(row: &Observation, unit: Option<&str>) -> String {
    let bound = |bound: Option<Decimal>| bound.map(|bound| bound.to_string());
    let numbers = match (bound(row.range_low), bound(row.range_high)) {
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("from {low}"),
        (None, Some(high)) => format!("up to {high}"),
        (None, None) => String::new(),
    };
    format!("As written by the source: {numbers} {}", unit.unwrap_or("(no unit)"))
}

/// What a reader must know before they take the value for one that was looked at.
fn judged(row: &Observation) -> Vec<String> {
    let status = matches!(row.status.as_deref(), Some("unknown")).then(|| match &row.status_text {
        Some(text) => format!("Status not understood: {text}"),
        None => "Status not told by the source".to_owned(),
    });
    let watched = row.not_watched().then(|| "Not watched: no rule judges this result".to_owned());
    status.into_iter().chain(watched).collect()
}

/// What the source wrote, where the resource says something else.
fn written(row: &Observation) -> Option<String> {
    let unit = row.unit.as_deref().unwrap_or_default();
    let comparator = row.comparator.as_deref().unwrap_or_default();
    let same = row.unusable().is_none()
        && (row.canonical_number.is_none() || (row.canonical_number == row.number && row.canonical_unit == row.unit));
    if same {
        return None;
    }
    match (row.number, &row.text) {
        // The text may turn the number's meaning round.
        (Some(number), Some(text)) if row.unusable().is_some() => {
            Some(format!("As written by the source: {comparator}{number} {unit}; {text}"))
        }
        (Some(number), _) => Some(format!("As written by the source: {comparator}{number} {unit}")),
        (None, Some(text)) => Some(format!("As written by the source: {text} {unit}").trim_end().to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
