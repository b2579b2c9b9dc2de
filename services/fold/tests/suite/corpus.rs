//! The hostile corpus (`corpus/*.tsv`): what a mapping does with rows as nobody should write them, and somebody does.
//!
//! What is expected of each row is reasoned from the documentation that the file names, never taken from what came.

#[path = "../../corpus/table.rs"]
mod table;

use crate::support::*;
use change::{Cell, Value};
use event::{Body, Comparator, Demographics, Observation, PatientEvent};
use fold::Output;
use std::{collections::HashMap, sync::Arc};
use table::{Row, Table, check};

/// The files, what each expects, and how many rows it has at least.
const FILES: [(&str, &[&str], usize); 8] = [
    ("values.tsv", &RESULT, 100),
    ("comparators.tsv", &RESULT, 100),
    ("numbers.tsv", &RESULT, 90),
    ("units.tsv", &RESULT, 120),
    ("codes.tsv", &CODED, 120),
    ("dates.tsv", &["want"], 150),
    ("nhs-numbers.tsv", &["want"], 60),
    ("limits.tsv", &["want"], 30),
];
const ROWS_MIN: usize = 500;
const RESULT: [&str; 4] = ["told", "kept", "canonical", "unchecked"];
const CODED: [&str; 4] = ["analyte", "snomed", "loinc", "known"];
const CODE_COLUMNS: [&str; 6] = ["snomed", "loinc", "read-v2", "ctv3", "dmd", "local"];

#[test]
fn the_corpus_is_as_large_as_it_says_and_says_nothing_twice() {
    let count = |(file, expected, least): (&str, &[&str], usize)| {
        let count = Table::read("corpus", file).count(expected);
        assert!(count >= least, "{file} has {count} rows, of at least {least}");
        count
    };
    let all: usize = FILES.into_iter().map(count).sum();
    assert!(all >= ROWS_MIN, "{all} rows, of at least {ROWS_MIN}");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let names = std::fs::read_dir(folder).expect("corpus/").flatten().map(|entry| entry.file_name());
    let unread: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".tsv") && !FILES.iter().any(|(file, ..)| file == name))
        .collect();
    assert_eq!(unread, [""; 0], "files that no test reads");
}

/// A mapping as a system would have it: `numbers` of the file, `trim_zeros`, and how times are written.
fn mapping(numbers: &str, trim_zeros: bool, formats: &str) -> Arc<mapping::Mapping> {
    let formats: Vec<String> = formats.split(';').filter(|it| !it.is_empty()).map(|it| format!("\"{it}\"")).collect();
    let format = if formats.is_empty() { String::new() } else { format!(", format = [{}]", formats.join(", ")) };
    let codes: Vec<String> =
        CODE_COLUMNS.iter().map(|system| format!("{{ system = \"{system}\", code = \"{system}\" }}")).collect();
    let text = format!(
        r#"
system = "hostile"
revision = 1
zone = "Europe/London"
sentinels = ["2100-12-31"]
{numbers}
[[record]]
kind = "demographics"
name = "person"
table = "s.third"
id = "key"
patient = "key"
nhs_number = "number"
verified_when = [{{ column = "status", is = "01" }}]
birth_date = {{ from = "born", null = ["1900-01-01", "0"] }}
[[record]]
kind = "observation"
name = "result"
table = "s.root"
id = "id"
patient = "id"
effective_at = {{ from = "taken"{format} }}
status = {{ otherwise = "final" }}
range_low = "low"
material = {{ kind = "material" }}
[record.code]
text = "name"
codes = [{}]
[record.value]
number = "number"
text = "text"
unit = "unit"
comparator = "sign"
trim_zeros = {trim_zeros}
"#,
        codes.join(", ")
    );
    Arc::new(mapping::parse("hostile.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}")))
}

/// `int:4`, `numeric:4.0`, `date:2024-06-02`; without a type it is text.
fn cell(written: &str) -> Cell {
    let Some((kind, rest)) = written.split_once(':') else {
        return if written == "null" { Cell::Null } else { t(written) };
    };
    match kind {
        "int" => i(rest.parse().expect("a whole number")),
        "numeric" => n(rest),
        "float" => Cell::Value(Value::Float(rest.parse().expect("a number"))),
        "bool" => b(rest == "true"),
        "date" => {
            let day: jiff::civil::Date = rest.parse().expect("a day");
            Cell::Value(Value::Date(jiff::civil::date(1970, 1, 1).until(day).expect("days").get_days()))
        }
        // Also what lies beyond the times that can be shown.
        "local" => Cell::Value(Value::Timestamp(micros(&format!("{rest}Z")))),
        "at" => Cell::Value(Value::TimestampTz(micros(rest))),
        "exact" => Cell::Value(Value::Exact(rest.into())),
        "text" => t(rest),
        _ => t(written),
    }
}

fn micros(zoned: &str) -> i64 {
    change::avro::value::micros_of_zoned(zoned).expect("a time")
}

/// What comes of one row, and the reasons for which it is in quarantine.
fn told(mapping: Arc<mapping::Mapping>, table: &'static str, cells: &[(&str, Cell)]) -> (PatientEvent, Vec<String>) {
    let mut world = World::of(mapping, "hospital");
    let mut fold = world.fold();
    let step = world.insert(table, cells);
    let (mut event, mut reasons) = (None, Vec::new());
    for output in fold.step(&world.transaction(vec![step])) {
        match output {
            Output::Event(it) => event = Some(*it),
            Output::Quarantined(item) => reasons.push(item.reason),
        }
    }
    (event.expect("an event: no hostile cell takes a record away"), reasons)
}

fn observed(mapping: Arc<mapping::Mapping>, cells: &[(&str, Cell)]) -> (PatientEvent, Observation, Vec<String>) {
    let mut cells = cells.to_vec();
    cells.push(("id", i(1)));
    let (event, reasons) = told(mapping, "s.root", &cells);
    let Body::Observation(observation) = event.body.clone() else { panic!("an observation") };
    (event, observation, reasons)
}

fn or_none(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// `marks`: the decimal mark, and what parts thousands; or `trim`.
fn of_marks(marks: &str, known: &mut HashMap<String, Arc<mapping::Mapping>>) -> Arc<mapping::Mapping> {
    let make = || {
        let mut letters = marks.chars();
        let numbers = match (letters.next(), letters.next()) {
            _ if marks == "trim" => String::new(),
            (Some(decimal), Some(grouping)) => {
                format!("numbers = {{ decimal = \"{decimal}\", grouping = \"{grouping}\" }}")
            }
            (Some(decimal), None) => format!("numbers = {{ decimal = \"{decimal}\" }}"),
            _ => String::new(),
        };
        mapping(&numbers, marks == "trim", "")
    };
    known.entry(marks.to_owned()).or_insert_with(make).clone()
}

fn results(file: &str) {
    let known = std::cell::RefCell::default();
    let run = |row: Row<'_>| {
        let (system, code) = row.get("code").split_once(':').expect("system:code");
        // A number in a column of numbers is PostgreSQL's own.
        let number = match row.get("number") {
            "" => Cell::Null,
            written if written.contains(':') => cell(written),
            written => n(written),
        };
        let cells = [
            (system, t(code)),
            ("number", number),
            ("text", t(row.get("text"))),
            ("sign", t(row.get("sign"))),
            ("unit", t(row.get("unit"))),
        ];
        let mapping = of_marks(row.get("marks"), &mut known.borrow_mut());
        let (_, observation, _) = observed(mapping, &cells);
        let value = observation.value;
        let sign = value.comparator.map_or("", Comparator::as_str);
        let canonical = value.canonical.map(|it| format!("{} {}", it.number, it.unit));
        vec![
            format!("{sign}{}", value.number.map_or_else(|| "-".into(), |number| number.to_string())),
            or_none(value.text.as_deref()),
            or_none(canonical.as_deref()),
            or_none(observation.unchecked.as_deref()),
        ]
    };
    check(&Table::read("corpus", file), &RESULT, run);
}

#[test]
fn values() {
    results("values.tsv");
}

#[test]
fn comparators() {
    results("comparators.tsv");
}

#[test]
fn numbers() {
    results("numbers.tsv");
}

#[test]
fn units() {
    results("units.tsv");
}

#[test]
fn codes() {
    let mapping = mapping("", false, "");
    let run = |row: Row<'_>| {
        let mut cells = vec![
            ("text", t("4.1")),
            ("unit", t("mmol/L")),
            ("name", t(row.get("name"))),
            ("material", t(row.get("material"))),
        ];
        // A space within a code is written as another one.
        for given in systems(row.get("codes")) {
            cells.push((given.0, cell(given.1)));
        }
        let (_, observation, _) = observed(mapping.clone(), &cells);
        let known = match observation.unchecked.as_deref() {
            Some("unknown code") => "no",
            Some("specimen differs") => "specimen",
            _ => "yes",
        };
        let code = observation.code;
        assert_eq!(code.codings.iter().filter(|it| it.origin == event::Origin::Written).count(), written(row), "kept");
        vec![
            or_none(observation.analyte.as_deref()),
            or_none(code.snomed.as_deref()),
            or_none(code.loinc.as_deref()),
            known.into(),
        ]
    };
    check(&Table::read("corpus", "codes.tsv"), &CODED, run);
}

/// `snomed:0 read-v2:44I4.`: each system begins a code.
fn systems(codes: &str) -> Vec<(&'static str, &str)> {
    let mut starts: Vec<(usize, &'static str)> = CODE_COLUMNS
        .iter()
        .flat_map(|system| codes.match_indices(&format!("{system}:")).map(|(at, _)| (at, *system)).collect::<Vec<_>>())
        .filter(|(at, _)| *at == 0 || codes[..*at].ends_with(' '))
        .collect();
    starts.sort_unstable();
    let ends = starts.iter().skip(1).map(|(at, _)| at - 1).chain([codes.len()]);
    starts.iter().zip(ends).map(|((at, system), end)| (*system, &codes[at + system.len() + 1..end])).collect()
}

/// Whatever a code means, it is kept as it was written.
fn written(row: Row<'_>) -> usize {
    systems(row.get("codes")).iter().filter(|(_, code)| !code.trim().is_empty()).count()
}

#[test]
fn dates() {
    let run = |row: Row<'_>| {
        let mapping = mapping("", false, row.get("formats"));
        vec![match row.get("field") {
            "time" => time(mapping, row.get("cell")),
            _ => day(mapping, row.get("cell")),
        }]
    };
    check(&Table::read("corpus", "dates.tsv"), &["want"], run);
}

fn time(mapping: Arc<mapping::Mapping>, written: &str) -> String {
    let (event, _, reasons) = observed(mapping, &[("taken", of_time(written))]);
    let unreadable = reasons.iter().any(|reason| reason == "unreadable time");
    match event.effective_at {
        Some(_) if unreadable => "told and doubted".into(),
        Some(at) => {
            let at = jiff::Timestamp::from_microsecond(at).expect("a time");
            format!("{at} {}", event.effective_precision.map_or("exact", event::Precision::as_str))
        }
        None => if unreadable { "unreadable" } else { "nothing" }.into(),
    }
}

/// `10:30` is no type of column.
fn of_time(written: &str) -> Cell {
    if written.starts_with(|letter: char| letter.is_ascii_digit() || letter == 'T') {
        t(written)
    } else {
        cell(written)
    }
}

fn day(mapping: Arc<mapping::Mapping>, written: &str) -> String {
    let (event, reasons) = told(mapping, "s.third", &[("key", i(1)), ("born", of_time(written))]);
    let Body::Demographics(Demographics { birth_date, birth_partial, .. }) = event.body else { panic!("a patient") };
    let unreadable = reasons.iter().any(|reason| reason == "unreadable date");
    match (birth_date, birth_partial) {
        (Some(_), _) | (_, Some(_)) if unreadable => "told and doubted".into(),
        (Some(days), None) => (jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days)).to_string(),
        (None, Some(partial)) => {
            let month = partial.month().map_or_else(String::new, |month| format!("-{month:02}"));
            format!("partial {:04}{month}", partial.year())
        }
        (Some(_), Some(_)) => "both".into(),
        (None, None) => if unreadable { "unreadable" } else { "nothing" }.into(),
    }
}

#[test]
fn nhs_numbers() {
    let mapping = mapping("", false, "");
    let run = |row: Row<'_>| {
        let status = row.get("status");
        let cells = [("key", i(1)), ("number", cell(row.get("cell"))), ("status", cell(status))];
        let (event, _) = told(mapping.clone(), "s.third", &cells);
        let Body::Demographics(told) = event.body else { panic!("a patient") };
        vec![match (told.nhs_number, told.nhs_number_text) {
            (Some(number), None) => {
                format!("{}{}", number.as_str(), if told.nhs_number_verified { " verified" } else { "" })
            }
            (None, Some(text)) => format!("text {text}{}", if told.nhs_number_verified { " verified" } else { "" }),
            (None, None) => "nothing".into(),
            (Some(_), Some(_)) => "both".into(),
        }]
    };
    check(&Table::read("corpus", "nhs-numbers.tsv"), &["want"], run);
}

#[test]
fn limits() {
    let known = std::cell::RefCell::default();
    let run = |row: Row<'_>| {
        let mapping = of_marks(row.get("marks"), &mut known.borrow_mut());
        let (_, observation, reasons) = observed(mapping, &[("low", cell(row.get("cell")))]);
        let none = if reasons.iter().any(|reason| reason == "unreadable limit") { "unreadable" } else { "none" };
        vec![observation.range_low.map_or_else(|| none.to_owned(), |limit| limit.to_string())]
    };
    check(&Table::read("corpus", "limits.tsv"), &["want"], run);
}
