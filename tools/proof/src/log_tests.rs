//! Comparing what was logged with what was committed.

use super::*;
use apache_avro::writer::datum::GenericDatumWriter;

fn parse(text: &str) -> impl Iterator<Item = (u32, char, Key)> + '_ {
    text.split_whitespace().map(|change| {
        let (xid, rest) = change.split_once(':').unwrap();
        let key = vec![("id".to_owned(), rest[1..].to_owned())];
        (xid.parse().unwrap(), rest.chars().next().unwrap(), key)
    })
}

/// `7:c1` is the insert of row 1 by transaction 7.
#[track_caller]
fn check(committed: &str, logged: &str, want: (u64, u64, u64)) -> Option<String> {
    let table = "emis.patient".to_owned();
    let committed: Vec<Committed> =
        parse(committed).map(|(xid, op, key)| Committed { xid, table: table.clone(), op, key }).collect();
    let logged: Vec<Logged> = parse(logged)
        .map(|(xid, op, key)| Logged { xid, table: table.clone(), op, key, position: String::new() })
        .collect();
    let got = compare(&committed, &logged);
    assert_eq!((got.lost, got.duplicated, got.reordered), want);
    assert_eq!(got.same(), got.first.is_none());
    got.first
}

#[test]
fn a_log_that_tells_what_was_committed_is_the_same() {
    check("", "", (0, 0, 0));
    check("7:c1 7:u1 7:u1 8:d1", "7:c1 7:u1 7:u1 8:d1", (0, 0, 0));
}

#[test]
fn what_is_missing_repeated_or_moved_is_counted() {
    let first = check("7:c1 7:u1 8:d1", "7:c1 8:d1", (1, 0, 0));
    assert_eq!(first.as_deref(), Some("not in the log: u emis.patient in transaction 7"));
    check("7:c1 8:d1", "7:c1 7:c1 8:d1", (0, 1, 0));
    check("7:c1", "7:c1 9:c5", (0, 1, 0));
    check("7:c1 7:u1 8:d1", "7:c1 8:d1 7:u1", (0, 0, 1));
    check("7:c1", "7:u1", (1, 1, 0));
}

#[test]
fn a_difference_never_names_a_row() {
    let first = check("7:c9434765919", "", (1, 0, 0)).unwrap();
    assert!(!first.contains("9434765919"), "{first}");
}

#[test]
fn records_of_an_older_session_are_void_and_holes_are_counted() {
    let mut rule = Rule::default();
    rule.begin(0);
    assert!(rule.accept(0, "0", "1"));
    rule.begin(2);
    assert!(!rule.accept(0, "1", "2"), "an older session");
    assert!(rule.accept(2, "1", "2"));
    assert_eq!((rule.void, rule.holes), (1, 0));
    assert!(rule.accept(2, "3", "4"), "read on, but 3 is missing");
    assert!(rule.accept(2, "4", "4"), "and this is 4 again");
    assert_eq!(rule.holes, 2);
}

#[test]
fn whoever_stands_in_the_place_of_another_transaction_is_seen() {
    let holes = |told: &[(&str, u32)]| {
        let mut rule = Rule::default();
        told.iter().for_each(|(position, xid)| rule.in_transaction(position, *xid));
        rule.holes
    };
    assert_eq!(holes(&[("1.7.1", 7), ("1.7.2", 7), ("1.9.1", 0), ("1.a.1", 8)]), 0);
    // A message outside of transactions has the place of the next one's first change, which is missing.
    assert_eq!(holes(&[("1.7.1", 0), ("1.7.2", 7)]), 1);
    // If that was its only one, only the witness knows.
    check("0:m1 7:c1", "0:m1", (1, 0, 0));
}

#[test]
fn decimals_of_a_key_are_the_servers_text() {
    assert_eq!(unscaled(&[0x3d, 0x0c, 0xb7]), Some(4_000_951));
    assert_eq!(unscaled(&[0xff]), Some(-1));
    assert_eq!(unscaled(&[0x00, 0x80]), Some(128));
    assert_eq!(unscaled(&[]), None);
}

#[test]
fn a_keys_values_are_read_from_the_row() {
    let schema = Schema::parse_str(
        r#"{"type": "record", "name": "Envelope", "fields": [
            {"name": "before", "type": ["null", {"type": "record", "name": "Value", "fields": [
                {"name": "person_id", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 0}},
                {"name": "name", "type": ["null", "string"]}]}]},
            {"name": "after", "type": ["null", "Value"]}]}"#,
    )
    .unwrap();
    let row = Value::Record(vec![
        ("person_id".into(), Value::Decimal(vec![0x3d, 0x0c, 0xb7].into())),
        ("name".into(), Value::Union(0, Box::new(Value::Null))),
    ]);
    let envelope = Value::Record(vec![
        ("before".into(), Value::Union(0, Box::new(Value::Null))),
        ("after".into(), Value::Union(1, Box::new(row))),
    ]);
    let datum = GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(envelope).unwrap();
    let read = decode(&schema, &datum).unwrap();
    let after = Fields::of(&read).unwrap().get("after").and_then(Fields::of).unwrap();
    let key = key(&after, row_schema(&schema).unwrap(), &["person_id".to_owned()]).unwrap();
    assert_eq!(key, [("person_id".to_owned(), "4000951".to_owned())]);
}
