//! Messages that nobody can read, and that fill what a topic takes: they stand in quarantine, and nothing stops for them.

use super::{PATIENCE, mapping_file, settings, topic};
use anyhow::ensure;
use boot::{Stop, health::Health};
use change_log::{
    KafkaSettings, Registry, TopicSpec, frame,
    topics::{RECORD_BYTES_MAX, TOPIC_RECORD_BYTES_MAX, ensure as ensure_topics},
};
use event::{Quarantined, avro};
use normaliser::SourceSettings;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::time::{Duration, Instant};

const SOURCE: &str = "large";
/// What Kafka and the client put around a message.
const AROUND: usize = 4 * 1024;

pub async fn what_fills_a_topic(kafka: &KafkaSettings, registry: &Registry) -> anyhow::Result<()> {
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
    let stop = Stop::new();
    let source = SourceSettings { name: SOURCE.into(), mapping: mapping_file(), organisation: "RSM01".into() };
    let (kafka_of, registry_of, stop_of) = (kafka.clone(), registry.clone(), stop.clone());
    let running = tokio::spawn(async move {
        normaliser::run(settings(), vec![source], kafka_of, registry_of, Health::new(), stop_of).await
    });
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
    Ok(())
}

fn ours(kafka: &KafkaSettings) -> anyhow::Result<Vec<Quarantined>> {
    let mut items = Vec::new();
    for (_, value) in topic(kafka, "quarantine")? {
        let item = avro::decode_quarantined(frame::unwrap(&value)?.1)?;
        items.extend((item.source == SOURCE).then_some(item));
    }
    Ok(items)
}
