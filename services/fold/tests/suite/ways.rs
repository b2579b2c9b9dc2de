//! Fields that say in several ways, and joins that filter, look up by name, and put rows together.

use crate::support::*;
use event::Body;
use fold::{Fold, Output};
use std::sync::Arc;

/// One kind of record of `s.root`, with these lines.
fn world(kind: &str, lines: &str) -> (World, Fold) {
    let text = format!(
        "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\n[[record]]\nkind = \"{kind}\"\nname = \"r\"\ntable = \"s.root\"\n\
         id = \"id\"\npatient = \"who\"\n{lines}\n"
    );
    let mapping = mapping::parse("test.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
    let world = World::of(Arc::new(mapping), "source");
    let fold = world.fold();
    (world, fold)
}

/// What the events of one transaction say, by the part that a test is about.
fn told(
    world: &mut World,
    fold: &mut Fold,
    steps: Vec<Step>,
    part: impl Fn(&event::PatientEvent) -> String,
) -> Vec<String> {
    let shown = |output: &Output| match output {
        Output::Event(event) => part(event),
        Output::Quarantined(item) => format!("{} {}", item.reason, item.detail),
    };
    fold.step(&world.transaction(steps)).iter().map(shown).collect()
}

fn text_of(event: &event::PatientEvent) -> String {
    let Body::Encounter(it) = &event.body else { return event.action.as_str().to_owned() };
    it.text.clone().unwrap_or_else(|| "-".into())
}

fn range_of(event: &event::PatientEvent) -> String {
    let Body::Observation(it) = &event.body else { return event.action.as_str().to_owned() };
    let shown = |it: Option<rust_decimal::Decimal>| it.map_or("-".into(), |it| it.to_string());
    format!("{} to {}", shown(it.range_low), shown(it.range_high))
}

#[test]
fn a_field_is_said_in_the_first_way_that_says_something() {
    let lines = r#"text = [
  { from = "a", when = [{ column = "kind", is = "N" }], words = { 1 = "one", 2 = "" }, rest = "as written" },
  "b",
  { expr = "kind == 'X' ? c + '!' : null" },
  { otherwise = "closed", when = [{ column = "kind", is = "Z" }] },
  { from = ["b", "c"], together = "/" },
]"#;
    let (mut world, mut fold) = world("encounter", lines);
    for (kind, a, b, c, want) in [
        ("N", "1", "b", "c", "one"),
        ("N", "7", "b", "c", "7"),
        // The cell was there: a word that means nothing ends the search.
        ("N", "2", "b", "c", "-"),
        ("N", "", "b", "c", "b"),
        ("M", "1", "b", "c", "b"),
        ("X", "1", "", "c", "c!"),
        ("Z", "1", "", "c", "closed"),
        ("M", "1", "", "c", "c"),
        ("M", "1", "", "", "-"),
    ] {
        let cells = [("id", i(1)), ("who", i(7)), ("kind", t(kind)), ("a", t(a)), ("b", t(b)), ("c", t(c))];
        let alone = world.delete("s.root", i(1));
        told(&mut world, &mut fold, vec![alone], text_of);
        let again = world.insert("s.root", &cells);
        assert_eq!(told(&mut world, &mut fold, vec![again], text_of), [want], "{kind} {a} {b} {c}");
    }
}

/// A number or the id of a dictionary's row in one column, by a type column: one record, whatever the type is.
#[test]
fn a_value_is_chosen_by_a_type_column_and_its_record_stays() {
    let lines = r#"status = { otherwise = "final" }
[record.join.term]
table = "s.joined"
on = { key = "value" }
[record.code]
text = { otherwise = "x" }
[record.value]
number = { from = "value", when = [{ column = "type", is = "N" }] }
text = { from = "term.name", when = [{ column = "type", is = "C" }] }"#;
    let (mut world, mut fold) = world("observation", lines);
    let row = |world: &World, kind: &str| {
        world.update("s.root", &[("id", i(1)), ("who", i(7)), ("value", t("5")), ("type", t(kind))])
    };
    let steps = vec![world.insert("s.joined", &[("key", i(5)), ("name", t("Positive"))]), row(&world, "N")];
    let all = world.tell(&mut fold, steps);
    assert!(all[0].starts_with("recorded r/1 of 7 1/1: x [-] 5 - text=-"), "{all:?}");
    let step = row(&world, "C");
    let all = world.tell(&mut fold, vec![step]);
    assert!(all[0].starts_with("corrected r/1 of 7 1/1: x [-] - - text=Positive"), "{all:?}");
}

#[test]
fn six_formats_of_one_column_and_a_zone_of_its_own() {
    let lines = r#"effective_at = { from = "at", zone = "UTC", format = ["%d/%m/%Y %H:%M", "%d-%b-%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y%m%d", "%d/%m/%Y", "%b %Y", "%Y"] }"#;
    let (mut world, mut fold) = world("encounter", lines);
    let at = |event: &event::PatientEvent| {
        let at = event.effective_at.and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
        format!("{} {:?}", at.map_or("-".into(), |at| at.to_string()), event.effective_precision)
    };
    for (number, (written, want)) in (1..).zip([
        // Summer in London: one hour earlier, if the zone were the file's.
        ("02/06/2024 10:30", "2024-06-02T10:30:00Z None"),
        ("02-Jun-2024 10:30:15", "2024-06-02T10:30:15Z None"),
        ("2024-06-02 10:30:15", "2024-06-02T10:30:15Z None"),
        ("20240602", "2024-06-02T00:00:00Z Some(Day)"),
        ("02/06/2024", "2024-06-02T00:00:00Z Some(Day)"),
        ("Jun 2024", "2024-06-01T00:00:00Z Some(Month)"),
        ("2024", "2024-01-01T00:00:00Z Some(Year)"),
    ]) {
        let row = world.insert("s.root", &[("id", i(number)), ("who", i(7)), ("at", t(written))]);
        assert_eq!(told(&mut world, &mut fold, vec![row], at), [want], "{written}");
    }
    let row = world.insert("s.root", &[("id", i(99)), ("who", i(7)), ("at", t("June 2nd"))]);
    assert_eq!(told(&mut world, &mut fold, vec![row], at), ["unreadable time s.root.at", "- None"]);
}

/// An identifier is that which was in force; which kind is the right one, the source's own dictionary says by name.
#[test]
fn an_identifier_is_found_by_its_kind_s_name_and_its_days() {
    let lines = r#"text = "alias.name"
[record.join.kind]
table = "s.third"
on = { name = { is = "MRN" } }
[record.join.alias]
table = "s.joined"
on = { person = "who", kind = "kind.key" }
only_when = [{ expr = "timestamp(begins) <= timestamp(row.at) && (!present(ends) || timestamp(ends) > timestamp(row.at))" }]"#;
    let (mut world, mut fold) = world("encounter", lines);
    let alias = |world: &World, key: i64, kind: i64, name: &str, begins: &str, ends: &str| {
        let days = [("begins", t(begins)), ("ends", t(ends))];
        world.insert(
            "s.joined",
            &[[("key", i(key)), ("person", i(7)), ("kind", i(kind)), ("name", t(name))].as_slice(), &days].concat(),
        )
    };
    let steps = vec![
        alias(&world, 1, 10, "old", "2020-01-01", "2024-06-01"),
        alias(&world, 2, 10, "new", "2024-06-01", "9999-12-31"),
        alias(&world, 3, 11, "other", "2020-01-01", "9999-12-31"),
        world.insert("s.root", &[("id", i(1)), ("who", i(7)), ("at", t("2024-05-31"))]),
        world.insert("s.root", &[("id", i(2)), ("who", i(7)), ("at", t("2024-06-01"))]),
        world.insert("s.root", &[("id", i(3)), ("who", i(7)), ("at", t("2019-06-01"))]),
    ];
    // Nobody knows which kind is meant yet.
    assert_eq!(told(&mut world, &mut fold, steps, text_of), ["-", "-", "-"]);
    let late = |world: &World, key: i64, name: &str| world.update("s.third", &[("key", i(key)), ("name", t(name))]);
    let step = late(&world, 11, "NHS");
    assert!(told(&mut world, &mut fold, vec![step], text_of).is_empty(), "a constant that nobody asks for");
    let step = late(&world, 10, "MRN");
    assert_eq!(told(&mut world, &mut fold, vec![step], text_of), ["old", "new"], "once for each that it touches");
    let step = late(&world, 10, "Visit");
    assert_eq!(told(&mut world, &mut fold, vec![step], text_of), ["-", "-"]);
}

/// Limits by sex and age: the row of the range table that fits the patient at that time.
#[test]
fn limits_follow_sex_and_age() {
    let lines = r#"status = { otherwise = "final" }
effective_at = "at"
range_low = "limits.low"
range_high = "limits.high"
[record.join.person]
table = "s.joined"
on = { key = "who" }
[record.join.limits]
table = "s.third"
on = { test = "test" }
only_when = [
  { any = [{ column = "sex", present = false }, { expr = "sex == person.sex" }] },
  { expr = "years(timestamp(person.born), timestamp(row.at)) >= from_age && years(timestamp(person.born), timestamp(row.at)) < to_age" },
]
highest = "sex"
[record.code]
text = { otherwise = "x" }
[record.value]
number = "value""#;
    let (mut world, mut fold) = world("observation", lines);
    let limit = |world: &World, key: i64, sex: Option<&str>, ages: (i64, i64), low: &str| {
        let sex = sex.map_or(change::Cell::Null, t);
        let ages = [("from_age", i(ages.0)), ("to_age", i(ages.1)), ("high", n("99"))];
        world.insert(
            "s.third",
            &[[("key", i(key)), ("test", t("Hb")), ("sex", sex), ("low", n(low))].as_slice(), &ages].concat(),
        )
    };
    let person = |world: &World, sex: &str| {
        world.update("s.joined", &[("key", i(7)), ("sex", t(sex)), ("born", t("2008-06-02"))])
    };
    let row = |world: &World, id: i64, at: &str| {
        world.insert("s.root", &[("id", i(id)), ("who", i(7)), ("test", t("Hb")), ("value", n("110")), ("at", t(at))])
    };
    let steps = vec![
        limit(&world, 1, None, (0, 16), "105"),
        limit(&world, 2, Some("F"), (16, 200), "115"),
        limit(&world, 3, Some("M"), (16, 200), "130"),
        person(&world, "F"),
        row(&world, 1, "2024-06-01"),
        row(&world, 2, "2024-06-02"),
    ];
    assert_eq!(told(&mut world, &mut fold, steps, range_of), ["105 to 99", "115 to 99"]);
    // The patient's sex is corrected: the limits of the adult follow, and those of the child stay.
    let step = person(&world, "M");
    assert_eq!(told(&mut world, &mut fold, vec![step], range_of), ["130 to 99"]);
}

/// Several notes of one result, and several answers of one question, each by the dictionary's word.
#[test]
fn several_rows_are_put_together_in_their_order() {
    let lines = r#"text = ["note.text", "word.name"]
[record.join.note]
table = "s.note"
on = { parent = "id" }
highest = "line"
together = " | "
only_when = [{ column = "kind", is = "note" }]
[record.join.answer]
table = "s.joined"
on = { parent = "id" }
together = ", "
[record.join.word]
table = "s.third"
on = { key = "answer.option" }"#;
    let (mut world, mut fold) = world("encounter", lines);
    let note = |world: &World, key: i64, line: i64, text: &str, kind: &str| {
        let cells = [("key", i(key)), ("parent", i(1)), ("line", i(line)), ("text", t(text)), ("kind", t(kind))];
        world.insert("s.note", &cells)
    };
    let answer = |world: &World, key: i64, option: i64| {
        world.insert("s.joined", &[("key", i(key)), ("parent", i(2)), ("option", i(option))])
    };
    let word = |world: &World, key: i64, name: &str| world.update("s.third", &[("key", i(key)), ("name", t(name))]);
    let steps = vec![
        note(&world, 1, 10, "third", "note"),
        note(&world, 2, 9, "second", "note"),
        note(&world, 3, 1, "first", "note"),
        note(&world, 4, 2, "not for readers", "audit"),
        answer(&world, 1, 20),
        answer(&world, 2, 21),
        answer(&world, 3, 22),
        word(&world, 20, "cough"),
        word(&world, 22, "fever"),
        world.insert("s.root", &[("id", i(1)), ("who", i(7))]),
        world.insert("s.root", &[("id", i(2)), ("who", i(7))]),
    ];
    assert_eq!(told(&mut world, &mut fold, steps, text_of), ["first | second | third", "cough, fever"]);
    let steps = vec![world.delete("s.note", i(2)), word(&world, 21, "rash")];
    assert_eq!(told(&mut world, &mut fold, steps, text_of), ["first | third", "cough, rash, fever"]);
    let many: Vec<Step> = (100..100 + i64::try_from(mapping::TOGETHER_MAX).expect("a count"))
        .map(|key| note(&world, key, key, "x", "note"))
        .collect();
    let all = told(&mut world, &mut fold, many, text_of);
    assert_eq!(all[0], "too many joined rows s.note");
    assert!(all[1].starts_with("first | third | x | ") && all[1].matches('x').count() == 98, "{all:?}");
}

/// Which system a row's code is of, the row says itself.
#[test]
fn code_systems_and_units_are_those_of_the_row() {
    let lines = r#"status = { otherwise = "final" }
[record.code]
text = "term"
codes = [
  { system = "snomed", code = { from = "code", when = [{ column = "system", is = "SCT" }] } },
  { system = "read-v2", code = { from = "code", when = [{ column = "system", is = "READ" }] } },
  { system = "local", code = "code" },
]
[record.value]
text = "value"
unit = "unit"
comparator = { from = "sign", words = { LT = "<", GT = ">" }, rest = "as written" }"#;
    let (mut world, mut fold) = world("observation", lines);
    for (id, system, code, unit, sign, want) in [
        (1, "SCT", "1000651000000109", "mmol/L", "", "potassium] 4.7 mmol/L"),
        (2, "READ", "44I4.", "mEq/L", "LT", "potassium] <4.7 mEq/L"),
        (3, "LAB", "44I4.", "mmol/L", ">", "-] >4.7 mmol/L"),
    ] {
        let cells = [
            ("term", t("K")),
            ("system", t(system)),
            ("code", t(code)),
            ("value", t("4.7")),
            ("unit", t(unit)),
            ("sign", t(sign)),
        ];
        let row = world.insert("s.root", &[[("id", i(id)), ("who", i(7))].as_slice(), &cells].concat());
        let all = world.tell(&mut fold, vec![row]);
        assert!(all[0].contains(want), "{system} {code}: {all:?}");
    }
}

#[test]
fn mistakes_of_joins_and_ways_are_told() {
    let text = r#"system = "x"
revision = 1
zone = "Europe/London"
[[record]]
kind = "encounter"
name = "r"
table = "s.root"
id = "id"
patient = "who"
text = ["a", ["b"], { from = "c", zone = "Mars" }]
effective_at = ["a", { expr = "1 + 1" }]
[record.join.k]
table = "s.joined"
on = { key = { is_not = 1 }, other = 5 }
only_when = [{ column = "later.x", is = 1 }]
[record.join.later]
table = "s.joined"
on = { key = "id" }
"#;
    let told: Vec<String> =
        mapping::parse("bad.toml", text).expect_err("mistakes").0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "bad.toml:10: record[1].text.zone: no such time zone: Mars",
            "bad.toml:10: record[1].text: expected a column or a table, not a list in a list",
            "bad.toml:11: record[1].effective_at.expr: expected a time, and the expression gives a number",
            "bad.toml:14: record[1].join.k.on.key.is: is missing",
            "bad.toml:14: record[1].join.k.on.key.is_not: no such key here; known are is",
            "bad.toml:14: record[1].join.k.on.other: expected the cell it equals, or `{ is = … }`",
            "bad.toml:15: record[1].join.k.only_when.column: no join `later` above; known are: ",
        ],
        "\n{}",
        told.join("\n")
    );
}
