//! Tables change their shape, their name, their key and their place in the publication while others write: every row is
//! told in the shape that it had, and what was not told for a while is read again.

use super::{
    capture_edges::{Stranger, Told, lines},
    capture_schema::each,
    capture_signal::{causeway, config},
    capture_stack::{Bench, Connector, SOURCE},
};
use change::{Cell, Change, Row, Value};
use change_log::{ControlBody, Item};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const SCHEMA: &str = "
    create table marker (id serial primary key);
    create schema lims;
    create table lims.load (id bigint generated always as identity primary key, note text);
    create table lims.result (id integer primary key, note text);
    create table lims.code (id integer primary key, term text);
    create table lims.keyed (a integer primary key, b integer not null);
    create table lims.parent (id serial primary key);
    create table lims.child (id integer primary key, parent integer references lims.parent);
    create type lims.state as enum ('open');
    create table lims.sample (id integer primary key, state lims.state);
    create type lims.level as enum ('low');
    create domain lims.positive as integer check (value > 0);
    create table lims.gone (id lims.positive primary key, level lims.level, levels lims.level[], n lims.positive);
    create table lims.whole (id integer primary key, note text);
    alter table lims.whole replica identity full;
    create table lims.indexed (id integer not null, n integer);
    create unique index indexed_id on lims.indexed (id);
    alter table lims.indexed replica identity using index indexed_id;
    insert into lims.indexed values (1, 1);
    create table lims.bare (id integer not null, n integer);
    alter table lims.bare replica identity full;
    insert into lims.bare values (1, 1), (2, 2);";
/// The load's table takes so many columns on, and lets them go.
const RESHAPED: usize = 20;

/// Commits a row every now and then; another session reshapes the table meanwhile.
async fn load(bench: &Bench, stop: boot::Stop) -> anyhow::Result<()> {
    let (writer, owner) = (bench.database.connect(SOURCE).await?, bench.database.connect_as("capture", SOURCE).await?);
    let writing = async {
        while !stop.is_cancelled() {
            writer.batch_execute("insert into lims.load (note) values ('n')").await?;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        anyhow::Ok(())
    };
    let reshaping = async {
        for number in 0..RESHAPED {
            owner
                .batch_execute(&format!("alter table lims.load add column c{number} integer default {number}"))
                .await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            owner.batch_execute(&format!("alter table lims.load drop column c{number}")).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(writing, reshaping).map(drop)
}

async fn within_one_transaction(
    owner: &tokio_postgres::Client,
    stranger: &mut Stranger<'_>,
) -> anyhow::Result<Vec<Told>> {
    owner
        .batch_execute(
            "begin; insert into lims.result values (1, 'a');
             alter table lims.result add column unit text default 'g'; insert into lims.result values (2, 'b', 'mg');
             update lims.result set note = 'c' where id = 1;
             alter table lims.result drop column note; insert into lims.result values (3, 'kg'); commit",
        )
        .await?;
    each(
        owner,
        "insert into lims.parent default values; insert into lims.child values (1, 1);
         truncate lims.parent restart identity cascade; insert into lims.parent default values",
    )
    .await?;
    let told = stranger.upto_now().await?;
    let want = [
        "c lims.result id=1 | id=1 note=a",
        "c lims.result id=2 | id=2 note=b unit=mg",
        "u lims.result id=1 | - | id=1 note=c unit=g",
        "c lims.result id=3 | id=3 unit=kg",
    ];
    assert_eq!(lines(&told, "lims.result"), want);
    let parents = ["c lims.parent id=1 | id=1", "t lims.parent position", "c lims.parent id=1 | id=1"];
    assert_eq!(lines(&told, "lims.parent"), parents);
    let children = ["c lims.child id=1 | id=1 parent=1", "t lims.child position"];
    assert_eq!(lines(&told, "lims.child"), children, "it went with the other");
    Ok(told)
}

/// Tables that are renamed, made anew under a name, taken out of the publication and put in again.
async fn moved(owner: &tokio_postgres::Client, stranger: &mut Stranger<'_>) -> anyhow::Result<Vec<Told>> {
    each(
        owner,
        "alter table lims.code rename to code_before; insert into lims.code_before values (2, 'under another name');
         create table lims.code (id integer primary key, term text);
         insert into lims.code values (7, 'before it is published')",
    )
    .await?;
    let mut told = stranger.until(|told| told.line() == "r lims.code id=7 | id=7 term=before it is published").await?;
    assert_eq!(lines(&told, "lims.code_before")[0], "c lims.code_before id=2 | id=2 term=under another name");
    each(
        owner,
        "alter publication causeway_clinic drop table lims.result; insert into lims.result values (4, 'gap');
         alter publication causeway_clinic add table lims.result; insert into lims.result values (5, 'after');
         drop table lims.code; create table lims.code (id integer primary key, term text);
         insert into lims.code values (8, 'anew')",
    )
    .await?;
    let mut wanted = BTreeSet::from(["r lims.result id=4 | id=4 unit=gap", "r lims.code id=8 | id=8 term=anew"]);
    while !wanted.is_empty() {
        let mut last = String::new();
        told.extend(
            stranger
                .until(|told| {
                    last = told.line();
                    wanted.contains(last.as_str())
                })
                .await?,
        );
        wanted.remove(last.as_str());
    }
    assert!(lines(&told, "lims.result").contains(&"c lims.result id=5 | id=5 unit=after".to_owned()));
    Ok(told)
}

/// The table alone waits for an operator, who lets its shape in.
async fn accepted(bench: &Bench, connector: &Connector, table: &str) -> anyhow::Result<()> {
    let name = format!("lims.{table}");
    let left_out = |connector: &Connector| {
        connector.status.view().refused_tables.into_iter().find(|left_out| left_out.table == name)
    };
    connector.wait(|connector| left_out(connector).is_some()).await?;
    let why = left_out(connector).unwrap_or_default().why;
    let (shape, command) = (format!("{name} has a new shape"), format!("accept-schema CONFIG {SOURCE} {name}"));
    assert!(why.contains(&shape) && why.contains(&command), "{why}");
    let asked = causeway(&config(bench, "capture")?, &["accept-schema", SOURCE, &name]).await?;
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    connector.wait(|connector| left_out(connector).is_none()).await
}

/// Another column, another order, none, and one again.
async fn another_key(
    bench: &Bench,
    connector: &Connector,
    owner: &tokio_postgres::Client,
    stranger: &mut Stranger<'_>,
) -> anyhow::Result<Vec<Told>> {
    each(
        owner,
        "insert into lims.keyed values (1, 1);
         alter table lims.keyed drop constraint keyed_pkey, add primary key (a, b); insert into lims.keyed values (1, 2)",
    )
    .await?;
    accepted(bench, connector, "keyed").await?;
    let mut told = stranger.until(|told| told.line() == "r lims.keyed a=1 b=2 | a=1 b=2").await?;
    each(
        owner,
        "alter table lims.keyed drop constraint keyed_pkey, add primary key (b, a); insert into lims.keyed values (1, 3);
         alter table lims.keyed drop constraint keyed_pkey; insert into lims.keyed values (1, 4);
         alter table lims.keyed add primary key (b); insert into lims.keyed values (1, 5)",
    )
    .await?;
    accepted(bench, connector, "keyed").await?;
    told.extend(stranger.until(|told| told.line() == "r lims.keyed b=5 | a=1 b=5").await?);
    let want = [
        "c lims.keyed a=1 | a=1 b=1",
        "r lims.keyed a=1 b=1 | a=1 b=1",
        "c lims.keyed a=1 b=3 | a=1 b=3",
        "c lims.keyed position | a=1 b=4",
        "r lims.keyed b=1 | a=1 b=1",
        "r lims.keyed b=2 | a=1 b=2",
        "r lims.keyed b=3 | a=1 b=3",
        "r lims.keyed b=4 | a=1 b=4",
    ];
    let mut keyed = lines(&told, "lims.keyed");
    // It may have been read without a key in between.
    keyed.retain(|line| !line.starts_with("r lims.keyed position"));
    assert_eq!(keyed, want, "what is left out under another key is read anew, all of it");
    owner.batch_execute("update lims.keyed set a = 2").await?;
    once(bench, "keyed", &[[2, 1], [2, 2], [2, 3], [2, 4], [2, 5]]).await?;
    Ok(told)
}

/// From a key to none and to another index on it; from whole rows to a key.
async fn with_and_without_a_key(
    bench: &Bench,
    connector: &Connector,
    owner: &tokio_postgres::Client,
) -> anyhow::Result<()> {
    each(
        owner,
        "drop index lims.indexed_id; insert into lims.indexed values (2, 2);
         create unique index indexed_again on lims.indexed (id);
         alter table lims.indexed replica identity using index indexed_again; update lims.indexed set n = n + 10",
    )
    .await?;
    once(bench, "indexed", &[[1, 11], [2, 12]]).await?;
    each(
        owner,
        "update lims.bare set n = 3 where id = 2; alter table lims.bare add primary key (id);
         alter table lims.bare replica identity default; update lims.bare set n = n + 10",
    )
    .await?;
    accepted(bench, connector, "bare").await?;
    once(bench, "bare", &[[1, 11], [2, 13]]).await
}

/// Waits until a reader of the log holds the table's rows, each of them once.
async fn once(bench: &Bench, table: &str, want: &[[i64; 2]]) -> anyhow::Result<()> {
    let mut last = Vec::new();
    let read = bench
        .log(|items| {
            last = held(items, table);
            last == want
        })
        .await;
    read.map(drop).map_err(|error| error.context(format!("a reader of {table} holds {last:?}")))
}

/// What a reader of the log holds of a table of two numbers: a row by its key or, without one, by its content; what was
/// there when a reading began is gone when it ends, unless it was told since.
fn held(items: &[Item], table: &str) -> Vec<[i64; 2]> {
    let name = format!("lims.{table}");
    let numbers = |row: &Row| {
        let number = |cell: &Cell| if let Cell::Value(Value::Int(number)) = cell { *number } else { 0 };
        [number(&row.cells()[0]), number(&row.cells()[1])]
    };
    let name_of = |row: &Row| {
        let key: Vec<i64> = row.schema().key_columns().map(|(at, _)| numbers(row)[at]).collect();
        let by: Vec<String> = row.schema().key_columns().map(|(_, column)| column.name.to_string()).collect();
        if by.is_empty() { (by, numbers(row).to_vec()) } else { (by, key) }
    };
    let (mut rows, mut stale) = (BTreeMap::new(), Vec::new());
    for item in items {
        match item {
            Item::Control(control) => match &control.body {
                ControlBody::SnapshotBegin(begin) if begin.tables.contains(&name) => {
                    stale = rows.keys().cloned().collect();
                }
                ControlBody::SnapshotEnd(end) if end.tables.contains(&name) => {
                    rows.retain(|name, _| !stale.contains(name));
                    stale.clear();
                }
                _ => {}
            },
            Item::Entry(entry) if entry.table.as_ref().is_some_and(|schema| *schema.table.name == *table) => {
                let (old, new) = match &entry.change {
                    Change::Snapshot { new } | Change::Insert { new } => (None, Some(new)),
                    Change::Update { old, new } => (old.as_ref(), Some(new)),
                    Change::Delete { old } => (old.as_ref(), None),
                    Change::Truncate | Change::Message { .. } => continue,
                };
                rows.retain(|name, _| old.is_none_or(|old| *name != name_of(old)));
                if let Some(new) = new {
                    stale.retain(|name| *name != name_of(new));
                    rows.insert(name_of(new), numbers(new));
                }
            }
            _ => {}
        }
    }
    let mut held: Vec<[i64; 2]> = rows.into_values().collect();
    held.sort_unstable();
    held
}

/// A type goes while rows that have it are not read yet: it has a name in the stream, and no place in the catalogue.
async fn without_its_type(
    bench: &Bench,
    connector: Connector,
    owner: &tokio_postgres::Client,
    stranger: &mut Stranger<'_>,
) -> anyhow::Result<(Connector, Vec<Told>)> {
    owner.batch_execute("insert into lims.sample values (1, 'open')").await?;
    let mut told = stranger.upto_now().await?;
    connector.stop().await?;
    each(
        owner,
        "insert into lims.sample values (2, 'open');
         alter table lims.sample alter column state type text using state::text; drop type lims.state;
         insert into lims.sample values (3, 'free')",
    )
    .await?;
    let connector = bench.connector(bench.settings());
    told.extend(stranger.upto_now().await?);
    let want = ["open", "open", "free"].into_iter().zip(1..);
    let want: Vec<String> = want.map(|(state, id)| format!("c lims.sample id={id} | id={id} state={state}")).collect();
    assert_eq!(lines(&told, "lims.sample"), want);
    Ok((connector, told))
}

/// Tables go, with their types and their keys, while their rows are not read yet: they are told as before.
async fn without_their_tables(
    bench: &Bench,
    connector: Connector,
    owner: &tokio_postgres::Client,
    stranger: &mut Stranger<'_>,
) -> anyhow::Result<(Connector, Vec<Told>)> {
    let row = |id: i32| {
        format!(
            "insert into lims.gone values ({id}, 'low', '{{low,NULL}}', 5); insert into lims.whole values ({id}, 'n');"
        )
    };
    owner.batch_execute(&row(1)).await?;
    let mut told = stranger.upto_now().await?;
    connector.stop().await?;
    owner.batch_execute(&row(2)).await?;
    each(
        owner,
        "delete from lims.gone where id = 1; delete from lims.whole where id = 1;
         alter table lims.whole rename id to number; insert into lims.whole values (3, 'm');
         create table lims.unseen (id integer primary key, level lims.level);
         alter publication causeway_clinic add table lims.unseen; insert into lims.unseen values (1, 'low');
         drop table lims.gone, lims.whole, lims.unseen; drop type lims.level; drop domain lims.positive",
    )
    .await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    told.extend(stranger.upto_now().await?);
    let gone: Vec<&Told> = told.iter().filter(|record| record.table == "lims.gone").collect();
    let row = |id: i32| format!("c lims.gone id={id} | id={id} level=low levels=[low null] n=5");
    let want = [row(1), row(2), "d lims.gone id=1 | id=1 level=null levels=null n=null".to_owned()];
    assert_eq!(gone.iter().map(|record| record.line()).collect::<Vec<_>>(), want);
    assert!(gone.iter().all(|record| record.schema == gone[0].schema), "another shape, though the table had none");
    // Its key has another name in the catalogue's last state, and then the table is not there at all.
    let want = [
        "c lims.whole id=1 | id=1 note=n",
        "c lims.whole id=2 | id=2 note=n",
        "d lims.whole id=1 | id=1 note=n",
        "c lims.whole position | number=3 note=m",
    ];
    assert_eq!(lines(&told, "lims.whole"), want);
    assert_eq!(lines(&told, "lims.unseen"), ["c lims.unseen id=1 | id=1 level=low"]);
    Ok((connector, told))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_a_table_each_row_is_told_as_it_was() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    bench.database.execute(SOURCE, "insert into lims.code values (1, 'first')").await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let owner = bench.database.connect_as("capture", SOURCE).await?;
    let mut stranger = Stranger::of(&bench)?;
    let stop = boot::Stop::new();
    let steps = async {
        let mut told = within_one_transaction(&owner, &mut stranger).await?;
        told.extend(moved(&owner, &mut stranger).await?);
        told.extend(another_key(&bench, &connector, &owner, &mut stranger).await?);
        with_and_without_a_key(&bench, &connector, &owner).await?;
        let (connector, more) = without_its_type(&bench, connector, &owner, &mut stranger).await?;
        told.extend(more);
        let (connector, more) = without_their_tables(&bench, connector, &owner, &mut stranger).await?;
        told.extend(more);
        stop.cancel();
        anyhow::Ok((told, connector))
    };
    let (_, (mut told, connector)) = tokio::try_join!(load(&bench, stop.clone()), steps)?;
    told.extend(stranger.upto_now().await?);
    let ids: BTreeSet<&str> =
        told.iter().filter(|t| t.table == "lims.load" && t.op == "c").map(|t| t.key.as_str()).collect();
    let rows = told.iter().filter(|t| t.table == "lims.load" && t.op == "c").count();
    let client = bench.database.connect(SOURCE).await?;
    let written: i64 = client.query_one("select count(*) from lims.load", &[]).await?.get(0);
    assert_eq!((i64::try_from(rows)?, ids.len()), (written, rows), "each row of the load is told once");
    let shapes: BTreeSet<u32> = told.iter().filter(|t| t.table == "lims.load").map(|t| t.schema).collect();
    assert!(shapes.len() > RESHAPED / 2, "{} shapes of the load's table", shapes.len());
    connector.stop().await
}
