//! A log that has lost its beginning: its source alone stops and says what to do, doing that repairs it, and nothing is
//! told twice.

use super::{
    Log, Normaliser, PATIENCE, PATIENTS, RESULTS, SOURCES, events,
    lost::{EPOCH, LOST, shown},
    patient, result,
};
use anyhow::ensure;
use boot::health::Health;
use change_log::{KafkaSettings, Registry, header::Kind, topics::changes_topic};
use event::PatientEvent;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

pub const AGED: &str = SOURCES[1];
/// What is left of the log.
const LEFT: i64 = 20;
/// It went in what was lost.
const GONE: i64 = 7;
/// Beyond all commits so far.
pub const COMMIT: u64 = 0x10_0000;

pub async fn wait(what: &str, until: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !until()? {
        ensure!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

pub async fn open(kafka: &KafkaSettings, registry: &Registry, source: &'static str, epoch: u32) -> anyhow::Result<Log> {
    let mut log = Log::open_in(kafka, registry, source, epoch).await?;
    log.commit = COMMIT;
    Ok(log)
}

pub async fn what_is_left(kafka: &KafkaSettings, registry: &Registry, folder: &Path) -> anyhow::Result<()> {
    let (mapping, before) = (folder.join("raised.toml"), shown(&events(kafka)?, AGED));
    let told = |source: &str| -> anyhow::Result<usize> {
        Ok(events(kafka)?.iter().filter(|event| event.patient.source == source).count())
    };
    let (aged_before, other_before) = (told(AGED)?, told(LOST)?);
    let topic = kafka.topic(&changes_topic(AGED));
    let high = kafka.watermarks(&topic, 0).await?.1;
    let mut old = TopicPartitionList::new();
    old.add_partition_offset(&topic, 0, Offset::Offset(high - LEFT))?;
    let admin: AdminClient<DefaultClientContext> = kafka.client().create()?;
    admin.delete_records(&old, &AdminOptions::new()).await?;

    // Nothing is kept of it: the log is all there is.
    std::fs::remove_dir_all(super::settings().state.join(AGED))?;
    let (normaliser, health) = (Normaliser::new(kafka, registry), Health::new());
    let running = normaliser.start_seen(&mapping, health.clone());
    let part = format!("normaliser-{AGED}");
    let says =
        |what: &str| health.parts().get(&part).is_some_and(|why| why.as_deref().unwrap_or("ready").contains(what));
    wait("it says what it did", || Ok(says("A snapshot was asked for"))).await?;
    let asked = change_log::signal::read(kafka, AGED).await?.snapshots;
    ensure!(asked.len() == 1 && asked[0].tables.is_empty(), "asked for {asked:?}");
    let mut log = open(kafka, registry, AGED, 1).await?;
    result(&mut log, RESULTS + 1).await?;
    let mut other = open(kafka, registry, LOST, EPOCH).await?;
    patient(&mut other, 2).await?;
    wait("the other source goes on", || Ok(told(LOST)? > other_before)).await?;
    ensure!(told(AGED)? == aged_before && !running.is_finished(), "nothing is told of what is not whole");

    let tables: Vec<String> = log.schemas.keys().cloned().collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    log.control(registry, Kind::SnapshotBegin, &tables).await?;
    for number in 1..=PATIENTS {
        patient(&mut log, number).await?;
    }
    for number in (1..=RESULTS + 1).filter(|number| *number != GONE) {
        result(&mut log, number).await?;
    }
    log.control(registry, Kind::SnapshotEnd, &tables).await?;
    // One that is new, and one that is gone; the rest is what it was.
    wait("what differs is told", || Ok(told(AGED)? >= aged_before + 2)).await?;
    wait("it is ready", || Ok(says("ready"))).await?;
    running.abort();
    let _ = running.await;

    // The snapshot is in what is left of the log: nothing is missing, and nothing is said again.
    let running = normaliser.start_seen(&mapping, health.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    wait("it is ready again", || Ok(says("ready"))).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.abort();
    let events = events(kafka)?;
    let now = shown(&events, AGED);
    let (gone, new): (Vec<_>, Vec<_>) = (before.difference(&now).collect(), now.difference(&before).collect());
    ensure!(gone.len() == 1 && gone[0].contains(&format!("/{GONE} ")), "gone: {gone:?}");
    ensure!(new.len() == 1 && new[0].contains(&format!("/{} ", RESULTS + 1)), "new: {new:?}");
    let count = events.iter().filter(|event: &&PatientEvent| event.patient.source == AGED).count();
    ensure!(count == aged_before + 2, "{} told of 2", count - aged_before);
    Ok(())
}
