//! A partition that is attached with rows in it, or truncated by itself; rows that `alter table` changes: PostgreSQL says
//! nothing of them in the stream, and the log is right about them.

use super::{
    capture_edges::{Stranger, Told},
    capture_stack::{Bench, SOURCE},
};
use change_log::{ControlBody, Item};
use std::collections::BTreeMap;

const SCHEMA: &str = "
    create table marker (id serial primary key);
    create table measured (id integer, day date, note text, primary key (id, day)) partition by range (day);
    create table measured_2025 partition of measured for values from ('2025-01-01') to ('2026-01-01');
    create table measured_2026 (note text, day date, id integer, primary key (id, day));
    create table measured_2027 (id integer, day date, note text, primary key (id, day)) partition by hash (id);
    create table measured_2027_0 partition of measured_2027 for values with (modulus 2, remainder 0);
    create table measured_2027_1 partition of measured_2027 for values with (modulus 2, remainder 1);
    create table plain (id integer primary key, note text, twice integer generated always as (id * 2) stored);
    insert into plain values (1, 'a'), (2, 'b');
    insert into measured values (1, '2025-06-01', 'old');
    insert into measured_2026 values ('held', '2026-06-01', 10), ('held', '2026-06-01', 11);
    insert into measured_2027 select g, '2027-06-01', 'held' from generate_series(20, 29) g";

/// Waits for so many snapshots, and applies what the log tells in its order.
async fn told(bench: &Bench, snapshots: usize) -> anyhow::Result<(Vec<Told>, BTreeMap<String, String>)> {
    let end =
        |item: &&Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::SnapshotEnd(_)));
    bench.log(|items| items.iter().filter(end).count() >= snapshots).await?;
    let mut told = Stranger::of(bench)?.upto_now().await?;
    told.retain(|record| record.table == "public.measured");
    let mut rows = BTreeMap::new();
    for record in &told {
        match &*record.op {
            "d" => drop(rows.remove(&record.key)),
            _ => drop(rows.insert(record.key.clone(), record.after.clone())),
        }
    }
    Ok((told, rows))
}

/// The table, and the log of it.
async fn same(bench: &Bench, snapshots: usize) -> anyhow::Result<Vec<Told>> {
    let (told, rows) = told(bench, snapshots).await?;
    let sql = "select format('id=%s day=%s', id, day - date '1970-01-01') as key, note from measured";
    let there = bench.database.connect(SOURCE).await?.query(sql, &[]).await?;
    let line = |row: &tokio_postgres::Row| {
        let (key, note): (String, String) = (row.get("key"), row.get("note"));
        (key.clone(), format!("{key} note={note}"))
    };
    assert_eq!(rows, there.iter().map(line).collect());
    Ok(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_partition_holds_when_it_is_attached_are_read() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let mut settings = bench.settings();
    settings.tables = vec!["public.measured".into(), "public.plain".into(), "public.marker".into()];
    let connector = bench.connector(settings.clone());
    connector.wait_ready().await?;
    let client = bench.database.connect(SOURCE).await?;
    let attach =
        "alter table measured attach partition measured_2026 for values from ('2026-01-01') to ('2027-01-01');";
    client.batch_execute("update measured_2026 set note = 'before' where id = 10").await?;
    client.batch_execute(attach).await?;
    client.batch_execute("insert into measured values (12, '2026-07-01', 'new')").await?;
    client.batch_execute("update measured set note = 'after' where id = 11").await?;
    client.batch_execute("insert into measured values (2, '2025-07-01', 'streamed')").await?;
    let log = same(&bench, 2).await?;
    let reads = |id: &str| log.iter().filter(|record| record.op == "r" && record.key.starts_with(id)).count();
    assert_eq!((reads("id=1 "), reads("id=2 "), reads("id=10 ")), (1, 0, 1), "only the partition is read");

    // Away and back between two looks: its changes in between were not told.
    let away = "begin; alter table measured detach partition measured_2026;
                insert into measured_2026 values ('away', '2026-08-01', 13);";
    client.batch_execute(&format!("{away} {attach} commit")).await?;
    same(&bench, 3).await?;

    // While nobody looks, and with partitions of its own.
    connector.stop().await?;
    let tree = "alter table measured attach partition measured_2027 for values from ('2027-01-01') to ('2028-01-01')";
    client.batch_execute(tree).await?;
    let connector = bench.connector(settings.clone());
    same(&bench, 4).await?;
    connector.stop().await?;

    // What was read is not read again.
    let connector = bench.connector(settings.clone());
    connector.wait_ready().await?;
    let log = same(&bench, 4).await?;
    let reads: usize = log.iter().filter(|record| record.op == "r" && record.key.starts_with("id=2")).count();
    assert_eq!(reads, 10, "each row of the subtree once");
    change_without_a_word(&bench).await?;
    let log = whole(&bench, 5).await?;
    let rows = ["id=1 note=A twice=2", "id=2 note=B twice=4"];
    assert_eq!(read_last(&log, "public.plain"), rows);
    assert_eq!(read_last(&log, "public.measured"), measured(&bench).await?);

    // While nobody looks: one table is the same in another file, of the other a partition of a partition is empty.
    connector.stop().await?;
    client.batch_execute("vacuum full plain").await?;
    client.batch_execute("truncate measured_2027_1").await?;
    let connector = bench.connector(settings.clone());
    let log = whole(&bench, 6).await?;
    assert_eq!(read_last(&log, "public.measured"), measured(&bench).await?);
    let reads = |log: &[Told]| log.iter().filter(|record| record.op == "r" && record.table == "public.plain").count();
    assert_eq!(reads(&log), 4, "read twice, not for its file alone");
    connector.stop().await?;
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    assert_eq!(read_last(&whole(&bench, 6).await?, "public.measured"), measured(&bench).await?);
    connector.stop().await
}

/// A truncated partition, a default, a computed column that is one no more, and a conversion.
async fn change_without_a_word(bench: &Bench) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    client
        .batch_execute(
            "begin; truncate measured_2025; alter table measured add column unit text default 'mmol/L';
             alter table plain alter column twice drop expression;
             alter table plain alter column note type text using upper(note); commit",
        )
        .await?;
    Ok(())
}

/// All that the log tells, once it has so many snapshots.
async fn whole(bench: &Bench, snapshots: usize) -> anyhow::Result<Vec<Told>> {
    told(bench, snapshots).await?;
    Stranger::of(bench)?.upto_now().await
}

/// The table's rows as its last snapshot told them.
fn read_last(log: &[Told], table: &str) -> Vec<String> {
    let rows = || log.iter().filter(|record| record.op == "r" && record.table == table);
    let last = rows().next_back().and_then(|record| record.header("causeway.snapshot"));
    let mut last: Vec<String> =
        rows().filter(|record| record.header("causeway.snapshot") == last).map(|record| record.after.clone()).collect();
    last.sort_unstable();
    last
}

async fn measured(bench: &Bench) -> anyhow::Result<Vec<String>> {
    let sql = "select format('id=%s day=%s note=%s unit=%s', id, day - date '1970-01-01', note, unit) from measured";
    let rows = bench.database.connect(SOURCE).await?.query(sql, &[]).await?;
    let mut rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    rows.sort_unstable();
    Ok(rows)
}
