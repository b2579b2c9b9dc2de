//! What the rules demand, at their boundaries.

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
    check("44J9.", "40", "mmol/L", "");
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
    for (code, unit, at, below) in
        [("44J9.", "mmol/L", "10", "9.9"), ("44J3.", "umol/L", "200", "199"), ("44J3.", "mg/dL", "2.27", "2.26")]
    {
        let told = |value, born| verdicts(&Result { born, ..result(code, value, unit) }, Verdict::No);
        assert_eq!((told(at, Some(18_000)), told(below, Some(18_000))), ("critical-limit".to_owned(), String::new()));
        assert_eq!((told(at, Some(0)), told(at, None)), (String::new(), "critical-limit".to_owned()), "{code}");
        assert_eq!(
            (told("Haemolysed", Some(18_000)), told("Haemolysed", Some(0))),
            ("unchecked".to_owned(), String::new())
        );
    }
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
