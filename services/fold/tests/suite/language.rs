//! Every key of the mapping language, by the kind of cell it looks at: a cell of the root row, a cell of a joined row,
//! a joined row that is not there.

use crate::support::*;
use change::{Cell, Change};
use event::Body;
use fold::Output;
use std::{fmt::Write as _, sync::Arc};

/// A mapping of one record, with the lines of the test in it.
fn mapping_with(kind: &str, lines: &str) -> Arc<mapping::Mapping> {
    let status =
        if kind == "observation" && !lines.contains("status =") { "status = { otherwise = \"final\" }" } else { "" };
    let lines = if kind == "observation" && !lines.contains("[record.value]") {
        format!("{lines}\n[record.value]\ntext = \"value\"")
    } else {
        lines.to_owned()
    };
    let code = match kind {
        "demographics" | "encounter" => "",
        _ if lines.contains("[record.code]") => "",
        _ => "[record.code]\ntext = { otherwise = \"words\" }",
    };
    let text = format!(
        r#"
system = "x"
revision = 1
zone = "Europe/London"
[[record]]
kind = "{kind}"
name = "r"
table = "s.root"
id = "id"
{status}
{}{lines}
{code}
[record.join.j]
table = "s.joined"
on = {{ key = "link" }}
"#,
        if lines.contains("patient =") { "" } else { "patient = \"who\"\n" }
    );
    Arc::new(mapping::parse("test.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}")))
}

/// Where the cell stands that a test is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Root,
    Joined,
    /// The joined row is not there.
    Missing,
}

impl Place {
    fn cell(self) -> &'static str {
        if self == Self::Root { "c" } else { "j.c" }
    }
}

/// The outputs of a root row, and a joined one, whose cell `c` is this.
fn outputs(mapping: &Arc<mapping::Mapping>, place: Place, cell: &Cell) -> Vec<Output> {
    let mut world = World::of(mapping.clone(), "source");
    let row = |table: &'static str, cells: &[(&str, Cell)]| {
        let used: Vec<(&str, Cell)> =
            cells.iter().filter(|(name, _)| world.schema(table).index_of(name).is_some()).cloned().collect();
        (table, Change::Insert { new: world.row(table, &used) })
    };
    let root = if place == Place::Root { cell.clone() } else { Cell::Null };
    let mut steps =
        vec![row("s.root", &[("id", i(1)), ("who", i(7)), ("link", i(5)), ("value", t("4.7")), ("c", root)])];
    if place == Place::Joined {
        steps.insert(0, row("s.joined", &[("key", i(5)), ("c", cell.clone())]));
    }
    let mut fold = world.fold();
    fold.step(&world.transaction(steps))
}

/// What is said of the record, by the part that a key decides.
fn said(outputs: &[Output]) -> String {
    let event = outputs.iter().find_map(|output| match output {
        Output::Event(event) => Some(event),
        Output::Quarantined(_) => None,
    });
    let Some(event) = event else { return if outputs.is_empty() { "gone" } else { "waits" }.to_owned() };
    let mut words = Vec::new();
    if event.confidential {
        words.push("confidential".to_owned());
    }
    match &event.body {
        Body::Demographics(d) => {
            words.extend(d.nhs_number_verified.then(|| "verified".to_owned()));
            words.extend(d.objection.then(|| "objection".to_owned()));
        }
        Body::Observation(o) => {
            words.push(o.status.as_str().to_owned());
            words.extend(o.status_text.as_ref().map(|text| format!("“{text}”")));
        }
        Body::Medication(m) => {
            words.extend(m.status.clone());
            words.extend(m.active.then(|| "current".to_owned()));
        }
        Body::Allergy(a) => {
            words.extend(a.none_known.then(|| "none-known".to_owned()));
            words.extend(a.active.then(|| "current".to_owned()));
        }
        Body::Condition(c) => words.extend(c.active.then(|| "current".to_owned())),
        _ => {}
    }
    if words.is_empty() { "told".to_owned() } else { words.join(" ") }
}

/// kind, key, what it says where it holds, what where it does not, and whether it takes away or asserts.
const CONDITION_KEYS: [(&str, &str, &str, &str, bool); 11] = [
    ("encounter", "deleted_when = [COND]", "gone", "told", true),
    ("encounter", "only_when = [COND]", "told", "gone", false),
    ("encounter", "confidential_when = [COND]", "confidential", "told", false),
    ("observation", "corrected_when = [COND]", "corrected", "final", false),
    ("demographics", "nhs_number = { otherwise = \"9434765919\" }\nverified_when = [COND]", "verified", "told", true),
    ("demographics", "objection_when = [COND]", "objection", "told", false),
    ("medication", "active_when = [COND]", "current", "told", false),
    ("medication", "status_when = { stopped = [COND] }", "stopped", "current", true),
    ("allergy", "none_known_when = [COND]", "none-known current", "current", true),
    ("condition", "active_when = [COND]", "current", "told", false),
    ("encounter", "only_when = [{ any = [COND] }]", "told", "gone", false),
];

/// The test, then whether it holds of: the value, another value, NULL, and a row that is not there.
const TESTS: [(&str, [bool; 4]); 12] = [
    ("is = \"9\"", [true, false, false, false]),
    ("in = [\"9\", \"8\"]", [true, false, false, false]),
    ("is_not = \"9\"", [false, true, true, true]),
    ("not_in = [\"9\"]", [false, true, true, true]),
    ("present = true", [true, true, false, false]),
    ("present = false", [false, false, true, true]),
    ("above = 8", [true, false, false, false]),
    ("expr = \"CELL == '9'\"", [true, false, false, false]),
    ("expr = \"CELL != '9'\"", [false, true, true, true]),
    ("expr = \"CELL > 8\"", [true, false, false, false]),
    ("expr = \"present(CELL)\"", [true, true, false, false]),
    ("expr = \"!present(CELL)\"", [false, false, true, true]),
];

fn condition(test: &str, place: Place) -> String {
    if test.contains("CELL") {
        return format!("{{ {} }}", test.replace("CELL", place.cell()));
    }
    format!("{{ column = \"{}\", {test} }}", place.cell())
}

/// What is said where a condition's expression fails: what is safe. No value is told.
#[test]
fn a_condition_that_fails_is_told_and_nothing_is_guessed() {
    for ((kind, key, ..), want) in CONDITION_KEYS.into_iter().zip([
        "waits",
        "waits",
        "confidential",
        "final",
        "told",
        "objection",
        "current",
        "current",
        "current",
        "current",
        "waits",
    ]) {
        for place in [Place::Root, Place::Joined] {
            let cond = condition("expr = \"CELL > 8\"", place);
            let mapping = mapping_with(kind, &key.replace("COND", &cond));
            let outputs = outputs(&mapping, place, &t("Smith"));
            assert_eq!(said(&outputs), want, "{key} {place:?}");
            let items: Vec<_> = outputs
                .iter()
                .filter_map(|output| match output {
                    Output::Quarantined(item) => Some((item.reason.as_str(), item.detail.as_str())),
                    Output::Event(_) => None,
                })
                .collect();
            let [(reason, detail)] = items[..] else { panic!("{key}: {items:?}") };
            assert_eq!(reason, "expression failed", "{key}");
            assert!(detail.starts_with("s.root r.") && detail.ends_with(": is not a number"), "{key}: {detail}");
        }
    }
}

#[test]
fn a_record_that_nobody_can_judge_waits_for_its_row() {
    let mapping = mapping_with("encounter", "only_when = [{ expr = \"c > 8\" }]");
    let mut world = World::of(mapping, "source");
    let mut fold = world.fold();
    let row = |world: &World, c: &str| world.update("s.root", &[("id", i(1)), ("who", i(7)), ("c", t(c))]);
    let failed = "quarantined expression failed s.root r.only_when: is not a number";
    for (c, want) in [
        ("9", &["recorded r/1 of 7 1/1:  - referral=false"][..]),
        ("x", &[failed, "retracted r/1 of 7 1/1"]),
        ("y", &[]),
        (
            "10",
            &[
                "closed expression failed s.root r.only_when: is not a number",
                "recorded r/1 of 7 1/1:  - referral=false",
            ],
        ),
        ("x", &[failed, "retracted r/1 of 7 1/1"]),
        ("3", &["closed expression failed s.root r.only_when: is not a number"]),
    ] {
        let step = row(&world, c);
        assert_eq!(world.tell(&mut fold, vec![step]), want, "{c}");
    }
}

/// An expression says the same as the cell that it is, or it says why it does not.
#[test]
fn a_field_is_an_expression_of_cells() {
    let told = |kind: &str, lines: &str, cell: &Cell| -> Vec<String> {
        let mapping = mapping_with(kind, lines);
        let shown = |output: &Output| match output {
            Output::Event(event) => format!("{:?} {:?} {:?}", event.entered_at, event.effective_at, event.body),
            Output::Quarantined(item) => format!("{} {}", item.reason, item.detail),
        };
        outputs(&mapping, Place::Joined, cell).iter().map(shown).collect()
    };
    for (kind, key) in FIELD_KEYS {
        let cell = if key.ends_with("_at") || key.ends_with("_date") { t("2026-03-04") } else { t("17") };
        let (plain, made) = (format!("{key} = \"j.c\""), format!("{key} = {{ expr = \"coalesce(j.c, null)\" }}"));
        assert_eq!(told(kind, &plain, &cell), told(kind, &made, &cell), "{key}");
        let made = format!("{key} = {{ expr = \"1 / (decimal(j.c) - 17) > 0 ? j.c : null\" }}");
        let told = told(kind, &made, &cell);
        let why = [": divides by zero", ": is not a number"];
        let failed = told[0].starts_with("expression failed s.root r.") && why.iter().any(|why| told[0].ends_with(why));
        assert!(failed, "{told:?}");
        assert!(told.len() == 2, "{key}: the rest is told: {told:?}");
    }
    let value = |expr: &str, cell: &str| {
        let lines = format!("[record.value]\nnumber = {{ expr = \"{expr}\" }}");
        told("observation", &lines, &t(cell)).join("; ")
    };
    assert!(value("j.c + 0.2", "0.1").contains("number: Some(0.3)"), "{}", value("j.c + 0.2", "0.1"));
    assert!(value("decimal(j.c) == 0 ? null : j.c", "1.50").contains("number: Some(1.50)"));
    assert!(value("decimal(j.c) == 0 ? null : j.c", "0.0").contains("number: None"));
}

#[test]
fn every_condition_of_every_key_holds_wherever_its_cell_stands() {
    let mut wrong = String::new();
    for (kind, key, yes, no, asserts) in CONDITION_KEYS {
        for (test, holds) in TESTS {
            for place in [Place::Root, Place::Joined, Place::Missing] {
                let cond = condition(test, place);
                let mapping = mapping_with(kind, &key.replace("COND", &cond));
                let cells = if place == Place::Missing {
                    vec![(t("9"), 3)]
                } else {
                    vec![(t("9"), 0), (t("3"), 1), (Cell::Null, 2)]
                };
                for (cell, at) in cells {
                    // A row that is not there takes nothing away and asserts nothing, unless that is what was asked.
                    let negative = test.starts_with("is_not") || test.starts_with("not_in") || test.contains("CELL !=");
                    let want = holds[at] && !(place == Place::Missing && asserts && negative);
                    let got = said(&outputs(&mapping, place, &cell));
                    if got != if want { yes } else { no } {
                        let _ = writeln!(wrong, "{key} with {cond}, {place:?}, {cell:?}: {got}");
                    }
                }
            }
        }
    }
    assert_eq!(wrong, "");
}

/// kind and key of every field; the event says `shown` somewhere when the cell is read.
const FIELD_KEYS: [(&str, &str); 37] = [
    ("encounter", "organisation"),
    ("encounter", "entered_at"),
    ("encounter", "effective_at"),
    ("encounter", "class"),
    ("encounter", "text"),
    ("encounter", "team"),
    ("encounter", "started_at"),
    ("encounter", "ended_at"),
    ("demographics", "nhs_number"),
    ("demographics", "family"),
    ("demographics", "given"),
    ("demographics", "birth_date"),
    ("demographics", "death_date"),
    ("demographics", "gender"),
    ("demographics", "postcode"),
    ("demographics", "registered_practice"),
    ("observation", "authorised_at"),
    ("observation", "range_low"),
    ("observation", "range_high"),
    ("observation", "flag"),
    ("observation", "specimen"),
    ("observation", "requester"),
    ("observation", "comment"),
    ("observation", "[record.value]\nnumber"),
    ("observation", "[record.value]\ntext"),
    ("observation", "[record.value]\ntext = \"value\"\nunit"),
    ("observation", "[record.code]\ntext"),
    ("medication", "dosage"),
    ("medication", "quantity"),
    ("medication", "course"),
    ("medication", "started_at"),
    ("medication", "ended_at"),
    ("medication", "last_issued_at"),
    ("medication", "status_reason"),
    ("allergy", "reaction"),
    ("allergy", "severity"),
    ("condition", "significance"),
];

#[test]
fn every_field_reads_root_cells_and_joined_cells_alike() {
    for (kind, key) in FIELD_KEYS {
        let told = |place: Place, cell: &Cell| {
            let mapping = mapping_with(kind, &format!("{key} = \"{}\"", place.cell()));
            outputs(&mapping, place, cell).into_iter().find_map(|output| match output {
                Output::Event(event) => Some(format!(
                    "{} {:?} {:?} {:?}",
                    event.organisation, event.entered_at, event.effective_at, event.body
                )),
                Output::Quarantined(_) => None,
            })
        };
        let cell = if key.ends_with("_at") || key.ends_with("_date") { t("2026-03-04") } else { t("17") };
        let (root, joined) = (told(Place::Root, &cell), told(Place::Joined, &cell));
        let (null, missing) = (told(Place::Joined, &Cell::Null), told(Place::Missing, &cell));
        assert_eq!(root, joined, "{key}");
        assert_eq!(null, missing, "{key}: a row that is not there says nothing");
        assert!(root.is_some() && root != null, "{key}");
    }
}

#[test]
fn a_day_is_told_as_exactly_as_it_is_known() {
    for key in ["birth_date", "death_date"] {
        let mapping = mapping_with("demographics", &format!("{key} = \"c\""));
        for (cell, want) in [
            (t("1984-06-02"), "5266 -"),
            (t("1984"), "- 1984"),
            (t("1984-06"), "- 1984-06"),
            (t("about 1984"), "unreadable date, - -"),
            (t("0000"), "unreadable date, - -"),
            (Cell::Null, "- -"),
        ] {
            let told: Vec<String> = outputs(&mapping, Place::Root, &cell)
                .into_iter()
                .map(|output| match output {
                    Output::Quarantined(item) => item.reason.clone(),
                    Output::Event(event) => match event.body {
                        Body::Demographics(it) => {
                            let (day, partial) = match key {
                                "birth_date" => (it.birth_date, it.birth_partial),
                                _ => (it.death_date, it.death_partial),
                            };
                            let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
                            format!(
                                "{} {}",
                                or_none(day.map(|d| d.to_string())),
                                or_none(partial.map(|p| p.to_string()))
                            )
                        }
                        other => format!("{other:?}"),
                    },
                })
                .collect();
            assert_eq!(told.join(", "), want, "{key} {cell:?}");
        }
    }
}

#[test]
fn a_time_that_stands_for_none_is_none_for_fields_and_conditions() {
    let lines = "effective_at = \"c\"\nactive_when = [{ column = \"c\", present = false }]";
    let mapping = mapping_with("condition", lines);
    for (cell, want) in [
        (at("2026-11-01T09:00:00Z"), "Some(1793523600000000) None told"),
        // Midnight of the day, and the last second of it, which is no time that anybody can show.
        (Cell::Value(change::Value::Timestamp(253_402_214_400_000_000)), "None None current"),
        (Cell::Value(change::Value::TimestampTz(253_402_300_799_000_000)), "None None current"),
        (t("9999-12-31 23:59:59+00"), "None None current"),
        (local("2100-12-31T00:00:00"), "Some(4133894400000000) None told"),
        (t("1984"), "Some(441763200000000) Some(Year) told"),
        (t("1984-06"), "Some(454892400000000) Some(Month) told"),
    ] {
        let outputs = outputs(&mapping, Place::Root, &cell);
        let [Output::Event(event)] = &outputs[..] else { panic!("{outputs:?}") };
        let got = format!("{:?} {:?} {}", event.effective_at, event.effective_precision, said(&outputs));
        assert_eq!(got, want, "{cell:?}");
    }
}

#[test]
fn a_precision_is_what_another_column_says_where_the_mapping_lists_it() {
    let lines = "effective_at = \"value\"\neffective_precision = { from = \"c\", words = { Y = \"year\", YM = \"month\", T = \"\" } }";
    let mapping = mapping_with("condition", lines);
    let mut world = World::of(mapping, "source");
    let mut fold = world.fold();
    for (id, written, want) in
        [(1, "Y", "Some(Year)"), (2, "YM", "Some(Month)"), (3, "T", "None"), (4, "U", "None"), (5, "", "None")]
    {
        let cells = [("id", i(id)), ("who", i(7)), ("value", t("1984-06-02T10:00:00Z")), ("c", t(written))];
        let row = world.insert("s.root", &cells);
        let outputs = fold.step(&world.transaction(vec![row]));
        let doubt = outputs
            .iter()
            .any(|output| matches!(output, Output::Quarantined(item) if item.reason == "unknown precision"));
        assert_eq!(doubt, written == "U", "{written}");
        let told = outputs.iter().find_map(|output| match output {
            Output::Event(event) => Some(format!("{:?}", event.effective_precision)),
            Output::Quarantined(_) => None,
        });
        assert_eq!(told.as_deref(), Some(want), "{written}");
    }
}

#[test]
fn a_patient_behind_a_missing_row_is_waited_for() {
    for (place, want) in [(Place::Root, "told"), (Place::Joined, "told"), (Place::Missing, "waits")] {
        let mapping = mapping_with("encounter", &format!("patient = \"{}\"", place.cell()));
        assert_eq!(said(&outputs(&mapping, place, &t("7"))), want, "{place:?}");
    }
}

#[test]
fn a_state_is_what_the_mapping_lists_and_nothing_else() {
    let words = "{ F = \"final\", P = \"preliminary\", A = \"corrected\", X = \"cancelled\", R = \"rejected\", E = \"entered-in-error\" }";
    for place in [Place::Root, Place::Joined] {
        let line = format!("status = {{ from = \"{}\", words = {words} }}", place.cell());
        let mapping = mapping_with("observation", &line);
        for (cell, want) in [
            (t("F"), "final"),
            (t("P"), "preliminary"),
            (t("A"), "corrected"),
            (t("X"), "gone"),
            (t("R"), "gone"),
            (t("E"), "gone"),
            // Words that mean something elsewhere mean nothing until the mapping says so.
            (t("final"), "unknown “final”"),
            (t("cancelled"), "unknown “cancelled”"),
            (t("Biologist rejected"), "unknown “Biologist rejected”"),
            (i(25), "unknown “25”"),
            (t(""), "unknown"),
            (Cell::Null, "unknown"),
        ] {
            assert_eq!(said(&outputs(&mapping, place, &cell)), want, "{place:?} {cell:?}");
        }
    }
    let mapping = mapping_with("observation", &format!("status = {{ from = \"j.c\", words = {words} }}"));
    assert_eq!(said(&outputs(&mapping, Place::Missing, &Cell::Null)), "unknown");
}

#[test]
fn a_medicine_is_current_until_somebody_says_that_it_is_over() {
    let words = "{ active = \"active\", suspended = \"on-hold\", done = \"completed\", stopped = \"stopped\", void = \"entered-in-error\" }";
    let lines = format!(
        "active_when = [{{ column = \"c\", is_not = \"never\" }}]\nstatus = {{ from = \"c\", words = {words} }}"
    );
    let mapping = mapping_with("medication", &lines);
    for (cell, want) in [
        (t("active"), "active current"),
        (t("suspended"), "on-hold current"),
        (t("done"), "completed"),
        (t("stopped"), "stopped"),
        (t("void"), "gone"),
        (t("paused by ward"), "unknown current"),
        (Cell::Null, "unknown current"),
    ] {
        assert_eq!(said(&outputs(&mapping, Place::Root, &cell)), want, "{cell:?}");
    }
}

#[test]
fn a_rejected_result_does_not_give_way_to_an_earlier_revision() {
    let lines = "highest = \"value\"\nstatus = { from = \"j.name\", words = { F = \"final\", X = \"rejected\" } }";
    let mapping = mapping_with("observation", lines);
    let mut world = World::of(mapping, "source");
    let mut fold = world.fold();
    let status = |world: &World, name: &str| world.insert("s.joined", &[("key", i(5)), ("name", t(name))]);
    let row = world.insert("s.root", &[("id", i(1)), ("who", i(7)), ("link", i(5)), ("value", t("7.1"))]);
    let steps = vec![status(&world, "F"), row];
    let told = world.tell(&mut fold, steps);
    assert!(told[0].starts_with("recorded r/1 of 7") && told[0].contains("Final"), "{told:?}");
    // The joined row alone changes: the result is rejected, and later not.
    let step = status(&world, "X");
    assert_eq!(world.tell(&mut fold, vec![step]), ["retracted r/1 of 7 1/1"]);
    let step = status(&world, "F");
    assert!(world.tell(&mut fold, vec![step])[0].starts_with("recorded r/1 of 7"));
}
