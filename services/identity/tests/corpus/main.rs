//! The hostile corpus (`corpus/*.tsv`): names, postcodes and birth dates as nobody should write them, and what is decided
//! of two records that bear them. What is expected is reasoned from docs/identity.md, never taken from what came.

#[path = "../../../fold/corpus/table.rs"]
mod table;

use change::avro::value::days_of_civil;
use event::LinkStatus;
use identity::{
    Known,
    compare::{Field, compare},
    decide_group,
    names::Name,
};
use table::{Row, Table, check};
use uuid::Uuid;

const FILES: [(&str, &[&str], usize); 3] =
    [("names.tsv", &NAMES, 100), ("postcodes.tsv", &["want"], 25), ("birth-dates.tsv", &["want"], 15)];
const NAMES: [&str; 3] = ["across", "within", "weighed"];

#[test]
fn the_corpus_is_as_large_as_it_says_and_says_nothing_twice() {
    for (file, expected, least) in FILES {
        let count = Table::read("corpus", file).count(expected);
        assert!(count >= least, "{file} has {count} rows, of at least {least}");
    }
}

fn known(seen: i64, source: &str, name: &str) -> Known {
    let (given, family) = name.split_once('/').expect("forenames/surname");
    Known {
        source: source.into(),
        id: seen.to_string(),
        seen,
        own: Uuid::from_u128(seen.cast_unsigned().into()),
        nhs_number: Some("9434765919".into()),
        verified: true,
        birth_date: Some(5_271),
        name: Name::new(Some(given), Some(family)),
        gender: Some("male".into()),
        ..Known::default()
    }
}

/// What becomes of two who share a verified number, whichever is seen first.
fn decided(one: Known, other: Known) -> &'static str {
    let status = |group: [Known; 2]| -> Vec<LinkStatus> { decide_group(&group).iter().map(|it| it.status).collect() };
    let told = status([one.clone(), other.clone()]);
    assert_eq!(told, status([other, one]), "the other way round");
    match told[..] {
        [LinkStatus::Linked, LinkStatus::Linked] => "linked",
        [LinkStatus::Held, LinkStatus::Held] => "held",
        _ => "half",
    }
}

#[test]
fn names() {
    let run = |row: Row<'_>| {
        let (one, other) = (row.get("one"), row.get("other"));
        let levels = compare(&known(1, "gp", one), &known(2, "hospital", other));
        assert_eq!(levels, compare(&known(2, "hospital", other), &known(1, "gp", one)), "the other way round");
        let weighed = match levels.name(Field::Given) {
            None => "-",
            Some("exact") => "same",
            Some(known @ ("short_form" | "initial" | "swapped")) => known,
            Some(_) => "differ",
        };
        vec![
            decided(known(1, "gp", one), known(2, "hospital", other)).to_owned(),
            decided(known(1, "gp", one), known(2, "gp", other)).to_owned(),
            weighed.to_owned(),
        ]
    };
    check(&Table::read("corpus", "names.tsv"), &NAMES, run);
}

/// The level of one field of two records that differ in nothing else.
fn level(field: Field, told: impl Fn(&str) -> Known, row: Row<'_>) -> Vec<String> {
    let (one, other) = (told(row.get("one")), told(row.get("other")));
    let name = compare(&one, &other).name(field);
    assert_eq!(name, compare(&other, &one).name(field), "the other way round");
    vec![name.unwrap_or("-").to_owned()]
}

#[test]
fn postcodes() {
    let told = |postcode: &str| Known { postcode: Some(postcode.into()), ..Known::default() };
    check(&Table::read("corpus", "postcodes.tsv"), &["want"], |row| level(Field::Postcode, told, row));
}

#[test]
fn birth_dates() {
    let told = |date: &str| {
        let parts: Vec<i64> = date.split('-').filter_map(|part| part.parse().ok()).collect();
        let day = match parts[..] {
            [year, month, day] => i32::try_from(days_of_civil(year, month, day)).ok(),
            _ => None,
        };
        Known { birth_date: day, ..Known::default() }
    };
    check(&Table::read("corpus", "birth-dates.tsv"), &["want"], |row| level(Field::Birth, told, row));
}
