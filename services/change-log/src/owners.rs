//! Whose outputs count, where several processes may work for a source.
//!
//! # Why
//! A member that was frozen and wakes up still has outputs in its producer, and no group can hold those back. So each owner
//! of a source opens every partition of its outputs with a record of its own, before it looks at what was told; and what an
//! older owner writes behind that record is void, as in the source's log what an older session writes is. A process that
//! shares its work with nobody is no owner: what it writes always counts.

use crate::KafkaSettings;
use rdkafka::{
    Message,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, Headers, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// `source/epoch` of whoever wrote a record.
pub const OWNER: &str = "causeway-owner";
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long Kafka may take to acknowledge the records that open partitions.
const OPEN_MAX: Duration = Duration::from_secs(30);

pub fn owner(source: &str, epoch: u32) -> String {
    format!("{source}/{epoch}")
}

fn read(message: &impl Message) -> Option<(&str, u32)> {
    let header = message.headers()?.iter().find(|header| header.key == OWNER)?;
    let (source, epoch) = std::str::from_utf8(header.value?).ok()?.rsplit_once('/')?;
    Some((source, epoch.parse().ok()?))
}

/// What a record on a topic of outputs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Output,
    /// An owner's first, which says nothing else.
    Opens,
    /// An older owner wrote it behind a newer one's first.
    Void,
}

/// The newest owner of each source, by partition of one topic, as it is read.
#[derive(Clone, Debug, Default)]
pub struct Owners(HashMap<(i32, String), u32>);

/// For each topic and partition, an offset.
pub type Offsets = BTreeMap<String, BTreeMap<i32, i64>>;

/// Who told something, and where its records opened the partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    pub by: u32,
    pub opened: Offsets,
}

impl Owned {
    /// The owners that are known where a topic is read on from these ends.
    pub fn at(&self, topic: &str, ends: &Offsets, source: &str) -> Owners {
        let (Some(opened), Some(ends)) = (self.opened.get(topic), ends.get(topic)) else { return Owners::default() };
        let behind = opened.iter().filter(|(partition, at)| ends.get(partition).is_some_and(|end| end > *at));
        Owners(behind.map(|(partition, _)| ((*partition, source.to_owned()), self.by)).collect())
    }

    /// Was all that stands before these ends written before this owner's records?
    pub fn comes_after(&self, ends: &Offsets) -> bool {
        let before = |(topic, ends): (&String, &BTreeMap<i32, i64>)| {
            let opened = self.opened.get(topic);
            ends.iter().all(|(partition, end)| opened.and_then(|at| at.get(partition)).is_some_and(|at| end <= at))
        };
        ends.iter().all(before)
    }
}

impl Owners {
    pub fn look(&mut self, message: &impl Message) -> Seen {
        let Some((source, epoch)) = read(message) else { return Seen::Output };
        let partition = message.partition();
        match self.0.get_mut(&(partition, source.to_owned())) {
            Some(newest) if epoch < *newest => return Seen::Void,
            Some(newest) => *newest = epoch,
            None => drop(self.0.insert((partition, source.to_owned()), epoch)),
        }
        if message.payload().is_none() { Seen::Opens } else { Seen::Output }
    }
}

/// Opens every partition of these topics for an owner of a source. What older owners write from here on is void.
pub async fn open(kafka: &KafkaSettings, topics: &[&str], source: &str, epoch: u32) -> KafkaResult<Owned> {
    let producer = kafka.shared_outbox()?;
    let names: Vec<(String, String)> = topics.iter().map(|topic| ((*topic).to_owned(), kafka.topic(topic))).collect();
    let asked = Arc::clone(&producer);
    let partitions = tokio::task::spawn_blocking(move || places(&asked, &names)).await;
    let partitions = partitions.unwrap_or(Err(KafkaError::Canceled))?;
    let owner = owner(source, epoch);
    let mut sent = Vec::with_capacity(partitions.len());
    for (name, topic, partition) in &partitions {
        let headers = OwnedHeaders::new().insert(Header { key: OWNER, value: Some(owner.as_bytes()) });
        let record = FutureRecord::<[u8], [u8]>::to(topic).partition(*partition).headers(headers);
        sent.push((name, producer.send_result(record).map_err(|(error, _)| error)?));
    }
    let acknowledged = async {
        let mut owned = Owned { by: epoch, opened: Offsets::new() };
        for (name, delivery) in sent {
            let at = delivery.await.map_err(|_| KafkaError::Canceled)?.map_err(|(error, _)| error)?;
            owned.opened.entry(name.clone()).or_default().insert(at.partition, at.offset);
        }
        Ok(owned)
    };
    let timed_out = KafkaError::MessageProduction(RDKafkaErrorCode::OperationTimedOut);
    tokio::time::timeout(OPEN_MAX, acknowledged).await.unwrap_or(Err(timed_out))
}

/// Name, full name and partition.
type Places = Vec<(String, String, i32)>;

fn places(producer: &FutureProducer, topics: &[(String, String)]) -> KafkaResult<Places> {
    let mut places = Vec::new();
    for (name, topic) in topics {
        let metadata = producer.client().fetch_metadata(Some(topic), TIMEOUT)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        places.extend(partitions.map(|partition| (name.clone(), topic.clone(), partition.id())));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::{Timestamp, message::OwnedMessage};

    fn message(partition: i32, owner: Option<&str>, payload: Option<&str>) -> OwnedMessage {
        let header = |owner: &str| OwnedHeaders::new().insert(Header { key: OWNER, value: Some(owner) });
        let payload = payload.map(|text| text.as_bytes().to_vec());
        OwnedMessage::new(payload, None, "t".into(), Timestamp::NotAvailable, partition, 0, owner.map(header))
    }

    #[test]
    fn what_an_older_owner_writes_behind_a_newer_ones_first_is_void() {
        let mut owners = Owners::default();
        let mut look = |partition, owner, payload| owners.look(&message(partition, owner, payload));
        assert_eq!(look(0, Some("gp/7"), None), Seen::Opens);
        assert_eq!(look(0, Some("gp/7"), Some("a")), Seen::Output);
        assert_eq!(look(0, Some("gp/8"), None), Seen::Opens);
        assert_eq!(look(0, Some("gp/7"), Some("late")), Seen::Void);
        assert_eq!(look(0, Some("gp/7"), None), Seen::Void);
        assert_eq!(look(0, Some("gp/8"), Some("b")), Seen::Output);
        // Of another partition, of another source, of nobody, and of whoever writes this.
        assert_eq!(look(1, Some("gp/7"), Some("a")), Seen::Output);
        assert_eq!(look(0, Some("pas/1"), Some("a")), Seen::Output);
        assert_eq!(look(0, None, Some("a")), Seen::Output);
        assert_eq!(look(0, Some("gp"), Some("a")), Seen::Output);
    }

    #[test]
    fn who_reads_on_knows_the_owner_of_what_was_read() {
        let offsets = |pairs: &[(i32, i64)]| Offsets::from([("t".to_owned(), pairs.iter().copied().collect())]);
        let owned = Owned { by: 8, opened: offsets(&[(0, 5), (1, 5)]) };
        let ends = offsets(&[(0, 6), (1, 5)]);
        let mut owners = owned.at("t", &ends, "gp");
        assert_eq!(owners.look(&message(0, Some("gp/7"), Some("late"))), Seen::Void);
        assert_eq!(owners.look(&message(1, Some("gp/7"), Some("before the record"))), Seen::Output);
        assert!(!owned.comes_after(&ends) && owned.comes_after(&offsets(&[(0, 5), (1, 2)])));
        assert!(owned.comes_after(&Offsets::new()) && !owned.comes_after(&offsets(&[(2, 0)])), "another partition");
    }
}
