//! Rows that are too large for the log: told by reference in the quarantine, and the stream goes on.

use crate::error::ConnectorError;
use boot::health::Part;
use change::Position;
use change_log::{KafkaSettings, Place, Question, Registry, Watch, frame};
use event::Quarantined;
use rdkafka::producer::FutureRecord;
use std::time::Duration;

pub(crate) const TOPIC: &str = "quarantine";
const STAGE: &str = "capture";
/// A key larger than this is left out too.
const KEY_BYTES_MAX: usize = 64 * 1024;

/// What the log does not hold.
pub(crate) struct Oversized {
    pub(crate) position: Position,
    pub(crate) table: String,
    pub(crate) key: Vec<u8>,
    pub(crate) bytes: usize,
    pub(crate) committed_at: i64,
}

pub(crate) struct Quarantine {
    watch: Watch,
    kafka: KafkaSettings,
    source: String,
}

impl Quarantine {
    pub(crate) fn new(kafka: &KafkaSettings, source: &str, part: &Part) -> Self {
        Self { watch: Watch::new(kafka, Some(part)), kafka: kafka.clone(), source: source.to_owned() }
    }

    /// Returns once the item is durable: only then may the source forget the row.
    pub(crate) async fn put(&mut self, registry: &Registry, row: Oversized) -> Result<(), ConnectorError> {
        let topic = self.kafka.topic(TOPIC);
        let id = registry.register(&format!("{topic}-value"), event::avro::QUARANTINED_SCHEMA).await?;
        let item = Quarantined {
            source: self.source.clone(),
            position: Some(row.position),
            stage: STAGE.into(),
            reason: "row too large for the log".into(),
            detail: format!("{} bytes; the row stays in the source", row.bytes),
            table: Some(row.table),
            key: (row.key.len() <= KEY_BYTES_MAX).then_some(row.key),
            committed_at: Some(row.committed_at),
            ..Quarantined::default()
        };
        let mut value = Vec::new();
        frame::start(id, &mut value);
        event::avro::encode_quarantined(&item, &mut value);
        let key = row.position.to_string();
        let producer = self.kafka.shared_outbox().map_err(ConnectorError::Quarantine)?;
        self.watch.heard();
        let record = FutureRecord::to(&topic).partition(0).key(&key).payload(&value);
        let place = Place::written(&*topic);
        let sent = tokio::select! {
            biased;
            sent = producer.send(record, Duration::MAX) => sent,
            stalled = self.watch.stalled(|| Question::writing(vec![place.clone()], 1, None)) => {
                self.kafka.let_go_of_outbox(&producer);
                return Err(stalled.into());
            }
        };
        boot::failpoint::reached("capture.quarantined");
        sent.map(drop).map_err(|(error, _)| ConnectorError::Quarantine(error))
    }
}
