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
        effective_precision: from.effective_precision,
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

/// Days since 1970-01-01, of the identities that are shown; none where they disagree, or no more than a month is known.
pub fn birth_date(person: &Person, decision: &Decision) -> Option<i32> {
    let shown = person.identities.iter().filter(|identity| identity.shown_by(decision));
    let told: Vec<&str> = shown.filter_map(|identity| identity.birth_date.as_deref()).collect();
    born(&told)
}

fn born(told: &[&str]) -> Option<i32> {
    let exact = told.iter().copied().max_by_key(|date| date.len())?;
    // `1984` agrees with any day of that year.
    if !told.iter().all(|date| exact.starts_with(date)) {
        return None;
    }
    let born: Date = exact.parse().ok()?;
    born.since(jiff::civil::date(1970, 1, 1)).ok().map(|span| span.get_days())
}

/// How a row stands. Without a birth date every age band counts.
pub fn judge(row: &Observation, birth_date: Option<i32>, limits: &Limits) -> Judgement {
    judgement::of(&finding(row, birth_date), limits)
}

#[cfg(test)]
mod tests {
    use super::born;

    #[test]
    fn a_day_that_all_agree_with_counts_and_a_year_is_no_day() {
        for (told, want) in [
            (&["1970-01-11"][..], Some(10)),
            (&["1970", "1970-01-11", "1970-01"], Some(10)),
            (&["1970-01-11", "1970-01-12"], None),
            (&["1971", "1970-01-11"], None),
            (&["1970"], None),
            (&["1970-01"], None),
            (&[], None),
        ] {
            assert_eq!(born(told), want, "{told:?}");
        }
    }
}
