//! Changes at and beside each boundary, and what counts as the one before.

use super::super::{
    Demand, Rule, evaluate, may_alert,
    tests::{NOW, finding},
    urgency::Times,
};
use crate::{Facts, Finding, Limits};
use event::{Micros, Precision, SourcePatient};

const HOUR: Micros = 3_600_000_000;
const SITE: &str = include_str!("../../../../../site/alerts.toml");
/// Numbers of this test, and of nobody's laboratory.
const DELTA: &str = "\n[[delta]]\nanalyte = \"sodium\"\nunit = \"mmol/L\"\nwithin_hours = 48\nrise = \"8\"\nfall_percent = \"10\"\n\
                     level = \"urgent\"\nsource = \"a test\"\n";

fn limits() -> Limits {
    Limits::parse(&format!("{SITE}{DELTA}")).expect("good")
}

/// Taken so many hours before the result.
fn before(text: &str, hours: i64) -> Finding {
    Finding {
        record: format!("{text}/{hours}"),
        effective_at: Some(NOW - HOUR - hours * HOUR),
        patient: SourcePatient { source: "riverside".into(), id: "9".into() },
        organisation: "R1V01".into(),
        ..finding(text)
    }
}

fn demanded(finding: &Finding, history: Vec<Finding>) -> Option<Demand> {
    let facts = Facts { history, now: NOW, ..Facts::default() };
    evaluate(finding, &facts, &limits()).into_iter().find(|demand| demand.rule == Rule::Delta)
}

fn told(text: &str, history: Vec<Finding>) -> String {
    let demand = demanded(&finding(text), history);
    demand.map_or_else(String::new, |demand| format!("{}: {}", demand.severity.as_str(), demand.headline))
}

#[test]
fn a_change_of_exactly_so_much_counts() {
    let base = || vec![before("sodium 140 mmol/L", 5)];
    assert_eq!(
        told("sodium 148 mmol/L", base()),
        "critical: Sodium 148 mmol/L (a rise of 8 mmol/L since 140 mmol/L of riverside (R1V01) on 2023-11-14)"
    );
    assert_eq!(told("sodium 147 mmol/L", base()), "");
    assert!(told("sodium 126 mmol/L", base()).contains("(a fall of 14 mmol/L since"), "a tenth");
    assert_eq!(told("sodium 127 mmol/L", base()), "");
    assert!(told("sodium >145 mmol/L", base()).contains("(perhaps a rise of 5"));
    assert!(told("sodium >148 mmol/L", base()).contains("(a rise of 8"));
    assert_eq!(told("sodium 148 mmol/L", Vec::new()), "");
}

#[test]
fn the_last_good_one_before_it_within_the_hours_counts() {
    let at = |hours: i64| !told("sodium 150 mmol/L", vec![before("sodium 140 mmol/L", hours)]).is_empty();
    assert!(at(48) && !at(49) && at(1) && !at(0) && !at(-1));
    let history = vec![before("sodium 140 mmol/L", 9), before("sodium 145 mmol/L", 3)];
    assert_eq!(told("sodium 150 mmol/L", history), "", "not the lowest, the last");
    let good = before("sodium 140 mmol/L", 5);
    let now = finding("sodium 150 mmol/L");
    for (why, other) in [
        ("itself", Finding { patient: now.patient.clone(), record: now.record.clone(), ..good.clone() }),
        ("a comparator", before("sodium <140 mmol/L", 5)),
        ("preliminary", Finding { status: Some("preliminary".into()), ..good.clone() }),
        ("a bad specimen", Finding { comment: Some("haemolysed".into()), ..good.clone() }),
        ("another unit", before("sodium 140 Banana", 5)),
        ("another analyte", before("potassium 4 mmol/L", 5)),
        ("a month", Finding { effective_precision: Some(Precision::Month), ..good.clone() }),
        ("a day that is not over", Finding { effective_precision: Some(Precision::Day), ..good.clone() }),
    ] {
        assert!(demanded(&now, vec![other]).is_none(), "{why}");
    }
    let yesterday = Finding {
        effective_at: Some(NOW - HOUR - 26 * HOUR),
        effective_precision: Some(Precision::Day),
        ..good.clone()
    };
    assert!(demanded(&now, vec![yesterday]).is_some());
    let unplaced = Finding { effective_at: None, times: Times { snapshot: true, ..Times::default() }, ..now };
    assert!(demanded(&unplaced, vec![good]).is_none());
}

#[test]
fn it_is_off_unless_a_site_names_numbers() {
    let shipped = Limits::parse(SITE).expect("good");
    assert!(!Rule::Delta.is_on(&shipped) && !may_alert(&finding("sodium 140 mmol/L"), &shipped));
    let wrong = DELTA.replace("\"8\"", "\"0\"").replace("48", "0").replace("\"10\"", "\"101\"");
    assert_eq!(
        Limits::parse(&format!("{SITE}{wrong}")).expect_err("three mistakes"),
        [
            "delta (sodium): a change is not above 0",
            "delta (sodium): nothing falls by more than 100 %",
            "delta (sodium): within_hours is not between 1 and 87840",
        ]
    );
}
