//! What the lab table makes of a result, from its row to its event.

use crate::{
    stories::{check, code, gp},
    support::*,
};
use coding::lab::{
    Lab,
    site::{self, Additions, NewCode, NewUnit},
};
use std::sync::Arc;

fn row(world: &World, value: &str, unit: Option<&str>) -> Step {
    let unit = unit.map_or(change::Cell::Null, t);
    let cells = [
        ("observation_id", t("ob1")),
        ("patient_id", t("p1")),
        ("code_id", i(7)),
        ("numeric_value", n(value)),
        ("numeric_unit", unit),
        ("is_deleted", b(false)),
    ];
    world.insert("emis.observation", &cells)
}

/// Of a result with this term, Read code, value and unit.
#[track_caller]
fn told(term: &str, read: &str, value: &str, unit: Option<&str>, want: &str) {
    let (mut world, mut fold) = gp();
    let steps = vec![code(&world, 7, term, read, "Biochemistry"), row(&world, value, unit)];
    check(world.tell(&mut fold, steps), &[&format!("recorded observation/ob1 of p1 1/1: {term} {want}")]);
}

#[test]
fn a_number_that_cannot_be_is_told_as_it_is() {
    told(
        "K",
        "44I4.",
        "140",
        Some("mmol/L"),
        "[potassium] 140 mmol/L text=- canonical=140 mmol/L Final unchecked=implausible value",
    );
    told("K", "44I4.", "6.5", Some("mmol/L"), "[potassium] 6.5 mmol/L text=- canonical=6.5 mmol/L Final unchecked=-");
    told(
        "E2",
        "4465.",
        "250",
        Some("mmol/L"),
        "[oestradiol] 250 mmol/L text=- canonical=- Final unchecked=implausible unit",
    );
    told("K", "44I4.", "6.5", Some("xyz"), "[potassium] 6.5 xyz text=- canonical=- Final unchecked=unknown unit");
    told("HbA1c", "42W5.", "7.2", None, "[hba1c] 7.2 - text=- canonical=- Final unchecked=no unit");
    told("INR", "42QE.", "2.5", None, "[inr] 2.5 - text=- canonical=2.5 {INR} Final unchecked=-");
}

#[test]
fn a_specimen_that_differs_is_unchecked_and_not_dropped() {
    told(
        "Urine potassium",
        "44I4.",
        "60",
        Some("mmol/L"),
        "[potassium] 60 mmol/L text=- canonical=- Final unchecked=specimen differs",
    );
}

#[test]
fn a_part_of_cells_is_no_count() {
    told(
        "Neut",
        "42J..",
        "4.2",
        Some("X 10-9/l"),
        "[neutrophils] 4.2 X 10-9/l text=- canonical=4.2 10*9/L Final unchecked=-",
    );
    told("Neut", "42J..", "62", Some("%"), "[neutrophils] 62 % text=- canonical=- Final unchecked=unknown unit");
    told("Neut %", "42b0.", "62", Some("%"), "[neutrophils-pct] 62 % text=- canonical=62 % Final unchecked=-");
}

#[test]
fn a_sites_codes_and_units_count_in_the_fold() {
    let esr = NewCode {
        analyte: "esr".into(),
        system: "read-v2".into(),
        code: "44I4.".into(),
        name: None,
        source: Some("riverside".into()),
    };
    let unit = NewUnit { analyte: "esr".into(), unit: "mm in 1h".into(), factor: "1".into() };
    let additions = Additions { analytes: vec![], codes: vec![Some(esr)], units: vec![Some(unit)] };
    let lab = site::with(&Lab::shipped(), &additions).expect("good");
    let (mut world, _) = gp();
    world.mapping = Arc::new(mapping::Mapping { lab, ..(*world.mapping).clone() });
    let mut fold = world.fold();
    let patient = [("patient_id", t("p1")), ("surname", t("Test")), ("is_deleted", b(false))];
    let step = world.insert("emis.patient", &patient);
    world.tell(&mut fold, vec![step]);
    let steps = vec![code(&world, 7, "K", "44I4.", "Biochemistry"), row(&world, "12", Some("mm in 1h"))];
    check(
        world.tell(&mut fold, steps),
        &["recorded observation/ob1 of p1 1/1: K [esr] 12 mm in 1h text=- canonical=12 mm/h Final unchecked=-"],
    );
}
