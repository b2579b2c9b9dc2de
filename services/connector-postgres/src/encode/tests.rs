//! Each type's text to Avro and back, against what the server printed.

use super::*;
use change::{
    Value,
    avro::{value, wire::Reader},
};
use proptest::prelude::*;

fn through(kind: &ColumnType, text: &str) -> Option<Value> {
    let mut out = Vec::new();
    if !write(&mut out, kind, text.as_bytes()) {
        return None;
    }
    let mut reader = Reader::new(&out);
    let value = value::read(&mut reader, kind).expect("what was written can be read");
    reader.finish().expect("nothing follows");
    Some(value)
}

#[track_caller]
fn check(kind: &ColumnType, cases: &[(&str, Option<Value>)]) {
    for (text, want) in cases {
        assert!(through(kind, text) == *want, "{kind:?} {text}");
    }
}

#[test]
fn numbers_are_exact() {
    check(
        &ColumnType::Int16,
        &[("-32768", Some(Value::Int(-32768))), ("32767", Some(Value::Int(32767))), ("32768", None), ("", None)],
    );
    check(
        &ColumnType::Int64,
        &[
            ("-9223372036854775808", Some(Value::Int(i64::MIN))),
            ("9223372036854775807", Some(Value::Int(i64::MAX))),
            ("9223372036854775808", None),
            ("1e3", None),
        ],
    );
    check(
        &ColumnType::Float64,
        &[
            ("0.1", Some(Value::Float(0.1))),
            ("1e+308", Some(Value::Float(1e308))),
            ("Infinity", Some(Value::Float(f64::INFINITY))),
            ("-Infinity", Some(Value::Float(f64::NEG_INFINITY))),
        ],
    );
    let decimal = ColumnType::Decimal { precision: 19, scale: 3 };
    check(&decimal, &[("6.700", Some(Value::Numeric("6.700".into()))), ("NaN", None)]);
    check(
        &ColumnType::Numeric,
        &[
            ("0.1", Some(Value::Numeric("0.1".into()))),
            ("0.10", Some(Value::Numeric("0.10".into()))),
            ("Infinity", None),
            ("-Infinity", None),
            ("NaN", None),
        ],
    );
}

#[test]
fn moments_are_exact_and_the_rest_is_left_to_the_text() {
    check(
        &ColumnType::Date,
        &[
            ("1969-12-31", Some(Value::Date(-1))),
            ("infinity", None),
            ("-infinity", None),
            ("0044-03-15 BC", None),
            ("294276-12-31", Some(Value::Date(106_762_939))),
        ],
    );
    check(
        &ColumnType::Time,
        &[("24:00:00", Some(Value::Time(86_400_000_000))), ("00:00:00.000001", Some(Value::Time(1)))],
    );
    check(
        &ColumnType::Timestamp,
        &[
            ("1970-01-01 00:00:00.5", Some(Value::Timestamp(500_000))),
            ("1969-12-31 23:59:59.999999", Some(Value::Timestamp(-1))),
            ("infinity", None),
            ("0001-01-01 00:00:00 BC", None),
        ],
    );
    check(
        &ColumnType::TimestampTz { digits: 6 },
        &[
            ("1970-01-01 00:00:01+00", Some(Value::TimestampTz(1_000_000))),
            ("1970-01-01 05:30:00+05:30", Some(Value::TimestampTz(0))),
            ("1969-12-31 16:00:00.25-08", Some(Value::TimestampTz(250_000))),
            ("-infinity", None),
            ("0001-01-01 00:00:00+00 BC", None),
        ],
    );
}

#[test]
fn texts_bytes_and_flags() {
    check(&ColumnType::Bool, &[("t", Some(Value::Bool(true))), ("f", Some(Value::Bool(false))), ("true", None)]);
    check(
        &ColumnType::Bytes,
        &[
            ("\\x00ff", Some(Value::Bytes(vec![0, 255]))),
            ("\\x", Some(Value::Bytes(vec![]))),
            ("\\x0", None),
            ("ab", None),
        ],
    );
    let json = r#"{"b": 1,  "a":9007199254740993}"#;
    check(&ColumnType::Json, &[(json, Some(Value::Text(json.into())))]);
    let mut out = Vec::new();
    assert!(!write(&mut out, &ColumnType::Text, b"\xFF"), "not UTF-8");
}

#[test]
fn intervals_keep_their_parts_and_times_their_offset() {
    let text = |text: &str| Some(Value::Text(text.into()));
    check(
        &ColumnType::Interval,
        &[
            ("00:00:00", text("P0Y0M0DT0H0M0S")),
            ("1 year 2 mons -3 days +04:05:06.78", text("P1Y2M-3DT4H5M6.78S")),
            ("-178956970 years -8 mons", text("P-178956970Y-8M0DT0H0M0S")),
            ("-00:00:00.000001", text("P0Y0M0DT0H0M-0.000001S")),
            ("1 day -2562047788:00:54.775808", text("P0Y0M1DT-2562047788H0M-54.775808S")),
            ("infinity", None),
            ("1 century", None),
            ("00:00:00 1 day", None),
        ],
    );
    check(
        &ColumnType::TimeTz,
        &[
            ("10:11:12.5+02", text("10:11:12.5+02:00")),
            ("00:00:00+00", text("00:00:00Z")),
            ("23:59:59.999999-00:19:32", text("23:59:59.999999-00:19:32")),
            ("10:11:12+15:59:59", text("10:11:12+15:59:59")),
            ("24:00:00+00", None),
            ("10:11:12", None),
            ("10:11:12+0x", None),
        ],
    );
    check(
        &ColumnType::TimestampTz { digits: 6 },
        &[
            ("10000-01-01 00:00:00+00", Some(Value::TimestampTz(253_402_300_800_000_000))),
            ("294276-12-31 23:59:59.999999+00", None),
        ],
    );
}

#[test]
fn bits_money_points_and_stores() {
    let text = |text: &str| Some(Value::Text(text.into()));
    let number = |text: &str| Some(Value::Numeric(text.into()));
    check(&ColumnType::Bool, &[("1", Some(Value::Bool(true))), ("0", Some(Value::Bool(false)))]);
    check(&ColumnType::Bits { length: 9 }, &[("100000010", text("100000010")), ("1", None), ("10000001x", None)]);
    check(
        &ColumnType::Money { scale: 2 },
        &[
            ("$1,234.56", number("1234.56")),
            ("-$92,233,720,368,547,758.08", number("-92233720368547758.08")),
            ("($0.01)", number("-0.01")),
            ("1.234,50 €", number("1234.50")),
            ("−0,05 kr", number("-0.05")),
            ("$", None),
        ],
    );
    check(&ColumnType::Money { scale: 0 }, &[("￥1,235", number("1235"))]);
    check(
        &ColumnType::Point,
        &[("(1,-2.5)", text("(1.0,-2.5)")), ("(NaN,Infinity)", text("(NaN,Infinity)")), ("1", None)],
    );
    check(
        &ColumnType::Hstore,
        &[
            ("", text("{}")),
            (r#""a"=>"1", "b\"c\\"=>NULL, ""=>"NULL""#, text(r#"{"a":"1","b\"c\\":null,"":"NULL"}"#)),
            (r#""a"=>"1""b"=>"2""#, None),
            (r#""a"=>b"#, None),
        ],
    );
}

#[test]
fn arrays_have_one_dimension() {
    let text = |text: &str| Some(Value::Text(text.into()));
    check(
        &ColumnType::Array(Arc::new(ColumnType::Text)),
        &[
            ("{}", Some(Value::Array(vec![]))),
            (r#"{a,NULL,"NULL","b,\"c\\"}"#, Some(Value::Array(vec![text("a"), None, text("NULL"), text(r#"b,"c\"#)]))),
            (r#"{""}"#, Some(Value::Array(vec![text("")]))),
            ("{{1,2},{3,4}}", None),
            ("[2:3]={1,2}", None),
            (r#"{"a}"#, None),
            (r#"{"a"b}"#, None),
        ],
    );
    let numbers = ColumnType::Array(Arc::new(ColumnType::Numeric));
    check(
        &numbers,
        &[("{1.50,NULL}", Some(Value::Array(vec![Some(Value::Numeric("1.50".into())), None]))), ("{NaN}", None)],
    );
}

fn columns() -> Vec<ColumnPlan> {
    let column = |name: &str, kind, key| ColumnPlan { name: name.into(), kind, key };
    vec![
        column("id", ColumnType::Int32, true),
        column("note \"x\"", ColumnType::Text, false),
        column("high", ColumnType::Numeric, false),
    ]
}

#[test]
fn what_the_type_cannot_hold_stands_beside() {
    let mut beside = Beside::default();
    let mut out = Vec::new();
    let cells = [Cell::Text(b"7"), Cell::Unchanged, Cell::Text(b"Infinity")];
    write_row(&mut out, (&Charset::Utf8, &columns()), cells.into_iter(), &mut beside);
    assert_eq!(out, [14, wire::NULL, wire::NULL]);
    assert_eq!(beside.unchanged, r#"["note \"x\""]"#);
    assert_eq!(beside.exact, r#"{"high":"Infinity"}"#);
    out.clear();
    assert!(write_key(&mut out, (&Charset::Utf8, &columns()), cells.into_iter()));
    assert_eq!(out, [14]);
}

#[test]
fn a_key_that_its_types_cannot_hold_is_no_other_rows_key() {
    let column = |name: &str, kind, key| ColumnPlan { name: name.into(), kind, key };
    let columns = [
        column("at", ColumnType::Date, true),
        column("note", ColumnType::Text, false),
        column("n", ColumnType::Numeric, true),
    ];
    let mut keys = std::collections::BTreeSet::new();
    let rows: [[&[u8]; 2]; 8] = [
        [b"1970-01-01", b"0"],
        [b"infinity", b"0"],
        [b"-infinity", b"0"],
        [b"infinity", b"1"],
        [b"0044-03-15 BC", b"0"],
        [b"1970-01-01", b"NaN"],
        [b"\xFF", b"0"],
        [b"\xFE", b"0"],
    ];
    for [at, n] in rows {
        let cells = [Cell::Text(at), Cell::Text(b"n"), Cell::Text(n)];
        let mut out = b"before".to_vec();
        let fits = write_key(&mut out, (&Charset::Utf8, &columns), cells.into_iter());
        assert_eq!(fits, keys.is_empty(), "only the first fits");
        if !fits {
            assert_eq!(out, b"before", "nothing is appended");
            write_exact_key(&mut out, "s.t", (&Charset::Utf8, &columns), cells.into_iter());
        }
        assert!(keys.insert(out), "two rows with one key");
    }
    let mut out = Vec::new();
    let cells = [Cell::Text(b"infinity"), Cell::Null, Cell::Text(b"\xFF")];
    write_exact_key(&mut out, "s.t", (&Charset::Utf8, &columns), cells.into_iter());
    assert_eq!(out, b"\x06s.t\x04\x04at\x10infinity\x02n\x08\\xff\0");
}

#[test]
fn a_key_without_a_value_is_not_that_of_the_stand_in() {
    let columns = columns();
    let plan = (&Charset::Utf8, &columns[..]);
    let cells = [Cell::Null, Cell::Null, Cell::Text(b"1")];
    let (mut out, mut beside) = (Vec::new(), Beside::default());
    assert!(!write_key(&mut out, plan, cells.into_iter()) && out.is_empty(), "0 is another row's key");
    write_exact_key(&mut out, "s.t", plan, cells.into_iter());
    assert_eq!(out, b"\x06s.t\0", "no column has a text");
    out.clear();
    write_row(&mut out, plan, cells.into_iter(), &mut beside);
    assert_eq!((out[0], &*beside.exact), (0, r#"{"id":"\\N"}"#), "nor is it 0 in the datum");
    assert!(!write_key(&mut Vec::new(), plan, [Cell::Unchanged].into_iter()));
}

#[test]
fn what_the_databases_encoding_does_not_know_stands_beside() {
    let charset = Charset::of("WIN1252");
    let column = |name: &str, kind, key| ColumnPlan { name: name.into(), kind, key };
    let columns = [
        column("id", ColumnType::Text, true),
        column("note", ColumnType::Text, false),
        column("words", ColumnType::Array(Arc::new(ColumnType::Text)), false),
    ];
    let plan = (&charset, &columns[..]);
    let (mut beside, mut out) = (Beside::default(), Vec::new());
    let cells = [Cell::Text(b"f\xFCr"), Cell::Text(b"5 \x80"), Cell::Text(b"{\xE4,b}")];
    write_row(&mut out, plan, cells.into_iter(), &mut beside);
    assert_eq!(out, b"\x08f\xC3\xBCr\x02\x0a5 \xE2\x82\xAC\x02\x04\x02\x04\xC3\xA4\x02\x02b\0");
    assert!(beside.exact.is_empty() && !beside.spelt);
    out.clear();
    let cells = [Cell::Text(b"f\x81r"), Cell::Text(b"\\\xE4\x81"), Cell::Text(b"{\xE4,\x9D}")];
    write_row(&mut out, plan, cells.into_iter(), &mut beside);
    assert_eq!(out, [0, wire::NULL, wire::NULL]);
    assert_eq!(beside.exact, r#"{"id":"f\\x81r","note":"\\\\ä\\x81","words":"{ä,\\x9d}"}"#);
    assert!(beside.spelt);
    out.clear();
    assert!(!write_key(&mut out, plan, cells.into_iter()) && out.is_empty());
    write_exact_key(&mut out, "s.t", plan, cells.into_iter());
    assert_eq!(out, b"\x06s.t\x02\x04id\x0cf\\x81r\0");
    beside.clear();
    assert!(!beside.spelt);
}

#[test]
fn copy_rows_are_unescaped() {
    let mut row = CopyRow::default();
    assert!(row.parse(b"7\t\\N\ta\\tb\\\\c\\n\t\n", 4));
    let cells: Vec<Cell<'_>> = row.cells().collect();
    assert!(cells == [Cell::Text(b"7"), Cell::Null, Cell::Text(b"a\tb\\c\n"), Cell::Text(b"")]);
    assert!(!row.parse(b"7\t8\n", 3));
    assert!(!row.parse(b"7\\", 1));
}

proptest! {
    #[test]
    fn any_text_is_written_or_refused(text: Vec<u8>) {
        for kind in [
            ColumnType::Bool, ColumnType::Int32, ColumnType::Float64, ColumnType::Numeric, ColumnType::Bytes,
            ColumnType::Date, ColumnType::Time, ColumnType::Timestamp, ColumnType::TimestampTz { digits: 6 }, ColumnType::Text,
            ColumnType::Interval, ColumnType::TimeTz, ColumnType::Hstore, ColumnType::Money { scale: 2 }, ColumnType::Point,
            ColumnType::Bits { length: 3 }, ColumnType::Decimal { precision: 9, scale: 3 }, ColumnType::Array(Arc::new(ColumnType::Text)),
        ] {
            let mut out = Vec::new();
            if write(&mut out, &kind, &text) {
                let mut reader = Reader::new(&out);
                value::read(&mut reader, &kind).expect("readable");
                reader.finish().expect("nothing follows");
            }
        }
    }

    #[test]
    fn moments_with_a_zone_come_back(
        micros in -62_000_000_000_000_000_i64..9_000_000_000_000_000_000, rounded in 0_u32..7, digits in 0_u8..7,
    ) {
        // As the server prints it, whatever the column's digits; a column with them gives the decoder's own text.
        let micros = micros - micros % 10_i64.pow(rounded);
        let text = value::zoned(micros, 0).trim_start_matches('+').replace('T', " ").replace('Z', "+00");
        let kind = ColumnType::TimestampTz { digits };
        prop_assert!(through(&kind, &text) == Some(Value::TimestampTz(micros)));
        let (mut ours, mut again) = (Vec::new(), Vec::new());
        prop_assert!(write(&mut ours, &kind, text.as_bytes()));
        prop_assert!(value::write(&mut again, &kind, &Value::TimestampTz(micros)));
        prop_assert_eq!(ours, again);
    }
}
