//! Records of a table's topic as a stranger reads them, and Avro schemas in a few words.

use crate::contract::capture_stack::{Bench, WAIT_MAX};
use anyhow::{Context, ensure};
use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro};
use change_log::Registry;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use serde_json::{Map, Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(300);

/// One record.
pub(super) struct Told {
    pub(super) key: Option<Json>,
    /// None of a tombstone.
    pub(super) value: Option<Json>,
    pub(super) key_schema: Option<Arc<str>>,
    pub(super) value_schema: Option<Arc<str>>,
    pub(super) headers: BTreeSet<String>,
}

impl Told {
    pub(super) fn operation(&self) -> &str {
        self.value.as_ref().map_or("·", |value| value["op"].as_str().unwrap_or("?"))
    }
}

/// Every record of `<prefix>.<table>`.
pub(super) async fn read(bench: &Bench, registry: &Registry, prefix: &str, table: &str) -> anyhow::Result<Vec<Told>> {
    let topic = format!("{prefix}.{table}");
    let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "raw").create()?;
    let (_, high) = consumer.fetch_watermarks(&topic, 0, WAIT_MAX)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let (mut records, mut schemas, deadline) = (Vec::new(), HashMap::new(), Instant::now() + WAIT_MAX);
    while i64::try_from(records.len())? < high {
        ensure!(Instant::now() < deadline, "{topic} has only {} of {high} records", records.len());
        let Some(message) = consumer.poll(POLL) else { continue };
        let message = message?;
        let (key, key_schema) = datum(registry, &mut schemas, message.key()).await.context("a key")?;
        let (value, value_schema) = datum(registry, &mut schemas, message.payload()).await.context("a value")?;
        let headers = message.headers().map(|headers| headers.iter().map(|header| header.key.to_owned()).collect());
        let headers = headers.unwrap_or_default();
        records.push(Told { key, value, key_schema, value_schema, headers });
    }
    Ok(records)
}

async fn datum(
    registry: &Registry,
    schemas: &mut HashMap<u32, (Arc<str>, Schema)>,
    bytes: Option<&[u8]>,
) -> anyhow::Result<(Option<Json>, Option<Arc<str>>)> {
    // What names no schema is what Apicurio's converter makes of nothing.
    let Some(id) = bytes.and_then(|bytes| bytes.get(1..5)) else { return Ok((None, None)) };
    let (id, bytes) = (u32::from_be_bytes(id.try_into()?), bytes.unwrap_or_default());
    if let std::collections::hash_map::Entry::Vacant(entry) = schemas.entry(id) {
        let text = registry.schema(id).await?;
        let mut schema: Json = serde_json::from_str(&text)?;
        plain(&mut schema);
        let parsed = Schema::parse_str(&schema.to_string()).with_context(|| text.to_string())?;
        entry.insert((text, parsed));
    }
    let (text, schema) = &schemas[&id];
    let value = GenericDatumReader::builder(schema).build()?.read_value(&mut &bytes[5..])?;
    Ok((Some(json_of(&value)), Some(Arc::clone(text))))
}

/// A decimal is its bytes here, whoever wrote it; and to read what was written takes no defaults.
fn plain(schema: &mut Json) {
    match schema {
        Json::Array(parts) => parts.iter_mut().for_each(plain),
        Json::Object(object) => {
            object.remove("logicalType");
            object.remove("default");
            object.values_mut().for_each(plain);
        }
        _ => {}
    }
}

fn json_of(value: &Avro) -> Json {
    match value {
        Avro::Null => Json::Null,
        Avro::Boolean(value) => (*value).into(),
        Avro::Int(value) => (*value).into(),
        Avro::Long(value) => (*value).into(),
        Avro::Float(value) => number(f64::from(*value)),
        Avro::Double(value) => number(*value),
        Avro::String(text) | Avro::Enum(_, text) => text.clone().into(),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{digits}").into()
        }
        Avro::Union(_, inner) => json_of(inner),
        Avro::Array(items) => Json::Array(items.iter().map(json_of).collect()),
        Avro::Map(entries) => {
            Json::Object(entries.iter().map(|(name, value)| (name.clone(), json_of(value))).collect::<Map<_, _>>())
        }
        Avro::Record(fields) => {
            Json::Object(fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect::<Map<_, _>>())
        }
        other => format!("{other:?}").into(),
    }
}

fn number(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { value.to_string().into() }
}

/// The record of the rows in an envelope; a key is one itself.
fn row(schema: &Json) -> &Json {
    let fields = schema["fields"].as_array().map_or(&[][..], Vec::as_slice);
    let before = fields.iter().find(|field| field["name"] == "before");
    before.and_then(|before| before["type"].as_array()?.iter().find(|part| part["fields"].is_array())).unwrap_or(schema)
}

fn fields(record: &Json) -> impl Iterator<Item = &Json> {
    record["fields"].as_array().into_iter().flatten()
}

fn name(field: &Json) -> String {
    field["name"].as_str().unwrap_or_default().to_owned()
}

/// The columns in their order.
pub(super) fn field_names(schema: &Json) -> Vec<String> {
    fields(row(schema)).map(name).collect()
}

/// Each column's type in words.
pub(super) fn column_types(schema: &Json) -> BTreeMap<String, String> {
    fields(row(schema)).map(|field| (name(field), words_with_default(field))).collect()
}

/// The fields around the rows that differ, those of `source` among them.
pub(super) fn envelope_fields(theirs: &Json, ours: &Json) -> Vec<(String, (String, String))> {
    let all = |schema: &Json| -> BTreeMap<String, String> {
        let around = fields(schema).filter(|field| row(schema) != schema && field["name"] != "before");
        let around: Vec<&Json> = around.collect();
        let source = around.iter().find(|field| field["name"] == "source");
        let inner = source.map(|field| fields(&field["type"]).map(|inner| (format!("source.{}", name(inner)), inner)));
        let own = around.iter().map(|field| (name(field), *field));
        own.chain(inner.into_iter().flatten()).map(|(name, field)| (name, words_with_default(field))).collect()
    };
    let (theirs, ours) = (all(theirs), all(ours));
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let said = |of: &BTreeMap<String, String>, name: &String| of.get(name).cloned().unwrap_or_default();
    let pairs = names.into_iter().map(|name| (name.clone(), (said(&theirs, name), said(&ours, name))));
    pairs.filter(|(_, (theirs, ours))| theirs != ours).collect()
}

fn words_with_default(field: &Json) -> String {
    let default = field.get("default").filter(|default| !default.is_null());
    let default = default.map(|default| format!(" = {default}")).unwrap_or_default();
    words(&field["type"]) + &default
}

/// A type with all that is said of it; of a record its name.
fn words(schema: &Json) -> String {
    match schema {
        Json::String(name) => name.clone(),
        Json::Array(branches) => branches.iter().map(words).collect::<Vec<_>>().join(" or "),
        Json::Object(object) => {
            let base = match object.get("type").and_then(Json::as_str) {
                Some("record") => {
                    let part = |name: &str| object.get(name).and_then(Json::as_str).unwrap_or_default();
                    return format!("{}.{}", part("namespace"), part("name"));
                }
                Some("array") => format!("array of {}", words(&object["items"])),
                Some(name) => name.to_owned(),
                None => words(&object["type"]),
            };
            let beside = object.iter().filter(|(name, _)| !["type", "items", "connect.version"].contains(&&***name));
            let beside: Vec<String> = beside
                .map(|(name, value)| {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    format!("{}={value}", name.trim_start_matches("connect."))
                })
                .collect();
            if beside.is_empty() { base } else { format!("{base} ({})", beside.join(" ")) }
        }
        other => other.to_string(),
    }
}
