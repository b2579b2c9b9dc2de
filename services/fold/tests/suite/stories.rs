//! What transactions become, source trap by source trap.

use crate::support::*;
use change::Change;

#[track_caller]
pub fn check(got: Vec<String>, want: &[&str]) {
    assert_eq!(got, want, "\n{}", got.join("\n"));
}

pub fn gp() -> (World, fold::Fold) {
    let mut world = World::new("emis.toml", "riverside");
    let mut fold = world.fold();
    let steps = vec![
        world.insert(
            "emis.organisation",
            &[("organisation_id", t("o1")), ("ods_code", t("R1V01")), ("is_deleted", b(false))],
        ),
        world.insert(
            "emis.patient",
            &[
                ("patient_id", t("p1")),
                ("nhs_number", t("943 476 5919")),
                ("nhs_number_status", t("01")),
                ("given_name", t("David")),
                ("surname", t("Test")),
                ("organisation_id", t("o1")),
                ("is_deleted", b(false)),
            ],
        ),
    ];
    check(
        world.tell(&mut fold, steps),
        &["recorded patient/p1 of p1 1/1: David Test 9434765919 verified=true objection=false"],
    );
    (world, fold)
}

pub fn observation(world: &World, code: i64, value: &str) -> Step {
    world.insert(
        "emis.observation",
        &[
            ("observation_id", t("ob1")),
            ("patient_id", t("p1")),
            ("code_id", i(code)),
            ("numeric_value", n(value)),
            ("numeric_unit", t("mmol/L")),
            ("organisation", t("R1V01")),
            ("is_deleted", b(false)),
        ],
    )
}

pub fn code(world: &World, id: i64, term: &str, read: &str, category: &str) -> Step {
    let cells = [
        ("code_id", i(id)),
        ("term", t(term)),
        ("read_term_id", t(read)),
        ("code_category", t(category)),
        ("is_deleted", b(false)),
    ];
    world.insert("emis.clinical_code", &cells)
}

#[test]
fn a_late_code_codes_what_waited_for_it() {
    let (mut world, mut fold) = gp();
    let step = observation(&world, 7, "6.700");
    check(
        world.tell(&mut fold, vec![step]),
        &["recorded observation/ob1 of p1 1/1: 7 [-] 6.7 mmol/L text=- canonical=- Final unchecked=unknown code"],
    );
    let step = code(&world, 7, "Serum potassium", "44I4.-1", "Biochemistry");
    check(
        world.tell(&mut fold, vec![step]),
        &[
            "corrected observation/ob1 of p1 1/1: Serum potassium [potassium] 6.7 mmol/L text=- canonical=6.7 mmol/L Final unchecked=-",
        ],
    );
}

#[test]
fn a_deletion_that_blanks_the_row_finds_its_patient() {
    let (mut world, mut fold) = gp();
    let steps = vec![code(&world, 7, "Serum potassium", "44I4.", "Biochemistry"), observation(&world, 7, "6.700")];
    world.tell(&mut fold, steps);
    let step = world.update("emis.observation", &[("observation_id", t("ob1")), ("is_deleted", b(true))]);
    check(world.tell(&mut fold, vec![step.clone()]), &["retracted observation/ob1 of p1 1/1"]);
    // Said again, it says nothing new.
    check(world.tell(&mut fold, vec![step]), &[]);
    // The purge that follows is a real delete with the key alone.
    let step = world.delete("emis.observation", t("ob1"));
    check(world.tell(&mut fold, vec![step]), &[]);
}

#[test]
fn a_dictionary_forgets_nothing() {
    let (mut world, mut fold) = gp();
    let steps = vec![code(&world, 7, "Serum potassium", "44I4.", "Biochemistry"), observation(&world, 7, "6.700")];
    world.tell(&mut fold, steps);
    let steps = vec![
        world.update("emis.clinical_code", &[("code_id", i(7)), ("is_deleted", b(true))]),
        world.delete("emis.clinical_code", i(7)),
        ("emis.clinical_code", Change::Truncate),
    ];
    check(world.tell(&mut fold, steps), &[]);
}

#[test]
fn a_code_decides_that_it_was_an_allergy() {
    let (mut world, mut fold) = gp();
    let step = observation(&world, 9, "NaN");
    check(
        world.tell(&mut fold, vec![step]),
        &["recorded observation/ob1 of p1 1/1: 9 [-] - mmol/L text=NaN canonical=- Final unchecked=not a number"],
    );
    let step = code(&world, 9, "Adverse reaction to Prednisolone", "ALLERGY1364", "Allergy & Adverse Drug Reactions");
    check(
        world.tell(&mut fold, vec![step]),
        &[
            "retracted observation/ob1 of p1 1/2",
            "recorded allergy/ob1 of p1 2/2: Adverse reaction to Prednisolone none_known=false",
        ],
    );
}

#[test]
fn a_problem_is_the_other_face_of_its_observation() {
    let (mut world, mut fold) = gp();
    let steps = vec![
        code(&world, 3, "Addison's disease", "C1541", "Conditions"),
        world.insert(
            "emis.observation",
            &[("observation_id", t("ob1")), ("patient_id", t("p1")), ("code_id", i(3)), ("is_deleted", b(false))],
        ),
        world.insert(
            "emis.problem",
            &[
                ("observation_id", t("ob1")),
                ("patient_id", t("p1")),
                ("problem_status", t("Active")),
                ("is_deleted", b(false)),
            ],
        ),
    ];
    // A Read code alone: which concept it is, only a loaded map says.
    check(world.tell(&mut fold, steps), &["recorded problem/ob1 of p1 1/1: Addison's disease - active=true"]);
    let step = world.update("emis.problem", &[("observation_id", t("ob1")), ("is_deleted", b(true))]);
    check(
        world.tell(&mut fold, vec![step]),
        &[
            "recorded observation/ob1 of p1 1/2: Addison's disease [-] - - text=- canonical=- Final unchecked=unknown code",
            "retracted problem/ob1 of p1 2/2",
        ],
    );
}

#[test]
fn the_latest_issue_of_a_medicine_counts() {
    let (mut world, mut fold) = gp();
    let steps = vec![
        world.insert(
            "emis.drug_code",
            &[("code_id", i(5)), ("term", t("Hydrocortisone 10mg tablets")), ("dmd_product_code_id", i(322_236_009))],
        ),
        world.insert(
            "emis.medication_drug_record",
            &[
                ("drug_record_id", t("d1")),
                ("patient_id", t("p1")),
                ("code_id", i(5)),
                ("dosage", t("10mg at 8am")),
                ("prescription_type_description", t("Repeat")),
                ("is_active", b(true)),
                ("is_deleted", b(false)),
            ],
        ),
    ];
    check(
        world.tell(&mut fold, steps),
        &["recorded medication/d1 of p1 1/1: Hydrocortisone 10mg tablets 10mg at 8am repeat active=true"],
    );
    let step = world.insert(
        "emis.medication_issue_record",
        &[
            ("issue_record_id", t("is1")),
            ("drug_record_id", t("d1")),
            ("patient_id", t("p1")),
            ("code_id", i(5)),
            ("effective_datetime", at("2026-11-01T09:00:00Z")),
        ],
    );
    check(
        world.tell(&mut fold, vec![step]),
        &[
            "corrected medication/d1 of p1 1/2: Hydrocortisone 10mg tablets 10mg at 8am repeat active=true issued",
            "recorded issue/is1 of p1 2/2: Hydrocortisone 10mg tablets",
        ],
    );
}

#[test]
fn a_wrong_number_and_an_objection_are_kept() {
    let (mut world, mut fold) = gp();
    let step = world.insert(
        "emis.patient",
        &[
            ("patient_id", t("p2")),
            ("nhs_number", t("9434765918")),
            ("nhs_number_status", t("01")),
            ("surname", t("Wrong")),
            ("is_consent_93c1", b(false)),
            ("is_deleted", b(false)),
        ],
    );
    check(
        world.tell(&mut fold, vec![step]),
        &["recorded patient/p2 of p2 1/1: - Wrong 9434765918 verified=false objection=true"],
    );
}

#[test]
fn unchanged_values_come_from_the_store() {
    let (mut world, mut fold) = gp();
    let steps = vec![code(&world, 7, "Note", "9N1..", "x"), observation(&world, 7, "1")];
    world.tell(&mut fold, steps);
    let with_text = |cell| {
        [
            ("observation_id", t("ob1")),
            ("patient_id", t("p1")),
            ("code_id", i(7)),
            ("text_value", cell),
            ("is_deleted", b(false)),
        ]
    };
    let step = world.update("emis.observation", &with_text(t("a long text")));
    let first = world.tell(&mut fold, vec![step]);
    assert!(first[0].contains("text=a long text"), "{first:?}");
    let step = world.update("emis.observation", &with_text(change::Cell::Unchanged));
    check(world.tell(&mut fold, vec![step]), &[]);
    // Of a row never seen, nothing is made up, and it is said.
    let mut cells = with_text(change::Cell::Unchanged);
    cells[0].1 = t("ob2");
    let step = world.update("emis.observation", &cells);
    let told = world.tell(&mut fold, vec![step]);
    assert_eq!(told[0], "quarantined unchanged value never seen emis.observation.text_value");
    assert!(told[1].starts_with("recorded observation/ob2 of p1 1/1: Note [-] - - text=-"), "{told:?}");
    // Said once, and once it is known or gone.
    let step = world.update("emis.observation", &cells);
    check(world.tell(&mut fold, vec![step]), &[]);
    cells[3].1 = t("a long text");
    let step = world.update("emis.observation", &cells);
    let told = world.tell(&mut fold, vec![step]);
    assert_eq!(told[0], "closed unchanged value never seen emis.observation.text_value");
}

#[test]
fn a_changed_key_keeps_what_the_log_leaves_out() {
    let (mut world, mut fold) = gp();
    let row = |id: &str, words| {
        [
            ("observation_id", t(id)),
            ("patient_id", t("p1")),
            ("code_id", i(7)),
            ("text_value", words),
            ("is_deleted", b(false)),
        ]
    };
    let first = world.insert("emis.observation", &row("ob1", t("a long text")));
    world.tell(&mut fold, vec![first]);
    let gone = world.delete("emis.observation", t("ob1"));
    let come = world.insert("emis.observation", &row("ob2", change::Cell::Unchanged));
    let told = world.tell(&mut fold, vec![gone, come]);
    assert!(told.iter().any(|line| line.contains("ob2") && line.contains("text=a long text")), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("quarantined")), "{told:?}");
    // Another row's deletion gives nothing away.
    let gone = world.delete("emis.observation", t("ob2"));
    world.tell(&mut fold, vec![gone]);
    let come = world.insert("emis.observation", &row("ob3", change::Cell::Unchanged));
    let told = world.tell(&mut fold, vec![come]);
    assert!(!told.iter().any(|line| line.contains("a long text")), "{told:?}");
}

#[test]
fn a_dropped_column_is_told_once() {
    let (mut world, mut fold) = gp();
    let mut narrow = |id: &str| {
        let (table, change) = world.insert("emis.consultation", &[("consultation_id", t(id)), ("patient_id", t("p1"))]);
        let Change::Insert { new } = change else { panic!("an insert") };
        let mut schema = (**new.schema()).clone();
        let place = schema.index_of("consultation_source_term").expect("mapped");
        schema.columns.remove(place);
        let mut cells = new.cells().to_vec();
        cells.remove(place);
        let new = change::Row::new(schema.into(), cells).expect("as many");
        world.tell(&mut fold, vec![(table, Change::Insert { new })])
    };
    check(
        narrow("c1"),
        &[
            "quarantined missing column emis.consultation.consultation_source_term",
            "recorded consultation/c1 of p1 1/1: AMB - referral=false",
        ],
    );
    check(narrow("c2"), &["recorded consultation/c2 of p1 1/1: AMB - referral=false"]);
    let back = world.insert("emis.consultation", &[("consultation_id", t("c3")), ("patient_id", t("p1"))]);
    check(
        world.tell(&mut fold, vec![back]),
        &[
            "closed missing column emis.consultation.consultation_source_term",
            "recorded consultation/c3 of p1 1/1: AMB - referral=false",
        ],
    );
}

pub fn hospital() -> (World, fold::Fold) {
    let mut world = World::new("stmarys.toml", "stmarys");
    let mut fold = world.fold();
    let steps = hospital_rows(&world);
    check(world.tell(&mut fold, steps), &[]);
    (world, fold)
}

/// What a result is joined to.
pub fn hospital_rows(world: &World) -> Vec<Step> {
    vec![
        world.insert("pas.department", &[("department_code", t("END")), ("team", t("stmarys-endocrinology"))]),
        world.insert("lims.local_test", &[("test_code", t("K")), ("name", t("Kalium")), ("loinc", t("2823-3"))]),
        world.insert("lims.order", &[("order_id", i(1)), ("person_id", n("7")), ("requesting_department", t("END"))]),
        world.insert(
            "lims.specimen",
            &[("specimen_id", i(2)), ("order", i(1)), ("collected_at", local("2026-07-01T09:00:00"))],
        ),
        world.insert("lims.sample", &[("sample_id", i(3)), ("specimen_id", i(2))]),
        world.insert("lims.analysis", &[("analysis_id", i(4)), ("sample_id", i(3))]),
    ]
}

pub fn result(world: &World, id: i64, revision: i64, value: &str, active: bool) -> Step {
    let cells = [
        ("result_id", i(id)),
        ("line_id", i(50)),
        ("analysis_id", i(4)),
        ("test_code", t("K")),
        ("value", t(value)),
        ("unit_text", t("mmol/L")),
        ("normal_low", n("-Infinity")),
        ("status", t(if revision > 1 { "corrected" } else { "final" })),
        ("revision", i(revision)),
        ("is_active", b(active)),
    ];
    if active { world.insert("lims.result", &cells) } else { world.update("lims.result", &cells) }
}

pub const PERSON: &str = "recorded patient/7 of 7 1/2: - Test - verified=false objection=false";

pub fn person(world: &World) -> Step {
    world.insert("pas.patient", &[("person_id", n("7")), ("family_name", t("Test")), ("active_ind", i(1))])
}

#[test]
fn a_result_waits_for_its_patient() {
    let (mut world, mut fold) = hospital();
    let step = result(&world, 90, 1, ">6.0", true);
    check(world.tell(&mut fold, vec![step]), &["quarantined missing patient pas.patient"]);
    let step = person(&world);
    check(
        world.tell(&mut fold, vec![step]),
        &[
            "closed missing patient pas.patient",
            PERSON,
            "recorded result/50 of 7 2/2: Kalium [potassium] >6.0 mmol/L text=>6.0 canonical=6.0 mmol/L Final unchecked=-",
        ],
    );
}

#[test]
fn void_and_reinsert_is_one_correction() {
    let (mut world, mut fold) = hospital();
    let steps = vec![person(&world), result(&world, 90, 1, "4.7", true)];
    world.tell(&mut fold, steps);
    let steps = vec![result(&world, 90, 1, "4.7", false), result(&world, 91, 2, "6.7 H", true)];
    check(
        world.tell(&mut fold, steps),
        &[
            "corrected result/50 of 7 1/1: Kalium [potassium] 6.7 mmol/L text=6.7 H canonical=6.7 mmol/L Corrected unchecked=-",
        ],
    );
    // A voided row without a successor is a result withdrawn.
    let steps = vec![result(&world, 91, 2, "6.7 H", false)];
    check(world.tell(&mut fold, steps), &["retracted result/50 of 7 1/1"]);
}

#[test]
fn words_and_unknown_units_are_shown_and_not_checked() {
    let (mut world, mut fold) = hospital();
    let steps = vec![person(&world), result(&world, 90, 1, "Haemolysed", true)];
    check(
        world.tell(&mut fold, steps),
        &[
            PERSON,
            "recorded result/50 of 7 2/2: Kalium [potassium] - mmol/L text=Haemolysed canonical=- Final unchecked=not a number",
        ],
    );
}

#[test]
fn an_order_given_to_another_patient_moves_its_results() {
    let (mut world, mut fold) = hospital();
    let steps = vec![
        person(&world),
        world.insert("pas.patient", &[("person_id", n("8")), ("family_name", t("Other")), ("active_ind", i(1))]),
        result(&world, 90, 1, "4.7", true),
    ];
    world.tell(&mut fold, steps);
    let step = world.update("lims.order", &[("order_id", i(1)), ("person_id", n("8"))]);
    let transaction = world.transaction(vec![step]);
    let outputs = fold.step(&transaction);
    check(
        outputs.iter().map(shown).collect(),
        &[
            "retracted result/50 of 7 1/1",
            "recorded result/50 of 8 1/1: Kalium [potassium] 4.7 mmol/L text=- canonical=4.7 mmol/L Final unchecked=-",
        ],
    );
    let ids: std::collections::BTreeSet<String> = outputs
        .iter()
        .map(|output| match output {
            fold::Output::Event(event) => event.id(),
            fold::Output::Quarantined(_) => String::new(),
        })
        .collect();
    assert_eq!(ids.len(), 2, "both have an id of their own");
}

#[test]
fn wall_clock_times_are_london_times() {
    let (mut world, mut fold) = hospital();
    let steps = vec![person(&world), result(&world, 90, 1, "4.7", true)];
    let outputs = fold.step(&world.transaction(steps));
    let event = outputs.iter().find_map(|output| match output {
        fold::Output::Event(event) if event.record == "result/50" => Some(event),
        _ => None,
    });
    let at = event.and_then(|event| event.effective_at).and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
    assert_eq!(at.map(|at| at.to_string()).as_deref(), Some("2026-07-01T08:00:00Z"), "British Summer Time");
}

#[test]
fn a_key_change_is_a_new_record_and_truncate_ends_all() {
    let (mut world, mut fold) = gp();
    let step = world.insert("emis.consultation", &[("consultation_id", t("c1")), ("patient_id", t("p1"))]);
    world.tell(&mut fold, vec![step]);
    let old = world.row("emis.consultation", &[("consultation_id", t("c1"))]);
    let new = world.row("emis.consultation", &[("consultation_id", t("c2")), ("patient_id", t("p1"))]);
    check(
        world.tell(&mut fold, vec![("emis.consultation", Change::Update { old: Some(old), new })]),
        &["retracted consultation/c1 of p1 1/2", "recorded consultation/c2 of p1 2/2: AMB - referral=false"],
    );
    check(
        world.tell(&mut fold, vec![("emis.consultation", Change::Truncate)]),
        &["retracted consultation/c2 of p1 1/1"],
    );
}

#[test]
fn a_snapshot_speaks_when_it_is_over() {
    let mut world = World::new("stmarys.toml", "stmarys");
    let mut fold = world.fold();
    let snapshot = |(table, change): Step| match change {
        Change::Insert { new } => (table, Change::Snapshot { new }),
        other => (table, other),
    };
    let (hospital, _) = hospital();
    let steps = vec![
        snapshot(result(&hospital, 90, 1, "4.7", true)),
        snapshot(hospital.insert("lims.analysis", &[("analysis_id", i(4)), ("sample_id", i(3))])),
        snapshot(hospital.insert("lims.sample", &[("sample_id", i(3)), ("specimen_id", i(2))])),
        snapshot(hospital.insert("lims.specimen", &[("specimen_id", i(2)), ("order", i(1))])),
        snapshot(hospital.insert("lims.order", &[("order_id", i(1)), ("person_id", n("7"))])),
        snapshot(person(&hospital)),
    ];
    let mut entries = world.transaction(steps);
    for entry in &mut entries {
        entry.commit_end = None;
        assert!(!fold.due_before(entry) && !fold.apply(entry));
    }
    let told: Vec<String> = fold.settle(usize::MAX).iter().map(shown).collect();
    check(
        told,
        &[PERSON, "recorded result/50 of 7 2/2: K [-] 4.7 mmol/L text=- canonical=- Final unchecked=unknown code"],
    );
}
