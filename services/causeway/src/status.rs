//! `causeway status`: asks a running process over its ops port.

use crate::{
    output::{self, Format},
    source::list::{TOLD, told},
};
use anyhow::Context;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A process that does not answer within this is not well.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The state of a part that is well.
const READY: &str = "ready";

#[derive(clap::Args)]
pub struct Arguments {
    /// The ops address of a running `causeway run` (its `[ops] listen`).
    #[arg(long, default_value = "http://127.0.0.1:9600", env = "CAUSEWAY_OPS_URL")]
    url: String,
}

pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
    let (ready, status) = (ask(&arguments.url, "/readyz").await?, ask(&arguments.url, "/status").await?);
    let all = json!({ "ready": ready, "status": status });
    output::one(format, &all, |_| as_text(&ready, &status))
}

/// What a running process answers at a path of its ops port.
pub async fn ask(base: &str, path: &str) -> anyhow::Result<Value> {
    let client = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build()?;
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let answer = client.get(&url).send().await.with_context(|| {
        format!("no answer from {url}: is `causeway run` up, and is this its [ops] listen address? (--url)")
    })?;
    Ok(answer.json().await?)
}

/// What people want to see first: the parts that are not ready, then how each source's works stand, then each source, then
/// each source's topics.
fn as_text(ready: &Value, status: &Value) -> String {
    let mut parts: Vec<Vec<String>> = entries(ready).map(|(part, state)| vec![part.clone(), plain(state)]).collect();
    parts.sort_by_key(|row| row[1] == READY);
    let mut blocks = vec![output::table(&["part", "state"], parts.into_iter())];
    let states = &status["states"];
    if entries(states).next().is_some() {
        let row = |source: &String, work: &String, standing: &Value| {
            let told = ["state", "since", "why"].map(|key| standing[key].as_str().unwrap_or("-").to_owned());
            [source.clone(), work.clone()].into_iter().chain(told).collect::<Vec<_>>()
        };
        let works = |(source, works)| entries(works).map(move |(work, standing)| row(source, work, standing));
        blocks.push(output::table(&["source", "work", "state", "since", "why"], entries(states).flat_map(works)));
    }
    let problems = &status["problems"];
    if entries(problems).next().is_some() {
        let rows = entries(problems).map(|(file, what)| vec![file.clone(), plain(what)]);
        blocks.push(output::table(&["file of sources", "is not taken up"], rows));
    }
    let sources = &status["sources"];
    if entries(sources).next().is_some() {
        let mut headings = vec!["source"];
        headings.extend(TOLD);
        let row = |(name, view): (&String, &Value)| {
            let mut row = vec![name.clone()];
            row.extend(told(view["phase"].as_str().unwrap_or("unknown"), view));
            row
        };
        blocks.push(output::table(&headings, entries(sources).map(row)));
    }
    let topics = &status["topics"];
    if entries(topics).next().is_some() {
        let keys = ["topics", "records", "in_flight", "settled"];
        let row = |(name, view): (&String, &Value)| {
            let told = keys.iter().map(|key| plain(&view[key]));
            std::iter::once(name.clone()).chain(told).collect()
        };
        let headings = ["topics of", "topics", "records", "in flight", "settled offset"];
        blocks.push(output::table(&headings, entries(topics).map(row)));
    }
    blocks.join("\n\n")
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE).iter()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_tables_and_no_json() {
        let ready = json!({"connector": "ready", "normaliser-riverside": "waits for Kafka", "sink-views": "ready"});
        let status = json!({
            "sources": {"riverside": {
                "phase": "streaming", "lag_s": 0.25, "lag_bytes": 2048, "snapshot": null, "refused": null,
                "advice": [{"about": "emis.note", "why": "is not captured", "sql": ["one"]}],
                "slot": {"retained_bytes": 1024, "limit_bytes": null, "forecast_s": null, "over_budget": false},
            }},
            "states": {"riverside": {
                "connector": {"state": "running", "since": "2026-11-27T09:00:00Z", "why": null},
                "normaliser": {"state": "waiting-for-operator", "since": "2026-11-27T09:01:00Z", "why": "no mapping"},
            }},
            "problems": {"gp-17.toml": "names no [[source]]"},
            "topics": {"riverside": {"topics": 3, "records": 17, "in_flight": 0, "settled": 42, "committed_at": 1}},
        });
        let told = as_text(&ready, &status);
        let squeezed: Vec<String> =
            told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            squeezed,
            [
                "part state",
                "normaliser-riverside waits for Kafka",
                "connector ready",
                "sink-views ready",
                "",
                "source work state since why",
                "riverside connector running 2026-11-27T09:00:00Z -",
                "riverside normaliser waiting-for-operator 2026-11-27T09:01:00Z no mapping",
                "",
                "file of sources is not taken up",
                "gp-17.toml names no [[source]]",
                "",
                "source phase lag behind snapshot WAL kept limit lost in waits for asks of the source",
                "riverside streaming 0.2 s 2.0 kB - 1.0 kB - - - emis.note is not captured: `one`",
                "",
                "topics of topics records in flight settled offset",
                "riverside 3 17 0 42",
            ]
        );
        let nothing = as_text(&json!({}), &json!({}));
        assert_eq!(nothing.split_whitespace().collect::<Vec<_>>(), ["part", "state"]);
    }
}
