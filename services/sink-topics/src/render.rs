//! What a change is on its table's topic: its bytes as they are in the log, placeholders for large values that the log
//! left out, and a tombstone behind a deletion.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::error::TopicsError;
use change::{
    Cell, Change, ColumnType, Entry, Row, Value,
    avro::{EnvelopePlan, value},
};
use change_log::{Whole, frame};
use rdkafka::Message;
use std::{borrow::Cow, sync::Arc};

/// What Debezium writes for a value that the log left out.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// The same where only a UUID has room: the version 3 UUID of its bytes.
const UNAVAILABLE_UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";

/// One record of a topic.
#[derive(Debug, PartialEq, Eq)]
pub struct Output<'a> {
    /// None of a row without a key, and of a truncation.
    pub key: Option<&'a [u8]>,
    /// None of a tombstone.
    pub value: Option<Cow<'a, [u8]>>,
}

impl Output<'_> {
    pub const fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }
}

/// The records of one change, in their order.
pub fn render<'a>(entry: &Entry, whole: &'a Whole) -> Result<Vec<Output<'a>>, TopicsError> {
    let bytes = whole.message.payload().unwrap_or_default();
    records(&entry.change, whole.plan.as_deref(), whole.message.key(), bytes)
}

fn records<'a>(
    change: &Change,
    plan: Option<&EnvelopePlan>,
    key: Option<&'a [u8]>,
    bytes: &'a [u8],
) -> Result<Vec<Output<'a>>, TopicsError> {
    // In the log, rows without a key and truncations are keyed by their position.
    let key = key.filter(|key| frame::unwrap(key).is_ok());
    let value = match (change, plan) {
        (Change::Snapshot { new } | Change::Insert { new } | Change::Update { new, .. }, Some(plan))
            if new.cells().contains(&Cell::Unchanged) =>
        {
            Cow::Owned(with_placeholders(plan, bytes, new)?)
        }
        _ => Cow::Borrowed(bytes),
    };
    let mut outputs = vec![Output { key, value: Some(value) }];
    if matches!(change, Change::Delete { .. }) && key.is_some() {
        outputs.push(Output { key, value: None });
    }
    Ok(outputs)
}

/// The envelope with another row `after`.
fn with_placeholders(plan: &EnvelopePlan, bytes: &[u8], new: &Row) -> Result<Vec<u8>, TopicsError> {
    let datum = bytes.get(frame::HEADER_BYTES..).unwrap_or_default();
    let Some(after) = plan.after_in(datum)? else { return Ok(bytes.to_vec()) };
    let cells = new.cells().iter().zip(&new.schema().columns).map(|(cell, column)| match cell {
        Cell::Unchanged => placeholder(&column.kind).map_or(Cell::Null, Cell::Value),
        cell => cell.clone(),
    });
    let Some(row) = Row::new(Arc::clone(new.schema()), cells.collect()) else { return Ok(bytes.to_vec()) };
    let mut out = Vec::with_capacity(bytes.len() + UNAVAILABLE.len());
    out.extend_from_slice(&bytes[..frame::HEADER_BYTES + after.start]);
    // What the column's type cannot hold is null here as it is in the log.
    value::write_row(&mut out, &row, &mut Vec::new());
    out.extend_from_slice(&datum[after.end..]);
    Ok(out)
}

/// None where the column's type has no room for one: the value is null then.
fn placeholder(kind: &ColumnType) -> Option<Value> {
    let codes = || UNAVAILABLE.bytes().map(|byte| Some(Value::Int(i64::from(byte)))).collect();
    Some(match kind {
        ColumnType::Text
        | ColumnType::Json
        | ColumnType::Xml
        | ColumnType::Ltree
        | ColumnType::Tsvector
        | ColumnType::Flagged { .. } => Value::Text(UNAVAILABLE.to_owned()),
        // Its one key and this key's value.
        ColumnType::Hstore => Value::Text(format!("{{\"{UNAVAILABLE}\":\"{UNAVAILABLE}\"}}")),
        ColumnType::Bytes => Value::Bytes(UNAVAILABLE.as_bytes().to_vec()),
        // Debezium's placeholder in numbers: its bytes.
        ColumnType::Array(element) if matches!(**element, ColumnType::Int32 | ColumnType::Int64) => {
            Value::Array(codes())
        }
        ColumnType::Array(element) if **element == ColumnType::Date => {
            Value::Array(UNAVAILABLE.bytes().map(|byte| Some(Value::Date(i32::from(byte)))).collect())
        }
        ColumnType::Array(element) if **element == ColumnType::Uuid => {
            Value::Array(vec![Some(Value::Text(UNAVAILABLE_UUID.to_owned()))])
        }
        ColumnType::Array(element) => Value::Array(vec![Some(placeholder(element)?)]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::{
        Column, TableId, TableSchema,
        avro::{Folded, envelope, schema, wire},
    };

    const FRAMED_KEY: &[u8] = b"\0\0\0\0\x07\x02";

    fn table() -> Arc<TableSchema> {
        let column = |name: &str, kind, key| Column { name: name.into(), kind, key };
        let columns = vec![
            column("id", ColumnType::Int32, true),
            column("note", ColumnType::Text, false),
            column("scan", ColumnType::Bytes, false),
            column("tags", ColumnType::Array(Arc::new(ColumnType::Text)), false),
            column("codes", ColumnType::Array(Arc::new(ColumnType::Int32)), false),
            column("amount", ColumnType::Numeric, false),
            column("store", ColumnType::Hstore, false),
            column("days", ColumnType::Array(Arc::new(ColumnType::Date)), false),
            column("names", ColumnType::Array(Arc::new(ColumnType::Uuid)), false),
        ];
        Arc::new(TableSchema { table: TableId { schema: "s".into(), name: "t".into() }, columns })
    }

    fn row(cells: Vec<Cell>) -> Row {
        Row::new(table(), cells).expect("as many cells as columns")
    }

    fn large_unchanged() -> Row {
        let mut cells = vec![Cell::Value(Value::Int(7))];
        cells.resize(table().columns.len(), Cell::Unchanged);
        row(cells)
    }

    fn envelope_of(before: Option<&Row>, after: Option<&Row>, operation: &str) -> Vec<u8> {
        let mut out = frame::wrap(9, &[]);
        for row in [before, after] {
            out.push(if row.is_some() { wire::SOME } else { wire::NULL });
            row.into_iter().for_each(|row| value::write_row(&mut out, row, &mut Vec::new()));
        }
        let mut head = envelope::Head::default();
        let block = envelope::SourceBlock {
            version: "1",
            connector: "postgresql",
            name: "gp",
            db: "d",
            schema: "s",
            table: "t",
        };
        head.set(&block, 5_000, false, Some(3));
        head.write(&mut out, 77);
        envelope::transaction(&mut out, "3:77", 1, 1);
        envelope::tail(&mut out, operation, 6_000);
        out
    }

    fn plan() -> EnvelopePlan {
        EnvelopePlan::compile(&schema::of_table("gp", &table()).envelope).expect("an envelope")
    }

    #[test]
    fn unchanged_values_are_debeziums_placeholders_and_the_rest_stays() {
        let (plan, new) = (plan(), large_unchanged());
        let mut old = vec![Cell::Value(Value::Int(7))];
        old.resize(table().columns.len(), Cell::Null);
        let old = row(old);
        for before in [None, Some(&old)] {
            let bytes = envelope_of(before, Some(&new), "u");
            let change = Change::Update { old: before.cloned(), new: new.clone() };
            let outputs = records(&change, Some(&plan), Some(FRAMED_KEY), &bytes).expect("rendered");
            let [Output { key: Some(FRAMED_KEY), value: Some(value) }] = &outputs[..] else { panic!("one record") };
            let told = plan.decode(&value[frame::HEADER_BYTES..], &Folded::default()).expect("an envelope");
            let Change::Update { new: told, .. } = told.change else { panic!("an update") };
            let text = || Value::Text(UNAVAILABLE.into());
            let codes = UNAVAILABLE.bytes().map(|byte| Some(Value::Int(byte.into()))).collect();
            assert!(told.cells()[1] == Cell::Value(text()));
            assert!(told.cells()[2] == Cell::Value(Value::Bytes(UNAVAILABLE.into())));
            assert!(told.cells()[3] == Cell::Value(Value::Array(vec![Some(text())])));
            assert!(told.cells()[4] == Cell::Value(Value::Array(codes)));
            assert!(told.cells()[5] == Cell::Null, "a numeric has no room for it");
            let store = format!(r#"{{"{UNAVAILABLE}":"{UNAVAILABLE}"}}"#);
            assert!(told.cells()[6] == Cell::Value(Value::Text(store)));
            let days = UNAVAILABLE.bytes().map(|byte| Some(Value::Date(byte.into()))).collect();
            assert!(told.cells()[7] == Cell::Value(Value::Array(days)));
            let names = vec![Some(Value::Text(UNAVAILABLE_UUID.into()))];
            assert!(told.cells()[8] == Cell::Value(Value::Array(names)));
            let tail = |bytes: &[u8]| bytes[bytes.len() - 40..].to_vec();
            assert_eq!(tail(value), tail(&bytes));
        }
    }

    #[test]
    fn a_deletion_has_a_tombstone_unless_it_has_no_key() {
        let change = Change::Delete { old: None };
        let render = |key| records(&change, None, Some(key), b"value").expect("rendered");
        let with_key = render(FRAMED_KEY);
        assert_eq!(with_key.len(), 2);
        assert!(!with_key[0].is_tombstone() && with_key[1].is_tombstone());
        assert_eq!(with_key[1].key, Some(FRAMED_KEY));
        let without = render(b"00000001.0000000000000009.0000000000000001");
        assert_eq!(without, [Output { key: None, value: Some(Cow::Borrowed(&b"value"[..])) }]);
        let truncated = records(&Change::Truncate, None, Some(b"00000001."), b"value").expect("rendered");
        assert_eq!(truncated, [Output { key: None, value: Some(Cow::Borrowed(&b"value"[..])) }]);
    }
}
