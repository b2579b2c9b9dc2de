//! The run loops on real Kafka, registry and PostgreSQL: nothing lost, nothing twice, in order, however
//! often they are ended; links follow.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

#[path = "live/aged.rs"]
mod aged;
#[path = "live/another.rs"]
mod another;
#[path = "live/kept.rs"]
mod kept;
#[path = "live/large.rs"]
mod large;
#[path = "live/left_out.rs"]
mod left_out;
#[path = "live/lost.rs"]
mod lost;
#[path = "live/members.rs"]
mod members;

use anyhow::{Context, ensure};
use boot::{Stop, health::Health};
use change::{
    Batch, Cell, Column, ColumnType, Lsn, Position, Row, Sink, TableId, TableSchema, Value,
    avro::{
        envelope::{self, Head, SourceBlock},
        schema, value, wire,
    },
};
use change_log::{
    KafkaSettings, LogWriter, Records, Registry, RegistrySettings, TopicSpec, WriterSettings, control::Session, frame,
    header::Kind, topics::ensure as ensure_topics,
};
use event::{Body, LinkStatus, PatientEvent, avro};
use normaliser::{Settings, SourceSettings};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

const PATIENTS: i64 = 5;
const RESULTS: i64 = 400;
const SOURCES: [&str; 2] = ["stmarys", "stpeters"];
const PATIENCE: Duration = Duration::from_secs(60);

fn mapping_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings/stmarys.toml")
}

/// A log written as a connector writes it.
struct Log {
    source: &'static str,
    writer: LogWriter<u64>,
    schemas: BTreeMap<String, (Arc<TableSchema>, u32)>,
    epoch: u32,
    commit: u64,
}

impl Log {
    async fn open(kafka: &KafkaSettings, registry: &Registry, source: &'static str) -> anyhow::Result<Self> {
        Self::open_in(kafka, registry, source, 1).await
    }

    async fn open_in(
        kafka: &KafkaSettings,
        registry: &Registry,
        source: &'static str,
        epoch: u32,
    ) -> anyhow::Result<Self> {
        ensure_topics(kafka, &[TopicSpec::changes(source)]).await?;
        let session = Session {
            source: source.into(),
            system_id: "1".into(),
            timeline: 1,
            slot: "test".into(),
            epoch,
            owner: "test".into(),
            started_at: 0,
        };
        let (writer, _) = LogWriter::open(kafka, registry, WriterSettings { linger_ms: 0 }, &session).await?;
        let mapping = mapping::load(&mapping_file())?;
        let mut schemas = BTreeMap::new();
        for (name, key) in [
            ("pas.patient", "person_id"),
            ("lims.order", "order_id"),
            ("lims.specimen", "specimen_id"),
            ("lims.sample", "sample_id"),
            ("lims.analysis", "analysis_id"),
            ("lims.result", "result_id"),
        ] {
            let (schema, table) = name.split_once('.').context("schema.table")?;
            let id = TableId { schema: schema.into(), name: table.into() };
            let used = &mapping.tables[mapping.table(&id).context("mapped")?].columns;
            let mut names: Vec<Arc<str>> = used.clone();
            names.retain(|name| **name != *key);
            names.push(key.into());
            let column = |name: &Arc<str>| Column {
                name: name.clone(),
                kind: match &**name {
                    "collected_at" => ColumnType::Timestamp,
                    "received_at" | "entered_at" | "authorised_at" | "deceased_at" => {
                        ColumnType::TimestampTz { digits: 6 }
                    }
                    "birth_date" => ColumnType::Date,
                    "is_active" => ColumnType::Bool,
                    name if name.ends_with("_id") || matches!(name, "order" | "revision" | "active_ind") => {
                        ColumnType::Int64
                    }
                    _ => ColumnType::Text,
                },
                key: **name == *key,
            };
            let table = Arc::new(TableSchema { table: id, columns: names.iter().map(column).collect() });
            let schemas_of = schema::of_table(source, &table);
            let subject = format!("{source}.{name}.Envelope");
            let id = registry.register(&subject, &schemas_of.envelope).await?;
            schemas.insert(name.to_owned(), (table, id));
        }
        Ok(Self { source, writer, schemas, epoch, commit: 0x1000 })
    }

    /// Inserts, as one transaction.
    async fn commit(&mut self, rows: Vec<(&str, Vec<(&str, Value)>)>) -> anyhow::Result<()> {
        self.commit += 0x10;
        let mut records = Records::default();
        for ((table, cells), ordinal) in rows.into_iter().zip(1..) {
            let (schema, id) = &self.schemas[table];
            let cell = |column: &Column| {
                let given = cells.iter().find(|(name, _)| *name == &*column.name);
                given.map_or(Cell::Null, |(_, value)| Cell::Value(value.clone()))
            };
            let row = Row::new(schema.clone(), schema.columns.iter().map(cell).collect()).context("a row")?;
            records.buffer().extend_from_slice(table.as_bytes());
            records.end_part();
            let mut out = Vec::new();
            frame::start(*id, &mut out);
            out.push(wire::NULL);
            out.push(wire::SOME);
            value::write_row(&mut out, &row, &mut Vec::new());
            let block =
                SourceBlock { version: "1", connector: "postgresql", name: self.source, db: "h", schema: "s", table };
            let mut head = Head::default();
            head.set(&block, 1_766_000_000_000, false, Some(9));
            head.write(&mut out, self.commit);
            out.push(wire::NULL);
            envelope::tail(&mut out, "c", 1_766_000_000_000);
            records.buffer().extend_from_slice(&out);
            records.end_part();
            records.close(Kind::Change, Position::new(self.epoch, Lsn(self.commit), ordinal), false);
        }
        records.end_commit(Lsn(self.commit + 8));
        self.writer.enqueue(Batch { items: vec![records], upto: self.commit }).await?;
        while self.writer.durable().await?.point() < self.commit {}
        Ok(())
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// The first has a number at both hospitals; the last two are twins with one number.
const TWINS: [i64; 2] = [PATIENTS - 1, PATIENTS];

async fn patients(log: &mut Log) -> anyhow::Result<()> {
    for number in 1..=PATIENTS {
        patient(log, number).await?;
    }
    Ok(())
}

async fn patient(log: &mut Log, patient: i64) -> anyhow::Result<()> {
    let number = match patient {
        1 => "9434765919",
        twin if TWINS.contains(&twin) => "9000000009",
        _ => "no number",
    };
    log.commit(vec![
        (
            "pas.patient",
            vec![
                ("person_id", Value::Int(patient)),
                ("nhs_nbr_ident", text(number)),
                ("family_name", text("TWIN")),
                ("given_names", text(["Adam", "Beth"][usize::try_from(patient % 2)?])),
                ("sex_code", text(["1", "2"][usize::try_from(patient % 2)?])),
                ("nhs_nbr_status_cd", text("01")),
                ("birth_date", Value::Date(4_000)),
                ("active_ind", Value::Int(1)),
            ],
        ),
        ("lims.order", vec![("order_id", Value::Int(patient)), ("person_id", Value::Int(patient))]),
        ("lims.specimen", vec![("specimen_id", Value::Int(patient)), ("order", Value::Int(patient))]),
        ("lims.sample", vec![("sample_id", Value::Int(patient)), ("specimen_id", Value::Int(patient))]),
        ("lims.analysis", vec![("analysis_id", Value::Int(patient)), ("sample_id", Value::Int(patient))]),
    ])
    .await
}

async fn result(log: &mut Log, number: i64) -> anyhow::Result<()> {
    // One result in ten belongs to an analysis that nobody knows.
    let analysis = if number % 10 == 0 { 999 } else { number % PATIENTS + 1 };
    log.commit(vec![(
        "lims.result",
        vec![
            ("result_id", Value::Int(number)),
            ("line_id", Value::Int(number)),
            ("analysis_id", Value::Int(analysis)),
            ("test_code", text("K")),
            ("value", text(">6.0")),
            ("unit_text", text("mmol/L")),
            ("status", text("final")),
            ("revision", Value::Int(1)),
            ("is_active", Value::Bool(true)),
        ],
    )])
    .await
}

/// Everything on a topic now.
fn topic(kafka: &KafkaSettings, name: &str) -> anyhow::Result<Vec<(i32, Vec<u8>)>> {
    let consumer: BaseConsumer = kafka.client().set("group.id", "test-reader").create()?;
    let name = kafka.topic(name);
    let metadata = consumer.fetch_metadata(Some(&name), PATIENCE)?;
    let mut list = TopicPartitionList::new();
    let mut left = 0;
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let (low, high) = consumer.fetch_watermarks(&name, partition.id(), PATIENCE)?;
        left += high - low;
        list.add_partition_offset(&name, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut messages = Vec::new();
    while left > 0 {
        let Some(message) = consumer.poll(PATIENCE) else { anyhow::bail!("{name} went silent") };
        let message = message?;
        messages.push((message.partition(), message.payload().unwrap_or_default().to_vec()));
        left -= 1;
    }
    Ok(messages)
}

fn events(kafka: &KafkaSettings) -> anyhow::Result<Vec<PatientEvent>> {
    topic(kafka, "patient.events")?.iter().map(|(_, value)| Ok(avro::decode(frame::unwrap(value)?.1)?)).collect()
}

struct Normaliser {
    kafka: KafkaSettings,
    registry: Registry,
}

/// Where all that the test makes lies.
fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("normaliser-live-{}", std::process::id()))
}

/// What is kept of a source goes down whenever nothing else does.
fn settings() -> Settings {
    Settings { state: folder().join("state"), checkpoint_s: 0, ..Settings::default() }
}

impl Normaliser {
    fn new(kafka: &KafkaSettings, registry: &Registry) -> Self {
        Self { kafka: kafka.clone(), registry: registry.clone() }
    }

    fn start(&self) -> tokio::task::JoinHandle<()> {
        self.start_with(&mapping_file())
    }

    fn start_with(&self, mapping: &Path) -> tokio::task::JoinHandle<()> {
        self.start_seen(mapping, Health::new())
    }

    fn start_seen(&self, mapping: &Path, health: Health) -> tokio::task::JoinHandle<()> {
        let source = |name: &&str| SourceSettings {
            name: (*name).to_owned(),
            mapping: mapping.to_owned(),
            organisation: "RSM01".into(),
        };
        let running = normaliser::run(
            settings(),
            SOURCES.iter().map(source).collect(),
            self.kafka.clone(),
            self.registry.clone(),
            health,
            Stop::new(),
        );
        tokio::spawn(async move { running.await.expect("the normaliser runs") })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_at_any_moment_nothing_is_lost_or_told_twice() -> anyhow::Result<()> {
    let folder = folder();
    std::fs::create_dir_all(&folder)?;
    let [kafka, registry, own] = ["kafka", "registry", "own"].map(|name| folder.join(name));
    let (broker, registry, database) = tokio::try_join!(
        stack::Kafka::start(&kafka, stack::Lifetime::WithParent),
        stack::Registry::start(&registry, stack::Lifetime::WithParent),
        stack::Postgres::start("own", &own, stack::Lifetime::WithParent),
    )?;
    let kafka = KafkaSettings {
        brokers: broker.brokers().to_owned(),
        topic_prefix: "live.".into(),
        replicas: 1,
        security: None,
        clients: change_log::Clients::default(),
    };
    let registry = Registry::new(&RegistrySettings { url: registry.url().to_owned() })?;
    let outcome = async {
        survives(&kafka, &registry).await?;
        database.execute("postgres", "create database causeway").await?;
        links(&kafka, &registry, &database).await?;
        members::are_waited_for(&kafka, &registry).await?;
        lost::what_was_told(&kafka, &registry, &folder).await?;
        aged::what_is_left(&kafka, &registry, &folder).await?;
        kept::outlives_its_log(&kafka, &registry, &folder).await?;
        left_out::is_not_level(&kafka, &registry, &folder).await?;
        large::what_fills_a_topic(&kafka, &registry, &folder).await
    }
    .await;
    drop((broker, database));
    std::fs::remove_dir_all(&folder).ok();
    outcome
}

async fn survives(kafka: &KafkaSettings, registry: &Registry) -> anyhow::Result<()> {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let normaliser = Normaliser::new(kafka, registry);
    let mut logs = Vec::new();
    for source in SOURCES {
        let mut log = Log::open(kafka, registry, source).await?;
        patients(&mut log).await?;
        logs.push(log);
    }
    let mut running = normaliser.start();
    let mut end_at: i64 = random.random_range(20..120);
    for number in 1..=RESULTS {
        for log in &mut logs {
            result(log, number).await?;
        }
        if number == end_at {
            running.abort();
            let _ = running.await;
            running = normaliser.start();
            end_at += random.random_range(20..120);
        }
    }
    let known = RESULTS - RESULTS / 10;
    let want = usize::try_from((PATIENTS + known) * 2)?;
    let deadline = Instant::now() + PATIENCE;
    while events(kafka)?.len() < want && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Started once more, it has nothing to say.
    running.abort();
    let _ = running.await;
    running = normaliser.start();
    tokio::time::sleep(Duration::from_secs(3)).await;
    running.abort();
    let events = events(kafka)?;
    let ids: HashSet<String> = events.iter().map(PatientEvent::id).collect();
    ensure!(ids.len() == want, "seed {seed}: {} events of {want} are there", ids.len());
    ensure!(events.len() == want, "seed {seed}: {} told twice", events.len() - ids.len());
    let mut last: BTreeMap<String, Position> = BTreeMap::new();
    for event in &events {
        let before = last.insert(event.patient.to_string(), event.position);
        ensure!(before.is_none_or(|before| before <= event.position), "seed {seed}: out of order");
        if let Body::Observation(observation) = &event.body {
            ensure!(observation.code.text == "K" && observation.unchecked.is_some(), "an uncoded result says so");
        }
    }
    let quarantined = topic(kafka, "quarantine")?.len();
    ensure!(quarantined == usize::try_from(RESULTS / 10 * 2)?, "seed {seed}: {quarantined} in quarantine");
    Ok(())
}

async fn links(kafka: &KafkaSettings, registry: &Registry, database: &stack::Postgres) -> anyhow::Result<()> {
    let settings = boot::database::DatabaseSettings {
        url: database.url(stack::SUPERUSER, "causeway"),
        password_file: Some(database.password_file(stack::SUPERUSER)),
        tls: boot::database::Tls::Disable,
        ca_file: None,
    };
    let pool = boot::database::pool(&settings, 4)?;
    let mut told = Vec::new();
    // Twice: the second run takes over from the first and changes nothing.
    for _ in 0..2 {
        let stop = Stop::new();
        let running = tokio::spawn(linker::run(
            Settings::default().events_partitions,
            kafka.clone(),
            registry.clone(),
            pool.clone(),
            None,
            Health::new(),
            stop.clone(),
        ));
        let deadline = Instant::now() + PATIENCE;
        loop {
            told = topic(kafka, "person.links")?;
            if told.len() >= usize::try_from(2 * PATIENTS + 1)? || Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        running.await??;
    }
    let mut links = BTreeMap::new();
    for (_, value) in &told {
        let link = avro::decode_link(frame::unwrap(value)?.1)?;
        links.insert(link.patient.to_string(), link);
    }
    ensure!(links.len() == usize::try_from(2 * PATIENTS)?, "{} links", links.len());
    let (one, other) = (&links["stmarys/1"], &links["stpeters/1"]);
    ensure!(one.person == other.person && one.status == LinkStatus::Linked, "number and date agree: {one:?} {other:?}");
    ensure!(links["stmarys/2"].status == LinkStatus::Alone);
    for twin in SOURCES.iter().flat_map(|source| TWINS.map(|twin| format!("{source}/{twin}"))) {
        ensure!(links[&twin].status == LinkStatus::Held, "two of one source bear this number: {:?}", links[&twin]);
    }
    let persons: HashSet<_> = links.values().map(|link| link.person).collect();
    ensure!(persons.len() == links.len() - 1, "nobody else is linked");
    Ok(())
}
