//! Reads `source.progress`, and how far the sinks are, from Kafka.

use super::{Sources, Standing};
use crate::{GatewayError, app::now};
use boot::Stop;
use change_log::{
    KafkaSettings,
    told::{TOPIC, Told, topic},
};
use deadpool_postgres::Pool;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// The sinks' consumer group and what it reads, without the region's prefix.
const GROUP: &str = "causeway-sinks";
const READ_BY_SINKS: [&str; 2] = ["patient.events", "person.links"];
/// How far the sinks are is asked so often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Which sources there are is asked so often.
const LIST_EVERY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(250);
const BACKOFF: Duration = Duration::from_secs(2);
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs until the stop signal. What cannot be reached stays as it was, and grows old.
pub async fn run(kafka: KafkaSettings, pool: Pool, sources: Sources, stop: Stop) {
    sources.begin(now());
    let listing = async {
        while !stop.is_cancelled() {
            match list(&pool).await {
                Ok(found) => sources.expect(found),
                Err(error) => tracing::debug!(%error, "cannot list the record's sources"),
            }
            tokio::time::sleep(LIST_EVERY).await;
        }
    };
    let telling = async {
        while !stop.is_cancelled() {
            for (source, age) in sources.ages(now()) {
                #[expect(clippy::cast_precision_loss, reason = "a gauge")]
                metrics::gauge!("causeway_gateway_source_age_seconds", "source" => source).set(age as f64 / 1e6);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let following = async {
        while !stop.is_cancelled() {
            let (kafka, sources, stop) = (kafka.clone(), sources.clone(), stop.clone());
            if let Err(error) = follow(kafka, sources, stop).await {
                tracing::debug!(%error, "cannot tell how fresh the sources are");
            }
            tokio::time::sleep(BACKOFF).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        ((), (), ()) = async { tokio::join!(listing, telling, following) } => {}
    }
}

async fn list(pool: &Pool) -> Result<BTreeSet<String>, GatewayError> {
    let rows = pool.get().await?.query("select source from record.freshness", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn follow(kafka: KafkaSettings, sources: Sources, stop: Stop) -> Result<(), GatewayError> {
    change_log::topics::ensure(&kafka, &[topic()]).await?;
    let followed = tokio::task::spawn_blocking(move || Watcher::open(&kafka)?.watch(&sources, &stop));
    followed.await.map_err(|_| GatewayError::Kafka(rdkafka::error::KafkaError::Canceled))??;
    Ok(())
}

/// Offsets after the last message, by topic and partition.
type Ends = BTreeMap<(String, i32), i64>;

struct Watcher {
    told: BaseConsumer,
    told_topic: String,
    /// Joins no group: it only asks how far the sinks' is.
    sinks: BaseConsumer,
    topics: Vec<String>,
}

impl Watcher {
    fn open(kafka: &KafkaSettings) -> KafkaResult<Self> {
        let consumer = |group: &str| -> KafkaResult<BaseConsumer> {
            kafka
                .client()
                .set("group.id", group)
                .set("enable.auto.commit", "false")
                .set("allow.auto.create.topics", "false")
                .create()
        };
        let told = consumer("causeway-gateway")?;
        let mut assignment = TopicPartitionList::new();
        let told_topic = kafka.topic(TOPIC);
        assignment.add_partition_offset(&told_topic, 0, Offset::Beginning)?;
        told.assign(&assignment)?;
        let topics = READ_BY_SINKS.map(|name| kafka.topic(name)).into();
        Ok(Self { told, told_topic, sinks: consumer(&kafka.topic(GROUP))?, topics })
    }

    /// Takes what was told together with the ends of what the sinks read, and confirms it once they have read up to there.
    fn watch(&self, sources: &Sources, stop: &Stop) -> KafkaResult<()> {
        let mut told: BTreeMap<String, Standing> = BTreeMap::new();
        let mut waiting: Option<(BTreeMap<String, Standing>, Ends)> = None;
        let mut looked = Instant::now();
        while !stop.is_cancelled() {
            match self.told.poll(POLL) {
                Some(Ok(message)) => {
                    if let Some(one) = message.payload().and_then(Told::decode) {
                        let standing = Standing { organisation: Some(one.organisation), at: Some(one.at) };
                        told.insert(one.source, standing);
                    }
                }
                Some(Err(error)) => return Err(error),
                None => {}
            }
            if looked.elapsed() < LOOK_EVERY {
                continue;
            }
            looked = Instant::now();
            // A client that hangs has no answer, and both are made anew: see `change_log::watch`.
            self.told.fetch_watermarks(&self.told_topic, 0, KAFKA_TIMEOUT)?;
            // The ends after what was told: whatever that covers lies before them.
            let (standing, ends) = match waiting.take() {
                Some(waiting) => waiting,
                None => (told.clone(), self.ends()?),
            };
            if reached(&ends, &self.read_upto(&ends)?) {
                sources.confirm(&standing);
            } else {
                waiting = Some((standing, ends));
            }
        }
        Ok(())
    }

    fn ends(&self) -> KafkaResult<Ends> {
        let mut ends = Ends::new();
        for topic in &self.topics {
            let metadata = self.sinks.fetch_metadata(Some(topic), KAFKA_TIMEOUT)?;
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|p| p.id()) {
                let (low, high) = self.sinks.fetch_watermarks(topic, partition, KAFKA_TIMEOUT)?;
                if high > low {
                    ends.insert((topic.clone(), partition), high);
                }
            }
        }
        Ok(ends)
    }

    fn read_upto(&self, ends: &Ends) -> KafkaResult<Ends> {
        if ends.is_empty() {
            return Ok(Ends::new());
        }
        let mut list = TopicPartitionList::with_capacity(ends.len());
        for (topic, partition) in ends.keys() {
            list.add_partition(topic, *partition);
        }
        let committed = self.sinks.committed_offsets(list, KAFKA_TIMEOUT)?;
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        let elements = committed.elements();
        let read = elements
            .iter()
            .filter_map(|element| Some(((element.topic().to_owned(), element.partition()), offset(element.offset())?)));
        Ok(read.collect())
    }
}

fn reached(ends: &Ends, read: &Ends) -> bool {
    ends.iter().all(|(key, end)| read.get(key).is_some_and(|upto| upto >= end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sinks_have_read_what_was_there() {
        let at = |ends: &[(&str, i32, i64)]| -> Ends {
            ends.iter().map(|(topic, partition, end)| (((*topic).to_owned(), *partition), *end)).collect()
        };
        let ends = at(&[("e", 0, 5), ("e", 1, 2)]);
        assert!(reached(&at(&[]), &at(&[])), "nothing is there");
        assert!(reached(&ends, &at(&[("e", 0, 5), ("e", 1, 9)])));
        assert!(!reached(&ends, &at(&[("e", 0, 4), ("e", 1, 9)])));
        assert!(!reached(&ends, &at(&[("e", 0, 5)])), "a partition that nobody has read");
    }
}
