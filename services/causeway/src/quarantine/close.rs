//! Closing items by hand.
//!
//! # Why
//! The normaliser closes what it has a name for, once its source mends it; closed by hand, such an item would be told
//! again by the next generation, and until then a page would call a record complete of which a row is missing. So those
//! are refused. What stands for one message (unreadable, foreign, too large, refused by the database) nobody but an
//! operator can close.

use super::{
    actor,
    filter::Filter,
    topic::{self, Item, State},
};
use crate::{
    Config,
    output::{self, Format},
    settings::Settings,
};
use anyhow::{Context, bail, ensure};
use change_log::{Registry, frame};
use event::{
    Quarantined, avro,
    quarantined::{ITEM_HEADER, Verdict},
};
use gateway::operator::QuarantineClosing;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) config: Config,
    /// The items' offsets, as `list` tells them.
    #[arg(required_unless_present = "all_matching", value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) offset: Vec<i64>,
    /// Why; goes into the audit.
    #[arg(long)]
    pub(super) reason: String,
    /// Every open item that all the filters fit, instead of offsets. At least one filter has to be given.
    #[arg(long, conflicts_with = "offset")]
    pub(super) all_matching: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only items whose own reason contains this text.
    #[arg(long, value_name = "TEXT")]
    item_reason: Option<String>,
    /// Do it to all that match. Without this, only say which.
    #[arg(long, requires = "all_matching")]
    yes: bool,
}

impl Arguments {
    pub(super) fn takes(&self, item: &Item) -> bool {
        self.filter.takes(item) && self.item_reason.as_ref().is_none_or(|text| item.what.reason.contains(text))
    }

    /// Whether something is to be done, not only said.
    pub(super) const fn is_meant(&self) -> bool {
        self.yes || !self.all_matching
    }

    pub(super) fn mistake(&self) -> Option<&'static str> {
        let filtered = !self.filter.is_empty() || self.item_reason.is_some();
        match (self.reason.trim().is_empty(), self.all_matching, filtered) {
            (true, ..) => Some("--reason must say why"),
            (_, true, false) => Some("--all-matching needs a filter, such as --source or --item-reason"),
            (_, false, true) => Some("filters go with --all-matching; the offsets name the items already"),
            _ => None,
        }
    }
}

pub async fn run(verdict: Verdict, arguments: Arguments, format: Format) -> anyhow::Result<()> {
    if let Some(mistake) = arguments.mistake() {
        bail!(mistake);
    }
    let settings = Settings::load(&arguments.config)?;
    let offsets: BTreeSet<i64> = arguments.offset.iter().copied().collect();
    let items = topic::standing(topic::read(&settings, offsets.first().copied(), None).await?);
    let kept = |item: &Item| kept(item, |source| settings.sources.iter().any(|known| known.name == source));
    let (chosen, left) = if arguments.all_matching {
        let open = items.into_values().filter(|item| item.state == State::Open && arguments.takes(item));
        let (left, chosen): (Vec<Item>, Vec<Item>) = open.partition(kept);
        (chosen, left.len())
    } else {
        (chosen(items, &offsets, kept)?, 0)
    };
    let done = !chosen.is_empty() && arguments.is_meant();
    if done {
        audit(&settings, verdict.as_str(), &arguments.reason, &chosen).await?;
        write(&settings, verdict, &chosen).await?;
    }
    let told = json!({
        "as": verdict.as_str(), "closed": done, "kept_by_their_source": left,
        "items": chosen.iter().map(Item::without_values).collect::<Vec<_>>(),
    });
    output::one(format, &told, |_| words(verdict, &chosen, done, left))
}

/// Those at these offsets, or everything that is wrong with them.
fn chosen(
    items: BTreeMap<i64, Item>,
    offsets: &BTreeSet<i64>,
    kept: impl Fn(&Item) -> bool,
) -> anyhow::Result<Vec<Item>> {
    open_at(items, offsets, |item| {
        kept(item).then(|| {
            let (offset, source) = (item.offset, &item.what.source);
            format!(
                "the item at offset {offset} is kept by its source `{source}`, which closes it when the row is mended; \
                 closed by hand it would open again"
            )
        })
    })
    .map_err(|mistakes| mistakes.context("nothing is closed"))
}

/// The open items at these offsets, or everything that is wrong with them: `unfit` of an open one.
pub(super) fn open_at(
    mut items: BTreeMap<i64, Item>,
    offsets: &BTreeSet<i64>,
    unfit: impl Fn(&Item) -> Option<String>,
) -> anyhow::Result<Vec<Item>> {
    let mistake = |offset: &i64| {
        let Some(item) = items.get(offset) else { return Some(format!("there is no item at offset {offset}")) };
        match item.state {
            State::Open => unfit(item),
            State::Closed(_) => Some(format!("the item at offset {offset} is {} already", item.state.words())),
            State::ToldAgain(again) => Some(format!("the item at offset {offset} was told again at offset {again}")),
            State::Closing => Some(format!("the record at offset {offset} is no item: it closes one")),
        }
    };
    let mistakes: Vec<String> = offsets.iter().filter_map(mistake).collect();
    ensure!(mistakes.is_empty(), "{}", mistakes.join("; "));
    Ok(offsets.iter().filter_map(|offset| items.remove(offset)).collect())
}

/// Whether its own source looks after it: a source that is not in the settings any more closes nothing.
pub(super) fn kept(item: &Item, configured: impl Fn(&str) -> bool) -> bool {
    item.what.item.is_some() && configured(&item.what.source)
}

/// Written first: without it nothing is done. `as_what`: the audit's word for it.
pub(super) async fn audit(settings: &Settings, as_what: &str, reason: &str, items: &[Item]) -> anyhow::Result<()> {
    let pool = boot::database::pool(&settings.database, 1)?;
    let closing = |item: &'_ Item| -> (String, Option<String>, i64) {
        (item.what.source.clone(), item.what.patient.clone(), item.offset)
    };
    let owned: Vec<_> = items.iter().map(closing).collect();
    let closings: Vec<QuarantineClosing<'_>> = owned
        .iter()
        .map(|(source, patient, offset)| QuarantineClosing { source, patient: patient.as_deref(), offset: *offset })
        .collect();
    gateway::operator::quarantine_closings(&pool, &actor(), as_what, reason, &closings)
        .await
        .context("it could not be audited, so nothing is done")
}

pub(super) async fn write(settings: &Settings, verdict: Verdict, items: &[Item]) -> anyhow::Result<()> {
    let topic = settings.kafka.topic(topic::TOPIC);
    let registry = Registry::new(&settings.registry)?;
    let schema = registry.register(&format!("{topic}-value"), avro::QUARANTINED_SCHEMA).await?;
    let mut client = settings.kafka.client();
    client.set("acks", "all").set("enable.idempotence", "true");
    client.set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string());
    let producer: FutureProducer = client.create()?;
    for (written, item) in items.iter().enumerate() {
        let closing = closing(item, verdict);
        let mut value = Vec::new();
        frame::start(schema, &mut value);
        avro::encode_quarantined(&closing, &mut value);
        let key = closing.position.map_or_else(String::new, |position| position.to_string());
        let mut record = FutureRecord::to(&topic).partition(0).key(&key).payload(&value);
        // So the normaliser knows its own: it tells such an item again, should the source come back.
        if let Some(name) = &closing.item {
            let id = format!("{name}@{}:by-hand", item.offset);
            record = record.headers(OwnedHeaders::new().insert(Header { key: ITEM_HEADER, value: Some(&id) }));
        }
        let sent = producer.send(record, DELIVERY_TIMEOUT).await;
        sent.map_err(|(error, _)| error)
            .with_context(|| format!("only {written} of {} items are closed, by rising offset", items.len()))?;
    }
    Ok(())
}

/// The record that closes it: it repeats where and why, and holds no values.
fn closing(item: &Item, verdict: Verdict) -> Quarantined {
    Quarantined {
        key: None,
        original: None,
        closed: true,
        closes: Some(item.offset),
        closed_as: Some(verdict),
        ..item.what.clone()
    }
}

fn words(verdict: Verdict, items: &[Item], done: bool, left: usize) -> String {
    let mut lines = Vec::new();
    if !items.is_empty() {
        let rows: Vec<Value> = items.iter().map(Item::without_values).collect();
        lines.push(super::table(&rows));
    }
    lines.push(match (items.len(), done) {
        (0, _) => "no open item matches that could be closed by hand".to_owned(),
        (count, true) => format!("{} items: {count}", verdict.as_str()),
        (count, false) => format!("would close {count} items as {}; say --yes to do it", verdict.as_str()),
    });
    if left > 0 {
        lines.push(format!("{left} more are kept by their sources, which close them when the rows are mended"));
    }
    lines.join("\n")
}
