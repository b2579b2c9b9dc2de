//! A row of the record as the rules see it: page and FHIR ask the same judgement as the alerts.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{Person, clinical::Observation};
use crate::{access::Decision, site::Site};
use alert::{
    Finding, Judgement,
    facts::{Setting, Sex},
    judgement,
    rules::urgency::Times,
};
use event::{Comparator, SourcePatient, Teams};
use jiff::civil::Date;

/// What limits ask of a patient. What is not known counts for every limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who {
    /// Days since 1970-01-01.
    pub birth_date: Option<i32>,
    pub sex: Option<Sex>,
}

pub fn finding(row: &Observation, who: Who, teams: &Teams) -> Finding {
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
        birth_date: who.birth_date,
        sex: who.sex,
        setting: Setting::of(&from.organisation, teams),
        codes: row.code.snomed.iter().chain(&row.code.code).cloned().collect(),
        ..Finding::of(patient, from.record.clone())
    }
}

/// Of the identities that are shown; nothing where they disagree, and no birth date where no more than a month is known.
pub fn who(person: &Person, decision: &Decision) -> Who {
    let shown = || person.identities.iter().filter(|identity| identity.shown_by(decision));
    let born_on: Vec<&str> = shown().filter_map(|identity| identity.birth_date.as_deref()).collect();
    let mut genders = shown().filter_map(|identity| identity.gender.as_deref());
    let gender = genders.next().filter(|first| genders.all(|other| other == *first));
    Who { birth_date: born(&born_on), sex: gender.and_then(Sex::parse) }
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

/// How a row stands.
pub fn judge(row: &Observation, who: Who, site: &Site) -> Judgement {
    judgement::of(&finding(row, who, &site.teams), &site.limits)
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
