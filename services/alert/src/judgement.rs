//! How a result stands: one judgement for alerts, pages and FHIR, from the site's limits, the laboratory's own flag, the
//! result's reference range and what is said of its specimen.
//!
//! Absence is no level: a result that nothing judges is `None`, which is not "normal".

use crate::{
    Finding,
    limits::{Bound, Inequality, Limit, Limits},
    rules::{
        judge::{Judged, judge},
        tell,
    },
};
use rust_decimal::Decimal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Low,
    High,
}

impl Side {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The side is not known when the laboratory says only that it is critical.
    Critical(Option<Side>),
    /// Its comparator leaves it open: the limit cannot be excluded.
    PossiblyCritical(Side),
    Outside(Side),
    /// The laboratory flags it, and nobody told us what the flag means.
    Flagged,
    /// Inside its own reference range.
    Inside,
}

impl Level {
    pub const fn is_critical(self) -> bool {
        matches!(self, Self::Critical(_) | Self::PossiblyCritical(_))
    }

    /// A code of HL7's `v3-ObservationInterpretation`. Nothing is told to be normal: that is for its laboratory to say.
    pub const fn interpretation(self) -> Option<&'static str> {
        match self {
            Self::Critical(Some(Side::Low)) => Some("LL"),
            Self::Critical(Some(Side::High)) => Some("HH"),
            Self::Critical(None) => Some("AA"),
            // It may be no more than outside: the lesser of what it can mean is certain of neither.
            Self::PossiblyCritical(_) | Self::Flagged | Self::Inside => None,
            Self::Outside(Side::Low) => Some("L"),
            Self::Outside(Side::High) => Some("H"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// None: nothing judges it.
    pub level: Option<Level>,
    /// `Critical high (limit 6.5)`: for people, never by colour alone.
    pub words: Option<String>,
    /// Why a watched result has no usable number.
    pub unchecked: Option<String>,
    /// `haemolysed specimen`, `implausible value`.
    pub doubt: Option<String>,
}

impl Judgement {
    /// Whether its number can stand for how the patient is.
    pub const fn reliable(&self) -> bool {
        self.doubt.is_none() && self.unchecked.is_none()
    }
}

/// Beyond one of the site's critical limits, for sure or perhaps.
#[derive(Clone, Debug)]
pub struct Beyond<'a> {
    pub judged: Judged,
    pub side: Side,
    pub bound: Bound,
    pub limit: &'a Limit,
    /// The bound's: the limit's, or the one that was reported.
    pub unit: &'a str,
    /// `, under 16 years`: for whom the limit holds.
    pub whose: String,
}

impl Beyond<'_> {
    /// `6.5`, with its unit where that is not the limit's own.
    pub fn words(&self) -> String {
        let unit = if self.unit == self.limit.unit { String::new() } else { format!(" {}", self.unit) };
        format!("{}{unit}", self.bound.value)
    }
}

/// How a result stands.
pub fn of(finding: &Finding, limits: &Limits) -> Judgement {
    let flag = finding.flag.as_deref().map(str::trim).filter(|flag| !flag.is_empty());
    let critical_flag = flag.filter(|flag| limits.is_critical(flag));
    let (level, words) = match (beyond_limit(finding, limits), critical_flag) {
        (Some(beyond), flag) if beyond.judged == Judged::Certain => {
            let (side, value, whose) = (beyond.side, beyond.words(), beyond.whose);
            let lab = flag.map(|flag| format!(", flagged {flag}")).unwrap_or_default();
            let words = format!("Critical {} (limit {value}{whose}{lab})", side.as_str());
            (Some(Level::Critical(Some(side))), Some(words))
        }
        (_, Some(flag)) => {
            let side = side_of(flag);
            let which = side.map(|side| format!(" {}", side.as_str())).unwrap_or_default();
            (Some(Level::Critical(side)), Some(format!("Critical{which} (flagged {flag} by its laboratory)")))
        }
        (Some(beyond), None) => {
            let (side, value, whose) = (beyond.side, beyond.words(), beyond.whose);
            let words = format!("Possibly critical {} (limit {value}{whose} cannot be excluded)", side.as_str());
            (Some(Level::PossiblyCritical(side)), Some(words))
        }
        (None, None) => by_range_or_flag(finding, flag),
    };
    Judgement { level, words, unchecked: unchecked(finding, limits), doubt: doubt(finding, limits) }
}

fn by_range_or_flag(finding: &Finding, flag: Option<&str>) -> (Option<Level>, Option<String>) {
    let ranged = outside_own_range(finding);
    match (flag.map(side_of), ranged) {
        (Some(Some(side)), _) => {
            (Some(Level::Outside(side)), Some(if side == Side::Low { "Low" } else { "High" }.into()))
        }
        (_, Some(Some(side))) => {
            let word = if side == Side::Low { "Below" } else { "Above" };
            (Some(Level::Outside(side)), Some(format!("{word} its reference range")))
        }
        // Its words are its laboratory's, and shown as such.
        (Some(None), _) => (Some(Level::Flagged), flag.map(|flag| format!("Flagged {flag}"))),
        (None, Some(None)) => (Some(Level::Inside), None),
        (None, None) => (None, None),
    }
}

/// On which side of its own reference range it lies for sure, `Some(None)` for inside; none where that is not known.
fn outside_own_range(finding: &Finding) -> Option<Option<Side>> {
    let number = finding.number?;
    let beyond = |inequality, edge: Option<Decimal>| {
        edge.map(|value| judge(finding.comparator, number, Bound { inequality, value }))
    };
    let (low, high) = (beyond(Inequality::Less, finding.range_low), beyond(Inequality::Greater, finding.range_high));
    match (low, high) {
        (Some(Judged::Certain), _) => Some(Some(Side::Low)),
        (_, Some(Judged::Certain)) => Some(Some(Side::High)),
        (Some(Judged::No), Some(Judged::No)) => Some(None),
        _ => None,
    }
}

/// `LL`, `critical-low`, `L`, `low`: on which side a laboratory's flag lies.
fn side_of(flag: &str) -> Option<Side> {
    let flag = flag.to_ascii_lowercase();
    if matches!(flag.as_str(), "l" | "ll") || flag.ends_with("low") {
        Some(Side::Low)
    } else if matches!(flag.as_str(), "h" | "hh") || flag.ends_with("high") {
        Some(Side::High)
    } else {
        None
    }
}

/// The number and its unit, if both are understood and the number can be: what stands for how the patient is.
pub fn usable(finding: &Finding) -> Option<(Decimal, &str)> {
    let (number, unit) = finding.canonical.as_ref().filter(|_| finding.unchecked.is_none())?;
    Some((*number, unit))
}

/// The same, and a number that cannot be: limits judge it all the same, for what it says must not be missed.
pub fn measured(finding: &Finding) -> Option<(Decimal, &str)> {
    let (number, unit) =
        finding.canonical.as_ref().filter(|_| finding.unchecked.is_none() || is_implausible(finding))?;
    Some((*number, unit))
}

fn is_implausible(finding: &Finding) -> bool {
    finding.unchecked.as_deref() == Some(event::IMPLAUSIBLE)
}

/// The surest of the limits that it is beyond; of those, the first in the file.
pub fn beyond_limit<'a>(finding: &Finding, limits: &'a Limits) -> Option<Beyond<'a>> {
    let analyte = finding.analyte.as_deref()?;
    let (number, unit) = measured(finding)?;
    let age = tell::age_years(finding.birth_date, finding.effective_at.unwrap_or(finding.times.committed_at));
    let covers =
        |limit: &&Limit| limit.analyte == analyte && limit.unit == unit && limit.covers(age) && limit.is_for(finding);
    let judged = limits.limit.iter().filter(covers).flat_map(|limit| {
        let reported = limit.reported_in(finding.unit.as_deref()).zip(finding.number);
        let (low, high) = reported.map_or((limit.low, limit.high), |(limit, _)| (limit.low, limit.high));
        let (number, unit) = reported.map_or((number, &limit.unit), |(limit, number)| (number, &limit.unit));
        let bounds = [(Side::Low, low), (Side::High, high)];
        bounds.into_iter().filter_map(|(side, bound)| Some((side, bound?))).map(move |(side, bound)| Beyond {
            judged: judge(finding.comparator, number, bound),
            side,
            bound,
            limit,
            unit,
            whose: limit.whose(finding, age),
        })
    });
    judged.fold(None, surest).filter(|beyond| beyond.judged != Judged::No)
}

fn surest<'a>(best: Option<Beyond<'a>>, next: Beyond<'a>) -> Option<Beyond<'a>> {
    match best {
        Some(best) if best.judged >= next.judged => Some(best),
        _ => Some(next),
    }
}

/// Why a watched result cannot be judged by any limit.
pub fn unchecked(finding: &Finding, limits: &Limits) -> Option<String> {
    let age = tell::age_years(finding.birth_date, finding.effective_at.unwrap_or(finding.times.committed_at));
    let analyte = finding.analyte.as_deref().filter(|_| limits.watches_of(finding, age))?;
    match measured(finding) {
        // Beyond a limit it is told as that.
        Some(_) if is_implausible(finding) => {
            beyond_limit(finding, limits).is_none().then(|| event::IMPLAUSIBLE.to_owned())
        }
        None => Some(finding.unchecked.clone().unwrap_or_else(|| "no number in a known unit".to_owned())),
        Some((_, unit)) if limits.limit.iter().any(|limit| limit.analyte == analyte && limit.unit == unit) => None,
        Some((_, unit)) => Some(format!("no limit in {unit}")),
    }
}

/// What is said of its specimen, in its comment or in the place of its number, and whether its number can be.
pub fn doubt(finding: &Finding, limits: &Limits) -> Option<String> {
    let specimen = limits.doubted(finding.comment.as_deref().into_iter().chain(finding.text.as_deref()));
    let doubts: Vec<&str> = specimen.into_iter().chain(is_implausible(finding).then_some(event::IMPLAUSIBLE)).collect();
    (!doubts.is_empty()).then(|| doubts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{finding, limits};

    /// `Critical high (limit 6.5) HH`, with what is unchecked and doubted.
    #[track_caller]
    fn check(finding: &Finding, words: Option<&str>, code: Option<&str>, reliable: bool) {
        let judged = of(finding, &limits());
        assert_eq!(judged.words.as_deref(), words, "{judged:?}");
        assert_eq!(judged.level.and_then(Level::interpretation), code, "{judged:?}");
        assert_eq!(judged.reliable(), reliable, "{judged:?}");
    }

    fn flagged(text: &str, flag: &str) -> Finding {
        Finding { flag: Some(flag.into()), ..finding(text) }
    }

    fn ranged(text: &str, low: Option<i64>, high: Option<i64>) -> Finding {
        Finding { range_low: low.map(Decimal::from), range_high: high.map(Decimal::from), ..finding(text) }
    }

    #[test]
    fn the_record_says_what_the_alerts_say() {
        check(&finding("potassium 8.25 mmol/L"), Some("Critical high (limit 6.5)"), Some("HH"), true);
        check(&finding("potassium 6.5 mmol/L"), Some("Critical high (limit 6.5)"), Some("HH"), true);
        check(&finding("potassium 6.4 mmol/L"), None, None, true);
        check(&finding("sodium 118 mmol/L"), Some("Critical low (limit 120)"), Some("LL"), true);
        check(&finding("sodium 121 mmol/L"), None, None, true);
        check(
            &finding("potassium >6.0 mmol/L"),
            Some("Possibly critical high (limit 6.5 cannot be excluded)"),
            None,
            true,
        );
        check(&finding("potassium >7 mmol/L"), Some("Critical high (limit 6.5)"), Some("HH"), true);
        // Every result that a critical-limit or source-critical alert is raised for is critical here, and no other.
        for analyte in ["potassium", "sodium", "glucose", "-"] {
            for number in ["1.9", "2.5", "2.6", "4", "6.4", "6.5", "25", "120", "121", "159", "160", ">6.0", "<130"] {
                for flag in [None, Some("HH"), Some("high"), Some("critical-low"), Some("odd")] {
                    let finding =
                        Finding { flag: flag.map(Into::into), ..finding(&format!("{analyte} {number} mmol/L")) };
                    let demands = crate::rules::evaluate(&finding, &crate::Facts::default(), &limits());
                    let alerts = demands.iter().any(|demand| demand.severity == crate::Severity::Critical);
                    let critical = of(&finding, &limits()).level.is_some_and(Level::is_critical);
                    assert_eq!(critical, alerts, "{analyte} {number} {flag:?}");
                }
            }
        }
    }

    #[test]
    fn flags_and_ranges_judge_what_no_limit_does() {
        check(&flagged("- 4.1 mmol/L", "HH"), Some("Critical high (flagged HH by its laboratory)"), Some("HH"), true);
        check(&flagged("- 4.1 mmol/L", "AA"), Some("Critical (flagged AA by its laboratory)"), Some("AA"), true);
        check(&flagged("potassium 6.7 mmol/L", "HH"), Some("Critical high (limit 6.5, flagged HH)"), Some("HH"), true);
        check(&flagged("potassium 5.6 mmol/L", "high"), Some("High"), Some("H"), true);
        check(&flagged("- 5.6 mmol/L", "L"), Some("Low"), Some("L"), true);
        check(&flagged("- 5.6 mmol/L", "delta"), Some("Flagged delta"), None, true);
        check(&ranged("potassium 5.6 mmol/L", Some(3), Some(5)), Some("Above its reference range"), Some("H"), true);
        check(&ranged("- 2 g/L", Some(3), Some(5)), Some("Below its reference range"), Some("L"), true);
        check(&ranged("potassium 4 mmol/L", Some(3), Some(5)), None, None, true);
        let level = |finding: &Finding| of(finding, &limits()).level;
        assert_eq!(level(&ranged("potassium 4 mmol/L", Some(3), Some(5))), Some(Level::Inside));
        // Half a range, a comparator that leaves it open, no range: nobody knows.
        for open in [ranged("potassium 4 mmol/L", Some(3), None), ranged("- >4 g/L", Some(3), Some(5))] {
            assert_eq!(level(&open), None);
        }
        assert_eq!(level(&finding("potassium 4 mmol/L")), None);
    }

    #[test]
    fn a_doubtful_or_unchecked_result_stands_for_nothing() {
        let haemolysed = |text: &str, comment: &str| Finding { comment: Some(comment.into()), ..finding(text) };
        check(
            &haemolysed("potassium 6.7 mmol/L", "Grossly haemolysed"),
            Some("Critical high (limit 6.5)"),
            Some("HH"),
            false,
        );
        check(&haemolysed("potassium 4.1 mmol/L", "not haemolysed"), None, None, true);
        check(&finding("sodium Haemolysed"), None, None, false);
        check(&finding("potassium 4.1 Banana"), None, None, false);
        let judged = of(&finding("sodium Haemolysed"), &limits());
        assert_eq!(judged.doubt.as_deref(), Some("haemolysed specimen"));
        assert_eq!(judged.unchecked.as_deref(), Some("not a number"));
    }

    /// A potassium of 140: most likely the sodium. It alerts, and stands for nothing.
    #[test]
    fn what_cannot_be_is_judged_and_not_relied_on() {
        let implausible = |text: &str| Finding { unchecked: Some(event::IMPLAUSIBLE.into()), ..finding(text) };
        check(&implausible("potassium 140 mmol/L"), Some("Critical high (limit 6.5)"), Some("HH"), false);
        let judged = of(&implausible("potassium 140 mmol/L"), &limits());
        assert_eq!((judged.doubt.as_deref(), judged.unchecked), (Some("implausible value"), None));
        assert!(usable(&implausible("potassium 140 mmol/L")).is_none(), "no baseline, and no reassurance");
        // Beyond no limit it is said all the same; a site may watch nothing on that side.
        let judged = of(&implausible("potassium 4.1 mmol/L"), &limits());
        assert_eq!(
            (judged.doubt.as_deref(), judged.unchecked.as_deref()),
            (Some("implausible value"), Some("implausible value"))
        );
        let both = Finding { comment: Some("Haemolysed".into()), ..implausible("potassium 140 mmol/L") };
        assert_eq!(doubt(&both, &limits()).as_deref(), Some("haemolysed specimen; implausible value"));
    }

    /// 6.5 % is 47.53 mmol/mol: by the limit in mmol/mol alone it would be below 48.
    #[test]
    fn a_limit_of_two_units_is_judged_by_the_reported_one() {
        let limit = "[[limit]]\nanalyte = \"hba1c\"\nunit = \"mmol/mol\"\nhigh = { inequality = \">=\", value = \"48\" }\n\
                     reported = [{ unit = \"%\", high = { inequality = \">=\", value = \"6.5\" } }]\n\n[adrenal]";
        let text = include_str!("../../../site/alerts.toml").replacen("[adrenal]", limit, 1);
        let limits = Limits::parse(&text).expect("good").of_lab(&coding::lab::Lab::shipped()).expect("known");
        let hba1c = |number: &str, unit: &str, canonical: &str| Finding {
            analyte: Some("hba1c".into()),
            number: number.parse().ok(),
            unit: Some(unit.into()),
            canonical: canonical.parse().ok().map(|number| (number, "mmol/mol".to_owned())),
            unchecked: None,
            ..finding("hba1c 1 mmol/mol")
        };
        for (number, unit, canonical, want) in [
            ("6.5", "%", "47.53", Some("Critical high (limit 6.5 %)")),
            ("6.5", "% Hb", "47.53", Some("Critical high (limit 6.5 %)")),
            ("6.4", "%", "46.44", None),
            ("48", "mmol/mol", "48", Some("Critical high (limit 48)")),
            ("47.53", "mmol/mol", "47.53", None),
        ] {
            assert_eq!(of(&hba1c(number, unit, canonical), &limits).words.as_deref(), want, "{number} {unit}");
        }
    }
}
