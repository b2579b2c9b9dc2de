//! What breaks is started again, and afterwards nothing is lost, doubled, out of order or raised twice.

mod capture;
mod faults;
mod sources;

use anyhow::{Context, ensure};
use faults::{Fault, Target};
use jiff::Timestamp;
use proof::{
    checks,
    faults::halts,
    report::Report,
    running::{Histories, Running, ask, tail},
};
use region::simulator::{Counts, Simulator};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Set to repeat a run.
const SEED_VARIABLE: &str = "CAUSEWAY_SEED";
const PEOPLE: u64 = 120;
/// Changes a second over both clinics while parts are killed.
const RATE: f64 = 120.0;
/// Within so long, every service says what it waits for.
const TOLD_WITHIN: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(500);
/// Work before the first fault and after the last.
const CALM: Duration = Duration::from_secs(4);
/// Kafka tells of no broker for so long.
const FORGOTTEN: Duration = Duration::from_secs(4);
const NORMALISER: &str = "normaliser";
/// The steps of a checkpoint: frozen, its events acknowledged, on the disk.
const CHECKPOINTS: [&str; 3] = ["checkpoint.frozen", "checkpoint.acknowledged", "checkpoint.written"];
const FAILPOINT: &str = "CAUSEWAY_FAILPOINT";

/// One region for both acts, because the second needs what the first leaves: running services and witnesses.
#[tokio::test(flavor = "multi_thread")]
async fn parts_absent_at_start_and_killed_under_load_lose_nothing() -> anyhow::Result<()> {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{SEED_VARIABLE} is no number"))?,
        Err(_) => Timestamp::now().as_microsecond().unsigned_abs(),
    };
    println!("{SEED_VARIABLE}={seed}");
    let folder = stack::local().join("tests").join("recovery");
    let mut running = Running::prepare_forgetful(&folder, &Histories { seed, people: PEOPLE }).await?;
    running.call_witnesses().await?;
    start_into_nothing(&mut running).await?;
    kill_under_load(&mut running, seed).await?;
    let mut report = Report::new("recovery");
    checks::all(&mut running, &mut report).await?;
    report.print();
    ensure!(
        report.ok(),
        "an invariant does not hold; repeat with {SEED_VARIABLE}={seed}; logs in {}",
        folder.display()
    );
    running.stop().await
}

/// Kafka, the registry and Causeway's own database are away when the services start: each says for whom it waits, none
/// ends, and once everything is there they all work.
async fn start_into_nothing(running: &mut Running) -> anyhow::Result<()> {
    running.region.kafka.stop().await?;
    running.region.registry.stop().await?;
    running.region.own.stop().await?;
    running.launch()?;
    let deadline = Instant::now() + TOLD_WITHIN;
    for (name, process) in &mut running.processes {
        loop {
            ensure!(
                process.part.exited()?.is_none(),
                "{name} ended while it had to wait:\n{}",
                tail(process.part.log())
            );
            let told = ask(&process.ops, "/readyz").await.unwrap_or_default();
            let mut parts = told.as_object().into_iter().flatten().filter_map(|(_, why)| why.as_str());
            if let Some(why) = parts.find(|why| !matches!(*why, "ready" | "starting")) {
                println!("{name} waits: {why}");
                break;
            }
            ensure!(Instant::now() < deadline, "{name} does not say what it waits for: {told}");
            tokio::time::sleep(POLL).await;
        }
    }
    running.region.own.start().await?;
    running.region.registry.start().await?;
    running.region.kafka.start().await?;
    running.wait_live(|_, _| {}).await
}

/// kill -9 of every part, at random moments, while the clinics work.
async fn kill_under_load(running: &mut Running, seed: u64) -> anyhow::Result<()> {
    let (gp, hospital) = (running.region.gp.config("riverside")?, running.region.hospital.config("stmarys")?);
    let simulator = Simulator::new(seed, gp, hospital, RATE);
    let (counts, stop) = (simulator.counts(), CancellationToken::new());
    let stopped = stop.clone();
    let work = tokio::spawn(async move { simulator.run(stopped).await });
    tokio::time::sleep(CALM).await;
    for fault in faults::schedule(seed) {
        println!("{fault:?}, after {} changes", counts().changes_total());
        tokio::time::sleep(fault.after).await;
        hurt(running, &fault).await.with_context(|| format!("{fault:?} of {SEED_VARIABLE}={seed}"))?;
    }
    kill_at_checkpoints(running).await?;
    forget_brokers(running).await?;
    tokio::time::sleep(CALM).await;
    stop.cancel();
    let Counts { committed, unknown, refused, .. } = work.await??;
    println!("{committed} transactions committed, {unknown} with an unknown outcome, {refused} refused");
    running.wait_live(|_, _| {}).await
}

/// Killed at each step of a checkpoint, the normaliser goes on as if nothing had been.
async fn kill_at_checkpoints(running: &mut Running) -> anyhow::Result<()> {
    for point in CHECKPOINTS {
        println!("the normaliser is killed at {point}");
        let part = running.process(NORMALISER)?;
        part.kill_9()?;
        let environment = &mut part.spec_mut().environment;
        environment.insert("CAUSEWAY__NORMALISER__CHECKPOINT_S".to_owned(), "1".to_owned());
        environment.insert(FAILPOINT.to_owned(), format!("{point}:2"));
        part.launch()?;
        let deadline = Instant::now() + TOLD_WITHIN;
        while part.exited()?.is_none() {
            ensure!(Instant::now() < deadline, "it never came to {point}:\n{}", tail(part.log()));
            tokio::time::sleep(POLL).await;
        }
        part.release();
        part.spec_mut().environment.remove(FAILPOINT);
        part.launch()?;
    }
    Ok(())
}

/// Kafka tells of topics and of no broker, for a while. A client that takes it for the truth, which not each does each time,
/// hangs for good: it is found and made anew, so that all is level again.
async fn forget_brokers(running: &mut Running) -> anyhow::Result<()> {
    running.wait_live(|_, _| {}).await?;
    let forgetful = running.region.forgetful.as_ref().context("nothing stands before Kafka")?;
    forgetful.forget();
    tokio::time::sleep(FORGOTTEN).await;
    ensure!(forgetful.answers() > 0, "nobody asked for brokers");
    println!("{} answers told of no broker", forgetful.answers());
    forgetful.remember();
    let took = halts::recovered(running).await.context("after no broker was told of")?;
    let stalls = halts::stalls(running).await?;
    println!("level again after {took:?}; {stalls} clients were made anew");
    Ok(())
}

async fn hurt(running: &mut Running, fault: &Fault) -> anyhow::Result<()> {
    let part: &mut stack::Part = match fault.target {
        Target::Service(name) => running.process(name)?,
        Target::Kafka | Target::KafkaHalted => &mut running.region.kafka,
        Target::Registry => &mut running.region.registry,
        Target::Gp => &mut running.region.gp,
        Target::Hospital => &mut running.region.hospital,
        Target::Own => &mut running.region.own,
    };
    if fault.target == Target::KafkaHalted {
        part.pause()?;
        tokio::time::sleep(fault.down).await;
        return part.resume();
    }
    part.kill_9()?;
    tokio::time::sleep(fault.down).await;
    // A service need not be ready when the next fault comes; a component is started once it serves.
    if matches!(fault.target, Target::Service(_)) { part.launch() } else { part.start().await }
}
