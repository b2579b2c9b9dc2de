//! The worked mappings: rows as such systems write them, and what comes of them.

use crate::support::*;
use change::{Cell, Value};
use event::Body;
use fold::Output;

#[test]
fn worked_mappings_are_right() {
    for name in ["worked/tpp.toml", "worked/cerner.toml"] {
        assert_eq!(mapping_of(name).warnings, [], "{name}");
    }
}

/// As a column of type `real` is told.
fn real(number: f32) -> Cell {
    Cell::Value(Value::Float(number.into()))
}

#[test]
fn tpp_writes_nothing_as_zero_and_as_the_end_of_time() {
    let mut world = World::new("worked/tpp.toml", "practice");
    let mut fold = world.fold();
    let row = |world: &World, id: &str, code: &str, numeric: &str, value: &str, sign: &str, removed: &str| {
        let cells = [
            ("RowIdentifier", t(id)),
            ("IDPatient", t("p1")),
            ("DateEvent", t("02 Jun 2024 10:30:00")),
            ("CTV3Code", t(code)),
            ("CTV3Text", t("Serum potassium")),
            ("SNOMEDCode", t(if code == "XE2q5" { "1000651000000109" } else { "-1" })),
            ("IsNumeric", t(numeric)),
            ("NumericValue", t(value)),
            ("NumericComparator", t(sign)),
            ("NumericUnit", t("mmol/L")),
            ("RemovedData", t(removed)),
        ];
        world.update("tpp.SRCode", &cells)
    };
    let steps = vec![
        row(&world, "1", "XE2q5", "1", "4.70", "=", "0"),
        row(&world, "2", "XE2q5", "1", "6.0", ">", "0"),
        // A number that the row says is none.
        row(&world, "3", "XE2q5", "0", "0.0", "", "0"),
        // A number that the row says was measured: shown, and called implausible.
        row(&world, "4", "XE2q5", "1", "0.0", "", "0"),
        // Another code altogether.
        row(&world, "5", "Xe2q5", "1", "4.7", "", "0"),
    ];
    let told = world.tell(&mut fold, steps);
    assert_eq!(
        told,
        [
            "recorded coded/1 of p1 1/5: Serum potassium [potassium] 4.70 mmol/L text=- canonical=4.70 mmol/L Final unchecked=-",
            "recorded coded/2 of p1 2/5: Serum potassium [potassium] >6.0 mmol/L text=- canonical=6.0 mmol/L Final unchecked=-",
            "recorded coded/3 of p1 3/5: Serum potassium [potassium] - mmol/L text=- canonical=- Final unchecked=no value",
            "recorded coded/4 of p1 4/5: Serum potassium [potassium] 0.0 mmol/L text=- canonical=0.0 mmol/L Final unchecked=implausible value",
            "recorded coded/5 of p1 5/5: Serum potassium [-] 4.7 mmol/L text=- canonical=- Final unchecked=unknown code",
        ]
    );
    let removed = row(&world, "2", "XE2q5", "1", "6.0", ">", "1");
    assert_eq!(world.tell(&mut fold, vec![removed]), ["retracted coded/2 of p1 1/1"]);

    let event = |world: &World, code: &str, value: f32, day: Cell| {
        let cells =
            [("Patient_ID", i(9)), ("CTV3Code", t(code)), ("ConsultationDate", day), ("NumericValue", real(value))];
        world.insert("tpp.CodedEvent", &cells)
    };
    // 9999-12-31, in microseconds since 1970.
    let never = || Cell::Value(Value::Timestamp(253_402_214_400_000_000));
    let steps = vec![
        event(&world, "XE2q5", 0.0, local("2024-06-02T00:00:00")),
        event(&world, "XE2q5", 6.7, local("2024-06-03T00:00:00")),
        event(&world, "Xe2q5", 1.0, never()),
    ];
    let outputs = fold.step(&world.transaction(steps));
    let told: Vec<String> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Event(event) => Some(event),
            Output::Quarantined(_) => None,
        })
        .map(|event| {
            let Body::Observation(it) = &event.body else { return event.record.clone() };
            let number = it.value.number.map_or("-".into(), |number| number.to_string());
            format!("{} {number} {}", event.record, event.effective_at.is_some())
        })
        .collect();
    assert_eq!(
        told,
        ["event/9/XE2q5/2024-06-02 - true", "event/9/XE2q5/2024-06-03 6.7 true", "event/9/Xe2q5/9999-12-31 1 false",]
    );
}

fn word(world: &World, code: i64, name: &str, snomed: &str) -> Step {
    let cells = [("CODE_VALUE_CD", i(code)), ("CODE_DISP_TXT", t(name)), ("ALIAS_NHS_CD_ALIAS", t(snomed))];
    world.update("barts.CVREF", &cells)
}

fn result(world: &World, id: i64, text: &str, at: &str, status: i64) -> Step {
    let cells = [
        ("EVENT_ID", i(id)),
        ("ACTIVE_IND", i(1)),
        ("ORDER_ID", i(500)),
        ("EVENT_CD", i(7001)),
        ("EVENT_RESULT_TXT", t(text)),
        ("EVENT_RESULT_UNITS_CD", i(8001)),
        ("EVENT_RESULT_STATUS_CD", i(status)),
        ("CLIN_SIGNIFICANCE_DT_TM", t(at)),
        ("NORMAL_VALUE_LOW_TXT", t("3.5")),
        ("NORMAL_VALUE_HIGH_TXT", t("Infinity")),
    ];
    world.update("barts.CLEVE", &cells)
}

#[test]
fn cerner_tells_results_as_text_and_everything_else_by_number() {
    let mut world = World::new("worked/cerner.toml", "hospital");
    let mut fold = world.fold();
    let steps = vec![
        word(&world, 7001, "Potassium Level", "1000651000000109"),
        word(&world, 8001, "mmol/L", ""),
        word(&world, 25, "Auth (Verified)", ""),
        word(&world, 31, "In Error", ""),
        world.insert("barts.PPATI", &[("PERSON_ID", i(7)), ("ACTIVE_IND", i(1))]),
        world.insert("barts.ENCNT", &[("ENCNTR_ID", i(60)), ("PERSON_ID", i(7))]),
        result(&world, 1, "6.7", "02/06/2024 10:30", 25),
        result(&world, 2, ">6.0", "02/06/2024", 25),
        result(&world, 3, "Haemolysed", "20240602", 99),
    ];
    // The order, by which the patient is found, comes later.
    let told = world.tell(&mut fold, steps);
    assert_eq!(told.iter().filter(|line| line.starts_with("quarantined missing patient")).count(), 3, "{told:?}");
    let order = world.insert("barts.ORDER", &[("ORDER_ID", i(500)), ("ENCNTR_ID", i(60))]);
    let mut told = world.tell(&mut fold, vec![order]);
    told.retain(|line| line.starts_with("recorded"));
    assert_eq!(
        told,
        [
            "recorded result/1 of 7 1/3: Potassium Level [potassium] 6.7 mmol/L text=- canonical=6.7 mmol/L Final unchecked=-",
            "recorded result/2 of 7 2/3: Potassium Level [potassium] >6.0 mmol/L text=>6.0 canonical=6.0 mmol/L Final unchecked=-",
            "recorded result/3 of 7 3/3: Potassium Level [potassium] - mmol/L text=Haemolysed canonical=- Unknown unchecked=not a number",
        ]
    );
    // A word that comes late; a result that is in error; a deletion that leaves nothing but its key.
    let step = word(&world, 99, "In Progress", "");
    let told = world.tell(&mut fold, vec![step]);
    assert!(told.iter().any(|line| line.starts_with("corrected result/3") && line.contains("Preliminary")), "{told:?}");
    let step = result(&world, 2, ">6.0", "02/06/2024", 31);
    assert_eq!(world.tell(&mut fold, vec![step]), ["retracted result/2 of 7 1/1"]);
    let step = world.update("barts.CLEVE", &[("EVENT_ID", i(1)), ("ACTIVE_IND", i(0))]);
    assert_eq!(world.tell(&mut fold, vec![step]), ["retracted result/1 of 7 1/1"]);
}

#[test]
fn cerner_writes_dates_in_six_ways() {
    let mut world = World::new("worked/cerner.toml", "hospital");
    let mut fold = world.fold();
    let steps = vec![
        world.insert("barts.PPATI", &[("PERSON_ID", i(7)), ("ACTIVE_IND", i(1))]),
        world.insert("barts.ENCNT", &[("ENCNTR_ID", i(60)), ("PERSON_ID", i(7))]),
        world.insert("barts.ORDER", &[("ORDER_ID", i(500)), ("ENCNTR_ID", i(60))]),
    ];
    world.tell(&mut fold, steps);
    for (id, (written, want)) in (1..).zip([
        ("02/06/2024 10:30", "2024-06-02T09:30:00Z"),
        ("02/06/2024", "2024-06-01T23:00:00Z day"),
        ("2024-06-02 10:30:15", "2024-06-02T09:30:15Z"),
        ("02-Jun-2024 10:30:15", "2024-06-02T09:30:15Z"),
        ("20240602103015", "2024-06-02T09:30:15Z"),
        ("20240602", "2024-06-01T23:00:00Z day"),
    ]) {
        let step = result(&world, id, "4.1", written, 25);
        let outputs = fold.step(&world.transaction(vec![step]));
        let told = outputs.iter().find_map(|output| match output {
            Output::Event(event) => {
                let at = jiff::Timestamp::from_microsecond(event.effective_at?).ok()?;
                let precision = event.effective_precision.map(|it| format!(" {}", it.as_str()));
                Some(format!("{at}{}", precision.unwrap_or_default()))
            }
            Output::Quarantined(_) => None,
        });
        assert_eq!(told.as_deref(), Some(want), "{written}");
    }
}

#[test]
fn cerner_s_number_is_the_alias_in_force() {
    let mut world = World::new("worked/cerner.toml", "hospital");
    let mut fold = world.fold();
    let alias = |world: &World, number: &str, kind: i64, from: &str, until: Cell| {
        let cells = [
            ("PERSON_ID", i(7)),
            ("ALIAS_TXT", t(number)),
            ("PERSON_ALIAS_TYPE_CD", i(kind)),
            ("BEG_EFFECTIVE_DT_TM", local(from)),
            ("END_EFFECTIVE_DT_TM", until),
        ];
        world.insert("barts.PPALI", &cells)
    };
    let open = || local("2100-12-31T00:00:00");
    let steps = vec![
        word(&world, 18, "NHS Number", ""),
        word(&world, 10, "MRN", ""),
        word(&world, 1, "Number present and verified", ""),
        alias(&world, "9000000009", 18, "2019-01-01T00:00:00", local("2024-01-01T00:00:00")),
        alias(&world, "9434765919", 18, "2024-01-01T00:00:00", open()),
        alias(&world, "4711", 10, "2025-01-01T00:00:00", open()),
        world.insert(
            "barts.PPATI",
            &[
                ("PERSON_ID", i(7)),
                ("ACTIVE_IND", i(1)),
                ("NHS_NBR_IDENT", t("9000000009")),
                ("NHS_NBR_STATUS_CD", i(1)),
            ],
        ),
    ];
    let told = world.tell(&mut fold, steps);
    assert_eq!(told, ["recorded person/7 of 7 1/1: - - 9434765919 verified=true objection=false"]);
    // At this hospital 18 is something else: the number beside the name is left.
    let step = word(&world, 18, "Other", "");
    let told = world.tell(&mut fold, vec![step]);
    assert_eq!(told, ["corrected person/7 of 7 1/1: - - 9000000009 verified=true objection=false"]);
}
