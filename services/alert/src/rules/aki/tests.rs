//! The algorithm at and beside each boundary, and against a re-computation that shares no code with it.

use super::{
    super::{Demand, Rule, Severity, evaluate, may_alert},
    algorithm::{By, Sample, Stage, stage},
    site::Aki,
};
use crate::{Facts, Finding, Known, Limits, Urgency, rules::urgency::Times};
use event::{Comparator, Micros, Precision, SourcePatient};
use proptest::prelude::*;
use rust_decimal::Decimal;

/// 2023-11-14 12:13:20 UTC.
const NOW: Micros = 1_699_964_000_000_000;
const MINUTE: Micros = 60_000_000;
const HOUR: Micros = 60 * MINUTE;
const DAY: Micros = 24 * HOUR;

fn limits() -> Limits {
    let text = include_str!("../../../../../site/alerts.toml").replace("[aki]\non = false", "[aki]\non = true");
    Limits::parse(&text).expect("the file in the repository")
}

fn site() -> Aki {
    limits().aki.expect("a section")
}

fn sample(value: &str, back: Micros) -> Sample {
    Sample { at: NOW - back, exact: true, value: value.parse().expect("a number"), nth: 0 }
}

/// "2 median 80", of a creatinine now beside earlier ones.
fn met(now: &Sample, beyond: bool, others: &[Sample]) -> String {
    match stage(now, beyond, others, &site()) {
        None => String::new(),
        Some((stage, by)) => {
            let kind = match by {
                By::Lowest { .. } => "lowest",
                By::Median { .. } => "median",
                By::Rise { .. } => "rise",
            };
            format!("{} {kind} {}", stage.number(), by.baseline().normalize())
        }
    }
}

#[track_caller]
fn check(now: &str, others: &[(&str, Micros)], want: &str) {
    let others: Vec<Sample> = others.iter().map(|(value, back)| sample(value, *back)).collect();
    let beyond = now.parse::<Decimal>().expect("a number") > Decimal::from(354);
    assert_eq!(met(&sample(now, 0), beyond, &others), want, "{now} beside {others:?}");
}

#[test]
fn the_ratio_itself_reaches_its_stage() {
    let before = [("100", 3 * DAY)];
    check("149.9", &before, "");
    check("150", &before, "1 lowest 100");
    check("199.9", &before, "1 lowest 100");
    check("200", &before, "2 lowest 100");
    check("299.9", &before, "2 lowest 100");
    check("300", &before, "3 lowest 100");
    // No rounding comes between.
    check("149.999999", &before, "");
}

#[test]
fn exactly_354_is_not_above_it_and_without_a_ratio_it_is_nothing() {
    let before = [("200", 3 * DAY)];
    check("354", &before, "1 lowest 200");
    check("354.1", &before, "3 lowest 200");
    check("400", &[("300", 3 * DAY)], "");
}

#[test]
fn a_rise_of_exactly_26_is_none() {
    check("126", &[("100", 10 * HOUR)], "");
    check("126.1", &[("100", 10 * HOUR)], "1 rise 100");
    check("127", &[("100", 48 * HOUR)], "1 rise 100");
    check("127", &[("100", 48 * HOUR + 1)], "");
    // The lowest of them counts, not the last.
    check("127", &[("100", 40 * HOUR), ("120", HOUR)], "1 rise 100");
}

#[test]
fn a_time_that_is_only_a_day_never_meets_the_48_hours() {
    let dated = |value: &str, days: i64| Sample {
        exact: false,
        // The first moment of the day.
        at: (NOW.div_euclid(DAY) - days) * DAY,
        ..sample(value, 0)
    };
    for days in 0..=2 {
        assert_eq!(met(&sample("140", 0), false, &[dated("100", days)]), "", "{days}");
        assert_eq!(met(&dated("140", 0), false, &[sample("100", days * DAY)]), "", "{days}");
    }
    // For the days it counts: 7, and no more.
    assert_eq!(met(&sample("150", 0), false, &[dated("100", 7)]), "1 lowest 100");
    assert_eq!(met(&sample("150", 0), false, &[dated("100", 8)]), "1 median 100");
    assert_eq!(met(&sample("150", 0), false, &[dated("100", 365)]), "1 median 100");
    assert_eq!(met(&sample("150", 0), false, &[dated("100", 366)]), "");
}

#[test]
fn whole_days_count() {
    for (back, kind) in [
        (7 * DAY, "lowest"),
        (8 * DAY - 1, "lowest"),
        (8 * DAY, "median"),
        (365 * DAY, "median"),
        (366 * DAY - 1, "median"),
    ] {
        check("150", &[("100", back)], &format!("1 {kind} 100"));
    }
    check("150", &[("100", 366 * DAY)], "");
    check("150", &[], "");
    // What comes after it, or with it, is no baseline.
    check("150", &[("50", 0), ("50", -HOUR)], "");
}

#[test]
fn the_higher_ratio_of_lowest_and_median_counts() {
    check("150", &[("100", DAY), ("90", 100 * DAY)], "1 median 90");
    check("150", &[("90", DAY), ("100", 100 * DAY)], "1 lowest 90");
    // An odd number of them, and an even one.
    check("180", &[("80", 20 * DAY), ("300", 30 * DAY), ("90", 40 * DAY)], "2 median 90");
    check("180", &[("80", 20 * DAY), ("100", 30 * DAY)], "2 median 90");
}

#[test]
fn one_specimen_told_twice_is_one_value() {
    // Three tellings of 60 would make the median 60.
    check("150", &[("60", 20 * DAY), ("60", 20 * DAY), ("60", 20 * DAY), ("110", 30 * DAY), ("110", 40 * DAY)], "");
    let dated =
        |value: &str, days: i64| Sample { exact: false, at: (NOW.div_euclid(DAY) - days) * DAY, ..sample(value, 0) };
    let told =
        [sample("60", 20 * DAY), dated("60", 20), dated("60", 20), sample("110", 30 * DAY), sample("110", 40 * DAY)];
    assert_eq!(met(&sample("150", 0), false, &told), "", "a practice's copy that has only the day");
    // The result itself, told by another source, is no baseline of it.
    assert_eq!(met(&sample("150", 0), false, &[dated("150", 0), sample("100", 400 * DAY)]), "");
}

/// The same from the reference's four steps, with integers and lists, without a line of the rule's.
fn naive(now: i64, beyond: bool, others: &[(i64, i64)]) -> Option<u8> {
    let mut by_minute = std::collections::BTreeMap::new();
    for &(value, minutes) in others {
        if minutes > 0 {
            let kept = by_minute.entry(minutes).or_insert(value);
            *kept = value.min(*kept);
        }
    }
    let days = |minutes: i64| minutes / (24 * 60);
    let first: Vec<i64> = by_minute.iter().filter(|(m, _)| days(**m) <= 7).map(|(_, v)| *v).collect();
    let mut second: Vec<i64> =
        by_minute.iter().filter(|(m, _)| (8..=365).contains(&days(**m))).map(|(_, v)| *v).collect();
    second.sort_unstable();
    // Twice the median, so that it is whole.
    let twice_median = match second.len() {
        0 => None,
        n if n % 2 == 1 => Some(2 * second[n / 2]),
        n => Some(second[n / 2 - 1] + second[n / 2]),
    };
    let twice: Vec<i64> = first.iter().min().map(|v| 2 * v).into_iter().chain(twice_median).collect();
    // now / (twice / 2) >= ratio, of the ratio in tenths.
    let at_least = |tenths: i64| twice.iter().any(|twice| now * 20 >= tenths * twice);
    if at_least(15) {
        return Some(if beyond || at_least(30) {
            3
        } else if at_least(20) {
            2
        } else {
            1
        });
    }
    let near = by_minute.iter().filter(|(m, _)| **m <= 48 * 60).map(|(_, v)| *v).min()?;
    (now - near > 26).then_some(1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn it_is_what_a_naive_reading_of_the_reference_makes_of_it(
        now in 20_i64..420,
        others in prop::collection::vec((20_i64..300, prop_oneof![0_i64..3_000, 9_900_i64..11_700, 500_000_i64..530_000]), 0..8),
    ) {
        let samples: Vec<Sample> = others
            .iter()
            .map(|(value, minutes)| Sample { at: NOW - minutes * MINUTE, exact: true, value: Decimal::from(*value), nth: 0 })
            .collect();
        let current = Sample { at: NOW, exact: true, value: Decimal::from(now), nth: 0 };
        let got = stage(&current, now > 354, &samples, &site()).map(|(stage, _)| stage.number());
        prop_assert_eq!(got, naive(now, now > 354, &others));
    }
}

/// A creatinine of the hospital's, or with another source that of a practice.
fn creatinine(value: &str, back: Micros) -> Finding {
    let digits = value.trim_start_matches(['<', '>', '=']);
    let number: Option<Decimal> = digits.parse().ok();
    Finding {
        organisation: "RSM01".into(),
        times: Times { committed_at: NOW - back, authorised_at: Some(NOW - back), ..Times::default() },
        effective_at: Some(NOW - back - HOUR),
        analyte: Some("creatinine".into()),
        comparator: Comparator::parse(&value[..value.len() - digits.len()]),
        number,
        unit: Some("umol/L".into()),
        canonical: number.map(|number| (number, "umol/L".into())),
        status: Some("final".into()),
        birth_date: Some(0),
        ..Finding::of(SourcePatient { source: "stmarys".into(), id: "1".into() }, format!("result/{value}/{back}"))
    }
}

fn practice(finding: Finding) -> Finding {
    let patient = SourcePatient { source: "riverside".into(), id: "9".into() };
    Finding { patient, organisation: "R1V01".into(), ..finding }
}

fn potassium(value: &str, back: Micros) -> Finding {
    let number: Option<Decimal> = value.parse().ok();
    let canonical = number.map(|number| (number, "mmol/L".into()));
    let unit = Some("mmol/L".into());
    Finding { analyte: Some("potassium".into()), number, unit, canonical, ..creatinine("1", back) }
}

fn demanded(finding: &Finding, history: Vec<Finding>) -> Option<Demand> {
    let facts = Facts { history, now: NOW, ..Facts::default() };
    evaluate(finding, &facts, &limits()).into_iter().find(|demand| demand.rule == Rule::Aki)
}

#[track_caller]
fn says(finding: &Finding, history: Vec<Finding>, want: &str) {
    let told = demanded(finding, history).map(|demand| {
        let urgency = demand.urgency.map_or("none", Urgency::as_str);
        format!("{} {urgency}: {}", demand.severity.as_str(), demand.headline)
    });
    assert_eq!(told.unwrap_or_default(), want);
}

#[test]
fn baselines_are_those_of_every_source_and_their_holder_is_named() {
    says(
        &creatinine("180", 0),
        vec![practice(creatinine("80", 4 * DAY))],
        "critical paged: Creatinine 180 umol/L (AKI algorithm stage 2, cross-source: 2.25 times 80 umol/L, \
         the lowest of 7 days, of riverside (R1V01) on 2023-11-10)",
    );
    says(
        &creatinine("150", 0),
        vec![practice(creatinine("90", 30 * DAY)), creatinine("110", 60 * DAY)],
        "warning listed: Creatinine 150 umol/L (AKI algorithm stage 1, cross-source: 1.5 times 100 umol/L, \
         the median of 2 from 8 to 365 days before, of riverside (R1V01) and stmarys (RSM01))",
    );
    says(
        &creatinine("130", 0),
        vec![practice(creatinine("100", 24 * HOUR))],
        "warning listed: Creatinine 130 umol/L (AKI algorithm stage 1, cross-source: 30 umol/L more than 100 umol/L \
         within 48 hours, of riverside (R1V01) on 2023-11-13)",
    );
}

#[test]
fn stage_1_interrupts_beside_a_potassium_above_6() {
    let before = || practice(creatinine("90", 30 * DAY));
    let severity =
        |other: Finding| demanded(&creatinine("150", 0), vec![before(), other]).map(|demand| demand.severity);
    assert_eq!(severity(potassium("6.1", 0)), Some(Severity::Critical));
    assert_eq!(severity(potassium("6.0", 0)), Some(Severity::Warning));
    assert_eq!(severity(potassium("6.1", 24 * HOUR)), Some(Severity::Critical));
    assert_eq!(severity(potassium("6.1", 24 * HOUR + 1)), Some(Severity::Warning));
    let haemolysed = Finding { comment: Some("Haemolysed".into()), ..potassium("6.9", 0) };
    assert_eq!(severity(haemolysed), Some(Severity::Warning));
    let told = demanded(&creatinine("150", 0), vec![before(), potassium("6.1", 0)]).expect("told");
    assert!(told.headline.starts_with("Creatinine 150 umol/L with potassium 6.1 mmol/l (AKI"), "{}", told.headline);
}

#[test]
fn it_is_not_meant_for_the_newborn_those_on_dialysis_and_in_pregnancy() {
    let history = || vec![creatinine("50", DAY)];
    let current = creatinine("150", 0);
    // The sample was taken on 2023-11-14: the 28th day after a birth on 2023-10-17.
    let days = 19_675;
    for (born, want) in [(Some(days - 27), false), (Some(days - 28), true), (None, true)] {
        let current = Finding { birth_date: born, range_high: Some(Decimal::from(90)), ..current.clone() };
        assert_eq!(demanded(&current, history()).is_some(), want, "{born:?}");
    }
    for (concept, want) in [("265764009", false), ("77386006", false), ("363732003", true)] {
        let known = Known {
            concept: concept.into(),
            source: "riverside".into(),
            organisation: "R1V01".into(),
            confidential: false,
            known_at: NOW,
        };
        let facts = Facts { conditions: vec![known], history: history(), now: NOW, ..Facts::default() };
        let demands = evaluate(&current, &facts, &limits());
        assert_eq!(demands.iter().any(|demand| demand.rule == Rule::Aki), want, "{concept}");
    }
}

#[test]
fn a_childs_stage_3_by_value_is_three_times_its_own_range() {
    let stage = |born: Option<i32>, value: &str, high: Option<i64>| {
        let high = high.map(Decimal::from);
        let current = Finding { birth_date: born, range_high: high, ..creatinine(value, 0) };
        let demand = demanded(&current, vec![creatinine("100", DAY)]).expect("told");
        (demand.detail["stage"].as_u64(), demand.headline.contains("is not checked"))
    };
    let (child, adult) = (Some(19_675 - 10 * 365), Some(0));
    assert_eq!(stage(child, "151", Some(50)), (Some(3), false));
    assert_eq!(stage(child, "150", Some(50)), (Some(1), false));
    assert_eq!(stage(child, "151", None), (Some(1), true), "said, and not passed over");
    assert_eq!(stage(adult, "151", Some(50)), (Some(1), false));
    assert_eq!(stage(None, "151", Some(50)), (Some(3), false), "of an unknown age either counts");
}

#[test]
fn what_says_nothing_for_sure_is_no_baseline() {
    let current = creatinine("180", 0);
    let good = creatinine("80", DAY);
    assert!(demanded(&current, vec![good.clone()]).is_some());
    for (why, other) in [
        ("itself", Finding { record: current.record.clone(), ..good.clone() }),
        ("a comparator", creatinine("<80", DAY)),
        ("preliminary", Finding { status: Some("preliminary".into()), ..good.clone() }),
        ("a bad specimen", Finding { comment: Some("haemolysed".into()), ..good.clone() }),
        ("another unit", Finding { canonical: Some((Decimal::from(80), "mmol/L".into())), ..good.clone() }),
        ("unchecked", Finding { unchecked: Some("unknown unit".into()), ..good.clone() }),
        ("zero", creatinine("0", DAY)),
        ("only the year", Finding { effective_precision: Some(Precision::Year), ..good.clone() }),
        ("another analyte", potassium("1", DAY)),
    ] {
        assert!(demanded(&current, vec![other]).is_none(), "{why}");
    }
}

#[test]
fn a_comparator_upwards_is_at_least_so_much_and_downwards_nothing() {
    let told = demanded(&creatinine(">180", 0), vec![creatinine("80", DAY)]).expect("told");
    assert!(told.headline.starts_with("Creatinine >180 umol/L (AKI algorithm stage 2 at least, "), "{}", told.headline);
    assert!(demanded(&creatinine("<180", 0), vec![creatinine("80", DAY)]).is_none());
    assert!(!may_alert(&creatinine("<180", 0), &limits()) && may_alert(&creatinine("20", 0), &limits()));
}

#[test]
fn an_old_creatinine_is_no_news_because_a_baseline_comes_today() {
    let current = creatinine("180", 4 * DAY);
    let before = Finding { times: Times { committed_at: NOW, ..Times::default() }, ..creatinine("80", 6 * DAY) };
    assert_eq!(demanded(&current, vec![before.clone()]).map(|demand| demand.urgency), Some(None));
    let recent = creatinine("180", HOUR);
    assert_eq!(demanded(&recent, vec![before]).map(|demand| demand.urgency), Some(Some(Urgency::Paged)));
}

#[test]
fn the_laboratorys_own_stage_is_passed_on() {
    let text = include_str!("../../../../../site/alerts.toml")
        .replace("[aki]\non = false", "[aki]\non = true")
        .replace("laboratory_codes = []", "laboratory_codes = [\"AKIS\"]");
    let limits = Limits::parse(&text).expect("good");
    for (written, want) in [
        ("2", "critical AKI stage 2 told by its laboratory"),
        ("AKI 3", "critical AKI stage 3 told by its laboratory"),
        ("Stage 1", "warning AKI stage 1 told by its laboratory"),
        ("0", ""),
        ("4", ""),
        ("1 or 2", ""),
        ("none", ""),
    ] {
        let number: Option<Decimal> = written.parse().ok();
        let finding = Finding {
            analyte: None,
            number,
            text: number.is_none().then(|| written.to_owned()),
            canonical: None,
            codes: vec!["AKIS".into()],
            code_text: "AKI warning".into(),
            ..creatinine("1", 0)
        };
        let demands = evaluate(&finding, &Facts { now: NOW, ..Facts::default() }, &limits);
        let told = demands.first().map(|demand| {
            let words = demand.headline.split_once(" (").map_or("", |(_, words)| words).trim_end_matches(')');
            format!("{} {words}", demand.severity.as_str())
        });
        assert_eq!(told.unwrap_or_default(), want, "{written}");
    }
}

#[test]
fn it_is_off_unless_a_site_turns_it_on_and_a_mistake_is_told() {
    let site = include_str!("../../../../../site/alerts.toml");
    let shipped = Limits::parse(site).expect("good");
    assert!(!Rule::Aki.is_on(&shipped) && !may_alert(&creatinine("199", 0), &shipped));
    let wrong = site
        .replace("ratio_2 = \"2\"", "ratio_2 = \"5\"")
        .replace("rise_hours = 48", "rise_hours = 0")
        .replace("\"265764009\"", "\"265764008\"");
    assert_eq!(
        Limits::parse(&wrong).expect_err("three mistakes"),
        [
            "aki: ratio_1, ratio_2 and ratio_3 do not ascend from above 1",
            "aki: rise_hours is not between 1 and 8760",
            "aki: except: `265764008` is no SNOMED CT identifier: its check digit is wrong",
        ]
    );
    assert_eq!(Stage::Three.number(), 3);
}
