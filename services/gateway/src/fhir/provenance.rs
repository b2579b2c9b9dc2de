//! Where each resource comes from: which source told it when, and in which event.

use super::{
    Stop,
    reading::{Found, Read, Reading},
    resources::{record_id, source_uri},
    shape,
    table::{Made, TYPES},
};
use crate::record::{Identity, clinical::Provenance as Origin, rows::Narrow};
use serde_json::{Value, json};
use uuid::Uuid;

const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
/// Stands for the record of who the patient is, in an id.
const IDENTITY: &str = "identity";

/// Of every resource that comes from one record.
pub async fn read(reading: &Reading<'_>, narrow: Narrow<'_>) -> Result<Read, Stop> {
    let mut read = Read { found: of_patient(reading), cut: false };
    for of in TYPES.iter().filter(|of| matches!(of.made, Made::Of(_) | Made::Supply(_))) {
        let told = Box::pin(reading.of(of, Narrow { digests: narrow.digests, codes: None })).await?;
        read.cut |= told.cut;
        read.found.extend(told.found.iter().filter_map(|found| of_one(reading.person.id, found)));
    }
    Ok(read)
}

/// Of one resource. The id is that of its target, whose type is another.
pub fn of_one(person: Uuid, found: &Found) -> Option<Found> {
    let origin = found.origin.as_ref()?;
    let id = record_id(person, &origin.source, &origin.patient, &origin.record);
    Some(made(id, &found.name(), origin))
}

/// Of the patient: each source that the reader sees told something.
pub fn of_patient(reading: &Reading<'_>) -> Vec<Found> {
    let shown = reading.person.identities.iter().filter(|identity| identity.shown_by(reading.decision));
    let person = reading.person.id;
    let one = |identity: &Identity| {
        let origin = Origin {
            source: identity.source.clone(),
            patient: identity.patient.clone(),
            record: IDENTITY.to_owned(),
            organisation: identity.organisation.clone(),
            committed_at: identity.committed_at,
            event_id: identity.event_id.clone(),
            more: identity.more.clone(),
            ..Origin::default()
        };
        let id = record_id(person, &identity.source, &identity.patient, IDENTITY);
        made(id, &format!("Patient/{person}"), &origin)
    };
    shown.map(one).collect()
}

fn made(id: String, target: &str, origin: &Origin) -> Found {
    let mut resource = json!({
        "resourceType": "Provenance",
        "id": id,
        "target": [{"reference": target}],
        "agent": [{"type": shape::coding(PARTICIPANT, "author"), "who": shape::organisation(origin)}],
        "entity": [{"role": "source", "what": {"identifier": {"system": source_uri(&origin.source), "value": origin.event_id}}}],
    });
    shape::set(&mut resource, "occurredDateTime", shape::time(origin.entered_at));
    match shape::time(Some(origin.committed_at)) {
        Some(at) => resource["recorded"] = at,
        None => resource["_recorded"] = shape::absent("unknown"),
    }
    let recorders = shape::people(&origin.more, &["recorder", "author"]);
    if let Some(agents) = resource["agent"].as_array_mut() {
        agents.extend(
            recorders.into_iter().map(|who| json!({"type": shape::coding(PARTICIPANT, "enterer"), "who": who})),
        );
    }
    let mut found = Found { at: None, committed_at: origin.committed_at, id, resource, origin: None };
    made_by(origin, &mut found.resource);
    super::reading::version(&mut found.resource);
    found
}

/// By which mapping and terminology its source's rows were understood.
fn made_by(origin: &Origin, resource: &mut Value) {
    let Some(made_by) = origin.more.one("made_by") else { return };
    let told = ["mapping", "terminology", "units"].into_iter().filter_map(|part| made_by.get(part)?.as_str());
    let words: Vec<&str> = told.filter(|words| !words.trim().is_empty()).collect();
    if let (false, Some(agents)) = (words.is_empty(), resource["agent"].as_array_mut()) {
        let who = json!({"display": format!("Causeway: {}", words.join(", "))});
        agents.push(json!({"type": shape::coding(PARTICIPANT, "assembler"), "who": who}));
    }
}
