//! `./run demo`: a region on this machine, a simulated day, and at the end the proof that nothing
//! was lost, doubled, reordered or shown to the wrong person.

use crate::{
    checks,
    report::Report,
    running::{Histories, Running, USERS},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use region::simulator::{Counts, Simulator};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

pub struct Options {
    pub folder: PathBuf,
    /// Live traffic for so long, then checks; without it until Ctrl-C.
    pub seconds: Option<u64>,
    /// Changes a second over both clinics.
    pub rate: f64,
    pub headless: bool,
    pub people: u64,
    pub seed: u64,
}

const TICK: Duration = Duration::from_secs(1);
/// Without a terminal a line now and then is enough.
const HEADLESS_TICKS: u64 = 10;

/// What the terminal shows: bars for what has an end, a line for what goes on.
struct Screen {
    bars: MultiProgress,
    headless: bool,
    started: Instant,
}

impl Screen {
    fn say(&self, text: &str) {
        let line = format!("[{:>5.1}s] {text}", self.started.elapsed().as_secs_f64());
        if self.headless {
            println!("{line}")
        } else {
            let _ = self.bars.println(line);
        }
    }

    fn bar(&self, what: &str, total: u64) -> ProgressBar {
        if self.headless {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("        {msg:<24} {bar:32} {human_pos}/{human_len} {per_sec}");
        let bar = self.bars.add(ProgressBar::new(total));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        bar
    }
}

/// Runs the demo. With `seconds`, ends with a report of its invariants; otherwise `None`, after `stop`.
pub async fn run(options: &Options, stop: CancellationToken) -> anyhow::Result<Option<Report>> {
    let screen = Screen { bars: MultiProgress::new(), headless: options.headless, started: Instant::now() };
    screen.say("starting PostgreSQL (3), Kafka and the schema registry; loading histories");
    let bar = screen.bar("people", options.people);
    let histories = Histories { seed: options.seed, people: options.people };
    let prepared = tokio::select! {
        () = stop.cancelled() => return Ok(None),
        prepared = Running::prepare(&options.folder, &histories, |progress| bar.set_position(progress.people_done)) => prepared,
    };
    bar.finish_and_clear();
    let mut running = prepared?;
    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(None),
        outcome = day(&mut running, options, &screen, stop.clone()) => outcome,
    };
    screen.say("stopping everything");
    let stopped = running.stop().await;
    let report = outcome?;
    stopped?;
    Ok(report)
}

async fn day(
    running: &mut Running,
    options: &Options,
    screen: &Screen,
    stop: CancellationToken,
) -> anyhow::Result<Option<Report>> {
    running.call_witnesses().await?;
    running.launch()?;
    screen.say("snapshots of both databases");
    live(running, screen).await?;
    screen.say("every service is ready");
    let mut report = Report::new("demo");
    checks::story(running, &mut report).await?;
    welcome(running, screen);
    let (gp, hospital) = (running.region.gp.config("riverside")?, running.region.hospital.config("stmarys")?);
    let simulator = Simulator::new(options.seed, gp, hospital, options.rate);
    let (counts, day_over) = (simulator.counts(), stop.child_token());
    let ends = day_over.clone();
    let work = tokio::spawn(async move { simulator.run(ends).await });
    watch(running, options, screen, &counts).await;
    day_over.cancel();
    work.await??;
    if options.seconds.is_none() {
        return Ok(None);
    }
    screen.say("traffic has stopped; draining, then checking");
    checks::all(running, &mut report).await?;
    Ok(Some(report))
}

/// Waits for the snapshots, with a bar for each table that is being read.
async fn live(running: &mut Running, screen: &Screen) -> anyhow::Result<()> {
    let mut bars: BTreeMap<String, ProgressBar> = BTreeMap::new();
    let mut told = String::new();
    running
        .wait_live(|waiting, status| {
            for (source, tables) in snapshots(status) {
                let bar = bars.entry(source.clone()).or_insert_with(|| screen.bar(&format!("snapshot {source}"), 0));
                bar.set_length(tables.1.max(tables.0));
                bar.set_position(tables.0);
            }
            if told != waiting {
                screen.say(&format!("waiting for {waiting}"));
                waiting.clone_into(&mut told);
            }
        })
        .await?;
    bars.values().for_each(ProgressBar::finish_and_clear);
    Ok(())
}

/// Rows read and expected of each source, from the connector's status.
fn snapshots(status: &Value) -> BTreeMap<String, (u64, u64)> {
    let sources = status["sources"].as_object().into_iter().flatten();
    sources
        .map(|(name, source)| {
            let number = |key: &str| source[key].as_u64().unwrap_or(0);
            (name.clone(), (number("snapshot_rows"), number("snapshot_rows_estimated")))
        })
        .collect()
}

fn welcome(running: &Running, screen: &Screen) {
    screen.say(&format!("the page: {}", running.gateway));
    for user in USERS {
        screen.say(&format!("  sign in as {user:<14} password {}", running.passwords[user]));
    }
    screen.say(&format!("settings, logs: {}", running.folder.display()));
}

/// Shows how it goes until the time is up; without a time, for ever.
async fn watch(running: &Running, options: &Options, screen: &Screen, counts: &impl Fn() -> Counts) {
    let line = screen.bar("", 0);
    line.set_style(ProgressStyle::with_template("        {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
    let ends = options.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut before = 0;
    let mut ticks = 0_u64;
    while ends.is_none_or(|ends| Instant::now() < ends) {
        tokio::time::sleep(TICK).await;
        ticks += 1;
        let now = counts().changes_total();
        let told = format!("{} changes/s · {now} in all · {}", now - before, stages(running).await);
        before = now;
        if screen.headless && ticks.is_multiple_of(HEADLESS_TICKS) {
            screen.say(&told);
        }
        line.set_message(told);
    }
    line.finish_and_clear();
}

/// Lag per stage, and alerts so far.
async fn stages(running: &Running) -> String {
    let mut lags = Vec::new();
    for name in ["connector", "normaliser", "sinks"] {
        let Some(process) = running.processes.get(name) else { continue };
        let metrics = crate::running::http().get(format!("http://{}/metrics", process.ops)).send().await;
        let text = match metrics {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        lags.push(format!(
            "{name} lag {}",
            lag(&text).map_or_else(|| "?".to_owned(), |s| format!("{:.0} ms", s * 1e3))
        ));
    }
    let alerts = match running.own().await {
        Ok(client) => {
            client.query_one("select count(*) from alert.alert", &[]).await.map_or(0, |row| row.get::<_, i64>(0))
        }
        Err(_) => 0,
    };
    format!("{} · {alerts} alerts", lags.join(" · "))
}

/// The largest `…_lag_seconds` that a process tells.
fn lag(metrics: &str) -> Option<f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && line.contains("_lag_seconds"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_largest_lag_counts() {
        let text = "# TYPE causeway_lag_seconds gauge\ncauseway_lag_seconds{source=\"a\"} 0.25\ncauseway_lag_seconds{source=\"b\"} 1.5\n";
        assert_eq!(super::lag(text), Some(1.5));
        assert_eq!(super::lag(""), None);
    }
}
