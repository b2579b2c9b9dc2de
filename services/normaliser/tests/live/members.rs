//! A generation is not told while a sink reads that does not understand it.

use super::{Normaliser, PATIENCE, mapping_file};
use anyhow::ensure;
use boot::health::Health;
use change_log::{KafkaSettings, Registry, members};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::{Duration, Instant};

pub async fn are_waited_for(kafka: &KafkaSettings, registry: &Registry) -> anyhow::Result<()> {
    // As the sinks joined before there were generations.
    let old: BaseConsumer = kafka.client().set("group.id", kafka.topic(members::SINKS)).create()?;
    old.subscribe(&[&kafka.topic("patient.events")])?;
    let deadline = Instant::now() + PATIENCE;
    while members::behind(kafka, members::GENERATIONS).await? != 1 {
        ensure!(Instant::now() < deadline, "the old sink does not join");
        tokio::task::block_in_place(|| drop(old.poll(Duration::from_millis(100))));
    }
    let normaliser = Normaliser::new(kafka, registry);
    let health = Health::new();
    let running = normaliser.start_seen(&mapping_file(), health.clone());
    let says = |text: &str| health.parts().values().flatten().filter(|why| why.contains(text)).count();
    while says("does not read ") < 2 {
        ensure!(Instant::now() < deadline, "not waited for: {:?}", health.parts());
        tokio::task::block_in_place(|| drop(old.poll(Duration::from_millis(100))));
    }
    drop(old);
    while !health.ready() {
        ensure!(Instant::now() < deadline, "still waited for: {:?}", health.parts());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.abort();
    let _ = running.await;
    Ok(())
}
