//! The loop: read what is there, apply it, confirm it.
//!
//! # Why
//! There is no linger: while one batch is written the next one gathers, so a quiet stream is
//! applied at once and a busy one in large batches. Offsets are stored only after the database
//! has committed, and may be stored late: replays change nothing.

use crate::{
    Outcome, Settings, ViewsError, World,
    database::GROUP,
    decode::{Decoder, Quarantine, STAGE, foreign, refused},
    hook::Hook,
    lag::Lag,
    plan::{Incoming, Item, Place, Plan, Topic, parts},
    write,
};
use boot::{Stop, health::Part};
use change_log::{
    Kept, Owners, Place as Partition, Question, Reading, TopicSpec, Watch, members, owners::Seen, watch::let_go,
};
use event::Quarantined;
use futures_util::FutureExt;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// A batch is closed at so many bytes of messages, however few they are.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the tail of a transaction waits for its rest.
pub const HELD_MAX: Duration = Duration::from_secs(2);
/// A transaction that stood in another's way is tried again so often at once.
pub(crate) const COLLISIONS_MAX: u32 = 8;
pub(crate) const COLLISION_PAUSE: Duration = Duration::from_millis(20);
/// How long the database may be away before the consumer gives its partitions back. Kafka would take
/// them after five minutes.
const DATABASE_AWAY_MAX: Duration = Duration::from_secs(60);
const DATABASE_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// After a complaint of the client.
const KAFKA_PAUSE: Duration = Duration::from_millis(200);
/// `patient.events` is made by whoever comes first.
const EVENTS_PARTITIONS: u16 = 6;

pub(crate) async fn attempt<H: Hook>(
    settings: &Settings,
    world: &World,
    hook: &H,
    part: &Part,
    stop: &Stop,
) -> Result<(), ViewsError> {
    crate::migrate(&world.pool).await?;
    change_log::topics::ensure(&world.kafka, &topics()).await?;
    let decoder = Decoder::new(&world.kafka, world.registry.clone()).await?;
    let quarantine = Quarantine::new(&world.kafka, decoder.quarantine_schema())?;
    let client = world.pool.get().await?;
    let past = past(&client).await?;
    drop(client);
    let consumer = Arc::new(consumer(world).map_err(ViewsError::kafka("read the sinks' topics"))?);
    part.ready();
    let mut sink = Sink {
        settings,
        world,
        hook,
        part,
        decoder,
        quarantine,
        lag: Lag::watch(world, &consumer),
        consumer,
        watch: Watch::new(&world.kafka, Some(part)),
        reading: Reading::default(),
        stop,
        owners: BTreeMap::new(),
        held: Vec::new(),
        rebuilding: !past.is_empty(),
        past,
        outlived: BTreeSet::new(),
    };
    let outcome = sink.run().await;
    if matches!(outcome, Err(ViewsError::Stalled(_))) {
        let_go(sink.consumer);
    }
    outcome
}

/// What a rebuild replays: messages before these offsets were read once before.
type Past = BTreeMap<(String, i32), i64>;

async fn past(client: &tokio_postgres::Client) -> Result<Past, ViewsError> {
    let rows = client.query("select topic, partition, upto from record.rebuild", &[]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}

fn topics() -> [TopicSpec; 3] {
    [
        TopicSpec::new(Topic::Events.name(), EVENTS_PARTITIONS, Kept::Forever),
        TopicSpec::new(Topic::Links.name(), 1, Kept::Compacted),
        TopicSpec::new(Topic::Quarantine.name(), 1, Kept::Forever),
    ]
}

fn consumer(world: &World) -> KafkaResult<StreamConsumer> {
    let mut config = world.kafka.client();
    config
        .set("group.id", world.kafka.topic(GROUP))
        .set("client.id", members::client_id())
        // Stored offsets are committed by the client once a second and when it leaves.
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "1000")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        // A killed sink's partitions are taken over after this.
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1500")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.max.messages.kbytes", "16384");
    let consumer: StreamConsumer = config.create()?;
    let names: Vec<String> = Topic::ALL.iter().map(|topic| world.kafka.topic(topic.name())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    consumer.subscribe(&names)?;
    Ok(consumer)
}

struct Sink<'a, H> {
    settings: &'a Settings,
    world: &'a World,
    hook: &'a H,
    part: &'a Part,
    decoder: Decoder,
    quarantine: Quarantine,
    lag: Lag,
    consumer: Arc<StreamConsumer>,
    watch: Watch,
    reading: Reading,
    stop: &'a Stop,
    /// Whose outputs count.
    owners: BTreeMap<Topic, Owners>,
    /// The incomplete tails of transactions.
    held: Vec<Incoming>,
    rebuilding: bool,
    past: Past,
    /// Sources of which it was said that they go on in the past.
    outlived: BTreeSet<String>,
}

impl<H: Hook> Sink<'_, H> {
    async fn run(&mut self) -> Result<(), ViewsError> {
        loop {
            let consumer = Arc::clone(&self.consumer);
            let waited = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                first = consumer.recv() => Some(first),
                () = tokio::time::sleep(HELD_MAX), if !self.held.is_empty() => None,
                stalled = self.watch.stalled(|| question(&consumer, &self.reading, self.world)) => return Err(stalled.into()),
            };
            let mut items = std::mem::take(&mut self.held);
            let late = waited.is_none();
            match waited {
                Some(Ok(first)) => self.gather(first, &mut items).await?,
                Some(Err(error)) => {
                    self.held = items;
                    self.kafka_away(error).await?;
                    continue;
                }
                None => {}
            }
            let ready = if late {
                metrics::counter!("causeway_sink_incomplete_transactions_total").increment(1);
                items
            } else {
                let (ready, held) = parts::split(items);
                self.held = held;
                ready
            };
            if !ready.is_empty() {
                self.apply(ready).await?;
            }
        }
    }

    /// The first message and those that are there already.
    async fn gather(&mut self, first: BorrowedMessage<'_>, items: &mut Vec<Incoming>) -> Result<(), ViewsError> {
        let consumer = Arc::clone(&self.consumer);
        let mut bytes = first.payload_len();
        self.take(&first, items).await?;
        while items.len() < self.settings.batch_rows && bytes < BATCH_BYTES_MAX {
            // An error here shows again at the next call that waits.
            let Some(Ok(message)) = consumer.recv().now_or_never() else { break };
            bytes += message.payload_len();
            self.take(&message, items).await?;
        }
        Ok(())
    }

    async fn take(&mut self, message: &BorrowedMessage<'_>, items: &mut Vec<Incoming>) -> Result<(), ViewsError> {
        self.watch.heard();
        self.reading.take(message);
        let Some(place) = self.decoder.place(message) else { return Ok(()) };
        let seen = self.owners.entry(place.topic).or_default().look(message);
        if seen != Seen::Output {
            metrics::counter!("causeway_sink_void_total").increment(u64::from(seen == Seen::Void));
            items.push(Incoming { place, item: Item::Passed });
            return Ok(());
        }
        let item = match self.decoder.item(place, message.payload()).await? {
            Ok(item) => item,
            // Putting it onto `quarantine` again would never end.
            Err(reason) if place.topic == Topic::Quarantine => {
                Item::Quarantined(Quarantined { stage: STAGE.into(), reason: reason.into(), ..Quarantined::default() })
            }
            Err(reason) => {
                self.set_aside(place, &foreign(message, reason)).await?;
                Item::Passed
            }
        };
        items.push(Incoming { place, item });
        Ok(())
    }

    /// Applies all, in one transaction if the database takes it; then stores the offsets.
    async fn apply(&mut self, items: Vec<Incoming>) -> Result<(), ViewsError> {
        let mut next: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
        for Incoming { place, .. } in &items {
            let next = next.entry((place.topic, place.partition)).or_default();
            *next = (*next).max(place.offset + 1);
        }
        let reached = committed(&items);
        // Halves of what the database refused, the first half on top.
        let mut stack = vec![items];
        while let Some(items) = stack.pop() {
            let refused = match self.write(&Plan::of(items.iter().cloned())).await {
                Ok(()) => continue,
                Err(error) if error.fault().is_some_and(boot::database::DatabaseFault::about_the_data) => error,
                Err(error) => return Err(error),
            };
            if items.len() == 1 {
                self.give_up(&items[0], &refused).await?;
            } else {
                let mut first = items;
                let second = first.split_off(first.len() / 2);
                stack.extend([second, first]);
            }
        }
        self.lag.applied(&next, reached);
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), next) in next {
            let name = self.world.kafka.topic(topic.name());
            offsets
                .add_partition_offset(&name, partition, Offset::Offset(next))
                .map_err(ViewsError::kafka("store offsets"))?;
        }
        // A partition that was taken away meanwhile has another reader, who replays: no harm.
        if let Err(error) = self.consumer.store_offsets(&offsets) {
            tracing::debug!(%error, "offsets were not stored");
        }
        Ok(())
    }

    /// One item that the database refuses for what it says.
    async fn give_up(&self, incoming: &Incoming, error: &ViewsError) -> Result<(), ViewsError> {
        tracing::warn!(%error, "the database refuses a row for what it says");
        if matches!(incoming.item, Item::Event(_) | Item::Link(_)) {
            let topic = self.world.kafka.topic(incoming.place.topic.name());
            self.set_aside(incoming.place, &refused(incoming.place, topic, &incoming.item)).await?;
        }
        Ok(())
    }

    /// Onto `quarantine`, unless it is there from before a restart or a rebuild.
    async fn set_aside(&self, place: Place, item: &Quarantined) -> Result<(), ViewsError> {
        const KNOWN: &str = "select exists (select from record.quarantine \
            where stage = $1 and origin_topic = $2 and origin_partition = $3 and origin_offset = $4)";
        let past = self.past.get(&(place.topic.name().to_owned(), place.partition));
        if past.is_some_and(|upto| place.offset < *upto) {
            return Ok(());
        }
        let client = self.world.pool.get().await?;
        let origin = self.world.kafka.topic(place.topic.name());
        let known = client.query_one(KNOWN, &[&STAGE, &origin, &place.partition, &place.offset]).await?.get(0);
        drop(client);
        if known { Ok(()) } else { self.quarantine.put(item).await }
    }

    /// Until it is written: collisions at once, an absent database for a bounded time.
    async fn write(&mut self, plan: &Plan) -> Result<(), ViewsError> {
        let started = tokio::time::Instant::now();
        let (mut collisions, mut backoff, mut away) = (0, COLLISION_PAUSE, false);
        loop {
            let error = match self.write_once(plan).await {
                Ok(outcome) => {
                    if away {
                        self.part.ready();
                    }
                    self.rebuilding = outcome.rebuilding;
                    tell(plan, &outcome);
                    self.say_outlived(outcome.outlived);
                    metrics::histogram!("causeway_sink_batch_seconds").record(started.elapsed().as_secs_f64());
                    return Ok(());
                }
                Err(error) => error,
            };
            let fault = error.fault();
            if fault.is_some_and(boot::database::DatabaseFault::about_the_data) {
                return Err(error);
            }
            if fault.is_some_and(boot::database::DatabaseFault::in_the_way) && collisions < COLLISIONS_MAX {
                collisions += 1;
                tokio::time::sleep(COLLISION_PAUSE * collisions).await;
                continue;
            }
            if started.elapsed() > DATABASE_AWAY_MAX || self.stop.is_cancelled() {
                return Err(error);
            }
            if !away {
                let told = boot::restart::in_one_line(&error);
                tracing::warn!(error = told, "cannot write the record; will retry");
                self.part.not_ready(told);
                away = true;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(DATABASE_BACKOFF_MAX);
        }
    }

    /// Loudly, for nothing of such a source is shown any more; once, for a replay shows it, too.
    fn say_outlived(&mut self, sources: BTreeSet<String>) {
        for source in sources {
            metrics::counter!("causeway_sink_outlived_total", "source" => source.clone()).increment(1);
            if self.outlived.insert(source.clone()) {
                tracing::warn!(
                    source,
                    "events are ignored: they are of an earlier generation or epoch than the record holds. Unless this is \
                     a replay, nothing that this source tells is shown: restart its normaliser, and see the runbook `rebuild`"
                );
            }
        }
    }

    async fn write_once(&self, plan: &Plan) -> Result<Outcome, ViewsError> {
        let mut client = self.world.pool.get().await?;
        write::apply(&mut client, plan, self.hook, self.rebuilding).await
    }

    /// Brokers come and go; librdkafka goes on by itself. Anything else ends the attempt.
    async fn kafka_away(&mut self, error: KafkaError) -> Result<(), ViewsError> {
        const PASSING: [RDKafkaErrorCode; 6] = [
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::OperationTimedOut,
            RDKafkaErrorCode::Resolve,
            RDKafkaErrorCode::LeaderNotAvailable,
            RDKafkaErrorCode::NotLeaderForPartition,
        ];
        if !error.rdkafka_error_code().is_some_and(|code| PASSING.contains(&code)) {
            return Err(ViewsError::kafka("read the sinks' topics")(error));
        }
        // The watch looks, and tells the part while Kafka is away.
        self.watch.doubt();
        tokio::time::sleep(KAFKA_PAUSE).await;
        Ok(())
    }
}

/// About the partitions that the sink has now; about any if it has none.
fn question(consumer: &Arc<StreamConsumer>, reading: &Reading, world: &World) -> Question {
    let mut reading = reading.clone();
    if let Ok(assignment) = consumer.assignment() {
        reading.assigned(&assignment);
    }
    let mut places = reading.places();
    if places.is_empty() {
        places.push(Partition::read(world.kafka.topic(Topic::Events.name()), 0, None));
    }
    Question::reading(places, consumer)
}

#[expect(clippy::cast_precision_loss, reason = "a metric")]
fn tell(plan: &Plan, outcome: &Outcome) {
    metrics::counter!("causeway_sink_events_total").increment(plan.events as u64);
    metrics::counter!("causeway_sink_records_applied_total").increment(outcome.applied as u64);
    metrics::counter!("causeway_sink_records_ignored_total").increment(outcome.ignored as u64);
    metrics::histogram!("causeway_sink_batch_rows").record(plan.events as f64);
    let now = jiff::Timestamp::now().as_microsecond();
    for (source, (_, committed_at)) in &plan.freshness {
        let lag = now.saturating_sub(*committed_at).max(0) as f64 / 1e6;
        metrics::gauge!("causeway_sink_lag_seconds", "source" => source.clone()).set(lag);
    }
}

/// By source, the commit time of the latest of these.
fn committed(items: &[Incoming]) -> BTreeMap<String, event::Micros> {
    let mut latest: BTreeMap<String, event::Micros> = BTreeMap::new();
    for incoming in items {
        let Item::Event(event) = &incoming.item else { continue };
        match latest.get_mut(&event.patient.source) {
            Some(at) => *at = event.committed_at.max(*at),
            None => drop(latest.insert(event.patient.source.clone(), event.committed_at)),
        }
    }
    latest
}
