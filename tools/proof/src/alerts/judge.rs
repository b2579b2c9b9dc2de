//! What the rules demand of one result.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::results::Result;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    No,
    /// Either answer is right, as far as this can tell.
    Open,
    Yes,
}

/// The site's limits and window, told by whoever runs the proof.
#[derive(Clone, Debug)]
pub struct Rules {
    pub limits: Vec<Limit>,
    pub window: SignedDuration,
    /// Sodium at or below, potassium at or above: surely a signal, and surely none on the other side of the second.
    pub adrenal_sodium: (Decimal, Decimal),
    pub adrenal_potassium: (Decimal, Decimal),
}

/// A watched analyte: critical at or beyond a limit.
#[derive(Clone, Debug)]
pub struct Limit {
    pub analyte: &'static str,
    pub low: Decimal,
    pub high: Decimal,
}

impl Default for Rules {
    fn default() -> Self {
        let limit = |analyte, low, high| Limit { analyte, low, high };
        Self {
            limits: vec![
                limit("potassium", Decimal::new(25, 1), Decimal::new(65, 1)),
                limit("sodium", Decimal::new(120, 0), Decimal::new(160, 0)),
                limit("glucose", Decimal::new(25, 1), Decimal::new(25, 0)),
            ],
            window: SignedDuration::from_hours(72),
            adrenal_sodium: (Decimal::new(125, 0), Decimal::new(135, 0)),
            adrenal_potassium: (Decimal::new(60, 1), Decimal::new(50, 1)),
        }
    }
}

/// Read v2, SNOMED CT (PBCL and UTL), LOINC.
const CODES: [(&str, &[&str]); 3] = [
    ("potassium", &["44I4.", "44I4", "44h8.", "44h8", "1000651000000109", "1107761000000109", "1017401000000106", "1107751000000106", "2823-3"]),
    ("sodium", &["44I5.", "44I5", "1000661000000107", "1107871000000107", "2951-2"]),
    ("glucose", &["44T2.", "44T2", "44TK.", "44TK", "997681000000108", "1107451000000100", "14749-6", "2345-7"]),
];

/// Between two thresholds: surely beyond, perhaps, surely not.
#[derive(Clone, Copy)]
enum Side {
    AtOrBelow,
    AtOrAbove,
}

/// A number with the comparator before it.
struct Written {
    sign: &'static str,
    number: Decimal,
}

impl Rules {
    /// Each rule that may ask for an alert, with its verdict. `addisons`: the patient is known to have the disease.
    pub fn judge(&self, result: &Result, addisons: Verdict, live_since: Timestamp, now: Timestamp) -> Vec<(&'static str, Verdict)> {
        let window = self.in_window(result.at, live_since, now);
        let mut verdicts = vec![("source-critical", flagged(result.flag.as_deref()))];
        let analyte = CODES.iter().find(|(_, codes)| result.codes.iter().any(|code| codes.contains(&code.trim())));
        if let Some((analyte, limit)) = analyte.and_then(|(name, _)| Some((*name, self.limits.iter().find(|limit| limit.analyte == *name)?))) {
            let empty = result.value.as_deref().is_none_or(|value| value.trim().is_empty());
            match written(analyte, result) {
                Some(written) => {
                    let critical = beyond(&written, Side::AtOrBelow, limit.low).max(beyond(&written, Side::AtOrAbove, limit.high));
                    verdicts.push(("critical-limit", critical));
                    // Where the comparator settles nothing, saying so is right too.
                    verdicts.push(("unchecked", if critical == Verdict::Open { Verdict::Open } else { Verdict::No }));
                    verdicts.push(("adrenal-crisis", self.adrenal(analyte, &written).min(addisons)));
                }
                None => verdicts.push(("unchecked", if empty { Verdict::Open } else { Verdict::Yes })),
            }
        }
        verdicts.into_iter().map(|(rule, verdict)| (rule, verdict.min(window))).collect()
    }

    /// The window ends at the commit, which lies between the go-live and now.
    fn in_window(&self, at: Option<i64>, live_since: Timestamp, now: Timestamp) -> Verdict {
        let Some(at) = at.and_then(|at| Timestamp::from_microsecond(at).ok()) else { return Verdict::Open };
        if at > now {
            Verdict::Open
        } else if at >= now - self.window {
            Verdict::Yes
        } else if at >= live_since - self.window {
            Verdict::Open
        } else {
            Verdict::No
        }
    }

    fn adrenal(&self, analyte: &str, written: &Written) -> Verdict {
        let (side, (surely, perhaps)) = match analyte {
            "sodium" => (Side::AtOrBelow, self.adrenal_sodium),
            "potassium" => (Side::AtOrAbove, self.adrenal_potassium),
            // A low sugar can be part of the signal, never all of it.
            _ => return Verdict::Open,
        };
        match beyond(written, side, surely) {
            Verdict::Yes => Verdict::Yes,
            _ => beyond(written, side, perhaps).min(Verdict::Open),
        }
    }
}

fn flagged(flag: Option<&str>) -> Verdict {
    if matches!(flag, Some("LL" | "HH")) { Verdict::Yes } else { Verdict::No }
}

/// The number in mmol/L; none when number or unit cannot be used.
fn written(analyte: &str, result: &Result) -> Option<Written> {
    let value = result.value.as_deref()?.trim();
    let signs = [("<=", "<="), (">=", ">="), ("≤", "<="), ("≥", ">="), ("<", "<"), (">", ">")];
    let (sign, rest) = signs
        .iter()
        .find_map(|(text, sign)| Some((*sign, value.strip_prefix(text)?)))
        .unwrap_or(("", value));
    // A laboratory's flag may stand behind the number.
    let digits = rest.split_whitespace().next()?;
    let behind = rest.split_whitespace().nth(1);
    let known = behind.is_none_or(|flag| ["H", "L", "HH", "LL", "*", "**", "C", "N"].contains(&flag));
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || b".,-+".contains(&byte));
    let number: Decimal = Some(digits).filter(|_| known && plain)?.replace(',', "").parse().ok()?;
    let unit: String = result.unit.as_deref()?.split_whitespace().collect::<String>().to_lowercase();
    let factor = match (analyte, unit.as_str()) {
        ("glucose", "mg/dl") => Decimal::new(5_551, 5),
        (_, "mmol/l" | "mmols/l" | "mm") => Decimal::ONE,
        ("sodium" | "potassium", "meq/l") => Decimal::ONE,
        _ => return None,
    };
    Some(Written { sign, number: number.checked_mul(factor)? })
}

fn beyond(written: &Written, side: Side, limit: Decimal) -> Verdict {
    let number = written.number;
    let (there, away) = match side {
        Side::AtOrBelow => (number <= limit, "<"),
        Side::AtOrAbove => (number >= limit, ">"),
    };
    let sign = written.sign.get(..1).unwrap_or("");
    match (sign.is_empty(), sign == away) {
        (true, _) => if there { Verdict::Yes } else { Verdict::No },
        // `>7` is beyond 6.5; `>6.0` may be.
        (false, true) => if there { Verdict::Yes } else { Verdict::Open },
        // `<6` is not beyond 6.5 on the high side; `<7` may be.
        (false, false) => if there { Verdict::Open } else { Verdict::No },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;
    const HOUR: i64 = 3_600_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_microsecond(micros).unwrap()
    }

    /// What is not `No`, in the rules' order; open ones in brackets.
    fn verdicts(result: &Result, addisons: Verdict) -> String {
        let verdicts = Rules::default().judge(result, addisons, at(NOW - 2 * HOUR), at(NOW));
        let told = verdicts.iter().filter_map(|(rule, verdict)| match verdict {
            Verdict::Yes => Some((*rule).to_owned()),
            Verdict::Open => Some(format!("({rule})")),
            Verdict::No => None,
        });
        told.collect::<Vec<_>>().join(" ")
    }

    fn result(code: &str, value: &str, unit: &str) -> Result {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Result { codes: vec![code.to_owned()], value: text(value), unit: text(unit), at: Some(NOW - HOUR), ..Result::default() }
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
        check("44I4.", ">6.0", "mmol/L", "(critical-limit) (unchecked)");
        check("44I4.", "<6.0", "mmol/L", "(critical-limit) (unchecked)");
        check("44I5.", "121", "mmol/L", "");
        check("44TK.", "500", "mg/dL", "critical-limit");
        check("1107451000000100", "1.9 LL", "mmol/L", "critical-limit");
        check("44J3.", "900", "umol/L", "");
    }

    #[test]
    fn what_cannot_be_checked_says_so() {
        check("44I4.", "Haemolysed", "mmol/L", "unchecked");
        check("44I4.", "NaN", "mmol/L", "unchecked");
        check("44I4.", "4.1", "Banana", "unchecked");
        check("44I4.", "4.1", "", "unchecked");
        check("44I4.", "", "mmol/L", "(unchecked)");
        check("EMISNQ1", "Haemolysed", "", "");
    }

    #[test]
    fn addisons_makes_a_signal_of_less() {
        let check = |code: &str, value: &str, want: &str| assert_eq!(verdicts(&result(code, value, "mmol/L"), Verdict::Yes), want);
        check("44I5.", "121", "adrenal-crisis");
        check("44I4.", "6.7", "critical-limit adrenal-crisis");
        check("44I5.", "130", "(adrenal-crisis)");
        check("44I5.", "138", "");
        check("44I4.", "4.4", "");
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
        assert_eq!(flagged(-1), "(source-critical)");
    }
}
