//! Pairs at and beside each boundary, by which medicines, and when those were taken.

use super::super::{
    Demand, Rule, evaluate, may_alert,
    tests::{NOW, finding},
    urgency::Times,
    wants_medicines,
};
use crate::{Facts, Finding, Limits, Urgency, facts::Medicine};
use event::Micros;
use medicine::{Ingredient, Product, Taking};

const HOUR: Micros = 3_600_000_000;
const SITE: &str = include_str!("../../../../../site/alerts.toml");

/// With all pairs on that have a number.
fn limits() -> Limits {
    let (head, pairs) = SITE.split_once("[[pair]]").expect("pairs");
    Limits::parse(&format!("{head}[[pair]]{}", pairs.replace("on = false", "on = true")))
        .expect("the shipped file, turned on")
}

/// Known since yesterday, at the practice.
fn taken(text: &str) -> Medicine {
    let limits = limits();
    let ingredients = limits.ingredients.all_of(&Product { text, ..Product::default() });
    Medicine {
        text: text.into(),
        ingredients: ingredients.into_iter().map(Ingredient::names).collect(),
        source: "riverside".into(),
        organisation: "R1V01".into(),
        confidential: false,
        taking: Taking::Current,
        started_at: Some(NOW - 1_000 * HOUR),
        ended_at: None,
        known_at: NOW - 24 * HOUR,
    }
}

fn of(text: &str) -> Finding {
    let mut finding = finding(&text.replace("{INR}", "mmol/L").replace("mL/min", "mmol/L"));
    let unit = if text.starts_with("inr") {
        "{INR}"
    } else if text.starts_with("egfr") {
        "mL/min/{1.73_m2}"
    } else {
        "mmol/L"
    };
    finding.canonical = finding.number.map(|number| (number, unit.to_owned()));
    finding
}

fn demanded(finding: &Finding, medicines: Vec<Medicine>) -> Option<Demand> {
    let facts = Facts { medicines, now: NOW, ..Facts::default() };
    evaluate(finding, &facts, &limits()).into_iter().find(|demand| demand.rule == Rule::DrugLaboratory)
}

/// "critical paged", of a result beside one medicine.
fn told(text: &str, product: &str) -> String {
    demanded(&of(text), vec![taken(product)]).map_or_else(String::new, |demand| {
        format!("{} {}", demand.severity.as_str(), demand.urgency.map_or("none", Urgency::as_str))
    })
}

#[test]
fn each_pair_at_its_boundary() {
    for (result, product, want) in [
        ("potassium 6.0 mmol/L", "Spironolactone 25mg tablets", ""),
        ("potassium 6.1 mmol/L", "Spironolactone 25mg tablets", "critical paged"),
        ("potassium >5.5 mmol/L", "Spironolactone 25mg tablets", "critical paged"),
        ("potassium 5.9 mmol/L", "Eplerenone 25mg tablets", ""),
        ("potassium 6.0 mmol/L", "Eplerenone 25mg tablets", "critical paged"),
        ("potassium 6.9 mmol/L", "Amlodipine 5mg tablets", ""),
        // Of these nobody gave a number.
        ("potassium 6.9 mmol/L", "Ramipril 5mg capsules", ""),
        ("potassium 6.9 mmol/L", "Trimethoprim 200mg tablets", ""),
        ("potassium 3.5 mmol/L", "Digoxin 125microgram tablets", ""),
        ("potassium 3.4 mmol/L", "Digoxin 125microgram tablets", "warning listed"),
        ("potassium 6.9 mmol/L", "Digoxin 125microgram tablets", ""),
        ("inr 8.0 {INR}", "Warfarin 3mg tablets", ""),
        ("inr 8.1 {INR}", "Marevan 3mg tablets", "critical paged"),
        ("inr 8.1 {INR}", "Apixaban 5mg tablets", ""),
        ("lithium 1.4 mmol/L", "Lithium carbonate 400mg tablets", ""),
        ("lithium 1.5 mmol/L", "Lithium carbonate 400mg tablets", "critical paged"),
        ("egfr-ckdepi 30 mL/min", "Metformin 500mg tablets", ""),
        ("egfr-ckdepi 29 mL/min", "Metformin 500mg tablets", "warning listed"),
        ("egfr-mdrd 29 mL/min", "Metformin 500mg tablets", "warning listed"),
    ] {
        assert_eq!(told(result, product), want, "{result} with {product}");
        assert!(want.is_empty() || (may_alert(&of(result), &limits()) && wants_medicines(&of(result), &limits())));
    }
}

#[test]
fn it_says_what_is_taken_and_by_whom_it_is_held() {
    let medicines = vec![taken("Spironolactone 25mg tablets"), taken("Ramipril 5mg / Felodipine 5mg tablets")];
    let headline = demanded(&of("potassium 6.4 mmol/L"), medicines).expect("told").headline;
    assert_eq!(
        headline,
        "Potassium 6.4 mmol/L (above 6.0 with spironolactone: “Spironolactone 25mg tablets” of riverside (R1V01), \
         and with “Ramipril 5mg / Felodipine 5mg tablets” of riverside (R1V01))"
    );
    let perhaps = demanded(&of("potassium >5.5 mmol/L"), vec![taken("Spironolactone 25mg tablets")]).expect("told");
    assert!(perhaps.headline.contains("(perhaps above 6.0 with"), "{}", perhaps.headline);
    let haemolysed = Finding { comment: Some("haemolysed".into()), ..of("potassium 6.4 mmol/L") };
    let told = demanded(&haemolysed, vec![taken("Spironolactone 25mg tablets")]).expect("told");
    assert!(told.headline.ends_with("(R1V01); haemolysed specimen)"), "{}", told.headline);
    let local = demanded(&of("inr 9 {INR}"), vec![taken("Warfarin 3mg tablets"), taken("Metronidazole 0.75% gel")]);
    assert!(!local.expect("told").headline.contains("Metronidazole"), "what acts on the skin");
}

/// The sample was taken an hour ago.
#[test]
fn a_medicine_counts_that_was_taken_when_the_sample_was_or_since() {
    let spironolactone = || taken("Spironolactone 25mg tablets");
    let told = |medicine: Medicine| demanded(&of("potassium 6.4 mmol/L"), vec![medicine]).is_some();
    let ended = |taking, hours: i64| Medicine { taking, ended_at: Some(NOW + hours * HOUR), ..spironolactone() };
    assert!(told(spironolactone()));
    assert!(told(ended(Taking::Stopped, -1)) && !told(ended(Taking::Stopped, -2)), "stopping it takes nothing back");
    assert!(told(ended(Taking::Ended, 0)) && told(ended(Taking::Current, 9)));
    assert!(!told(Medicine { taking: Taking::Suspended, ..spironolactone() }), "not being given");
    assert!(!told(Medicine { taking: Taking::Stopped, ..spironolactone() }), "nobody knows when");
    assert!(told(Medicine { started_at: Some(NOW), ..spironolactone() }), "begun since");
    assert!(!told(Medicine { started_at: Some(NOW + 1), ..spironolactone() }), "not begun yet");
}

#[test]
fn a_medicine_that_is_told_after_the_window_is_no_news() {
    let reported = NOW - 71 * HOUR;
    let potassium = Finding {
        times: Times { committed_at: reported, authorised_at: Some(reported), ..Times::default() },
        effective_at: Some(reported),
        ..of("potassium 6.4 mmol/L")
    };
    let urgency = |minutes: i64| {
        let known_at = reported + 72 * HOUR + minutes * 60_000_000;
        demanded(&potassium, vec![Medicine { known_at, ..taken("Spironolactone 25mg tablets") }]).expect("told").urgency
    };
    assert_eq!((urgency(0), urgency(1)), (Some(Urgency::Late), None));
}

#[test]
fn all_pairs_are_off_as_shipped_and_a_mistake_is_told() {
    let shipped = Limits::parse(SITE).expect("good");
    assert!(!Rule::DrugLaboratory.is_on(&shipped) && !may_alert(&of("lithium 9 mmol/L"), &shipped));
    let known = shipped.clone().with_medicines((*shipped.ingredients).clone());
    assert!(known.is_ok(), "{known:?}");
    let wrong = SITE
        .replace("missing = \"the number: no file", "on = true\nmissing = \"the number: no file")
        .replace("source = \"NICE NG28, as qmasters.co.uk quotes it: stop below 30\"", "");
    assert_eq!(
        Limits::parse(&wrong).expect_err("two mistakes"),
        [
            "pair `potassium-sparing-potassium`: is on, and has no number",
            "pair `metformin-egfr`: a number says where it was read",
        ]
    );
    let typed = Limits::parse(&SITE.replace("medicines = [\"lithium\"]", "medicines = [\"lithum\"]")).expect("good");
    let ingredients = (*typed.ingredients).clone();
    assert_eq!(
        typed.with_medicines(ingredients).expect_err("a name of nothing"),
        ["pair `lithium-level`: no ingredient or class of medicines is called `lithum`"]
    );
}
