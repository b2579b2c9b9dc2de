//! What holds of any history: the records depend on the final rows alone, not on how they came about.

use crate::support::*;
use change::{Cell, Change, Row};
use event::{Action, Body, PatientEvent};
use fold::{Fold, MISSING_PATIENT, Output};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, BTreeSet};

/// What a sink would hold: every record of every patient, by what was last said of it.
type Records = BTreeMap<(String, String), (Option<i64>, Body)>;

fn sink(outputs: &[Output]) -> Records {
    let mut records = Records::new();
    let mut last = BTreeMap::new();
    for output in outputs {
        let Output::Event(event) = output else { continue };
        let PatientEvent { patient, record, position, action, effective_at, body, part, .. } = &**event;
        assert!(part.index >= 1 && part.index <= part.of);
        let key = (patient.id.clone(), record.clone());
        // Sinks take an event only if it is beyond what they hold: nothing may come that they would drop.
        assert!(
            last.insert(key.clone(), *position).is_none_or(|before| before < *position),
            "an event that sinks drop"
        );
        match action {
            Action::Recorded => assert!(records.insert(key, (*effective_at, body.clone())).is_none(), "recorded twice"),
            Action::Corrected => {
                assert!(records.insert(key, (*effective_at, body.clone())).is_some(), "corrects nothing")
            }
            Action::Retracted => assert!(records.remove(&key).is_some(), "retracts nothing"),
        }
    }
    records
}

/// A row of a small hospital, by table, key, and whom it points to.
#[derive(Clone, Debug)]
pub enum Op {
    Put { table: usize, key: i64, link: i64, value: i64, active: bool },
    Delete { table: usize, key: i64 },
    Truncate { table: usize },
    Rekey { table: usize, from: i64, to: i64 },
}

pub const TABLES: [&str; 7] =
    ["pas.patient", "lims.order", "lims.specimen", "lims.sample", "lims.analysis", "lims.result", "lims.local_test"];
const DICTIONARY: usize = 6;
const VALUES: [&str; 6] = ["4.7", ">6.0", "Haemolysed", "NaN", "0,900", ""];

pub fn op() -> impl Strategy<Value = Op> {
    let put = (0..TABLES.len(), 0..3_i64, 0..3_i64, 0..6_i64, prop::bool::weighted(0.8));
    prop_oneof![
        12 => put.prop_map(|(table, key, link, value, active)| Op::Put { table, key, link, value, active }),
        3 => (0..DICTIONARY, 0..3_i64).prop_map(|(table, key)| Op::Delete { table, key }),
        1 => (0..DICTIONARY).prop_map(|table| Op::Truncate { table }),
        2 => (0..DICTIONARY, 0..3_i64, 0..3_i64).prop_map(|(table, from, to)| Op::Rekey { table, from, to }),
    ]
}

fn cells(table: usize, key: i64, link: i64, value: i64, active: bool) -> Vec<(&'static str, Cell)> {
    match table {
        0 => vec![
            ("person_id", n(&key.to_string())),
            ("family_name", t(VALUES[1])),
            ("active_ind", i(i64::from(active))),
        ],
        1 => vec![("order_id", i(key)), ("person_id", n(&link.to_string()))],
        2 => vec![("specimen_id", i(key)), ("order", i(link)), ("accession", t(&format!("A{value}")))],
        3 => vec![("sample_id", i(key)), ("specimen_id", i(link))],
        4 => vec![("analysis_id", i(key)), ("sample_id", i(link))],
        5 => vec![
            ("result_id", i(key)),
            // Two rows may be revisions of one line.
            ("line_id", i(value % 2)),
            ("analysis_id", i(link)),
            ("test_code", t(&link.to_string())),
            ("value", t(VALUES[usize::try_from(value).unwrap_or_default()])),
            ("unit_text", t(if value == 3 { "Banana" } else { "mmol/L" })),
            ("status", t("final")),
            ("revision", i(value)),
            ("is_active", b(active)),
        ],
        _ => vec![("test_code", t(&key.to_string())), ("name", t(&format!("Test {value}"))), ("loinc", t("2823-3"))],
    }
}

fn key_cells(table: usize, key: i64) -> Vec<(&'static str, Cell)> {
    cells(table, key, 0, 0, true).into_iter().take(1).collect()
}

/// The database beside the log: the rows as they are in the end.
#[derive(Default)]
pub struct Tables(pub BTreeMap<(usize, i64), Row>);

impl Tables {
    /// The change that the database would log for this operation, if it does anything.
    fn apply(&mut self, world: &World, op: &Op) -> Option<Step> {
        let change = match *op {
            Op::Put { table, key, link, value, active } => {
                let new = world.row(TABLES[table], &cells(table, key, link, value, active));
                match self.0.insert((table, key), new.clone()) {
                    Some(_) => (table, Change::Update { old: None, new }),
                    None => (table, Change::Insert { new }),
                }
            }
            Op::Delete { table, key } => {
                self.0.remove(&(table, key))?;
                (table, Change::Delete { old: Some(world.row(TABLES[table], &key_cells(table, key))) })
            }
            Op::Truncate { table } => {
                self.0.retain(|(of, _), _| *of != table);
                (table, Change::Truncate)
            }
            Op::Rekey { table, from, to } => {
                if from == to || self.0.contains_key(&(table, to)) {
                    return None;
                }
                let row = self.0.remove(&(table, from))?;
                let place = row.schema().key_columns().next().map(|(place, _)| place)?;
                let mut cells = row.cells().to_vec();
                cells[place] = key_cells(table, to)[0].1.clone();
                let new = Row::new(row.schema().clone(), cells)?;
                self.0.insert((table, to), new.clone());
                (table, Change::Update { old: Some(world.row(TABLES[table], &key_cells(table, from))), new })
            }
        };
        Some((TABLES[change.0], change.1))
    }
}

/// A history cut into transactions of these sizes.
pub fn history(world: &mut World, ops: &[Op], cuts: &[usize], tables: &mut Tables) -> Vec<Vec<change::Entry>> {
    let mut steps: Vec<Step> = ops.iter().filter_map(|op| tables.apply(world, op)).collect();
    let mut transactions = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while !steps.is_empty() {
        let size = (*cuts.next().unwrap_or(&1)).min(steps.len());
        let rest = steps.split_off(size);
        transactions.push(world.transaction(steps));
        steps = rest;
    }
    transactions
}

pub fn told(fold: &mut Fold, transactions: &[Vec<change::Entry>]) -> Vec<Output> {
    transactions.iter().flat_map(|transaction| fold.step(transaction)).collect()
}

/// The final rows in one transaction, in any order.
fn at_once(world: &mut World, tables: Tables, backwards: bool) -> Vec<Vec<change::Entry>> {
    let mut steps: Vec<Step> =
        tables.0.into_iter().map(|((table, _), new)| (TABLES[table], Change::Insert { new })).collect();
    if backwards {
        steps.reverse();
    }
    vec![world.transaction(steps)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn records_depend_on_the_final_rows_alone(
        ops in vec(op(), 1..60),
        cuts in vec(1..8_usize, 1..6),
        backwards in any::<bool>(),
    ) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let mut tables = Tables::default();
        let transactions = history(&mut world, &ops, &cuts, &mut tables);
        let by_history = sink(&told(&mut world.fold(), &transactions));
        let once = at_once(&mut world, tables, backwards);
        let by_rows = sink(&told(&mut world.fold(), &once));
        prop_assert_eq!(by_history, by_rows);
    }

    #[test]
    fn a_log_read_again_says_the_same(ops in vec(op(), 1..40), cuts in vec(1..8_usize, 1..6), outputs_max in 1..5_usize) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let transactions = history(&mut world, &ops, &cuts, &mut Tables::default());
        let first = told(&mut world.fold(), &transactions);
        // Settled in small bites, as the shell does it.
        let mut fold = world.fold();
        let mut second = Vec::new();
        for entry in transactions.iter().flatten() {
            if fold.apply(entry) {
                while !fold.settled() {
                    second.extend(fold.settle(outputs_max));
                }
            }
        }
        prop_assert_eq!(&first, &second);
        let ids: Vec<String> = first.iter().filter_map(|output| match output {
            Output::Event(event) => Some(event.id()),
            Output::Quarantined(_) => None,
        }).collect();
        prop_assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "no id twice");
    }

    /// Nothing vanishes: a living row is in a record, or was put into quarantine.
    #[test]
    fn every_living_line_is_a_record_or_waits(ops in vec(op(), 1..60), cuts in vec(1..8_usize, 1..6)) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let mut tables = Tables::default();
        let transactions = history(&mut world, &ops, &cuts, &mut tables);
        let outputs = told(&mut world.fold(), &transactions);
        let records = sink(&outputs);
        let waited = outputs.iter().any(|output| matches!(output, Output::Quarantined(item) if item.reason == MISSING_PATIENT));
        for ((table, _), row) in &tables.0 {
            if *table != 5 || row.get("is_active") != Some(&b(true)) {
                continue;
            }
            let line = if row.get("line_id") == Some(&i(0)) { "result/0" } else { "result/1" };
            let shown = records.keys().any(|(_, record)| record == line);
            prop_assert!(shown || waited, "{line} is nowhere");
        }
    }
}
