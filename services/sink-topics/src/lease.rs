//! Being the only one that writes a source's topics: a seat in a consumer group with one partition to give.

use crate::error::TopicsError;
use change_log::{KafkaSettings, topics::changes_topic};
use rdkafka::consumer::{Consumer, StreamConsumer};
use std::time::Duration;

/// After so long without a sign, another process takes over.
const SESSION_TIMEOUT_MS: &str = "6000";
const HEARTBEAT_MS: &str = "1000";
const POLL: Duration = Duration::from_millis(100);

pub(crate) struct Lease {
    consumer: StreamConsumer,
    paused: bool,
}

impl Lease {
    pub(crate) fn join(kafka: &KafkaSettings, source: &str) -> Result<Self, TopicsError> {
        let failed = |source| TopicsError::Kafka { doing: "join the group of the topics' writers", source };
        let topic = kafka.topic(&changes_topic(source));
        let consumer: StreamConsumer = kafka
            .client()
            .set("group.id", kafka.topic(&format!("causeway-topics-{source}")))
            .set("session.timeout.ms", SESSION_TIMEOUT_MS)
            .set("heartbeat.interval.ms", HEARTBEAT_MS)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest")
            .set("queued.max.messages.kbytes", "64")
            .set("allow.auto.create.topics", "false")
            .create()
            .map_err(failed)?;
        consumer.subscribe(&[&topic]).map_err(failed)?;
        Ok(Self { consumer, paused: false })
    }

    /// Waits until the seat is ours.
    pub(crate) async fn granted(&mut self) {
        while !self.holds().await {}
    }

    /// Waits until it is not any more.
    pub(crate) async fn lost(&mut self) {
        while self.holds().await {}
    }

    /// Keeps the membership alive, and says whether the partition is ours. Its records are not wanted here.
    async fn holds(&mut self) -> bool {
        if let Ok(Err(error)) = tokio::time::timeout(POLL, self.consumer.recv()).await {
            tracing::debug!(%error, "a seat among the topics' writers");
        }
        let Ok(assignment) = self.consumer.assignment() else { return false };
        let held = assignment.count() > 0;
        if held && !self.paused {
            self.paused = self.consumer.pause(&assignment).is_ok();
        }
        self.paused &= held;
        held
    }
}
