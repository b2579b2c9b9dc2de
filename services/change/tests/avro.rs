//! Our encoder against apache-avro's reader, and our decoder against apache-avro's writer.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro, writer::datum::GenericDatumWriter};
use change::{
    Cell, Change, Column, ColumnType, Row, TableId, TableSchema, Value,
    avro::{
        EnvelopePlan, Folded,
        envelope::{self, Head, SourceBlock},
        schema, value, wire,
    },
};
use proptest::prelude::*;
use std::sync::Arc;

fn kinds() -> impl Strategy<Value = ColumnType> {
    let scalar = prop_oneof![
        Just(ColumnType::Bool),
        Just(ColumnType::Int16),
        Just(ColumnType::Int32),
        Just(ColumnType::Int64),
        Just(ColumnType::Float32),
        Just(ColumnType::Float64),
        Just(ColumnType::Text),
        Just(ColumnType::Bytes),
        Just(ColumnType::Date),
        Just(ColumnType::Time),
        Just(ColumnType::Timestamp),
        (0_u8..7).prop_map(|digits| ColumnType::TimestampTz { digits }),
        Just(ColumnType::Uuid),
        Just(ColumnType::Json),
        Just(ColumnType::Numeric),
        Just(ColumnType::Hstore),
        Just(ColumnType::Xml),
        Just(ColumnType::Ltree),
        Just(ColumnType::Tsvector),
        Just(ColumnType::TimeTz),
        Just(ColumnType::Interval),
        Just(ColumnType::Point),
        (0_u16..4).prop_map(|scale| ColumnType::Money { scale }),
        (1_u32..40).prop_map(|length| ColumnType::Bits { length }),
        (1_u16..60, 0_u16..20)
            .prop_map(|(precision, scale)| ColumnType::Decimal { precision: precision + scale, scale }),
        Just(ColumnType::Enum { allowed: ["prelim".into(), "final".into()].into() }),
        Just(ColumnType::Flagged { type_name: "inet".into() }),
    ];
    (scalar, any::<bool>()).prop_map(|(kind, array)| if array { ColumnType::Array(Arc::new(kind)) } else { kind })
}

fn value_of(kind: &ColumnType) -> BoxedStrategy<Value> {
    match kind {
        ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ColumnType::Int16 => any::<i16>().prop_map(|v| Value::Int(v.into())).boxed(),
        ColumnType::Int32 => any::<i32>().prop_map(|v| Value::Int(v.into())).boxed(),
        ColumnType::Int64 => any::<i64>().prop_map(Value::Int).boxed(),
        ColumnType::Float32 => (-1.0e30_f32..1.0e30).prop_map(|v| Value::Float(v.into())).boxed(),
        ColumnType::Float64 => (-1.0e300..1.0e300).prop_map(Value::Float).boxed(),
        ColumnType::Decimal { precision, scale } => {
            let whole = (precision - scale).max(1);
            let digits = format!("-?[1-9][0-9]{{0,{}}}\\.[0-9]{{{scale}}}", whole - 1);
            let text = if *scale == 0 { format!("-?[1-9][0-9]{{0,{}}}", whole - 1) } else { digits };
            proptest::string::string_regex(&text).unwrap().prop_map(Value::Numeric).boxed()
        }
        ColumnType::Money { scale: 0 } => "-?[1-9][0-9]{0,14}".prop_map(Value::Numeric).boxed(),
        ColumnType::Money { scale } => {
            let text = format!("-?[1-9][0-9]{{0,14}}\\.[0-9]{{{scale}}}");
            proptest::string::string_regex(&text).unwrap().prop_map(Value::Numeric).boxed()
        }
        ColumnType::Bits { length } => {
            proptest::string::string_regex(&format!("[01]{{{length}}}")).unwrap().prop_map(Value::Text).boxed()
        }
        ColumnType::Point => {
            (any::<f64>(), any::<f64>()).prop_map(|(x, y)| Value::Text(format!("({x:?},{y:?})"))).boxed()
        }
        ColumnType::Numeric => "-?[1-9][0-9]{0,50}(\\.[0-9]{1,20})?".prop_map(Value::Numeric).boxed(),
        ColumnType::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        ColumnType::Date => (-700_000..2_000_000).prop_map(Value::Date).boxed(),
        ColumnType::Time => (0..=value::MICROS_PER_DAY).prop_map(Value::Time).boxed(),
        ColumnType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
        ColumnType::TimestampTz { .. } => {
            (-62_000_000_000_000_000..9_000_000_000_000_000_i64).prop_map(Value::TimestampTz).boxed()
        }
        ColumnType::Array(element) => {
            proptest::collection::vec(proptest::option::of(value_of(element)), 0..5).prop_map(Value::Array).boxed()
        }
        _ => any::<String>().prop_map(Value::Text).boxed(),
    }
}

fn cell_of(column: &Column) -> BoxedStrategy<Cell> {
    let some = value_of(&column.kind).prop_map(Cell::Value);
    if column.key { some.boxed() } else { prop_oneof![4 => some, 1 => Just(Cell::Null)].boxed() }
}

/// A table and two of its rows.
fn rows() -> impl Strategy<Value = (Row, Row)> {
    proptest::collection::vec((kinds(), any::<bool>()), 1..8).prop_flat_map(|kinds| {
        let columns: Vec<Column> = kinds
            .into_iter()
            .enumerate()
            .map(|(at, (kind, key))| Column { name: format!("c {at}").into(), kind, key })
            .collect();
        let cells = || columns.iter().map(cell_of).collect::<Vec<_>>();
        let pair = (cells(), cells());
        let table = TableId { schema: "lims".into(), name: "order".into() };
        let schema = Arc::new(TableSchema { table, columns });
        pair.prop_map(move |(one, two)| {
            (Row::new(Arc::clone(&schema), one).unwrap(), Row::new(Arc::clone(&schema), two).unwrap())
        })
    })
}

fn encoded(before: Option<&Row>, after: Option<&Row>, operation: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut exact = Vec::new();
    for row in [before, after] {
        match row {
            None => out.push(wire::NULL),
            Some(row) => {
                out.push(wire::SOME);
                value::write_row(&mut out, row, &mut exact);
            }
        }
    }
    assert!(exact.is_empty(), "every generated value fits its type");
    let block = SourceBlock {
        version: "1",
        connector: "postgresql",
        name: "stmarys",
        db: "hospital",
        schema: "lims",
        table: "order",
    };
    let mut head = Head::default();
    head.set(&block, 1_234_567, false, Some(9));
    head.write(&mut out, 77);
    envelope::transaction(&mut out, "9:77", 3, 2);
    envelope::tail(&mut out, operation, 2_345_678);
    out
}

fn theirs(schema: &Schema, mut datum: &[u8]) -> Avro {
    GenericDatumReader::builder(schema).build().unwrap().read_value(&mut datum).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn both_sides_agree_with_apache_avro((before, after) in rows()) {
        let schemas = schema::of_table("stmarys", before.schema());
        let reference = Schema::parse_str(&schemas.envelope).unwrap();
        let plan = EnvelopePlan::compile(&schemas.envelope).unwrap();
        prop_assert_eq!(plan.table(), Some(before.schema()));
        let datum = encoded(Some(&before), Some(&after), "u");

        // Our encoder, their reader; their writer, our decoder.
        let read = theirs(&reference, &datum);
        let Avro::Record(fields) = &read else { panic!("an envelope is a record") };
        prop_assert_eq!(&fields[4].1, &Avro::String("u".into()));
        let mut back = Vec::new();
        GenericDatumWriter::builder(&reference).build().unwrap().write_value(&mut back, read).unwrap();
        let decoded = plan.decode(&back, &Folded::default()).unwrap();
        prop_assert_eq!(decoded.committed_at, 1_234_567);
        let Change::Update { old: Some(old), new } = decoded.change else { panic!("an update") };
        prop_assert_eq!(&new, &after);
        // Of a table with a key, a row of nulls beside it looks like the key alone; of one without, it is a row of nulls.
        let has_key = before.schema().key_columns().next().is_some();
        let key_only = before.schema().columns.iter().zip(before.cells()).all(|(c, v)| c.key || *v == Cell::Null);
        prop_assert!(has_key && key_only || old == before);
    }

    #[test]
    fn hostile_datums_are_refused_without_a_panic((before, after) in rows(), at: prop::sample::Index, byte: u8) {
        let plan = EnvelopePlan::compile(&schema::of_table("s", before.schema()).envelope).unwrap();
        let mut datum = encoded(Some(&before), Some(&after), "u");
        let at = at.index(datum.len());
        datum[at] = byte;
        let _ = plan.decode(&datum, &Folded::default());
        let _ = plan.decode(&datum[..at], &Folded::default());
    }

    #[test]
    fn any_text_is_a_schema_or_an_error(text: String) {
        let _ = EnvelopePlan::compile(&text);
    }
}

fn result_table() -> Arc<TableSchema> {
    let column = |name: &str, kind, key| Column { name: name.into(), kind, key };
    Arc::new(TableSchema {
        table: TableId { schema: "lims".into(), name: "result".into() },
        columns: vec![
            column("result_id", ColumnType::Int64, true),
            column("comment", ColumnType::Text, false),
            column("high", ColumnType::Numeric, false),
        ],
    })
}

#[test]
fn headers_fold_back_into_cells() {
    let table = result_table();
    let infinite = Cell::Value(Value::Numeric("Infinity".into()));
    let id = Cell::Value(Value::Int(7));
    let row = Row::new(Arc::clone(&table), vec![id.clone(), Cell::Unchanged, infinite]).unwrap();
    let (mut out, mut exact) = (vec![wire::NULL, wire::SOME], Vec::new());
    value::write_row(&mut out, &row, &mut exact);
    assert_eq!(exact, [(2, "Infinity".to_owned())]);
    Head::default().write(&mut Vec::new(), 0);
    let mut head = Head::default();
    head.set(&SourceBlock { version: "", connector: "", name: "", db: "", schema: "", table: "" }, 5, true, None);
    head.write(&mut out, 1);
    out.push(wire::NULL);
    envelope::tail(&mut out, "c", 6);
    let plan = EnvelopePlan::compile(&schema::of_table("s", &table).envelope).unwrap();
    let folded =
        Folded { unchanged: Some(r#"["comment"]"#), exact: Some(r#"{"high":"Infinity"}"#), exact_before: None };
    let Change::Insert { new } = plan.decode(&out, &folded).unwrap().change else { panic!("an insert") };
    assert_eq!(new.cells(), [id, Cell::Unchanged, Cell::Value(Value::Exact("Infinity".into()))]);
    let foreign = Folded { unchanged: Some(r#"["nobody"]"#), ..folded };
    assert!(plan.decode(&out, &foreign).is_err());
}

#[test]
fn a_deleted_rows_unknown_cells_are_not_null() {
    let table = result_table();
    let key = Row::new(Arc::clone(&table), vec![Cell::Value(Value::Int(7)), Cell::Null, Cell::Null]).unwrap();
    let datum = encoded(Some(&key), None, "d");
    let plan = EnvelopePlan::compile(&schema::of_table("s", &table).envelope).unwrap();
    let Change::Delete { old: Some(old) } = plan.decode(&datum, &Folded::default()).unwrap().change else {
        panic!("a delete")
    };
    assert_eq!(old.cells()[1..], [Cell::Unchanged, Cell::Unchanged]);
}

#[test]
fn a_row_of_nulls_is_one_where_no_key_could_stand_for_it() {
    let keyed = result_table();
    let columns = keyed.columns.iter().map(|column| Column { key: false, ..column.clone() }).collect();
    let table = Arc::new(TableSchema { table: keyed.table.clone(), columns });
    let nulls = Row::new(Arc::clone(&table), vec![Cell::Null, Cell::Null, Cell::Null]).unwrap();
    let datum = encoded(Some(&nulls), None, "d");
    let plan = EnvelopePlan::compile(&schema::of_table("s", &table).envelope).unwrap();
    let Change::Delete { old: Some(old) } = plan.decode(&datum, &Folded::default()).unwrap().change else {
        panic!("a delete")
    };
    assert_eq!(old.cells(), [Cell::Null, Cell::Null, Cell::Null]);
}

#[test]
fn messages_are_debeziums() {
    let ((name, value), (_, key)) = schema::of_messages();
    assert_eq!(name, "io.debezium.connector.postgresql.MessageValue");
    let reference = Schema::parse_str(&value).unwrap();
    Schema::parse_str(&key).unwrap();
    let mut head = Head::default();
    head.set(&SourceBlock { version: "", connector: "", name: "", db: "", schema: "", table: "" }, 5, false, None);
    let mut out = Vec::new();
    envelope::message(&mut out, &head, 3, 9, "audit", b"\0\x01");
    theirs(&reference, &out);
    let plan = EnvelopePlan::compile(&value).unwrap();
    let decoded = plan.decode(&out, &Folded::default()).unwrap();
    assert_eq!(decoded.change, Change::Message { prefix: "audit".into(), content: vec![0, 1] });
    assert_eq!((decoded.table, decoded.committed_at), (None, 5));
}
