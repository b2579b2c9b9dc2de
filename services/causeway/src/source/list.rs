//! `causeway source list`: what is wanted of each source, and what a running process says of it.

use crate::{
    Config,
    output::{self, Format},
    settings::Settings,
    status::ask,
};
use change_log::signal;
use serde::Serialize;
use serde_json::Value;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: Config,
    /// The ops address of the running `causeway run`; otherwise the settings' `[ops] listen`.
    #[arg(long, env = "CAUSEWAY_OPS_URL")]
    url: Option<String>,
}

#[derive(Serialize)]
struct Row {
    source: String,
    /// `unknown` when no process answers.
    phase: String,
    paused: bool,
    snapshots_paused: bool,
    /// What the connector says of itself; none when no process answers.
    #[serde(skip_serializing_if = "Value::is_null")]
    view: Value,
}

/// What a connector says of itself.
pub const TOLD: [&str; 9] =
    ["phase", "lag", "behind", "snapshot", "WAL kept", "limit", "lost in", "waits for", "asks of the source"];

pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
    let settings = Settings::load(&arguments.config)?;
    let url = arguments.url.unwrap_or_else(|| format!("http://{}", settings.ops.listen));
    let status = match ask(&url, "/status").await {
        Ok(status) => status,
        Err(error) => {
            eprintln!("causeway: {error:#}");
            Value::Null
        }
    };
    let mut rows = Vec::with_capacity(settings.sources.len());
    for source in &settings.sources {
        let desired = signal::read(&settings.kafka, &source.name).await?;
        let view = status["sources"][&source.name].clone();
        rows.push(Row {
            source: source.name.clone(),
            phase: view["phase"].as_str().unwrap_or("unknown").to_owned(),
            paused: desired.paused,
            snapshots_paused: desired.snapshots_paused,
            view,
        });
    }
    output::rows(format, &headings(), &rows, cells)
}

/// The same, and what is wanted of it behind its phase.
fn headings() -> Vec<&'static str> {
    let mut headings = vec!["source"];
    headings.extend(TOLD);
    headings.insert(2, "wanted");
    headings
}

fn cells(row: &Row) -> Vec<String> {
    let mut wanted = if row.paused { "paused" } else { "running" }.to_owned();
    if row.snapshots_paused {
        wanted += ", no snapshots";
    }
    let mut cells = vec![row.source.clone()];
    cells.extend(told(&row.phase, &row.view));
    cells.insert(2, wanted);
    cells
}

/// A connector's [`TOLD`].
pub fn told(phase: &str, view: &Value) -> [String; 9] {
    let slot = &view["slot"];
    let or_dash = |told: Option<String>| told.unwrap_or_else(|| "-".to_owned());
    let kept = slot["retained_bytes"].as_f64().map(bytes);
    let over = if slot["over_budget"] == true { " (over budget)" } else { "" };
    [
        phase.to_owned() + &left_out(view),
        or_dash(view["lag_s"].as_f64().map(seconds)),
        or_dash(view["lag_bytes"].as_f64().map(bytes)),
        or_dash(snapshot(&view["snapshot"])),
        or_dash(kept.map(|kept| kept + over)),
        or_dash(slot["limit_bytes"].as_f64().map(bytes)),
        or_dash(slot["forecast_s"].as_f64().map(seconds)),
        or_dash(waits_for(view)),
        or_dash(advice(&view["advice"])),
    ]
}

/// The tables that are left out until the slot keeps less, or until their shape is let in.
fn left_out(view: &Value) -> String {
    let list = |key: &str| view[key].as_array().into_iter().flatten();
    let refused = list("refused_tables").filter_map(|table| table["table"].as_str());
    let tables: Vec<&str> = list("paused_tables").filter_map(Value::as_str).chain(refused).collect();
    if tables.is_empty() { String::new() } else { format!(", but for {}", tables.join(", ")) }
}

/// A line for the source, and for each table whose shape is not let in.
fn waits_for(view: &Value) -> Option<String> {
    let line = |table: &Value| {
        let text = |key: &str| table[key].as_str().unwrap_or_default().to_owned();
        format!("{} is left out since {}: {}", text("table"), text("since"), text("why"))
    };
    let refused = view["refused_tables"].as_array().into_iter().flatten().map(line);
    let lines: Vec<String> = view["refused"].as_str().map(str::to_owned).into_iter().chain(refused).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// A line for each table, with the statements of which one is to be chosen.
fn advice(told: &Value) -> Option<String> {
    let line = |advice: &Value| {
        let ways = advice["sql"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let ways: Vec<String> = ways.map(|sql| format!("`{sql}`")).collect();
        let text = |key: &str| advice[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}", text("about"), text("why"), ways.join(" or "))
    };
    let lines: Vec<String> = told.as_array()?.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn snapshot(view: &Value) -> Option<String> {
    (!view.is_null() && view["done"] != true).then(|| {
        let (rows, expected) = (view["rows"].as_u64().unwrap_or(0), view["rows_estimated"].as_u64().unwrap_or(0));
        let mut told = format!("{} of {} tables, {rows} of about {expected} rows", view["tables_done"], view["tables"]);
        if let Some(left) = view["seconds_left"].as_f64() {
            told += &format!(", {} left", seconds(left));
        }
        if let Some(why) = view["waits_for"].as_str() {
            told += &format!(", waits for {why}");
        }
        told
    })
}

fn bytes(count: f64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut count, mut unit) = (count, 0);
    while count >= 1024.0 && unit + 1 < UNITS.len() {
        count /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{count:.1} {}", UNITS[unit]) }
}

pub(super) fn seconds(count: f64) -> String {
    match count {
        count if count < 120.0 => format!("{count:.1} s"),
        count if count < 7_200.0 => format!("{:.0} min", count / 60.0),
        count if count < 172_800.0 => format!("{:.0} h", count / 3_600.0),
        count => format!("{:.0} days", count / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_tells_what_matters() {
        let view = json!({
            "paused_tables": ["emis.log"], "lag_s": 0.25, "lag_bytes": 2048, "refused": null,
            "advice": [{"about": "emis.note", "why": "is not captured", "sql": ["one", "two"]}],
            "snapshot": {"tables_done": 1, "tables": 3, "rows": 10, "rows_estimated": 40, "done": false},
            "slot": {"retained_bytes": 3_221_225_472_u64, "limit_bytes": null, "forecast_s": 7_300, "over_budget": true},
        });
        let row =
            Row { source: "riverside".into(), phase: "snapshot".into(), paused: false, snapshots_paused: true, view };
        let want = [
            "riverside",
            "snapshot, but for emis.log",
            "running, no snapshots",
            "0.2 s",
            "2.0 kB",
            "1 of 3 tables, 10 of about 40 rows",
            "3.0 GB (over budget)",
            "-",
            "2 h",
            "-",
            "emis.note is not captured: `one` or `two`",
        ];
        assert_eq!(cells(&row), want);
        let refused = json!({"refused_tables": [{"table": "emis.note", "since": "2026", "why": "another shape"}]});
        let refused = Row { view: refused, source: "riverside".into(), phase: "streaming".into(), ..row };
        let told = cells(&refused);
        assert_eq!(
            (&*told[1], &*told[9]),
            ("streaming, but for emis.note", "emis.note is left out since 2026: another shape")
        );
        let silent = Row { view: Value::Null, ..refused };
        assert_eq!(cells(&silent)[3..], ["-"; 8]);
        assert_eq!(cells(&silent).len(), headings().len());
    }
}
