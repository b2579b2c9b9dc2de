//! A table that waits for its topic until the log has dropped what it waits with: that is lost to its topic alone, and made
//! up for by reading it anew.

use super::{
    capture_signal::want,
    capture_stack::{Bench, SOURCE, WAIT_MAX},
};
use anyhow::ensure;
use boot::{Stop, health::Health};
use change_log::{
    Registry,
    signal::{SnapshotRequest, waiting},
    topics::{Kept, TopicSpec, changes_topic, ensure as made},
};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const SCHEMA: &str = "
    create table heap (c text); alter table heap replica identity full;
    create table visit (id integer primary key);";

struct Projector {
    health: Health,
    status: Arc<sink_topics::Status>,
    stop: Stop,
    task: JoinHandle<Result<(), sink_topics::TopicsError>>,
}

impl Projector {
    fn start(bench: &Bench) -> anyhow::Result<Self> {
        let (health, status, stop) = (Health::new(), Arc::<sink_topics::Status>::default(), Stop::new());
        let registry = Registry::new(&bench.registry_settings())?;
        let settings = sink_topics::Settings::new(SOURCE);
        let (part, shown) = (health.part("topics"), Arc::clone(&status));
        let running = sink_topics::run(settings, bench.kafka_settings(), registry, shown, part, stop.clone());
        Ok(Self { task: tokio::spawn(running), health, status, stop })
    }

    async fn until(&self, what: &str, mut done: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let deadline = Instant::now() + WAIT_MAX;
        while !done().await? {
            let late = Instant::now() > deadline;
            ensure!(!late, "{what}: in vain; {:?} {:?}", self.health.parts(), self.status.view());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// One table waits, or none does, and `visit` has so many records.
    async fn waits(&self, bench: &Bench, why: Option<&str>, visits: i64) -> anyhow::Result<()> {
        let whys = || self.status.view().waiting.into_iter().map(|one| one.why).collect::<Vec<_>>();
        let as_wanted = |told: Vec<String>| match why {
            None => told.is_empty(),
            Some(why) => told.len() == 1 && told[0].contains(why),
        };
        self.until("a table waits", async || Ok(as_wanted(whys()) && held(bench, "visit") == visits)).await
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(tokio::time::timeout(WAIT_MAX, self.task).await???)
    }
}

/// How many records the table's topic holds.
fn held(bench: &Bench, table: &str) -> i64 {
    let consumer: Result<BaseConsumer, _> = bench.kafka_settings().client().set("group.id", "counting").create();
    let topic = format!("{SOURCE}.public.{table}");
    let marks = consumer.and_then(|consumer| consumer.fetch_watermarks(&topic, 0, WAIT_MAX));
    marks.map_or(0, |(low, high)| high - low)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_has_dropped_is_lost_to_the_topic_of_the_table_that_waited_alone() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let kafka = bench.kafka_settings();
    let client = bench.database.connect(SOURCE).await?;
    let heap = format!("{SOURCE}.public.heap");
    made(&kafka, &[TopicSpec::new(&*heap, 1, Kept::Compacted)]).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let projector = Projector::start(&bench)?;
    client.batch_execute("insert into heap values ('lost'); insert into visit values (1), (2)").await?;
    projector.waits(&bench, Some("cleanup.policy"), 2).await?;
    let noted = waiting::read(&kafka, SOURCE).await?.tables;
    ensure!(noted.len() == 1 && noted[0].name == "heap", "{noted:?}");
    projector.stop().await?;

    // The log drops what heap waits with, and no more than all others have.
    let admin: AdminClient<DefaultClientContext> = kafka.client().create()?;
    let mut dropped = TopicPartitionList::new();
    dropped.add_partition_offset(&changes_topic(SOURCE), 0, Offset::Offset(noted[0].offset + 1))?;
    admin.delete_records(&dropped, &AdminOptions::new()).await?;
    client.batch_execute("insert into visit values (3); insert into heap values ('after')").await?;
    for _ in 0..2 {
        // A start changes nothing.
        let projector = Projector::start(&bench)?;
        projector.waits(&bench, Some("source snapshot CONFIG clinic --table public.heap"), 3).await?;
        ensure!(!projector.health.ready(), "an operator has to see to it");
        projector.stop().await?;
    }

    let projector = Projector::start(&bench)?;
    projector.waits(&bench, Some("read it again"), 3).await?;
    let policy = AlterConfig::new(ResourceSpecifier::Topic(&heap)).set("cleanup.policy", "delete");
    for altered in admin.alter_configs(&[policy], &AdminOptions::new()).await? {
        altered.map_err(|(_, code)| anyhow::anyhow!("{code}"))?;
    }
    ensure!(held(&bench, "heap") == 0, "a hole is not passed over");
    let id = "0197f2a0-0000-7000-8000-000000000001".to_owned();
    let request = SnapshotRequest { id, tables: vec!["public.heap".into()], predicate: None, requested_at: 0 };
    want(&bench, |desired| desired.snapshots.push(request.clone())).await?;
    projector.until("heap is read anew", async || Ok(held(&bench, "heap") == 2)).await?;
    client.batch_execute("insert into heap values ('streamed'); insert into visit values (4)").await?;
    projector.waits(&bench, None, 4).await?;
    projector.until("heap goes on", async || Ok(held(&bench, "heap") == 3 && projector.health.ready())).await?;
    projector.until("no note is left", async || Ok(waiting::read(&kafka, SOURCE).await?.tables.is_empty())).await?;
    projector.stop().await?;
    connector.stop().await
}
