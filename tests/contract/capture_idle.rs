//! A source where nothing happens, and a log that takes nothing in: neither is a broken link.

use super::capture_stack::{Bench, SOURCE};
use change::Lsn;
use change_log::{Control, ControlBody, Item};
use std::time::Duration;

const SCHEMA: &str = "create schema lims; create table lims.result (id bigint primary key, note text);
    create type lims.state as enum ('open'); create table lims.request (id bigint primary key, state lims.state)";
/// Three times what the server and the connector wait for each other.
const IDLE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_source_stays_connected() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    bench.database.execute(SOURCE, "alter system set wal_sender_timeout = '4s'").await?;
    // The session in which the connector looks types up is idle, too.
    bench.database.execute(SOURCE, "alter system set idle_session_timeout = '3s'").await?;
    bench.database.execute(SOURCE, "select pg_reload_conf()").await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let items = bench.log(|items| sessions(items) > 0).await?;
    let before = sessions(&items);
    tokio::time::sleep(IDLE).await;
    // A server where nothing happens writes no WAL: the log says all the same, later, that it holds everything.
    let again = |items: &[Item]| progress(items).windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1);
    bench.log(again).await?;
    let client = bench.database.connect(SOURCE).await?;
    client.execute("insert into lims.request values (1, 'open')", &[]).await?;
    let items = bench.log(|items| items.iter().any(|item| matches!(item, Item::Entry(_)))).await?;
    assert_eq!(sessions(&items), before, "the connector took the silence for a broken link");
    connector.stop().await
}

/// More than the log takes in flight, and than the network and the transport hold.
const BACKLOG: usize = 60_000;

async fn sender(bench: &Bench) -> anyhow::Result<(i32, String)> {
    let client = bench.database.connect(SOURCE).await?;
    let row = client.query_one("select pid, sent_lsn::text from pg_stat_replication", &[]).await?;
    Ok((row.get(0), row.get(1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_outlives_a_log_that_takes_nothing_in() -> anyhow::Result<()> {
    let mut bench = Bench::start(SCHEMA).await?;
    bench.database.execute(SOURCE, "alter system set wal_sender_timeout = '2s'").await?;
    bench.database.execute(SOURCE, "select pg_reload_conf()").await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let (pid, _) = sender(&bench).await?;
    bench.kafka.pause()?;
    let backlog = format!("insert into lims.result select g, repeat('x', 200) from generate_series(1, {BACKLOG}) g");
    bench.database.execute(SOURCE, &backlog).await?;
    let client = bench.database.connect(SOURCE).await?;
    let end: String = client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let (still, sent) = sender(&bench).await?;
    let behind: bool = client.query_one("select $1::text::pg_lsn < $2::text::pg_lsn", &[&sent, &end]).await?.get(0);
    assert!(behind, "the log took everything in: {sent} of {end}");
    assert_eq!(still, pid, "the server has given the session up");
    bench.kafka.resume()?;
    let items = bench.log(|items| entries(items) >= BACKLOG).await?;
    assert_eq!((entries(&items), sessions(&items)), (BACKLOG, 2), "lost, repeated, or a session of its own");
    assert_eq!(sender(&bench).await?.0, pid, "the session was another one");
    connector.stop().await
}

/// Where the server stood when the log held everything, and when.
fn progress(items: &[Item]) -> Vec<(Lsn, i64)> {
    let at = |item: &Item| match item {
        Item::Control(Control { body: ControlBody::Progress(progress), .. }) => Some((progress.lsn, progress.at)),
        _ => None,
    };
    items.iter().filter_map(at).collect()
}

fn entries(items: &[Item]) -> usize {
    items.iter().filter(|item| matches!(item, Item::Entry(_))).count()
}

fn sessions(items: &[Item]) -> usize {
    let session =
        |item: &&Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::Session(_)));
    items.iter().filter(session).count()
}
