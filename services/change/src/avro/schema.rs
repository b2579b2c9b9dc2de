//! Avro schemas for a table, named and shaped as Debezium's are.

use super::{
    BITS_NAME, COLUMN_PROPERTY, DATE_NAME, DECIMAL_NAME, DIGITS_PROPERTY, ENUM_NAME, FLAGGED_NAME, HSTORE,
    INTERVAL_NAME, JSON_NAME, LTREE_NAME, MONEY, POINT_NAME, SCHEMA_PROPERTY, TABLE_PROPERTY, TIME_NAME, TIME_TZ_NAME,
    TIMESTAMP_NAME, TSVECTOR_NAME, TYPE_PROPERTY, UUID_NAME, VARIABLE_SCALE_NAME, XML_NAME, ZONED_NAME,
};
use crate::table::{Column, ColumnType, SECOND_DIGITS, TableId, TableSchema};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// As many digits as a `money` can have.
const MONEY_DIGITS: u16 = 19;

/// The schemas of one shape of one table, with the subjects they are registered under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchemas {
    /// `<source>.<schema>.<table>.Envelope`: the value's full name and subject.
    pub envelope_name: String,
    pub envelope: String,
    /// None of a table without a key: its records are keyed by position.
    pub key: Option<(String, String)>,
}

/// The schemas of a table as changes of `source` carry it.
pub fn of_table(source: &str, table: &TableSchema) -> TableSchemas {
    let namespace = namespace(source, &table.table);
    let envelope_name = format!("{namespace}.Envelope");
    let envelope = envelope(&namespace, table).to_string();
    let key = table.key_columns().next().is_some().then(|| {
        let columns: Vec<&Column> = table.key_columns().map(|(_, column)| column).collect();
        let name = format!("{namespace}.Key");
        let mut record = record("Key", &namespace, fields(&columns));
        own_names(&mut record, &table.table);
        record.insert("connect.name".into(), name.clone().into());
        (name, Value::Object(record).to_string())
    });
    TableSchemas { envelope_name, envelope, key }
}

/// The schemas of logical messages: value and key.
pub fn of_messages() -> ((String, String), (String, String)) {
    const NAMESPACE: &str = "io.debezium.connector.postgresql";
    let block = json!({"type": "record", "name": "Message", "namespace": NAMESPACE, "fields": [
        {"name": "prefix", "type": ["null", "string"], "default": null},
        {"name": "content", "type": ["null", "bytes"], "default": null},
    ], "connect.name": format!("{NAMESPACE}.Message")});
    let value = json!({"type": "record", "name": "MessageValue", "namespace": NAMESPACE, "fields": [
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": null},
        {"name": "source", "type": source_block()},
        {"name": "message", "type": block},
    ], "connect.name": format!("{NAMESPACE}.MessageValue")});
    let key = json!({"type": "record", "name": "MessageKey", "namespace": NAMESPACE, "fields": [
        {"name": "prefix", "type": ["null", "string"], "default": null},
    ], "connect.name": format!("{NAMESPACE}.MessageKey")});
    ((format!("{NAMESPACE}.MessageValue"), value.to_string()), (format!("{NAMESPACE}.MessageKey"), key.to_string()))
}

fn envelope(namespace: &str, table: &TableSchema) -> Value {
    let columns: Vec<&Column> = table.columns.iter().collect();
    let mut value = record("Value", namespace, fields(&columns));
    own_names(&mut value, &table.table);
    value.insert("connect.name".into(), format!("{namespace}.Value").into());
    let transaction = json!({"type": "record", "name": "block", "namespace": "event", "fields": [
        {"name": "id", "type": "string"},
        {"name": "total_order", "type": "long"},
        {"name": "data_collection_order", "type": "long"},
    ], "connect.version": 1, "connect.name": "event.block"});
    let fields = json!([
        {"name": "before", "type": ["null", value], "default": null},
        {"name": "after", "type": ["null", "Value"], "default": null},
        {"name": "source", "type": source_block()},
        {"name": "transaction", "type": ["null", transaction], "default": null},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": null},
        {"name": "ts_us", "type": ["null", "long"], "default": null},
        {"name": "ts_ns", "type": ["null", "long"], "default": null},
    ]);
    let mut envelope = record("Envelope", namespace, fields);
    envelope.insert("connect.version".into(), 2.into());
    envelope.insert("connect.name".into(), format!("{namespace}.Envelope").into());
    Value::Object(envelope)
}

fn source_block() -> Value {
    let snapshot = json!({"type": "string", "connect.version": 1,
        "connect.parameters": {"allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},
        "connect.default": "false", "connect.name": ENUM_NAME});
    json!({"type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql", "fields": [
        {"name": "version", "type": "string"},
        {"name": "connector", "type": "string"},
        {"name": "name", "type": "string"},
        {"name": "ts_ms", "type": "long"},
        {"name": "snapshot", "type": [snapshot, "null"], "default": "false"},
        {"name": "db", "type": "string"},
        {"name": "sequence", "type": ["null", "string"], "default": null},
        {"name": "ts_us", "type": ["null", "long"], "default": null},
        {"name": "ts_ns", "type": ["null", "long"], "default": null},
        {"name": "schema", "type": "string"},
        {"name": "table", "type": "string"},
        {"name": "txId", "type": ["null", "long"], "default": null},
        {"name": "lsn", "type": ["null", "long"], "default": null},
        {"name": "xmin", "type": ["null", "long"], "default": null},
    ], "connect.name": "io.debezium.connector.postgresql.Source"})
}

fn record(name: &str, namespace: &str, fields: Value) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("type".into(), "record".into());
    record.insert("name".into(), name.into());
    record.insert("namespace".into(), namespace.into());
    record.insert("fields".into(), fields);
    record
}

fn own_names(record: &mut Map<String, Value>, table: &TableId) {
    record.insert(SCHEMA_PROPERTY.into(), (*table.schema).into());
    record.insert(TABLE_PROPERTY.into(), (*table.name).into());
}

fn fields(columns: &[&Column]) -> Value {
    let mut names = HashSet::new();
    let mut known = HashSet::new();
    let fields = columns.iter().map(|column| {
        let name = unique(sanitised(&column.name), &mut names);
        let kind = avro_type(&column.kind, &mut known);
        let mut field = Map::new();
        field.insert("name".into(), name.clone().into());
        if column.key {
            field.insert("type".into(), kind);
        } else {
            field.insert("type".into(), json!(["null", kind]));
            field.insert("default".into(), Value::Null);
        }
        if *name != *column.name {
            field.insert(COLUMN_PROPERTY.into(), (*column.name).into());
        }
        Value::Object(field)
    });
    Value::Array(fields.collect())
}

/// A column's type, on its own.
pub fn of_type(kind: &ColumnType) -> Value {
    avro_type(kind, &mut HashSet::new())
}

/// `known`: the named types that are defined already, and go by their names from there on.
fn avro_type(kind: &ColumnType, known: &mut HashSet<&'static str>) -> Value {
    let semantic = |base: &str, name: &str| json!({"type": base, "connect.version": 1, "connect.name": name});
    match kind {
        ColumnType::Bool => "boolean".into(),
        ColumnType::Int16 => json!({"type": "int", "connect.type": "int16"}),
        ColumnType::Int32 => "int".into(),
        ColumnType::Int64 => "long".into(),
        ColumnType::Float32 => "float".into(),
        ColumnType::Float64 => "double".into(),
        ColumnType::Text => "string".into(),
        ColumnType::Bytes => "bytes".into(),
        ColumnType::Date => semantic("int", DATE_NAME),
        ColumnType::Time => semantic("long", TIME_NAME),
        ColumnType::Timestamp => semantic("long", TIMESTAMP_NAME),
        ColumnType::TimestampTz { digits } => {
            let mut zoned = semantic("string", ZONED_NAME);
            if *digits != SECOND_DIGITS {
                zoned[DIGITS_PROPERTY] = (*digits).into();
            }
            zoned
        }
        ColumnType::Uuid => semantic("string", UUID_NAME),
        ColumnType::Json => semantic("string", JSON_NAME),
        ColumnType::Hstore => {
            let mut json = semantic("string", JSON_NAME);
            json[TYPE_PROPERTY] = HSTORE.into();
            json
        }
        ColumnType::Xml => semantic("string", XML_NAME),
        ColumnType::Ltree => semantic("string", LTREE_NAME),
        ColumnType::Tsvector => semantic("string", TSVECTOR_NAME),
        ColumnType::TimeTz => semantic("string", TIME_TZ_NAME),
        ColumnType::Interval => semantic("string", INTERVAL_NAME),
        ColumnType::Bits { length } => json!({"type": "bytes", "connect.version": 1,
            "connect.parameters": {"length": length.to_string()}, "connect.name": BITS_NAME}),
        ColumnType::Decimal { precision, scale } => decimal(*precision, *scale),
        ColumnType::Money { scale } => {
            let mut money = decimal(MONEY_DIGITS, *scale);
            money[TYPE_PROPERTY] = MONEY.into();
            money
        }
        ColumnType::Enum { allowed } => json!({"type": "string", "connect.version": 1,
            "connect.parameters": {"allowed": allowed.join(",")}, "connect.name": ENUM_NAME}),
        ColumnType::Flagged { type_name } => json!({"type": "string", "connect.version": 1,
            "connect.parameters": {"type": &**type_name}, "connect.name": FLAGGED_NAME}),
        ColumnType::Array(element) => {
            json!({"type": "array", "items": ["null", avro_type(element, known)]})
        }
        ColumnType::Point if !known.insert(POINT_NAME) => POINT_NAME.into(),
        ColumnType::Point => json!({"type": "record", "name": "Point", "namespace": "io.debezium.data.geometry",
            "fields": [
                {"name": "x", "type": "double"},
                {"name": "y", "type": "double"},
                {"name": "wkb", "type": ["null", "bytes"], "default": null},
                {"name": "srid", "type": ["null", "int"], "default": null},
            ],
            "connect.doc": "Geometry (POINT)", "connect.version": 1, "connect.name": POINT_NAME}),
        ColumnType::Numeric if !known.insert(VARIABLE_SCALE_NAME) => VARIABLE_SCALE_NAME.into(),
        ColumnType::Numeric => {
            json!({"type": "record", "name": "VariableScaleDecimal", "namespace": "io.debezium.data",
            "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
            "connect.doc": "Variable scaled decimal", "connect.version": 1, "connect.name": VARIABLE_SCALE_NAME})
        }
    }
}

fn decimal(precision: u16, scale: u16) -> Value {
    json!({"type": "bytes", "scale": scale, "precision": precision, "connect.version": 1,
        "connect.parameters": {"scale": scale.to_string(), "connect.decimal.precision": precision.to_string()},
        "connect.name": DECIMAL_NAME, "logicalType": "decimal"})
}

/// `<source>.<schema>.<table>` in Avro's alphabet.
fn namespace(source: &str, table: &TableId) -> String {
    format!("{}.{}.{}", sanitised(source), distinct(&table.schema), distinct(&table.name))
}

/// An identifier in Avro's alphabet: `[A-Za-z_][A-Za-z0-9_]*`.
fn sanitised(identifier: &str) -> String {
    let mut name: String =
        identifier.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert(0, '_');
    }
    name
}

/// Sanitised, and two identifiers that differ stay different: subjects are named by it.
fn distinct(identifier: &str) -> String {
    let name = sanitised(identifier);
    if name == identifier {
        return name;
    }
    format!("{name}_{:08x}", xxhash_rust::xxh3::xxh3_64(identifier.as_bytes()) >> 32)
}

fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.clone();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_identifiers_keep_their_real_name_beside() {
        let column = |name: &str| Column { name: name.into(), kind: ColumnType::Text, key: false };
        let table = TableSchema {
            table: TableId { schema: "emis".into(), name: "user notes".into() },
            columns: vec![column("a b"), column("a_b"), column("1st"), column("ünï")],
        };
        let schemas = of_table("river-side", &table);
        assert!(schemas.envelope_name.starts_with("river_side.emis.user_notes_"), "{}", schemas.envelope_name);
        for part in [r#""name":"a_b","#, r#""name":"a_b_2""#, r#""causeway.column":"a b""#, r#""name":"_1st""#] {
            assert!(schemas.envelope.contains(part), "{part} in {}", schemas.envelope);
        }
        assert_eq!(schemas.key, None);
    }
}
