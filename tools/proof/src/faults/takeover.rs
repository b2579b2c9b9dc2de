//! Two connectors for one source: the second waits; a frozen first one that wakes up is not heard any more.

use super::{
    load::Load,
    yard::{Source, Start, Yard},
};
use crate::{report::Report, running::ask};
use anyhow::{Context, ensure};
use stack::proxy::{Direction, Flow, Link};
use std::time::{Duration, Instant};

const ROWS: u64 = 200;
const CALM: Duration = Duration::from_millis(800);
const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// A second connector is started while the first works; then the first is killed.
pub async fn second(yard: &mut Yard, seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut source = yard.source(ROWS).await?;
    let mut first = source.ready_connector().await?;
    let load = Load::start(&yard.database.config(&source.name)?, seed);
    let mut second = source.connector(&Start::default())?;
    let waits = waits_for_the_slot(&source, second.spec_mut().environment["CAUSEWAY__OPS__LISTEN"].clone());
    let told = waits.await.context("the second connector does not say that it waits")?;
    tokio::time::sleep(CALM).await;
    ensure!(first.exited()?.is_none(), "the first connector ended");
    first.kill_9()?;
    second.wait_ready().await?;
    tokio::time::sleep(CALM).await;
    load.stop().await;
    let verdict = yard.judge(source, second).await?;
    // One for the snapshot, one for the stream, and those of the second connector.
    report.check("second_connector_waits", verdict.ok(), &format!("it said: {told}: {}", verdict.text()));
    Ok(())
}

async fn waits_for_the_slot(source: &Source, ops: String) -> anyhow::Result<String> {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let told = ask(&ops, "/readyz").await.unwrap_or_default();
        let why = told.get(format!("connector-{}", source.name)).and_then(|why| why.as_str()).unwrap_or_default();
        if why.contains("in use") {
            return Ok(why.to_owned());
        }
        ensure!(Instant::now() < deadline, "it says {told}");
        tokio::time::sleep(POLL).await;
    }
}

/// The first connector is frozen with records on their way to Kafka. They arrive after the second one has written, and
/// then the first wakes up: none of that counts.
pub async fn frozen(yard: &mut Yard, seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut source = yard.source(ROWS).await?;
    let mut first = source.ready_connector().await?;
    let load = Load::start(&yard.database.config(&source.name)?, seed);
    tokio::time::sleep(CALM).await;
    yard.kafka_link.set(Link { up: Direction { flow: Flow::Held, ..Direction::default() }, ..Link::default() });
    tokio::time::sleep(CALM).await;
    first.pause()?;
    // The server notices that nobody answers, and lets go of the slot.
    let mut second = source.connector(&Start { direct: true, ..Start::default() })?;
    second.wait_ready().await?;
    tokio::time::sleep(CALM).await;
    yard.kafka_link.heal();
    tokio::time::sleep(CALM).await;
    first.resume()?;
    tokio::time::sleep(2 * CALM).await;
    load.stop().await;
    yard.settle(&source, &mut second).await?;
    first.kill_9()?;
    let verdict = yard.judge(source, second).await?;
    let ok = verdict.ok() && verdict.void > 0;
    report.check("frozen_connector_wakes_up", ok, &format!("its records are void: {}", verdict.text()));
    Ok(())
}
