//! What differs between two schemas of a table, column by column, for people.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use change::avro::COLUMN_PROPERTY;
use serde_json::Value;
use std::collections::BTreeMap;

/// Differences that are told; the rest is counted.
const TOLD_MAX: usize = 20;

/// `value: int → string; note: gone`. Nothing but names and types of columns stands in it.
pub fn between(before: &str, after: &str) -> String {
    let (before, after) = (columns(before), columns(after));
    let mut told: Vec<String> = Vec::new();
    for (name, kind) in &before {
        match after.get(name) {
            None => told.push(format!("{name}: {kind} → gone")),
            Some(now) if now != kind => told.push(format!("{name}: {kind} → {now}")),
            Some(_) => {}
        }
    }
    told.extend(
        after.iter().filter(|(name, _)| !before.contains_key(*name)).map(|(name, kind)| format!("{name}: new, {kind}")),
    );
    if told.is_empty() {
        return "no column differs; something beside the columns does".into();
    }
    let more = told.len().saturating_sub(TOLD_MAX);
    told.truncate(TOLD_MAX);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    told.join("; ") + &rest
}

/// Whether a reader with the schema before would take a column's bytes for another value without noticing: a decimal of
/// another scale, a number of days where there was a number. Texts are texts, whatever they are of.
pub fn changes_meaning(before: &str, after: &str) -> bool {
    let (before, after) = (meanings(before), meanings(after));
    before.iter().any(|(name, meaning)| after.get(name).is_some_and(|now| now != meaning))
}

fn meanings(schema: &str) -> BTreeMap<String, String> {
    columns_with(schema, meaning)
}

/// What the bytes of a number, or bare bytes, stand for; nothing of others.
fn meaning(avro: &Value) -> String {
    match avro {
        Value::Array(parts) => parts.iter().find(|part| *part != "null").map(meaning).unwrap_or_default(),
        Value::Object(_) => match (avro["type"].as_str(), avro["connect.name"].as_str()) {
            (Some("array"), _) => meaning(&avro["items"]),
            // Neither a decimal's precision nor the number of bits makes another number of the bytes.
            (Some("int" | "long" | "bytes"), Some(name)) => format!("{name} {}", avro["scale"]),
            (Some(_), _) => String::new(),
            (None, _) => meaning(&avro["type"]),
        },
        _ => String::new(),
    }
}

/// The columns of an envelope's row, or of a key.
fn columns(schema: &str) -> BTreeMap<String, String> {
    columns_with(schema, kind)
}

fn columns_with<T>(schema: &str, of: fn(&Value) -> T) -> BTreeMap<String, T> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let envelope_row = schema["fields"].as_array().and_then(|fields| {
        let before = fields.iter().find(|field| field["name"] == "before")?;
        before["type"].as_array()?.iter().find(|part| part["fields"].is_array())
    });
    let fields = envelope_row.unwrap_or(&schema)["fields"].as_array();
    let column = |field: &Value| {
        let name = field[COLUMN_PROPERTY].as_str().or(field["name"].as_str()).unwrap_or_default();
        (name.to_owned(), of(&field["type"]))
    };
    fields.map(|fields| fields.iter().map(column).collect()).unwrap_or_default()
}

fn kind(avro: &Value) -> String {
    match avro {
        Value::String(name) => name.clone(),
        Value::Array(parts) => {
            let parts = parts.iter().filter(|part| *part != "null").map(kind);
            parts.collect::<Vec<_>>().join(" or ")
        }
        Value::Object(_) => {
            let base = match avro["type"].as_str() {
                Some("array") => format!("array of {}", kind(&avro["items"])),
                Some("record") => avro["name"].as_str().unwrap_or("record").to_owned(),
                Some(name) => name.to_owned(),
                None => kind(&avro["type"]),
            };
            let meaning = avro["logicalType"].as_str().or(avro["connect.name"].as_str());
            let meaning = meaning.and_then(|name| name.rsplit('.').next()).filter(|name| *name != base);
            let (precision, scale) = (&avro["precision"], &avro["scale"]);
            match meaning {
                Some(meaning) if precision.is_u64() => format!("{base} ({meaning} {precision},{scale})"),
                Some(meaning) => format!("{base} ({meaning})"),
                None => base,
            }
        }
        _ => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::{Column, ColumnType, TableId, TableSchema, avro::schema};

    #[test]
    fn another_scale_is_another_number() {
        use ColumnType::{
            Array, Bits, Bytes, Date, Decimal, Int16, Int32, Int64, Json, Money, Text, Time, Timestamp, Uuid,
        };
        let changes = |before: ColumnType, after: ColumnType| {
            let list = |kind: &ColumnType| Array(std::sync::Arc::new(kind.clone()));
            let of = |kind: ColumnType, key: bool| schemas(&[("id", Int64, !key), ("value", kind, key)]);
            let ways = [
                (of(before.clone(), false).envelope, of(after.clone(), false).envelope),
                (of(list(&before), false).envelope, of(list(&after), false).envelope),
            ];
            let told = ways.map(|(before, after)| changes_meaning(&before, &after));
            let key = |kind: &ColumnType| of(kind.clone(), true).key.map(|(_, text)| text).unwrap_or_default();
            assert_eq!(told, [changes_meaning(&key(&before), &key(&after)); 2]);
            told[0]
        };
        let decimal = |precision, scale| Decimal { precision, scale };
        assert!(changes(decimal(6, 2), decimal(7, 3)) && changes(decimal(7, 3), decimal(6, 2)));
        assert!(changes(Money { scale: 2 }, Money { scale: 0 }) && changes(Date, Int32) && changes(Int64, Timestamp));
        assert!(changes(Timestamp, Time) && changes(Bytes, decimal(6, 2)) && changes(Bits { length: 3 }, Bytes));
        assert!(!changes(decimal(6, 2), decimal(9, 2)) && !changes(Int16, Int32) && !changes(Int32, Int64));
        assert!(changes(decimal(6, 2), Text) && !changes(Bytes, Text) && !changes(Int32, ColumnType::Float64));
        assert!(!changes(Text, Uuid) && !changes(Json, Text) && !changes(Bits { length: 3 }, Bits { length: 30 }));
        // What cannot be read at all is the registry's to say.
        assert!(!changes_meaning("not a schema", &of_nothing()));
    }

    fn of_nothing() -> String {
        schemas(&[("id", ColumnType::Int64, true)]).envelope
    }

    fn schemas(columns: &[(&str, ColumnType, bool)]) -> schema::TableSchemas {
        let columns =
            columns.iter().map(|(name, kind, key)| Column { name: (*name).into(), kind: kind.clone(), key: *key });
        let table = TableId { schema: "lims".into(), name: "result".into() };
        schema::of_table("clinic", &TableSchema { table, columns: columns.collect() })
    }

    #[test]
    fn columns_are_compared_by_name() {
        let before = schemas(&[
            ("id", ColumnType::Int64, true),
            ("value", ColumnType::Decimal { precision: 10, scale: 2 }, false),
            ("note", ColumnType::Text, false),
            ("same", ColumnType::Array(std::sync::Arc::new(ColumnType::Text)), false),
        ]);
        let after = schemas(&[
            ("id", ColumnType::Text, true),
            ("same", ColumnType::Array(std::sync::Arc::new(ColumnType::Text)), false),
            ("value", ColumnType::Text, false),
            ("taken", ColumnType::Date, false),
        ]);
        assert_eq!(
            between(&before.envelope, &after.envelope),
            "id: long → string; note: string → gone; value: bytes (decimal 10,2) → string; taken: new, int (Date)"
        );
        let key = |schemas: &schema::TableSchemas| schemas.key.clone().map(|(_, text)| text).unwrap_or_default();
        assert_eq!(between(&key(&before), &key(&after)), "id: long → string");
        assert!(between(&before.envelope, &before.envelope).starts_with("no column differs"));
        assert!(between("not a schema", "").starts_with("no column differs"));
    }
}
