//! Consultations, observations in their many forms, and problems.

use super::{Bundle, Rows, fhir::Concept, fhir::Resource, fhir::key};
use crate::catalogue::ALLERGY;
use crate::gp;
use rust_decimal::Decimal;
use std::collections::HashSet;
use uuid::Uuid;

const SEEN: &str = "Observations/Examination";

impl Bundle<'_> {
    pub(super) fn consultation(&self, resource: &Resource<'_>) -> gp::Consultation {
        let start = resource.time("/period/start");
        resource.referred("/subject");
        let performer = (0..resource.len("/participant")).find_map(|i| {
            let kind = format!("/participant/{i}/type/0/coding/0/code");
            (resource.text(&kind)? == "PPRF").then(|| resource.referred(&format!("/participant/{i}/individual")))?
        });
        resource.referred("/serviceProvider");
        gp::Consultation {
            consultation_id: key(resource.id),
            patient_id: self.patient,
            organisation: self.practice.clone(),
            user_in_role_id: performer,
            effective_datetime: start.map(|(at, _)| at),
            effective_datetime_precision: start.map(|(_, precision)| precision.to_owned()),
            end_datetime: resource.at("/period/end"),
            consultation_source_term: resource.text("/type/0/text"),
            is_complete: resource.text("/status").map(|status| status == "finished"),
            ..Default::default()
        }
    }

    /// What every observation of this bundle has; `when` and `entered` are where the resource tells the times.
    fn observed(&self, resource: &Resource<'_>, id: Uuid, when: &str, entered: &str) -> gp::Observation {
        let at = resource.time(when);
        for subject in ["/subject", "/patient"] {
            resource.referred(subject);
        }
        let context = ["/context", "/encounter", "/context/encounter"].iter().find_map(|p| resource.referred(p));
        let associated = resource.extension("", "encounter-associatedEncounter");
        let user = ["/performer/0", "/recorder", "/asserter", "/practitioner/0/actor", "/requester/agent"];
        gp::Observation {
            observation_id: id,
            patient_id: self.patient,
            effective_datetime: at.map(|(at, _)| at),
            effective_datetime_precision: at.map(|(_, precision)| precision.to_owned()),
            entered_datetime: resource.at(entered),
            user_in_role_id: user.iter().find_map(|p| resource.referred(p)),
            organisation: self.practice.clone(),
            observation_type: Some("Observation".to_owned()),
            parent_observation_id: self.parents.get(&id).copied(),
            problem_observation_id: self.problems.get(&id).copied(),
            consultation_id: context
                .or_else(|| associated.and_then(|p| resource.referred(&format!("{p}/valueReference")))),
            ..Default::default()
        }
    }

    pub(super) fn observation(&self, resource: &Resource<'_>, rows: &mut Rows) -> Uuid {
        let id = key(resource.id);
        let base = self.observed(resource, id, "/effectiveDateTime", "/issued");
        let mut row = base.clone();
        code(&mut row, &resource.concept("/code"), SEEN, rows);
        value(&mut row, resource, "");
        range(&mut row, resource);
        comment(&mut row, resource.text("/comment"));
        row.abnormal_flag = resource.text("/interpretation/coding/0/code").map(|flag| flag != "N");
        // EMIS has no status: what is there is final. Another status has no column, and stays unread.
        resource.mark_if("/status", "final");
        for i in 0..resource.len("/related") {
            // The other end told it: `parents`.
            resource.referred(&format!("/related/{i}/target"));
            resource.mark(&format!("/related/{i}/type"));
        }
        for i in 0..resource.len("/component") {
            let pointer = format!("/component/{i}");
            let mut part = gp::Observation {
                observation_id: key(&format!("{}{pointer}", resource.id)),
                parent_observation_id: Some(id),
                ..base.clone()
            };
            code(&mut part, &resource.concept(&format!("{pointer}/code")), SEEN, rows);
            value(&mut part, resource, &pointer);
            rows.put(&part);
        }
        rows.put(&row);
        id
    }

    pub(super) fn allergy(&self, resource: &Resource<'_>, rows: &mut Rows) -> Uuid {
        let id = key(resource.id);
        let mut row = self.observed(resource, id, "/onsetDateTime", "/assertedDate");
        row.observation_type = Some("Allergy".to_owned());
        code(&mut row, &resource.concept("/code"), ALLERGY, rows);
        let reactions = resource.lines("/reaction", "/description");
        comment(&mut row, resource.lines("/note", "/text"));
        comment(&mut row, reactions);
        // EMIS knows no status of an allergy: it is there or it is not.
        if resource.text("/clinicalStatus").is_some_and(|status| status != "active") {
            comment(&mut row, Some("Ended".to_owned()));
        }
        rows.put(&row);
        id
    }

    pub(super) fn immunisation(&self, resource: &Resource<'_>, rows: &mut Rows) -> Uuid {
        let id = key(resource.id);
        let mut row = self.observed(resource, id, "/date", "/date");
        row.observation_type = Some("Immunisation".to_owned());
        if let Some(procedure) = resource.extension("", "VaccinationProcedure-1") {
            code(&mut row, &resource.concept(&format!("{procedure}/valueCodeableConcept")), "Immunisations", rows);
        }
        if let Some(recorded) = resource.extension("", "DateRecorded-1") {
            row.entered_datetime = resource.at(&format!("{recorded}/valueDateTime"));
        }
        comment(&mut row, resource.lines("/note", "/text"));
        rows.put(&row);
        id
    }

    pub(super) fn referral(&self, resource: &Resource<'_>, rows: &mut Rows) -> Uuid {
        let id = key(resource.id);
        let mut row = self.observed(resource, id, "/authoredOn", "/authoredOn");
        row.observation_type = Some("Referral".to_owned());
        code(&mut row, &resource.concept("/reasonCode/0"), "Referral", rows);
        comment(&mut row, resource.lines("/note", "/text"));
        let recipient = (0..resource.len("/recipient")).find_map(|i| {
            let (kind, id) = resource.reference(&format!("/recipient/{i}"))?;
            (kind == "Organization").then(|| self.get(id)).flatten()
        });
        rows.put(&gp::Referral {
            observation_id: id,
            patient_id: self.patient,
            organisation: self.practice.clone(),
            recipient_ods_code: recipient.and_then(super::people::ods_code),
            recipient_department: recipient.and_then(|o| o.text("/name")),
            urgency: resource.text("/priority"),
            referral_reason: resource.text("/description"),
            effective_datetime: row.effective_datetime,
            ..Default::default()
        });
        rows.put(&row);
        id
    }

    pub(super) fn document(&self, resource: &Resource<'_>, rows: &mut Rows) -> Uuid {
        let id = key(resource.id);
        let mut row = self.observed(resource, id, "/created", "/indexed");
        row.observation_type = Some("Document".to_owned());
        row.document_id = Some(id);
        code(&mut row, &resource.concept("/type"), "Documents", rows);
        comment(&mut row, resource.text("/description"));
        rows.put(&row);
        id
    }

    pub(super) fn problem(&self, resource: &Resource<'_>, observed: &HashSet<Uuid>, rows: &mut Rows) {
        let Some(&id) = self.actual.get(resource.id) else {
            return;
        };
        let mut row = self.observed(resource, id, "/onsetDateTime", "/assertedDate");
        row.observation_type = Some("Condition".to_owned());
        let concept = resource.concept("/code");
        if !observed.contains(&id) {
            code(&mut row, &concept, "Conditions", rows);
            rows.put(&row);
        }
        let significance = resource.extension("", "ProblemSignificance-1");
        let ended = resource.time("/abatementDateTime");
        rows.put(&gp::Problem {
            observation_id: id,
            patient_id: self.patient,
            organisation: self.practice.clone(),
            problem_status: resource
                .text("/clinicalStatus")
                .map(|s| if s == "active" { "Active" } else { "Past" }.to_owned()),
            significance: significance
                .and_then(|p| resource.text(&format!("{p}/valueCode")))
                .map(|s| if s == "major" { "Significant" } else { "Minor" }.to_owned()),
            effective_datetime: row.effective_datetime,
            end_datetime: ended.map(|(at, _)| at),
            end_datetime_precision: ended.map(|(_, precision)| precision.to_owned()),
            parent_problem_observation_id: self.parent_problem(resource),
            comment: resource.lines("/note", "/text"),
            ..Default::default()
        });
    }

    /// Both ends of a relation are told; the child's is kept.
    fn parent_problem(&self, resource: &Resource<'_>) -> Option<Uuid> {
        let mut parent = None;
        for relation in resource.extensions("", "RelatedProblemHeader-1") {
            let kind = resource.extension(&relation, "type").and_then(|p| resource.text(&format!("{p}/valueCode")));
            let target = resource.extension(&relation, "target").map(|p| format!("{p}/valueReference"));
            let target = target.and_then(|p| resource.reference(&p));
            if kind.as_deref() == Some("parent") {
                parent = target.and_then(|(_, id)| self.actual.get(id).copied());
            }
        }
        parent
    }
}

fn code(row: &mut gp::Observation, concept: &Concept, category: &str, rows: &mut Rows) {
    row.code_id = rows.code(concept, category);
    row.snomed_concept_id = concept.snomed;
    comment(row, concept.text.clone());
}

fn comment(row: &mut gp::Observation, text: Option<String>) {
    let Some(text) = text else {
        return;
    };
    row.associated_text = Some(match row.associated_text.take() {
        Some(before) => format!("{before}\n{text}"),
        None => text,
    });
}

fn value(row: &mut gp::Observation, resource: &Resource<'_>, base: &str) {
    if let Some(number) = resource.number(&format!("{base}/valueQuantity/value")) {
        row.observation_type = Some("Value".to_owned());
        row.numeric_value = Some(number);
        row.numeric_operator = resource.text(&format!("{base}/valueQuantity/comparator"));
        row.numeric_unit = resource.text(&format!("{base}/valueQuantity/unit"));
    }
    row.text_value = resource.text(&format!("{base}/valueString"));
}

fn range(row: &mut gp::Observation, resource: &Resource<'_>) {
    let base = "/referenceRange/0";
    row.range_minimum = resource.number(&format!("{base}/low/value"));
    row.range_maximum = resource.number(&format!("{base}/high/value"));
    row.range_units =
        resource.text(&format!("{base}/low/unit")).or_else(|| resource.text(&format!("{base}/high/unit")));
    if row.range_minimum.is_some() || row.range_maximum.is_some() {
        return;
    }
    let words = resource.text(&format!("{base}/text"));
    if let Some((low, high, unit)) = words.as_deref().and_then(range_in_words) {
        (row.range_minimum, row.range_maximum, row.range_units) = (low, high, unit);
    } else {
        comment(row, words.map(|words| format!("Range: {words}")));
    }
}

type Range = (Option<Decimal>, Option<Decimal>, Option<String>);

/// `> 23.000 mm[Hg]`, `< 5 mg/L`, `3.5 - 5.3 mmol/L`.
fn range_in_words(words: &str) -> Option<Range> {
    let mut words = words.split_whitespace();
    let first = words.next()?;
    let (low, high) = match first {
        ">" => (Some(words.next()?.parse().ok()?), None),
        "<" => (None, Some(words.next()?.parse().ok()?)),
        _ => {
            let low = first.parse().ok()?;
            (words.next()? == "-").then_some(())?;
            (Some(low), Some(words.next()?.parse().ok()?))
        }
    };
    let unit: Vec<_> = words.collect();
    Some((low, high, (!unit.is_empty()).then(|| unit.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, want: &str) {
        let show = |n: Option<Decimal>| n.map_or("none".to_owned(), |n| n.to_string());
        let range = range_in_words(words)
            .map(|(low, high, unit)| format!("{} {} {}", show(low), show(high), unit.unwrap_or_default()));
        assert_eq!(range.as_deref().unwrap_or("words"), want);
    }

    #[test]
    fn ranges_in_words() {
        check("> 23.000 mm[Hg]", "23.000 none mm[Hg]");
        check("< 5 mg/L", "none 5 mg/L");
        check("3.5 - 5.3 mmol/L", "3.5 5.3 mmol/L");
        check("3.5 - 5.3", "3.5 5.3 ");
        check("see comment", "words");
        check(">", "words");
    }
}
