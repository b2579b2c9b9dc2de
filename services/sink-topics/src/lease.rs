//! Being the only one that writes a source's topics: a seat in a consumer group with one partition to give.

use crate::error::TopicsError;
use boot::health::Part;
use change_log::{KafkaSettings, Place, Question, Watch, topics::changes_topic};
use rdkafka::consumer::{Consumer, StreamConsumer};
use std::{sync::Arc, time::Duration};

/// After so long without a sign, another process takes over.
const SESSION_TIMEOUT_MS: &str = "6000";
const HEARTBEAT_MS: &str = "1000";
const POLL: Duration = Duration::from_millis(100);

pub(crate) struct Lease {
    consumer: Arc<StreamConsumer>,
    topic: String,
    watch: Watch,
    paused: bool,
}

impl Lease {
    pub(crate) fn join(kafka: &KafkaSettings, source: &str, part: &Part) -> Result<Self, TopicsError> {
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
        Ok(Self { consumer: Arc::new(consumer), topic, watch: Watch::new(kafka, Some(part)), paused: false })
    }

    /// Waits until the seat is ours.
    pub(crate) async fn granted(&mut self) -> Result<(), TopicsError> {
        while !self.holds().await? {}
        Ok(())
    }

    /// Waits until it is not any more, or nobody can tell.
    pub(crate) async fn lost(&mut self) -> TopicsError {
        loop {
            match self.holds().await {
                Ok(true) => {}
                Ok(false) => return TopicsError::Superseded,
                Err(error) => return error,
            }
        }
    }

    /// Keeps the membership alive, and says whether the partition is ours. Its records are not wanted here.
    async fn holds(&mut self) -> Result<bool, TopicsError> {
        let place = || vec![Place::read(&*self.topic, 0, None)];
        tokio::select! {
            received = self.consumer.recv() => if let Err(error) = received {
                tracing::debug!(%error, "a seat among the topics' writers");
            },
            () = tokio::time::sleep(POLL) => {}
            stalled = self.watch.stalled(|| Question::reading(place(), &self.consumer)) => return Err(stalled.into()),
        }
        let Ok(assignment) = self.consumer.assignment() else { return Ok(false) };
        let held = assignment.count() > 0;
        if held && !self.paused {
            self.paused = self.consumer.pause(&assignment).is_ok();
        }
        self.paused &= held;
        Ok(held)
    }
}
