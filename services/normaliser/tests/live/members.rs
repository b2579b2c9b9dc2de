//! A generation is not told while a sink reads that does not understand it.

use super::{Normaliser, PATIENCE, mapping_file};
use anyhow::ensure;
use boot::health::Health;
use change_log::{KafkaSettings, Registry, members};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// A kind that version 1 did not have.
const NEW_KIND: &str = r#"
[[record]]
kind = "flag"
name = "restricted"
table = "pas.patient"
id = "person_id"
patient = "person_id"
only_when = [{ column = "confid_level", is = "RESTRICTED" }]
[record.code]
text = { otherwise = "Restricted" }
"#;

pub async fn are_waited_for(kafka: &KafkaSettings, registry: &Registry) -> anyhow::Result<()> {
    // As the sinks joined before there were generations, and before there were new kinds.
    waited_for(kafka, registry, "rdkafka", &mapping_file(), "does not read generations").await?;
    let folder = tempfile::tempdir()?;
    let more = folder.path().join("more.toml");
    std::fs::write(&more, format!("{}{NEW_KIND}", std::fs::read_to_string(mapping_file())?))?;
    waited_for(kafka, registry, "causeway-order-1", &more, "does not read every kind").await
}

async fn waited_for(
    kafka: &KafkaSettings,
    registry: &Registry,
    client: &str,
    mapping: &Path,
    why: &str,
) -> anyhow::Result<()> {
    let mut config = kafka.client();
    config.set("group.id", kafka.topic(members::SINKS)).set("client.id", client);
    let old: BaseConsumer = config.create()?;
    old.subscribe(&[&kafka.topic("patient.events")])?;
    let deadline = Instant::now() + PATIENCE;
    while members::behind(kafka, members::KINDS).await? != 1 {
        ensure!(Instant::now() < deadline, "the old sink does not join");
        tokio::task::block_in_place(|| drop(old.poll(Duration::from_millis(100))));
    }
    let normaliser = Normaliser::new(kafka, registry);
    let health = Health::new();
    let running = normaliser.start_seen(mapping, health.clone());
    let says = |text: &str| health.parts().values().flatten().filter(|why| why.contains(text)).count();
    while says(why) < 2 {
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
