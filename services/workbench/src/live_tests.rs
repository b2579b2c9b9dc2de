//! Rows of a database that answers from short text: which are asked for, how a record is explained, what is counted as a gap.

use crate::{
    coverage::{self, Gap},
    explain,
    sample::{Question, Sample, Which},
    schema_text::tables,
};
use change::described::Described;
use mapping::Mapping;
use std::sync::Arc;

const MAPPING: &str = r#"system = "x"
revision = 1
zone = "Europe/London"
[[record]]
kind = "observation"
name = "result"
table = "s.result"
id = "line"
highest = "revision"
deleted_when = [{ column = "gone", is = true }]
patient = "person.id"
effective_at = "at"
status = { from = "state", words = { F = "final" }, rest = "unknown" }
[record.join.sample]
table = "s.sample"
on = { id = "sample" }
[record.join.person]
table = "s.person"
on = { id = "sample.person" }
[record.code]
text = "test"
codes = [{ system = "loinc", code = "loinc" }, { system = "local", code = "test" }]
[record.value]
text = "level"
unit = "unit"
"#;

const SCHEMA: &str = "
    s.person(id uuid key, name text)
    s.sample(id bigint key, person uuid)
    s.result(row_id bigint key, line bigint, revision integer, gone boolean, sample bigint, at timestamp with time zone, state text, test text, loinc text, level text, unit text, note text)";

const PERSON: &str = "8f3c0000-0000-4000-8000-000000000001";

fn mapping() -> Arc<Mapping> {
    Arc::new(mapping::parse("m.toml", MAPPING).expect("a mapping"))
}

/// Rows of a table as `column=value …`; a column that is not named is NULL.
type Rows = &'static [(&'static str, &'static str)];

const ROWS: Rows = &[
    (
        "\"s\".\"result\"",
        "row_id=1 line=50 revision=1 gone=t sample=7 state=F test=K loinc=2823-3 level=6.7 unit=mmol/L",
    ),
    (
        "\"s\".\"result\"",
        "row_id=2 line=50 revision=2 gone=f sample=7 state=F test=K loinc=2823-3 level=>6.0 unit=mmol/L at=2026-01-05_09:30:00+00",
    ),
    (
        "\"s\".\"result\"",
        "row_id=3 line=51 revision=1 gone=f sample=7 state=A test=K loinc=2823-3 level=4.1 unit=Banana",
    ),
    ("\"s\".\"result\"", "row_id=4 line=52 revision=1 gone=f sample=9 state=F test=QQ level=4.1 unit=mmol/L"),
    ("\"s\".\"result\"", "row_id=5 line=53 revision=1 gone=f sample=7 state=F test=QQ level=4.1 unit=mmol/L"),
    ("\"s\".\"sample\"", "id=7 person=8f3c0000-0000-4000-8000-000000000001"),
    ("\"s\".\"person\"", "id=8f3c0000-0000-4000-8000-000000000001 name=Hale"),
];

/// Which rows a question wants is not looked at, but for the record's identity.
fn answer(question: &Question, only: Option<&str>) -> Vec<Vec<Option<String>>> {
    let (columns, rest) =
        question.sql.strip_prefix("select ").and_then(|sql| sql.split_once(" from ")).expect("a select");
    let of_table = ROWS.iter().filter(|(table, _)| rest.starts_with(table));
    let wanted = of_table.filter(|(_, row)| only.is_none_or(|only| !row.contains("line=") || row.contains(only)));
    let cell = |row: &str, column: &str| {
        let mut cells = row.split(' ').filter_map(|cell| cell.split_once('='));
        cells.find(|(name, _)| *name == column.trim_matches('"')).map(|(_, value)| value.replace('_', " "))
    };
    wanted.map(|(_, row)| columns.split(", ").map(|column| cell(row, column)).collect()).collect()
}

/// The rows, and what was asked for them.
fn sampled<'a>(mapping: &'a Mapping, tables: &'a [Described], which: Which) -> (Sample<'a>, Vec<String>) {
    let only = match &which {
        Which::Id(id) => Some(format!("line={}", id[0])),
        Which::Some(_) => None,
    };
    let (mut sample, mut asked) = (Sample::new(mapping, 0, tables, which), Vec::new());
    while let Some(question) = sample.question() {
        asked.push(question.sql.clone());
        let answer = answer(&question, only.as_deref());
        sample.take(&question, answer);
    }
    (sample, asked)
}

fn explained(line: &str) -> String {
    let (mapping, tables) = (mapping(), tables(SCHEMA));
    let (sample, _) = sampled(&mapping, &tables, Which::Id(vec![line.to_owned()]));
    explain::explain(&mapping, ("lab", "RXX01"), &format!("result/{line}"), &sample).text()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn rows_are_asked_for_one_join_after_another_by_values_of_their_own_types() {
    let (mapping, tables) = (mapping(), tables(SCHEMA));
    let (_, asked) = sampled(&mapping, &tables, Which::Id(vec!["5'0\\".into()]));
    let [first] = asked.as_slice() else { panic!("without rows nothing is joined: {asked:?}") };
    // Nothing of a value is a part of the statement.
    assert!(
        first.ends_with(r#"from "s"."result" where "line" = any(array[E'5''0\\']::text[]::bigint[]) limit 50000"#),
        "{first}"
    );
    assert!(!first.contains("note"), "what the mapping does not read is not asked for: {first}");
    let (_, asked) = sampled(&mapping, &tables, Which::Id(vec!["50".into()]));
    let ends: Vec<&str> = asked.iter().filter_map(|sql| sql.split(" from ").nth(1)).collect();
    assert_eq!(
        ends[1..],
        [
            r#""s"."sample" where "id" = any(array[E'7']::text[]::bigint[]) limit 50000"#,
            &format!(r#""s"."person" where "id" = any(array[E'{PERSON}']::text[]::uuid[]) limit 50000"#),
        ]
    );
}

#[test]
fn an_event_is_explained_cell_by_cell() {
    let text = explained("50");
    says(
        &text,
        &[
            "s.result where line = 50: of 2 rows the one that counts",
            "sample: s.sample where id = sample (\"7\"): found",
            &format!("person: s.person where id = sample.person (\"{PERSON}\"): found"),
            "deleted_when: gone = \"false\" is true: does not hold",
            "effective_at: 2026-01-05T09:30:00Z\n    from at = \"2026-01-05T09:30:00\" (taken)",
            "status: \"final\"\n    from state = \"F\", in `words`: \"final\" (taken)",
            "value.text: \">6.0\"",
            &format!("recorded result/50 of {PERSON}"),
            "  value.comparator = \">\"",
        ],
    );
}

#[test]
fn why_there_is_no_event_is_said() {
    says(
        &explained("52"),
        &[
            "sample: s.sample where id = sample (\"9\"): no row",
            "person: s.person where id = sample.person (no row): no row",
            "quarantined missing patient: result/52, s.person",
        ],
    );
    says(&explained("99"), &["s.result where line = 99: no such row", "What came\n  nothing"]);
    // An item of line 5 is not one of line 50.
    says(
        &explained("51"),
        &["status: unknown: \"A\" is not listed", "quarantined unknown status: result/51, s.result.state"],
    );
}

#[test]
fn what_is_not_understood_is_counted_by_what_it_is_about() {
    let (mapping, tables) = (mapping(), tables(SCHEMA));
    let (sample, _) = sampled(&mapping, &tables, Which::Some(100));
    let covered = coverage::covered(&mapping, 0, &sample);
    assert_eq!((covered.rows, covered.events), (5, 3));
    let gaps: Vec<(String, usize)> =
        covered.gaps.iter().map(|(Gap { kind, about }, count)| (format!("{kind} {about}"), *count)).collect();
    let want = [
        ("code QQ QQ", 1),
        ("quarantine missing patient: s.person", 1),
        ("quarantine unknown status: s.result.state", 1),
        ("status A", 1),
        ("unit Banana of potassium", 1),
    ];
    assert_eq!(gaps, want.map(|(gap, count)| (gap.to_owned(), count)));
    // What few rows have may be one patient's.
    let (shown, hidden) = covered.shown(false);
    assert!(shown.iter().all(|(gap, _)| gap.kind == "quarantine") && hidden == 3);
    assert_eq!(covered.shown(true).0.len(), 5);
    let unread = coverage::unread(&mapping, &tables);
    let names: Vec<&str> = unread.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["s.person.name", "s.result.note", "s.result.row_id"]);
}
