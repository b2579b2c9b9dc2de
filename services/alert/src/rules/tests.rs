//! The rules at their limits.

use super::*;
use crate::{
    Known,
    limits::{Bound, Limit},
};
use event::{Comparator, Precision, SourcePatient};
use rust_decimal::Decimal;
use urgency::Times;

pub const NOW: Micros = 1_700_000_000_000_000;
const HOUR: Micros = 3_600_000_000;

pub fn limits() -> Limits {
    Limits::parse(include_str!("../../../../site/alerts.toml")).expect("the file in the repository")
}

/// `potassium >6.0 mmol/L`, with or without number and unit; words in quotes are text.
pub fn finding(text: &str) -> Finding {
    let mut words = text.split(' ');
    let analyte = words.next().filter(|word| *word != "-").map(str::to_owned);
    let written = words.next().unwrap_or_default();
    let unit = words.next().map(str::to_owned);
    let digits = written.trim_start_matches(['<', '>', '=']);
    let number = digits.parse::<Decimal>().ok();
    let understood = unit.as_deref() == Some("mmol/L") && analyte.is_some();
    Finding {
        organisation: "RSM01".into(),
        event_id: "e".into(),
        version: "v".into(),
        times: Times { committed_at: NOW, authorised_at: Some(NOW), ..Times::default() },
        effective_at: Some(NOW - HOUR),
        code_text: "As written".into(),
        comparator: Comparator::parse(&written[..written.len() - digits.len()]),
        canonical: number.filter(|_| understood).map(|number| (number, "mmol/L".to_owned())),
        text: number.is_none().then(|| written.to_owned()),
        unchecked: match (number, understood) {
            (None, _) => Some("not a number".into()),
            (Some(_), false) => Some("unknown unit".into()),
            (Some(_), true) => None,
        },
        number,
        unit,
        analyte,
        status: Some("final".into()),
        // Fifty-three years at the time of the sample.
        birth_date: Some(0),
        ..Finding::of(SourcePatient { source: "stmarys".into(), id: "1".into() }, "result/1".into())
    }
}

pub fn addisons() -> Facts {
    Facts {
        conditions: vec![Known {
            concept: "363732003".into(),
            source: "riverside".into(),
            organisation: "R1V01".into(),
            confidential: false,
            known_at: NOW - HOUR,
        }],
        ..Facts::default()
    }
}

fn told(finding: &Finding, context: &Facts) -> String {
    let demands = evaluate(finding, context, &limits());
    demands.iter().map(|demand| format!("{}: {}", demand.rule.as_str(), demand.headline)).collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(text: &str, want: &str) {
    assert_eq!(told(&finding(text), &Facts::default()), want, "{text}");
}

#[test]
fn critical_limits_at_their_boundaries() {
    check("potassium 6.5 mmol/L", "critical-limit: Potassium 6.5 mmol/L (critical high, limit 6.5)");
    check("potassium 6.4 mmol/L", "");
    check("potassium 2.5 mmol/L", "critical-limit: Potassium 2.5 mmol/L (critical low, limit 2.5)");
    check("potassium 2.6 mmol/L", "");
    check("sodium 120 mmol/L", "critical-limit: Sodium 120 mmol/L (critical low, limit 120)");
    check("sodium 121 mmol/L", "");
    check("sodium 160 mmol/L", "critical-limit: Sodium 160 mmol/L (critical high, limit 160)");
    check("glucose 25 mmol/L", "critical-limit: Glucose 25 mmol/L (critical high, limit 25)");
    check("glucose 2.5 mmol/L", "critical-limit: Glucose 2.5 mmol/L (critical low, limit 2.5)");
    check("creatinine 900 mmol/L", "");
}

#[test]
fn comparators_alert_when_the_limit_cannot_be_excluded() {
    check(
        "potassium >6.0 mmol/L",
        "critical-limit: Potassium >6.0 mmol/L (possibly critical high: limit 6.5 cannot be excluded)",
    );
    check("potassium >7 mmol/L", "critical-limit: Potassium >7 mmol/L (critical high, limit 6.5)");
    check("glucose <2.0 mmol/L", "critical-limit: Glucose <2.0 mmol/L (critical low, limit 2.5)");
    // Certain goes before possible, whichever side comes first in the file.
    check("potassium >=6.5 mmol/L", "critical-limit: Potassium >=6.5 mmol/L (critical high, limit 6.5)");
}

#[test]
fn what_cannot_be_checked_is_said() {
    check("potassium Haemolysed", "unchecked: Potassium “Haemolysed” (could not be checked: not a number)");
    check("potassium 4.1 Banana", "unchecked: Potassium 4.1 Banana (could not be checked: unknown unit)");
    check("potassium 4.1", "unchecked: Potassium 4.1 without a unit (could not be checked: unknown unit)");
    check("creatinine Haemolysed", "");
    check("- 4.1 mmol/L", "");
    let mut other = finding("potassium 4.1 mmol/L");
    other.canonical = Some((Decimal::ONE, "g/L".into()));
    assert!(told(&other, &Facts::default()).ends_with("(could not be checked: no limit in g/L)"));
    // A doubted number is no number, even if it was converted.
    other = finding("potassium 7.0 mmol/L");
    other.unchecked = Some("unknown comparator".into());
    assert!(told(&other, &Facts::default()).starts_with("unchecked: "));
}

#[test]
fn the_sources_own_flag_counts_for_any_result() {
    let mut flagged = finding("- 4.1 mmol/L");
    flagged.flag = Some("HH".into());
    assert_eq!(
        told(&flagged, &Facts::default()),
        "source-critical: As written 4.1 mmol/L (flagged HH by its laboratory)"
    );
    flagged.flag = Some("high".into());
    assert_eq!(told(&flagged, &Facts::default()), "");
}

#[test]
fn a_status_that_nobody_understands_is_said_and_takes_nothing_away() {
    let mut odd = finding("potassium 6.9 mmol/L");
    for (text, want) in [("biologist", "; status not understood: “biologist”"), ("", "; status not told")] {
        odd.unknown_status = Some(text.into());
        let want = format!("critical-limit: Potassium 6.9 mmol/L (critical high, limit 6.5){want}");
        assert_eq!(told(&odd, &Facts::default()), want);
    }
}

#[test]
fn what_no_rule_can_watch_asks_for_nothing() {
    let mut other = finding("- 4.1 mmol/L");
    other.unchecked = Some(event::NOT_WATCHED.into());
    assert_eq!(told(&other, &addisons()), "");
}

#[test]
fn age_bands_hold_and_an_unknown_age_is_in_all() {
    let mut limits = limits();
    let child = Limit {
        low: Some(Bound { inequality: crate::limits::Inequality::LessOrEqual, value: Decimal::from(130) }),
        high: None,
        age_below: Some(16),
        ..limits.limit[0].clone()
    };
    limits.limit[0].age_from = Some(16);
    limits.limit.push(child);
    let demanded = |birth_date| {
        let finding = Finding { birth_date, ..finding("sodium 130 mmol/L") };
        !evaluate(&finding, &Facts::default(), &limits).is_empty()
    };
    // 2023-11-14 is the day of the sample: 16 years later to the day, and a day short of it.
    let sixteenth = 13_831;
    assert!(!demanded(Some(sixteenth)) && demanded(Some(sixteenth + 1)) && demanded(None));
    assert_eq!(tell::age_years(Some(sixteenth), NOW), Some(16));
    assert_eq!(tell::age_years(Some(i32::MAX), NOW), None);
}

#[test]
fn the_filter_lets_through_whatever_may_alert() {
    for (text, want) in [
        ("potassium 4.1 mmol/L", false),
        ("potassium 5.3 mmol/L", false),
        ("potassium 5.4 mmol/L", true),
        ("glucose 3.9 mmol/L", true),
        ("glucose 4.0 mmol/L", false),
        ("sodium 134 mmol/L", true),
        ("potassium 6.5 mmol/L", true),
        ("potassium Haemolysed", true),
        ("chloride 80 mmol/L", false),
    ] {
        assert_eq!(may_alert(&finding(text), &limits()), want, "{text}");
    }
}

#[test]
fn an_old_condition_does_not_make_an_old_result_news() {
    let mut old = finding("sodium 134 mmol/L");
    old.times = Times { committed_at: NOW - 100 * HOUR, authorised_at: Some(NOW - 100 * HOUR), ..Times::default() };
    let demands = evaluate(&old, &addisons(), &limits());
    assert_eq!((demands.len(), demands[0].urgency), (1, None), "it stands if it was raised, and is not raised anew");
}

/// A potassium of 6.7 that was authorised three hours ago, with one other result of the person.
#[test]
fn a_late_result_interrupts_unless_a_later_good_one_is_here() {
    let critical = Finding {
        effective_at: Some(NOW - 5 * HOUR),
        times: Times { committed_at: NOW, authorised_at: Some(NOW - 3 * HOUR), ..Times::default() },
        ..finding("potassium 6.7 mmol/L")
    };
    let later = |text: &str| Finding { record: "result/2".into(), effective_at: Some(NOW - 4 * HOUR), ..finding(text) };
    let urgency = |other: Finding, context: Facts| {
        let context = Facts { history: vec![other], now: NOW, ..context };
        evaluate(&critical, &context, &limits())[0].urgency
    };
    let good = later("potassium 4.9 mmol/L");
    let plain = |other: &Finding| urgency(other.clone(), Facts::default());
    assert_eq!(plain(&good), Some(Urgency::Listed));
    assert_eq!(plain(&Finding { status: Some("corrected".into()), ..good.clone() }), Some(Urgency::Listed));
    for (why, other) in [
        ("still critical", later("potassium 6.9 mmol/L")),
        ("perhaps critical", later("potassium >6.0 mmol/L")),
        ("flagged", Finding { flag: Some("HH".into()), ..good.clone() }),
        ("haemolysed", Finding { comment: Some("Haemolysed".into()), ..good.clone() }),
        ("words", later("potassium Haemolysed")),
        ("no unit", later("potassium 4.9")),
        ("another analyte", later("sodium 140 mmol/L")),
        ("preliminary", Finding { status: Some("preliminary".into()), ..good.clone() }),
        ("not understood", Finding { status: Some("unknown".into()), ..good.clone() }),
        ("no status", Finding { status: None, ..good.clone() }),
        ("the same sample time", Finding { effective_at: critical.effective_at, ..good.clone() }),
        ("earlier", Finding { effective_at: Some(NOW - 6 * HOUR), ..good.clone() }),
        ("no sample time", Finding { effective_at: None, ..good.clone() }),
        ("sampled after it was told", Finding { effective_at: Some(NOW + HOUR), ..good.clone() }),
        (
            "perhaps earlier",
            Finding { effective_precision: Some(Precision::Year), effective_at: Some(NOW - 6 * HOUR), ..good.clone() },
        ),
        ("itself", Finding { record: critical.record.clone(), ..good.clone() }),
    ] {
        assert_eq!(plain(&other), Some(Urgency::Late), "{why}");
    }
    // The critical one of some time that day, or that year: the other is not later for sure.
    for precision in [Precision::Day, Precision::Year] {
        let coarse = Finding { effective_precision: Some(precision), ..critical.clone() };
        let context = Facts { history: vec![good.clone()], now: NOW, ..Facts::default() };
        assert_eq!(evaluate(&coarse, &context, &limits())[0].urgency, Some(Urgency::Late), "{precision:?}");
    }
    // Not critical, but a sign in this patient.
    assert_eq!(urgency(later("potassium 5.5 mmol/L"), Facts::default()), Some(Urgency::Listed));
    assert_eq!(urgency(later("potassium 5.5 mmol/L"), addisons()), Some(Urgency::Late));
    // On time it interrupts in any case.
    let timely = Finding { times: Times { authorised_at: Some(NOW), ..critical.times }, ..critical.clone() };
    let context = Facts { history: vec![good], now: NOW, ..Facts::default() };
    assert_eq!(evaluate(&timely, &context, &limits())[0].urgency, Some(Urgency::Paged));
}

#[test]
fn a_critical_number_in_a_bad_specimen_is_told_with_its_specimen() {
    let haemolysed = Finding { comment: Some("Grossly haemolysed".into()), ..finding("potassium 6.7 mmol/L") };
    assert_eq!(
        told(&haemolysed, &Facts::default()),
        "critical-limit: Potassium 6.7 mmol/L (critical high, limit 6.5; haemolysed specimen)"
    );
}
