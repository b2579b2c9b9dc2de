//! A row of the record as the rules see it: page and FHIR ask the same judgement as the alerts.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{Person, clinical::Observation};
use crate::access::Decision;
use alert::{Finding, Judgement, Limits, judgement, rules::urgency::Times};
use event::{Comparator, SourcePatient};
use jiff::civil::Date;

/// `birth_date`: days since 1970-01-01, for limits of an age.
pub fn finding(row: &Observation, birth_date: Option<i32>) -> Finding {
    let from = &row.from;
    let patient = SourcePatient { source: from.source.clone(), id: from.patient.clone() };
    Finding {
        organisation: from.organisation.clone(),
        event_id: from.event_id.clone(),
        times: Times {
            committed_at: from.committed_at,
            entered_at: from.entered_at,
            authorised_at: row.authorised_at,
            ..Times::default()
        },
        effective_at: from.effective_at,
        code_text: row.code.text.clone(),
        analyte: row.analyte.clone(),
        comparator: row.comparator.as_deref().and_then(Comparator::parse),
        number: row.number,
        unit: row.unit.clone(),
        text: row.text.clone(),
        canonical: row.canonical_number.zip(row.canonical_unit.clone()),
        range_low: row.range_low,
        range_high: row.range_high,
        flag: row.flag.clone(),
        unchecked: row.unchecked.clone(),
        comment: row.comment.clone(),
        status: row.status.clone(),
        unknown_status: (row.status.as_deref() == Some("unknown")).then(|| row.status_text.clone().unwrap_or_default()),
        birth_date,
        ..Finding::of(patient, from.record.clone())
    }
}

/// Days since 1970-01-01, of the identities that are shown; none where they disagree.
pub fn birth_date(person: &Person, decision: &Decision) -> Option<i32> {
    let shown = person.identities.iter().filter(|identity| identity.shown_by(decision));
    let mut dates: Vec<&str> = shown.filter_map(|identity| identity.birth_date.as_deref()).collect();
    dates.sort_unstable();
    dates.dedup();
    let [date] = dates[..] else { return None };
    let born: Date = date.parse().ok()?;
    born.since(jiff::civil::date(1970, 1, 1)).ok().map(|span| span.get_days())
}

/// How a row stands. Without a birth date every age band counts.
pub fn judge(row: &Observation, birth_date: Option<i32>, limits: &Limits) -> Judgement {
    judgement::of(&finding(row, birth_date), limits)
}
