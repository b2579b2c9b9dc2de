//! What operators want of a source: paused or not, snapshots to take, losses and schemas that they accept. And what was
//! fixed of it once and for all: see [`lives`]; what waits for them: see [`aside`]
//! and [`waiting`]; and what they want to be told again: see [`replay`].
//!
//! # Why
//! The connector keeps nothing of its own, so what is wanted stands in a small compacted topic, one record for each
//! source, and survives every restart. The connector follows it; `causeway source …` changes it. No change is lost,
//! however many write at once: see [`register`].

pub mod aside;
mod hub;
pub mod lives;
mod register;
pub mod replay;
pub mod waiting;

pub use aside::Aside;
pub(crate) use hub::Hub;
pub use lives::{Generation, Lives, Meaning};

use crate::{KafkaSettings, Kept, TopicError, TopicSpec};
use rdkafka::error::KafkaError;
use register::Entry;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::watch;

/// Key: the source, or what [`lives`], [`aside`], [`replay`] and [`waiting`] say; value: JSON.
pub const TOPIC: &str = "source.signals";
/// Snapshots that can be asked for and are not done yet.
pub const SNAPSHOTS_MAX: usize = 32;
/// Tables of one request.
pub const TABLES_MAX: usize = 1_000;
/// Schemas that were accepted; the oldest is forgotten.
pub const ACCEPTED_MAX: usize = 64;

/// What an operator wants of one source. A record that is missing wants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Desired {
    /// The source is not read. Its slot is kept, and keeps WAL.
    pub paused: bool,
    pub snapshots_paused: bool,
    /// In the order in which they were asked for.
    pub snapshots: Vec<SnapshotRequest>,
    /// Give up this epoch of the log, and read everything anew in the next one, from a new slot. Used up when the log
    /// has moved on.
    pub replace_epoch: Option<u32>,
    pub accepted: Vec<AcceptedSchema>,
}

/// Rows that are to be read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// A UUID.
    pub id: String,
    /// `schema.table`; empty means all.
    #[serde(default)]
    pub tables: Vec<String>,
    /// SQL, of one table only.
    #[serde(default)]
    pub predicate: Option<String>,
    /// Microseconds since the epoch.
    #[serde(default)]
    pub requested_at: i64,
}

/// A schema that may follow another one although the registry calls it incompatible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedSchema {
    /// The registry's subject.
    pub subject: String,
    /// The id of the subject's newest schema when this was said. Used up when there is a newer one.
    pub after: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    #[error("cannot read or write what is wanted of the sources (topic `{topic}`)")]
    Kafka { topic: String, source: KafkaError },
    #[error("Kafka gave no record of `{topic}` for {} s", register::ASK_TIMEOUT.as_secs())]
    Silent { topic: String },
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("{SNAPSHOTS_MAX} snapshots are waiting already: let one finish first")]
    TooMany,
    #[error("{} tables of the source are set aside already", aside::ASIDE_MAX)]
    TooManyAside,
    #[error("{} tables of the source wait for their topics already", waiting::WAITING_MAX)]
    TooManyWaiting,
    #[error("others change what is wanted of this source at the same moment; try again")]
    Contended,
}

impl Desired {
    /// Adds a request, and lets go of those that are done.
    pub fn request(&mut self, request: SnapshotRequest, done: &[String]) -> Result<(), SignalError> {
        self.snapshots.retain(|known| !done.contains(&known.id));
        if self.snapshots.len() >= SNAPSHOTS_MAX {
            return Err(SignalError::TooMany);
        }
        self.snapshots.push(request);
        Ok(())
    }

    /// Lets the next schema of the subject in.
    pub fn accept(&mut self, subject: &str, after: u32) {
        self.accepted.retain(|accepted| accepted.subject != subject);
        self.accepted.push(AcceptedSchema { subject: subject.to_owned(), after });
        let surplus = self.accepted.len().saturating_sub(ACCEPTED_MAX);
        self.accepted.drain(..surplus);
    }

    /// What was let in of these subjects has been used, or is not wanted any more.
    pub fn settle(&mut self, subjects: &[String]) {
        self.accepted.retain(|accepted| !subjects.contains(&accepted.subject));
    }

    /// The consent to give up an epoch is for one use: the log has moved on to this one.
    pub fn moved_on(&mut self, epoch: u32) {
        self.replace_epoch = self.replace_epoch.filter(|given_up| *given_up >= epoch);
    }

    /// Whether the schema after this one was let in.
    pub fn accepts(&self, subject: &str, after: u32) -> bool {
        self.accepted.iter().any(|accepted| accepted.subject == subject && accepted.after == after)
    }
}

/// The topic, for [`crate::topics::ensure`].
pub fn topic() -> TopicSpec {
    TopicSpec::new(TOPIC, 1, Kept::Compacted)
}

/// What is wanted of the source now.
pub async fn read(kafka: &KafkaSettings, source: &str) -> Result<Desired, SignalError> {
    register::read(kafka, source).await
}

/// Changes what is wanted of the source, and returns it.
pub async fn change(
    kafka: &KafkaSettings,
    source: &str,
    change: impl Fn(&mut Desired) -> Result<(), SignalError>,
) -> Result<Desired, SignalError> {
    register::change(kafka, source, change).await
}

/// Keeps what is wanted of the source up to date until nobody looks any more. Returns once it is known.
pub async fn follow(kafka: &KafkaSettings, source: &str) -> Result<watch::Receiver<Arc<Desired>>, SignalError> {
    register::follow(kafka, source, |desired: &Desired, source| {
        tracing::info!(
            source,
            paused = desired.paused,
            snapshots = desired.snapshots.len(),
            snapshots_paused = desired.snapshots_paused,
            "an operator wants something"
        );
    })
    .await
}

impl Entry for Desired {
    // What waits for an operator is tried again.
    const HEARD: bool = true;

    fn bounded(&self) -> bool {
        self.snapshots.len() <= SNAPSHOTS_MAX
            && self.accepted.len() <= ACCEPTED_MAX
            && self.snapshots.iter().all(|request| {
                request.tables.len() <= TABLES_MAX && (request.predicate.is_none() || request.tables.len() == 1)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{register::decode, *};

    fn request(id: usize) -> SnapshotRequest {
        SnapshotRequest { id: id.to_string(), ..SnapshotRequest::default() }
    }

    #[test]
    fn requests_are_bounded_and_go_when_they_are_done() {
        let mut desired = Desired::default();
        for id in 0..SNAPSHOTS_MAX {
            desired.request(request(id), &[]).expect("room");
        }
        assert!(matches!(desired.request(request(99), &[]), Err(SignalError::TooMany)));
        desired.request(request(99), &["3".into()]).expect("room again");
        assert_eq!((desired.snapshots.len(), &*desired.snapshots[3].id), (SNAPSHOTS_MAX, "4"));
        let text = serde_json::to_vec(&desired).expect("JSON");
        assert_eq!(decode::<Desired>(&text).map(|record| record.value), Some(desired));
    }

    #[test]
    fn an_accepted_schema_is_used_up() {
        let mut desired = Desired::default();
        desired.accept("s.Envelope", 4);
        assert!(desired.accepts("s.Envelope", 4) && !desired.accepts("s.Envelope", 5));
        desired.accept("s.Envelope", 5);
        assert!(!desired.accepts("s.Envelope", 4) && desired.accepts("s.Envelope", 5));
        desired.accept("s.Key", 6);
        desired.settle(&["s.Envelope".into()]);
        assert!(!desired.accepts("s.Envelope", 5) && desired.accepts("s.Key", 6));
    }

    #[test]
    fn a_consent_is_for_one_use() {
        let mut desired = Desired { replace_epoch: Some(0), ..Desired::default() };
        desired.moved_on(0);
        assert_eq!(desired.replace_epoch, Some(0), "not used yet");
        desired.moved_on(1);
        assert_eq!(desired.replace_epoch, None, "the next loss is asked about again");
    }

    #[test]
    fn bad_records_are_not_taken() {
        assert!(decode::<Desired>(b"{}").is_some_and(|record| record.value == Desired::default()));
        assert!(decode::<Desired>(b"paused").is_none());
        assert!(
            decode::<Desired>(br#"{"snapshots": [{"id": "1", "tables": ["a.b", "a.c"], "predicate": "x > 1"}]}"#)
                .is_none()
        );
        let many: Vec<SnapshotRequest> = (0..=SNAPSHOTS_MAX).map(request).collect();
        let desired = Desired { snapshots: many, ..Desired::default() };
        assert!(decode::<Desired>(&serde_json::to_vec(&desired).expect("JSON")).is_none());
    }
}
