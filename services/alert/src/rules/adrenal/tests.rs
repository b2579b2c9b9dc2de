//! Grades at and beside each boundary, and what signs make together.

use super::super::{
    Demand, Rule, evaluate, may_alert,
    tests::{NOW, addisons, finding, limits},
    urgency::Times,
};
use crate::{
    Facts, Finding, Limits, Urgency,
    facts::{Setting, Stay},
};
use event::{Micros, Precision, SourcePatient};
use rust_decimal::Decimal;

const HOUR: Micros = 3_600_000_000;

fn demanded(finding: &Finding, facts: &Facts) -> Option<Demand> {
    evaluate(finding, facts, &limits()).into_iter().find(|demand| demand.rule == Rule::AdrenalCrisis)
}

/// "urgent critical: headline"; of what is not told nothing.
fn told(finding: &Finding, facts: &Facts) -> String {
    let demand = demanded(finding, facts);
    demand.map_or_else(String::new, |demand| {
        let (level, loud) = (demand.detail["level"].as_str().unwrap_or_default(), demand.urgency);
        let interrupts = !matches!(loud, Some(Urgency::Listed));
        assert_eq!(interrupts, level != "routine", "{loud:?} {level}");
        assert_eq!(demand.severity.as_str(), if interrupts { "critical" } else { "warning" });
        format!("{level}: {}", demand.headline)
    })
}

fn stay(source: &str, class: &str, from: i64, to: Option<i64>) -> Stay {
    Stay {
        class: class.into(),
        source: source.into(),
        organisation: "RSM01".into(),
        confidential: false,
        started_at: Some(NOW + from * HOUR),
        ended_at: to.map(|to| NOW + to * HOUR),
        known_at: NOW,
    }
}

/// Known to have the disease, and on a ward.
fn on_a_ward() -> Facts {
    Facts { stays: vec![stay("stmarys", "IMP", -48, None)], now: NOW, ..addisons() }
}

/// Known to have the disease, and seen by a clinic alone.
fn at_home() -> Facts {
    Facts { stays: vec![stay("stmarys", "AMB", -48, Some(-47))], now: NOW, ..addisons() }
}

/// Taken so many hours before or after the result.
fn other(text: &str, hours: i64) -> Finding {
    Finding {
        record: format!("{text}/{hours}"),
        effective_at: Some(NOW - HOUR + hours * HOUR),
        times: Times { committed_at: NOW, ..Times::default() },
        ..finding(text)
    }
}

fn with(history: Vec<Finding>, facts: Facts) -> Facts {
    Facts { history, ..facts }
}

#[test]
fn each_grade_at_its_boundaries() {
    for (text, grade) in [
        ("sodium 135", ""),
        ("sodium 134", "mild"),
        ("sodium 132.1", "mild"),
        ("sodium 132", "moderate"),
        ("sodium 125", "moderate"),
        ("sodium 124.9", "severe"),
        ("potassium 5.3", ""),
        ("potassium 5.4", "mild"),
        ("potassium 5.5", "moderate"),
        ("potassium 5.9", "moderate"),
        ("potassium 6.0", "severe"),
        ("glucose 4.0", ""),
        ("glucose 3.9", "moderate"),
        ("glucose 3.0", "moderate"),
        ("glucose 2.9", "severe"),
        // What a comparator leaves open cannot be excluded.
        ("potassium >5.0", "severe"),
        ("sodium <135", "severe"),
        ("sodium >130", "moderate"),
        ("sodium >132", "mild"),
        ("potassium <5.0", ""),
    ] {
        let demand = demanded(&finding(&format!("{text} mmol/L")), &on_a_ward());
        let told = demand.as_ref().and_then(|demand| demand.detail["grade"].as_str());
        assert_eq!(told.unwrap_or_default(), grade, "{text}");
        assert!(may_alert(&finding(&format!("{text} mmol/L")), &limits()) || grade.is_empty(), "{text}");
    }
}

#[test]
fn a_results_own_range_says_what_is_mild() {
    let ranged = |text: &str, low: Option<i64>, high: Option<i64>| Finding {
        range_low: low.map(Decimal::from),
        range_high: high.map(Decimal::from),
        ..finding(text)
    };
    let grade = |finding: &Finding| {
        demanded(finding, &at_home()).map(|demand| demand.detail["grade"].as_str().unwrap_or_default().to_owned())
    };
    let mild = Some("mild".to_owned());
    assert_eq!(grade(&ranged("sodium 136 mmol/L", Some(137), None)), mild);
    assert_eq!(grade(&ranged("sodium 137 mmol/L", Some(137), None)), None);
    assert_eq!(grade(&ranged("sodium 134 mmol/L", Some(133), Some(146))), None, "inside its own range");
    assert_eq!(grade(&ranged("sodium 134 mmol/L", None, Some(146))), mild, "the other end says nothing");
    assert_eq!(grade(&ranged("potassium 5.1 mmol/L", Some(3), Some(5))), mild);
    assert_eq!(grade(&ranged("glucose 4.5 mmol/L", Some(5), None)), mild);
    assert_eq!(grade(&ranged("sodium 132 mmol/L", Some(130), None)), Some("moderate".into()), "whatever the range");
}

#[test]
fn it_says_what_was_found_in_whom_and_not_that_it_is_a_crisis() {
    assert_eq!(
        told(&finding("sodium 121 mmol/L"), &at_home()),
        "emergency: Sodium 121 mmol/L (low sodium in known adrenal insufficiency, severe)"
    );
    assert_eq!(
        told(&finding("potassium >5.0 mmol/L"), &at_home()),
        "emergency: Potassium >5.0 mmol/L (high potassium in known adrenal insufficiency, severe, not certain)"
    );
    let haemolysed = Finding { comment: Some("Haemolysed".into()), ..finding("potassium 6.1 mmol/L") };
    assert_eq!(
        told(&haemolysed, &at_home()),
        "emergency: Potassium 6.1 mmol/L (high potassium in known adrenal insufficiency, severe; haemolysed specimen)"
    );
    assert_eq!(told(&finding("sodium 121 mmol/L"), &Facts::default()), "", "of nobody else");
}

fn level(text: &str, history: Vec<Finding>, facts: Facts) -> String {
    told(&finding(text), &with(history, facts)).split(':').next().unwrap_or_default().to_owned()
}

#[test]
fn one_severe_or_two_moderate_are_an_emergency_wherever_the_patient_is() {
    for facts in [on_a_ward, at_home, addisons] {
        assert_eq!(level("sodium 124 mmol/L", Vec::new(), facts()), "emergency");
        assert_eq!(level("sodium 130 mmol/L", vec![other("potassium 5.5 mmol/L", -2)], facts()), "emergency");
        assert_eq!(level("sodium 130 mmol/L", vec![other("potassium 6.5 mmol/L", -2)], facts()), "emergency");
        assert_eq!(level("potassium 5.6 mmol/L", vec![other("glucose 3.9 mmol/L", 2)], facts()), "emergency");
    }
    // A second result of one analyte is no second sign.
    assert_eq!(level("sodium 130 mmol/L", vec![other("sodium 131 mmol/L", -2)], at_home()), "routine");
    // The graver of two counts, also where the other is nearer.
    let history = vec![other("potassium 4.4 mmol/L", -1), other("potassium 5.6 mmol/L", -3)];
    let headline = told(&finding("sodium 130 mmol/L"), &with(history, at_home()));
    assert!(headline.starts_with("emergency: Sodium 130 mmol/L with potassium 5.6 mmol/L ("), "{headline}");
}

#[test]
fn one_moderate_or_two_mild_are_urgent_during_a_stay_and_else_listed() {
    for (facts, want) in [(on_a_ward(), "urgent"), (at_home(), "routine"), (addisons(), "urgent")] {
        assert_eq!(level("sodium 130 mmol/L", Vec::new(), facts.clone()), want);
        assert_eq!(level("sodium 134 mmol/L", vec![other("potassium 5.4 mmol/L", 3)], facts.clone()), want);
        assert_eq!(level("sodium 134 mmol/L", vec![other("potassium 5.3 mmol/L", 3)], facts), "routine");
    }
}

#[test]
fn a_sodium_of_134_alone_never_pages() {
    for facts in [on_a_ward(), at_home(), addisons()] {
        for history in [Vec::new(), vec![other("sodium 133 mmol/L", -3)], vec![other("potassium 4.4 mmol/L", 0)]] {
            assert_eq!(level("sodium 134 mmol/L", history, facts.clone()), "routine");
        }
    }
}

#[test]
fn signs_count_together_within_24_hours() {
    let at = |minutes: i64| {
        let second = Finding {
            effective_at: Some(NOW - HOUR - 24 * HOUR - minutes * 60_000_000),
            ..other("potassium 5.5 mmol/L", 0)
        };
        level("sodium 130 mmol/L", vec![second], at_home())
    };
    assert_eq!((at(-1), at(0), at(1)), ("emergency".into(), "emergency".into(), "routine".into()));
    // Of which only the day is known: it cannot be excluded, until it can.
    let day = |days: i64| {
        let start = (NOW - HOUR).div_euclid(24 * HOUR) * 24 * HOUR - days * 24 * HOUR;
        let coarse = Some(Precision::Day);
        let second =
            Finding { effective_at: Some(start), effective_precision: coarse, ..other("potassium 5.5 mmol/L", 0) };
        level("sodium 130 mmol/L", vec![second], at_home())
    };
    // The result was taken at 21:13; a day may begin an hour later by the clock.
    assert_eq!((day(1), day(2)), ("emergency".into(), "routine".into()));
    let month = Finding { effective_precision: Some(Precision::Month), ..other("potassium 5.5 mmol/L", 0) };
    assert_eq!(level("sodium 130 mmol/L", vec![month], at_home()), "routine");
    let implausible = Finding { unchecked: Some(event::IMPLAUSIBLE.into()), ..other("potassium 55 mmol/L", 0) };
    assert_eq!(level("sodium 130 mmol/L", vec![implausible], at_home()), "routine", "it stands for nothing");
}

#[test]
fn a_stay_is_one_that_had_not_ended_when_the_sample_was_taken() {
    // The sample was taken an hour ago.
    let told = |class: &str, from: i64, to: Option<i64>| {
        let stays = vec![stay("stmarys", class, from, to)];
        level("sodium 130 mmol/L", Vec::new(), Facts { stays, ..at_home() })
    };
    for (class, from, to, want) in [
        ("IMP", -48, None, "urgent"),
        ("EMER", -2, None, "urgent"),
        ("AMB", -2, None, "routine"),
        ("IMP", -48, Some(-1), "urgent"),
        ("IMP", -48, Some(-2), "routine"),
        // Gone home since: that takes nothing back. Come since: it counts.
        ("EMER", -2, Some(0), "urgent"),
        ("EMER", 0, None, "urgent"),
        // Planned.
        ("IMP", 1, None, "routine"),
        // In a class that nobody understands.
        ("VIRTUAL", -2, None, "urgent"),
        ("VIRTUAL", -9, Some(-2), "routine"),
    ] {
        assert_eq!(told(class, from, to), want, "{class} {from} {to:?}");
    }
}

#[test]
fn whether_there_is_a_stay_is_not_known_where_its_source_tells_of_no_encounter() {
    let sodium = finding("sodium 130 mmol/L");
    let unknown = "; whether in hospital is not known)";
    let check = |finding: &Finding, stays: Vec<Stay>, urgent: bool, said: bool| {
        let headline = told(finding, &Facts { stays, now: NOW, ..addisons() });
        assert_eq!((headline.starts_with("urgent"), headline.ends_with(unknown)), (urgent, said), "{headline}");
    };
    check(&sodium, Vec::new(), true, true);
    // Another source's visits do not say that this one tells of any.
    check(&sodium, vec![stay("riverside", "AMB", -48, Some(-47))], true, true);
    check(&sodium, vec![stay("stmarys", "AMB", -48, Some(-47))], false, false);
    check(&sodium, vec![stay("riverside", "IMP", -48, None)], true, false);
    // A practice takes no blood of somebody on a ward; but of one who is there since.
    let practice = Finding {
        setting: Some(Setting::PrimaryCare),
        patient: SourcePatient { source: "riverside".into(), id: "9".into() },
        ..sodium
    };
    check(&practice, Vec::new(), false, false);
    check(&practice, vec![stay("stmarys", "EMER", 0, None)], true, false);
}

/// What makes it graver was committed so many minutes after the window.
#[test]
fn what_makes_it_graver_interrupts_only_if_it_was_known_in_the_window() {
    let reported = NOW - 71 * HOUR;
    let sodium = Finding {
        times: Times { committed_at: reported, authorised_at: Some(reported), ..Times::default() },
        effective_at: Some(reported),
        ..finding("sodium 130 mmol/L")
    };
    let told = |minutes: i64, sign: bool| {
        let known_at = reported + 72 * HOUR + minutes * 60_000_000;
        let second = Finding {
            effective_at: Some(reported),
            times: Times { committed_at: known_at, ..Times::default() },
            ..other("potassium 5.6 mmol/L", 0)
        };
        let mut facts = if sign { with(vec![second], at_home()) } else { on_a_ward() };
        facts.conditions.iter_mut().for_each(|known| known.known_at = reported);
        facts.stays.iter_mut().for_each(|stay| stay.known_at = known_at);
        let demand = demanded(&sodium, &facts).expect("told");
        (demand.severity.as_str(), demand.urgency)
    };
    for sign in [true, false] {
        assert_eq!(told(0, sign), ("critical", Some(Urgency::Late)));
        assert_eq!(told(1, sign), ("critical", Some(Urgency::Listed)), "it is told all the same");
    }
    // Of a problem that was entered today an old result is no news.
    let old = Times { committed_at: NOW - 100 * HOUR, authorised_at: Some(NOW - 100 * HOUR), ..Times::default() };
    let demand = demanded(&Finding { times: old, ..finding("sodium 124 mmol/L") }, &at_home()).expect("told");
    assert_eq!(demand.urgency, None, "it stands if it was raised, and is not raised anew");
}

#[test]
fn companions_stand_beside_a_sign() {
    let history = vec![
        other("sodium 140 mmol/L", -60),
        other("sodium 121 mmol/L", -1),
        other("glucose 3.0 mmol/L", -2),
        other("glucose 2.0 mmol/L", -73),
    ];
    let demand = demanded(&finding("potassium 6.7 mmol/L"), &with(history, at_home())).expect("told");
    assert_eq!(
        demand.headline,
        "Potassium 6.7 mmol/L with sodium 121 mmol/L, glucose 3 mmol/L (high potassium in known adrenal insufficiency, severe)"
    );
    assert_eq!(demand.detail["beside"].as_array().map(Vec::len), Some(2));
    let far = |hours| {
        let history = vec![other("sodium 121 mmol/L", hours)];
        told(&finding("potassium 6.7 mmol/L"), &with(history, at_home())).contains("sodium 121")
    };
    assert!(far(-72) && !far(-73) && far(72) && !far(73));
    let haemolysed = Finding { comment: Some("haemolysed".into()), ..other("potassium 6.1 mmol/L", 0) };
    let headline = told(&finding("sodium 130 mmol/L"), &with(vec![haemolysed], at_home()));
    assert!(headline.contains("with potassium 6.1 mmol/L (haemolysed specimen) (low sodium"), "{headline}");
}

#[test]
fn what_has_no_place_in_time_stands_beside_nothing_and_what_has_no_sample_time_says_so() {
    let headline = |finding: &Finding, other: Finding| {
        told(finding, &with(vec![Finding { record: "result/2".into(), ..other }], at_home()))
    };
    let potassium = finding("potassium 6.7 mmol/L");
    let undated = Finding { effective_at: None, ..finding("sodium 121 mmol/L") };
    let times = |snapshot, authorised_at| Times { snapshot, authorised_at, ..undated.times };
    let days = |days: i64| Some(NOW - days * 24 * HOUR);
    let with = "emergency: Potassium 6.7 mmol/L with sodium 121 mmol/L (no sample time) (high";
    for (why, times, near) in [
        ("streamed", times(false, None), true),
        ("authorised today", times(true, Some(NOW)), true),
        ("authorised days ago, told now", times(false, days(5)), false),
        ("read by a snapshot: its commit is no time of its own", times(true, None), false),
    ] {
        let told = headline(&potassium, Finding { times, ..undated.clone() });
        assert_eq!((told.starts_with(with), told.contains("sodium")), (near, near), "{why}");
    }
    for (precision, near) in [(Precision::Day, true), (Precision::Month, false), (Precision::Year, false)] {
        let coarse = Finding { effective_precision: Some(precision), ..finding("sodium 121 mmol/L") };
        assert_eq!(headline(&potassium, coarse).contains("sodium 121"), near, "{precision:?}");
    }
}

#[test]
fn a_mistake_in_the_sites_file_is_told() {
    let site = include_str!("../../../../../site/alerts.toml");
    let wrong = site
        .replace("inequality = \">=\", value = \"6.0\"", "inequality = \">=\", value = \"5.5\"")
        .replace("inequality = \"<\", value = \"3.0\"", "inequality = \">\", value = \"3.0\"")
        .replace("together_hours = 24", "together_hours = 0")
        .replace("no_stay = [\"AMB\"]", "no_stay = [\"AMB\", \"IMP\"]");
    assert_eq!(
        Limits::parse(&wrong).expect_err("four mistakes"),
        [
            "adrenal.signal: severe is not beyond moderate, or moderate not beyond mild",
            "adrenal.signal: mild, moderate and severe are not on one side",
            "adrenal: together_hours is not between 1 and 8760",
            "adrenal: a class is a stay and none",
        ]
    );
}
