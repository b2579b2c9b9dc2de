//! The linker: reads demographics, keeps who is whom in PostgreSQL, and publishes links from its outbox.
//!
//! # Why
//! Who is one person is decided from what all sources say, in one place: one writer at a time, by an advisory lock on the
//! connection that writes. A link goes out through an outbox written in the same transaction, so that what is published is
//! what was decided, in that order.

mod error;
pub mod store;

use boot::{
    Stop,
    health::{Health, Part},
    restart::until_stopped,
};
use change_log::{
    KafkaSettings, Kept, Owners, Place, Question, Reading, Registry, TopicSpec, Versions, Watch, frame,
    owners::Seen,
    topics::{EVENTS, LINKS, QUARANTINE, QUARANTINED_BYTES_MAX, ensure},
    watch::let_go,
};
use deadpool_postgres::{ClientWrapper, Object, Pool};
pub use error::LinkerError;
use event::{PatientEvent, Quarantined, avro};
use futures_util::{FutureExt, future::try_join_all};
use identity::parameters::Parameters;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer, StreamConsumer},
    error::KafkaResult,
    message::{Headers, OwnedMessage},
    producer::{DeliveryFuture, FutureProducer, FutureRecord},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Messages read before the database is written.
pub const BATCH_MESSAGES_MAX: usize = 1_000;
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Clerks wait so long at most until the linker sees what they decided.
const DECISIONS_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Counts what the linker takes from an event: when that grows, all of them are read again, by a new group. 2: names and sex.
/// 3: postcode and confidentiality.
const GROUP: &str = "causeway-linker-3";
const DEMOGRAPHICS: &[u8] = b"causeway.patient.demographics.";
/// Who gave up, in quarantine.
pub const STAGE: &str = "linker";
/// Why: the words are the views' own.
pub const REFUSED: &str = "the database refuses the row";

/// Runs until the stop signal. `events_partitions`: of `patient.events`, when it is created here. `weights`: without them
/// nobody is linked by weight.
pub async fn run(
    events_partitions: u16,
    kafka: KafkaSettings,
    registry: Registry,
    pool: Pool,
    weights: Option<Parameters>,
    health: Health,
    stop: Stop,
) -> Result<(), LinkerError> {
    let part = health.part("linker");
    let linker = Linker { events_partitions, kafka, registry, pool, weights, part: part.clone() };
    let attempt = || async {
        tokio::select! {
            ended = linker.attempt() => ended,
            () = stop.cancelled() => Ok(()),
        }
    };
    until_stopped(&part, &stop, LinkerError::worth_retrying, attempt).await
}

struct Linker {
    events_partitions: u16,
    kafka: KafkaSettings,
    registry: Registry,
    pool: Pool,
    weights: Option<Parameters>,
    part: Part,
}

impl Linker {
    async fn attempt(&self) -> Result<(), LinkerError> {
        let mut client = self.writer().await?;
        store::migrate(&mut client).await?;
        let topics = [
            TopicSpec::new(EVENTS, self.events_partitions, Kept::Forever),
            TopicSpec::new(LINKS, 1, Kept::Compacted),
            TopicSpec::new(QUARANTINE, 1, Kept::Forever),
        ];
        ensure(&self.kafka, &topics).await?;
        let links = self.written(LINKS, avro::LINK_SCHEMA).await?;
        let quarantine = self.written(QUARANTINE, avro::QUARANTINED_SCHEMA).await?;
        let watch = || Watch::new(&self.kafka, Some(&self.part));
        let mut outbox = Outbox {
            producer: self
                .kafka
                .outbox(2 * BATCH_MESSAGES_MAX)
                .create()
                .map_err(LinkerError::kafka("make a producer"))?,
            watch: watch(),
            links,
            quarantine,
        };
        let (consumer, mut reading) = self.consumer().await?;
        let (consumer, mut watch, mut owners) = (Arc::new(consumer), watch(), Owners::default());
        outbox.empty(&client).await?;
        self.weigh_anew(&mut client, &mut outbox).await?;
        let mut versions = Versions::new(self.registry.clone(), avro::SCHEMA);
        self.part.ready();
        tracing::info!("links patients");
        loop {
            if let Some(changed) = store::take_decisions(&mut client, self.weights.as_ref()).await? {
                metrics::counter!("causeway_links_changed_total").increment(changed as u64);
                outbox.empty(&client).await?;
            }
            let messages = tokio::select! {
                biased;
                messages = batch(&consumer) => messages?,
                stalled = watch.stalled(|| Question::reading(reading.places(), &consumer)) => {
                    let_go(consumer);
                    return Err(stalled.into());
                }
                () = tokio::time::sleep(DECISIONS_AGAIN_AFTER) => continue,
            };
            watch.heard();
            messages.iter().for_each(|message| reading.take(message));
            let (mut events, mut from) = (Vec::new(), Vec::new());
            for message in &messages {
                if owners.look(message) != Seen::Output || !is_demographics(message) {
                    continue;
                }
                if let Some(event) = event(message, &mut versions).await? {
                    events.push(event);
                    from.push(message);
                }
            }
            if !events.is_empty() {
                let (changed, refused) = store::take_each(&mut client, &events, self.weights.as_ref()).await?;
                metrics::counter!("causeway_links_changed_total").increment(changed as u64);
                outbox.empty(&client).await?;
                for at in refused {
                    outbox.set_aside(&refusal(&events[at], from[at])).await?;
                }
            }
            // Only after the database: a crash here reads the batch again, which changes nothing.
            commit(&consumer, &messages)?;
        }
    }

    /// A topic that the linker writes to, with the schema of its messages.
    async fn written(&self, topic: &str, schema: &str) -> Result<Written, LinkerError> {
        let topic = self.kafka.topic(topic);
        let schema = self.registry.register(&format!("{topic}-value"), schema).await?;
        Ok(Written { topic, schema })
    }

    /// After another version of the weights, or without any more: everybody once, before anything new is taken.
    async fn weigh_anew(&self, client: &mut ClientWrapper, outbox: &mut Outbox) -> Result<(), LinkerError> {
        let (mut after, mut patients) = (0, 0_u64);
        let now = store::micros(SystemTime::now());
        while let Some((last, changed)) = store::weigh_anew(client, after, now, self.weights.as_ref()).await? {
            if after == 0 {
                tracing::info!("weighs all patients anew");
            }
            (after, patients) = (last, patients + 1);
            metrics::counter!("causeway_links_changed_total").increment(changed as u64);
            self.part.not_ready("weighs all patients anew");
            outbox.empty(client).await?;
        }
        if patients > 0 {
            tracing::info!("weighed all patients anew");
        }
        Ok(())
    }

    /// A connection of its own that holds the writer's lock. It is closed when dropped, and the lock with it.
    async fn writer(&self) -> Result<ClientWrapper, LinkerError> {
        let client = Object::take(self.pool.get().await?);
        while !store::become_writer(&client).await? {
            self.part.not_ready("another linker is the writer");
            tokio::time::sleep(LOCK_AGAIN_AFTER).await;
        }
        Ok(client)
    }

    /// All partitions, from where the last run stood. Assigned, not subscribed: a restart goes on at once.
    async fn consumer(&self) -> Result<(StreamConsumer, Reading), LinkerError> {
        let topic = self.kafka.topic(EVENTS);
        let mut config = self.kafka.client();
        config
            .set("group.id", self.kafka.topic(GROUP))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "100");
        let open = move || -> KafkaResult<(StreamConsumer, Reading)> {
            let consumer: StreamConsumer = config.create()?;
            let metadata = consumer.fetch_metadata(Some(&topic), KAFKA_TIMEOUT)?;
            let mut list = TopicPartitionList::new();
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                list.add_partition(&topic, partition.id());
            }
            let committed = consumer.committed_offsets(list, KAFKA_TIMEOUT)?;
            let mut from = TopicPartitionList::new();
            for element in committed.elements() {
                let offset = match element.offset() {
                    Offset::Offset(offset) => Offset::Offset(offset),
                    _ => Offset::Beginning,
                };
                from.add_partition_offset(element.topic(), element.partition(), offset)?;
            }
            consumer.assign(&from)?;
            let reading = Reading::of(&from);
            Ok((consumer, reading))
        };
        let opened = tokio::task::spawn_blocking(open).await.map_err(|_| LinkerError::Background)?;
        opened.map_err(LinkerError::kafka("read patient events"))
    }
}

/// At least one message, and those that are there already.
async fn batch(consumer: &StreamConsumer) -> Result<Vec<OwnedMessage>, LinkerError> {
    let failed = LinkerError::kafka("read patient events");
    let mut messages = vec![consumer.recv().await.map_err(&failed)?.detach()];
    while messages.len() < BATCH_MESSAGES_MAX
        && let Some(message) = consumer.recv().now_or_never()
    {
        messages.push(message.map_err(&failed)?.detach());
    }
    Ok(messages)
}

/// Is it about who the patient is?
fn is_demographics(message: &OwnedMessage) -> bool {
    let mut headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers.any(|header| header.key == "ce_type" && header.value.is_some_and(|value| value.starts_with(DEMOGRAPHICS)))
}

/// The event. What cannot be read here is quarantined by the views.
async fn event(message: &OwnedMessage, versions: &mut Versions) -> Result<Option<PatientEvent>, LinkerError> {
    let datum = versions.datum(message.payload().unwrap_or_default()).await?;
    let event = datum.ok().and_then(|datum| avro::decode(&datum).ok());
    if event.is_none() {
        metrics::counter!("causeway_linker_unreadable_total").increment(1);
    }
    Ok(event)
}

fn commit(consumer: &StreamConsumer, messages: &[OwnedMessage]) -> Result<(), LinkerError> {
    let failed = LinkerError::kafka("commit what was linked");
    let mut list = TopicPartitionList::new();
    for message in messages {
        let next = Offset::Offset(message.offset() + 1);
        match list.find_partition(message.topic(), message.partition()) {
            Some(mut element) => element.set_offset(next).map_err(&failed)?,
            None => list.add_partition_offset(message.topic(), message.partition(), next).map_err(&failed)?,
        }
    }
    consumer.commit(&list, CommitMode::Async).map_err(failed)
}

/// The item of an event that the database refuses, whole. It has the name of its message: read again after a crash, it is
/// the same item.
fn refusal(event: &PatientEvent, message: &OwnedMessage) -> Quarantined {
    let place = format!("{STAGE}:{}:{}:{}", message.topic(), message.partition(), message.offset());
    Quarantined {
        source: event.patient.source.clone(),
        position: Some(event.position),
        stage: STAGE.into(),
        reason: REFUSED.into(),
        key: message.key().map(<[u8]>::to_vec),
        topic: Some(message.topic().to_owned()),
        partition: Some(message.partition()),
        offset: Some(message.offset()),
        patient: Some(event.patient.id.clone()),
        original: message.payload().map(<[u8]>::to_vec),
        committed_at: Some(event.committed_at),
        item: Some(place),
        ..Quarantined::default()
    }
}

/// A topic, and the id of our schema on it.
struct Written {
    topic: String,
    schema: u32,
}

struct Outbox {
    producer: FutureProducer,
    watch: Watch,
    links: Written,
    quarantine: Written,
}

impl Outbox {
    /// Publishes what waits, oldest first. A crash before the rows are gone publishes a version again, which readers
    /// know by its number.
    async fn empty(&mut self, client: &ClientWrapper) -> Result<(), LinkerError> {
        loop {
            let rows = store::outbox(client).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            let mut deliveries = Vec::with_capacity(rows.len());
            for (_, link) in &rows {
                let key = link.patient.to_string();
                let mut payload = Vec::new();
                frame::start(self.links.schema, &mut payload);
                avro::encode_link(link, &mut payload);
                let record = FutureRecord::to(&self.links.topic).key(&key).payload(&payload);
                let sent = self.producer.send_result(record);
                deliveries.push(sent.map_err(|(source, _)| LinkerError::Kafka { doing: "send a link", source })?);
            }
            let topic = self.links.topic.clone();
            self.delivered(&topic, deliveries, "deliver a link").await?;
            store::published(client, *last).await?;
        }
    }

    /// Onto `quarantine`. Returns once Kafka has it.
    async fn set_aside(&mut self, item: &Quarantined) -> Result<(), LinkerError> {
        let mut payload = Vec::new();
        frame::start(self.quarantine.schema, &mut payload);
        avro::encode_quarantined_within(item, QUARANTINED_BYTES_MAX, &mut payload);
        let key = item.position.map_or_else(String::new, |position| position.to_string());
        let record = FutureRecord::to(&self.quarantine.topic).key(&key).payload(&payload);
        let sent = self.producer.send_result(record);
        let sent = sent.map_err(|(source, _)| LinkerError::Kafka { doing: "quarantine an event", source })?;
        metrics::counter!("causeway_linker_quarantined_total").increment(1);
        tracing::warn!(
            topic = item.topic.as_deref().unwrap_or_default(),
            partition = item.partition.unwrap_or(-1),
            offset = item.offset.unwrap_or(-1),
            reason = item.reason,
            "quarantined an event"
        );
        let topic = self.quarantine.topic.clone();
        self.delivered(&topic, vec![sent], "quarantine an event").await
    }

    async fn delivered(
        &mut self,
        topic: &str,
        deliveries: Vec<DeliveryFuture>,
        doing: &'static str,
    ) -> Result<(), LinkerError> {
        let (place, waiting) = (Place::written(topic), deliveries.len() as u64);
        self.watch.heard();
        let delivered = tokio::select! {
            biased;
            delivered = try_join_all(deliveries) => delivered,
            stalled = self.watch.stalled(|| Question::writing(vec![place.clone()], waiting, None)) => return Err(stalled.into()),
        };
        for delivery in delivered.map_err(|_| LinkerError::Undelivered)? {
            delivery.map_err(|(source, _)| LinkerError::Kafka { doing, source })?;
        }
        Ok(())
    }
}
