//! `causeway quarantine`: what could not be put into the record, read from the topic itself, and closed by hand.

mod close;
mod filter;
mod replay;
mod topic;

use crate::{
    Config,
    output::{self, Format},
    settings::Settings,
};
use anyhow::{Context, ensure};
use base64::Engine as _;
use event::quarantined::Verdict;
use gateway::access::Recorded;
use serde_json::{Value, json};
use topic::{Item, State};

#[derive(clap::Subcommand)]
pub enum Verb {
    /// List items that are not resolved, newest last: where, why, never values.
    List {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        filter: filter::Filter,
        /// Only items whose reason contains this text.
        #[arg(long, alias = "item-reason", value_name = "TEXT")]
        reason: Option<String>,
        /// Closed items too.
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
    /// Try items again once their cause is mended: a message that the record could not take is applied and its item closed,
    /// and a source that keeps an item looks at all its rows again. Audited.
    Replay(close::Arguments),
    /// Close items by hand that were seen to: what was set aside is in the record by another way, or has no place there.
    /// Audited. What its own source keeps is closed by its source alone.
    Resolve(close::Arguments),
    /// Close items by hand that are given up: what was set aside stays out of the record. Audited, as `resolve`.
    Drop(close::Arguments),
}

pub async fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::List { config, filter, reason, all, limit } => {
            let settings = Settings::load(&config)?;
            let wanted = |item: &Item| {
                (item.state == State::Open || all && matches!(item.state, State::Closed(_)))
                    && filter.takes(item)
                    && reason.as_ref().is_none_or(|reason| item.what.reason.contains(reason.as_str()))
            };
            let known = topic::standing(topic::read(&settings, None, None).await?);
            let mut items: Vec<Item> = known.into_values().filter(wanted).collect();
            items.drain(..items.len().saturating_sub(limit));
            let rows: Vec<Value> = items.iter().map(Item::without_values).collect();
            match format {
                Format::Text if !rows.is_empty() => println!("{}", table(&rows)),
                _ => output::rows(format, &[], &rows, |_| Vec::new())?,
            }
            Ok(())
        }
        Verb::Show { config, offset, values, reason } => {
            let settings = Settings::load(&config)?;
            let item = topic::standing(topic::read(&settings, Some(offset), Some(offset)).await?)
                .remove(&offset)
                .with_context(|| format!("no item at offset {offset} of the quarantine"))?;
            let mut shown = item.without_values();
            if values {
                // The audit is written first: without it nothing is released.
                let look = audit(&settings, &item, &reason.unwrap_or_default()).await?;
                let text = |bytes: &Option<Vec<u8>>| {
                    bytes.as_ref().map(|b| base64::engine::general_purpose::STANDARD.encode(b))
                };
                let values = json!({
                    "key": text(&item.what.key), "original": text(&item.what.original), "patient": item.what.patient,
                });
                let values = look.release(values).map_err(|why| anyhow::anyhow!("refused: {}", why.as_str()))?;
                values.send(|values| merge(&mut shown, values));
            }
            output::one(format, &shown, |shown| {
                let fields = shown.as_object().into_iter().flatten();
                fields.map(|(key, value)| format!("{key:<14} {}", plain(value))).collect::<Vec<_>>().join("\n")
            })
        }
        Verb::Replay(arguments) => replay::run(arguments, format).await,
        Verb::Resolve(arguments) => close::run(Verdict::Resolved, arguments, format).await,
        Verb::Drop(arguments) => close::run(Verdict::Dropped, arguments, format).await,
    }
}

/// Items as people read them.
fn table(rows: &[Value]) -> String {
    const COLUMNS: [&str; 9] = ["offset", "told", "source", "stage", "reason", "detail", "table", "position", "state"];
    let headings = COLUMNS.map(str::to_uppercase);
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    output::table(&headings, rows.iter().map(|row| COLUMNS.map(|key| plain(&row[key])).to_vec()))
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

async fn audit(settings: &Settings, item: &Item, reason: &str) -> anyhow::Result<Recorded> {
    ensure!(!reason.trim().is_empty(), "--reason must say why the values are needed");
    let pool = boot::database::pool(&settings.database, 1)?;
    let look = gateway::operator::QuarantineLook {
        actor: &actor(),
        source: &item.what.source,
        patient: item.what.patient.as_deref(),
        offset: item.offset,
        reason,
    };
    gateway::operator::quarantine_look(&pool, &look).await.context("the look could not be audited, so nothing is shown")
}

/// Whoever asks without a name.
const NOBODY: &str = "operator";

/// Who asks, in the audit's words.
pub fn actor() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| NOBODY.to_owned())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
