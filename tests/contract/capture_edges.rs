//! The log as a stranger reads it (Kafka, the registry's HTTP, apache-avro), told in one line a record, so that a
//! test's expectation reads like what happened.

use super::capture_stack::{Bench, SOURCE, WAIT_MAX};
use anyhow::{Context, ensure};
use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedMessage, Headers},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    time::{Duration, Instant},
};

/// Longer values are told by their length.
const VALUE_CHARS_MAX: usize = 60;

/// One record of kind `change`.
#[derive(Clone, Debug)]
pub struct Told {
    pub op: String,
    /// `schema.table` of the source block; of a message, `.`.
    pub table: String,
    /// `id=1`; `position` when the key is the position; `-` when there is none.
    pub key: String,
    /// `id=1 note=null`, `-` when absent. A column that a header calls unchanged is `?`.
    pub before: String,
    pub after: String,
    pub headers: HashMap<String, String>,
    /// The value's schema.
    pub schema: u32,
    /// The server's id of the transaction; `null` without one.
    pub xid: String,
}

impl Told {
    /// `u s.t id=1 | - | id=1 note=?`
    pub fn line(&self) -> String {
        let Self { op, table, key, before, after, .. } = self;
        match op.as_str() {
            "c" | "r" => format!("{op} {table} {key} | {after}"),
            "d" => format!("{op} {table} {key} | {before}"),
            "t" => format!("{op} {table} {key}"),
            _ => format!("{op} {table} {key} | {before} | {after}"),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Epoch and commit: the same for all records of a transaction.
    pub fn commit(&self) -> &str {
        self.header("causeway.position").and_then(|position| position.rsplit_once('.')).map_or("", |(commit, _)| commit)
    }

    pub fn ordinal(&self) -> u64 {
        let ordinal = self.header("causeway.position").and_then(|position| position.rsplit('.').next());
        ordinal.and_then(|text| u64::from_str_radix(text, 16).ok()).expect("a position")
    }
}

/// The lines of one table.
pub fn lines(told: &[Told], table: &str) -> Vec<String> {
    told.iter().filter(|record| record.table == table).map(Told::line).collect()
}

/// A schema by its text, and by its names.
struct Known {
    schema: Schema,
    json: serde_json::Value,
}

pub struct Stranger<'a> {
    bench: &'a Bench,
    /// Where the log's source is.
    database: &'static str,
    consumer: BaseConsumer,
    registry: change_log::Registry,
    schemas: HashMap<u32, Known>,
}

impl<'a> Stranger<'a> {
    /// At the start of the log.
    pub fn of(bench: &'a Bench) -> anyhow::Result<Self> {
        Self::of_source(bench, SOURCE)
    }

    /// Of a source that is called as its database is.
    pub fn of_source(bench: &'a Bench, database: &'static str) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "stranger").create()?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&format!("changes.{database}"), 0, Offset::Beginning)?;
        consumer.assign(&assignment)?;
        let registry = change_log::Registry::new(&bench.registry_settings())?;
        Ok(Self { bench, database, consumer, registry, schemas: HashMap::new() })
    }

    /// Commits a row into `marker (id)`, and reads the changes up to it, without it.
    pub async fn upto_now(&mut self) -> anyhow::Result<Vec<Told>> {
        let client = self.bench.database.connect(self.database).await?;
        let row = client.query_one("insert into marker default values returning id", &[]).await?;
        let marker = format!("c public.marker id={0} | id={0}", row.get::<_, i32>(0));
        self.until(|told| told.line() == marker).await
    }

    /// Reads the changes before the first that is the last.
    pub async fn until(&mut self, mut last: impl FnMut(&Told) -> bool) -> anyhow::Result<Vec<Told>> {
        let mut seen: Vec<Told> = Vec::new();
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            ensure!(Instant::now() < deadline, "the last never came; {} records did", seen.len());
            let Some(message) = self.consumer.poll(Duration::from_millis(20)) else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let message = message?.detach();
            let headers = headers(&message);
            let kind = headers.get("causeway.kind").map(String::as_str).unwrap_or_default();
            if kind.starts_with("snapshot-") {
                let named = headers.get("causeway.snapshot").is_some_and(|id| !id.is_empty());
                ensure!(named, "a record of kind {kind} does not say which snapshot it is of");
            }
            if kind != "change" {
                continue;
            }
            let told = self.tell(message.key().unwrap_or_default(), message.payload().context("a value")?, headers);
            let told = told.await?;
            if last(&told) {
                return Ok(seen);
            }
            seen.push(told);
        }
    }

    async fn learn(&mut self, framed: &[u8]) -> anyhow::Result<u32> {
        ensure!(framed.first() == Some(&0), "not framed");
        let id = u32::from_be_bytes(framed[1..5].try_into()?);
        if !self.schemas.contains_key(&id) {
            let text = self.registry.schema(id).await?;
            let known = Known { schema: Schema::parse_str(&text)?, json: serde_json::from_str(&text)? };
            self.schemas.insert(id, known);
        }
        Ok(id)
    }

    fn read(&self, id: u32, framed: &[u8]) -> anyhow::Result<HashMap<String, Avro>> {
        let mut rest = &framed[5..];
        let value = GenericDatumReader::builder(&self.schemas[&id].schema).build()?.read_value(&mut rest)?;
        ensure!(rest.is_empty(), "bytes after the datum");
        let Avro::Record(fields) = value else { anyhow::bail!("not a record") };
        Ok(fields.into_iter().collect())
    }

    async fn key(&mut self, framed: &[u8]) -> anyhow::Result<String> {
        let id = self.learn(framed).await?;
        let fields = self.read(id, framed)?;
        let json = &self.schemas[&id].json;
        let cells = json["fields"].as_array().context("a key's fields")?.iter().zip(column_names(json));
        let cells = cells.map(|(field, name)| Some((name, fields.get(field["name"].as_str()?)?.clone())));
        let record = Avro::Record(cells.collect::<Option<_>>().context("a key's field")?);
        Ok(told_row(&record, &column_names(json), &[]))
    }

    async fn tell(&mut self, key: &[u8], value: &[u8], headers: HashMap<String, String>) -> anyhow::Result<Told> {
        let id = self.learn(value).await?;
        let fields = self.read(id, value)?;
        let Some(Avro::Record(source)) = fields.get("source") else { anyhow::bail!("no source block") };
        let source: HashMap<&str, &Avro> = source.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let unchanged = headers.get("causeway.unchanged").map(|json| serde_json::from_str::<Vec<String>>(json));
        let unchanged = unchanged.transpose()?.unwrap_or_default();
        let names = column_names(&self.schemas[&id].json["fields"][0]["type"][1]);
        let row = |field: &str, unchanged: &[String]| match fields.get(field) {
            Some(value) => told_row(value, &names, unchanged),
            None => "-".to_owned(),
        };
        let (before, after) = (row("before", &[]), row("after", &unchanged));
        let message = fields.get("message").map(|message| told_row(message, &["prefix".into(), "content".into()], &[]));
        let key = match key {
            [] => "-".to_owned(),
            [0, ..] => self.key(key).await?,
            text if headers["causeway.position"].as_bytes() == text => "position".to_owned(),
            _ => anyhow::bail!("a key that is neither Avro nor the position"),
        };
        Ok(Told {
            op: told_value(&fields["op"]),
            table: format!("{}.{}", name(source["schema"]), name(source["table"])),
            key,
            before,
            after: message.unwrap_or(after),
            headers,
            schema: id,
            xid: told_value(source["txId"]),
        })
    }
}

fn headers(message: &impl Message) -> HashMap<String, String> {
    let headers = message.headers().map(|headers| {
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap_or_default().to_vec()).expect("text");
        headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    });
    headers.unwrap_or_default()
}

/// As the database spells them.
fn column_names(record: &serde_json::Value) -> Vec<String> {
    let name = |field: &serde_json::Value| {
        field["causeway.column"].as_str().or(field["name"].as_str()).expect("a field's name").to_owned()
    };
    record["fields"].as_array().map(|fields| fields.iter().map(name).collect()).unwrap_or_default()
}

fn told_row(row: &Avro, names: &[String], unchanged: &[String]) -> String {
    match row {
        Avro::Union(_, inner) => told_row(inner, names, unchanged),
        Avro::Record(cells) => {
            let mut text = String::new();
            for ((_, value), name) in cells.iter().zip(names) {
                let mut value = told_value(value);
                if unchanged.contains(name) {
                    assert_eq!(value, "null", "what the log left out is not made up");
                    value = "?".to_owned();
                }
                let space = if text.is_empty() { "" } else { " " };
                write!(text, "{space}{name}={value}").expect("a String takes all");
            }
            text
        }
        _ => "-".to_owned(),
    }
}

fn name(value: &Avro) -> &str {
    if let Avro::String(name) = value { name } else { "" }
}

fn told_value(value: &Avro) -> String {
    let text = match value {
        Avro::Union(_, inner) => told_value(inner),
        Avro::Null => "null".to_owned(),
        Avro::Int(value) => value.to_string(),
        Avro::Long(value) => value.to_string(),
        Avro::Boolean(value) => value.to_string(),
        Avro::String(text) => text.clone(),
        Avro::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Avro::Array(values) => format!("[{}]", values.iter().map(told_value).collect::<Vec<_>>().join(" ")),
        Avro::Map(texts) => {
            let texts: BTreeMap<&String, String> = texts.iter().map(|(name, text)| (name, told_value(text))).collect();
            format!("{texts:?}")
        }
        Avro::Record(parts) => parts.iter().map(|(_, part)| told_value(part)).collect::<Vec<_>>().join(" "),
        other => panic!("a test of edges needs no {other:?}"),
    };
    let length = text.chars().count();
    if length > VALUE_CHARS_MAX { format!("<{length}>") } else { text }
}

/// The quarantine's items, as `table key reason` with the row's key; the record's own key is the position.
pub async fn quarantined(bench: &Bench, count: usize) -> anyhow::Result<Vec<String>> {
    let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "stranger").create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("quarantine", 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let mut stranger = Stranger::of(bench)?;
    let mut items = Vec::new();
    let deadline = Instant::now() + WAIT_MAX;
    while items.len() < count {
        ensure!(Instant::now() < deadline, "only {} items in the quarantine", items.len());
        let Some(message) = consumer.poll(Duration::from_millis(20)) else { continue };
        let message: BorrowedMessage<'_> = message?;
        let (key, value) = (message.key().context("a key")?, message.payload().context("a value")?);
        let id = stranger.learn(value).await?;
        let fields = stranger.read(id, value)?;
        let field = |name: &str| told_value(&fields[name]);
        ensure!(field("position").as_bytes() == key || field("position") == format!("<{}>", key.len()), "no position");
        let Some(Avro::Bytes(row_key)) = inner(&fields["key"]) else { anyhow::bail!("no key") };
        let row_key = stranger.key(row_key).await?;
        items.push(format!("{} {row_key} {}", field("table"), field("reason")));
    }
    Ok(items)
}

fn inner(value: &Avro) -> Option<&Avro> {
    if let Avro::Union(_, inner) = value { Some(inner) } else { Some(value) }
}
