//! `causeway feedback`: what readers said is wrong with alerts, and what they are answered.

use crate::{
    Config,
    output::{self, Format},
    quarantine::actor,
    settings::Settings,
};
use anyhow::{Context, ensure};
use gateway::feedback::{self, Item};
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
pub enum Verb {
    /// List what waits for an answer, the oldest first: which alert, what is wrong, where its event stands. Never notes.
    List {
        #[command(flatten)]
        config: Config,
        /// What has been answered, too.
        #[arg(long)]
        all: bool,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Show one with its reader's note, which is patient data. The look is audited.
    Show {
        #[command(flatten)]
        config: Config,
        id: i64,
        /// Why the note is needed; goes into the audit.
        #[arg(long)]
        reason: String,
    },
    /// Answer one: whoever asked reads it above their alerts. Audited.
    Answer {
        #[command(flatten)]
        config: Config,
        id: i64,
        /// What became of it, without a word about the patient.
        #[arg(long)]
        text: String,
    },
}

pub async fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::List { config, all, limit } => {
            let settings = Settings::load(&config)?;
            let pool = boot::database::pool(&settings.database, 1)?;
            let items: Vec<Value> = feedback::list(&pool, all, limit).await?.iter().map(told).collect();
            let columns = ["id", "at", "kind", "rule", "source", "event", "answered_at"];
            output::rows(format, &columns.map(str::to_uppercase).each_ref().map(String::as_str), &items, |item| {
                columns.iter().map(|column| plain(&item[*column])).collect()
            })
        }
        Verb::Show { config, id, reason } => {
            ensure!(!reason.trim().is_empty(), "--reason must say why the note is needed");
            let settings = Settings::load(&config)?;
            let pool = boot::database::pool(&settings.database, 1)?;
            let (item, note) = feedback::show(&pool, id, &actor(), &reason)
                .await
                .context("the look could not be audited, so nothing is shown")?
                .with_context(|| format!("no feedback {id}"))?;
            let mut shown = told(&item);
            note.send(|note| {
                shown["patient"] = json!(note.patient);
                shown["note"] = json!(note.note);
            });
            output::one(format, &shown, |shown| {
                let fields = shown.as_object().into_iter().flatten();
                fields.map(|(key, value)| format!("{key:<14} {}", plain(value))).collect::<Vec<_>>().join("\n")
            })
        }
        Verb::Answer { config, id, text } => {
            ensure!(!text.trim().is_empty(), "--text must say what became of it");
            let settings = Settings::load(&config)?;
            let pool = boot::database::pool(&settings.database, 1)?;
            let answered = feedback::answer(&pool, id, &actor(), text.trim()).await?;
            ensure!(
                answered,
                "no feedback {id} waits for an answer: `causeway feedback list --all` tells those that there are"
            );
            output::one(format, &json!({ "id": id, "answered": true }), |_| format!("feedback {id} is answered"))
        }
    }
}

fn told(item: &Item) -> Value {
    json!({
        "id": item.id, "at": item.at, "kind": item.kind, "rule": item.rule, "source": item.source, "alert": item.alert,
        "event": item.event_id, "actor": item.actor, "answered_at": item.answered_at, "answered_by": item.answered_by,
    })
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
