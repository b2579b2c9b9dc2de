//! Per-table topics, copied into other databases by parts that nobody here wrote: Apicurio's Avro converter, Debezium's
//! `ExtractNewRecordState` and Debezium's JDBC sink, in a Kafka Connect worker.

use super::{peer, waiting};
use crate::contract::capture_stack::{Bench, SOURCE, WAIT_MAX};
use anyhow::{Context, ensure};
use boot::{Stop, health::Health};
use change_log::Registry;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use stack::{Connect, Lifetime, Properties, properties};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const POLL: Duration = Duration::from_millis(300);
/// A worker with two sinks works through everything within this, even on two busy cores.
const COPIED_WAIT_MAX: Duration = Duration::from_secs(90);
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// Rows that a snapshot reads: 280 here, 16 of the peer's.
const ROWS_BEFORE: u64 = 296;
/// Of these every row is copied whole. `Visit` is truncated, too.
const COPIED: &[&str] = &["patient", "item", "note"];

const TABLES: &str = r#"
    create type triage as enum ('red', 'amber', 'green');
    create table patient (
        id int primary key, small smallint, big bigint, active boolean, ratio real, score double precision,
        height numeric(6, 2), dose numeric, name text, code varchar(20), sex char(1), born date, at time(6),
        seen timestamp(6), updated timestamptz(6), uid uuid, doc jsonb, raw bytea, triage triage);
    create table item (code text, part int, label text, primary key (code, part));
    create table note (id bigint primary key, body text, read boolean);
    alter table note alter body set storage external, replica identity full;
    create table large (id int primary key, body text, times int);
    alter table large alter body set storage external;
    create table "Visit" (id int primary key, ward text);
"#;
const BEFORE: &str = r#"
    create table event (kind text);
    alter table event replica identity full;
    insert into patient select n, n, n * 10000000000, n % 2 = 0, n / 4.0, n / 3.0, n / 100.0, n * 1.5, 'Patient ' || n,
        'P' || n, 'F', date '1970-01-01' - n * 100, '10:00:00.123456', '2026-11-23 10:00:00.123456',
        '2026-11-23 10:00:00.123456+02', md5(n::text)::uuid, jsonb_build_object('n', n), decode(md5(n::text), 'hex'),
        'amber' from generate_series(1, 200) n;
    insert into patient (id) values (201);
    insert into item select 'code ' || n, n, 'label ' || n from generate_series(1, 50) n;
    insert into note select n, repeat('long text ', 2000) || n, false from generate_series(1, 5) n;
    insert into large select n, repeat('long text ', 2000) || n, 0 from generate_series(1, 3) n;
    insert into "Visit" select n, 'ward ' || n from generate_series(1, 20) n;
    insert into event values ('snapshot');
"#;
const CHANGES: &str = r#"
    insert into patient select n, n, n, true, 'NaN', n, 9.99, 0.10, 'naïve – ☃', '', 'M', '2026-02-28', '23:59:59.999999',
        '2038-01-19 03:14:08.999999', '1900-01-01 00:00:00+00', md5(n::text)::uuid, '[1.10, null]', '\x00ff', 'red'
        from generate_series(301, 320) n;
    update patient set height = height + 1, doc = '{"a": {"b": "c"}}', triage = 'green' where id <= 20;
    update patient set name = null, raw = null where id = 21;
    update patient set id = id + 1000 where id between 30 and 40;
    delete from patient where id between 50 and 60;
    update item set part = part + 100 where part <= 10;
    update item set code = 'other ' || code, label = 'moved' where part between 20 and 25;
    delete from item where part = 30;
    insert into item values ('code 30', 30, 'again');
    update note set read = true where id <= 3;
    update note set id = 105 where id = 5;
    update large set times = times + 1 where id = 1;
    insert into event values ('inserted');
    delete from event where kind = 'inserted';
"#;
/// What Debezium tells nobody unless it is told to.
const TRUNCATION: &str = r#"
    truncate "Visit";
    insert into "Visit" values (7, 'after');
"#;

/// What `causeway run` does for a source with `topics = "per-table"`.
pub(super) struct Projector {
    task: JoinHandle<Result<(), sink_topics::TopicsError>>,
    pub(super) status: Arc<sink_topics::Status>,
    stop: Stop,
    pub(super) health: Health,
}

impl Projector {
    pub(super) fn start(bench: &Bench, settings: sink_topics::Settings) -> anyhow::Result<Self> {
        let (status, stop, health) = (Arc::<sink_topics::Status>::default(), Stop::new(), Health::new());
        let registry = Registry::new(&bench.registry_settings())?;
        let (kafka, part) = (bench.kafka_settings(), health.part("topics"));
        let task = tokio::spawn(sink_topics::run(settings, kafka, registry, Arc::clone(&status), part, stop.clone()));
        Ok(Self { task, status, stop, health })
    }

    pub(super) async fn wait(&self, until: impl Fn(&sink_topics::View) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + WAIT_MAX;
        while !until(&self.status.view()) {
            let why = || (self.health.parts(), self.status.view());
            ensure!(!self.task.is_finished() && Instant::now() < deadline, "the topics stand still: {:?}", why());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Ends it at once, wherever it is.
    async fn cut_off(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(tokio::time::timeout(WAIT_MAX, self.task).await.context("the projector does not stop")???)
    }
}

/// A sink that copies every table of the source into a database of its own.
fn sink(bench: &Bench, database: &str, transforms: &[(&str, &str)]) -> anyhow::Result<Properties> {
    // The sink gives an enum as text; without this PostgreSQL takes it for no enum.
    let url = format!("jdbc:postgresql://{}/{database}?stringtype=unspecified", bench.database.address());
    let registry = format!("http://{}/apis/registry/v2", bench.registry.address());
    let mut sink = properties([
        ("name", database),
        ("connector.class", "io.debezium.connector.jdbc.JdbcSinkConnector"),
        ("topics.regex", r"clinic\.public\.(patient|item|note|large|Visit)"),
        ("consumer.override.auto.offset.reset", "earliest"),
        ("connection.url", &url),
        ("connection.username", "capture"),
        ("connection.password", &bench.database.password("capture")?),
        ("insert.mode", "upsert"),
        ("delete.enabled", "true"),
        ("truncate.enabled", "true"),
        ("primary.key.mode", "record_key"),
        ("quote.identifiers", "true"),
        ("transforms.route.type", "org.apache.kafka.connect.transforms.RegexRouter"),
        ("transforms.route.regex", r"clinic\.public\.(.*)"),
        ("transforms.route.replacement", "$1"),
    ]);
    for side in ["key", "value"] {
        let converter = [
            ("", "io.apicurio.registry.utils.converter.AvroConverter"),
            (".apicurio.registry.url", &registry),
            (".apicurio.registry.as-confluent", "true"),
            (".apicurio.registry.use-id", "contentId"),
        ];
        sink.extend(converter.map(|(key, value)| (format!("{side}.converter{key}"), value.to_owned())));
    }
    sink.extend(properties(transforms.iter().copied()));
    Ok(sink)
}

async fn rows(bench: &Bench, database: &str, sql: &str) -> anyhow::Result<Vec<String>> {
    let client = bench.database.connect(database).await?;
    Ok(client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Waits until the query gives the same in the copy as in the source.
async fn copied(bench: &Bench, connect: &Connect, database: &str, sql: &str) -> anyhow::Result<()> {
    let want = rows(bench, SOURCE, sql).await?;
    let deadline = Instant::now() + COPIED_WAIT_MAX;
    loop {
        let got = rows(bench, database, sql).await?;
        if got == want {
            return Ok(());
        }
        if let Some(failure) = connect.failure(database).await? {
            anyhow::bail!("the sink of {database} failed: {failure}");
        }
        let other = want.iter().zip(&got).find(|(want, got)| want != got);
        ensure!(
            Instant::now() < deadline,
            "{database}: {sql}: {} rows of {}, first other {other:?}",
            got.len(),
            want.len()
        );
        tokio::time::sleep(POLL).await;
    }
}

/// Every record of a topic: its position with whether it is a tombstone, and whether it has a key.
pub(super) fn records(bench: &Bench, table: &str) -> anyhow::Result<Vec<(String, bool, bool)>> {
    let topic = format!("{SOURCE}.public.{table}");
    let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "raw").create()?;
    let (_, high) = consumer.fetch_watermarks(&topic, 0, WAIT_MAX)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let (mut records, deadline) = (Vec::new(), Instant::now() + WAIT_MAX);
    while i64::try_from(records.len())? < high {
        ensure!(Instant::now() < deadline, "{topic} has only {} of {high} records", records.len());
        let Some(message) = consumer.poll(POLL) else { continue };
        let message = message?;
        let headers = message.headers().context("no headers")?;
        let position = headers.iter().find(|header| header.key == "causeway.position").and_then(|header| header.value);
        let position = String::from_utf8(position.context("no position")?.to_vec())?;
        records.push((position, message.payload().is_none(), message.key().is_some()));
    }
    Ok(records)
}

/// Every change of the log is in its topic once, whatever became of the projector.
fn each_once(bench: &Bench) -> anyhow::Result<()> {
    for (table, changes, tombstones) in
        [("patient", 201 + 20 + 20 + 1 + 22 + 11, 11 + 11), ("item", 50 + 20 + 12 + 2, 10 + 6 + 1), ("Visit", 22, 0)]
    {
        let records = records(bench, table)?;
        assert!(records.is_sorted_by(|one, two| (&one.0, one.1) < (&two.0, two.1)), "{table} repeats or turns back");
        assert_eq!(records.len(), changes + tombstones, "{table}");
        assert_eq!(records.iter().filter(|(_, tombstone, _)| *tombstone).count(), tombstones, "{table}");
    }
    let keys = |table| records(bench, table).map(|records| records.iter().filter(|(_, _, key)| *key).count());
    assert_eq!(keys("event")?, 0, "rows without a key have none");
    assert_eq!(records(bench, "event")?.len(), 3, "nor a tombstone");
    assert_eq!(keys("Visit")?, 21, "a truncation has no key");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn debeziums_sink_copies_a_database() -> anyhow::Result<()> {
    let bench = Bench::start(&format!("{TABLES}{BEFORE}{}{}", peer::TABLES, waiting::TABLES)).await?;
    for database in ["flat", "enveloped"] {
        bench.database.create_database(database, "capture").await?;
        bench.database.connect_as("capture", database).await?.batch_execute(TABLES).await?;
    }
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let settings = sink_topics::Settings::new(SOURCE);
    let projector = Projector::start(&bench, settings.clone())?;
    projector.wait(|view| view.records >= ROWS_BEFORE && view.in_flight == 0).await?;
    let route = ("transforms", "route");
    let unwrap =
        [("transforms", "unwrap,route"), ("transforms.unwrap.type", "io.debezium.transforms.ExtractNewRecordState")];
    let connectors = [sink(&bench, "flat", &unwrap)?, sink(&bench, "enveloped", &[route])?, peer::connector(&bench)?];
    let (folder, worker) = (bench.file("connect"), Properties::new());
    let connect = Connect::start(&folder, Lifetime::WithParent, bench.kafka.brokers(), &worker, &connectors).await?;
    peer::follows(&bench).await?;
    let client = bench.database.connect_as("capture", SOURCE).await?;
    let (first, second) = CHANGES.split_at(CHANGES.find("update item").context("the middle")?);
    client.batch_execute(first).await?;
    projector.cut_off().await;
    client.batch_execute(second).await?;
    for statement in peer::CHANGES.split_inclusive(";\n") {
        client.batch_execute(statement).await.with_context(|| statement.to_owned())?;
    }
    let projector = Projector::start(&bench, settings.clone())?;
    projector.wait(|view| view.records > 0 && view.in_flight == 0).await?;

    for database in ["flat", "enveloped"] {
        for table in COPIED {
            let sql = format!("select t::text from {table} t order by 1");
            copied(&bench, &connect, database, &sql).await?;
        }
        // The log does not hold what did not change, and says so in Debezium's words; a replica identity of the whole
        // row, as `note` has, leaves nothing out.
        copied(&bench, &connect, database, "select format('%s %s', id, times) from large order by 1").await?;
        let unavailable = rows(&bench, database, "select body from large where id = 1").await?;
        assert_eq!(unavailable, [UNAVAILABLE]);
    }
    if let Some(failure) = connect.failure(peer::PEER).await? {
        anyhow::bail!("Debezium failed: {failure}");
    }
    let compared = peer::compare(&bench).await;
    projector.stop().await?;
    let projector = Projector::start(&bench, sink_topics::Settings { truncations: true, ..settings })?;
    client.batch_execute(TRUNCATION).await?;
    // Debezium's ExtractNewRecordState leaves truncations out; its sink follows them in envelopes.
    copied(&bench, &connect, "enveloped", "select t::text from \"Visit\" t order by 1").await?;
    each_once(&bench)?;
    waiting::each_waits_alone(&bench, &client, projector).await?;
    connector.stop().await?;
    compared
}
