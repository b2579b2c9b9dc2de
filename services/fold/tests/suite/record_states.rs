//! What a record is beside its content: confidential, current, checked, of a known status.

use crate::{stories::*, support::*};

/// Whether the events of these changes are confidential, by record.
fn confidential(world: &mut World, fold: &mut fold::Fold, steps: Vec<Step>) -> Vec<String> {
    let outputs = fold.step(&world.transaction(steps));
    let events = outputs.iter().filter_map(|output| match output {
        fold::Output::Event(event) => Some(event),
        fold::Output::Quarantined(_) => None,
    });
    events.map(|event| format!("{}{}", event.record, if event.confidential { " confidential" } else { "" })).collect()
}

#[test]
fn what_a_practice_marks_as_confidential_is_marked() {
    let (mut world, mut fold) = gp();
    let patient = |flag: &'static str| {
        [("patient_id", t("p2")), ("surname", t("Secret")), (flag, b(true)), ("is_deleted", b(false))]
    };
    for flag in ["is_confidential", "is_spine_sensitive"] {
        let step = world.insert("emis.patient", &patient(flag));
        check(confidential(&mut world, &mut fold, vec![step]), &["patient/p2 confidential"]);
        let step = world.delete("emis.patient", t("p2"));
        world.tell(&mut fold, vec![step]);
    }
    let flagged = |id: &'static str| {
        [(id, t("x1")), ("patient_id", t("p1")), ("is_confidential", b(true)), ("is_deleted", b(false))]
    };
    for (table, id, record) in [
        ("emis.observation", "observation_id", "observation/x1 confidential"),
        ("emis.problem", "observation_id", "problem/x1 confidential"),
        ("emis.medication_drug_record", "drug_record_id", "medication/x1 confidential"),
        ("emis.consultation", "consultation_id", "consultation/x1 confidential"),
    ] {
        let step = world.insert(table, &flagged(id));
        assert!(confidential(&mut world, &mut fold, vec![step]).contains(&record.to_owned()), "{record}");
    }
}

#[test]
fn a_code_that_becomes_sensitive_marks_what_was_told() {
    let (mut world, mut fold) = gp();
    let steps = vec![code(&world, 7, "Something", "44I4.", "x"), observation(&world, 7, "1"), {
        let cells =
            [("observation_id", t("ob2")), ("patient_id", t("p1")), ("code_id", i(8)), ("snomed_concept_id", i(555))];
        world.insert("emis.observation", &cells)
    }];
    check(confidential(&mut world, &mut fold, steps), &["observation/ob1", "observation/ob2"]);
    let steps = vec![
        world.insert("emis.sensitive_code", &[("code_id", i(7))]),
        world.insert("emis.sensitive_code", &[("code_id", i(-1)), ("snomed_concept_id", i(555))]),
    ];
    check(
        confidential(&mut world, &mut fold, steps),
        &["observation/ob1 confidential", "observation/ob2 confidential"],
    );
    let step = world.delete("emis.sensitive_code", i(7));
    check(confidential(&mut world, &mut fold, vec![step]), &["observation/ob1"]);
}

#[test]
fn a_restricted_visit_marks_what_belongs_to_it() {
    let (mut world, mut fold) = hospital();
    let steps = vec![person(&world), result(&world, 90, 1, "4.7", true)];
    check(confidential(&mut world, &mut fold, steps), &["patient/7", "result/50"]);
    let steps = vec![
        world.insert(
            "pas.encounter",
            &[("encntr_id", n("3")), ("person_id", n("7")), ("confid_level", t("RESTRICTED")), ("active_ind", i(1))],
        ),
        world.update("lims.order", &[("order_id", i(1)), ("person_id", n("7")), ("encntr_id", n("3"))]),
        world.insert(
            "epma.prescription",
            &[("prescription_id", i(1)), ("person_id", n("7")), ("encntr_id", n("3")), ("status", t("active"))],
        ),
    ];
    check(
        confidential(&mut world, &mut fold, steps),
        &["encounter/3 confidential", "result/50 confidential", "prescription/1 confidential"],
    );
    let step =
        world.update("pas.patient", &[("person_id", n("7")), ("confid_level", t("RESTRICTED")), ("active_ind", i(1))]);
    check(confidential(&mut world, &mut fold, vec![step]), &["patient/7 confidential"]);
}

/// status, reason and whether it is current.
fn medicine(world: &mut World, fold: &mut fold::Fold, step: Step) -> String {
    let outputs = fold.step(&world.transaction(vec![step]));
    let medicines = outputs.iter().find_map(|output| match output {
        fold::Output::Event(event) => match &event.body {
            event::Body::Medication(m) => Some(format!(
                "{} {}{}",
                m.status.as_deref().unwrap_or("-"),
                m.status_reason.as_deref().unwrap_or("-"),
                if m.active { " current" } else { "" }
            )),
            _ => None,
        },
        fold::Output::Quarantined(_) => None,
    });
    medicines.unwrap_or_else(|| "nothing".into())
}

#[test]
fn a_medicine_that_is_not_given_does_not_look_current() {
    let (mut world, mut fold) = hospital();
    let step = person(&world);
    world.tell(&mut fold, vec![step]);
    let end = || at("2026-11-26T10:00:00Z");
    let nobody = || change::Cell::Null;
    for (status, kind, stop, reason, want) in [
        ("active", "INPATIENT", nobody(), nobody(), "active - current"),
        ("active", "INPATIENT", end(), nobody(), "active - current"),
        ("suspended", "INPATIENT", nobody(), t("Nil by mouth"), "on-hold Nil by mouth current"),
        ("stopped", "INPATIENT", end(), t("Bleeding"), "stopped Bleeding"),
        ("completed", "INPATIENT", end(), nobody(), "completed -"),
        ("cancelled", "INPATIENT", nobody(), nobody(), "cancelled -"),
        ("active", "STAT", nobody(), nobody(), "active - current"),
        ("active", "STAT", end(), nobody(), "completed -"),
        ("stopped", "STAT", end(), t("Refused"), "stopped Refused"),
        ("held by ward", "INPATIENT", nobody(), nobody(), "unknown held by ward current"),
    ] {
        let cells = [
            ("prescription_id", i(1)),
            ("person_id", n("7")),
            ("drug_name", t("Warfarin")),
            ("status", t(status)),
            ("kind", t(kind)),
            ("stop_at", stop),
            ("status_reason", reason),
        ];
        let step = world.insert("epma.prescription", &cells);
        assert_eq!(medicine(&mut world, &mut fold, step), want, "{status} {kind}");
        let step = world.delete("epma.prescription", i(1));
        world.tell(&mut fold, vec![step]);
    }
}

#[test]
fn a_practices_medicine_has_its_status_too() {
    let (mut world, mut fold) = gp();
    let end = || at("2026-11-26T10:00:00Z");
    let nobody = || change::Cell::Null;
    for (active, cancelled, reason, want) in [
        (b(true), nobody(), nobody(), "active - current"),
        (b(false), nobody(), nobody(), "completed -"),
        (b(false), end(), t("No longer needed"), "stopped No longer needed"),
        (b(true), end(), nobody(), "stopped -"),
        (nobody(), nobody(), nobody(), "unknown - current"),
    ] {
        let cells = [
            ("drug_record_id", t("d1")),
            ("patient_id", t("p1")),
            ("is_active", active),
            ("cancellation_datetime", cancelled),
            ("cancellation_reason", reason),
            ("is_deleted", b(false)),
        ];
        let step = world.insert("emis.medication_drug_record", &cells);
        assert_eq!(medicine(&mut world, &mut fold, step), want);
        let step = world.delete("emis.medication_drug_record", t("d1"));
        world.tell(&mut fold, vec![step]);
    }
}

#[test]
fn a_comma_is_never_a_thousand() {
    let (mut world, mut fold) = hospital();
    let steps = vec![person(&world), result(&world, 90, 1, "0,900", true)];
    check(
        world.tell(&mut fold, steps),
        &[
            PERSON,
            "recorded result/50 of 7 2/2: Kalium [potassium] - mmol/L text=0,900 canonical=- Final unchecked=not a number",
        ],
    );
}

#[test]
fn a_comparator_in_the_text_counts_for_the_number() {
    for (number, text, operator, want) in [
        ("6.000", ">6.0", None, ">6 mmol/L text=>6.0 canonical=6 mmol/L Final unchecked=-"),
        ("6.000", ">6.0", Some(">"), ">6 mmol/L text=>6.0 canonical=6 mmol/L Final unchecked=-"),
        ("6.000", ">6.0", Some("<"), ">6 mmol/L text=>6.0 canonical=- Final unchecked=number and text differ"),
        ("6.000", "6.1", None, "6 mmol/L text=6.1 canonical=- Final unchecked=number and text differ"),
        ("6.000", "Haemolysed", None, "6 mmol/L text=Haemolysed canonical=6 mmol/L Final unchecked=-"),
    ] {
        let (mut world, mut fold) = gp();
        let cells = [
            ("observation_id", t("ob1")),
            ("patient_id", t("p1")),
            ("code_id", i(7)),
            ("numeric_value", n(number)),
            ("numeric_unit", t("mmol/L")),
            ("text_value", t(text)),
            ("numeric_operator", operator.map_or(change::Cell::Null, t)),
            ("is_deleted", b(false)),
        ];
        let steps = vec![code(&world, 7, "K", "44I4.", "Biochemistry"), world.insert("emis.observation", &cells)];
        check(world.tell(&mut fold, steps), &[&format!("recorded observation/ob1 of p1 1/1: K [potassium] {want}")]);
    }
}

#[test]
fn what_no_rule_can_watch_says_so() {
    let (mut world, mut fold) = gp();
    let steps = vec![code(&world, 7, "Systolic", "2469.", "Examination"), {
        let cells = [
            ("observation_id", t("ob1")),
            ("patient_id", t("p1")),
            ("code_id", i(7)),
            ("snomed_concept_id", i(72_313_002)),
            ("numeric_value", n("120.000")),
            ("numeric_unit", t("mm[Hg]")),
        ];
        world.insert("emis.observation", &cells)
    }];
    check(
        world.tell(&mut fold, steps),
        &["recorded observation/ob1 of p1 1/1: Systolic [-] 120 mm[Hg] text=- canonical=- Final unchecked=not watched"],
    );
}
