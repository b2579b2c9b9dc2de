//! What stands on each list of a record now, or why nothing does.
//!
//! # Why
//! A search that finds no allergy looks the same whether somebody asked, nobody did, or nobody may know. A list says which:
//! in the page's own words, and with FHIR's code where one says no more than is known. Where anything of the record may not
//! be shown, every empty list says the same, so that none tells where it was.

use super::{
    Stop,
    reading::{Found, Read, Reading},
    resources::LOINC,
    shape, table,
};
use crate::record::{
    self,
    absence::Coverage,
    rows::{self, Narrow},
};
use event::Kind;
use serde_json::{Value, json};
use uuid::Uuid;

const USE: &str = "http://terminology.hl7.org/CodeSystem/list-example-use-codes";

/// A list of the record: what is on it, and what it is called. LOINC's codes are those of the sections of a patient summary
/// (<https://hl7.org/fhir/R4/valueset-doc-section-codes.html>).
pub struct Listed {
    pub kind: Kind,
    pub of: &'static str,
    pub title: &'static str,
    code: (&'static str, &'static str),
    /// Its section in a patient summary, if it is one.
    pub section: Option<&'static str>,
}

pub const LISTS: [Listed; 7] = [
    listed(Kind::Allergy, "AllergyIntolerance", "Allergies and intolerances", (USE, "allergies"), Some("48765-2")),
    listed(Kind::Medication, "MedicationStatement", "Current medicines", (USE, "medications"), Some("10160-0")),
    listed(Kind::Condition, "Condition", "Active problems", (USE, "problems"), Some("11450-4")),
    listed(Kind::Immunisation, "Immunization", "Immunisations", (LOINC, "11369-6"), Some("11369-6")),
    listed(Kind::Procedure, "Procedure", "Procedures", (LOINC, "47519-4"), Some("47519-4")),
    listed(Kind::Observation, "Observation", "Results", (LOINC, "30954-2"), Some("30954-2")),
    listed(Kind::Flag, "Flag", "Flags", (USE, "alerts"), None),
];

const fn listed(
    kind: Kind,
    of: &'static str,
    title: &'static str,
    code: (&'static str, &'static str),
    section: Option<&'static str>,
) -> Listed {
    Listed { kind, of, title, code, section }
}

/// What is on one list, and whether somebody recorded that there is nothing to put on it.
pub struct Standing {
    pub found: Vec<Found>,
    pub asked: bool,
    pub cut: bool,
}

/// Every list, as resources.
pub async fn read(reading: &Reading<'_>, narrow: Narrow<'_>) -> Result<Read, Stop> {
    let coverage = coverage(reading).await?;
    let mut read = Read::default();
    for list in &LISTS {
        let id = format!("{}.{}", reading.person.id, list.kind.as_str());
        if narrow.digests.is_some_and(|wanted| wanted.iter().all(|one| one != list.kind.as_str())) {
            continue;
        }
        let standing = standing(reading, list).await?;
        read.cut |= standing.cut;
        let resource = resource(reading, list, &standing, &coverage, &id);
        let committed_at = standing.found.iter().map(|found| found.committed_at).max().unwrap_or_default();
        read.found.push(Found { at: None, committed_at, id, resource, origin: None });
    }
    Ok(read)
}

pub async fn coverage(reading: &Reading<'_>) -> Result<Coverage, Stop> {
    let late = reading.app.sources_behind();
    let teams = &reading.app.site.teams;
    Ok(record::coverage(reading.transaction, reading.person, reading.decision, teams, &late).await?)
}

/// What stands on it today: what is active, of the kinds that end.
pub async fn standing(reading: &Reading<'_>, list: &Listed) -> Result<Standing, Stop> {
    let of = table::named(list.of).ok_or(crate::app::Problem::NotFound)?;
    let read = reading.of(of, Narrow::default()).await?;
    let active = |found: &Found| match list.kind {
        Kind::Allergy | Kind::Condition => found.resource["clinicalStatus"]["coding"][0]["code"] == "active",
        Kind::Flag => found.resource["status"] == "active",
        Kind::Medication => {
            matches!(found.resource["status"].as_str(), Some("active" | "on-hold" | "unknown"))
        }
        _ => true,
    };
    let mut found: Vec<Found> = read.found.into_iter().filter(active).collect();
    let mut asked = false;
    if list.kind == Kind::Allergy {
        let none = none_known(reading).await?;
        asked = !none.is_empty();
        found.retain(|found| !none.contains(&found.id));
    }
    Ok(Standing { found, asked, cut: read.cut })
}

/// The ids of what says that no allergy is known.
async fn none_known(reading: &Reading<'_>) -> Result<Vec<String>, Stop> {
    let rows = rows::allergies(reading.transaction, reading.whom(), Narrow::default()).await?;
    let none = rows.rows.iter().filter(|row| row.none_known && row.active);
    let id = |of: &record::clinical::Provenance| {
        super::resources::record_id(reading.person.id, &of.source, &of.patient, &of.record)
    };
    Ok(none.map(|row| id(&row.from)).collect())
}

/// Why there is nothing on it.
pub fn empty_reason(reading: &Reading<'_>, kind: Kind, asked: bool, coverage: &Coverage) -> Value {
    coverage.absence(kind, asked).concept(kind, |code| reading.app.organisation_name(code))
}

fn resource(reading: &Reading<'_>, list: &Listed, standing: &Standing, coverage: &Coverage, id: &str) -> Value {
    let person: Uuid = reading.person.id;
    let mut resource = json!({
        "resourceType": "List",
        "id": id,
        "status": "current",
        "mode": "snapshot",
        "title": list.title,
        "code": {"coding": [{"system": list.code.0, "code": list.code.1}], "text": list.title},
        "subject": shape::reference(person),
    });
    let entries: Vec<Value> = standing.found.iter().map(|found| json!({"item": {"reference": found.name()}})).collect();
    if entries.is_empty() {
        resource["emptyReason"] = empty_reason(reading, list.kind, standing.asked, coverage);
    } else {
        resource["entry"] = entries.into();
    }
    resource
}
