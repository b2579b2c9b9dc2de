//! `causeway quarantine`: what could not be put into the record, read from the topic itself.

use crate::{
    Config,
    output::{self, Format},
    settings::Settings,
};
use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use change_log::{Registry, Versions};
use event::{Quarantined, avro};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// More items than this are not read for one list.
pub const ITEMS_MAX: usize = 10_000;
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(clap::Subcommand)]
pub enum Verb {
    /// List items that are not resolved, newest last: where, why, never values.
    List {
        #[command(flatten)]
        config: Config,
        /// Only items of this source.
        #[arg(long)]
        source: Option<String>,
        /// Only items whose reason contains this text.
        #[arg(long)]
        reason: Option<String>,
        /// Resolved items too.
        #[arg(long)]
        all: bool,
        /// At most so many, the newest.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one item by its offset. Its values stay hidden unless asked for.
    Show {
        #[command(flatten)]
        config: Config,
        offset: i64,
        /// Show the original bytes, which are patient data. The look is audited.
        #[arg(long, requires = "reason")]
        values: bool,
        /// Why the values are needed; goes into the audit.
        #[arg(long)]
        reason: Option<String>,
    },
}

pub async fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::List { config, source, reason, all, limit } => {
            let settings = Settings::load(&config)?;
            let wanted = move |item: &Item| {
                source.as_ref().is_none_or(|source| item.what.source == *source)
                    && reason.as_ref().is_none_or(|reason| item.what.reason.contains(reason.as_str()))
            };
            let known = standing(read(&settings, None).await?);
            let mut items: Vec<Item> = known.into_iter().filter(|item| all || !item.closed).filter(wanted).collect();
            items.drain(..items.len().saturating_sub(limit));
            let rows: Vec<Value> = items.iter().map(Item::without_values).collect();
            output::rows(
                format,
                &["OFFSET", "SOURCE", "STAGE", "REASON", "DETAIL", "TABLE", "POSITION", "STATE"],
                &rows,
                |row| {
                    ["offset", "source", "stage", "reason", "detail", "table", "position", "state"]
                        .map(|key| plain(&row[key]))
                        .to_vec()
                },
            )
        }
        Verb::Show { config, offset, values, reason } => {
            let settings = Settings::load(&config)?;
            let item = read(&settings, Some(offset))
                .await?
                .into_iter()
                .find(|item| item.offset == offset)
                .with_context(|| format!("no item at offset {offset} of the quarantine"))?;
            let mut shown = item.without_values();
            if values {
                // The audit is written first: without it nothing is shown.
                audit(&settings, &item, &reason.unwrap_or_default()).await?;
                let text = |bytes: &Option<Vec<u8>>| {
                    bytes.as_ref().map(|b| base64::engine::general_purpose::STANDARD.encode(b))
                };
                shown["key"] = json!(text(&item.what.key));
                shown["original"] = json!(text(&item.what.original));
                shown["patient"] = json!(item.what.patient);
            }
            output::one(format, &shown, |shown| {
                let fields = shown.as_object().into_iter().flatten();
                fields.map(|(key, value)| format!("{key:<14} {}", plain(value))).collect::<Vec<_>>().join("\n")
            })
        }
    }
}

async fn audit(settings: &Settings, item: &Item, reason: &str) -> anyhow::Result<()> {
    ensure!(!reason.trim().is_empty(), "--reason must say why the values are needed");
    let actor = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "operator".to_owned());
    let pool = boot::database::pool(&settings.database, 1)?;
    let look =
        gateway::operator::QuarantineLook { actor: &actor, source: &item.what.source, offset: item.offset, reason };
    gateway::operator::quarantine_look(&pool, &look).await.context("the look could not be audited, so nothing is shown")
}

/// One item, by the message that told of it.
struct Item {
    offset: i64,
    what: Quarantined,
    closed: bool,
}

/// Each item once, where it was told last, and whether it was closed since.
fn standing(messages: Vec<Item>) -> Vec<Item> {
    let mut items: BTreeMap<i64, Item> = BTreeMap::new();
    let mut named: HashMap<String, i64> = HashMap::new();
    for message in messages {
        // What was told before items had names goes by where it was.
        let place = || Quarantined { item: None, ..message.what.clone() }.name();
        let known = named.get(&message.what.name()).or_else(|| named.get(&place()).filter(|_| message.what.closed));
        if message.what.closed {
            if let Some(item) = known.and_then(|offset| items.get_mut(offset)) {
                item.closed = true;
            }
            continue;
        }
        if let Some(again) = known.filter(|_| message.what.item.is_some()) {
            items.remove(again);
        }
        named.insert(message.what.name(), message.offset);
        items.insert(message.offset, message);
    }
    items.into_values().collect()
}

impl Item {
    fn without_values(&self) -> Value {
        let what = &self.what;
        json!({
            "offset": self.offset, "source": what.source, "stage": what.stage, "reason": what.reason, "detail": what.detail,
            "table": what.table, "position": what.position.map(|p| p.to_string()),
            "from": what.topic.as_ref().map(|topic| format!("{topic}[{}]@{}", what.partition.unwrap_or(0), what.offset.unwrap_or(-1))),
            "bytes": what.original.as_ref().map(Vec::len), "state": if self.closed { "closed" } else { "open" },
        })
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The topic's items: the newest [`ITEMS_MAX`], or those from one offset on.
async fn read(settings: &Settings, from: Option<i64>) -> anyhow::Result<Vec<Item>> {
    let kafka = &settings.kafka;
    let mut versions = Versions::new(Registry::new(&settings.registry)?, avro::QUARANTINED_SCHEMA);
    let topic = kafka.topic("quarantine");
    let consumer: BaseConsumer =
        kafka.client().set("group.id", "causeway-quarantine-reader").set("enable.auto.commit", "false").create()?;
    let (low, high) = consumer
        .fetch_watermarks(&topic, 0, BROKER_TIMEOUT)
        .with_context(|| format!("cannot read the topic {topic}: is Kafka at {} up?", kafka.brokers))?;
    let newest = high.saturating_sub(i64::try_from(ITEMS_MAX)?);
    let start = from.unwrap_or(newest).max(low);
    if start >= high {
        return Ok(Vec::new());
    }
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::Offset(start))?;
    consumer.assign(&assignment)?;
    let mut items = Vec::new();
    let mut last = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(200)) {
            Some(message) => {
                let message = message?;
                last = Instant::now();
                let what = decode(&mut versions, message.payload().unwrap_or_default()).await?;
                items.push(Item { offset: message.offset(), closed: what.closed, what });
                if message.offset() + 1 >= high || from.is_some() {
                    return Ok(items);
                }
            }
            None if last.elapsed() > BROKER_TIMEOUT => bail!("Kafka at {} stopped answering", kafka.brokers),
            None => {}
        }
    }
}

/// A message that is not one of ours is shown as such, not hidden.
async fn decode(versions: &mut Versions, payload: &[u8]) -> anyhow::Result<Quarantined> {
    let datum = versions.datum(payload).await.context("the registry does not tell the schema of an item")?;
    let ours = datum.ok().and_then(|datum| avro::decode_quarantined(&datum).ok());
    Ok(ours.unwrap_or_else(|| Quarantined {
        reason: "not a quarantine record".to_owned(),
        original: Some(payload.to_vec()),
        ..Quarantined::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: i64, name: Option<&str>, at: i64, closed: bool) -> Item {
        let what = Quarantined {
            source: "riverside".into(),
            reason: "missing patient".into(),
            item: name.map(str::to_owned),
            offset: Some(at),
            closed,
            ..Quarantined::default()
        };
        Item { offset, what, closed }
    }

    #[test]
    fn an_item_stands_once_and_is_closed_by_its_name_or_its_place() {
        let messages = vec![
            message(0, None, 7, false),
            message(1, Some("a"), 8, false),
            message(2, Some("b"), 9, false),
            // Closed under its name, and by it what was told of it before there were names.
            message(3, Some("c"), 7, true),
            message(4, Some("a"), 8, true),
            message(5, Some("a"), 10, false),
            message(6, Some("a"), 10, true),
            message(7, Some("a"), 11, false),
            // Of one whose beginning is not read any more.
            message(8, Some("d"), 12, true),
        ];
        let told: Vec<(i64, bool)> = standing(messages).iter().map(|item| (item.offset, item.closed)).collect();
        assert_eq!(told, [(0, true), (2, false), (7, false)]);
    }
}
