//! What the rules demand of one result.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::results::Result;
use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use std::path::Path;

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
}

#[derive(Clone, Debug, Deserialize)]
struct Aki {
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
const CODES: [(&str, &[&str]); 3] = [
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
];

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
            ensure!(limit.unit == UNIT, "the proof knows no limits in {}", limit.unit);
            ensure!(limit.sex.is_none() && limit.setting.is_none(), "the proof knows no limits by sex or setting");
        }
        ensure!(!rules.aki.as_ref().is_some_and(|aki| aki.on), "the proof does not know acute kidney injury");
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
        let analyte = CODES.iter().find(|(_, codes)| result.codes.iter().any(|code| codes.contains(&code.trim())));
        if let Some((analyte, _)) = analyte {
            let limits = self.limits.iter().filter(|limit| limit.analyte == *analyte);
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
                None => verdicts.push(("unchecked", yes(limits.count() > 0))),
            }
        }
        let window = self.in_window(result, live_since, now);
        verdicts.into_iter().map(|(rule, verdict)| (rule, verdict.min(window))).collect()
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
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;
    const HOUR: i64 = 3_600_000_000;

    fn rules() -> Rules {
        Rules::read(&stack::repository().join("site/alerts.toml")).unwrap()
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_microsecond(micros).unwrap()
    }

    /// What is not `No`, in the rules' order; open ones in brackets.
    fn verdicts(result: &Result, addisons: Verdict) -> String {
        let verdicts = rules().judge(result, addisons, at(NOW - 2 * HOUR), at(NOW));
        let told = verdicts.iter().filter_map(|(rule, verdict)| match verdict {
            Verdict::Yes => Some((*rule).to_owned()),
            Verdict::Open => Some(format!("({rule})")),
            Verdict::No => None,
        });
        told.collect::<Vec<_>>().join(" ")
    }

    fn result(code: &str, value: &str, unit: &str) -> Result {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Result {
            codes: vec![code.to_owned()],
            value: text(value),
            unit: text(unit),
            taken: Some(NOW - HOUR),
            // Fifty-three years old.
            born: Some(0),
            at: Some(NOW - HOUR),
            ..Result::default()
        }
    }

    #[track_caller]
    fn check(code: &str, value: &str, unit: &str, want: &str) {
        assert_eq!(verdicts(&result(code, value, unit), Verdict::No), want, "{value} {unit}");
    }

    #[test]
    fn limits_count_with_their_comparators() {
        check("44I4.", "6.7", "mmol/L", "critical-limit");
        check("2823-3", "6.5", "mEq/L", "critical-limit");
        check("44I4.", "6.4", "mmol/L", "");
        check("44I4.", "2.5", "mmol/l", "critical-limit");
        check("44I4.", ">7.0", "mmol/L", "critical-limit");
        check("44I4.", ">6.0", "mmol/L", "critical-limit");
        check("44I4.", "<6.0", "mmol/L", "critical-limit"); // it may be 2.4
        check("44I5.", ">150", "mmol/L", "critical-limit");
        check("44I5.", ">=120", "mmol/L", "critical-limit");
        check("44I5.", "121", "mmol/L", "");
        check("44TK.", "500", "mg/dL", "critical-limit");
        check("1107451000000100", "1.9 LL", "mmol/L", "critical-limit");
        check("44J3.", "900", "umol/L", "");
        check("6298-4", "1.9", "mmol/L", "critical-limit");
        check("41653-7", "500", "mg/dL", "critical-limit");
    }

    #[test]
    fn a_childs_limits_are_narrower_and_an_unknown_age_is_in_every_band() {
        // NOW is 2023-11-14; 13831 is 2007-11-14.
        for (born, want) in [
            (Some(18_000), "critical-limit"),
            (Some(13_840), "critical-limit"),
            (Some(13_831), "(critical-limit)"),
            (Some(13_820), ""),
            (Some(30_000), "critical-limit"),
            (None, "critical-limit"),
        ] {
            let sodium = Result { born, ..result("44I5.", "124", "mmol/L") };
            assert_eq!(verdicts(&sodium, Verdict::No), want, "{born:?}");
        }
        let glucose = |value| verdicts(&Result { born: Some(18_000), ..result("44TK.", value, "mmol/L") }, Verdict::No);
        assert_eq!((glucose("15"), glucose("14.9")), ("critical-limit".to_owned(), String::new()));
    }

    #[test]
    fn what_cannot_be_checked_says_so() {
        for value in ["Haemolysed", "NaN", "6,7", "0,900", "2,100", "1 024", ""] {
            check("44I4.", value, "mmol/L", "unchecked");
        }
        check("44I4.", "4.1", "Banana", "unchecked");
        check("44I4.", "4.1", "", "unchecked");
        check("44J3.", "Haemolysed", "", "");
        check("EMISNQ1", "Haemolysed", "", "");
    }

    #[test]
    fn addisons_makes_a_signal_of_less() {
        let check = |code: &str, value: &str, want: &str| {
            assert_eq!(verdicts(&result(code, value, "mmol/L"), Verdict::Yes), want, "{value}");
        };
        check("44I5.", "121", "adrenal-crisis");
        check("44I4.", "6.7", "critical-limit adrenal-crisis");
        check("44I4.", "5.3", "");
        check("44I4.", "5.4", "adrenal-crisis");
        check("44I5.", "138", "");
        check("44I5.", "134", "adrenal-crisis");
        check("44I5.", "135", "");
        check("44TK.", "3.9", "adrenal-crisis");
        check("44TK.", "4.0", "");
        let ranged = Result { range_low: Some(Decimal::new(140, 0)), ..result("44I5.", "138", "mmol/L") };
        assert_eq!(verdicts(&ranged, Verdict::Yes), "adrenal-crisis", "below its own range");
        assert_eq!(verdicts(&ranged, Verdict::Open), "(adrenal-crisis)");
        let ranged = Result { range_low: Some(Decimal::new(133, 0)), ..result("44I5.", "134", "mmol/L") };
        assert_eq!(verdicts(&ranged, Verdict::Yes), "", "inside its own range");
    }

    #[test]
    fn only_results_in_the_window_count() {
        let flagged = |hours: i64| {
            let result = Result { flag: Some("HH".into()), at: Some(NOW - hours * HOUR), ..Result::default() };
            verdicts(&result, Verdict::No)
        };
        assert_eq!(flagged(1), "source-critical");
        assert_eq!(flagged(72), "source-critical");
        assert_eq!(flagged(73), "(source-critical)", "it depends on when it was committed");
        assert_eq!(flagged(75), "");
        assert_eq!(flagged(-1), "source-critical");
        let ahead = |entered: i64| {
            let (at, entered) = (Some(NOW + HOUR), Some(NOW - entered * HOUR));
            let result = Result { flag: Some("HH".into()), at, entered, ..Result::default() };
            verdicts(&result, Verdict::No)
        };
        assert_eq!((ahead(1), ahead(75)), ("source-critical".to_owned(), "(source-critical)".to_owned()));
    }
}
