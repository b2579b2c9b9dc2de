//! Kafka halts for some seconds and goes on, as its machine or its collector may: everything recovers by itself.
//!
//! # Why
//! A broker that was halted for longer than its session tells its clients of no broker when it goes on, and librdkafka
//! then hangs for good, about one time in three, in any client. So every process of a region is here, under load, and
//! after each halt the whole way from a commit to the record is waited for; at the end nothing is lost, doubled or out of
//! order.

use super::{Scale, load::Random};
use crate::{
    checks,
    report::Report,
    running::{Histories, Running, ask, tail},
};
use anyhow::{Context, ensure};
use region::simulator::Simulator;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const PEOPLE: u64 = 60;
/// Changes a second over both clinics.
const RATE: f64 = 60.0;
/// Between two halts.
const CALM_MAX: Duration = Duration::from_secs(3);
/// The whole way from a commit to the record, after a halt: clients that hang are found and made anew.
const RECOVERED_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(250);

/// How long Kafka halts.
pub fn halt(scale: &Scale, random: &mut Random) -> Duration {
    let (least, most) = (scale.halt_min.as_millis() as u64, scale.halt_max.as_millis() as u64);
    Duration::from_millis(least + random.below(most - least + 1))
}

/// A region of its own, with all services.
pub async fn region(
    folder: &Path,
    scale: &Scale,
    seed: u64,
    report: &mut Report,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    let mut running = Running::prepare(folder, &Histories { seed, people: PEOPLE }, |_| {}).await?;
    running.call_witnesses().await?;
    running.launch()?;
    running.wait_live(|_, _| {}).await?;
    let (gp, hospital) = (running.region.gp.config("riverside")?, running.region.hospital.config("stmarys")?);
    let (simulator, stop) = (Simulator::new(seed, gp, hospital, RATE), CancellationToken::new());
    let stopped = stop.clone();
    let work = tokio::spawn(async move { simulator.run(stopped).await });
    let (mut random, mut slowest) = (Random(seed), Duration::ZERO);
    for number in 1..=scale.halts {
        tokio::time::sleep(CALM_MAX.mul_f64(random.below(1_000) as f64 / 1_000.0)).await;
        let halted = halt(scale, &mut random);
        running.region.kafka.pause()?;
        tokio::time::sleep(halted).await;
        running.region.kafka.resume()?;
        let took = recovered(&mut running).await.with_context(|| format!("halt {number}, of {halted:?}"))?;
        slowest = slowest.max(took);
        say(&format!("halt {number} of {:.1} s: level again after {:.1} s", halted.as_secs_f64(), took.as_secs_f64()));
    }
    stop.cancel();
    work.await??;
    running.wait_live(|_, _| {}).await?;
    let stalls = stalls(&running).await?;
    say(&format!("clients that hung and were made anew: {stalls}"));
    report.figure("halts", scale.halts as f64);
    report.figure("halts_slowest_recovery_seconds", slowest.as_secs_f64());
    report.figure("halts_clients_made_anew", stalls);
    let mut checked = Report::new("halts");
    checks::all(&mut running, &mut checked).await?;
    for check in checked.checks() {
        report.check(&format!("halts_{}", check.name), check.ok, &check.detail);
    }
    running.stop().await
}

/// Until what both sources have committed since is in the record, and every process says that it is ready.
pub async fn recovered(running: &mut Running) -> anyhow::Result<Duration> {
    let (began, own) = (Instant::now(), running.own().await?);
    let now: i64 = own.query_one("select (extract(epoch from clock_timestamp()) * 1000000)::int8", &[]).await?.get(0);
    let level = "select count(*) from record.freshness where committed_at >= to_timestamp($1::float8 / 1000000)";
    loop {
        let sources: i64 = own.query_one(level, &[&(now as f64)]).await?.get(0);
        let mut unready = Vec::new();
        for (name, process) in &mut running.processes {
            ensure!(process.part.exited()?.is_none(), "{name} ended:\n{}", tail(process.part.log()));
            if !process.part.is_ready().await {
                unready.push(*name);
            }
        }
        if sources >= 2 && unready.is_empty() {
            return Ok(began.elapsed());
        }
        if began.elapsed() > RECOVERED_MAX {
            let mut told = Vec::new();
            for (name, process) in &running.processes {
                let (ready, log) = (ask(&process.ops, "/readyz").await.unwrap_or_default(), tail(process.part.log()));
                told.push(format!("{name} says {ready}; its log:\n{log}"));
            }
            anyhow::bail!("{sources} of 2 sources are level, not ready: {unready:?}\n{}", told.join("\n"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How many clients were made anew, by all processes.
pub async fn stalls(running: &Running) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for process in running.processes.values() {
        let text = crate::running::http().get(format!("http://{}/metrics", process.ops)).send().await?.text().await?;
        let lines = text.lines().filter(|line| line.starts_with("causeway_kafka_clients_stalled_total"));
        sum += lines.filter_map(|line| line.split(' ').next_back()?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(sum)
}
