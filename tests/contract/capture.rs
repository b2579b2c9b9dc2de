//! Every committed change is in the log exactly once, in commit order, whatever happens to whom.

use super::capture_stack::{Bench, Connector, SOURCE};
use change::{Cell, Change, Entry, Row, Value};
use change_log::{ControlBody, Item};
use connector_postgres::WhenLost;
use rand::{Rng, SeedableRng, rngs::StdRng};
use stack::witness::Witness;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const SCHEMA: &str = "
    create schema lims;
    create table lims.result (id bigint primary key, note text, value numeric);
    create table lims.other (id integer primary key);
    alter table lims.result alter column note set storage external;";

/// What a change does to which row, as both the witness and the log can tell it.
type Step = (&'static str, i64);

pub fn id_of(row: &Row) -> i64 {
    match row.get("id") {
        Some(Cell::Value(Value::Int(id))) => *id,
        other => panic!("no id: {other:?}"),
    }
}

/// The changes of `lims.result` since the last snapshot began.
fn results(items: &[Item]) -> impl Iterator<Item = &Entry> {
    let begins =
        |item: &Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::SnapshotBegin(_)));
    let from = items.iter().rposition(begins).unwrap_or(0);
    let is_result = |entry: &&Entry| entry.table.as_ref().is_some_and(|schema| &*schema.table.name == "result");
    entries(&items[from..]).into_iter().filter(is_result)
}

pub fn entries(items: &[Item]) -> Vec<&Entry> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Entry(entry) => Some(entry),
            Item::Rejected(rejected) => panic!("{rejected:?}"),
            Item::Control(_) => None,
        })
        .collect()
}

/// The streamed part of the log.
fn steps(items: &[Item]) -> Vec<Step> {
    let step = |entry: &Entry| match &entry.change {
        Change::Insert { new } => Some(("INSERT", id_of(new))),
        Change::Update { new, .. } => Some(("UPDATE", id_of(new))),
        Change::Delete { old: Some(old) } => Some(("DELETE", id_of(old))),
        _ => None,
    };
    results(items).filter_map(step).collect()
}

/// The witness's lines, parsed without any of our code.
fn witnessed(witness: &Witness) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    for line in witness.transactions()?.iter().flat_map(|transaction| &transaction.changes) {
        let Some((_, rest)) = line.split_once("table lims.result: ") else { continue };
        let (kind, rest) = rest.split_once(':').unwrap_or((rest, ""));
        let kind = ["INSERT", "UPDATE", "DELETE"].into_iter().find(|k| *k == kind).expect("a kind of change");
        let id = rest.split_once("id[bigint]:").and_then(|(_, rest)| rest.split_whitespace().next());
        steps.push((kind, id.expect("an id").parse()?));
    }
    Ok(steps)
}

/// The table as the log tells it. While a snapshot is taken, what happens to a row can be told before the row is read.
fn folded(items: &[Item]) -> BTreeMap<i64, Row> {
    let end =
        |item: &Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::SnapshotEnd(_)));
    let read = items.iter().rfind(|item| end(item)).map_or(i64::MAX, |item| match item {
        Item::Control(control) => control.offset,
        _ => i64::MAX,
    });
    let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
    for entry in results(items) {
        let reading = entry.offset < read;
        match &entry.change {
            Change::Snapshot { new } => drop(rows.insert(id_of(new), new.clone())),
            Change::Insert { new } => assert!(rows.insert(id_of(new), new.clone()).is_none(), "a row came twice"),
            Change::Update { new, .. } => {
                let old = rows.remove(&id_of(new));
                assert!(old.is_some() || reading, "an update of a row that is not there");
                let new = old.map_or_else(|| new.clone(), |old| new.clone().filled_from(&old));
                rows.insert(id_of(&new), new);
            }
            Change::Delete { old } => {
                let old = old.as_ref().expect("the key");
                assert!(rows.remove(&id_of(old)).is_some() || reading, "a row went twice");
            }
            Change::Truncate => rows.clear(),
            Change::Message { .. } => {}
        }
    }
    rows
}

pub fn text(row: &Row, column: &str) -> Option<String> {
    match row.get(column)? {
        Cell::Value(Value::Text(text) | Value::Numeric(text) | Value::Exact(text)) => Some(text.clone()),
        Cell::Null => None,
        other => panic!("{column} is {other:?}"),
    }
}

async fn assert_table_equals(bench: &Bench, items: &[Item]) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    let rows = client.query("select id, note, value::text as value from lims.result order by id", &[]).await?;
    let want: Vec<(i64, Option<String>, Option<String>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let got: Vec<_> = folded(items).iter().map(|(id, row)| (*id, text(row, "note"), text(row, "value"))).collect();
    let ids = |rows: &[(i64, Option<String>, Option<String>)]| -> Vec<i64> { rows.iter().map(|row| row.0).collect() };
    assert_eq!(ids(&got), ids(&want), "the log tells other rows than the database");
    assert!(got == want, "the log tells another table than the database");
    Ok(())
}

/// Random transactions.
async fn work(
    client: tokio_postgres::Client,
    mut random: StdRng,
    base: i64,
    transactions: usize,
) -> anyhow::Result<()> {
    let mut next = base;
    let mut alive: Vec<i64> = Vec::new();
    for _ in 0..transactions {
        let mut sql = String::from("begin;");
        for _ in 0..random.random_range(1..8) {
            match random.random_range(0..4) {
                0 | 1 => {
                    next += 1;
                    alive.push(next);
                    let note = random.random_range(0..4_000);
                    sql += &format!("insert into lims.result values ({next}, repeat('n', {note}), {next}.50);");
                }
                2 if !alive.is_empty() => {
                    let id = alive[random.random_range(0..alive.len())];
                    sql += &format!("update lims.result set value = value + 0.1 where id = {id};");
                }
                3 if !alive.is_empty() => {
                    let id = alive.swap_remove(random.random_range(0..alive.len()));
                    sql += &format!("delete from lims.result where id = {id};");
                }
                _ => sql += "insert into lims.other values (1) on conflict do nothing;",
            }
        }
        sql += if random.random_range(0..10) == 0 { "rollback;" } else { "commit;" };
        if sql.ends_with("rollback;") {
            // What was rolled back is not there; start the picture afresh with new rows only.
            alive.clear();
        }
        client.batch_execute(&sql).await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..4))).await;
    }
    Ok(())
}

fn seed() -> u64 {
    let seed = rand::rng().random();
    println!("seed {seed}");
    seed
}

async fn complete(bench: &Bench, last: i64) -> anyhow::Result<Vec<Item>> {
    let client = bench.database.connect(SOURCE).await?;
    client.execute("insert into lims.result values ($1, 'last', null)", &[&last]).await?;
    bench.log(|items| steps(items).last() == Some(&("INSERT", last))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_at_random_moments_nothing_is_lost_or_told_twice() -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed());
    let bench = Bench::start(SCHEMA).await?;
    bench
        .database
        .execute(SOURCE, "insert into lims.result select -g, 'before', g from generate_series(1, 3000) g")
        .await?;
    let file = bench.file("witness");
    let mut witness = Witness::start(&bench.database, SOURCE, "witness", &file).await?;
    let mut workers = Vec::new();
    for base in [1_000_000, 2_000_000] {
        let client = bench.database.connect(SOURCE).await?;
        workers.push(tokio::spawn(work(client, StdRng::seed_from_u64(random.random()), base, 2_000)));
    }
    let mut connector = bench.connector(bench.settings());
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..1_500))).await;
        connector.cut_off().await;
        connector = bench.connector(bench.settings());
    }
    for worker in workers {
        worker.await??;
    }
    connector.wait_ready().await?;
    let items = complete(&bench, 9_000_000).await?;
    witness.wait_caught_up(&bench.database).await?;
    let (told, committed) = (steps(&items), witnessed(&witness)?);
    assert!(committed.ends_with(&told), "the stream is not the end of what was committed");
    assert_table_equals(&bench, &items).await?;
    assert_one_commit_end_per_transaction(&items);
    connector.stop().await?;
    witness.finish(&bench.database).await
}

fn assert_one_commit_end_per_transaction(items: &[Item]) {
    let streamed: Vec<&Entry> =
        entries(items).into_iter().filter(|entry| !matches!(entry.change, Change::Snapshot { .. })).collect();
    for pair in streamed.windows(2) {
        assert!(pair[0].position < pair[1].position);
        let last = pair[0].position.commit != pair[1].position.commit;
        assert_eq!(pair[0].commit_end.is_some(), last, "{:?}", pair[0].position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_of_every_part_are_survived() -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed());
    let mut bench = Bench::start(SCHEMA).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    for (round, base) in (1_i64..=3).map(|round| (round, round * 1_000_000)) {
        let client = bench.database.connect(SOURCE).await?;
        let worker = tokio::spawn(work(client, StdRng::seed_from_u64(random.random()), base, 150));
        tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
        match round {
            1 => {
                bench.kafka.kill_9()?;
                tokio::time::sleep(Duration::from_millis(500)).await;
                bench.kafka.restart().await?;
            }
            2 => {
                bench.registry.kill_9()?;
                bench.database.execute(SOURCE, "alter table lims.other add column if not exists note text").await?;
                bench.registry.restart().await?;
            }
            _ => {
                bench.database.kill_9()?;
                bench.database.restart().await?;
            }
        }
        // The worker's connection may have died with the database: what it committed still counts.
        let _ = worker.await?;
    }
    let items = complete(&bench, 9_000_000).await?;
    assert_table_equals(&bench, &items).await?;
    assert!(connector.status.view().reconnects > 0, "the database's end was noticed");
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connector_waits_for_the_slot_and_then_goes_on() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let first = bench.connector(bench.settings());
    first.wait_ready().await?;
    let second = bench.connector(bench.settings());
    let waits = |connector: &Connector| connector.unready().is_some_and(|why| why.contains("in use"));
    second.wait(waits).await?;
    let items = complete(&bench, 1).await?;
    assert_eq!(steps(&items), [("INSERT", 1)]);
    first.cut_off().await;
    second.wait_ready().await?;
    let items = complete(&bench, 2).await?;
    assert_eq!(steps(&items), [("INSERT", 1), ("INSERT", 2)]);
    second.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_is_refused_until_an_operator_allows_a_new_snapshot() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    complete(&bench, 1).await?;
    connector.stop().await?;
    drop_slot(&bench).await?;
    let refused = bench.connector(bench.settings());
    refused.wait(|connector| connector.unready().is_some_and(|why| why.contains("it is gone"))).await?;
    refused.stop().await?;

    let mut settings = bench.settings();
    settings.when_lost = WhenLost::Snapshot;
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    let items = bench.log(|items| ends_of_snapshots(items) == 2).await?;
    let epochs: Vec<u32> = entries(&items).iter().map(|entry| entry.position.epoch).collect();
    assert!(
        matches!(epochs[..], [first, second] if 0 < first && first < second),
        "streamed, and read again: {epochs:?}"
    );
    connector.stop().await
}

/// Drops the slot once the server has noticed that the connector is gone.
async fn drop_slot(bench: &Bench) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    let drop_idle = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active";
    while client.query(drop_idle, &[]).await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn ends_of_snapshots(items: &[Item]) -> usize {
    let end =
        |item: &&Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::SnapshotEnd(_)));
    items.iter().filter(end).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_truncations_messages_and_shapes_change_mid_stream() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    bench
        .database
        .execute(
            SOURCE,
            "begin; insert into lims.result values (1, 'one', 1.10); update lims.result set id = 2; commit;
             select pg_logical_emit_message(true, 'audit', 'signed');
             alter table lims.result drop column value; insert into lims.result values (3, 'three');
             alter table lims.result add column unit text; insert into lims.result values (4, 'four', 'mmol/L');
             truncate lims.result, lims.other;",
        )
        .await?;
    let items = complete_without_value(&bench).await?;
    let told: Vec<String> = entries(&items).iter().map(|entry| told(entry)).collect();
    let want = [
        "insert 1: id note value",
        "delete 1: id note value",
        "insert 2: id note value",
        "message audit",
        "insert 3: id note",
        "insert 4: id note unit",
        "truncate",
        "truncate",
        "insert 9: id note unit",
    ];
    assert_eq!(told, want);
    let ordinals: Vec<u64> = entries(&items)[..3].iter().map(|entry| entry.position.ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3], "a changed key takes two");
    connector.stop().await
}

async fn complete_without_value(bench: &Bench) -> anyhow::Result<Vec<Item>> {
    bench.database.execute(SOURCE, "insert into lims.result values (9, 'last', null)").await?;
    bench.log(|items| steps(items).last() == Some(&("INSERT", 9))).await
}

fn told(entry: &Entry) -> String {
    let columns = |row: &Row| {
        let names: Vec<&str> = row.schema().columns.iter().map(|column| &*column.name).collect();
        format!("{}: {}", id_of(row), names.join(" "))
    };
    match &entry.change {
        Change::Insert { new } => format!("insert {}", columns(new)),
        Change::Delete { old: Some(old) } => format!("delete {}", columns(old)),
        Change::Truncate => "truncate".into(),
        Change::Message { prefix, content } => {
            assert_eq!(content, b"signed");
            format!("message {prefix}")
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tables_traffic_frees_the_slot_and_large_rows_pass() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let mut settings = bench.settings();
    settings.tables = vec!["lims.result".into()];
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    let client = Arc::new(bench.database.connect(SOURCE).await?);
    client
        .batch_execute("create table unrelated as select g, repeat('x', 500) from generate_series(1, 50000) g")
        .await?;
    let slot =
        "select confirmed_flush_lsn > $1::text::pg_lsn from pg_replication_slots where slot_name = 'causeway_clinic'";
    let here: String = client.query_one("select pg_current_wal_lsn()::text", &[]).await?.get(0);
    let mut freed = false;
    for _ in 0..600 {
        freed = client.query_one(slot, &[&here]).await?.get::<_, Option<bool>>(0).unwrap_or(false);
        if freed {
            break;
        }
        // Any commit makes the server look again.
        client
            .batch_execute("create temporary table if not exists t (i int); insert into unrelated values (0)")
            .await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(freed, "WAL of other tables pins the slot");
    client.execute("insert into lims.result values (1, repeat('é', 500000), 1)", &[]).await?;
    client.execute("insert into lims.result values (2, repeat('x', 9000000), 1)", &[]).await?;
    let items = complete(&bench, 3).await?;
    assert_eq!(steps(&items), [("INSERT", 1), ("INSERT", 3)], "the third is told in the quarantine");
    let progress =
        |item: &&Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::Progress(_)));
    assert!(items.iter().filter(progress).count() >= 1);
    connector.stop().await
}
