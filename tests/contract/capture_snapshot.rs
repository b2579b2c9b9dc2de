//! Tables are read while the stream goes on: nothing is missing, nothing is told in an older state, and a killed reading
//! goes on where it was.

use super::{
    capture::{entries, id_of, text},
    capture_signal::{config, want},
    capture_stack::{Bench, Connector, SOURCE},
};
use anyhow::Context;
use change::{Cell, Change, Row};
use change_log::{ControlBody, Item, control::Snapshot};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, time::Duration};

const SCHEMA: &str = "
    create schema lims;
    create table lims.result (id bigint primary key, note text, value numeric);
    alter table lims.result alter column note set storage external;
    create table lims.code (system text, code text, term text, primary key (system, code));
    create table lims.event (at bigint, what text);
    alter table lims.event replica identity full;
    create table lims.trail (at bigint, what text);
    alter table lims.trail replica identity full;";
/// They are read in several parts each.
const KEYLESS: [&str; 2] = ["event", "trail"];
const ROWS: i64 = 40_000;
/// Long enough to lie outside of the row.
const LARGE: &str = "repeat('large', 600)";

async fn fill(bench: &Bench) -> anyhow::Result<()> {
    let sql = format!(
        "insert into lims.result select g, case g % 40 when 0 then {LARGE} end, g from generate_series(1, {ROWS}) g;
         insert into lims.code select 's' || g % 7, 'c''' || g, null from generate_series(1, 9000) g;
         insert into lims.event select g % 50, repeat('x', 300) from generate_series(1, 20000) g;
         insert into lims.trail select g % 50, repeat('y', 300) from generate_series(1, 20000) g; analyze;"
    );
    bench.database.execute(SOURCE, &sql).await
}

/// Everything that can happen to a row, all over the tables, until told to end.
async fn work(client: tokio_postgres::Client, mut random: StdRng, stop: boot::Stop) -> anyhow::Result<()> {
    let mut next = random.random_range(10 * ROWS..1_000_000_000_000);
    while !stop.is_cancelled() {
        let mut sql = String::from("begin;");
        for _ in 0..random.random_range(1..6) {
            let id = random.random_range(1..=ROWS);
            next += 1;
            sql += &match random.random_range(0..8) {
                0 | 1 => format!("update lims.result set value = value + 0.5 where id = {id};"),
                2 => format!("update lims.result set note = 'small' where id = {id};"),
                // The large value stays, under another key: before and behind what is being read.
                3 => format!("update lims.result set id = {next} where id = {};", id / 40 * 40),
                4 => format!("update lims.result set id = -{next} where id = {};", id / 40 * 40),
                5 => format!("delete from lims.result where id = {id};"),
                6 => format!(
                    "insert into lims.event values ({next}, 'new'); delete from lims.event where ctid in (select ctid from lims.event where at = {} limit 1);",
                    id % 50
                ),
                _ => format!(
                    "insert into lims.code values ('s1', 'n{next}', 'new'); update lims.code set term = 'other' where code = 'c''{}';",
                    id % 9000
                ),
            };
        }
        if random.random_range(0..60) == 0 {
            // More than the stream takes at a time.
            sql += &format!(
                "insert into lims.event select {next}, repeat('z', 300) from generate_series(1, 1500);
                 delete from lims.trail where ctid in (select ctid from lims.trail limit 20);"
            );
        }
        sql += if random.random_range(0..10) == 0 { "rollback;" } else { "commit;" };
        client.batch_execute(&sql).await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..3))).await;
    }
    Ok(())
}

fn control<'i>(items: &'i [Item], of: impl Fn(&'i ControlBody) -> Option<&'i Snapshot>) -> Vec<&'i Snapshot> {
    let body = |item: &'i Item| if let Item::Control(control) = item { of(&control.body) } else { None };
    items.iter().filter_map(body).collect()
}

fn ends(items: &[Item]) -> Vec<&Snapshot> {
    control(items, |body| if let ControlBody::SnapshotEnd(end) = body { Some(end) } else { None })
}

/// A table with a key, as a reader of the log has it: rows that did not show since a snapshot of the table began are
/// gone when it ends.
fn keyed(items: &[Item], table: &str, key: impl Fn(&Row) -> String) -> BTreeMap<String, Row> {
    let (mut rows, mut stale): (BTreeMap<String, Row>, Vec<String>) = (BTreeMap::new(), Vec::new());
    let name = format!("lims.{table}");
    // The row that the last record took away: one that takes another key keeps its large values.
    let mut gone: Option<Row> = None;
    for item in items {
        let entry = match item {
            Item::Entry(entry) => entry,
            Item::Rejected(rejected) => panic!("{rejected:?}"),
            Item::Control(control) => {
                match &control.body {
                    ControlBody::SnapshotBegin(begin) if begin.tables.contains(&name) && !begin.partial => {
                        stale = rows.keys().cloned().collect();
                    }
                    ControlBody::SnapshotEnd(end) if end.tables.contains(&name) && !end.partial => {
                        stale.drain(..).for_each(|key| drop(rows.remove(&key)));
                    }
                    _ => {}
                }
                continue;
            }
        };
        if entry.table.as_ref().is_none_or(|schema| *schema.table.name != *table) {
            continue;
        }
        let moved = gone.take();
        let changed = match &entry.change {
            Change::Snapshot { new } | Change::Insert { new } | Change::Update { new, .. } => {
                let key = key(new);
                let old = rows.get(&key).or(moved.as_ref());
                let new = old.map_or_else(|| new.clone(), |old| new.clone().filled_from(old));
                rows.insert(key.clone(), new);
                key
            }
            Change::Delete { old } => {
                let key = key(old.as_ref().expect("the key"));
                gone = rows.remove(&key);
                key
            }
            Change::Truncate | Change::Message { .. } => continue,
        };
        stale.retain(|key| *key != changed);
    }
    rows
}

/// A table without a key: how often there is each row.
fn counted(items: &[Item], table: &str) -> BTreeMap<(String, String), i64> {
    let name = format!("lims.{table}");
    let mut rows: BTreeMap<(String, String), i64> = BTreeMap::new();
    for item in items {
        match item {
            Item::Control(control) => {
                // Its rows have no names: the reading that begins tells all of them anew.
                if matches!(&control.body, ControlBody::SnapshotBegin(begin) if begin.tables == [name.as_str()]) {
                    rows.clear();
                }
            }
            Item::Entry(entry) if entry.table.as_ref().is_some_and(|schema| &*schema.table.name == table) => {
                let row = |row: &Row| (number(row, "at"), text(row, "what").unwrap_or_default());
                match &entry.change {
                    Change::Snapshot { new } | Change::Insert { new } => *rows.entry(row(new)).or_default() += 1,
                    Change::Delete { old: Some(old) } => *rows.entry(row(old)).or_default() -= 1,
                    other => panic!("{other:?}"),
                }
            }
            _ => {}
        }
    }
    rows.retain(|_, count| *count != 0);
    rows
}

fn number(row: &Row, column: &str) -> String {
    match row.get(column) {
        Some(Cell::Value(change::Value::Int(number))) => number.to_string(),
        other => panic!("{column} is {other:?}"),
    }
}

async fn assert_equal(bench: &Bench, items: &[Item]) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    let asked = client.query("select id::text, note, value::text from lims.result", &[]).await?;
    let want: BTreeMap<String, (Option<String>, Option<String>)> =
        asked.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let got = keyed(items, "result", |row| id_of(row).to_string());
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "other rows than the database's");
    let unfilled = got.values().filter(|row| row.get("note") == Some(&Cell::Unchanged)).count();
    assert_eq!(unfilled, 0, "large values that nobody told");
    let got: BTreeMap<String, _> =
        got.iter().map(|(id, row)| (id.clone(), (text(row, "note"), text(row, "value")))).collect();
    assert!(got == want, "another table than the database's");

    let asked = client.query("select system || ' ' || code, term from lims.code", &[]).await?;
    let want: BTreeMap<String, Option<String>> = asked.iter().map(|row| (row.get(0), row.get(1))).collect();
    let key = |row: &Row| format!("{} {}", text(row, "system").expect("key"), text(row, "code").expect("key"));
    let got = keyed(items, "code", key);
    let got: BTreeMap<String, _> = got.iter().map(|(key, row)| (key.clone(), text(row, "term"))).collect();
    assert!(got == want, "another table of codes than the database's");

    for table in KEYLESS {
        let sql = format!("select at::text, what, count(*) from lims.{table} group by 1, 2");
        let asked = client.query(&sql, &[]).await?;
        let want: BTreeMap<(String, String), i64> =
            asked.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
        let got = counted(items, table);
        let (told, there): (i64, i64) = (got.values().sum(), want.values().sum());
        assert!(got == want, "other rows without a key than in {table}: {told} told, {there} there");
    }
    Ok(())
}

/// Works on the tables until a snapshot is over, then lets all of it come into the log.
async fn through_a_snapshot(bench: &Bench, ended: usize, seed: u64) -> anyhow::Result<Vec<Item>> {
    let stop = boot::Stop::new();
    let client = bench.database.connect(SOURCE).await?;
    let worker = tokio::spawn(work(client, StdRng::seed_from_u64(seed), stop.clone()));
    bench.log(|items| ends(items).len() == ended).await?;
    stop.cancel();
    worker.await??;
    settled(bench, i64::try_from(ended)?).await
}

/// The log up to a row that is inserted now.
async fn settled(bench: &Bench, mark: i64) -> anyhow::Result<Vec<Item>> {
    let client = bench.database.connect(SOURCE).await?;
    client.execute("insert into lims.code values ('mark', $1::bigint::text, null)", &[&mark]).await?;
    let is_mark = |items: &[Item]| {
        let marked =
            |row: &Row| text(row, "system").is_some_and(|s| s == "mark") && text(row, "code") == Some(mark.to_string());
        let last = entries(items).pop();
        last.is_some_and(
            |entry| matches!(&entry.change, Change::Insert { new } if new.get("code").is_some() && marked(new)),
        )
    };
    bench.log(is_mark).await
}

fn small(bench: &Bench) -> connector_postgres::Settings {
    let mut settings = bench.settings();
    // Slow enough for the stream to pass between.
    settings.snapshot.rows_per_s_max = 25_000;
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_read_while_they_change() -> anyhow::Result<()> {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let bench = Bench::start(SCHEMA).await?;
    fill(&bench).await?;
    let connector = bench.connector(small(&bench));
    let items = through_a_snapshot(&bench, 1, seed).await?;
    assert_equal(&bench, &items).await?;
    assert!(connector.status.view().snapshot.is_some_and(|view| view.done && view.rows > 0));

    // Again, with rows that went while nobody was told.
    ask_for(&bench, "018f0000-0000-7000-8000-000000000001").await?;
    let items = through_a_snapshot(&bench, 2, seed ^ 1).await?;
    assert_equal(&bench, &items).await?;
    connector.stop().await?;
    slowed_by_the_load(&bench).await
}

async fn ask_for(bench: &Bench, id: &str) -> anyhow::Result<()> {
    let request = change_log::signal::SnapshotRequest { id: id.to_owned(), ..Default::default() };
    let ask = |desired: &mut change_log::signal::Desired| desired.request(request.clone(), &[]);
    change_log::signal::change(&bench.kafka_settings(), SOURCE, ask).await?;
    Ok(())
}

/// While the source is busy with other things a snapshot slows down, and says why.
async fn slowed_by_the_load(bench: &Bench) -> anyhow::Result<()> {
    let stop = boot::Stop::new();
    let mut busy = Vec::new();
    for _ in 0..4 {
        let (client, stop) = (bench.database.connect(SOURCE).await?, stop.clone());
        busy.push(tokio::spawn(async move {
            while !stop.is_cancelled() {
                // The server counts a session that reads tables.
                client.batch_execute("select pg_sleep(0.2) from lims.code limit 1").await?;
            }
            anyhow::Ok(())
        }));
    }
    let mut settings = bench.settings();
    settings.snapshot.active_sessions_max = 2;
    let connector = bench.connector(settings);
    connector.wait(|connector| connector.status.view().active_sessions.is_some_and(|sessions| sessions > 3.0)).await?;
    ask_for(bench, "018f0000-0000-7000-8000-000000000002").await?;
    let slowed = |connector: &Connector| {
        let view = connector.status.view().snapshot;
        view.is_some_and(|view| view.waits_for == Some("the source to be less busy") && !view.done)
    };
    connector.wait(slowed).await?;
    stop.cancel();
    for task in busy {
        task.await??;
    }
    bench.log(|items| ends(items).len() == 3).await?;
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_reading_goes_on_after_its_last_chunk() -> anyhow::Result<()> {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::start(SCHEMA).await?;
    fill(&bench).await?;
    let stop = boot::Stop::new();
    let client = bench.database.connect(SOURCE).await?;
    let worker = tokio::spawn(work(client, StdRng::seed_from_u64(random.random()), stop.clone()));
    let mut connector = bench.connector(small(&bench));
    connector.wait(|connector| read(connector) > 0).await?;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..600))).await;
        connector.cut_off().await;
        connector = bench.connector(small(&bench));
    }
    bench.log(|items| ends(items).len() == 1).await?;
    stop.cancel();
    worker.await??;
    let items = settled(&bench, 1).await?;
    assert_equal(&bench, &items).await?;
    let begun = control(&items, |body| if let ControlBody::SnapshotBegin(begin) = body { Some(begin) } else { None });
    let ids: std::collections::BTreeSet<&str> = begun.iter().map(|begin| begin.snapshot.as_str()).collect();
    assert_eq!(ids.len(), 1, "one snapshot, however often it was cut off");
    connector.stop().await?;
    killed_between_a_changed_key_and_the_note_of_it(&bench).await
}

/// Rows with large values go from what is to be read into what was read, and the other way. The connector is killed when
/// that is in the log, but not yet that somebody has to read them: nobody has told what the first one's value is.
async fn killed_between_a_changed_key_and_the_note_of_it(bench: &Bench) -> anyhow::Result<()> {
    let fill = format!(
        "create table lims.moved (id bigint primary key, n int, note text);
         alter table lims.moved alter column note set storage external;
         insert into lims.moved select g, 0, g || {LARGE} from generate_series(1, 2000) g"
    );
    bench.database.connect_as("capture", SOURCE).await?.batch_execute(&fill).await?;
    let is_chunk = |item: &Item| match item {
        Item::Control(control) => {
            matches!(&control.body, ControlBody::SnapshotChunk(chunk) if chunk.table.as_deref() == Some("lims.moved"))
        }
        _ => false,
    };
    let mut settings = bench.settings();
    // One chunk, and then nothing for minutes.
    settings.snapshot.rows_per_s_max = 1;
    let connector = bench.connector(settings);
    bench.log(|items| items.iter().any(is_chunk)).await?;
    want(bench, |desired| desired.snapshots_paused = true).await?;
    connector.cut_off().await;

    let change = "begin; update lims.moved set n = 1 where id in (8, 1500);
        update lims.moved set id = 5000 where id = 7; update lims.moved set id = -1 where id = 1999; commit";
    bench.database.execute(SOURCE, change).await?;
    let ops = format!("127.0.0.1:{}", stack::free_port()?);
    let log = bench.file("killed.log");
    let mut killed = stack::Causeway::prepare(&config(bench, "capture")?, &["connector"], &ops, &log)?;
    let environment = &mut killed.spec_mut().environment;
    environment.insert("CAUSEWAY__OPS__LISTEN".to_owned(), ops);
    environment.insert("CAUSEWAY_FAILPOINT".to_owned(), "log.transaction-produced:1:pause=600000".to_owned());
    killed.launch()?;
    let came = |item: &Item| match item {
        Item::Entry(entry) => {
            let id = Some(&Cell::Value(change::Value::Int(-1)));
            matches!(&entry.change, Change::Insert { new } if new.get("id") == id)
        }
        _ => false,
    };
    let items = bench.log(|items| items.iter().rev().take(9).any(came)).await;
    let items = items.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
    assert!(items.last().is_some_and(came), "more came than what the transaction changed");
    killed.kill_9()?;

    let connector = bench.connector(bench.settings());
    want(bench, |desired| desired.snapshots_paused = false).await?;
    let items = bench.log(|items| ends(items).len() == 2).await?;
    let told = keyed(&items, "moved", |row| id_of(row).to_string());
    let told: BTreeMap<&str, _> = told.iter().map(|(id, row)| (&**id, (number(row, "n"), text(row, "note")))).collect();
    let client = bench.database.connect(SOURCE).await?;
    let asked = client.query("select id::text, n::text, note from lims.moved", &[]).await?;
    let want: BTreeMap<&str, (String, Option<String>)> =
        asked.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let other = |(id, row): (&&str, &(String, Option<String>))| (told.get(id) != Some(row)).then(|| (*id).to_owned());
    assert_eq!(want.iter().filter_map(other).collect::<Vec<_>>(), [] as [String; 0], "rows that are told otherwise");
    assert_eq!(told.len(), want.len(), "rows that are not there");
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_tables_are_not_read_again() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    fill(&bench).await?;
    let admin = bench.database.connect(SOURCE).await?;
    // Owned by another role, the tables are read by what is granted.
    admin
        .batch_execute(
            "reassign owned by capture to postgres; grant all on database clinic to capture;
        grant usage on schema lims to capture; grant select on lims.code, lims.event to capture;
        create publication causeway_clinic for table lims.code, lims.event, lims.result",
        )
        .await?;
    let connector = bench.connector(bench.settings());
    let waits = |connector: &Connector| connector.status.view().snapshot.is_some_and(|view| view.problem.is_some());
    connector.wait(waits).await?;
    // The log itself has to say so: what the connector has told only its status is lost with it.
    let chunk =
        |item: &Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::SnapshotChunk(_)));
    let rows =
        |items: &[Item]| entries(items).iter().filter(|entry| matches!(entry.change, Change::Snapshot { .. })).count();
    bench.log(|items| items.last().is_some_and(chunk) && rows(items) == 29_000).await?;
    connector.cut_off().await;
    admin
        .batch_execute("revoke select on lims.code, lims.event from capture; grant select on lims.result to capture")
        .await?;
    let connector = bench.connector(bench.settings());
    let items = bench.log(|items| ends(items).len() == 1).await;
    let items = items.with_context(|| format!("the connector says {:?}", connector.status.view()))?;
    let rows: u64 = ends(&items).iter().map(|end| end.rows).sum();
    assert_eq!(i64::try_from(rows)?, ROWS + 9_000 + 20_000, "each row was read once");
    connector.wait_ready().await?;
    connector.stop().await
}

fn read(connector: &Connector) -> u64 {
    connector.status.view().snapshot.map_or(0, |view| view.rows)
}
