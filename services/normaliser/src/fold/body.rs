//! From a record's rows to what the event says of it.

use super::view::View;
use crate::{
    coding::{self, Coded, units, value},
    mapping::{
        AllergyRule, BodyRule, CodeRule, ConditionRule, DemographicsRule, EncounterRule, MedicationRule,
        ObservationRule, shown,
    },
};
use event::{
    Allergy, Body, Comparator, Condition, Demographics, Encounter, Measurement, Medication, Micros, NhsNumber,
    Observation, ResultStatus,
};

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Shown with the source's comment when a result is dated more than a day after it was entered.
pub const DATED_LATER: &str = "(dated after it was entered)";

/// A record without its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub organisation: String,
    pub entered_at: Option<Micros>,
    pub effective_at: Option<Micros>,
    pub body: Body,
}

/// `organisation` is the source's own, for rows that name none.
pub fn draft(view: &View<'_>, organisation: &str) -> Draft {
    let record = view.record;
    let entered_at = view.time(record.entered_at.as_ref());
    let effective_at = view.time(record.effective_at.as_ref());
    let body = match &record.body {
        BodyRule::Demographics(rule) => Body::Demographics(demographics(view, rule)),
        BodyRule::Observation(rule) => {
            let mut observation = observation(view, rule);
            let known_at = entered_at.or(observation.authorised_at);
            if effective_at.zip(known_at).is_some_and(|(effective, known)| effective > known.saturating_add(DAY_MICROS))
            {
                let words = observation.comment.map_or_else(String::new, |comment| format!("{comment} "));
                observation.comment = Some(format!("{words}{DATED_LATER}"));
            }
            Body::Observation(observation)
        }
        BodyRule::Medication(rule) => Body::Medication(medication(view, rule)),
        BodyRule::Allergy(rule) => Body::Allergy(allergy(view, rule)),
        BodyRule::Condition(rule) => Body::Condition(condition(view, rule)),
        BodyRule::Encounter(rule) => Body::Encounter(encounter(view, rule)),
    };
    let organisation = view.text(record.organisation.as_ref()).unwrap_or_else(|| organisation.to_owned());
    Draft { organisation, entered_at, effective_at, body }
}

fn demographics(view: &View<'_>, rule: &DemographicsRule) -> Demographics {
    let written = view.text(rule.nhs_number.as_ref());
    let nhs_number = written.as_deref().and_then(NhsNumber::parse);
    Demographics {
        nhs_number,
        nhs_number_verified: nhs_number.is_some() && !rule.verified_when.is_empty() && view.all(&rule.verified_when),
        nhs_number_text: if nhs_number.is_some() { None } else { written },
        family: view.text(rule.family.as_ref()),
        given: view.text(rule.given.as_ref()),
        birth_date: view.day(rule.birth_date.as_ref()),
        death_date: view.day(rule.death_date.as_ref()),
        gender: view.text(rule.gender.as_ref()),
        postcode: view.text(rule.postcode.as_ref()),
        registered_practice: view.text(rule.registered_practice.as_ref()),
        objection: view.any(&rule.objection_when),
    }
}

fn code(view: &View<'_>, rule: &CodeRule) -> Coded {
    let codes: Vec<_> =
        rule.codes.iter().filter_map(|(system, field)| Some((*system, view.text(Some(field))?))).collect();
    coding::code(view.source, view.text(rule.text.as_ref()), &codes)
}

fn observation(view: &View<'_>, rule: &ObservationRule) -> Observation {
    let Coded { code, analyte } = code(view, &rule.code);
    let mut unchecked = None;
    let mut value = measurement(view, rule, &mut unchecked);
    if let Some(analyte) = analyte {
        match (value.number, value.unit.as_deref()) {
            (Some(number), Some(unit)) if unchecked.is_none() => {
                value.canonical = units::convert(analyte, number, unit);
                if value.canonical.is_none() {
                    unchecked = Some("unknown unit");
                }
            }
            (Some(_), None) => unchecked = unchecked.or(Some("no unit")),
            (Some(_), Some(_)) => {}
            (None, _) if value.text.is_some() => unchecked = unchecked.or(Some("not a number")),
            (None, _) => unchecked = unchecked.or(Some("no value")),
        }
    } else if code.snomed.is_none() && code.loinc.is_none() {
        unchecked = unchecked.or(Some("unknown code"));
    } else if value.unit.as_deref().is_some_and(|unit| !units::is_unit(unit)) {
        unchecked = unchecked.or(Some("unknown unit"));
    }
    Observation {
        code,
        analyte: analyte.map(|analyte| analyte.key.to_owned()),
        value,
        status: status(view, rule),
        authorised_at: view.time(rule.authorised_at.as_ref()),
        range_low: view.limit(rule.range_low.as_ref()),
        range_high: view.limit(rule.range_high.as_ref()),
        flag: view.text(rule.flag.as_ref()),
        specimen: view.text(rule.specimen.as_ref()),
        requester: view.text(rule.requester.as_ref()),
        unchecked: unchecked.map(str::to_owned),
        comment: view.text(rule.comment.as_ref()),
        status_text: None,
    }
}

fn measurement(view: &View<'_>, rule: &ObservationRule, unchecked: &mut Option<&'static str>) -> Measurement {
    let unit = view.text(rule.unit.as_ref());
    let words = view.text(rule.text.as_ref());
    let mut measurement = Measurement { unit, ..Measurement::default() };
    if let Some((_, cell)) = view.first(rule.number.as_ref()) {
        let written = shown(cell);
        let read = value::read(&written);
        measurement.number = read.number.map(|number| if rule.trim_zeros { number.normalize() } else { number });
        measurement.comparator = read.comparator;
        measurement.text = words;
        if measurement.number.is_none() {
            *unchecked = Some("not a number");
            measurement.text =
                Some(measurement.text.map_or_else(|| written.clone(), |words| format!("{written}; {words}")));
        }
    } else if let Some(words) = words {
        let read = value::read(&words);
        measurement.number = read.number;
        measurement.comparator = read.comparator;
        measurement.text = (!read.plain).then_some(words);
    }
    if let Some(sign) = view.text(rule.comparator.as_ref()) {
        match Comparator::parse(&sign) {
            Some(comparator) => measurement.comparator = Some(comparator),
            None if sign == "=" => {}
            // A sign that is not understood may turn the number's meaning round.
            None => {
                *unchecked = unchecked.or(Some("unknown comparator"));
                let rest = measurement.text.map_or_else(String::new, |text| format!(" {text}"));
                measurement.text = Some(format!("{sign}{rest}"));
            }
        }
    }
    measurement
}

fn status(view: &View<'_>, rule: &ObservationRule) -> ResultStatus {
    let corrected = view.any(&rule.corrected_when);
    match view.text(rule.status.as_ref()).as_deref() {
        Some("preliminary") => ResultStatus::Preliminary,
        Some("corrected") => ResultStatus::Corrected,
        None | Some("final") if corrected => ResultStatus::Corrected,
        None | Some("final") => ResultStatus::Final,
        Some(_) => {
            view.doubted("unknown status", rule.status.as_ref());
            if corrected { ResultStatus::Corrected } else { ResultStatus::Final }
        }
    }
}

fn medication(view: &View<'_>, rule: &MedicationRule) -> Medication {
    Medication {
        code: code(view, &rule.code).code,
        dosage: view.text(rule.dosage.as_ref()),
        quantity: view.text(rule.quantity.as_ref()),
        course: view.text(rule.course.as_ref()),
        active: view.all(&rule.active_when),
        started_at: view.time(rule.started_at.as_ref()),
        ended_at: view.time(rule.ended_at.as_ref()),
        last_issued_at: view.time(rule.last_issued_at.as_ref()),
        status: None,
        status_reason: None,
    }
}

fn allergy(view: &View<'_>, rule: &AllergyRule) -> Allergy {
    Allergy {
        code: code(view, &rule.code).code,
        reaction: view.text(rule.reaction.as_ref()),
        severity: view.text(rule.severity.as_ref()),
        none_known: view.any(&rule.none_known_when),
        active: view.all(&rule.active_when),
    }
}

fn condition(view: &View<'_>, rule: &ConditionRule) -> Condition {
    Condition {
        code: code(view, &rule.code).code,
        active: view.all(&rule.active_when),
        significance: view.text(rule.significance.as_ref()),
        ended_at: view.time(rule.ended_at.as_ref()),
    }
}

fn encounter(view: &View<'_>, rule: &EncounterRule) -> Encounter {
    Encounter {
        class: view.text(rule.class.as_ref()).unwrap_or_default(),
        text: view.text(rule.text.as_ref()),
        team: view.text(rule.team.as_ref()),
        started_at: view.time(rule.started_at.as_ref()),
        ended_at: view.time(rule.ended_at.as_ref()),
        referral: rule.referral,
    }
}
