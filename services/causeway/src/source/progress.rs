//! `causeway source snapshot --wait`: follows a snapshot that was asked for until its end.

use crate::{settings::Settings, status::ask};
use anyhow::ensure;
use change_log::LogTail;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(500);
/// The log itself is asked this often: the running process may tell of another snapshot by then.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Where there is no terminal, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Polls without an answer before giving up.
const SILENT_MAX: u32 = 60;

/// Returns once the log holds the snapshot's end.
pub async fn follow(settings: &Settings, url: &str, source: &str, id: &str) -> anyhow::Result<()> {
    let bar = bar()?;
    let terminal = std::io::stderr().is_terminal();
    let (mut asked, mut told, mut silent) = (Instant::now(), Instant::now(), 0);
    loop {
        tokio::time::sleep(POLL).await;
        let view = match ask(url, "/status").await {
            Ok(status) => status["sources"][source]["snapshot"].clone(),
            Err(error) => {
                silent += 1;
                ensure!(silent < SILENT_MAX, "{error:#}. The snapshot stays asked for");
                bar.set_message("the connector does not answer");
                continue;
            }
        };
        silent = 0;
        let ours = view["id"] == id;
        if ours {
            bar.set_length(view["rows_estimated"].as_u64().unwrap_or_default());
            bar.set_position(view["rows"].as_u64().unwrap_or_default());
        }
        let line = if ours { line(&view) } else { "waits for its turn".to_owned() };
        if !terminal && told.elapsed() >= LINE_EVERY {
            told = Instant::now();
            eprintln!("{line}");
        }
        bar.set_message(line);
        if (ours && view["done"] == true) || asked.elapsed() >= LOG_EVERY {
            asked = Instant::now();
            let tail = LogTail::read(&settings.kafka, source, None).await?;
            if connector_postgres::finished_snapshots(&tail).iter().any(|finished| finished == id) {
                bar.finish_and_clear();
                ensure!(
                    !connector_postgres::was_given_up(&tail, id),
                    "snapshot {id} of {source} was given up: a row does not take its condition. The connector's log has \
                     the SQLSTATE; ask again with a condition that holds for every row, such as one in a case expression"
                );
                eprintln!("snapshot {id} of {source} is complete");
                return Ok(());
            }
        }
    }
}

/// On the terminal; elsewhere it draws nothing.
fn bar() -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {wide_msg}")?;
    Ok(ProgressBar::new(0).with_style(style))
}

/// What the bar does not say.
fn line(view: &Value) -> String {
    let number = |key: &str| view[key].as_f64().unwrap_or_default();
    let mut line = format!(
        "{} of about {} rows, {:.0} rows/s, {} of {} tables",
        view["rows"],
        view["rows_estimated"],
        number("rows_per_s"),
        view["tables_done"],
        view["tables"]
    );
    if let Some(left) = view["seconds_left"].as_f64() {
        line += &format!(", {} left", super::list::seconds(left));
    }
    for (what, key) in [("waits for", "waits_for"), ("trouble:", "problem")] {
        if let Some(why) = view[key].as_str() {
            line += &format!(", {what} {why}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_tells_how_far_how_fast_and_why_not() {
        let mut view = json!({ "rows": 10, "rows_estimated": 40, "rows_per_s": 5.0, "tables_done": 1, "tables": 3,
            "seconds_left": 6.0, "waits_for": null, "problem": null });
        assert_eq!(line(&view), "10 of about 40 rows, 5 rows/s, 1 of 3 tables, 6.0 s left");
        view["seconds_left"] = Value::Null;
        view["waits_for"] = "the source to be less busy".into();
        assert_eq!(line(&view), "10 of about 40 rows, 5 rows/s, 1 of 3 tables, waits for the source to be less busy");
    }
}
