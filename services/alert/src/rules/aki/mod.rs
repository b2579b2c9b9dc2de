//! Acute kidney injury by the NHS England algorithm, over the creatinines of all that is known of the person.
//!
//! # Why
//! A laboratory computes it from its own results; a practice's creatinine of last month is not among them. So the
//! laboratory's own stage is passed on as it comes, and ours is called cross-source and names the results, and who holds
//! them, that it was worked out from. It says what the algorithm finds: whether that is an injury is for a clinician.

pub mod algorithm;
pub mod site;

#[cfg(test)]
mod tests;

use super::{Card, HISTORY_MAX, Judge, Severity, Spoken, judge, specimen, tell};
use crate::{
    Facts, Finding, Limits,
    facts::Wanted,
    judgement::{self, usable},
};
use algorithm::{By, Sample, Stage};
use event::{Comparator, Micros};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};
pub use site::Aki;
use site::CREATININE_MAX;

/// Creatinines that are read of one person's year.
pub const CREATININES_MAX: i64 = 1_000;
const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;
const GUIDELINE: &str =
    "NHS England, Standardising the early identification of acute kidney injury (NHS/PSA/D/2014/010)";

pub struct AcuteKidneyInjury;

impl Judge for AcuteKidneyInjury {
    fn card(&self) -> Card {
        Card {
            version: 1,
            source: "NHS England algorithm (2014), as three public implementations have it; boundaries fixed in docs/alerts.md",
            owner: "the site's clinical safety officer",
            guideline: Some(GUIDELINE),
            words: "Creatinine rise by the AKI algorithm",
        }
    }

    fn is_on(&self, limits: &Limits) -> bool {
        site(limits).is_some()
    }

    fn concepts<'a>(&self, limits: &'a Limits) -> Vec<&'a str> {
        site(limits).into_iter().flat_map(Aki::exceptions).collect()
    }

    fn wants(&self, finding: &Finding, _: &Facts, limits: &Limits) -> Vec<Wanted> {
        let Some(site) = site(limits) else { return Vec::new() };
        let Some(now) = sample(finding, 0, site, limits) else { return Vec::new() };
        // A day at either end: what is known to the day only starts before it.
        let since = |back: Micros| Some(now.at.saturating_sub(back).saturating_sub(2 * DAY));
        let potassium = Wanted {
            analyte: POTASSIUM.to_owned(),
            newest: HISTORY_MAX,
            since: since(site.potassium_hours.saturating_mul(HOUR)),
        };
        let since = since(site.median_days.saturating_mul(DAY));
        vec![Wanted { analyte: site.analyte.clone(), newest: CREATININES_MAX, since }, potassium]
    }

    fn again<'a>(&self, limits: &'a Limits) -> Vec<&'a str> {
        site(limits).map(|site| site.analyte.as_str()).into_iter().collect()
    }

    fn codes<'a>(&self, limits: &'a Limits) -> Vec<&'a str> {
        site(limits).into_iter().flat_map(|site| &site.laboratory_codes).map(String::as_str).collect()
    }

    fn rests_on_results(&self) -> bool {
        true
    }

    fn bears_on_others(&self, finding: &Finding, limits: &Limits) -> bool {
        site(limits).is_some_and(|site| {
            baseline(finding, 0, site, limits).is_some() || is_high_potassium(finding, site, limits)
        })
    }

    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool {
        site(limits)
            .is_some_and(|site| laboratory_stage(finding, site).is_some() || sample(finding, 0, site, limits).is_some())
    }

    fn judge(&self, finding: &Finding, facts: &Facts, limits: &Limits) -> Option<Spoken> {
        let site = site(limits)?;
        match laboratory_stage(finding, site) {
            Some(stage) => Some(of_laboratory(finding, stage, limits)),
            None => across_sources(finding, facts, site, limits),
        }
    }

    fn rests_on_the_record(&self) -> bool {
        true
    }
}

/// Key of the lab table.
const POTASSIUM: &str = "potassium";

fn site(limits: &Limits) -> Option<&Aki> {
    limits.aki.as_ref().filter(|site| site.on)
}

/// The result as a creatinine to be judged. One with a comparator upwards is at least so high; downwards it says nothing.
fn sample(finding: &Finding, nth: usize, site: &Aki, limits: &Limits) -> Option<Sample> {
    let (value, unit) = usable(finding)?;
    let open = matches!(finding.comparator, Some(Comparator::Less | Comparator::LessOrEqual));
    let good = finding.analyte.as_deref() == Some(&site.analyte) && unit == site.unit && !open;
    let at = finding.placed_at(limits).filter(|_| good && value > Decimal::ZERO && value <= CREATININE_MAX)?;
    Some(Sample { at, exact: finding.effective_at.is_some() && finding.effective_precision.is_none(), value, nth })
}

/// The result as one of those that a later one is held against: a plain number in a good specimen, and more than preliminary.
fn baseline(finding: &Finding, nth: usize, site: &Aki, limits: &Limits) -> Option<Sample> {
    let settled = finding.status.as_deref() != Some("preliminary") && judgement::doubt(finding, limits).is_none();
    sample(finding, nth, site, limits).filter(|_| settled && finding.comparator.is_none())
}

/// Whether the algorithm finds a stage, turned on or not: what is worked out from a steady creatinine does not hold then.
pub fn is_met(finding: &Finding, facts: &Facts, limits: &Limits) -> bool {
    let met = |site: &Aki| {
        let now = sample(finding, 0, site, limits)?;
        algorithm::stage(&now, is_beyond(finding, &now, site), &baselines(finding, facts, site, limits), site)
    };
    limits.aki.as_ref().and_then(met).is_some()
}

fn baselines(finding: &Finding, facts: &Facts, site: &Aki, limits: &Limits) -> Vec<Sample> {
    let others = (0..).zip(&facts.history).filter(|(_, other)| !other.is(finding));
    others.filter_map(|(nth, other)| baseline(other, nth, site, limits)).collect()
}

fn across_sources(finding: &Finding, facts: &Facts, site: &Aki, limits: &Limits) -> Option<Spoken> {
    let now = sample(finding, 0, site, limits)?;
    let excepted = site.exceptions().any(|concept| facts.conditions.iter().any(|known| known.concept == concept));
    let days_old = finding.birth_date.map(|born| algorithm::date(&now) - i64::from(born));
    if excepted || days_old.is_some_and(|days| days < site.age_days_from) {
        return None;
    }
    let others = baselines(finding, facts, site, limits);
    let (stage, by) = algorithm::stage(&now, is_beyond(finding, &now, site), &others, site)?;
    let from: Vec<&Finding> = by.of().iter().filter_map(|nth| facts.history.get(*nth)).collect();
    let potassium = high_potassium(&now, facts, site, limits);
    let urgent = stage > Stage::One || potassium.is_some();
    let words = words(finding, &now, stage, &by, &from, site);
    let with = potassium.map(|other| format!(" with {}", tell::value(other).to_lowercase())).unwrap_or_default();
    let at_least = finding.comparator.is_some();
    let headline = format!(
        "{}{with} (AKI algorithm stage {}{}, cross-source: {words}{})",
        tell::value(finding),
        stage.number(),
        if at_least { " at least" } else { "" },
        specimen(finding, limits)
    );
    let rests: Vec<Value> = from.iter().copied().chain(potassium).map(rests_on).collect();
    let detail = json!({
        "result": tell::detail(finding),
        "stage": stage.number(),
        "by": match by { By::Lowest { .. } => "lowest", By::Median { .. } => "median", By::Rise { .. } => "rise" },
        "baseline": { "value": by.baseline().normalize().to_string(), "unit": site.unit },
        "certainty": if at_least { "possible" } else { "certain" },
        "rests_on": rests,
        "words": { "value": tell::value(finding) },
    });
    let severity = if urgent { Severity::Critical } else { Severity::Warning };
    let spoken = Spoken::of(finding, severity, headline, detail);
    let known_at = from.iter().map(|other| other.times.committed_at).fold(spoken.known_at, Micros::max);
    Some(Spoken { known_at, interrupts: urgent, ..spoken })
}

/// `2.25 times 80 umol/L, the lowest of 7 days, of riverside (R1V01) on 2023-11-10`.
fn words(finding: &Finding, now: &Sample, stage: Stage, by: &By, from: &[&Finding], site: &Aki) -> String {
    let baseline = format!("{} {}", by.baseline().round_dp(1).normalize(), site.unit);
    let mut held: Vec<String> =
        from.iter().map(|other| format!("{} ({})", other.patient.source, other.organisation)).collect();
    held.sort_unstable();
    held.dedup();
    let held = held.join(" and ");
    let on = |other: Option<&&Finding>| other.and_then(|other| tell::day(other.effective_at?)).unwrap_or_default();
    let times = now.value.checked_div(by.baseline()).map(short_of).unwrap_or_default();
    let told = match by {
        By::Lowest { .. } => {
            format!(
                "{times} times {baseline}, the lowest of {} days, of {held} on {}",
                site.lowest_days,
                on(from.first())
            )
        }
        By::Median { of, .. } => format!(
            "{times} times {baseline}, the median of {} from {} to {} days before, of {held}",
            of.len(),
            site.lowest_days + 1,
            site.median_days
        ),
        By::Rise { lowest, .. } => format!(
            "{} {} more than {baseline} within {} hours, of {held} on {}",
            (now.value - *lowest).normalize(),
            site.unit,
            site.rise_hours,
            on(from.first())
        ),
    };
    let of_age = match (age(finding, now), finding.range_high) {
        (Some(age), None) if age < site.child_below && stage < Stage::Three => {
            "; without an upper end of its range stage 3 by value is not checked"
        }
        (None, _) => "; age not known",
        _ => "",
    };
    told + of_age
}

/// Two decimals, never rounded up: 1.996 times is no 2.
fn short_of(ratio: Decimal) -> Decimal {
    ratio.round_dp_with_strategy(2, RoundingStrategy::ToZero).normalize()
}

fn age(finding: &Finding, now: &Sample) -> Option<u16> {
    tell::age_years(finding.birth_date, now.at)
}

/// Over the value that makes a rise stage 3: an adult's, or for a child so many times the upper end of the result's own
/// range. Of an unknown age either counts.
fn is_beyond(finding: &Finding, now: &Sample, site: &Aki) -> bool {
    let adult = now.value > site.value_3;
    // The range is in the source's own unit, and so is the number.
    let own = finding.number.zip(finding.range_high.and_then(|high| high.checked_mul(site.child_range_times)));
    let child = own.is_some_and(|(number, high)| number > high);
    match age(finding, now) {
        Some(age) if age < site.child_below => child,
        Some(_) => adult,
        None => adult || child,
    }
}

fn is_high_potassium(finding: &Finding, site: &Aki, limits: &Limits) -> bool {
    let Some((number, unit)) = usable(finding) else { return false };
    finding.analyte.as_deref() == Some(POTASSIUM)
        && unit == site.potassium_unit
        && judgement::doubt(finding, limits).is_none()
        && judge::judge(finding.comparator, number, site.potassium) == judge::Judged::Certain
}

/// The highest within the hours, in a good specimen. One of which only the day is known counts for that day.
fn high_potassium<'a>(now: &Sample, facts: &'a Facts, site: &Aki, limits: &Limits) -> Option<&'a Finding> {
    let reach = site.potassium_hours.saturating_mul(HOUR);
    let near = |other: &&Finding| {
        other.placed_at(limits).is_some_and(|at| {
            let exact = now.exact && other.effective_at.is_some() && other.effective_precision.is_none();
            now.at.saturating_sub(at).saturating_abs() <= if exact { reach } else { reach.max(DAY) }
        })
    };
    let high = facts.history.iter().filter(|other| is_high_potassium(other, site, limits)).filter(near);
    high.max_by_key(|other| usable(other).map(|(number, _)| number))
}

/// The stage that a laboratory tells as a result of its own: `2`, `AKI 2`, `Stage 2`.
fn laboratory_stage(finding: &Finding, site: &Aki) -> Option<Stage> {
    finding.codes.iter().find(|code| site.laboratory_codes.contains(code))?;
    let written = finding.number.map(|number| number.normalize().to_string()).or_else(|| finding.text.clone())?;
    let mut digits = written.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let stage = match digits.next()? {
        "1" => Stage::One,
        "2" => Stage::Two,
        "3" => Stage::Three,
        _ => return None,
    };
    digits.next().is_none().then_some(stage)
}

fn of_laboratory(finding: &Finding, stage: Stage, limits: &Limits) -> Spoken {
    let urgent = stage > Stage::One;
    let doubt = specimen(finding, limits);
    let headline = format!("{} (AKI stage {} told by its laboratory{doubt})", tell::value(finding), stage.number());
    let detail = json!({
        "result": tell::detail(finding), "stage": stage.number(), "by": "laboratory", "certainty": "certain",
        "rests_on": [], "words": { "value": tell::value(finding) },
    });
    let severity = if urgent { Severity::Critical } else { Severity::Warning };
    Spoken { interrupts: urgent, ..Spoken::of(finding, severity, headline, detail) }
}

/// Whoever may not see it is not told of what rests on it.
fn rests_on(other: &Finding) -> Value {
    json!({
        "source": other.patient.source, "record": other.record, "organisation": other.organisation,
        "confidential": other.confidential, "words": tell::value(other),
    })
}

impl Aki {
    /// Analytes and units that have to be in the lab table.
    pub fn named(&self) -> [(&'static str, &str, &str); 2] {
        [("aki", &self.analyte, &self.unit), ("aki.potassium", POTASSIUM, &self.potassium_unit)]
    }
}
