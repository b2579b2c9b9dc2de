//! Creating topics that are missing. Existing topics are left as their owner set them.

use crate::kafka::KafkaSettings;
use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::time::Duration;

/// What every sink reads: coded events, by source patient.
pub const EVENTS: &str = "patient.events";
/// Which person each source patient is.
pub const LINKS: &str = "person.links";
/// What could not be read, coded or linked.
pub const QUARANTINE: &str = "quarantine";
/// The largest record a topic of ours takes: a row's two images, or a quarantined record around them.
pub const TOPIC_RECORD_BYTES_MAX: usize = 24 * 1024 * 1024;
const _: () = assert!(TOPIC_RECORD_BYTES_MAX > 2 * RECORD_BYTES_MAX, "a record fits into quarantine");
/// The largest item of the quarantine: what is around it in a record, its headers among that, takes the rest.
pub const QUARANTINED_BYTES_MAX: usize = TOPIC_RECORD_BYTES_MAX - 1024 * 1024;
/// The largest record that Causeway writes to `changes.<source>`.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long `changes.<source>` keeps a record.
pub const CHANGES_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);
/// With so many replicas, a write is acknowledged by two of them.
const REPLICAS_FOR_QUORUM: u16 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Without the region's prefix.
    pub name: String,
    pub partitions: u16,
    pub kept: Kept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The last record of each key.
    Compacted,
    For(Duration),
    Forever,
}

impl TopicSpec {
    pub fn new(name: impl Into<String>, partitions: u16, kept: Kept) -> Self {
        Self { name: name.into(), partitions, kept }
    }

    /// `changes.<source>`.
    pub fn changes(source: &str) -> Self {
        Self::new(changes_topic(source), 1, Kept::For(CHANGES_KEPT))
    }
}

/// The log of one source, without the region's prefix.
pub fn changes_topic(source: &str) -> String {
    format!("changes.{source}")
}

#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error("cannot reach Kafka to create topics")]
    Kafka(#[from] KafkaError),
    #[error("Kafka refused to create topic `{topic}`: {code}")]
    Refused { topic: String, code: RDKafkaErrorCode },
}

impl TopicError {
    pub const fn worth_retrying(&self) -> bool {
        match self {
            Self::Kafka(_) => true,
            Self::Refused { code, .. } => !matches!(
                code,
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::InvalidTopic
                    | RDKafkaErrorCode::PolicyViolation
                    | RDKafkaErrorCode::InvalidReplicationFactor
            ),
        }
    }
}

/// Creates the topics that do not exist yet.
pub async fn ensure(kafka: &KafkaSettings, specs: &[TopicSpec]) -> Result<(), TopicError> {
    let admin = kafka.admin()?;
    let record_bytes_max = TOPIC_RECORD_BYTES_MAX.to_string();
    let names: Vec<String> = specs.iter().map(|spec| kafka.topic(&spec.name)).collect();
    let kept: Vec<String> = specs.iter().map(|spec| spec.kept.retention_ms()).collect();
    let topics: Vec<NewTopic<'_>> = specs
        .iter()
        .zip(names.iter().zip(&kept))
        .map(|(spec, (name, kept))| {
            let replicas = TopicReplication::Fixed(i32::from(kafka.replicas));
            let mut topic = NewTopic::new(name, i32::from(spec.partitions), replicas)
                .set("max.message.bytes", &record_bytes_max)
                .set("cleanup.policy", spec.kept.policy())
                // By the broker's clock: a writer whose clock is wrong could be refused, or have the log deleted as old.
                .set("message.timestamp.type", "LogAppendTime");
            if spec.kept != Kept::Compacted {
                topic = topic.set("retention.ms", kept);
            }
            if kafka.replicas >= REPLICAS_FOR_QUORUM {
                topic = topic.set("min.insync.replicas", "2");
            }
            topic
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    let made = admin.create_topics(&topics, &options).await;
    for outcome in made.inspect_err(|_| kafka.let_go_of_admin(&admin))? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicError::Refused { topic, code }),
        }
    }
    Ok(())
}

impl Kept {
    const fn policy(self) -> &'static str {
        match self {
            Self::Compacted => "compact",
            Self::For(_) | Self::Forever => "delete",
        }
    }

    fn retention_ms(self) -> String {
        match self {
            Self::For(time) => time.as_millis().to_string(),
            Self::Compacted | Self::Forever => "-1".to_owned(),
        }
    }
}
