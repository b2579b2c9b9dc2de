//! A case through the fold.

use super::{Case, Entry, Op, Source, Written};
use change::{Change, Column, ColumnType, Lsn, Position, Row, TableId, TableSchema};
use fold::{Fold, Output};
use mapping::Mapping;
use std::{collections::BTreeMap, sync::Arc};

/// 2026-01-01T00:00:00Z: a case knows no other time than that of its rows.
const COMMITTED_AT: i64 = 1_767_225_600_000_000;
const COMMIT_BYTES: u64 = 0x10;
const SNAPSHOT: &str = "first";

/// What comes of each transaction.
pub fn run(mapping: &Arc<Mapping>, source: &Source, case: &Case) -> Vec<Vec<Entry>> {
    let mut log = Log::new(mapping, source, case);
    if !source.changes.is_empty() {
        log.transaction(&source.changes);
    }
    let told = |outputs: Vec<Output>| outputs.iter().map(Entry::of).collect();
    let each = case.transactions.iter().map(|transaction| {
        let outputs = if transaction.snapshot {
            log.snapshot(&transaction.changes)
        } else {
            log.transaction(&transaction.changes)
        };
        told(outputs)
    });
    each.collect()
}

struct Log {
    fold: Fold,
    schemas: BTreeMap<String, Arc<TableSchema>>,
    commit: u64,
    offset: i64,
}

impl Log {
    fn new(mapping: &Arc<Mapping>, source: &Source, case: &Case) -> Self {
        let fold = Fold::new(mapping.clone(), &source.name, &source.organisation);
        let written = case.transactions.iter().flat_map(|it| &it.changes).chain(&source.changes);
        let tables = written.map(|change| change.table.as_str());
        let schemas = tables.map(|table| (table.to_owned(), schema(mapping, source, table))).collect();
        Self { fold, schemas, commit: COMMIT_BYTES, offset: 0 }
    }

    fn transaction(&mut self, changes: &[Written]) -> Vec<Output> {
        let entries = self.entries(changes, false);
        self.fold.step(&entries)
    }

    fn snapshot(&mut self, changes: &[Written]) -> Vec<Output> {
        let mut tables: Vec<String> = changes.iter().map(|change| change.table.clone()).collect();
        tables.sort_unstable();
        tables.dedup();
        self.fold.begin_snapshot(SNAPSHOT, &tables, Position::new(1, Lsn(self.commit), 1));
        let entries = self.entries(changes, true);
        let mut outputs = self.fold.step(&entries);
        let at = (Position::new(1, Lsn(self.commit), changes.len() as u64 + 1), self.offset);
        self.fold.end_snapshot(SNAPSHOT, &tables, false, at, COMMITTED_AT);
        outputs.extend(self.fold.settle(usize::MAX));
        outputs
    }

    fn entries(&mut self, changes: &[Written], snapshot: bool) -> Vec<change::Entry> {
        self.commit += COMMIT_BYTES;
        let (commit, last) = (self.commit, changes.len());
        let mut entries = Vec::new();
        for (written, ordinal) in changes.iter().zip(1_usize..) {
            let schema = self.schemas[&written.table].clone();
            self.offset += 1;
            entries.push(change::Entry {
                position: Position::new(1, Lsn(commit), ordinal as u64),
                offset: self.offset,
                change: change(written, &schema, snapshot),
                table: Some(schema),
                committed_at: COMMITTED_AT,
                commit_end: (ordinal == last && !snapshot).then_some(Lsn(commit + 8)),
                traceparent: None,
                origin: None,
            });
        }
        entries
    }
}

/// The columns that the mapping reads, and the key.
fn schema(mapping: &Mapping, source: &Source, table: &str) -> Arc<TableSchema> {
    let (schema, name) = table.split_once('.').unwrap_or_default();
    let table_id = TableId { schema: schema.into(), name: name.into() };
    let read = mapping.table(&table_id).map_or(&[][..], |place| &mapping.tables[place].columns);
    let key = source.keys.get(table).map_or(&[][..], Vec::as_slice);
    let is_key = |column: &str| key.iter().any(|known| known == column);
    let column = |name: &Arc<str>| Column { name: name.clone(), kind: ColumnType::Text, key: is_key(name) };
    let mut columns: Vec<Column> = read.iter().map(column).collect();
    let more = key.iter().filter(|name| !read.iter().any(|known| **known == ***name));
    columns.extend(more.map(|name| column(&Arc::from(name.as_str()))));
    Arc::new(TableSchema { table: table_id, columns })
}

fn change(written: &Written, schema: &Arc<TableSchema>, snapshot: bool) -> Change {
    let cell = |column: &Column| {
        let cell = written.row.iter().find(|(name, _)| *name == *column.name);
        cell.map_or(change::Cell::Null, |(_, cell)| cell.clone())
    };
    let row = || Row::new(schema.clone(), schema.columns.iter().map(cell).collect());
    match (written.op, row()) {
        (Op::Insert, Some(new)) if snapshot => Change::Snapshot { new },
        (Op::Insert, Some(new)) => Change::Insert { new },
        (Op::Update, Some(new)) => Change::Update { old: None, new },
        (Op::Delete, old) => Change::Delete { old },
        // A row has as many cells as its schema has columns.
        (Op::Truncate, _) | (Op::Insert | Op::Update, None) => Change::Truncate,
    }
}
