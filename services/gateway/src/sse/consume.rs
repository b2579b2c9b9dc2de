//! `patient.alerts` into the ring. Every gateway reads the whole topic, without a group.

use super::{
    Live,
    ring::{ENTRIES_MAX, Entry, Ring, WINDOW},
};
use crate::{GatewayError, app::now};
use boot::{Stop, health::Part};
use change_log::{
    HearsEnds, KafkaSettings, Kept, Question, Reading, Registry, TopicSpec, Versions, Watch, watch::let_go,
};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
};
use std::{sync::Arc, time::Duration};

pub const TOPIC: &str = "patient.alerts";
const BACKOFF: Duration = Duration::from_secs(2);
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// The position that event ids come from.
const PARTITION: i32 = 0;

/// Runs until the stop signal; while Kafka is away, the pages still show every alert.
pub async fn run(kafka: KafkaSettings, registry: Registry, live: Live, stop: Stop, part: Part) {
    let mut told = false;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = read(&kafka, &registry, &live, &part, &mut told) => ended,
        };
        if let Err(error) = ended {
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(%error, "live alerts wait for Kafka; the inbox is not affected");
            }
            part.not_ready(error.to_string());
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(BACKOFF) => {}
        }
    }
}

async fn read(
    kafka: &KafkaSettings,
    registry: &Registry,
    live: &Live,
    part: &Part,
    told: &mut bool,
) -> Result<(), GatewayError> {
    change_log::topics::ensure(kafka, &[TopicSpec::new(TOPIC, 1, Kept::Forever)]).await?;
    let topic = kafka.topic(TOPIC);
    let mut client = kafka.client();
    // No group is joined and nothing is committed; librdkafka wants a name all the same.
    client.set("group.id", "causeway-gateway").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    client
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        .set("isolation.level", "read_committed");
    let consumer: StreamConsumer<HearsEnds> = client.create_with_context(HearsEnds)?;
    let (consumer, start) = {
        let topic = topic.clone();
        tokio::task::spawn_blocking(move || start_of_window(&consumer, &topic).map(|start| (consumer, start)))
            .await
            .map_err(|_| GatewayError::Kafka(KafkaError::Canceled))??
    };
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, PARTITION, Offset::Offset(start))?;
    consumer.assign(&assignment)?;
    let (consumer, mut reading, mut watch) =
        (Arc::new(consumer), Reading::of(&assignment), Watch::new(kafka, Some(part)));
    // Streams see the ring once it holds the whole window: a reader must not be reset for what is still being read.
    let mut filling = Some(Ring::new(start));
    let mut versions = Versions::new(registry.clone(), event::avro::ALERT_SCHEMA);
    loop {
        let received = tokio::select! {
            biased;
            received = consumer.recv() => received,
            stalled = watch.stalled(|| Question::reading(reading.places(), &consumer)) => {
                let_go(consumer);
                return Err(stalled.into());
            }
        };
        match received {
            Ok(message) => {
                watch.heard();
                reading.take(&message);
                let Some(entry) = entry(&message, &mut versions).await? else { continue };
                match filling.as_mut() {
                    Some(ring) => ring.push(entry, now()),
                    None => live.push(entry),
                }
            }
            Err(KafkaError::PartitionEOF(_)) => {
                if let Some(ring) = filling.take() {
                    live.begin(ring);
                    *told = false;
                    part.ready();
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The first offset of the window: a day back, but no more changes than the ring holds.
fn start_of_window(consumer: &StreamConsumer<HearsEnds>, topic: &str) -> Result<i64, GatewayError> {
    let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    if partitions > 1 {
        return Err(GatewayError::Partitions { topic: topic.to_owned(), partitions });
    }
    let (low, high) = consumer.fetch_watermarks(topic, PARTITION, METADATA_TIMEOUT)?;
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(topic, PARTITION, Offset::Offset((now() - WINDOW) / 1_000))?;
    let found = consumer.offsets_for_times(times, METADATA_TIMEOUT)?;
    let by_time = match found.elements().first().map(rdkafka::topic_partition_list::TopicPartitionListElem::offset) {
        Some(Offset::Offset(offset)) => offset,
        _ => high,
    };
    let by_count = high.saturating_sub(i64::try_from(ENTRIES_MAX).unwrap_or(i64::MAX));
    Ok(by_time.max(by_count).max(low))
}

/// `None` for what is not an alert's change: it is counted, named by its offset, and passed over.
async fn entry(message: &BorrowedMessage<'_>, versions: &mut Versions) -> Result<Option<Entry>, GatewayError> {
    let datum = versions.datum(message.payload().unwrap_or_default()).await?;
    let entry = datum.ok().and_then(|datum| decode(&datum, message.offset()));
    if entry.is_none() {
        metrics::counter!("causeway_gateway_foreign_messages_total", "topic" => TOPIC).increment(1);
        tracing::warn!(topic = TOPIC, offset = message.offset(), "a message is not an alert's change; passed over");
    }
    Ok(entry)
}

fn decode(datum: &[u8], offset: i64) -> Option<Entry> {
    let told = event::avro::decode_alert(datum).ok()?;
    Some(Entry { offset, id: told.id, alert: told.alert, change: told.change, teams: told.teams.into(), at: told.at })
}
