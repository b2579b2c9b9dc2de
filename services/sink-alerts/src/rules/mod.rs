//! What a result demands: pure and total, so that no result can hold up the record.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod judge;
mod tell;
pub mod urgency;

#[cfg(test)]
mod tests;

use crate::limits::{Bound, Limit, Limits, Signal};
use event::{Comparator, Micros, SourcePatient};
use judge::{Judged, judge};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use urgency::{Times, Urgency};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    CriticalLimit,
    SourceCritical,
    Unchecked,
    AdrenalCrisis,
}

impl Rule {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CriticalLimit => "critical-limit",
            Self::SourceCritical => "source-critical",
            Self::Unchecked => "unchecked",
            Self::AdrenalCrisis => "adrenal-crisis",
        }
    }

    pub const fn severity(self) -> &'static str {
        match self {
            Self::CriticalLimit | Self::SourceCritical | Self::AdrenalCrisis => "critical",
            Self::Unchecked => "warning",
        }
    }
}

/// A result as the record shows it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub patient: SourcePatient,
    pub record: String,
    pub organisation: String,
    pub event_id: String,
    pub version: String,
    pub times: Times,
    pub effective_at: Option<Micros>,
    pub code_text: String,
    pub analyte: Option<String>,
    pub comparator: Option<Comparator>,
    /// As the source has it, in its own unit.
    pub number: Option<Decimal>,
    pub unit: Option<String>,
    pub text: Option<String>,
    /// In the analyte's canonical unit.
    pub canonical: Option<(Decimal, String)>,
    pub range_low: Option<Decimal>,
    pub range_high: Option<Decimal>,
    pub flag: Option<String>,
    pub unchecked: Option<String>,
    pub requester: Option<String>,
    /// The source's word for a status that nobody understands: empty where it gave none.
    pub unknown_status: Option<String>,
    /// Days since 1970-01-01.
    pub birth_date: Option<i32>,
}

/// What is known of the person, from all their linked source patients.
#[derive(Clone, Debug, Default)]
pub struct Context {
    pub addisons: Option<Known>,
    /// Results of the signals' analytes, the newest first.
    pub history: Vec<Companion>,
}

/// A condition that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which source tells.
    pub source: String,
    /// When the condition and the links to it had been committed.
    pub known_at: Micros,
}

#[derive(Clone, Debug)]
pub struct Companion {
    pub source: String,
    pub record: String,
    pub analyte: String,
    pub comparator: Option<Comparator>,
    pub canonical: (Decimal, String),
    pub taken_at: Micros,
}

/// An alert that the record, as it is now, asks for.
#[derive(Clone, Debug)]
pub struct Demand {
    pub rule: Rule,
    /// None: older than the window, so it is not raised; one that was raised in time stays.
    pub urgency: Option<Urgency>,
    pub headline: String,
    pub detail: Value,
}

/// Every alert that the result asks for, each rule at most once.
pub fn evaluate(finding: &Finding, context: &Context, limits: &Limits) -> Vec<Demand> {
    let committed_at = finding.times.committed_at;
    let demand = |rule, known_at: Micros, headline: String, detail| Demand {
        rule,
        urgency: urgency::of(&finding.times, known_at, limits),
        // A result is judged as valid whatever its status; that nobody understands it is said beside.
        headline: headline + &tell::status(finding),
        detail,
    };
    let mut demands = Vec::new();
    if let Some((headline, detail)) = critical_limit(finding, limits) {
        demands.push(demand(Rule::CriticalLimit, committed_at, headline, detail));
    }
    if let Some((headline, detail)) = source_critical(finding, limits) {
        demands.push(demand(Rule::SourceCritical, committed_at, headline, detail));
    }
    if let Some((headline, detail)) = unchecked(finding, limits) {
        demands.push(demand(Rule::Unchecked, committed_at, headline, detail));
    }
    if let Some(known) = &context.addisons
        && let Some((headline, detail)) = adrenal_crisis(finding, context, known, limits)
    {
        demands.push(demand(Rule::AdrenalCrisis, committed_at.max(known.known_at), headline, detail));
    }
    demands
}

/// Whether the result may ask for an alert, whoever the patient is: only then is the rest read.
pub fn may_alert(finding: &Finding, limits: &Limits) -> bool {
    let known = Known { source: String::new(), known_at: Micros::MIN };
    let context = Context { addisons: Some(known), history: Vec::new() };
    let ageless = Finding { birth_date: None, ..finding.clone() };
    !evaluate(&ageless, &context, limits).is_empty()
}

type Told = (String, Value);

/// The number and its unit, if both are understood.
fn usable(finding: &Finding) -> Option<(Decimal, &str)> {
    let (number, unit) = finding.canonical.as_ref().filter(|_| finding.unchecked.is_none())?;
    Some((*number, unit))
}

fn critical_limit(finding: &Finding, limits: &Limits) -> Option<Told> {
    let analyte = finding.analyte.as_deref()?;
    let (number, unit) = usable(finding)?;
    let age = tell::age_years(finding.birth_date, finding.effective_at.unwrap_or(finding.times.committed_at));
    let covers = |limit: &&Limit| limit.analyte == analyte && limit.unit == unit && limit.covers(age);
    let judged = limits.limit.iter().filter(covers).flat_map(|limit| {
        let bounds = [("low", limit.low), ("high", limit.high)];
        bounds
            .into_iter()
            .filter_map(|(side, bound)| Some((side, bound?)))
            .map(move |(side, bound)| (judge(finding.comparator, number, bound), side, bound, limit))
    });
    // The surest; of those, the first in the file.
    let (sureness, side, bound, limit) = judged.fold(None, surest)?;
    let value = bound.value;
    let says = match sureness {
        Judged::No => return None,
        Judged::Possible => format!("possibly critical {side}: limit {value} cannot be excluded"),
        Judged::Certain => format!("critical {side}, limit {value}"),
    };
    let detail = json!({
        "result": tell::detail(finding),
        "limit": { "side": side, "inequality": bound.inequality.as_str(), "value": value.to_string(), "unit": limit.unit,
                   "age_from": limit.age_from, "age_below": limit.age_below },
        "certainty": if sureness == Judged::Certain { "certain" } else { "possible" },
    });
    Some((format!("{} ({says})", tell::value(finding)), detail))
}

type Beyond<'a> = (Judged, &'static str, Bound, &'a Limit);

fn surest<'a>(best: Option<Beyond<'a>>, next: Beyond<'a>) -> Option<Beyond<'a>> {
    match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    }
}

fn source_critical(finding: &Finding, limits: &Limits) -> Option<Told> {
    let flag = finding.flag.as_deref().filter(|flag| limits.is_critical(flag))?;
    let detail = json!({ "result": tell::detail(finding), "flag": flag });
    Some((format!("{} (flagged {flag} by its laboratory)", tell::value(finding)), detail))
}

/// A watched analyte that no rule can judge: said aloud, never passed over.
fn unchecked(finding: &Finding, limits: &Limits) -> Option<Told> {
    let analyte = finding.analyte.as_deref().filter(|analyte| limits.watches(analyte))?;
    let why = match usable(finding) {
        None => finding.unchecked.clone().unwrap_or_else(|| "no number in a known unit".to_owned()),
        Some((_, unit)) if limits.limit.iter().any(|limit| limit.analyte == analyte && limit.unit == unit) => {
            return None;
        }
        Some((_, unit)) => format!("no limit in {unit}"),
    };
    let detail = json!({ "result": tell::detail(finding), "why": why });
    Some((format!("{} (could not be checked: {why})", tell::value(finding)), detail))
}

fn adrenal_crisis(finding: &Finding, context: &Context, known: &Known, limits: &Limits) -> Option<Told> {
    let (number, unit) = usable(finding)?;
    let analyte = finding.analyte.as_deref()?;
    let signal = limits.addisons.signal.iter().find(|signal| signal.analyte == analyte && signal.alone)?;
    let by_number = if signal.unit == unit { judge(finding.comparator, number, signal.sign) } else { Judged::No };
    let sureness = by_number.max(outside_range(finding, signal));
    if sureness == Judged::No {
        return None;
    }
    let beside = companions(finding, context, limits);
    let others: Vec<String> =
        beside.iter().filter(|(_, sign)| *sign).map(|(other, _)| tell::companion(other)).collect();
    let with = if others.is_empty() { String::new() } else { format!(" with {}", others.join(", ")) };
    let perhaps = if sureness == Judged::Possible { ", not certain" } else { "" };
    let headline =
        format!("{}{with} in known Addison's disease (possible adrenal crisis{perhaps})", tell::value(finding));
    let beside: Vec<Value> = beside.iter().map(|(other, sign)| tell::companion_detail(other, *sign)).collect();
    let detail = json!({
        "result": tell::detail(finding),
        "signal": { "inequality": signal.sign.inequality.as_str(), "value": signal.sign.value.to_string(), "unit": signal.unit },
        "certainty": if sureness == Judged::Certain { "certain" } else { "possible" },
        "beside": beside,
        "condition_source": known.source,
    });
    Some((headline, detail))
}

/// Beyond its own reference range, on the signal's side. The range is in the source's unit.
fn outside_range(finding: &Finding, signal: &Signal) -> Judged {
    let inequality = signal.sign.inequality;
    let edge = if inequality.is_low() { finding.range_low } else { finding.range_high };
    let strict = if inequality.is_low() { crate::limits::Inequality::Less } else { crate::limits::Inequality::Greater };
    match (signal.outside_range, finding.number, edge) {
        (true, Some(number), Some(value)) => judge(finding.comparator, number, Bound { inequality: strict, value }),
        _ => Judged::No,
    }
}

/// The nearest result of each other signal within the hours, and whether it is a sign as well.
fn companions<'a>(finding: &Finding, context: &'a Context, limits: &Limits) -> Vec<(&'a Companion, bool)> {
    let taken_at = finding.effective_at.unwrap_or(finding.times.committed_at);
    let reach = Micros::from(limits.addisons.companion_hours) * 3_600_000_000;
    let distance = |other: &Companion| other.taken_at.saturating_sub(taken_at).saturating_abs();
    let others = limits.addisons.signal.iter().filter(|signal| Some(&signal.analyte) != finding.analyte.as_ref());
    others
        .filter_map(|signal| {
            let near = context
                .history
                .iter()
                .filter(|other| other.analyte == signal.analyte && distance(other) <= reach)
                .min_by_key(|other| distance(other))?;
            let (number, unit) = &near.canonical;
            let sign = *unit == signal.unit && judge(near.comparator, *number, signal.sign) != Judged::No;
            Some((near, sign))
        })
        .collect()
}
