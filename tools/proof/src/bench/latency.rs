//! `./run bench latency`: from the commit of a critical result to the alert in a connected event
//! stream, while the clinics work.

use super::{Options, quantile};
use crate::{
    live::{self, Stream},
    report::Report,
    running::{Histories, Running},
};
use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use region::{simulator::Simulator, story};
use std::{collections::HashMap, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Changes a second that the clinics make meanwhile.
pub const RATE: u32 = 500;
const SAMPLES: usize = 300;
const SAMPLES_LEAST: usize = SAMPLES * 9 / 10;
/// Between two critical results; not a divisor of any timer's period.
const PAUSE: Duration = Duration::from_millis(137);
const WARM_UP: Duration = Duration::from_secs(10);
const LATE_MAX: Duration = Duration::from_secs(20);

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    say("starting a region");
    let (folder, rate) = (&options.folder, f64::from(options.rate));
    let mut running = Running::prepare(folder, &Histories { seed: 7, people: 300 }, |_| {}).await?;
    running.launch()?;
    running.wait_live(|_, _| {}).await?;
    let measured = measure(&running, rate, &mut say).await;
    running.stop().await?;
    let mut latencies = measured?;
    latencies.sort_by(f64::total_cmp);
    let (p50, p99) = (quantile(&latencies, 0.5), quantile(&latencies, 0.99));
    let mut report = Report::new("latency");
    report.figure("p50_ms", p50);
    report.figure("p99_ms", p99);
    report.figure("rate_per_s", rate);
    report.figure("samples", latencies.len() as f64);
    report.check("p50_ms", p50 <= 100.0, &format!("{p50:.1} ms; at most 100"));
    report.check("p99_ms", p99 <= 500.0, &format!("{p99:.1} ms; at most 500"));
    Ok(report)
}

async fn measure(running: &Running, rate: f64, say: &mut impl FnMut(&str)) -> anyhow::Result<Vec<f64>> {
    let hospital = running.source("stmarys").await?;
    let encounter = story::ae_attendance(&hospital, Timestamp::now()).await?;
    let token = live::sign_in(&running.gateway, "ed.stmarys", &running.passwords["ed.stmarys"]).await?;
    let mut stream = Stream::open(&running.gateway, &token, None).await?;
    let (sender, mut arrivals) = mpsc::channel(SAMPLES * 16);
    let reader = tokio::spawn(async move {
        while let Ok(event) = stream.next().await {
            if event.data["change"] == "raised" && sender.send((Timestamp::now(), event.data)).await.is_err() {
                break;
            }
        }
    });
    let simulator =
        Simulator::new(7, running.region.gp.config("riverside")?, running.region.hospital.config("stmarys")?, rate);
    let (counts, stop) = (simulator.counts(), CancellationToken::new());
    let stopped = stop.clone();
    let work = tokio::spawn(async move { simulator.run(stopped).await });
    say(&format!("warming up at {rate:.0} changes/s"));
    tokio::time::sleep(WARM_UP).await;
    let (before, began) = (counts().changes_total(), Timestamp::now());
    // The potassium of each sample is its own, so the alert's headline tells which it is.
    let mut committed: HashMap<String, Timestamp> = HashMap::new();
    for sample in 0..SAMPLES {
        let value = format!("{}.{:03}", 7 + sample / 1000, 100 + sample);
        let at = Timestamp::now();
        let bloods = story::crisis_result(&hospital, encounter, at - SignedDuration::from_mins(20), at).await?;
        story::correct(&hospital, bloods.potassium, &value, "HH", Timestamp::now()).await?;
        committed.insert(value, Timestamp::now());
        tokio::time::sleep(PAUSE).await;
    }
    let seconds = (Timestamp::now() - began).total(jiff::Unit::Second)?;
    say(&format!("the clinics did {:.0} changes/s", (counts().changes_total() - before) as f64 / seconds));
    let mut latencies = Vec::new();
    let deadline = tokio::time::Instant::now() + LATE_MAX;
    while latencies.len() < SAMPLES
        && let Ok(Some((arrived, data))) = tokio::time::timeout_at(deadline, arrivals.recv()).await
    {
        let headline = data["headline"].as_str().unwrap_or_default();
        let Some(value) = committed.keys().find(|value| headline.contains(value.as_str())).cloned() else { continue };
        let commit = committed.remove(&value).context("just found")?;
        latencies.push((arrived - commit).total(jiff::Unit::Millisecond)?);
    }
    stop.cancel();
    reader.abort();
    work.await??;
    ensure!(latencies.len() >= SAMPLES_LEAST, "only {} of {SAMPLES} alerts arrived", latencies.len());
    Ok(latencies)
}
