//! The tables as the log tells them, for comparing them with the tables as they are.
//!
//! Whole rows this time, with the columns that an update left out filled in from the row before: so a large value that
//! became null shows, and so does a snapshot's row that hides a newer change.

use crate::{
    log::{Fields, Rule, Schemas},
    topic::{self, decode, header, unframe},
    witness::{Key, Keys},
};
use anyhow::Context;
use apache_avro::types::Value;
use rdkafka::{Message, message::BorrowedMessage};
use std::collections::{BTreeMap, HashMap};
use tokio::runtime::Handle;
use tokio_postgres::Client;

/// The tables that are compared, and their columns beside the key.
const TABLES: [(&str, &[&str]); 2] = [("yard.row", &["version", "note"]), ("yard.pair", &["n"])];

/// A column's value; outside, whether it is known at all.
type Cell = Option<Option<String>>;

struct Row {
    cells: Vec<Cell>,
    /// The offset of the last record that told of it.
    told: i64,
}

#[derive(Default)]
pub struct Told {
    rows: BTreeMap<(&'static str, Vec<String>), Row>,
    /// Where each snapshot began.
    snapshots: HashMap<String, i64>,
}

/// Folds the log from its start to where it ends now.
pub async fn read(brokers: &str, registry: &str, topic: &str, keys: &Keys) -> anyhow::Result<Told> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    let mut fold = Fold {
        schemas: Schemas { registry: registry.to_owned(), known: HashMap::new(), runtime: Handle::current() },
        keys: keys.clone(),
        rule: Rule::default(),
        told: Told::default(),
        gone: None,
    };
    tokio::task::spawn_blocking(move || {
        topic::read(&brokers, &topic, |message| {
            fold.take(message).with_context(|| format!("offset {} of {topic} cannot be folded", message.offset()))
        })?;
        Ok(fold.told)
    })
    .await?
}

struct Fold {
    schemas: Schemas,
    keys: Keys,
    rule: Rule,
    told: Told,
    /// The row whose deletion the last change was. A changed key is a deletion and a creation: a large value that the
    /// creation leaves out is this row's.
    gone: Option<(&'static str, Row)>,
}

impl Fold {
    fn take(&mut self, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
        let Some(kind) = header(message, "causeway.kind") else { return Ok(()) };
        if kind == "session" {
            self.rule.begin(message.offset());
            return Ok(());
        }
        let text = |name| header(message, name).with_context(|| format!("no header {name}"));
        let (session, position) = (text("causeway.session")?.parse()?, text("causeway.position")?);
        if !self.rule.accept(session, text("causeway.previous")?, position) {
            return Ok(());
        }
        let Some((id, datum)) = message.payload().and_then(unframe) else { return Ok(()) };
        match kind {
            "change" => {
                let unchanged: Option<Vec<String>> =
                    header(message, "causeway.unchanged").map(serde_json::from_str).transpose()?;
                self.change(id, datum, message.offset(), &unchanged.unwrap_or_default())
            }
            "snapshot-begin" | "snapshot-end" => self.snapshot(kind, id, datum, message.offset()),
            _ => Ok(()),
        }
    }

    fn change(&mut self, id: u32, datum: &[u8], offset: i64, unchanged: &[String]) -> anyhow::Result<()> {
        let value = decode(self.schemas.get(id)?, datum)?;
        let envelope = Fields::of(&value).context("not an envelope")?;
        let source = envelope.get("source").and_then(Fields::of).context("no source block")?;
        let name =
            format!("{}.{}", source.text("schema").unwrap_or_default(), source.text("table").unwrap_or_default());
        let Some((table, columns)) = TABLES.into_iter().find(|(table, _)| *table == name) else { return Ok(()) };
        let op = envelope.text("op").context("no op")?;
        let gone = self.gone.take().filter(|(other, _)| *other == table && op == "c");
        if op == "t" {
            self.told.rows.retain(|(other, _), _| *other != table);
            return Ok(());
        }
        let row = envelope.get(if op == "d" { "before" } else { "after" }).and_then(Fields::of).context("no row")?;
        let key = self.keys.get(table).context("a table without a key")?;
        let key =
            key.iter().map(|column| row.get(column).and_then(plain).context("no key")).collect::<Result<_, _>>()?;
        let place = (table, key);
        if op == "d" {
            self.gone = self.told.rows.remove(&place).map(|row| (table, row));
            return Ok(());
        }
        let before = self.told.rows.remove(&place).or(gone.map(|(_, row)| row));
        let cell = |(at, column): (usize, &&str)| {
            if unchanged.iter().any(|name| name == column) {
                return before.as_ref().and_then(|before| before.cells[at].clone());
            }
            Some(row.get(column).and_then(plain))
        };
        let cells = columns.iter().enumerate().map(cell).collect();
        self.told.rows.insert(place, Row { cells, told: offset });
        Ok(())
    }

    /// Once a snapshot has ended, what did not show since it began is gone.
    fn snapshot(&mut self, kind: &str, id: u32, datum: &[u8], offset: i64) -> anyhow::Result<()> {
        let value = decode(self.schemas.get(id)?, datum)?;
        let record = Fields::of(&value).context("not a record")?;
        let name = record.text("snapshot").context("a snapshot without its id")?.to_owned();
        if kind == "snapshot-begin" {
            self.told.snapshots.entry(name).or_insert(offset);
            return Ok(());
        }
        let began = self.told.snapshots.remove(&name).context("a snapshot ends that did not begin")?;
        let partial = matches!(record.get("partial"), Some(Value::Boolean(true)));
        let read: Vec<String> = match record.get("tables") {
            Some(Value::Array(tables)) => tables.iter().filter_map(plain).collect(),
            _ => Vec::new(),
        };
        let whole = |table: &str| read.is_empty() || read.iter().any(|name| name == table);
        self.told.rows.retain(|(table, _), row| partial || row.told > began || !whole(table));
        Ok(())
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Union(_, inner) => plain(inner),
        Value::String(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Long(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Told {
    /// Rows that are other than in the database, missing, or too many; and the first of them by table.
    pub async fn differences(mut self, client: &Client) -> anyhow::Result<(u64, Option<String>)> {
        let mut wrong: BTreeMap<String, u64> = BTreeMap::new();
        let mut note = |what: &str, table: &str| *wrong.entry(format!("{what} {table}")).or_default() += 1;
        let queries =
            ["select id::text, version::text, note from yard.row", "select a::text, b, n::text from yard.pair"];
        for ((table, columns), query) in TABLES.into_iter().zip(queries) {
            for row in client.query(query, &[]).await? {
                let keys = row.len() - columns.len();
                let key: Key = (0..keys).map(|at| (String::new(), row.get(at))).collect();
                let cells: Vec<Cell> = (keys..row.len()).map(|at| Some(row.get(at))).collect();
                let key = key.into_iter().map(|(_, value)| value).collect();
                match self.rows.remove(&(table, key)) {
                    None => note("rows missing of", table),
                    Some(told) if told.cells != cells => note("rows told wrong of", table),
                    Some(_) => {}
                }
            }
        }
        self.rows.keys().for_each(|(table, _)| note("rows told that are gone of", table));
        let first = wrong.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ");
        Ok((wrong.values().sum(), (!first.is_empty()).then_some(first)))
    }
}
