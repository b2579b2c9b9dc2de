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

/// The columns of an envelope's row, or of a key.
fn columns(schema: &str) -> BTreeMap<String, String> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let envelope_row = schema["fields"].as_array().and_then(|fields| {
        let before = fields.iter().find(|field| field["name"] == "before")?;
        before["type"].as_array()?.iter().find(|part| part["fields"].is_array())
    });
    let fields = envelope_row.unwrap_or(&schema)["fields"].as_array();
    let column = |field: &Value| {
        let name = field[COLUMN_PROPERTY].as_str().or(field["name"].as_str()).unwrap_or_default();
        (name.to_owned(), kind(&field["type"]))
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
