//! What can stand in the way of reading a table: a transaction that began before it was published, a condition that a row
//! does not take, another name, a table that may not be read. Nothing is lost, and nothing else waits.

use super::capture_stack::{Bench, Connector, SOURCE};
use change::{Change, Entry};
use change_log::signal::{self, Desired, SnapshotRequest};
use change_log::{Item, LogTail};

const SCHEMA: &str = "
    create schema lims;
    create table lims.result (id bigint primary key, note text);
    insert into lims.result values (1, '6.7'), (2, 'Haemolysed');";

/// How often the log tells of rows that are there, whoever brought them.
fn rows(items: &[Item], table: &str) -> usize {
    let there = |item: &&Item| match item {
        Item::Entry(Entry { table: Some(schema), change, .. }) => {
            &*schema.table.name == table && matches!(change, Change::Snapshot { .. } | Change::Insert { .. })
        }
        _ => false,
    };
    items.iter().filter(there).count()
}

/// How many rows snapshots read.
fn read(items: &[Item], table: &str) -> usize {
    let read = |item: &&Item| match item {
        Item::Entry(Entry { table: Some(schema), change: Change::Snapshot { .. }, .. }) => &*schema.table.name == table,
        _ => false,
    };
    items.iter().filter(read).count()
}

async fn ask(bench: &Bench, request: SnapshotRequest) -> anyhow::Result<()> {
    let ask = |desired: &mut Desired| desired.request(request.clone(), &[]);
    signal::change(&bench.kafka_settings(), SOURCE, ask).await?;
    Ok(())
}

fn problem(connector: &Connector) -> String {
    connector.status.view().snapshot.and_then(|snapshot| snapshot.problem).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_wrote_a_table_before_it_was_published_is_waited_for() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let owner = bench.database.connect_as("capture", SOURCE).await?;
    owner.batch_execute("create table lims.late (id bigint primary key, note text)").await?;
    let long = bench.database.connect(SOURCE).await?;
    long.batch_execute("begin; insert into lims.late values (1, 'before')").await?;
    // The server does not stream what was written before the table was published.
    connector.wait(|connector| problem(connector).contains("was open when")).await?;
    bench.database.execute(SOURCE, "insert into lims.result values (3, 'meanwhile')").await?;
    bench.log(|items| rows(items, "result") == 3).await?;
    long.batch_execute("insert into lims.late values (2, 'after'); commit").await?;
    // The second is read, and streamed as well if the server has it so.
    bench.log(|items| read(items, "late") == 2).await?;
    connector.wait(|connector| problem(connector).is_empty()).await?;
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_a_row_does_not_take_ends_its_snapshot_and_shows_no_value() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let mut settings = bench.settings();
    settings.tables = vec!["lims.*".into()];
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    let tables = vec!["lims.result".to_owned()];
    let [bad, good] = ["018f0000-0000-7000-8000-00000000000a", "018f0000-0000-7000-8000-00000000000b"];
    let with = |id: &str, predicate: &str| SnapshotRequest {
        id: id.into(),
        tables: tables.clone(),
        predicate: Some(predicate.into()),
        ..SnapshotRequest::default()
    };
    ask(&bench, with(bad, "note::numeric > 6")).await?;
    ask(&bench, with(good, "note = '6.7'")).await?;
    let done = async |id: &str| -> anyhow::Result<LogTail> {
        loop {
            anyhow::ensure!(!connector.task.is_finished(), "the connector has ended");
            let shown = format!("{:?} {:?}", connector.status.view(), connector.unready());
            anyhow::ensure!(!shown.contains("Haemolysed"), "a value is shown");
            let tail = LogTail::read(&bench.kafka_settings(), SOURCE, None).await?;
            if connector_postgres::finished_snapshots(&tail).iter().any(|done| done == id) {
                return Ok(tail);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let tail = tokio::time::timeout(super::capture_stack::WAIT_MAX, done(good)).await??;
    assert!(connector_postgres::was_given_up(&tail, bad) && !connector_postgres::was_given_up(&tail, good));
    assert_eq!(rows(&bench.log(|items| rows(items, "result") == 3).await?, "result"), 3);
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_table_is_read_under_its_new_name() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let mut settings = bench.settings();
    settings.tables = vec!["lims.*".into()];
    let connector = bench.connector(settings.clone());
    connector.wait_ready().await?;
    bench.database.execute(SOURCE, "alter table lims.result rename to report").await?;
    bench.database.execute(SOURCE, "insert into lims.report values (3, 'streamed')").await?;
    bench.log(|items| rows(items, "report") >= 4).await?;

    // While nobody looks, and while it waits to be read.
    want_no_snapshots(&bench, true).await?;
    bench.database.execute(SOURCE, "create table lims.other (id bigint primary key); alter table lims.other owner to capture; insert into lims.other values (1)").await?;
    connector.wait(|connector| connector.status.view().snapshot.is_some_and(|snapshot| !snapshot.done)).await?;
    connector.stop().await?;
    bench.database.execute(SOURCE, "alter table lims.other rename to another").await?;
    let connector = bench.connector(settings);
    want_no_snapshots(&bench, false).await?;
    let items = bench.log(|items| rows(items, "another") == 1).await?;
    assert_eq!(rows(&items, "other"), 0);
    connector.stop().await
}

async fn want_no_snapshots(bench: &Bench, paused: bool) -> anyhow::Result<()> {
    super::capture_signal::want(bench, |desired| desired.snapshots_paused = paused).await
}
