//! What a result demands: pure and total, so that no result can hold up the record.

pub mod judge;
pub mod tell;
pub mod urgency;

#[cfg(test)]
pub mod tests;

use crate::{
    judgement::{self, usable},
    limits::{Bound, Limits, Signal},
};
use event::{Comparator, Micros, Precision, SourcePatient};
use judge::{Judged, judge};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use urgency::{Learned, Times, Urgency};

const HOUR: Micros = 3_600_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    CriticalLimit,
    SourceCritical,
    Unchecked,
    AdrenalCrisis,
}

impl Rule {
    pub const ALL: [Self; 4] = [Self::CriticalLimit, Self::SourceCritical, Self::Unchecked, Self::AdrenalCrisis];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == text)
    }

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
    /// How exactly that is known: it is the first moment of the year, month or day.
    pub effective_precision: Option<Precision>,
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
    pub comment: Option<String>,
    /// FHIR's word for it: `final`.
    pub status: Option<String>,
    pub requester: Option<String>,
    /// The source's word for a status that nobody understands: empty where it gave none.
    pub unknown_status: Option<String>,
    /// Its source marks it, or the whole patient, as confidential.
    pub confidential: bool,
    /// Days since 1970-01-01.
    pub birth_date: Option<i32>,
    /// Only how it is understood has changed, and not what its source says.
    pub reinterpreted: bool,
}

impl Finding {
    /// Of which nothing else is known yet.
    pub fn of(patient: SourcePatient, record: String) -> Self {
        Self {
            patient,
            record,
            organisation: String::new(),
            event_id: String::new(),
            version: String::new(),
            times: Times::default(),
            effective_at: None,
            effective_precision: None,
            code_text: String::new(),
            analyte: None,
            comparator: None,
            number: None,
            unit: None,
            text: None,
            canonical: None,
            range_low: None,
            range_high: None,
            flag: None,
            unchecked: None,
            comment: None,
            status: None,
            requester: None,
            unknown_status: None,
            confidential: false,
            birth_date: None,
            reinterpreted: false,
        }
    }

    /// The first and the last moment at which the sample may have been taken; none where nobody tells.
    fn taken_between(&self) -> Option<(Micros, Micros)> {
        let first = self.effective_at?;
        // The longest of each kind, and the hour by which a clock is turned back.
        let hours = match self.effective_precision {
            None => 0,
            Some(Precision::Day) => 24 + 1,
            Some(Precision::Month) => 31 * 24 + 1,
            Some(Precision::Year) => 366 * 24 + 1,
        };
        Some((first, first.saturating_add(hours * HOUR)))
    }

    /// Its place among other results, to a day: where no sample's time is told, the source's own times, and its commit
    /// unless a snapshot read it, which says nothing of the result. None where the place is not known so exactly.
    fn placed_at(&self, limits: &Limits) -> Option<Micros> {
        match (self.effective_at, self.effective_precision) {
            (Some(_), Some(Precision::Year | Precision::Month)) => None,
            (Some(at), Some(Precision::Day) | None) => Some(at),
            (None, _) if self.times.undated(limits) => None,
            (None, _) => Some(self.times.own(limits).unwrap_or(self.times.committed_at)),
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.patient == other.patient && self.record == other.record
    }
}

/// What is known of the person, from all their linked source patients.
#[derive(Clone, Debug, Default)]
pub struct Context {
    pub addisons: Option<Known>,
    /// Other results of the person: of the signals' analytes and of the result's own, the newest first.
    pub history: Vec<Finding>,
    /// Now, to whoever judges; never before what is judged had been committed.
    pub now: Micros,
}

/// A condition that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which source tells.
    pub source: String,
    /// Who holds it, and whether its source marks it as confidential: not everybody may be told of it.
    pub organisation: String,
    pub confidential: bool,
    /// When the condition and the links to it had been committed.
    pub known_at: Micros,
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
    let told = told(finding, context, limits);
    let overtaken = !told.is_empty() && is_overtaken(finding, context, limits);
    let demand = |(rule, known_at, (headline, detail)): (Rule, Micros, Told)| {
        let learned = Learned { known_at, at: context.now, overtaken };
        let urgency = urgency::of(&finding.times, &learned, limits);
        // A result is judged as valid whatever its status; that nobody understands it is said beside.
        Demand { rule, urgency, headline: headline + &tell::status(finding), detail }
    };
    told.into_iter().map(demand).collect()
}

/// The rules that speak, when what each rests on was known, and its words.
fn told(finding: &Finding, context: &Context, limits: &Limits) -> Vec<(Rule, Micros, Told)> {
    let committed_at = finding.times.committed_at;
    let known_at = context.addisons.as_ref().map_or(committed_at, |known| committed_at.max(known.known_at));
    let crisis = context.addisons.as_ref().and_then(|known| adrenal_crisis(finding, context, known, limits));
    [
        (Rule::CriticalLimit, committed_at, critical_limit(finding, limits)),
        (Rule::SourceCritical, committed_at, source_critical(finding, limits)),
        (Rule::Unchecked, committed_at, unchecked(finding, limits)),
        (Rule::AdrenalCrisis, known_at, crisis),
    ]
    .into_iter()
    .filter_map(|(rule, known_at, told)| Some((rule, known_at, told?)))
    .collect()
}

/// Whether a later valid result of the same analyte, in a good specimen, asks for nothing. A sample's place in time
/// has to be told for both, exactly enough to be later for sure, and none lies ahead of its own commit.
fn is_overtaken(finding: &Finding, context: &Context, limits: &Limits) -> bool {
    let (Some(analyte), Some((_, taken_by))) = (&finding.analyte, finding.taken_between()) else { return false };
    let alone = Context { addisons: context.addisons.clone(), history: Vec::new(), now: context.now };
    context.history.iter().any(|other| {
        other.analyte.as_ref() == Some(analyte)
            && !other.is(finding)
            && other.taken_between().is_some_and(|(from, _)| from > taken_by && from <= other.times.committed_at)
            && is_valid(other, limits)
            && told(other, &alone, limits).is_empty()
    })
}

/// Final, understood, and in a specimen that nothing is said against.
fn is_valid(finding: &Finding, limits: &Limits) -> bool {
    matches!(finding.status.as_deref(), Some("final" | "corrected"))
        && usable(finding).is_some()
        && judgement::doubt(finding, limits).is_none()
}

/// Whether the result may ask for an alert, whoever the patient is: only then is the rest read.
pub fn may_alert(finding: &Finding, limits: &Limits) -> bool {
    let known =
        Known { source: String::new(), organisation: String::new(), confidential: false, known_at: Micros::MIN };
    let context = Context { addisons: Some(known), ..Context::default() };
    let ageless = Finding { birth_date: None, ..finding.clone() };
    !told(&ageless, &context, limits).is_empty()
}

type Told = (String, Value);

fn critical_limit(finding: &Finding, limits: &Limits) -> Option<Told> {
    let beyond = judgement::beyond_limit(finding, limits)?;
    let (side, value, limit) = (beyond.side.as_str(), beyond.words(), beyond.limit);
    let certain = beyond.judged == Judged::Certain;
    let says = if certain {
        format!("critical {side}, limit {value}")
    } else {
        format!("possibly critical {side}: limit {value} cannot be excluded")
    };
    let detail = json!({
        "result": tell::detail(finding),
        "limit": { "side": side, "inequality": beyond.bound.inequality.as_str(), "value": beyond.bound.value.to_string(),
                   "unit": beyond.unit, "age_from": limit.age_from, "age_below": limit.age_below },
        "certainty": if certain { "certain" } else { "possible" },
    });
    Some((format!("{} ({says}{})", tell::value(finding), specimen(finding, limits)), detail))
}

fn source_critical(finding: &Finding, limits: &Limits) -> Option<Told> {
    let flag = finding.flag.as_deref().filter(|flag| limits.is_critical(flag))?;
    let detail = json!({ "result": tell::detail(finding), "flag": flag });
    let headline = format!("{} (flagged {flag} by its laboratory{})", tell::value(finding), specimen(finding, limits));
    Some((headline, detail))
}

/// A watched analyte that no rule can judge: said aloud, never passed over.
fn unchecked(finding: &Finding, limits: &Limits) -> Option<Told> {
    let why = judgement::unchecked(finding, limits)?;
    let detail = json!({ "result": tell::detail(finding), "why": why });
    Some((format!("{} (could not be checked: {why})", tell::value(finding)), detail))
}

/// A critical number in a bad specimen is told all the same, and so is the specimen.
fn specimen(finding: &Finding, limits: &Limits) -> String {
    judgement::doubt(finding, limits).map(|doubt| format!("; {doubt}")).unwrap_or_default()
}

fn adrenal_crisis(finding: &Finding, context: &Context, known: &Known, limits: &Limits) -> Option<Told> {
    let (number, unit) = judgement::measured(finding)?;
    let analyte = finding.analyte.as_deref()?;
    let signal = limits.addisons.signal.iter().find(|signal| signal.analyte == analyte && signal.alone)?;
    let by_number = if signal.unit == unit { judge(finding.comparator, number, signal.sign) } else { Judged::No };
    let sureness = by_number.max(outside_range(finding, signal));
    if sureness == Judged::No {
        return None;
    }
    let beside = companions(finding, context, limits);
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
fn companions<'a>(finding: &Finding, context: &'a Context, limits: &Limits) -> Vec<Beside<'a>> {
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
            let other = context.history.iter().filter(near).min_by_key(|other| distance(other))?;
            let (number, unit) = usable(other)?;
            let sign = *unit == signal.unit && judge(other.comparator, number, signal.sign) != Judged::No;
            Some(Beside { other, number, unit, sign })
        })
        .collect()
}
