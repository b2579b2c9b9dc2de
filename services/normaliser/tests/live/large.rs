//! Messages that nobody can read, and that fill what a topic takes: they stand in quarantine, and nothing stops for them.

use super::{PATIENCE, aged::wait, mapping_file, settings, topic};
use anyhow::{Context, ensure};
use boot::{Stop, health::Health};
use change_log::{
    KafkaSettings, Registry, TopicSpec, frame,
    topics::{RECORD_BYTES_MAX, TOPIC_RECORD_BYTES_MAX, ensure as ensure_topics},
};
use event::{Quarantined, avro};
use normaliser::{NormaliserError, SourceSettings};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const SOURCE: &str = "large";
/// What Kafka and the client put around a message.
const AROUND: usize = 4 * 1024;

pub async fn what_fills_a_topic(kafka: &KafkaSettings, registry: &Registry, folder: &Path) -> anyhow::Result<()> {
    ensure_topics(kafka, &[TopicSpec::changes(SOURCE)]).await?;
    let producer: FutureProducer =
        kafka.client().set("message.max.bytes", TOPIC_RECORD_BYTES_MAX.to_string()).create()?;
    let name = kafka.topic(&format!("changes.{SOURCE}"));
    let sizes = [RECORD_BYTES_MAX, TOPIC_RECORD_BYTES_MAX - AROUND, 10];
    for size in sizes {
        let payload = vec![b'x'; size];
        let sent = producer.send(FutureRecord::to(&name).key("somebody").payload(&payload), PATIENCE).await;
        sent.map_err(|(error, _)| error)?;
    }
    let (stop, running) = start(kafka, registry, mapping_file(), &Health::new());
    let deadline = Instant::now() + PATIENCE;
    let mut items = ours(kafka)?;
    while items.len() < sizes.len() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(300)).await;
        items = ours(kafka)?;
    }
    stop.cancel();
    running.await??;
    let told: Vec<(usize, bool)> = items
        .iter()
        .map(|item| (item.original.as_ref().map_or(0, Vec::len), item.detail.contains("the value is cut to ")))
        .collect();
    ensure!(told.len() == sizes.len(), "of {sizes:?} bytes, in quarantine are {told:?}");
    ensure!(told[0] == (sizes[0], false) && told[2] == (sizes[2], false), "whole: {told:?}");
    let (kept, noted) = told[1];
    ensure!(noted && kept < sizes[1] && kept > sizes[1] - 2 * 1024 * 1024, "cut, and said so: {told:?}");
    told_once(kafka, registry, folder, sizes.len()).await
}

/// Folded again by another mapping, they are the same messages: who closed them by hand has closed them.
async fn told_once(kafka: &KafkaSettings, registry: &Registry, folder: &Path, want: usize) -> anyhow::Result<()> {
    let raised = folder.join("raised-large.toml");
    let text = std::fs::read_to_string(mapping_file())?;
    let revision = text.lines().find(|line| line.starts_with("revision")).context("a revision")?;
    std::fs::write(&raised, text.replace(revision, "revision = 9999"))?;
    let health = Health::new();
    let (stop, running) = start(kafka, registry, raised, &health);
    wait("the raised mapping follows the log", || Ok(health.ready() && !health.parts().is_empty())).await?;
    // What it had to tell is on its way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.cancel();
    running.await??;
    let items = ours(kafka)?.len();
    ensure!(items == want, "{items} items where {want} were told");
    Ok(())
}

type Running = tokio::task::JoinHandle<Result<(), NormaliserError>>;

fn start(kafka: &KafkaSettings, registry: &Registry, mapping: PathBuf, health: &Health) -> (Stop, Running) {
    let source = SourceSettings { name: SOURCE.into(), mapping, organisation: "RSM01".into() };
    let (kafka, registry, health, stop) = (kafka.clone(), registry.clone(), health.clone(), Stop::new());
    let until = stop.clone();
    let run = async move { normaliser::run(settings(), vec![source], kafka, registry, health, until).await };
    (stop, tokio::spawn(run))
}

fn ours(kafka: &KafkaSettings) -> anyhow::Result<Vec<Quarantined>> {
    let mut items = Vec::new();
    for (_, value) in topic(kafka, "quarantine")? {
        let item = avro::decode_quarantined(frame::unwrap(&value)?.1)?;
        items.extend((item.source == SOURCE).then_some(item));
    }
    Ok(items)
}
