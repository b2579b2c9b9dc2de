//! What is kept of a source outlives its log: rows that the log has lost still join, and nothing of them is taken back or
//! told again. What is damaged is set aside, and read again.

use super::{
    Normaliser, RESULTS,
    aged::{self, AGED, wait},
    another, events,
    lost::shown,
    result,
};
use anyhow::ensure;
use boot::health::Health;
use change_log::{KafkaSettings, Registry, topics::changes_topic};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use std::{path::Path, time::Duration};

/// Loses everything but the newest record.
async fn age(kafka: &KafkaSettings) -> anyhow::Result<()> {
    let topic = kafka.topic(&changes_topic(AGED));
    let high = kafka.watermarks(&topic, 0).await?.1;
    let mut old = TopicPartitionList::new();
    old.add_partition_offset(&topic, 0, Offset::Offset(high - 1))?;
    let admin: AdminClient<DefaultClientContext> = kafka.client().create()?;
    admin.delete_records(&old, &AdminOptions::new()).await?;
    Ok(())
}

pub async fn outlives_its_log(kafka: &KafkaSettings, registry: &Registry, folder: &Path) -> anyhow::Result<()> {
    let mapping = folder.join("raised.toml");
    let (normaliser, health) = (Normaliser::new(kafka, registry), Health::new());
    let part = format!("normaliser-{AGED}");
    let says =
        |what: &str| health.parts().get(&part).is_some_and(|why| why.as_deref().unwrap_or("ready").contains(what));
    let (before, told) = (shown(&events(kafka)?, AGED), events(kafka)?.len());
    age(kafka).await?;
    let running = normaliser.start_seen(&mapping, health.clone());
    wait("it is ready without its log", || Ok(says("ready"))).await?;
    let mut log = aged::open(kafka, registry, AGED, 1).await?;
    log.commit = aged::COMMIT * 2;
    result(&mut log, RESULTS + 2).await?;
    let new = |now: &std::collections::BTreeSet<String>| now.difference(&before).count();
    wait("a row of the lost log joins", || Ok(new(&shown(&events(kafka)?, AGED)) == 1)).await?;
    // Time for the last checkpoint.
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.abort();
    let _ = running.await;
    let now = shown(&events(kafka)?, AGED);
    ensure!(now.is_superset(&before), "taken back: {:?}", before.difference(&now).collect::<Vec<_>>());
    ensure!(events(kafka)?.len() == told + 1, "{} told of one", events(kafka)?.len() - told);

    let mapping = another::mapping_goes_on(kafka, registry, folder).await?;

    // A byte of each file is not what it was.
    age(kafka).await?;
    let mut flipped = 0;
    let mut folders = vec![super::settings().state.join(AGED)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let mut bytes = std::fs::read(&path)?
                && !bytes.is_empty()
            {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x20;
                std::fs::write(&path, bytes)?;
                flipped += 1;
            }
        }
    }
    ensure!(flipped > 2, "{flipped} files");
    let (told, running) = (events(kafka)?.len(), normaliser.start_seen(&mapping, health.clone()));
    wait("it asks for what is damaged", || Ok(says("A snapshot was asked for"))).await?;
    running.abort();
    let _ = running.await;
    ensure!(events(kafka)?.len() == told, "told of what is not whole");
    Ok(())
}
