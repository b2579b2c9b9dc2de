//! What `changes.<source>` holds, read by the written contract alone, and how it compares with the witness.
//!
//! # Why
//! Nothing of Causeway's own reader is used: Avro is decoded by apache-avro with the schema the registry gives, and the
//! session rule is written out again from docs/architecture.md, so a mistake there cannot hide itself here.

use crate::{
    running::http,
    topic::{self, decode, header, unframe},
    witness::{CONTENT, Committed, Key, Keys},
};
use anyhow::{Context, bail};
use apache_avro::{Schema, schema::RecordSchema, types::Value};
use rdkafka::{Message, message::BorrowedMessage};
use std::collections::{BTreeMap, HashMap, VecDeque};
use tokio::runtime::Handle;

/// A committed change as the log has it; or a message, by prefix and content as [`Committed`].
#[derive(Clone, PartialEq, Eq)]
pub struct Logged {
    /// 0 outside of transactions.
    pub xid: u32,
    pub table: String,
    pub op: char,
    pub key: Key,
    /// As the header writes it: texts that compare as positions do.
    pub position: String,
}

/// Keys can be a patient's: they are never shown.
impl std::fmt::Debug for Logged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} in transaction {} at {}", self.op, self.table, self.xid, self.position)
    }
}

#[derive(Debug, Default)]
pub struct Log {
    /// c, u, d, t and m, in the log's order.
    pub changes: Vec<Logged>,
    pub snapshot_rows: u64,
    /// Records that do not follow on the one before, or stand in another transaction's place.
    pub holes: u64,
    /// Records of an older session after a newer one's: no reader counts them.
    pub void: u64,
    /// Records without our headers.
    pub foreign: u64,
    pub sessions: u64,
}

/// Reads the log from its start to where it ends now.
pub async fn read(brokers: &str, registry: &str, topic: &str, keys: &Keys) -> anyhow::Result<Log> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    let mut reader = Reader {
        schemas: Schemas { registry: registry.to_owned(), known: HashMap::new(), runtime: Handle::current() },
        keys: keys.clone(),
        rule: Rule::default(),
        log: Log::default(),
    };
    tokio::task::spawn_blocking(move || {
        topic::read(&brokers, &topic, |message| {
            let taken = reader.take(message);
            taken.with_context(|| format!("offset {} of {topic} cannot be read", message.offset()))
        })?;
        (reader.log.holes, reader.log.void, reader.log.sessions) =
            (reader.rule.holes, reader.rule.void, reader.rule.sessions);
        Ok(reader.log)
    })
    .await?
}

/// The session rule of docs/architecture.md.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    /// The offset of the newest session record.
    session: Option<i64>,
    last: Option<String>,
    /// The commit that the last change's position names, and the change's transaction.
    transaction: Option<(String, u32)>,
    holes: u64,
    void: u64,
    sessions: u64,
}

impl Rule {
    pub(crate) fn begin(&mut self, offset: i64) {
        self.session = Some(offset);
        self.sessions += 1;
    }

    /// Whether a record of a session counts.
    pub(crate) fn accept(&mut self, session: i64, previous: &str, position: &str) -> bool {
        if self.session.is_some_and(|current| current != session) {
            self.void += 1;
            return false;
        }
        if let Some(last) = &self.last
            && (last != previous || position <= last.as_str())
        {
            self.holes += 1;
        }
        self.last = Some(position.to_owned());
        true
    }

    /// Two transactions, or one and what is beside it, never share a commit: what is first would take the other's place.
    pub(crate) fn in_transaction(&mut self, position: &str, xid: u32) {
        let commit = position.rsplit_once('.').map_or(position, |(commit, _)| commit);
        match &self.transaction {
            Some((last, told)) if last == commit => self.holes += u64::from(*told != xid),
            _ => self.transaction = Some((commit.to_owned(), xid)),
        }
    }
}

struct Reader {
    schemas: Schemas,
    keys: Keys,
    rule: Rule,
    log: Log,
}

impl Reader {
    fn take(&mut self, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
        let Some(kind) = header(message, "causeway.kind") else {
            self.log.foreign += 1;
            return Ok(());
        };
        if kind == "session" {
            self.rule.begin(message.offset());
            return Ok(());
        }
        let text = |name| header(message, name).with_context(|| format!("no header {name}"));
        let session = text("causeway.session")?.parse().context("a session that is no offset")?;
        let position = text("causeway.position")?;
        if !self.rule.accept(session, text("causeway.previous")?, position) || kind != "change" {
            return Ok(());
        }
        let Some(payload) = message.payload() else { return Ok(()) };
        let (id, datum) = unframe(payload).context("not framed")?;
        self.change(id, datum, position)
    }

    fn change(&mut self, id: u32, datum: &[u8], position: &str) -> anyhow::Result<()> {
        let schema = self.schemas.get(id)?;
        let value = decode(schema, datum)?;
        let envelope = Fields::of(&value).context("not an envelope")?;
        let op = envelope.text("op").and_then(|op| op.chars().next()).context("no op")?;
        match op {
            'r' => {
                self.log.snapshot_rows += 1;
                return Ok(());
            }
            'c' | 'u' | 'd' | 't' | 'm' => {}
            _ => bail!("an unknown op"),
        }
        let source = envelope.get("source").and_then(Fields::of).context("no source block")?;
        if op == 'm' {
            return self.message(&envelope, &source, position);
        }
        let table =
            format!("{}.{}", source.text("schema").context("no schema")?, source.text("table").context("no table")?);
        let xid = source.get("txId").and_then(long).context("no transaction")?;
        let columns = self.keys.get(&table).map(Vec::as_slice).unwrap_or_default();
        let row = envelope.get(if op == 'd' { "before" } else { "after" }).and_then(Fields::of);
        let key = match (op, row) {
            ('t', _) => Key::new(),
            (_, Some(row)) => key(&row, row_schema(schema).context("a schema without rows")?, columns)?,
            // What a DELETE of a table without a key leaves.
            (_, None) if columns.is_empty() => Key::new(),
            _ => bail!("a change without its row"),
        };
        let xid = u32::try_from(xid).context("a transaction id that is none")?;
        self.rule.in_transaction(position, xid);
        self.log.changes.push(Logged { xid, table, op, key, position: position.to_owned() });
        Ok(())
    }

    fn message(&mut self, envelope: &Fields<'_>, source: &Fields<'_>, position: &str) -> anyhow::Result<()> {
        let message = envelope.get("message").and_then(Fields::of).context("a message without a message")?;
        let (prefix, content) = match (message.get("prefix").map(inner), message.get(CONTENT).map(inner)) {
            (Some(Value::String(prefix)), Some(Value::Bytes(content))) => (prefix.clone(), content),
            _ => bail!("no prefix, or no content"),
        };
        let key = vec![(CONTENT.to_owned(), String::from_utf8_lossy(content).into_owned())];
        let xid = source.get("txId").and_then(long).unwrap_or_default();
        let xid = u32::try_from(xid).context("a transaction id that is none")?;
        self.rule.in_transaction(position, xid);
        self.log.changes.push(Logged { xid, table: prefix, op: 'm', key, position: position.to_owned() });
        Ok(())
    }
}

pub(crate) struct Schemas {
    pub(crate) registry: String,
    pub(crate) known: HashMap<u32, Schema>,
    pub(crate) runtime: Handle,
}

impl Schemas {
    pub(crate) fn get(&mut self, id: u32) -> anyhow::Result<&Schema> {
        if !self.known.contains_key(&id) {
            let url = format!("{}/schemas/ids/{id}", self.registry.trim_end_matches('/'));
            let answer: serde_json::Value = self
                .runtime
                .block_on(async { anyhow::Ok(http().get(&url).send().await?.error_for_status()?.json().await?) })?;
            let text = answer["schema"].as_str().context("the registry's answer has no schema")?;
            self.known.insert(id, Schema::parse_str(text)?);
        }
        self.known.get(&id).context("just fetched")
    }
}

pub(crate) struct Fields<'a>(&'a [(String, Value)]);

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Record(fields) => Some(Self(fields)),
            Value::Union(_, inner) => Self::of(inner),
            _ => None,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        match self.get(name)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

fn inner(value: &Value) -> &Value {
    if let Value::Union(_, inner) = value { inner } else { value }
}

fn long(value: &Value) -> Option<i64> {
    match value {
        Value::Union(_, inner) => long(inner),
        Value::Long(number) => Some(*number),
        Value::Int(number) => Some(i64::from(*number)),
        _ => None,
    }
}

/// The record in the envelope's `before`.
fn row_schema(envelope: &Schema) -> Option<&RecordSchema> {
    let Schema::Record(envelope) = envelope else { return None };
    let before = envelope.fields.iter().find(|field| field.name == "before")?;
    let Schema::Union(variants) = &before.schema else { return None };
    variants.variants().iter().find_map(|variant| if let Schema::Record(row) = variant { Some(row) } else { None })
}

fn key(row: &Fields<'_>, schema: &RecordSchema, columns: &[String]) -> anyhow::Result<Key> {
    let value = |column: &String| {
        let field = schema.fields.iter().find(|field| field.name == *column)?;
        Some((column.clone(), text(row.get(column)?, &field.schema)?))
    };
    columns.iter().map(|column| value(column).with_context(|| format!("the key's {column} cannot be read"))).collect()
}

/// A key's value in the server's text form.
fn text(value: &Value, schema: &Schema) -> Option<String> {
    match (value, schema) {
        (Value::Union(at, inner), Schema::Union(variants)) => text(inner, variants.variants().get(*at as usize)?),
        (Value::String(text), _) => Some(text.clone()),
        (Value::Uuid(id), _) => Some(id.to_string()),
        (Value::Int(number), _) => Some(number.to_string()),
        (Value::Long(number), _) => Some(number.to_string()),
        (Value::Boolean(yes), _) => Some(if *yes { "t" } else { "f" }.to_owned()),
        (Value::Decimal(decimal), Schema::Decimal(kind)) => {
            let scale = u32::try_from(kind.scale).ok()?;
            Some(
                rust_decimal::Decimal::try_from_i128_with_scale(unscaled(&Vec::try_from(decimal).ok()?)?, scale)
                    .ok()?
                    .to_string(),
            )
        }
        (Value::Record(_), _) => {
            let fields = Fields::of(value)?;
            let Value::Bytes(bytes) = fields.get("value")? else { return None };
            let scale = u32::try_from(long(fields.get("scale")?)?).ok()?;
            Some(rust_decimal::Decimal::try_from_i128_with_scale(unscaled(bytes)?, scale).ok()?.to_string())
        }
        _ => None,
    }
}

/// A big-endian two's complement number.
fn unscaled(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let start = if first & 0x80 == 0 { 0 } else { -1 };
    (bytes.len() <= 16).then(|| bytes.iter().fold(start, |number: i128, byte| number << 8 | i128::from(*byte)))
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Committed, and not (or not as often) in the log.
    pub lost: u64,
    /// In the log more often than committed, or never committed.
    pub duplicated: u64,
    /// In the log after something that was committed later.
    pub reordered: u64,
    /// Operation, table and transaction of the first difference; never values.
    pub first: Option<String>,
}

impl Comparison {
    pub const fn same(&self) -> bool {
        self.lost + self.duplicated + self.reordered == 0
    }
}

type Identity<'a> = (u32, &'a str, char, &'a Key);

/// Matches the n-th occurrence of each change with its n-th in the log; what is left over on a side is lost or
/// duplicated, and a match whose commit is older than one before it is out of order.
pub fn compare(committed: &[Committed], logged: &[Logged]) -> Comparison {
    let mut waiting: BTreeMap<Identity<'_>, VecDeque<usize>> = BTreeMap::new();
    for (at, change) in committed.iter().enumerate() {
        waiting.entry((change.xid, &change.table, change.op, &change.key)).or_default().push_back(at);
    }
    let mut comparison = Comparison::default();
    let mut newest = 0;
    for change in logged {
        let place =
            waiting.get_mut(&(change.xid, change.table.as_str(), change.op, &change.key)).and_then(VecDeque::pop_front);
        let wrong = match place {
            None => {
                comparison.duplicated += 1;
                "more often than committed"
            }
            Some(place) if place < newest => {
                comparison.reordered += 1;
                "after a later one"
            }
            Some(place) => {
                newest = place;
                continue;
            }
        };
        comparison.first.get_or_insert_with(|| format!("{wrong}: {change:?}"));
    }
    let lost: Vec<usize> = waiting.into_values().flatten().collect();
    comparison.lost = lost.len() as u64;
    if let Some(change) = lost.into_iter().min().and_then(|first| committed.get(first)) {
        comparison.first.get_or_insert_with(|| format!("not in the log: {change:?}"));
    }
    comparison
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
