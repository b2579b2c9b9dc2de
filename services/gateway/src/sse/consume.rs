//! `patient.alerts` into the ring. Every gateway reads the whole topic, without a group.

use super::{
    Live,
    ring::{ENTRIES_MAX, Entry, Ring, WINDOW},
};
use crate::{GatewayError, app::now};
use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use boot::{Stop, health::Part};
use change_log::{KafkaSettings, Kept, Registry, TopicSpec, frame};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
};
use std::{collections::HashMap, time::Duration};

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
    let consumer: StreamConsumer = client.create()?;
    let (consumer, start) = {
        let topic = topic.clone();
        tokio::task::spawn_blocking(move || start_of_window(&consumer, &topic).map(|start| (consumer, start)))
            .await
            .map_err(|_| GatewayError::Kafka(KafkaError::Canceled))??
    };
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, PARTITION, Offset::Offset(start))?;
    consumer.assign(&assignment)?;
    // Streams see the ring once it holds the whole window: a reader must not be reset for what is still being read.
    let mut filling = Some(Ring::new(start));
    let mut decoder = Decoder { registry: registry.clone(), schemas: HashMap::new() };
    loop {
        match consumer.recv().await {
            Ok(message) => {
                let Some(entry) = decoder.entry(&message).await? else { continue };
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
fn start_of_window(consumer: &StreamConsumer, topic: &str) -> Result<i64, GatewayError> {
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

struct Decoder {
    registry: Registry,
    schemas: HashMap<u32, Schema>,
}

/// Schemas of one topic are few; more of them are somebody's mistake.
const SCHEMAS_MAX: usize = 64;

impl Decoder {
    /// `None` for what is not an alert's change: it is counted, named by its offset, and passed over.
    async fn entry(&mut self, message: &BorrowedMessage<'_>) -> Result<Option<Entry>, GatewayError> {
        let entry = self.decode(message).await?;
        if entry.is_none() {
            metrics::counter!("causeway_gateway_foreign_messages_total", "topic" => TOPIC).increment(1);
            tracing::warn!(topic = TOPIC, offset = message.offset(), "a message is not an alert's change; passed over");
        }
        Ok(entry)
    }

    async fn decode(&mut self, message: &BorrowedMessage<'_>) -> Result<Option<Entry>, GatewayError> {
        let alert = message.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.parse().ok());
        let (Some(alert), Some(Ok((id, mut datum)))) = (alert, message.payload().map(frame::unwrap)) else {
            return Ok(None);
        };
        if !self.schemas.contains_key(&id) {
            let text = match self.registry.schema(id).await {
                Ok(text) => text,
                Err(change_log::RegistryError::UnknownId { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let Ok(schema) = Schema::parse_str(&text) else { return Ok(None) };
            if self.schemas.len() >= SCHEMAS_MAX {
                self.schemas.clear();
            }
            self.schemas.insert(id, schema);
        }
        let Some(schema) = self.schemas.get(&id) else { return Ok(None) };
        let read = GenericDatumReader::builder(schema).build().and_then(|reader| reader.read_value(&mut datum));
        let change = match read {
            Ok(Value::Record(fields)) => change(&fields),
            _ => None,
        };
        let at = message.timestamp().to_millis().unwrap_or_default() * 1_000;
        Ok(change.map(|change| Entry { offset: message.offset(), alert, change, at }))
    }
}

/// The field `change`, as text or as a symbol.
fn change(fields: &[(String, Value)]) -> Option<String> {
    match fields.iter().find(|(name, _)| name == "change").map(|(_, value)| value) {
        Some(Value::String(text) | Value::Enum(_, text)) => Some(text.to_ascii_lowercase()),
        _ => None,
    }
}
