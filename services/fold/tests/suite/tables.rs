//! Kinds and fields that follow from their tables: what a mapping says of them is what the event tells.

use crate::support::*;
use event::{Kind, PatientEvent, datum::Datum as _};
use fold::Output;
use std::sync::Arc;

fn events(kind: &str, lines: &str, cells: &[(&str, change::Cell)]) -> Vec<Output> {
    let text = format!(
        "system = \"x\"\nrevision = 7\nzone = \"Europe/London\"\n[[record]]\nkind = \"{kind}\"\nname = \"r\"\n\
         table = \"s.root\"\nid = \"id\"\npatient = \"who\"\n{lines}\n[record.join.j]\ntable = \"s.joined\"\n\
         on = {{ key = \"link\" }}\n"
    );
    let mapping = Arc::new(mapping::parse("test.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}")));
    let mut world = World::of(mapping, "source");
    let mut all = vec![("id", i(1)), ("who", i(7))];
    all.extend(cells.iter().cloned());
    let step = world.insert("s.root", &all);
    let mut fold = world.fold();
    fold.step(&world.transaction(vec![step]))
}

fn event(outputs: &[Output]) -> &PatientEvent {
    match outputs.first() {
        Some(Output::Event(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

/// Every field that says something, as JSON.
fn said(event: &PatientEvent) -> String {
    let mut fields = serde_json::Map::new();
    event.body.each(&["code"], &mut |name, value| drop(fields.insert(name.to_owned(), value)));
    serde_json::Value::Object(fields).to_string()
}

#[test]
fn a_kind_needs_nothing_but_its_table() {
    let lines = "status = { from = \"state\", words = { D = \"completed\" }, rest = \"as written\" }\nbatch = \"batch\"\n\
        expires_on = \"expires\"\nroute = { otherwise = \"im\" }\nlocation = \"room\"\n\
        participant = [{ role = { otherwise = \"performer\" }, name = [\"nurse\"], job = { otherwise = \"nurse\" } },\n\
        { role = { otherwise = \"recorder\" }, name = \"typist\" }]\n\
        [record.code]\ntext = \"words\"\ncodes = [{ system = \"snomed\", code = \"concept\", version = { otherwise = \"20260401\" }, display = \"words\" }]";
    let outputs = events(
        "immunisation",
        lines,
        &[
            ("state", t("D")),
            ("batch", t("B7")),
            ("expires", t("2027-03-31")),
            ("room", t("Room 2")),
            ("nurse", t("N. Hall")),
            ("words", t("A vaccine")),
            ("concept", t("123")),
        ],
    );
    let event = event(&outputs);
    assert_eq!(event.body.kind(), Kind::Immunisation);
    assert_eq!(said(event), r#"{"status":"completed","batch":"B7","expires_on":"2027-03-31","route":"im"}"#);
    // Nobody typed: a role alone is nobody.
    assert_eq!(event.participants.json().to_string(), r#"[{"role":"performer","name":"N. Hall","job":"nurse"}]"#);
    assert_eq!(event.location.as_deref(), Some("Room 2"));
    let codings = event.body.code().map(|code| code.codings.json().to_string());
    assert_eq!(
        codings.as_deref(),
        Some(
            r#"[{"system":"http://snomed.info/sct","version":"20260401","code":"123","display":"A vaccine","origin":"written"}]"#
        )
    );
    let made = event.made_by.as_ref().expect("it says by what it was made");
    assert_eq!((made.mapping.as_str(), made.units.as_str()), ("x 7", coding::lab::Lab::shipped().release()));
}

#[test]
fn an_old_kind_has_more_by_its_table_too() {
    let lines = "status = { otherwise = \"final\" }\npanel = \"panel\"\n\
        material = { kind = \"kind\", collected_at = \"taken\" }\n[record.code]\ntext = \"words\"\n[record.value]\ntext = \"value\"";
    let outputs = events(
        "observation",
        lines,
        &[("panel", t("U&E")), ("kind", t("Serum")), ("taken", t("2026-01-02T09:00:00Z"))],
    );
    let said = said(event(&outputs));
    assert!(
        said.ends_with(r#""panel":"U&E","material":{"kind":"Serum","collected_at":"2026-01-02T09:00:00Z"}}"#),
        "{said}"
    );
    // Of a specimen that the row says nothing of, nothing is said.
    let said = self::said(event(&events("observation", lines, &[("value", t("4.7"))])));
    assert!(!said.contains("material"), "{said}");
}

#[test]
fn what_cannot_be_read_is_in_quarantine_and_the_rest_is_told() {
    let lines = "quantity_amount = \"amount\"\ndays = \"days\"\n[record.code]\ntext = \"words\"";
    let outputs = events("supply", lines, &[("amount", t("a box")), ("days", t("28.0")), ("words", t("A tablet"))]);
    let shown: Vec<String> = outputs.iter().map(shown).collect();
    assert!(shown.iter().any(|line| line == "quarantined unreadable number s.root.amount"), "{shown:?}");
    let event = outputs.iter().find_map(|output| match output {
        Output::Event(event) => Some(event),
        Output::Quarantined(_) => None,
    });
    assert_eq!(event.map(|event| said(event)).as_deref(), Some(r#"{"days":"28.0"}"#));
}
