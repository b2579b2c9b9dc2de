//! `--peer debezium`: the same work by Debezium's connector in a Kafka Connect worker, at the best settings that we found
//! for it.
//!
//! # Why
//! A ratio to a peer counts only if the peer does its best: JSON without schemas costs it half of what Avro does, large
//! batches and a short poll feed it, and its Java machine gets as much memory as it likes.

use super::stage::{Arrived, DATABASE, Stage};
use anyhow::Context;
use stack::{Connect, Lifetime, Properties, properties};
use std::time::Duration;

/// It needs no more; what it uses is reported.
const JAVA: [&str; 2] = ["-Xmx2g", "-XX:+UseG1GC"];
const PUBLICATION: &str = "debezium";
const WAIT_MAX: Duration = Duration::from_secs(900);

/// What it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A backlog that its slot holds.
    Backlog,
    /// Changes as they come, as soon as may be.
    Live,
    Snapshot,
}

/// Makes the publication, before there is anything to capture.
pub(super) async fn publish(stage: &Stage) -> anyhow::Result<()> {
    stage.cluster.execute(DATABASE, &format!("create publication {PUBLICATION} for table lims.result")).await
}

/// Makes the slot that holds a backlog for it.
pub(super) async fn hold(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let slot = format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')");
    stage.cluster.execute(DATABASE, &slot).await
}

pub(super) fn topic(name: &str) -> String {
    format!("{name}.lims.result")
}

/// A worker with the connector, which runs already.
pub(super) async fn start(stage: &Stage, name: &str, work: Work) -> anyhow::Result<Connect> {
    let linger_ms = if work == Work::Live { "0" } else { "20" };
    let worker = properties([
        ("producer.compression.type", "lz4"),
        ("producer.linger.ms", linger_ms),
        ("producer.batch.size", "262144"),
    ]);
    let folder = stage.folder.join(name);
    let connectors = [connector(stage, name, work)?];
    let started = Connect::start_with(&folder, Lifetime::WithParent, &JAVA, stage.brokers(), &worker, &connectors);
    started.await.context("the peer did not start")
}

/// The peer's first so many records, from its start on.
pub(super) async fn arrival(stage: &Stage, name: &str, work: Work, records: u64) -> anyhow::Result<Arrived> {
    let mut connect = start(stage, name, work).await?;
    let arrived = stage.arrival(&mut connect, &topic(name), (0, i64::try_from(records)?), WAIT_MAX).await?;
    end(connect).await;
    Ok(arrived)
}

/// Stopped or, as it now and then does not stop, killed: how it ends is not what is measured.
pub(super) async fn end(mut connect: Connect) {
    drop(connect.stop().await);
}

fn connector(stage: &Stage, name: &str, work: Work) -> anyhow::Result<Properties> {
    let (port, password) = (stage.cluster.port().to_string(), stage.cluster.password(stack::SUPERUSER)?);
    Ok(properties([
        ("name", name),
        ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
        ("tasks.max", "1"),
        ("plugin.name", "pgoutput"),
        ("database.hostname", "127.0.0.1"),
        ("database.port", &port),
        ("database.user", stack::SUPERUSER),
        ("database.password", &password),
        ("database.dbname", DATABASE),
        ("topic.prefix", name),
        ("slot.name", name),
        ("publication.name", PUBLICATION),
        ("publication.autocreate.mode", "disabled"),
        ("table.include.list", "lims.result"),
        ("snapshot.mode", if work == Work::Snapshot { "initial" } else { "no_data" }),
        ("max.batch.size", "8192"),
        ("max.queue.size", "32768"),
        ("poll.interval.ms", if work == Work::Live { "5" } else { "20" }),
        ("topic.creation.default.replication.factor", "1"),
        ("topic.creation.default.partitions", "1"),
    ]))
}
