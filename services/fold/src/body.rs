//! From a record's rows to what the event says of it.

use super::{fields, view::View};
use crate::table::{self, more};
use coding::{
    self, Coded, understand, units,
    value::{self, Beside},
};
use event::{
    Allergy, Body, Comparator, Condition, Demographics, Encounter, Measurement, Medication, Micros, NOT_WATCHED,
    NhsNumber, Observation, Participant, Precision, ResultStatus,
};
use mapping::{
    AllergyRule, BodyRule, ConditionRule, DemographicsRule, EncounterRule, MedicationRule, ObservationRule, State,
    UNKNOWN, shown,
};

/// Two cells tell two numbers, or two comparators.
const DIFFER: &str = "number and text differ";
/// Statuses of a medicine that may still be taken; what is on hold is not given now, and may be again.
const CURRENT: [&str; 3] = ["active", "on-hold", UNKNOWN];
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Shown with the source's comment when a result is dated more than a day after it was entered.
pub const DATED_LATER: &str = "(dated after it was entered)";

/// A record without its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub organisation: String,
    pub entered_at: Option<Micros>,
    pub effective_at: Option<Micros>,
    pub effective_precision: Option<Precision>,
    pub confidential: bool,
    pub participants: Vec<Participant>,
    pub location: Option<String>,
    pub body: Body,
}

/// `organisation` is the source's own, for rows that name none.
pub fn draft(view: &View<'_>, organisation: &str) -> Draft {
    let record = view.record;
    let entered_at = view.time(record.entered_at.as_ref());
    let effective = view.effective();
    let effective_at = effective.map(|moment| moment.at);
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
        BodyRule::Table(kind, rules) => kind.of(table::told(view, kind.fields(), rules)),
    };
    let organisation = view.text(record.organisation.as_ref()).unwrap_or_else(|| organisation.to_owned());
    // Where nobody can say, it is withheld.
    let confidential = view.any(&record.confidential_when, true);
    let effective_precision = effective.and_then(|moment| moment.precision);
    let participants = table::participants(view, &record.participants);
    let location = view.text(record.location.as_ref());
    Draft { organisation, entered_at, effective_at, effective_precision, confidential, participants, location, body }
}

fn demographics(view: &View<'_>, rule: &DemographicsRule) -> Demographics {
    let written = view.text(rule.nhs_number.as_ref());
    let nhs_number = written.as_deref().and_then(NhsNumber::parse);
    let (birth_date, birth_partial) = view.day(rule.birth_date.as_ref());
    let (death_date, death_partial) = view.day(rule.death_date.as_ref());
    Demographics {
        nhs_number,
        nhs_number_verified: nhs_number.is_some() && view.asserted_all(&rule.verified_when),
        nhs_number_text: if nhs_number.is_some() { None } else { written },
        family: view.text(rule.family.as_ref()),
        given: view.text(rule.given.as_ref()),
        birth_date,
        death_date,
        gender: view.text(rule.gender.as_ref()),
        postcode: view.text(rule.postcode.as_ref()),
        registered_practice: view.text(rule.registered_practice.as_ref()),
        objection: view.any(&rule.objection_when, true),
        birth_partial,
        death_partial,
        ..more(view, &rule.more)
    }
}

fn observation(view: &View<'_>, rule: &ObservationRule) -> Observation {
    let Coded { code, analyte } = table::code(view, &rule.code);
    let mut unchecked = None;
    let mut value = measurement(view, rule, &mut unchecked);
    let rest: Observation = more(view, &rule.more);
    if let Some(analyte) = analyte {
        let material = rest.material.as_ref().and_then(|material| material.kind.as_deref());
        let texts = material.into_iter().chain([code.text.as_str()]);
        match value.number {
            Some(number) if unchecked.is_none() => {
                (value.canonical, unchecked) = understand(analyte, number, value.unit.as_deref(), texts);
            }
            Some(_) => {}
            None if value.text.is_some() => unchecked = unchecked.or(Some("not a number")),
            None => unchecked = unchecked.or(Some("no value")),
        }
    } else if code.snomed.is_none() && code.loinc.is_none() {
        unchecked = unchecked.or(Some("unknown code"));
    } else if value.unit.as_deref().is_some_and(|unit| !units::is_unit(unit)) {
        unchecked = unchecked.or(Some("unknown unit"));
    } else if value.number.is_some() || value.text.is_some() {
        // A known code that no rule can watch must not look like one that was found to be in order.
        unchecked = unchecked.or(Some(NOT_WATCHED));
    }
    let (status, status_text) = status(view, rule);
    Observation {
        code,
        analyte: analyte.map(|analyte| analyte.key.clone()),
        value,
        status,
        authorised_at: view.time(rule.authorised_at.as_ref()),
        range_low: view.limit(rule.range_low.as_ref(), rule.marks),
        range_high: view.limit(rule.range_high.as_ref(), rule.marks),
        flag: view.text(rule.flag.as_ref()),
        specimen: view.text(rule.specimen.as_ref()),
        requester: view.text(rule.requester.as_ref()),
        unchecked: unchecked.map(str::to_owned),
        comment: view.text(rule.comment.as_ref()),
        status_text,
        ..rest
    }
}

fn measurement(view: &View<'_>, rule: &ObservationRule, unchecked: &mut Option<&'static str>) -> Measurement {
    let unit = view.text(rule.unit.as_ref());
    let words = view.text(rule.text.as_ref());
    let mut measurement = Measurement { unit, ..Measurement::default() };
    if let Some((_, cell)) = view.first(rule.number.as_ref()) {
        let written = shown(&cell);
        let read = value::read(&written, fields::marks_of(&cell, rule.marks));
        measurement.number = read.number.map(|number| if rule.trim_zeros { number.normalize() } else { number });
        measurement.comparator = read.comparator;
        let beside = read
            .number
            .zip(words.as_deref())
            .map(|(number, words)| value::beside(words, number, measurement.unit.as_deref(), rule.marks));
        match beside {
            // 6.0 beside ">6.0" is above 6.0.
            Some(Beside::Same(sign)) => together(&mut measurement.comparator, sign, unchecked),
            Some(Beside::Differs) => *unchecked = Some(DIFFER),
            Some(Beside::Words) | None => {}
        }
        measurement.text = words;
        if measurement.number.is_none() {
            *unchecked = Some("not a number");
            measurement.text =
                Some(measurement.text.map_or_else(|| written.clone(), |words| format!("{written}; {words}")));
        }
    } else if let Some(words) = words {
        let read = value::read(&words, rule.marks);
        measurement.number = read.number;
        measurement.comparator = read.comparator;
        measurement.text = (!read.plain).then_some(words);
    }
    if let Some(sign) = view.text(rule.comparator.as_ref()) {
        match Comparator::parse(&sign) {
            Some(comparator) => together(&mut measurement.comparator, Some(comparator), unchecked),
            None if sign == "=" => {}
            // A sign that is not understood may turn the number's meaning round.
            None => {
                *unchecked = unchecked.or(Some("unknown comparator"));
                let rest = measurement.text.map_or_else(String::new, |text| format!(" {text}"));
                measurement.text = Some(format!("{sign}{rest}"));
            }
        }
    }
    // A comparator of no number is none: what the source wrote stays visible.
    if let (None, Some(sign)) = (measurement.number, measurement.comparator) {
        let rest = measurement.text.map_or_else(String::new, |text| format!(" {text}"));
        measurement.text = Some(format!("{}{rest}", sign.as_str()));
        measurement.comparator = None;
    }
    measurement
}

/// Two places may tell the comparator. Where they tell two, neither is believed.
fn together(known: &mut Option<Comparator>, told: Option<Comparator>, unchecked: &mut Option<&'static str>) {
    match (*known, told) {
        (Some(known), Some(told)) if known != told => *unchecked = unchecked.or(Some(DIFFER)),
        _ => *known = known.or(told),
    }
}

/// The status, and the source's word for one that the mapping does not list. Nobody guesses what it means.
fn status(view: &View<'_>, rule: &ObservationRule) -> (ResultStatus, Option<String>) {
    let corrected = view.any(&rule.corrected_when, false);
    let word = match view.state(rule.status.as_ref()) {
        State::Listed(word) => word,
        State::Unlisted(text) => {
            view.doubted("unknown status", rule.status.as_ref());
            return (ResultStatus::Unknown, Some(text));
        }
        State::Nothing => return (ResultStatus::Unknown, None),
    };
    let status = match word.as_str() {
        "preliminary" => ResultStatus::Preliminary,
        "corrected" => ResultStatus::Corrected,
        "final" if corrected => ResultStatus::Corrected,
        "final" => ResultStatus::Final,
        _ => ResultStatus::Unknown,
    };
    (status, None)
}

fn medication(view: &View<'_>, rule: &MedicationRule) -> Medication {
    let (status, status_text) = medication_status(view, rule);
    let current = status.as_deref().is_none_or(|status| CURRENT.contains(&status));
    // Of a status that nobody understands, nobody knows that the medicine is over.
    let active = current && (status.as_deref() == Some(UNKNOWN) || view.all(&rule.active_when, true));
    Medication {
        code: table::code(view, &rule.code).code,
        dosage: view.text(rule.dosage.as_ref()),
        quantity: view.text(rule.quantity.as_ref()),
        course: view.text(rule.course.as_ref()),
        active,
        started_at: view.time(rule.started_at.as_ref()),
        ended_at: view.time(rule.ended_at.as_ref()),
        last_issued_at: view.time(rule.last_issued_at.as_ref()),
        status,
        status_reason: status_text.or_else(|| view.text(rule.status_reason.as_ref())),
        ..more(view, &rule.more)
    }
}

/// The status, if the mapping tells one, and the source's word for one that it does not list.
fn medication_status(view: &View<'_>, rule: &MedicationRule) -> (Option<String>, Option<String>) {
    if let Some((status, _)) = rule.status_when.iter().find(|(_, conditions)| view.asserted_all(conditions)) {
        return (Some((*status).to_owned()), None);
    }
    match view.state(rule.status.as_ref()) {
        State::Listed(word) => (Some(word), None),
        State::Unlisted(text) => {
            view.doubted("unknown status", rule.status.as_ref());
            (Some(UNKNOWN.to_owned()), Some(text))
        }
        State::Nothing => (rule.status.as_ref().map(|_| UNKNOWN.to_owned()), None),
    }
}

fn allergy(view: &View<'_>, rule: &AllergyRule) -> Allergy {
    Allergy {
        code: table::code(view, &rule.code).code,
        reaction: view.text(rule.reaction.as_ref()),
        severity: view.text(rule.severity.as_ref()),
        none_known: view.asserted(&rule.none_known_when),
        active: view.all(&rule.active_when, true),
        ..more(view, &rule.more)
    }
}

fn condition(view: &View<'_>, rule: &ConditionRule) -> Condition {
    Condition {
        code: table::code(view, &rule.code).code,
        active: view.all(&rule.active_when, true),
        significance: view.text(rule.significance.as_ref()),
        ended_at: view.time(rule.ended_at.as_ref()),
        ..more(view, &rule.more)
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
        ..more(view, &rule.more)
    }
}
