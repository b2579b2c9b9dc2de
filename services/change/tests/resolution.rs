//! Data of another version of a schema, with apache-avro as the writer and as the reader.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter};
use change::avro::{DecodeError, Resolution};
use proptest::prelude::*;

/// As `causeway.PatientEvent` was and is, in small: a medicine has all the fields that a condition has.
const OLD: &str = r#"{"type": "record", "name": "a.Event", "fields": [
    {"name": "id", "type": "string"},
    {"name": "left", "type": {"type": "array", "items": ["null", "string", "long"]}},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["one", "two", "three"]}},
    {"name": "body", "type": [
        {"type": "record", "name": "Condition", "fields": [{"name": "code", "type": "string"}]},
        {"type": "record", "name": "Medication", "fields": [
            {"name": "code", "type": "string"}, {"name": "dose", "type": ["null", "string"]}]}]},
    {"name": "count", "type": "int"}
]}"#;
const NEW: &str = r#"{"type": "record", "name": "a.Event", "fields": [
    {"name": "count", "type": "long"},
    {"name": "id", "type": "string"},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["zero", "three", "one"], "default": "zero"}},
    {"name": "body", "type": [
        {"type": "record", "name": "Medication", "fields": [
            {"name": "dose", "type": ["null", "string"]}, {"name": "code", "type": "string"},
            {"name": "status", "type": ["null", "string"], "default": null}]},
        {"type": "record", "name": "Condition", "fields": [
            {"name": "code", "type": "string"}, {"name": "dose", "type": ["null", "string"], "default": null}]}]},
    {"name": "generation", "type": "long", "default": 7},
    {"name": "sure", "type": "boolean", "default": true}
]}"#;

fn record(fields: Vec<(&str, Value)>) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn old(id: &str, left: Vec<Value>, kind: (u32, &str), body: (u32, Value), count: i32) -> Vec<u8> {
    let event = record(vec![
        ("id", text(id)),
        ("left", Value::Array(left)),
        ("kind", Value::Enum(kind.0, kind.1.to_owned())),
        ("body", Value::Union(body.0, Box::new(body.1))),
        ("count", Value::Int(count)),
    ]);
    let schema = Schema::parse_str(OLD).expect("a schema");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    writer.write_value_to_vec(event).expect("a datum")
}

fn new(datum: &[u8]) -> Vec<(String, Value)> {
    let schema = Schema::parse_str(NEW).expect("a schema");
    let mut rest = datum;
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let Value::Record(fields) = reader.read_value(&mut rest).expect("a datum of the reader's schema") else {
        panic!("a record")
    };
    assert!(rest.is_empty(), "bytes are left over");
    fields
}

fn some(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}

fn null() -> Value {
    Value::Union(0, Box::new(Value::Null))
}

#[test]
fn a_record_of_a_union_is_only_ever_the_record_of_its_name() {
    let resolution = Resolution::new(OLD, NEW).expect("it resolves");
    assert!(!resolution.is_equal());
    let condition = record(vec![("code", text("363732003"))]);
    let datum = old(
        "e",
        vec![null(), some(text("gone")), Value::Union(2, Box::new(Value::Long(-9)))],
        (2, "three"),
        (0, condition),
        -4,
    );
    let fields = new(&resolution.datum(&datum).expect("resolved"));
    let condition = record(vec![("code", text("363732003")), ("dose", null())]);
    let want = vec![
        ("count".to_owned(), Value::Long(-4)),
        ("id".to_owned(), text("e")),
        ("kind".to_owned(), Value::Enum(1, "three".to_owned())),
        ("body".to_owned(), Value::Union(1, Box::new(condition))),
        ("generation".to_owned(), Value::Long(7)),
        ("sure".to_owned(), Value::Boolean(true)),
    ];
    assert_eq!(fields, want);
    // A symbol that the reader does not have is its default.
    let medication = record(vec![("code", text("c")), ("dose", some(text("10mg")))]);
    let fields = new(&resolution.datum(&old("m", Vec::new(), (1, "two"), (1, medication), 0)).expect("resolved"));
    assert_eq!(fields[2].1, Value::Enum(0, "zero".to_owned()));
    let medication = record(vec![("dose", some(text("10mg"))), ("code", text("c")), ("status", null())]);
    assert_eq!(fields[3].1, Value::Union(0, Box::new(medication)));
}

#[test]
fn what_cannot_be_known_is_refused_before_any_datum() {
    let of = |fields: &str| format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#);
    let refused =
        |writer: &str, reader: &str| Resolution::new(&of(writer), &of(reader)).expect_err("refused").to_string();
    let a = r#"{"name": "a", "type": "string"}"#;
    assert!(
        refused(a, &format!(r#"{a}, {{"name": "b", "type": "long"}}"#)).contains("b is not there and has no default")
    );
    assert!(refused(a, r#"{"name": "a", "type": "long"}"#).contains("`string` there and `long` here"));
    let optional = r#"{"name": "a", "type": ["null", "string"]}"#;
    assert!(Resolution::new(&of(a), &of(optional)).is_ok() && Resolution::new(&of(optional), &of(a)).is_ok());
    assert!(refused(r#"{"name": "a", "type": "long"}"#, r#"{"name": "a", "type": "int"}"#).contains("a is"));
    assert!(Resolution::new("{", NEW).is_err());
    assert!(Resolution::new(OLD, OLD).expect("equal").is_equal());
    // A symbol without a default is refused where it stands.
    let symbols = |symbols: &str| {
        of(&format!(r#"{{"name": "a", "type": {{"type": "enum", "name": "E", "symbols": [{symbols}]}}}}"#))
    };
    let resolution = Resolution::new(&symbols(r#""x", "y""#), &symbols(r#""y""#)).expect("it resolves");
    assert_eq!(resolution.datum(&[0]), Err(DecodeError::Newer("a symbol")));
    assert_eq!(resolution.datum(&[4]), Err(DecodeError::Malformed("symbol")), "no symbol of its writer either");
    assert_eq!(resolution.datum(&[2]).as_deref(), Ok(&[0_u8][..]));
    // So is a branch that is not known here.
    let resolution = Resolution::new(&of(optional), &of(a)).expect("it resolves");
    assert_eq!(resolution.datum(&[0]), Err(DecodeError::Malformed("union")));
}

#[test]
fn what_a_later_version_has_more_is_known_as_such() {
    let of = |names: &[&str]| {
        let record =
            |name| format!(r#"{{"type": "record", "name": "{name}", "fields": [{{"name": "a", "type": "long"}}]}}"#);
        let records: Vec<String> = names.iter().map(record).collect();
        format!(
            r#"{{"type": "record", "name": "R", "fields": [{{"name": "body", "type": [{}]}}]}}"#,
            records.join(", ")
        )
    };
    let resolution = Resolution::new(&of(&["New", "Known"]), &of(&["Known", "Old"])).expect("it resolves");
    assert_eq!(resolution.datum(&[2, 8]).as_deref(), Ok(&[0, 8][..]), "its place in the union is nothing");
    assert_eq!(resolution.datum(&[0, 8]), Err(DecodeError::Newer("a kind of record")));
    assert_eq!(resolution.datum(&[4, 8]), Err(DecodeError::Malformed("union")));
}

proptest! {
    #[test]
    fn any_datum_of_the_writer_is_one_of_the_reader(
        id in "\\PC{0,12}",
        words in prop::collection::vec(prop::option::of("\\PC{0,8}"), 0..6),
        kind in 0..3_usize,
        dose in prop::option::of("\\PC{0,8}"),
        medicine in any::<bool>(),
        count in any::<i32>(),
    ) {
        let resolution = Resolution::new(OLD, NEW).expect("it resolves");
        let left = words.iter().map(|word| word.as_deref().map_or_else(null, |word| some(text(word)))).collect();
        let symbol = ["one", "two", "three"][kind];
        let wanted = dose.as_deref().map_or_else(null, |dose| some(text(dose)));
        let body = if medicine {
            (1, record(vec![("code", text(&id)), ("dose", wanted.clone())]))
        } else {
            (0, record(vec![("code", text(&id))]))
        };
        let datum = old(&id, left, (u32::try_from(kind).expect("few"), symbol), body, count);
        let fields = new(&resolution.datum(&datum).expect("resolved"));
        let body = if medicine {
            Value::Union(0, Box::new(record(vec![("dose", wanted), ("code", text(&id)), ("status", null())])))
        } else {
            Value::Union(1, Box::new(record(vec![("code", text(&id)), ("dose", null())])))
        };
        prop_assert_eq!(&fields[1].1, &text(&id));
        prop_assert_eq!(&fields[3].1, &body);
        prop_assert_eq!(&fields[0].1, &Value::Long(count.into()));
        // Cut anywhere, it is refused.
        for end in 0..datum.len() {
            prop_assert!(resolution.datum(&datum[..end]).is_err());
        }
    }

    #[test]
    fn any_bytes_resolve_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let resolution = Resolution::new(OLD, NEW).expect("it resolves");
        if let Ok(datum) = resolution.datum(&bytes) {
            // Texts are not looked at here: the codec refuses them.
            prop_assert!(datum.len() <= 4 * bytes.len() + 64);
        }
    }
}
