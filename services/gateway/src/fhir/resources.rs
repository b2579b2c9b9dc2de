//! The shapes of FHIR R4 resources, made from rows that may be shown.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::NHS_NUMBER_SYSTEM;
use crate::{
    access::Decision,
    app::Problem,
    page::{format, patient::main_identity},
    record::{
        Person,
        clinical::{Coded, Observation},
    },
};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const SNOMED: &str = "http://snomed.info/sct";
const LOINC: &str = "http://loinc.org";
const UCUM: &str = "http://unitsofmeasure.org";
const VERIFICATION: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus";
const VERIFICATION_STATUS: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland";
const ABSENT: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";
/// Characters of the digest in an Observation's id: with a uuid and a dot within FHIR's 64.
const DIGEST_CHARS: usize = 26;

/// The person's uuid, a dot, and a digest of the record's key. It holds as long as the link to the person does.
pub fn observation_id(person: Uuid, source: &str, patient: &str, record: &str) -> String {
    let mut digest = Sha256::new();
    for part in [source, patient, record] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{person}.{}", &hex[..DIGEST_CHARS])
}

pub fn person_of(observation: &str) -> Option<Uuid> {
    observation.split_once('.')?.0.parse().ok()
}

pub fn outcome(problem: &Problem) -> Value {
    let code = match problem {
        Problem::NotSignedIn => "login",
        Problem::Forbidden { .. } => "forbidden",
        Problem::NotFound => "not-found",
        Problem::Bad(_) => "invalid",
        Problem::Throttled => "throttled",
        Problem::Busy => "transient",
        Problem::Failed => "exception",
    };
    let issue = json!([{"severity": "error", "code": code, "diagnostics": problem.words()}]);
    json!({"resourceType": "OperationOutcome", "issue": issue})
}

pub fn bundle(total: i64, resources: Vec<Value>, links: &[(&str, String)]) -> Value {
    let entries: Vec<Value> = resources
        .into_iter()
        .map(|resource| {
            let url = format!("{}/{}", text(&resource["resourceType"]), text(&resource["id"]));
            json!({"fullUrl": url, "resource": resource, "search": {"mode": "match"}})
        })
        .collect();
    let links: Vec<Value> = links.iter().map(|(relation, url)| json!({"relation": relation, "url": url})).collect();
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "total": total});
    if !links.is_empty() {
        bundle["link"] = Value::Array(links);
    }
    bundle["entry"] = Value::Array(entries);
    bundle
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A value as part of a query.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
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
        resource.insert(
            "meta".into(),
            json!({"source": format!("{}#{}", source_uri(&identity.source), identity.event_id),
            "lastUpdated": format::machine(identity.committed_at)}),
        );
        let mut name = Map::from_iter([("use".to_owned(), Value::from("official"))]);
        if let Some(family) = &identity.family {
            name.insert("family".into(), family.clone().into());
        }
        if let Some(given) = &identity.given {
            name.insert("given".into(), given.split_whitespace().collect());
        }
        resource.insert("identifier".into(), identifiers.into());
        resource.insert("name".into(), json!([name]));
        for (key, value) in [("gender", &identity.gender), ("birthDate", &identity.birth_date)] {
            if let Some(value) = value {
                resource.insert(key.into(), value.clone().into());
            }
        }
        if let Some(death) = &identity.death_date {
            resource.insert("deceasedDateTime".into(), death.clone().into());
        }
        if let Some(postcode) = &identity.postcode {
            resource.insert("address".into(), json!([{"postalCode": postcode}]));
        }
        if let Some(practice) = shown.iter().find_map(|identity| identity.registered_practice.as_ref()) {
            let identifier = json!({"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": practice});
            resource.insert("generalPractitioner".into(), json!([{"identifier": identifier}]));
        }
    }
    Value::Object(resource)
}

fn source_uri(source: &str) -> String {
    format!("urn:causeway:source:{source}")
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
        "id": observation_id(person, &from.source, &from.patient, &from.record),
        "meta": {"lastUpdated": format::machine(from.committed_at), "source": format!("{}#{}", source_uri(&from.source), from.event_id)},
        "identifier": [{"system": source_uri(&from.source), "value": from.record}],
        "status": status,
        "code": code(&row.code),
        "subject": {"reference": format!("Patient/{person}")},
        "performer": [{"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": from.organisation}}],
    });
    if row.analyte.is_some() || row.specimen.is_some() {
        let system = "http://terminology.hl7.org/CodeSystem/observation-category";
        resource["category"] = json!([{"coding": [{"system": system, "code": "laboratory"}]}]);
    }
    if let Some(at) = from.effective_at {
        resource["effectiveDateTime"] = format::machine(at).into();
    }
    if let Some(at) = row.authorised_at {
        resource["issued"] = format::machine(at).into();
    }
    if let Some(specimen) = &row.specimen {
        resource["specimen"] = json!({"identifier": {"value": specimen}});
    }
    value(row, &mut resource);
    interpretation(row, &mut resource);
    let written = written(row).map(|words| json!({"text": words}));
    let comment = row.comment.as_ref().map(|comment| json!({"text": comment}));
    let said = judged(row).into_iter().map(|words| json!({"text": words}));
    let notes: Vec<Value> = written.into_iter().chain(comment).chain(said).collect();
    if !notes.is_empty() {
        resource["note"] = notes.into();
    }
    resource
}

fn code(coded: &Coded) -> Value {
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
    let mut concept = Map::new();
    if !codings.is_empty() {
        concept.insert("coding".into(), codings.into());
    }
    if !coded.text.is_empty() {
        concept.insert("text".into(), coded.text.clone().into());
    }
    Value::Object(concept)
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
    if let Some((unit, ucum)) = unit {
        quantity["unit"] = unit.clone().into();
        if ucum {
            quantity["system"] = UCUM.into();
            quantity["code"] = unit.clone().into();
        }
    }
    quantity
}

/// Whole numbers stay whole; others take the shortest decimal that means the same.
fn json_number(number: Decimal) -> Value {
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
    // The range is in the unit that the source wrote: given as words where the value was converted.
    let (low, high) = (row.range_low.map(json_number), row.range_high.map(json_number));
    if low.is_none() && high.is_none() {
        return;
    }
    let unit = row.unit.clone().unwrap_or_default();
    let mut range = Map::new();
    for (key, bound) in [("low", low), ("high", high)] {
        if let Some(bound) = bound {
            range.insert(key.into(), json!({"value": bound, "unit": unit}));
        }
    }
    resource["referenceRange"] = json!([range]);
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
