//! A table whose topic cannot take its records waits, and only it; what it waits with comes once its topic can.

use super::debezium::{Projector, records};
use crate::contract::capture_stack::{Bench, SOURCE, WAIT_MAX};
use anyhow::ensure;
use change_log::{
    signal,
    topics::{Kept, TopicSpec, ensure as made},
};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use tokio_postgres::Client;

/// Made with the others, so that they are in the publication.
pub(super) const TABLES: &str = r#"
    create table heap (c text); alter table heap replica identity full;
    create table "a b" (id int primary key, c text); create table a_b (id int primary key, c text);
"#;

fn settings() -> sink_topics::Settings {
    sink_topics::Settings::new(SOURCE)
}

/// What waits, and why.
async fn waiting(projector: &Projector, tables: &[&str]) -> anyhow::Result<Vec<sink_topics::Waiting>> {
    let names = |view: &sink_topics::View| view.waiting.iter().map(|one| one.table.clone()).collect::<Vec<_>>();
    projector.wait(|view| names(view) == tables && view.in_flight == 0).await?;
    Ok(projector.status.view().waiting)
}

async fn holds(bench: &Bench, projector: &Projector, table: &str, count: usize) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + WAIT_MAX;
    loop {
        let held = records(bench, table);
        if held.as_ref().is_ok_and(|held| held.len() == count) {
            return Ok(());
        }
        let late = std::time::Instant::now() > deadline;
        ensure!(!late, "{table}: {held:?} instead of {count} records; {:?}", projector.health.parts());
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}

pub(super) async fn each_waits_alone(bench: &Bench, client: &Client, projector: Projector) -> anyhow::Result<()> {
    let heap = format!("{SOURCE}.public.heap");
    // Somebody made it before us, while the projector runs: Kafka's refusal is what tells.
    made(&bench.kafka_settings(), &[TopicSpec::new(&*heap, 1, Kept::Compacted)]).await?;
    client
        .batch_execute(
            r#"insert into heap values ('first'); insert into "a b" values (1, 'odd');
               insert into a_b values (1, 'plain'), (2, 'plain'); insert into "Visit" values (8, 'goes on')"#,
        )
        .await?;
    let waits = waiting(&projector, &["public.a_b", "public.heap"]).await?;
    let whys = format!("{} {}", waits[0].why, waits[1].why);
    for words in
        ["`clinic.public.a_b` is that of public.a b", "topics_without", "cleanup.policy", "`clinic.public.heap`"]
    {
        ensure!(whys.contains(words), "{whys}");
    }
    holds(bench, &projector, "a_b", 1).await?;
    holds(bench, &projector, "Visit", 23).await?;
    let told = projector.health.parts()["topics"].clone().unwrap_or_default();
    ensure!(projector.health.ready() && told.contains("public.heap waits"), "{told}");
    let noted = async || signal::waiting::read(&bench.kafka_settings(), SOURCE).await;
    let offsets = noted().await?.tables.into_iter().map(|note| note.offset).collect::<Vec<_>>();
    ensure!(waits.iter().all(|one| offsets.contains(&one.offset)), "{offsets:?}: not where {waits:?} begin");
    projector.stop().await?;

    // Nothing changes with a start, and what the others have is not told again.
    let projector = Projector::start(bench, settings())?;
    let again = waiting(&projector, &["public.a_b", "public.heap"]).await?;
    ensure!(again.iter().map(|one| one.offset).eq(waits.iter().map(|one| one.offset)), "{again:?}, not {waits:?}");
    let admin: AdminClient<DefaultClientContext> = bench.kafka_settings().client().create()?;
    let policy = AlterConfig::new(ResourceSpecifier::Topic(&heap)).set("cleanup.policy", "delete");
    for altered in admin.alter_configs(&[policy], &AdminOptions::new()).await? {
        altered.map_err(|(_, code)| anyhow::anyhow!("{code}"))?;
    }
    client.batch_execute("insert into heap values ('second')").await?;
    waiting(&projector, &["public.a_b"]).await?;
    holds(bench, &projector, "heap", 2).await?;
    projector.stop().await?;

    // The other table of the name has no topic any more.
    let projector =
        Projector::start(bench, sink_topics::Settings { without: vec!["public.a b".into()], ..settings() })?;
    client.batch_execute(r#"insert into "a b" values (2, 'odd'); insert into a_b values (3, 'plain')"#).await?;
    holds(bench, &projector, "a_b", 1 + 3).await?;
    waiting(&projector, &[]).await?;
    let deadline = std::time::Instant::now() + WAIT_MAX;
    while !noted().await?.tables.is_empty() {
        ensure!(std::time::Instant::now() < deadline, "it is level, and still noted");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    projector.stop().await
}
