//! `causeway status`: asks a running process over its ops port.

use crate::output::{self, Format};
use anyhow::Context;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A process that does not answer within this is not well.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

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

fn as_text(ready: &Value, status: &Value) -> String {
    let mut lines: Vec<String> = entries(ready).map(|(part, state)| format!("{part:<28} {}", plain(state))).collect();
    for (section, value) in entries(status) {
        lines.push(String::new());
        lines.push(section.clone());
        for (key, value) in entries(value) {
            lines.push(format!("  {key:<26} {}", plain(value)));
        }
    }
    lines.join("\n")
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE).iter()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
