//! What the rules demand of one result.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{
    aki::{self, Aki},
    results::{Linked, Result},
};
use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    No,
    /// Either answer is right, as far as this can tell.
    Open,
    Yes,
}

/// The part of `site/alerts.toml` that says which alerts there are.
#[derive(Clone, Debug, Deserialize)]
pub struct Rules {
    window_hours: i64,
    #[serde(rename = "limit")]
    limits: Vec<Limit>,
    adrenal: Adrenal,
    aki: Option<Aki>,
    #[serde(default)]
    pair: Vec<Switch>,
    #[serde(default)]
    delta: Vec<toml::Table>,
}

#[derive(Clone, Debug, Deserialize)]
struct Switch {
    #[serde(default)]
    on: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Limit {
    analyte: String,
    unit: String,
    low: Option<Bound>,
    high: Option<Bound>,
    age_from: Option<i64>,
    age_below: Option<i64>,
    sex: Option<String>,
    setting: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Bound {
    inequality: String,
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Adrenal {
    concept_sets: Vec<String>,
    signal: Vec<Signal>,
}

#[derive(Clone, Debug, Deserialize)]
struct Signal {
    analyte: String,
    unit: String,
    mild: Option<Bound>,
    moderate: Bound,
    severe: Bound,
}

/// What the queries for the problem look for.
const PROBLEMS: [&str; 4] =
    ["addisons-disease", "primary-adrenal-insufficiency", "adrenal-insufficiency", "adrenal-crisis"];

/// Read v2, SNOMED CT (PBCL and UTL), LOINC.
const CODES: [(&str, &[&str]); 5] = [
    (
        "potassium",
        &[
            "44I4.",
            "44I4",
            "44h8.",
            "44h8",
            "1000651000000109",
            "1107761000000109",
            "1017401000000106",
            "1107751000000106",
            "2823-3",
            "6298-4",
            "32713-0",
            "39789-3",
            "39790-1",
        ],
    ),
    (
        "sodium",
        &[
            "44I5.",
            "44I5",
            "44h6.",
            "44h6",
            "1000661000000107",
            "1107871000000107",
            "1017381000000106",
            "2951-2",
            "2947-0",
            "32717-1",
            "39791-9",
        ],
    ),
    ("glucose", GLUCOSE),
    (
        "urea",
        &[
            "44J9.",
            "44J9",
            "1000951000000103",
            "1110281000000107",
            "22664-7",
            "3091-6",
            "44JA.",
            "44JA",
            "1000961000000100",
        ],
    ),
    (
        CREATININE,
        &[
            "44J3.",
            "44J3",
            "1000731000000107",
            "1107001000000108",
            "14682-9",
            "2160-0",
            "44JF.",
            "44JF",
            "1001011000000107",
            "1106601000000100",
            "38483-4",
        ],
    ),
];

const CREATININE: &str = "creatinine";

/// None for another test; then its comparator and micromoles, if this reads it.
pub fn creatinine(result: &Result) -> Option<Option<(&'static str, Decimal)>> {
    (analyte(result)? == CREATININE).then(|| written(CREATININE, result).map(|written| (written.sign, written.number)))
}

fn analyte(result: &Result) -> Option<&'static str> {
    let of = CODES.iter().find(|(_, codes)| result.codes.iter().any(|code| codes.contains(&code.trim())));
    of.map(|(analyte, _)| *analyte)
}

/// Serum and plasma, fasting, whole blood, meter.
const GLUCOSE: &[&str] = &[
    "44g..",
    "44g",
    "1010671000000102",
    "1107451000000100",
    "1110521000000108",
    "14749-6",
    "2345-7",
    "44T2.",
    "44T2",
    "44TK.",
    "44TK",
    "44g1.",
    "44g1",
    "44f1.",
    "44f1",
    "997681000000108",
    "1003141000000105",
    "1003131000000101",
    "14771-0",
    "1558-6",
    "44U..",
    "44U",
    "44TJ.",
    "44TJ",
    "997671000000106",
    "15074-8",
    "2339-0",
    "14743-9",
    "41653-7",
    "14770-2",
    "41604-0",
    "2340-8",
];

/// What a result says: the comparator before the number, and the number in mmol/L.
struct Written {
    sign: &'static str,
    number: Decimal,
    /// As the source has it, in its own unit.
    original: Decimal,
}

/// A comparator in whatever form, first the longer ones.
const SIGNS: [(&str, &str); 6] = [("<=", "<="), (">=", ">="), ("≤", "<="), ("≥", ">="), ("<", "<"), (">", ">")];
/// All that the arithmetic here covers.
const UNIT: &str = "mmol/L";

impl Rules {
    /// Refuses what this does not cover, rather than prove less than it seems to.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let rules: Self = toml::from_str(&text)?;
        for limit in &rules.limits {
            ensure!(
                CODES.iter().any(|(known, _)| *known == limit.analyte),
                "the proof knows no codes of {}",
                limit.analyte
            );
            let unit = if limit.analyte == CREATININE { "umol/L" } else { UNIT };
            ensure!(limit.unit == unit, "the proof knows no limits of {} in {}", limit.analyte, limit.unit);
            ensure!(limit.sex.is_none() && limit.setting.is_none(), "the proof knows no limits by sex or setting");
        }
        ensure!(!rules.pair.iter().any(|pair| pair.on), "the proof does not know results with medicines");
        ensure!(rules.delta.is_empty(), "the proof does not know changes since the last result");
        let unknown = rules.adrenal.concept_sets.iter().find(|set| !PROBLEMS.contains(&set.as_str()));
        ensure!(unknown.is_none(), "the proof knows no concepts of {unknown:?}");
        ensure!(
            rules.adrenal.signal.iter().all(|signal| signal.unit == UNIT),
            "the proof knows signals in {UNIT} only"
        );
        Ok(rules)
    }

    /// Each rule that may ask for an alert, with its verdict. `known`: the patient is known to have adrenal insufficiency.
    pub fn judge(
        &self,
        result: &Result,
        known: Verdict,
        live_since: Timestamp,
        now: Timestamp,
    ) -> Vec<(&'static str, Verdict)> {
        let yes = |yes: bool| if yes { Verdict::Yes } else { Verdict::No };
        let mut verdicts = vec![("source-critical", yes(matches!(result.flag.as_deref(), Some("LL" | "HH"))))];
        if let Some(analyte) = analyte(result) {
            let limits = self.limits.iter().filter(|limit| limit.analyte == analyte);
            match written(analyte, result) {
                Some(written) => {
                    let beyond = |limit: &Limit| {
                        let mut bounds = limit.low.iter().chain(&limit.high);
                        let any =
                            bounds.any(|bound| may_be(written.sign, written.number, &bound.inequality, bound.number()));
                        yes(any).min(limit.holds_for(result, now))
                    };
                    verdicts.push(("critical-limit", limits.map(beyond).max().unwrap_or(Verdict::No)));
                    verdicts.push(("adrenal-crisis", yes(self.is_signal(analyte, &written, result)).min(known)));
                }
                // A test that is watched of the under-16 alone cannot be unchecked of an adult.
                None => {
                    let watched = limits.map(|limit| limit.holds_for(result, now)).max().unwrap_or(Verdict::No);
                    verdicts.push(("unchecked", watched));
                }
            }
        }
        let window = self.in_window(result, live_since, now);
        verdicts.into_iter().map(|(rule, verdict)| (rule, verdict.min(window))).collect()
    }

    /// What is demanded of creatinines beside those before them.
    pub fn injuries<'a>(
        &self,
        results: &'a [Result],
        links: &BTreeMap<(String, String), Linked>,
        live_since: Timestamp,
        now: Timestamp,
    ) -> Vec<(&'a Result, Verdict)> {
        let Some(site) = self.aki.as_ref().filter(|site| site.on) else { return Vec::new() };
        let all = aki::demanded(results, links, site);
        all.into_iter()
            .map(|(result, verdict)| (result, verdict.min(self.in_window(result, live_since, now))))
            .collect()
    }

    /// The window ends at the commit, which lies between the go-live and now: whatever first comes to be known in it is
    /// alerted, late or not and by whatever path. Without a time, or with one ahead of the commit, the commit itself stands
    /// for it, or the time of entry where that is told.
    fn in_window(&self, result: &Result, live_since: Timestamp, now: Timestamp) -> Verdict {
        let window = SignedDuration::from_hours(self.window_hours);
        let of = |at: Option<i64>| match at.and_then(|at| Timestamp::from_microsecond(at).ok()) {
            None => Verdict::Yes,
            Some(at) if at >= now - window => Verdict::Yes,
            Some(at) if at >= live_since - window => Verdict::Open,
            Some(_) => Verdict::No,
        };
        let ahead = result.at.is_some_and(|at| at > now.as_microsecond());
        // How far ahead is too far is not for this to say.
        if ahead && of(result.entered) != Verdict::Yes { Verdict::Open } else { of(result.at) }
    }

    /// At least mild: outside its own range, or beyond a number of the site's.
    fn is_signal(&self, analyte: &str, written: &Written, result: &Result) -> bool {
        self.adrenal.signal.iter().filter(|signal| signal.analyte == analyte).any(|signal| {
            let low = signal.moderate.inequality.starts_with('<');
            let (edge, side) = if low { (result.range_low, "<") } else { (result.range_high, ">") };
            let beyond = |bound: &Bound| may_be(written.sign, written.number, &bound.inequality, bound.number());
            let mild = match edge {
                Some(edge) => may_be(written.sign, written.original, side, edge),
                None => signal.mild.as_ref().is_some_and(beyond),
            };
            mild || beyond(&signal.moderate) || beyond(&signal.severe)
        })
    }
}

impl Limit {
    /// Whether the patient's age is in its band. Not known: in every band. Which day counts in which time zone is not for
    /// this to say, so around a birthday either answer is right; and for a year where nobody tells when the sample was taken.
    fn holds_for(&self, result: &Result, now: Timestamp) -> Verdict {
        const DAY: i64 = 86_400_000_000;
        let Some(born) = result.born else { return Verdict::Yes };
        let (taken, days) = result.taken.map_or_else(|| (now.as_microsecond(), 400), |taken| (taken, 1));
        let inside = |day: i64| {
            let Some(age) = years_between(i64::from(born), day) else { return true };
            self.age_from.is_none_or(|from| age >= from) && self.age_below.is_none_or(|below| age < below)
        };
        let day = taken.div_euclid(DAY);
        let tried: Vec<bool> = [day - days, day, day + days].into_iter().map(inside).collect();
        match (tried.iter().all(|inside| *inside), tried.iter().any(|inside| *inside)) {
            (true, _) => Verdict::Yes,
            (false, true) => Verdict::Open,
            (false, false) => Verdict::No,
        }
    }
}

/// Whole years from one day to another, both counted from 1970-01-01; none where the second comes first.
fn years_between(born: i64, day: i64) -> Option<i64> {
    let date = |days: i64| {
        let at = Timestamp::from_second(days.checked_mul(86_400)?).ok()?;
        Some(at.to_zoned(jiff::tz::TimeZone::UTC).date())
    };
    let (born, day) = (date(born)?, date(day)?);
    let had_birthday = (day.month(), day.day()) >= (born.month(), born.day());
    let years = i64::from(day.year()) - i64::from(born.year()) - i64::from(!had_birthday);
    (years >= 0).then_some(years)
}

impl Bound {
    /// A bound that is no number is beyond all numbers; the services refuse such a file.
    fn number(&self) -> Decimal {
        self.value.parse().unwrap_or(Decimal::MAX)
    }
}

/// The number in mmol/L; none when number or unit cannot be used.
fn written(analyte: &str, result: &Result) -> Option<Written> {
    let value = result.value.as_deref()?.trim();
    let sign = SIGNS.iter().find_map(|(text, sign)| Some((*sign, value.strip_prefix(text)?)));
    let (sign, rest) = sign.unwrap_or(("", value));
    let mut words = rest.split_whitespace();
    let digits = words.next()?;
    // A laboratory's flag may stand behind the number.
    let known = words.all(|flag| ["H", "L", "HH", "LL", "*", "**", "C", "N"].contains(&flag));
    // A comma is read two ways, so the mappings here, which name no marks, make no number of one.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || b".-+".contains(&byte));
    let original: Decimal = Some(digits).filter(|_| known && plain)?.parse().ok()?;
    let unit: String = result.unit.as_deref()?.split_whitespace().collect();
    let factor = match (analyte, unit.as_str()) {
        ("glucose", "mg/dL" | "mg/dl") => Decimal::new(55_507, 6),
        ("urea", "mg/dL" | "mg/dl") => Decimal::new(16_651, 5),
        (CREATININE, "umol/L" | "umol/l" | "µmol/L" | "µmol/l" | "μmol/L" | "μmol/l" | "umols/L") => Decimal::ONE,
        (CREATININE, "mg/dL" | "mg/dl") => Decimal::new(88_402, 3),
        (CREATININE, "mmol/L" | "mmol/l") => Decimal::ONE_THOUSAND,
        (CREATININE, _) => return None,
        (_, "mmol/L" | "mmol/l" | "mmols/L" | "mmols/l" | "mM") => Decimal::ONE,
        ("sodium" | "potassium", "mEq/L" | "mEq/l" | "meq/L" | "meq/l") => Decimal::ONE,
        _ => return None,
    };
    Some(Written { sign, number: original.checked_mul(factor)?, original })
}

/// Whether some number that `sign number` can mean is beyond the bound: tried on every number that tells them apart.
fn may_be(sign: &str, number: Decimal, inequality: &str, bound: Decimal) -> bool {
    let little = Decimal::new(1, 6);
    let holds = |x: Decimal, sign: &str, y: Decimal| match sign {
        "<" => x < y,
        "<=" => x <= y,
        ">=" => x >= y,
        ">" => x > y,
        _ => x == y,
    };
    let near = |x: Decimal| [x - little, x, x + little];
    let tried = near(number).into_iter().chain(near(bound));
    tried.into_iter().any(|x| holds(x, sign, number) && holds(x, inequality, bound))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
