//! A table without a key, with REPLICA IDENTITY FULL: updates and deletes tell the whole old row.

use crate::support::*;
use change::{Change, Column, Entry, Position, Row, TableSchema};
use fold::Fold;
use proptest::{collection::vec, prelude::*};
use std::{collections::BTreeMap, sync::Arc};

const MAPPING: &str = r#"
system = "x"
revision = 1
zone = "Europe/London"
[[record]]
kind = "observation"
name = "reading"
table = "s.heap"
id = "line"
highest = "reading"
patient = "who"
status = { otherwise = "final" }
[record.value]
text = "reading"
[record.code]
text = { otherwise = "Reading" }
"#;

fn world() -> World {
    World::of(Arc::new(mapping::parse("test.toml", MAPPING).expect("a mapping")), "source")
}

fn row(world: &World, line: i64, reading: i64) -> Row {
    world.row("s.heap", &[("line", i(line)), ("who", i(7)), ("reading", t(&reading.to_string()))])
}

fn insert(world: &World, line: i64, reading: i64) -> Step {
    ("s.heap", Change::Insert { new: row(world, line, reading) })
}

fn update(world: &World, old: (i64, i64), new: (i64, i64)) -> Step {
    ("s.heap", Change::Update { old: Some(row(world, old.0, old.1)), new: row(world, new.0, new.1) })
}

fn delete(world: &World, line: i64, reading: i64) -> Step {
    ("s.heap", Change::Delete { old: Some(row(world, line, reading)) })
}

#[test]
fn an_update_and_a_delete_find_the_row() {
    let mut world = world();
    let mut fold = world.fold();
    let said = |action: &str, reading: &str| {
        let rest = "of 7 1/1: Reading [-]";
        format!("{action} reading/1 {rest} {reading} - text=- canonical=- Final unchecked=unknown code")
    };
    let step = insert(&world, 1, 4);
    assert_eq!(world.tell(&mut fold, vec![step]), [said("recorded", "4")]);
    // Lower than before: a row that was left behind would be the highest.
    let step = update(&world, (1, 4), (1, 3));
    assert_eq!(world.tell(&mut fold, vec![step]), [said("corrected", "3")]);
    assert_eq!(fold.rows(), 1);
    // Two rows that are alike, and one of them goes.
    let steps = vec![insert(&world, 1, 3), delete(&world, 1, 3)];
    assert_eq!(world.tell(&mut fold, steps), Vec::<String>::new());
    assert_eq!(fold.rows(), 1);
    let step = delete(&world, 1, 3);
    assert_eq!(world.tell(&mut fold, vec![step]), ["retracted reading/1 of 7 1/1"]);
    assert_eq!(fold.rows(), 0);
}

/// The same row, told by its line.
fn keyed(world: &World, line: i64, reading: i64) -> Row {
    let row = row(world, line, reading);
    let columns = row.schema().columns.iter().map(|column| Column { key: *column.name == *"line", ..column.clone() });
    let schema = TableSchema { table: row.schema().table.clone(), columns: columns.collect() };
    Row::new(Arc::new(schema), row.cells().to_vec()).expect("as many cells as columns")
}

/// An index goes, and another comes: the table is read again whenever its rows are told by another key.
#[test]
fn a_row_stands_once_whatever_it_is_told_by() {
    let mut world = world();
    let mut fold = world.fold();
    let said = |line: i64, reading: &str| {
        format!(
            "corrected reading/{line} of 7 1/1: Reading [-] {reading} - text=- canonical=- Final unchecked=unknown code"
        )
    };
    let steps =
        [(1, 4), (2, 5)].map(|(line, reading)| ("s.heap", Change::Insert { new: keyed(&world, line, reading) }));
    world.tell(&mut fold, steps.into());
    let step = insert(&world, 3, 6);
    world.tell(&mut fold, vec![step]);
    let step = ("s.heap", Change::Update { old: None, new: keyed(&world, 3, 2) });
    world.tell(&mut fold, vec![step]);
    assert_eq!(fold.rows(), 4, "under its key, and without one");
    let rows = [(1, 4), (2, 5), (3, 2)].map(|(line, reading)| keyed(&world, line, reading));
    let told = read(&mut world, &mut fold, rows.into());
    assert_eq!((fold.rows(), told), (3, vec![said(3, "2")]), "the highest was a row that is not there");

    // Without a key, with the whole old row.
    let step = delete(&world, 2, 5);
    let heap = [(1, 4), (2, 5), (3, 2)];
    assert_eq!(snapshot(&mut world, &mut fold, &heap), Vec::<String>::new());
    assert_eq!(world.tell(&mut fold, vec![step]), ["retracted reading/2 of 7 1/1"]);
    let step = update(&world, (1, 4), (1, 3));
    assert_eq!(world.tell(&mut fold, vec![step]), [said(1, "3")]);
    assert_eq!(fold.rows(), 2);

    let rows = [(1, 3), (3, 2)].map(|(line, reading)| keyed(&world, line, reading));
    assert_eq!(read(&mut world, &mut fold, rows.into()), Vec::<String>::new());
    let step = ("s.heap", Change::Delete { old: Some(keyed(&world, 3, 2)) });
    assert_eq!(world.tell(&mut fold, vec![step]), ["retracted reading/3 of 7 1/1"]);
    assert_eq!(fold.rows(), 1);
}

/// What a sink would hold, from the fold's own words: the last that was said of each record.
fn held(told: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for line in told {
        let (action, rest) = line.split_once(' ').expect("an action");
        let (record, rest) = rest.split_once(' ').expect("a record");
        match action {
            "retracted" => held.remove(record),
            _ => held.insert(record.to_owned(), rest.to_owned()),
        };
    }
    held
}

/// The rows that are there, as a heap holds them.
fn play(world: &World, heap: &mut Vec<(i64, i64)>, (what, at, line, reading): (u8, usize, i64, i64)) -> Option<Step> {
    match (what, heap.len()) {
        (0, _) | (_, 0) => {
            heap.push((line, reading));
            Some(insert(world, line, reading))
        }
        (1, count) => {
            let old = std::mem::replace(&mut heap[at % count], (line, reading));
            Some(update(world, old, (line, reading)))
        }
        (_, count) => {
            let old = heap.remove(at % count);
            Some(delete(world, old.0, old.1))
        }
    }
}

fn snapshot(world: &mut World, fold: &mut Fold, heap: &[(i64, i64)]) -> Vec<String> {
    let rows = heap.iter().map(|(line, reading)| row(world, *line, *reading)).collect();
    read(world, fold, rows)
}

fn read(world: &mut World, fold: &mut Fold, rows: Vec<Row>) -> Vec<String> {
    let tables = ["s.heap".to_owned()];
    fold.begin_snapshot("s", &tables, world.between().0);
    let steps = rows.into_iter().map(|new| ("s.heap", Change::Snapshot { new })).collect();
    let entries: Vec<Entry> = world.transaction(steps);
    for entry in &entries {
        fold.apply(entry);
    }
    let end = world.transaction(vec![("s.heap", Change::Message { prefix: "x".into(), content: Vec::new() })]);
    let position: Position = end[0].position;
    fold.end_snapshot("s", &tables, false, (position, end[0].offset), end[0].committed_at);
    fold.settle(usize::MAX).iter().map(shown).collect()
}

proptest! {
    #[test]
    fn as_many_rows_as_the_heap_holds(
        ops in vec((0..3_u8, any::<usize>(), 0..2_i64, 0..3_i64), 1..40),
        lost in vec((0..3_u8, any::<usize>(), 0..2_i64, 0..3_i64), 0..10),
        more in vec((0..3_u8, any::<usize>(), 0..2_i64, 0..3_i64), 0..20),
    ) {
        let mut world = world();
        let mut fold = world.fold();
        let mut heap = Vec::new();
        let mut told = Vec::new();
        for op in ops {
            let step = play(&world, &mut heap, op);
            told.extend(world.tell(&mut fold, step.into_iter().collect()));
            prop_assert_eq!(fold.rows(), heap.len());
        }
        // What the log lost, a snapshot brings.
        for op in lost {
            play(&world, &mut heap, op);
        }
        told.extend(snapshot(&mut world, &mut fold, &heap));
        prop_assert_eq!(fold.rows(), heap.len());
        for op in more {
            let step = play(&world, &mut heap, op);
            told.extend(world.tell(&mut fold, step.into_iter().collect()));
            prop_assert_eq!(fold.rows(), heap.len());
        }
        let steps = heap.iter().map(|(line, reading)| insert(&world, *line, *reading)).collect();
        let mut fresh = world.fold();
        let at_once = world.tell(&mut fresh, steps);
        // Parts of a group are no part of what is held.
        let content = |held: BTreeMap<String, String>| -> Vec<(String, String)> {
            held.into_iter().map(|(record, rest)| (record, rest.split_once(": ").map_or(String::new(), |(_, body)| body.to_owned()))).collect()
        };
        prop_assert_eq!(content(held(told)), content(held(at_once)));
    }
}
