//! Values by key in `source.signals`, changed by compare-and-set.
//!
//! # Why
//! Whoever writes says which record the new one replaces. Of several who replace the same one the first gets through;
//! the others' records count for nothing, for every reader alike, and are written again.

use super::{SignalError, TOPIC, aside, hub::Held, lives::Lives, replay, waiting};
use crate::KafkaSettings;
use rdkafka::{error::KafkaError, producer::FutureRecord};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// A record is tried so often when others write at the same moment.
const WRITES_MAX: usize = 16;
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// What a key may hold. A key without a record holds the default.
pub(super) trait Entry: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Whoever follows it has to hear of a record that changes nothing, too.
    const HEARD: bool;

    /// Whether it keeps to its limits: what does not is passed over.
    fn bounded(&self) -> bool;
}

/// As it stands in the topic.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record<T> {
    /// The offset of the record that it replaces; none where there was none.
    #[serde(default)]
    replaces: Option<i64>,
    #[serde(flatten)]
    pub(super) value: T,
}

impl Held {
    /// What cannot be read is never held: see [`replaces`].
    fn value_of<T: Entry>(&self) -> T {
        self.value.as_deref().and_then(decode).map(|record| record.value).unwrap_or_default()
    }
}

/// What the key holds now.
pub(super) async fn read<T: Entry>(kafka: &KafkaSettings, key: &str) -> Result<T, SignalError> {
    Ok(kafka.clients.hub().held(kafka, key).await?.value_of())
}

/// Changes what the key holds, and returns it.
pub(super) async fn change<T: Entry + PartialEq>(
    kafka: &KafkaSettings,
    key: &str,
    change: impl Fn(&mut T) -> Result<(), SignalError>,
) -> Result<T, SignalError> {
    for _ in 0..WRITES_MAX {
        let held = kafka.clients.hub().held(kafka, key).await?;
        let known: T = held.value_of();
        let mut value = known.clone();
        change(&mut value)?;
        if value == known && !T::HEARD {
            return Ok(value);
        }
        let record = Record { replaces: held.at, value };
        let offset = write(kafka, key, &record).await?;
        if kafka.clients.hub().counted(kafka, key, offset).await? {
            return Ok(record.value);
        }
    }
    Err(SignalError::Contended)
}

async fn write<T: Entry>(kafka: &KafkaSettings, key: &str, record: &Record<T>) -> Result<i64, SignalError> {
    let topic = kafka.topic(TOPIC);
    let failed = |source: KafkaError| SignalError::Kafka { topic: topic.clone(), source };
    let producer = kafka.signals().map_err(failed)?;
    let value = serde_json::to_vec(record).unwrap_or_default();
    let record = FutureRecord::to(&topic).partition(0).key(key).payload(&value);
    let sent = producer.send(record, ASK_TIMEOUT).await;
    let sent = sent.inspect_err(|_| kafka.let_go_of_signals(&producer));
    sent.map(|delivery| delivery.offset).map_err(|(error, _)| failed(error))
}

/// Keeps what the key holds up to date until nobody looks any more, and tells what is new. Returns once it is known.
pub(super) async fn follow<T: Entry>(
    kafka: &KafkaSettings,
    key: &str,
    tell: impl Fn(&T, &str) + Send + 'static,
) -> Result<watch::Receiver<Arc<T>>, SignalError> {
    let mut held = kafka.clients.hub().follow(kafka, key).await?;
    let first = held.borrow_and_update().value_of::<T>();
    let (sender, receiver) = watch::channel(Arc::new(first));
    let key = key.to_owned();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                changed = held.changed() => if changed.is_err() { return },
            }
            let value: T = held.borrow_and_update().value_of();
            tell(&value, &key);
            sender.send_replace(Arc::new(value));
        }
    });
    Ok(receiver)
}

pub(super) fn consumer(kafka: &KafkaSettings) -> rdkafka::ClientConfig {
    let mut client = kafka.client();
    client
        .set("group.id", "causeway-signals")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "1024")
        .set("allow.auto.create.topics", "false");
    client
}

/// Which record of the key it replaces, if any. What cannot be read is passed over.
pub(super) fn replaces(key: &str, value: Option<&[u8]>, offset: i64) -> Option<Option<i64>> {
    let Some(value) = value else { return Some(None) };
    fn of<T: Entry>(value: &[u8]) -> Option<Option<i64>> {
        decode::<T>(value).map(|record| record.replaces)
    }
    // No source's name has a slash.
    let replaces = match key.split_once('/') {
        None => of::<super::Desired>(value),
        Some(("lives", _)) => of::<Lives>(value),
        Some(("aside", _)) => of::<aside::Tables>(value),
        Some(("topics", _)) => of::<waiting::Tables>(value),
        Some(("replay", _)) => of::<replay::Replays>(value),
        // A later version's.
        Some(_) => return None,
    };
    if replaces.is_none() {
        tracing::warn!(key, offset, "a record of `{TOPIC}` cannot be read; it is passed over");
    }
    replaces
}

pub(super) fn decode<T: Entry>(value: &[u8]) -> Option<Record<T>> {
    serde_json::from_slice(value).ok().filter(|record: &Record<T>| record.value.bounded())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_under_its_key_is_passed_over() {
        let replaced = |key: &str, value: &str| replaces(key, Some(value.as_bytes()), 7);
        assert_eq!(replaced("gp", r#"{"replaces": 3, "paused": true}"#), Some(Some(3)));
        assert_eq!(replaced("gp", r#"{"paused": 7}"#), None);
        assert_eq!(replaced("lives/gp", r#"{"epoch": 7}"#), Some(None));
        assert_eq!(replaced("lives/gp", r#"{"epoch": -7}"#), None);
        assert_eq!(replaced("replay/gp", r#"{"replaces": 3, "number": 2}"#), Some(Some(3)));
        assert_eq!(replaced("aside/gp", r#"{"replaces": 1, "tables": [{"name": "note"}]}"#), Some(Some(1)));
        assert_eq!(replaced("topics/gp", r#"{"settled": 9}"#), Some(None));
        assert_eq!(replaced("later/gp", "{}"), None);
        assert_eq!(replaces("gp", None, 7), Some(None), "a record that was taken away wants nothing");
    }
}
