//! Sodium is low or potassium is high in a patient who is known to have Addison's disease.

use super::{
    Card, HISTORY_MAX, Judge, Severity, Spoken,
    judge::{Judged, judge},
    specimen, tell,
};
use crate::{
    Facts, Finding, Known, Limits,
    facts::Wanted,
    judgement::{measured, usable},
    limits::{Bound, Inequality, Signal},
};
use event::Micros;
use rust_decimal::Decimal;
use serde_json::{Value, json};

const HOUR: Micros = 3_600_000_000;

pub struct AdrenalCrisis;

impl Judge for AdrenalCrisis {
    fn card(&self) -> Card {
        Card {
            version: 1,
            source: "our own signal, after the Society for Endocrinology's guidance and Simpson 2020; for sign-off",
            owner: "the site's clinical safety officer",
            guideline: Some("Society for Endocrinology: emergency management of adrenal crisis"),
            words: "Possible adrenal crisis",
        }
    }

    fn is_on(&self, limits: &Limits) -> bool {
        !limits.addisons.signal.is_empty()
    }

    fn concepts<'a>(&self, limits: &'a Limits) -> Vec<&'a str> {
        limits.addisons.snomed.iter().map(String::as_str).collect()
    }

    fn wants(&self, _: &Finding, facts: &Facts, limits: &Limits) -> Vec<Wanted> {
        if facts.known(&limits.addisons.snomed).is_none() {
            return Vec::new();
        }
        let wanted = |analyte: &str| Wanted { analyte: analyte.to_owned(), newest: HISTORY_MAX, since: None };
        limits.signals().into_iter().map(wanted).collect()
    }

    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool {
        signal(finding, limits).is_some()
    }

    fn judge(&self, finding: &Finding, facts: &Facts, limits: &Limits) -> Option<Spoken> {
        spoken(finding, facts, facts.known(&limits.addisons.snomed)?, limits)
    }

    fn rests_on_the_record(&self) -> bool {
        true
    }
}

/// The signal that the result is by itself, in somebody known to have the disease, and how surely.
fn signal<'a>(finding: &Finding, limits: &'a Limits) -> Option<(&'a Signal, Judged)> {
    let (number, unit) = measured(finding)?;
    let analyte = finding.analyte.as_deref()?;
    let signal = limits.addisons.signal.iter().find(|signal| signal.analyte == analyte && signal.alone)?;
    let by_number = if signal.unit == unit { judge(finding.comparator, number, signal.sign) } else { Judged::No };
    Some((signal, by_number.max(outside_range(finding, signal)))).filter(|(_, sureness)| *sureness != Judged::No)
}

fn spoken(finding: &Finding, facts: &Facts, known: &Known, limits: &Limits) -> Option<Spoken> {
    let (signal, sureness) = signal(finding, limits)?;
    let beside = companions(finding, facts, limits);
    let words = tell::Crisis {
        value: tell::value(finding),
        end: format!(
            "in known Addison's disease (possible adrenal crisis{}{})",
            if sureness == Judged::Possible { ", not certain" } else { "" },
            specimen(finding, limits)
        ),
    };
    let signs = beside.iter().filter(|beside| beside.sign).map(tell::companion);
    let headline = words.headline(&signs.collect::<Vec<_>>());
    let beside: Vec<Value> = beside.iter().map(tell::companion_detail).collect();
    let detail = json!({
        "result": tell::detail(finding),
        "signal": { "inequality": signal.sign.inequality.as_str(), "value": signal.sign.value.to_string(), "unit": signal.unit },
        "certainty": if sureness == Judged::Certain { "certain" } else { "possible" },
        "beside": beside,
        "condition": { "source": known.source, "organisation": known.organisation, "confidential": known.confidential },
        "words": { "value": words.value, "end": words.end + &tell::status(finding) },
    });
    let spoken = Spoken::of(finding, Severity::Critical, headline, detail);
    Some(Spoken { known_at: spoken.known_at.max(known.known_at), ..spoken })
}

/// Beyond its own reference range, on the signal's side. The range is in the source's unit.
fn outside_range(finding: &Finding, signal: &Signal) -> Judged {
    let inequality = signal.sign.inequality;
    let edge = if inequality.is_low() { finding.range_low } else { finding.range_high };
    let strict = if inequality.is_low() { Inequality::Less } else { Inequality::Greater };
    match (signal.outside_range, finding.number, edge) {
        (true, Some(number), Some(value)) => judge(finding.comparator, number, Bound { inequality: strict, value }),
        _ => Judged::No,
    }
}

/// A result that is told beside another.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    pub other: &'a Finding,
    pub number: Decimal,
    pub unit: &'a str,
    /// It is a sign as well.
    pub sign: bool,
}

/// The nearest usable result of each other signal within the hours. One whose place in time nobody knows is not near.
fn companions<'a>(finding: &Finding, facts: &'a Facts, limits: &Limits) -> Vec<Beside<'a>> {
    let reach = Micros::from(limits.addisons.companion_hours) * HOUR;
    let Some(here) = finding.placed_at(limits) else { return Vec::new() };
    let distance = |other: &Finding| Some(other.placed_at(limits)?.saturating_sub(here).saturating_abs());
    let others = limits.addisons.signal.iter().filter(|signal| Some(&signal.analyte) != finding.analyte.as_ref());
    others
        .filter_map(|signal| {
            let near = |other: &&Finding| {
                other.analyte.as_ref() == Some(&signal.analyte)
                    && usable(other).is_some()
                    && distance(other).is_some_and(|far| far <= reach)
            };
            let other = facts.history.iter().filter(near).min_by_key(|other| distance(other))?;
            let (number, unit) = usable(other)?;
            let sign = *unit == signal.unit && judge(other.comparator, number, signal.sign) != Judged::No;
            Some(Beside { other, number, unit, sign })
        })
        .collect()
}
