//! Reading a topic from its start to where it ends now, with nothing of Causeway's in between.

use anyhow::{Context, ensure};
use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedMessage, Headers as _},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Without a record for so long, the broker counts as away.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
/// The zero byte and the schema id of the Confluent wire format.
const FRAME_BYTES: usize = 5;

/// Hands every record to `take`: in offset order within a partition. Blocks.
pub fn read(
    brokers: &str,
    topic: &str,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "causeway-proof")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "false")
        .set("fetch.message.max.bytes", "16777216")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), SILENCE_MAX)?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions();
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), SILENCE_MAX)?;
        if low < high {
            assignment.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
            ends.insert(partition.id(), high);
        }
    }
    consumer.assign(&assignment)?;
    let mut heard = Instant::now();
    while !ends.is_empty() {
        ensure!(heard.elapsed() < SILENCE_MAX, "Kafka gave no record of {topic} for {} s", SILENCE_MAX.as_secs());
        // The client tries again by itself; what does not pass shows as silence.
        let Some(Ok(message)) = consumer.poll(POLL) else { continue };
        heard = Instant::now();
        let Some(end) = ends.get(&message.partition()).copied() else { continue };
        if message.offset() < end {
            take(&message)?;
        }
        if message.offset() + 1 >= end {
            ends.remove(&message.partition());
        }
    }
    Ok(())
}

/// A header's text.
pub fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let value = message.headers()?.iter().find(|header| header.key == name)?.value?;
    std::str::from_utf8(value).ok()
}

/// The schema's id and the datum of a framed value.
pub fn unframe(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (frame, datum) = payload.split_first_chunk::<FRAME_BYTES>()?;
    let [0, id @ ..] = frame else { return None };
    Some((u32::from_be_bytes(*id), datum))
}

/// The datum by the schema it was written with. An error would quote the datum: only that there is one is told.
pub fn decode(schema: &Schema, mut datum: &[u8]) -> anyhow::Result<Value> {
    let read = GenericDatumReader::builder(schema).build().and_then(|reader| reader.read_value(&mut datum));
    read.ok().context("a datum that its schema does not fit")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_frame_is_a_zero_an_id_and_a_datum() {
        assert_eq!(super::unframe(&[0, 0, 0, 1, 2, 9]), Some((258, &[9_u8][..])));
        assert_eq!(super::unframe(&[1, 0, 0, 1, 2, 9]), None);
        assert_eq!(super::unframe(&[0, 0, 0]), None);
    }
}
