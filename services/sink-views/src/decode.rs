//! From messages to items. What is not of our schema goes to `quarantine`, with where it was read.

use crate::{
    ViewsError,
    plan::{Item, Place, Topic},
};
use change_log::{KafkaSettings, Registry, Versions, frame, versions};
use event::{Quarantined, avro};
use rdkafka::{
    Message,
    message::BorrowedMessage,
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use std::time::Duration;

/// Who gave up, in quarantine.
pub const STAGE: &str = "views";
/// Kafka may take so long to acknowledge a quarantined message.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Decoder {
    topics: [Known; 3],
}

struct Known {
    topic: Topic,
    name: String,
    /// Of our schema.
    id: u32,
    versions: Versions,
}

impl Decoder {
    /// Registers the schemas of the topics, as their writers do.
    pub async fn new(kafka: &KafkaSettings, registry: Registry) -> Result<Self, ViewsError> {
        let mut topics = Vec::with_capacity(Topic::ALL.len());
        for topic in Topic::ALL {
            let text = match topic {
                Topic::Events => avro::SCHEMA,
                Topic::Links => avro::LINK_SCHEMA,
                Topic::Quarantine => avro::QUARANTINED_SCHEMA,
            };
            let name = kafka.topic(topic.name());
            let id = registry.register(&format!("{name}-value"), text).await?;
            topics.push(Known { topic, name, id, versions: Versions::new(registry.clone(), text) });
        }
        let topics = topics.try_into().unwrap_or_else(|_| unreachable!("three topics make three entries"));
        Ok(Self { topics })
    }

    pub fn place(&self, message: &impl Message) -> Option<Place> {
        let known = self.topics.iter().find(|known| known.name == message.topic())?;
        Some(Place { topic: known.topic, partition: message.partition(), offset: message.offset() })
    }

    /// The id of our schema on `quarantine`.
    pub fn quarantine_schema(&self) -> u32 {
        self.topics.iter().find(|known| known.topic == Topic::Quarantine).map_or_else(u32::default, |known| known.id)
    }

    /// The item, or why it is not one. `Err` is the registry's absence, not the message's fault.
    pub async fn item(
        &mut self,
        place: Place,
        payload: Option<&[u8]>,
    ) -> Result<Result<Item, &'static str>, ViewsError> {
        let Some(payload) = payload else {
            // Compaction's way of deleting: links are never deleted, only replaced.
            return Ok(if place.topic == Topic::Links { Ok(Item::Passed) } else { Err("no value") });
        };
        let Some(known) = self.topics.iter_mut().find(|known| known.topic == place.topic) else {
            return Ok(Err(versions::FOREIGN_MESSAGE));
        };
        let datum = match known.versions.datum(payload).await? {
            Ok(datum) => datum,
            Err(reason) => return Ok(Err(reason)),
        };
        let item = match place.topic {
            Topic::Events => avro::decode(&datum).map(Item::Event),
            Topic::Links => avro::decode_link(&datum).map(Item::Link),
            Topic::Quarantine => avro::decode_quarantined(&datum).map(Item::Quarantined),
        };
        Ok(item.map_err(|_| versions::MALFORMED))
    }
}

/// Puts what could not be applied onto `quarantine`, durably.
pub struct Quarantine {
    producer: FutureProducer,
    topic: String,
    schema: u32,
}

impl Quarantine {
    pub fn new(kafka: &KafkaSettings, schema: u32) -> Result<Self, ViewsError> {
        let mut config = kafka.client();
        config
            .set("enable.idempotence", "true")
            .set("message.max.bytes", change_log::topics::TOPIC_RECORD_BYTES_MAX.to_string())
            .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string());
        let producer = config.create().map_err(ViewsError::kafka("quarantine a message"))?;
        Ok(Self { producer, topic: kafka.topic(Topic::Quarantine.name()), schema })
    }

    /// Returns once Kafka has it.
    pub async fn put(&self, item: &Quarantined) -> Result<(), ViewsError> {
        let mut frame = Vec::new();
        frame::start(self.schema, &mut frame);
        avro::encode_quarantined_within(item, change_log::topics::QUARANTINED_BYTES_MAX, &mut frame);
        let key = item.position.map_or_else(
            || {
                let (topic, partition, offset) = (&item.topic, item.partition, item.offset);
                format!("{}/{}/{}", topic.as_deref().unwrap_or_default(), partition.unwrap_or(-1), offset.unwrap_or(-1))
            },
            |position| position.to_string(),
        );
        let record = FutureRecord::to(&self.topic).key(&key).payload(&frame);
        metrics::counter!("causeway_sink_quarantined_total").increment(1);
        tracing::warn!(
            topic = item.topic.as_deref().unwrap_or_default(),
            partition = item.partition.unwrap_or(-1),
            offset = item.offset.unwrap_or(-1),
            reason = item.reason,
            "quarantined a message"
        );
        match self.producer.send(record, Timeout::After(DELIVERY_TIMEOUT)).await {
            Ok(_) => Ok(()),
            Err((source, _)) => Err(ViewsError::kafka("quarantine a message")(source)),
        }
    }
}

/// A message that is not one of ours, whole.
pub fn foreign(message: &BorrowedMessage<'_>, reason: &'static str) -> Quarantined {
    Quarantined {
        stage: STAGE.into(),
        reason: reason.into(),
        key: message.key().map(<[u8]>::to_vec),
        topic: Some(message.topic().to_owned()),
        partition: Some(message.partition()),
        offset: Some(message.offset()),
        original: message.payload().map(<[u8]>::to_vec),
        ..Quarantined::default()
    }
}

/// An item that the database refuses, whole.
pub fn refused(place: Place, topic: String, item: &Item) -> Quarantined {
    let mut original = Vec::new();
    let mut told = Quarantined {
        stage: STAGE.into(),
        reason: "the database refuses the row".into(),
        topic: Some(topic),
        partition: Some(place.partition),
        offset: Some(place.offset),
        ..Quarantined::default()
    };
    match item {
        Item::Event(event) => {
            avro::encode(event, &mut original);
            told.source.clone_from(&event.patient.source);
            told.patient = Some(event.patient.id.clone());
            told.position = Some(event.position);
            told.committed_at = Some(event.committed_at);
        }
        Item::Link(link) => {
            avro::encode_link(link, &mut original);
            told.source.clone_from(&link.patient.source);
            told.patient = Some(link.patient.id.clone());
        }
        Item::Quarantined(_) | Item::Passed => {}
    }
    told.original = Some(original);
    told
}
