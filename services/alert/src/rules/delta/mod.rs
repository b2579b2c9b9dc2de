//! A result has changed by so much since the last one, at whatever linked source.

#[cfg(test)]
mod tests;

use super::{
    Card, Judge, Severity, Spoken,
    judge::{Judged, judge},
    pair::Level,
    specimen, tell, urgency,
};
use crate::{
    Facts, Finding, Limits,
    facts::Wanted,
    judgement::{self, usable},
    limits::{Bound, Inequality},
};
use event::Micros;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::json;

pub const DELTAS_MAX: usize = 1_000;
const BEFORE_MAX: i64 = 100;
const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;
const HOURS_MAX: i64 = 10 * 8_784;

/// One `[[delta]]` of `alerts.toml`. A change that is exactly so much counts.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    pub analyte: String,
    pub unit: String,
    /// The last one before counts if it was taken within so many hours.
    pub within_hours: i64,
    pub rise: Option<Decimal>,
    pub fall: Option<Decimal>,
    /// Of the one before.
    pub rise_percent: Option<Decimal>,
    pub fall_percent: Option<Decimal>,
    #[serde(default)]
    pub level: Level,
    /// Where the numbers come from.
    pub source: String,
}

impl Delta {
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut unless = |good: bool, what: &str| {
            if !good {
                mistakes.push(format!("delta ({}): {what}", self.analyte));
            }
        };
        let changes = [self.rise, self.fall, self.rise_percent, self.fall_percent];
        unless(changes.iter().any(Option::is_some), "names no change");
        let sound = |change: &Decimal| *change > Decimal::ZERO && *change < Decimal::from(1_000_000);
        unless(changes.iter().flatten().all(sound), "a change is not above 0");
        unless(self.fall_percent.is_none_or(|fall| fall <= Decimal::ONE_HUNDRED), "nothing falls by more than 100 %");
        unless((1..=HOURS_MAX).contains(&self.within_hours), "within_hours is not between 1 and 87840");
        unless(!self.source.trim().is_empty(), "a number says where it comes from");
        mistakes
    }

    /// From where a rise and a fall count, after this value.
    fn bounds(&self, before: Decimal) -> impl Iterator<Item = Bound> {
        let part =
            |percent: Option<Decimal>| percent.and_then(|it| before.checked_mul(it)?.checked_div(Decimal::ONE_HUNDRED));
        let rises =
            [self.rise, part(self.rise_percent)].into_iter().flatten().filter_map(move |by| before.checked_add(by));
        let falls =
            [self.fall, part(self.fall_percent)].into_iter().flatten().filter_map(move |by| before.checked_sub(by));
        let bound = |inequality| move |value| Bound { inequality, value };
        rises.map(bound(Inequality::GreaterOrEqual)).chain(falls.map(bound(Inequality::LessOrEqual)))
    }
}

pub struct DeltaCheck;

impl Judge for DeltaCheck {
    fn card(&self) -> Card {
        Card {
            version: 1,
            source: "the site's own numbers: `[[delta]]` of its alerts.toml",
            owner: "the site's clinical safety officer",
            guideline: None,
            words: "Changed since the last result",
        }
    }

    fn is_on(&self, limits: &Limits) -> bool {
        !limits.delta.is_empty()
    }

    fn wants(&self, finding: &Finding, _: &Facts, limits: &Limits) -> Vec<Wanted> {
        let Some(at) = finding.placed_at(limits) else { return Vec::new() };
        let wanted = |delta: &Delta| {
            let since = at.saturating_sub(delta.within_hours.saturating_mul(HOUR)).saturating_sub(2 * DAY);
            Wanted { analyte: delta.analyte.clone(), newest: BEFORE_MAX, since: Some(since) }
        };
        of(finding, limits).map(wanted).collect()
    }

    fn again<'a>(&self, limits: &'a Limits) -> Vec<&'a str> {
        limits.delta.iter().map(|delta| delta.analyte.as_str()).collect()
    }

    fn rests_on_results(&self) -> bool {
        true
    }

    fn bears_on_others(&self, finding: &Finding, limits: &Limits) -> bool {
        self.may_speak(finding, limits)
    }

    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool {
        of(finding, limits).next().is_some() && finding.placed_at(limits).is_some()
    }

    fn judge(&self, finding: &Finding, facts: &Facts, limits: &Limits) -> Option<Spoken> {
        let met = of(finding, limits).filter_map(|delta| met(delta, finding, facts, limits));
        met.max_by_key(|met| (met.delta.level, met.sureness)).map(|met| spoken(finding, &met, limits))
    }

    fn rests_on_the_record(&self) -> bool {
        true
    }
}

fn of<'a>(finding: &Finding, limits: &'a Limits) -> impl Iterator<Item = &'a Delta> {
    let measured = usable(finding).map(|(_, unit)| unit.to_owned());
    let analyte = finding.analyte.clone();
    limits
        .delta
        .iter()
        .filter(move |delta| Some(&delta.analyte) == analyte.as_ref() && measured.as_ref() == Some(&delta.unit))
}

struct Met<'a> {
    delta: &'a Delta,
    before: &'a Finding,
    value: Decimal,
    sureness: Judged,
}

/// The last plain number before it, in a good specimen, more than preliminary. Of which of two only the day is known, that
/// day has to be over.
fn met<'a>(delta: &'a Delta, finding: &Finding, facts: &'a Facts, limits: &Limits) -> Option<Met<'a>> {
    let here = finding.placed_at(limits)?;
    let reach = delta.within_hours.saturating_mul(HOUR);
    let earlier = |other: &&Finding| {
        let ends = other.taken_between().map(|(_, to)| to).or_else(|| other.placed_at(limits));
        let near = other.placed_at(limits).is_some_and(|at| here.saturating_sub(at) <= reach);
        near && ends.is_some_and(|ends| ends < here)
    };
    let good = |other: &&Finding| {
        other.analyte == finding.analyte
            && !other.is(finding)
            && other.comparator.is_none()
            && other.status.as_deref() != Some("preliminary")
            && usable(other).is_some_and(|(_, unit)| unit == delta.unit)
            && judgement::doubt(other, limits).is_none()
    };
    let before = facts.history.iter().filter(good).filter(earlier).max_by_key(|other| other.placed_at(limits))?;
    let ((number, _), (value, _)) = (usable(finding)?, usable(before)?);
    let sureness = delta.bounds(value).map(|bound| judge(finding.comparator, number, bound)).max()?;
    (sureness != Judged::No).then_some(Met { delta, before, value, sureness })
}

fn spoken(finding: &Finding, met: &Met<'_>, limits: &Limits) -> Spoken {
    let Met { delta, before, value, sureness } = met;
    let number = usable(finding).map_or(*value, |(number, _)| number);
    let (side, by) = if number >= *value { ("rise", number - *value) } else { ("fall", *value - number) };
    let perhaps = if *sureness == Judged::Certain { "" } else { "perhaps " };
    let on = before.effective_at.and_then(tell::day).map(|day| format!(" on {day}")).unwrap_or_default();
    let words = format!(
        "{perhaps}a {side} of {} {} since {} {} of {} ({}){on}",
        by.normalize(),
        delta.unit,
        value.normalize(),
        delta.unit,
        before.patient.source,
        before.organisation
    );
    let headline = format!("{} ({words}{})", tell::value(finding), specimen(finding, limits));
    let detail = json!({
        "result": tell::detail(finding),
        "before": { "value": value.normalize().to_string(), "unit": delta.unit },
        "source": delta.source,
        "certainty": if *sureness == Judged::Certain { "certain" } else { "possible" },
        "rests_on": [{
            "source": before.patient.source, "record": before.record, "organisation": before.organisation,
            "confidential": before.confidential, "words": tell::value(before),
        }],
        "words": { "value": tell::value(finding) },
    });
    let severity = if delta.level == Level::Urgent { Severity::Critical } else { Severity::Warning };
    let spoken = Spoken::of(finding, severity, headline, detail);
    let known_at = spoken.known_at.max(before.times.committed_at);
    let interrupts = delta.level == Level::Urgent && urgency::in_time(&finding.times, known_at, limits);
    Spoken { known_at, interrupts, ..spoken }
}
