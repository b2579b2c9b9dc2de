//! What expressions mean, as tables: an upgrade of the parser that changes any of it is seen here.

use super::{Expr, Failure, NODES_MAX, Reading, TEXT_BYTES_MAX, compile};
use crate::{Look, Ref, moment, plain};
use change::Value;
use coding::value::Marks;
use jiff::{civil::date, tz::TimeZoneDatabase};
use proptest::prelude::{prop_assert, proptest};
use std::fmt::Write as _;

/// Cells by name; those of `gone` are of a row that is not there.
const CELLS: [(&str, Option<&str>); 15] = [
    ("weight", Some("1.50")),
    ("term", Some("Serum potassium")),
    ("code", Some("44I4.")),
    ("numeral", Some("n 7.00")),
    ("concept", Some("i 999002881000000100")),
    ("taken", Some("t 2026-03-29T00:30")),
    ("born", Some("1984-06-02")),
    ("year", Some("1984")),
    ("until", Some("9999-12-31")),
    ("active", Some("b true")),
    ("missing", None),
    ("j.code", Some("44I4.")),
    ("gone.code", None),
    ("row.order", Some("o-1")),
    ("comma", Some("1,50")),
];

struct Row(Vec<Option<Value>>);

impl Row {
    fn new() -> Self {
        let value = |text: &str| match text.split_at_checked(2) {
            Some(("n ", digits)) => Value::Numeric(digits.to_owned()),
            Some(("i ", digits)) => Value::Int(digits.parse().expect("a number")),
            Some(("b ", yes)) => Value::Bool(yes == "true"),
            Some(("t ", at)) => {
                let at: jiff::civil::DateTime = at.parse().expect("a time");
                let at = at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time");
                Value::Timestamp(at.timestamp().as_microsecond())
            }
            _ => Value::Text(text.to_owned()),
        };
        Self(CELLS.iter().map(|(_, text)| text.map(value)).collect())
    }
}

impl Look for Row {
    fn value(&self, at: Ref) -> Option<&Value> {
        self.0[at.column].as_ref()
    }

    fn absent(&self, at: Ref) -> bool {
        self.value(at).is_none_or(|value| moment::is_on(value, date(9999, 12, 31), &reading().zone))
    }

    fn there(&self, at: Ref) -> bool {
        at.join != Some(1)
    }
}

fn reading() -> Reading {
    Reading { zone: TimeZoneDatabase::bundled().get("Europe/London").expect("a zone"), marks: Marks::PLAIN }
}

fn read(text: &str) -> Result<Expr, Vec<String>> {
    let mut cells = |name: &str| {
        let column = CELLS.iter().position(|(known, _)| *known == name)?;
        let join = ["j", "gone"].iter().position(|join| name.starts_with(&format!("{join}.")));
        Some(Ref { join, column })
    };
    compile("key", text, reading(), &mut cells)
}

fn shown(text: &str) -> String {
    let row = Row::new();
    match read(text) {
        Err(mistakes) => format!("mistake: {}", mistakes.join("; ")),
        Ok(expr) => match expr.value(&row) {
            Err(broken) => format!("fails: {}", broken.failure),
            Ok(None) => "null".into(),
            Ok(Some(value)) => match &*value {
                Value::Numeric(digits) => format!("number {digits}"),
                Value::Bool(yes) => yes.to_string(),
                Value::TimestampTz(_) | Value::Timestamp(_) => format!("time {}", plain(&value)),
                other => format!("text {}", plain(other)),
            },
        },
    }
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (expr, want) in table {
        let got = shown(expr);
        if got != *want {
            let _ = writeln!(wrong, "{expr}\n  got  {got}\n  want {want}");
        }
    }
    assert_eq!(wrong, "", "\n{wrong}");
}

#[test]
fn numbers_are_decimal_and_never_floats() {
    check(&[
        // A SNOMED CT identifier has 18 digits; a float has 15 or 16.
        ("999002881000000100", "number 999002881000000100"),
        ("decimal(concept) + 1", "number 999002881000000101"),
        ("concept == 999002881000000100", "true"),
        ("concept == 999002881000000101", "false"),
        ("0.1 + 0.2", "number 0.3"),
        ("0.1 + 0.2 == 0.3", "true"),
        ("1.50", "number 1.50"),
        ("decimal(weight)", "number 1.50"),
        ("weight * 2", "number 3.00"),
        ("-1.50 + weight", "number 0.00"),
        ("-weight", "number -1.50"),
        ("numeral + 1", "number 8.00"),
        ("weight / 4", "number 0.375"),
        ("weight / 0.7", "fails: leaves a remainder: say to how many places with divide()"),
        ("divide(weight, 0.7, 3)", "number 2.143"),
        ("weight / (weight - 1.5)", "fails: divides by zero"),
        ("round(weight * 1.55, 1)", "number 2.3"),
        ("'é' == term || 12.50 == 12.5", "true"),
        ("1e3", "mistake: write the number out, as 0.5 or 120, of 28 digits at most (at 1)"),
        ("0x10", "mistake: write the number out, as 0.5 or 120, of 28 digits at most (at 1)"),
        ("5u", "mistake: numbers are decimal: write it without `u` (at 1)"),
        (
            "123456789012345678901.123456789",
            "mistake: write the number out, as 0.5 or 120, of 28 digits at most (at 1)",
        ),
        ("double(weight)", "mistake: `double`: numbers are decimal, never floats: write decimal() (at 7)"),
        ("int(weight)", "mistake: `int`: numbers are decimal: write decimal(), or round(x, 0) (at 4)"),
        ("decimal(comma)", "fails: is not a number"),
        ("decimal(comma.replace(',', '.'))", "number 1.50"),
        ("decimal(term)", "fails: is not a number"),
        ("weight % 2", "mistake: no such operator here (at 8)"),
    ]);
}

#[test]
fn null_is_equal_to_nothing() {
    check(&[
        ("missing == 'a'", "false"),
        ("missing != 'a'", "true"),
        ("missing == missing", "false"),
        ("missing in ['a', 'b']", "false"),
        ("!(missing in ['a', 'b'])", "true"),
        ("missing < 5", "false"),
        ("missing >= 5", "false"),
        ("missing + 5", "null"),
        ("'a' + missing", "null"),
        ("missing ? 1 : 2", "number 2"),
        ("!missing", "true"),
        ("present(missing)", "false"),
        ("present(weight)", "true"),
        ("present(until)", "false"),
        ("coalesce(missing, until, weight)", "text 1.50"),
        ("coalesce(missing, 'none')", "text none"),
        ("weight == 1.5 ? null : weight", "null"),
        ("missing == null", "mistake: nothing equals null: write present(…) or !present(…) (at 9)"),
        ("null", "mistake: is always null"),
        ("missing && decimal(term) > 5", "false"),
        ("decimal(term) > 5 && missing", "false"),
        ("decimal(term) > 5 || present(weight)", "true"),
        ("decimal(term) > 5 && present(weight)", "fails: is not a number"),
        ("isNumber(term) && decimal(term) > 5", "false"),
        ("isNumber(weight) ? weight : missing", "text 1.50"),
        ("term.startsWith(missing)", "false"),
        ("term.substring(decimal(missing))", "null"),
    ]);
}

#[test]
fn cells_are_what_stands_beside_them() {
    check(&[
        ("numeral == 7", "true"),
        ("numeral == '7'", "true"),
        ("weight == '1.50'", "true"),
        ("weight == '1.5'", "false"),
        ("weight == 1.5", "true"),
        ("term == 5", "false"),
        ("term > 5", "fails: is not a number"),
        ("active", "true"),
        ("active == true", "true"),
        ("!active", "false"),
        ("term ? 1 : 2", "fails: is not true or false"),
        ("code == j.code", "true"),
        ("code == gone.code", "false"),
        ("row.order", "text o-1"),
        ("row.`order`", "text o-1"),
        ("taken", "time 2026-03-29T00:30:00"),
        ("timestamp(taken) < timestamp('2026-03-30')", "true"),
        ("taken > timestamp('2026-03-30')", "false"),
        ("timestamp('02/06/84', '%d/%m/%y') == timestamp(born)", "true"),
        ("timestamp('02.06.1984', '%d/%m/%Y', '%d.%m.%Y')", "text 1984-06-02"),
        ("timestamp(year)", "text 1984"),
        ("timestamp(term)", "fails: is not a time"),
        ("timestamp(born + 'T10:00')", "time 1984-06-02T09:00:00"),
        ("years(born, taken)", "number 41"),
        ("years(timestamp('1984-03-29'), taken)", "number 42"),
        ("years(timestamp('1984-03-30'), taken)", "number 41"),
        ("years(year, taken)", "null"),
        ("days(timestamp('2026-03-01'), taken)", "number 28"),
        ("weight < numeral", "mistake: only numbers and times are ordered: write decimal(…) or timestamp(…) (at 8)"),
        ("weight + numeral", "mistake: `+` adds numbers or joins texts: write decimal(…) or string(…) (at 8)"),
        ("decimal(weight) < numeral", "true"),
        ("term < 'a'", "mistake: only numbers and times are ordered: write decimal(…) or timestamp(…) (at 6)"),
    ]);
}

#[test]
fn texts_are_letters_and_not_bytes() {
    check(&[
        ("term.lowerAscii()", "text serum potassium"),
        ("code.upperAscii()", "text 44I4."),
        ("size(term)", "number 15"),
        ("'é'.size()", "number 1"),
        ("trim('  a ')", "text a"),
        ("term.substring(0, 5) + '/' + code", "text Serum/44I4."),
        ("term.substring(6)", "text potassium"),
        ("'éa'.substring(1)", "text a"),
        ("term.substring(0, 99)", "fails: is out of range"),
        ("term.substring(5, 4)", "fails: is out of range"),
        ("term.substring(0, term.indexOf(' '))", "text Serum"),
        ("term.indexOf('x')", "number -1"),
        ("term.contains('pot') && term.endsWith('ium') && term.startsWith('Serum')", "true"),
        ("string(weight) + string(1.50) + string(true)", "text 1.501.50true"),
        ("weight + 'kg'", "text 1.50kg"),
    ]);
}

#[test]
fn mistakes_are_told_with_their_places() {
    check(&[
        (
            "term.matches('a.*')",
            "mistake: `matches`: there are no regular expressions: use contains, startsWith, endsWith, indexOf, substring (at 13)",
        ),
        ("now()", "mistake: `now`: there is no clock: what is told must not depend on when it is read (at 4)"),
        ("random()", "mistake: `random`: there is no chance: the same row says the same always (at 7)"),
        ("['a'].exists(x, x == 'a')", "mistake: `exists`: there are no loops (at 13)"),
        ("has(j.code)", "mistake: `has`: write present(…) (at 4)"),
        ("startsWith(term, 'a')", "mistake: `startsWith` is called as text.startsWith(…) (at 11)"),
        ("1 + 'a'", "mistake: expected a number, not text: write decimal(…) (at 5)"),
        ("'a' + 1", "mistake: expected text, not a number: write string(…) (at 7)"),
        ("1 == 'a'", "mistake: compares a number with text, which are never equal (at 3)"),
        ("weight ? 'a' : 1", "mistake: expected text, not a number: write string(…) (at 16)"),
        ("1 && true", "mistake: expected true or false, not a number (at 1)"),
        ("['a']", "mistake: a list stands only behind `in` (at 1)"),
        ("{'a': 1}", "mistake: expected a cell, a constant, an operator or a function (at 1)"),
        ("weight[0]", "mistake: no such operator here (at 7)"),
        ("a.b.c", "mistake: expected `column` or `join.column` (at 4)"),
        ("timestamp(term, 'yyyy')", "mistake: expected a format with a year at least, as \"%d/%m/%Y\" (at 17)"),
        ("round(1)", "mistake: `round` takes 2 arguments (at 6)"),
        // All at once.
        (
            "double(1) + int(2)",
            "mistake: `double`: numbers are decimal, never floats: write decimal() (at 7); \
                               `int`: numbers are decimal: write decimal(), or round(x, 0) (at 16)",
        ),
    ]);
    assert!(shown("weight ==").starts_with("mistake: is no expression: "), "{}", shown("weight =="));
}

#[test]
fn an_expression_has_limits() {
    let long = format!("'{}'", "a".repeat(super::EXPR_BYTES_MAX));
    assert_eq!(shown(&long), "mistake: is longer than 1000 bytes");
    let many = vec!["1"; NODES_MAX].join("+");
    assert_eq!(shown(&many), format!("mistake: has more than {NODES_MAX} operators, cells and constants"));
    let deep = format!("{}1{}", "(".repeat(490), ")".repeat(490));
    assert!(shown(&deep).starts_with("mistake: is no expression"), "{}", shown(&deep));
    // Doubled at each step: stopped where it grows too long.
    let grown = format!("term{}", ".replace('s', 'ssssssssssssssss')".repeat(20));
    assert_eq!(shown(&grown), format!("fails: {}", Failure::TooLong));
    assert_eq!(Failure::TooLong.to_string(), format!("is a text of more than {TEXT_BYTES_MAX} bytes"));
}

#[test]
fn what_asserts_needs_its_rows() {
    let row = Row::new();
    for (text, truth, stands) in [
        ("j.code != 'x'", true, true),
        ("gone.code != 'x'", true, false),
        ("!(gone.code == 'x')", true, false),
        ("!present(gone.code)", true, true),
        ("!present(gone.code) || gone.code != 'x'", true, true),
    ] {
        let expr = read(text).expect("an expression");
        let got = (expr.truth(&row).expect("an answer"), expr.stands(&row).expect("an answer"));
        assert_eq!(got, (truth, stands), "{text}");
    }
}

const PIECES: [&str; 38] = [
    "weight",
    "term",
    "missing",
    "gone.code",
    "concept",
    "1",
    "0.1",
    "28.00",
    "'a'",
    "\"é\"",
    "null",
    "true",
    "(",
    ")",
    "[",
    "]",
    ",",
    "+",
    "-",
    "*",
    "/",
    "==",
    "!=",
    "<",
    ">=",
    "in",
    "?",
    ":",
    "&&",
    "||",
    "!",
    ".size()",
    ".substring(",
    "round(",
    "timestamp(",
    "present(",
    "coalesce(",
    "decimal(",
];

proptest! {
    /// Whatever is written, it is a mistake, fails or says something: nothing panics, and nothing is a float.
    #[test]
    fn any_text_is_answered(pieces in proptest::collection::vec(0_usize..PIECES.len(), 0..24)) {
        let text: Vec<&str> = pieces.into_iter().map(|at| PIECES[at]).collect();
        if let Ok(expr) = read(&text.join(" ")) {
            let row = Row::new();
            let value = expr.value(&row);
            prop_assert!(!matches!(value.map(|value| value.map(std::borrow::Cow::into_owned)), Ok(Some(Value::Float(_)))));
        }
    }
}
