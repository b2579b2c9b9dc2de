//! A slot that does not continue its log: refused, with why and with the command that repairs it.

use super::{
    capture_signal::{causeway, config, inserts, want},
    capture_stack::{Bench, Connector, SOURCE, WAIT_MAX},
};
use change::Change;
use change_log::{
    ControlBody, Item,
    signal::{Aside, aside},
};
use connector_postgres::{Phase, WhenOver};
use std::time::{Duration, Instant};

const SCHEMA: &str = "create schema lims; create table lims.result (id bigint primary key, note text)";

fn snapshots(items: &[Item]) -> usize {
    let end =
        |item: &&Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::SnapshotEnd(_)));
    items.iter().filter(end).count()
}

/// The connector waits with these words, and does not end.
async fn refused(connector: &Connector, words: &str) -> anyhow::Result<()> {
    connector.wait(|connector| connector.status.view().refused.is_some_and(|why| why.contains(words))).await?;
    assert_eq!(connector.status.view().phase, Phase::Refused);
    let told = connector.unready().unwrap_or_default();
    anyhow::ensure!(told.contains("causeway source snapshot CONFIG clinic --recreate-slot"), "no command in: {told}");
    Ok(())
}

/// Runs the command; the same process goes on.
async fn recreate(bench: &Bench, connector: &Connector, times: usize) -> anyhow::Result<()> {
    let asked = causeway(&config(bench, "capture")?, &["snapshot", SOURCE, "--recreate-slot"]).await?;
    anyhow::ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    connector.wait_ready().await?;
    bench.log(|items| snapshots(items) == times).await?;
    assert_eq!(connector.status.view().refused, None);
    Ok(())
}

/// Ends the connector, changes something behind its back, and starts another.
async fn behind_its_back(bench: &Bench, connector: Connector, sql: &str) -> anyhow::Result<Connector> {
    connector.stop().await?;
    let client = bench.database.connect(SOURCE).await?;
    let idle = "select from pg_replication_slots where not active";
    while client.query(idle, &[]).await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.database.execute(SOURCE, sql).await?;
    Ok(bench.connector(bench.settings()))
}

/// Before PostgreSQL 18 the server cannot read WAL that was written while the publication was not there; later ones
/// pass over it, and the tables are read anew. Either way no row is lost or left behind.
async fn publication_made_again(
    bench: &Bench,
    connector: Connector,
    snapshots_before: usize,
) -> anyhow::Result<Connector> {
    let client = bench.database.connect(SOURCE).await?;
    let version: i32 = client.query_one("select current_setting('server_version_num')::integer", &[]).await?.get(0);
    let dropped = "drop publication causeway_clinic; insert into lims.result values (7, 'in the gap');
                   update lims.result set note = 'changed' where id = 2; delete from lims.result where id = 1";
    let connector = behind_its_back(bench, connector, dropped).await?;
    if version < 180_000 {
        refused(&connector, "publication `causeway_clinic` did not exist").await?;
        // Looked at again, it is no better, and says the same.
        want(bench, |desired| desired.paused = false).await?;
        for _ in 0..60 {
            assert!(!connector.health.ready() && connector.status.view().phase == Phase::Refused, "it flickers");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        recreate(bench, &connector, snapshots_before + 1).await?;
    } else {
        bench.log(|items| snapshots(items) == snapshots_before + 1).await?;
    }
    client.batch_execute("insert into lims.result values (8, 'streamed')").await?;
    let items = bench.log(|items| story(items, "lims.result").ends_with("]c")).await?;
    let told = story(&items, "lims.result");
    assert!(told.ends_with("[rrrrrr]c"), "the rows that there are, each once: {told}");
    assert_eq!(client.query_one("select count(*) from lims.result", &[]).await?.get::<_, i64>(0), 7);
    Ok(connector)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_break_is_refused_and_one_command_repairs_it() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    bench.database.execute(SOURCE, "insert into lims.result select g, 'first' from generate_series(1, 3) g").await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let dropped = "insert into lims.result values (4, 'unseen');
                   select pg_drop_replication_slot('causeway_clinic')";
    let connector = behind_its_back(&bench, connector, dropped).await?;
    refused(&connector, "it is gone").await?;
    recreate(&bench, &connector, 2).await?;

    let advanced = "insert into lims.result values (5, 'unseen'); select pg_switch_wal();
                    select pg_replication_slot_advance('causeway_clinic', pg_current_wal_lsn())";
    let connector = behind_its_back(&bench, connector, advanced).await?;
    refused(&connector, "ahead of its log").await?;
    recreate(&bench, &connector, 3).await?;

    // A healthy slot is given up too, when that is asked for outright.
    recreate(&bench, &connector, 4).await?;
    bench.database.execute(SOURCE, "insert into lims.result values (6, 'streamed')").await?;
    let items = bench.log(|items| inserts(items) == 1).await?;
    let begins =
        |item: &Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::SnapshotBegin(_)));
    let last = items.iter().rposition(begins).unwrap_or_default();
    let rows = items[last..].iter().filter(|item| matches!(item, Item::Entry(_))).count();
    assert_eq!(rows, 6, "the last epoch holds every row once");
    let connector = publication_made_again(&bench, connector, 4).await?;
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_slot_keeps_is_told_until_the_server_gives_it_up() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    bench.database.execute(SOURCE, "alter system set max_slot_wal_keep_size = '48MB'").await?;
    bench.database.execute(SOURCE, "alter system set max_wal_size = '64MB'").await?;
    bench.database.execute(SOURCE, "select pg_reload_conf()").await?;
    let mut settings = bench.settings();
    settings.wal_budget = Some(4 * 1024 * 1024);
    settings.when_over = WhenOver::Throttle;
    // What only fills the log is nobody's to capture.
    settings.tables = vec!["lims.*".into()];
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    connector.wait(|connector| connector.status.view().slot.is_some()).await?;
    want(&bench, |desired| desired.paused = true).await?;
    connector.wait(|connector| connector.status.view().phase == Phase::Paused).await?;
    let fill = "create table if not exists filler (t text); insert into filler select repeat('x', 1000) from generate_series(1, 8000)";
    bench.database.execute(SOURCE, fill).await?;
    let told = |connector: &Connector| {
        connector.status.view().slot.is_some_and(|slot| slot.throttled && slot.over_budget && slot.forecast_s.is_some())
    };
    connector.wait(told).await?;
    let slot = connector.status.view().slot.unwrap_or_default();
    assert_eq!(slot.limit_bytes, Some(48 * 1024 * 1024));
    assert!(slot.retained_bytes > 8_000_000 && slot.growth_bytes_per_s > 0.0, "{slot:?}");
    for _ in 0..12 {
        bench.database.execute(SOURCE, fill).await?;
        bench.database.execute(SOURCE, "select pg_switch_wal()").await?;
        bench.database.execute(SOURCE, "checkpoint").await?;
    }
    connector.wait(|connector| connector.status.view().slot.is_some_and(|slot| slot.wal_status == "lost")).await?;
    want(&bench, |desired| desired.paused = false).await?;
    refused(&connector, "the server has invalidated it").await?;
    recreate(&bench, &connector, 2).await?;
    connector.stop().await
}

/// What the log tells of the table: a letter for each record, and where a reading of it begins a `[`, where it ends a `]`.
fn story(items: &[Item], table: &str) -> String {
    let names = |tables: &[String]| tables.iter().any(|name| name == table);
    let letter = |item: &Item| match item {
        Item::Entry(entry) => {
            let of = entry.table.as_ref().is_some_and(|schema| schema.table.to_string() == table);
            of.then_some(match entry.change {
                Change::Insert { .. } => "c",
                Change::Update { .. } => "u",
                Change::Delete { .. } => "d",
                Change::Snapshot { .. } => "r",
                Change::Truncate => "t",
                Change::Message { .. } => "m",
            })
        }
        Item::Control(control) => match &control.body {
            ControlBody::SnapshotBegin(begin) => names(&begin.tables).then_some("["),
            ControlBody::SnapshotEnd(end) => names(&end.tables).then_some("]"),
            _ => None,
        },
        Item::Rejected(_) => None,
    };
    items.iter().filter_map(letter).collect()
}

/// A connector was killed after it had noted that the table is paused, and before the log said so: whatever it left out, the
/// table is read anew, although the log still counts it as read, and nothing needs to be paused any more.
async fn noted_by_one_that_was_killed(bench: &Bench) -> anyhow::Result<()> {
    let kafka = bench.kafka_settings();
    let before = story(&bench.log(|items| story(items, "audit.access").ends_with('u')).await?, "audit.access");
    let note = Aside { schema: "audit".into(), name: "access".into(), paused: true, ..Aside::default() };
    aside::pause(&kafka, SOURCE, &[note]).await?;
    let mut settings = bench.settings();
    settings.tables = vec!["lims.*".into(), "audit.*".into()];
    let connector = bench.connector(settings);
    let items = bench.log(|items| snapshots(items) == 3).await?;
    assert_eq!(story(&items, "audit.access"), before + "[rrrr]");
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_may_be_are_left_out_while_the_slot_keeps_too_much_and_are_right_again_after() -> anyhow::Result<()>
{
    let bench = Bench::start(SCHEMA).await?;
    let audit = "create schema audit; create table audit.access (id bigint primary key, note text);
                 insert into audit.access select g, 'first' from generate_series(1, 3) g;
                 grant usage on schema audit to capture; alter table audit.access owner to capture;
                 create table filler (t text)";
    bench.database.execute(SOURCE, audit).await?;
    let mut settings = bench.settings();
    settings.wal_budget = Some(4 * 1024 * 1024);
    settings.when_over = WhenOver::PauseTables;
    settings.may_pause = vec!["audit.*".into()];
    settings.tables = vec!["lims.*".into(), "audit.*".into()];
    let connector = bench.connector(settings.clone());
    connector.wait_ready().await?;
    assert_eq!(story(&bench.log(|items| snapshots(items) == 1).await?, "audit.access"), "[rrr]");
    let noted = async || -> anyhow::Result<Vec<(String, bool, bool)>> {
        let noted = aside::read(&bench.kafka_settings(), SOURCE).await?;
        Ok(noted.into_iter().map(|note| (note.name, note.paused, note.reading)).collect())
    };
    assert_eq!(noted().await?, []);

    // The server keeps WAL for a transaction that is open, however far the stream is.
    let long = bench.database.connect(SOURCE).await?;
    long.batch_execute("begin; insert into filler values ('open')").await?;
    let fill = "insert into filler select repeat('x', 1000) from generate_series(1, 8000)";
    bench.database.execute(SOURCE, fill).await?;
    connector.wait(|connector| connector.status.view().paused_tables == ["audit.access"]).await?;
    for work in [
        "update audit.access set note = 'changed' where id = 1",
        "delete from audit.access where id = 2",
        "insert into audit.access values (4, 'new')",
        "insert into lims.result values (1, 'meanwhile')",
    ] {
        bench.database.execute(SOURCE, work).await?;
    }
    let items = bench.log(|items| story(items, "lims.result").ends_with('c')).await?;
    assert_eq!(story(&items, "audit.access"), "[rrr]", "left out, and nothing else is");
    assert_eq!(noted().await?, [("access".to_owned(), true, false)], "whoever follows the source knows");

    // Killed: the next one has not looked at the slot yet, and knows all the same.
    connector.cut_off().await;
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    assert_eq!(connector.status.view().paused_tables, ["audit.access"]);
    bench.database.execute(SOURCE, "insert into audit.access values (5, 'while it starts')").await?;
    bench.database.execute(SOURCE, "insert into lims.result values (2, 'meanwhile')").await?;
    let items = bench.log(|items| story(items, "lims.result").ends_with("cc")).await?;
    assert_eq!(story(&items, "audit.access"), "[rrr]", "it does not begin to read it");

    // It may be told again, and is not read yet.
    want(&bench, |desired| desired.snapshots_paused = true).await?;
    long.batch_execute("commit").await?;
    while !connector.status.view().paused_tables.is_empty() {
        anyhow::ensure!(!connector.task.is_finished(), "the connector has ended");
        bench.database.execute(SOURCE, "checkpoint").await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(noted().await?, [("access".to_owned(), true, true)], "noted until it is read");
    want(&bench, |desired| desired.snapshots_paused = false).await?;
    bench.log(|items| snapshots(items) == 2).await?;
    bench.database.execute(SOURCE, "update audit.access set note = 'streamed' where id = 4").await?;
    let items = bench.log(|items| story(items, "audit.access").ends_with('u')).await?;
    assert_eq!(story(&items, "audit.access"), "[rrr][rrrr]u", "its reading tells what it is now, and what is gone");
    let deadline = Instant::now() + WAIT_MAX;
    while !noted().await?.is_empty() {
        anyhow::ensure!(Instant::now() < deadline, "it has been read, and is still noted: {:?}", noted().await?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    connector.stop().await?;
    noted_by_one_that_was_killed(&bench).await
}
