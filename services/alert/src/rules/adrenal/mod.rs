//! Sodium is low, potassium is high or glucose is low in a patient who is known to have adrenal insufficiency.
//!
//! # Why
//! Such a patient can be in danger by numbers that alarm in nobody else, and most of their numbers that lie a little
//! outside a range mean nothing. So signs have grades, and together they count for more. It says what was found in whom:
//! whether that is a crisis is for a clinician.

mod site;

#[cfg(test)]
mod tests;

use super::{
    Card, Judge, Severity, Spoken,
    judge::{Judged, judge},
    tell, urgency,
};
use crate::{
    Facts, Finding, Known, Limits,
    facts::{Setting, Stay, Wanted},
    judgement::{self, measured, usable},
    limits::{Bound, Inequality},
};
use event::Micros;
use rust_decimal::Decimal;
use serde_json::{Value, json};
pub use site::{Adrenal, Signal};

const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;
const MINUTE: Micros = 60_000_000;
/// Results of one signal that are read of one person.
pub const SIGNS_MAX: i64 = 100;

pub struct AdrenalInsufficiency;

impl Judge for AdrenalInsufficiency {
    fn card(&self) -> Card {
        Card {
            version: 2,
            source: "our own signal, after the Society for Endocrinology's guidance and Simpson 2020; for sign-off",
            owner: "the site's clinical safety officer",
            guideline: Some("Society for Endocrinology: emergency management of adrenal crisis"),
            words: "Signs in known adrenal insufficiency",
        }
    }

    fn is_on(&self, limits: &Limits) -> bool {
        limits.adrenal.is_on()
    }

    fn concepts<'a>(&self, limits: &'a Limits) -> Vec<&'a str> {
        limits.adrenal.snomed.iter().map(String::as_str).collect()
    }

    fn wants(&self, finding: &Finding, facts: &Facts, limits: &Limits) -> Vec<Wanted> {
        if facts.known(&limits.adrenal.snomed).is_none() {
            return Vec::new();
        }
        let reach = limits.adrenal.companion_hours.max(limits.adrenal.together_hours).saturating_mul(HOUR);
        // A day at either end: what is known to the day only starts before it.
        let since = finding.placed_at(limits).map(|at| at.saturating_sub(reach).saturating_sub(2 * DAY));
        let wanted = |analyte: &str| Wanted { analyte: analyte.to_owned(), newest: SIGNS_MAX, since };
        limits.adrenal.analytes().into_iter().map(wanted).collect()
    }

    fn wants_stays(&self, facts: &Facts, limits: &Limits) -> bool {
        facts.known(&limits.adrenal.snomed).is_some()
    }

    fn rests_on_stays(&self) -> bool {
        true
    }

    fn rests_on_results(&self) -> bool {
        true
    }

    fn bears_on_others(&self, finding: &Finding, limits: &Limits) -> bool {
        sign(finding, limits).is_some()
    }

    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool {
        sign(finding, limits).is_some()
    }

    fn judge(&self, finding: &Finding, facts: &Facts, limits: &Limits) -> Option<Spoken> {
        spoken(finding, facts, facts.known(&limits.adrenal.snomed)?, limits)
    }

    fn rests_on_the_record(&self) -> bool {
        true
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Mild,
    Moderate,
    Severe,
}

impl Grade {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mild => "mild",
            Self::Moderate => "moderate",
            Self::Severe => "severe",
        }
    }
}

/// How loudly it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Routine,
    Urgent,
    Emergency,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Urgent => "urgent",
            Self::Emergency => "emergency",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Emergency | Self::Urgent => Severity::Critical,
            Self::Routine => Severity::Warning,
        }
    }
}

/// What a result is by itself, in somebody known to have the disease.
#[derive(Clone, Copy)]
struct Sign<'a> {
    signal: &'a Signal,
    grade: Grade,
    sureness: Judged,
}

/// The gravest that it can be: what its comparator leaves open cannot be excluded.
fn sign<'a>(finding: &Finding, limits: &'a Limits) -> Option<Sign<'a>> {
    let (number, unit) = measured(finding)?;
    let analyte = finding.analyte.as_deref()?;
    let signal = limits.adrenal.signal.iter().find(|signal| signal.analyte == analyte)?;
    let beyond = |bound: Bound| {
        if signal.unit == unit { judge(finding.comparator, number, bound) } else { Judged::No }
    };
    let mild = outside_range(finding, signal).or_else(|| signal.mild.map(beyond)).unwrap_or(Judged::No);
    let grades =
        [(Grade::Severe, beyond(signal.severe)), (Grade::Moderate, beyond(signal.moderate)), (Grade::Mild, mild)];
    let met = grades.into_iter().find(|(_, sureness)| *sureness != Judged::No);
    met.map(|(grade, sureness)| Sign { signal, grade, sureness })
}

/// Beyond its own reference range, on the signal's side; none where the result tells no such end. The range is in the
/// source's unit.
fn outside_range(finding: &Finding, signal: &Signal) -> Option<Judged> {
    let (edge, inequality) =
        if signal.is_low() { (finding.range_low, Inequality::Less) } else { (finding.range_high, Inequality::Greater) };
    Some(judge(finding.comparator, finding.number?, Bound { inequality, value: edge? }))
}

/// Whether the patient was in an emergency department or on a ward when the sample was taken, or has been since. One that
/// ended afterwards counts: going home takes nothing back.
enum Whereabouts<'a> {
    Staying(&'a Stay),
    /// Nobody tells: it counts as a stay, for one page too many is less of a danger than a sign that nobody saw.
    NotKnown,
    Home,
}

fn whereabouts<'a>(finding: &Finding, facts: &'a Facts, limits: &Limits) -> Whereabouts<'a> {
    let site = &limits.adrenal;
    let taken = finding.placed_at(limits).unwrap_or(finding.times.committed_at);
    let now = facts.now.max(finding.times.committed_at);
    let latest = now.saturating_add(Micros::from(limits.future_tolerance_minutes) * MINUTE);
    let since =
        |stay: &&Stay| stay.started_at.is_none_or(|at| at <= latest) && stay.ended_at.is_none_or(|at| at >= taken);
    let staying = facts.stays.iter().filter(since).filter(|stay| site.stay.contains(&stay.class));
    if let Some(stay) = staying.min_by_key(|stay| stay.known_at) {
        return Whereabouts::Staying(stay);
    }
    let understood = |stay: &Stay| site.no_stay.contains(&stay.class);
    // A source that tells of visits would have told of this one, and a practice takes no blood of somebody on a ward.
    let tells = finding.setting == Some(Setting::PrimaryCare)
        || facts.stays.iter().any(|stay| stay.source == finding.patient.source);
    if tells && facts.stays.iter().filter(since).all(understood) { Whereabouts::Home } else { Whereabouts::NotKnown }
}

/// What all signs make together, and when that was known.
struct Together<'a> {
    level: Level,
    whereabouts: Option<Whereabouts<'a>>,
    known_at: Micros,
}

/// One severe or two moderate are an emergency, one moderate or two mild urgent during a stay. The result's own sign is
/// always among those that count: another's grade is told by its own alert.
fn together<'a>(
    own: Grade,
    finding: &Finding,
    others: &[Beside<'_>],
    facts: &'a Facts,
    limits: &Limits,
) -> Together<'a> {
    let known_at = finding.times.committed_at;
    let second = |least: Grade| {
        let second = others.iter().filter(|beside| beside.together && beside.grade >= Some(least));
        second.map(|beside| beside.other.times.committed_at).min()
    };
    let emergency = match own {
        Grade::Severe => Some(known_at),
        Grade::Moderate => second(Grade::Moderate),
        Grade::Mild => None,
    };
    if let Some(known_at) = emergency {
        return Together { level: Level::Emergency, whereabouts: None, known_at };
    }
    let enough = if own == Grade::Mild { second(Grade::Mild) } else { Some(known_at) };
    let Some(known_at) = enough else { return Together { level: Level::Routine, whereabouts: None, known_at } };
    let whereabouts = whereabouts(finding, facts, limits);
    let (level, known_at) = match &whereabouts {
        Whereabouts::Staying(stay) => (Level::Urgent, known_at.max(stay.known_at)),
        Whereabouts::NotKnown => (Level::Urgent, known_at),
        Whereabouts::Home => (Level::Routine, finding.times.committed_at),
    };
    Together { level, whereabouts: Some(whereabouts), known_at }
}

fn spoken(finding: &Finding, facts: &Facts, known: &Known, limits: &Limits) -> Option<Spoken> {
    let own = sign(finding, limits)?;
    let (beside, counting) = companions(finding, facts, limits);
    let Together { level, whereabouts, known_at } = together(own.grade, finding, &counting, facts, limits);
    let doubt = judgement::doubt(finding, limits).map(|doubt| format!("; {doubt}")).unwrap_or_default();
    let end = |note: &str| {
        let sure = if own.sureness == Judged::Possible { ", not certain" } else { "" };
        let (side, analyte, grade) = (own.signal.side(), &own.signal.analyte, own.grade.as_str());
        format!("({side} {analyte} in known adrenal insufficiency, {grade}{sure}{doubt}{note})")
    };
    let not_known = matches!(whereabouts, Some(Whereabouts::NotKnown));
    let note = if not_known { "; whether in hospital is not known" } else { "" };
    let value = tell::value(finding);
    let signs = beside.iter().filter(|beside| beside.grade.is_some()).map(tell::companion);
    let headline = tell::signs(&value, &signs.collect::<Vec<_>>(), &end(note));
    let stay = match &whereabouts {
        Some(Whereabouts::Staying(stay)) if level == Level::Urgent => Some(*stay),
        _ => None,
    };
    // What it would be by itself: all that is told of it to whoever may not see the rest.
    let alone = if own.grade == Grade::Severe { Level::Emergency } else { Level::Routine };
    let detail = json!({
        "result": tell::detail(finding),
        "grade": own.grade.as_str(),
        "level": level.as_str(),
        "alone": alone.severity().as_str(),
        "certainty": if own.sureness == Judged::Certain { "certain" } else { "possible" },
        "beside": beside.iter().map(tell::companion_detail).collect::<Vec<Value>>(),
        "counting": counting.iter().filter(|it| it.together).map(tell::companion_detail).collect::<Vec<Value>>(),
        "condition": { "source": known.source, "organisation": known.organisation, "confidential": known.confidential },
        "stay": stay.map(|stay| json!({
            "source": stay.source, "organisation": stay.organisation, "confidential": stay.confidential, "class": stay.class,
        })),
        "words": { "value": value, "end": end("") + &tell::status(finding) },
    });
    let spoken = Spoken::of(finding, level.severity(), headline, detail);
    // What makes it graver and came too late is told all the same, and interrupts nobody.
    let interrupts = level != Level::Routine && urgency::in_time(&finding.times, known_at, limits);
    Some(Spoken { known_at: spoken.known_at.max(known.known_at), interrupts, ..spoken })
}

/// A result that is told beside another.
#[derive(Clone, Debug)]
pub struct Beside<'a> {
    pub other: &'a Finding,
    pub number: Decimal,
    pub unit: &'a str,
    /// It is a sign as well.
    pub grade: Option<Grade>,
    /// Near enough to count with it.
    pub together: bool,
    /// What is said against its specimen.
    pub doubt: Option<String>,
}

/// Of each other signal the nearest result within the hours, which is told; and the gravest of those that count together.
/// One whose place in time nobody knows is not near.
fn companions<'a>(finding: &Finding, facts: &'a Facts, limits: &Limits) -> (Vec<Beside<'a>>, Vec<Beside<'a>>) {
    let site = &limits.adrenal;
    let hours = |hours: i64| hours.saturating_mul(HOUR);
    let others = site.signal.iter().filter(|signal| Some(&signal.analyte) != finding.analyte.as_ref());
    let near = |signal: &Signal| -> Vec<(Micros, Beside<'a>)> {
        let results = facts.history.iter().filter(|other| other.analyte.as_ref() == Some(&signal.analyte));
        let beside = results.filter_map(|other| {
            let far = distance(finding, other, limits)?;
            let (number, unit) = usable(other)?;
            let (grade, doubt) = (sign(other, limits).map(|sign| sign.grade), judgement::doubt(other, limits));
            let together = far <= hours(site.together_hours);
            Some((far, Beside { other, number, unit, grade, together, doubt }))
        });
        beside.collect()
    };
    let (mut told, mut counting) = (Vec::new(), Vec::new());
    for all in others.map(near) {
        let within = all.iter().filter(|(far, _)| *far <= hours(site.companion_hours));
        told.extend(within.min_by_key(|(far, _)| *far).map(|(_, beside)| beside.clone()));
        let gravest = all.into_iter().filter(|(_, beside)| beside.together && beside.grade.is_some());
        counting.extend(gravest.max_by_key(|(far, beside)| (beside.grade, -far)).map(|(_, beside)| beside));
    }
    // What makes it graver is told, also where another is nearer.
    for beside in &counting {
        if !told.iter().any(|known| known.other.is(beside.other)) {
            told.push(beside.clone());
        }
    }
    (told, counting)
}

/// The least time that can lie between two samples.
fn distance(one: &Finding, other: &Finding, limits: &Limits) -> Option<Micros> {
    let span = |finding: &Finding| {
        let at = finding.placed_at(limits)?;
        Some(finding.taken_between().unwrap_or((at, at)))
    };
    let ((from, to), (other_from, other_to)) = (span(one)?, span(other)?);
    Some(from.saturating_sub(other_to).max(other_from.saturating_sub(to)).max(0))
}
