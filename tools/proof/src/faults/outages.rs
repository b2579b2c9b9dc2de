//! Components that stop, halt, or stay away: the database in the middle of a large COPY, and Kafka.

use super::{
    Scale, halts,
    load::{Load, Random},
    yard::Yard,
};
use crate::report::Report;
use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const ROWS: u64 = 200;
const CALM: Duration = Duration::from_millis(800);
const WAIT_MAX: Duration = Duration::from_secs(120);

/// The database is stopped at once: while it takes in a large COPY, and again while it sends that COPY.
pub async fn copy(yard: &mut Yard, scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut source = yard.source(ROWS).await?;
    let mut connector = source.ready_connector().await?;
    let rows = scale.copy_rows;
    let copy =
        format!("copy yard.row from program 'seq -f \"%.0f|1|copied\" {} {}' (delimiter '|')", ROWS + 1, ROWS + rows);
    // It is never committed: nothing of it may show.
    let client = yard.database.connect(&source.name).await?;
    let sql = copy.clone();
    let copying = tokio::spawn(async move { client.batch_execute(&sql).await });
    let watcher = yard.database.connect(&source.name).await?;
    let size = "select pg_relation_size('yard.row')";
    let before: i64 = watcher.query_one(size, &[]).await?.get(0);
    let deadline = Instant::now() + WAIT_MAX;
    while watcher.query_one(size, &[]).await?.get::<_, i64>(0) < before + 512 * 1024 {
        ensure!(Instant::now() < deadline && !copying.is_finished(), "the COPY was not met in its middle");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    yard.database.stop_immediately().await?;
    ensure!(copying.await?.is_err(), "the COPY was over before the database stopped");
    yard.database.start().await?;
    yard.database.execute(&source.name, &copy).await?;
    let topic = format!("changes.{}", source.name);
    // One client for all looks: making one takes longer than the rows do on a quiet machine.
    let log = client_of(yard.kafka.brokers())?;
    let began = written(&log, &topic).await?;
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let now = written(&log, &topic).await? - began;
        // Well into the transaction, and early enough not to miss it.
        if now >= i64::try_from(rows / 10)? {
            ensure!(now < i64::try_from(rows)?, "all of the COPY was sent before the database stopped");
            break;
        }
        ensure!(Instant::now() < deadline, "nothing of the COPY reaches the log");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    yard.database.stop_immediately().await?;
    yard.database.start().await?;
    connector.wait_ready().await?;
    let verdict = yard.judge(source, connector).await?;
    let name = "database_stopped_in_a_copy";
    report.check(name, verdict.ok() && verdict.committed >= rows, &format!("{rows} rows: {}", verdict.text()));
    Ok(())
}

/// Where the log ends.
async fn written(client: &Arc<BaseConsumer>, topic: &str) -> anyhow::Result<i64> {
    let (client, topic) = (client.clone(), topic.to_owned());
    let ask = move || Ok(client.fetch_watermarks(&topic, 0, Duration::from_secs(10))?.1);
    tokio::task::spawn_blocking(ask).await?
}

fn client_of(brokers: &str) -> anyhow::Result<Arc<BaseConsumer>> {
    Ok(Arc::new(ClientConfig::new().set("bootstrap.servers", brokers).create()?))
}

/// Kafka is killed, halted again and again, and away for a while.
pub async fn kafka(
    yard: &mut Yard,
    scale: &Scale,
    seed: u64,
    report: &mut Report,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    let mut source = yard.source(ROWS).await?;
    let mut connector = source.ready_connector().await?;
    let load = Load::start(&yard.database.config(&source.name)?, seed);
    tokio::time::sleep(CALM).await;
    yard.kafka.kill_9()?;
    yard.kafka.start().await?;
    tokio::time::sleep(CALM).await;
    let mut random = Random(seed);
    for number in 1..=scale.halts {
        let halted = halts::halt(scale, &mut random);
        yard.kafka.pause()?;
        tokio::time::sleep(halted).await;
        yard.kafka.resume()?;
        let began = Instant::now();
        yard.settle(&source, &mut connector).await.with_context(|| format!("halt {number}, of {halted:?}"))?;
        let (halted, took) = (halted.as_secs_f64(), began.elapsed().as_secs_f64());
        say(&format!("halt {number} of {halted:.1} s: level again after {took:.1} s"));
    }
    yard.kafka.stop().await?;
    tokio::time::sleep(scale.away).await;
    yard.kafka.start().await?;
    tokio::time::sleep(CALM).await;
    let committed = load.stop().await;
    let verdict = yard.judge(source, connector).await.context("after Kafka was killed, halted and away")?;
    let detail = format!("{} halts, away {:?}, {committed} transactions: {}", scale.halts, scale.away, verdict.text());
    report.check("kafka_killed_halted_and_away", verdict.ok() && committed > 0, &detail);
    Ok(())
}
