//! Tables change their shape under load: one that readers may not understand is left out alone until an operator decides.

use super::{
    capture_signal::{causeway, config, inserts},
    capture_stack::{Bench, Connector, SOURCE},
};
use change::{Cell, Change, Entry, Row, Value};
use change_log::{ControlBody, Item, signal};
use connector_postgres::Phase;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio_postgres::Client;

const SCHEMA: &str = "create schema lims; create table lims.result (id bigint primary key, note text, value integer);
    create table lims.note (id bigint primary key, text text);
    create type lims.state as enum ('open'); create table lims.other (id bigint primary key, state lims.state);";

fn columns(items: &[Item]) -> Vec<String> {
    let told = |item: &Item| match item {
        Item::Entry(Entry { change: Change::Insert { new }, .. }) => {
            Some(new.schema().columns.iter().map(|column| &*column.name).collect::<Vec<_>>().join(" "))
        }
        _ => None,
    };
    items.iter().filter_map(told).collect()
}

fn states(items: &[Item]) -> Vec<&str> {
    fn told(item: &Item) -> Option<&str> {
        match item {
            Item::Entry(Entry { change: Change::Insert { new }, .. }) => match new.get("state")? {
                Cell::Value(Value::Text(state)) => Some(state),
                _ => None,
            },
            _ => None,
        }
    }
    items.iter().filter_map(told).collect()
}

fn text(row: &Row, place: usize) -> String {
    match row.cells().get(place) {
        Some(Cell::Value(Value::Text(text))) => text.clone(),
        Some(Cell::Value(Value::Int(number))) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// What a reader of the log holds of the table, by its first column: the second one of each row. What was noted before a
/// reading and has not shown by its end is gone.
fn rows_of(items: &[Item], table: &str) -> BTreeMap<String, String> {
    let (mut rows, mut noted) = (BTreeMap::new(), BTreeSet::new());
    for item in items {
        match item {
            Item::Entry(Entry { table: Some(schema), change, .. }) if schema.table.to_string() == table => match change
            {
                Change::Snapshot { new } | Change::Insert { new } | Change::Update { new, .. } => {
                    noted.remove(&text(new, 0));
                    rows.insert(text(new, 0), text(new, 1));
                }
                Change::Delete { old: Some(old) } => drop(rows.remove(&text(old, 0))),
                _ => {}
            },
            Item::Control(control) => match &control.body {
                ControlBody::SnapshotBegin(begin) if begin.tables.iter().any(|name| name == table) => {
                    noted = rows.keys().cloned().collect();
                }
                ControlBody::SnapshotEnd(end) if end.tables.iter().any(|name| name == table) => {
                    rows.retain(|key, _| !noted.remove(key));
                }
                _ => {}
            },
            _ => {}
        }
    }
    rows
}

pub async fn each(client: &Client, statements: &str) -> anyhow::Result<()> {
    for statement in statements.split(';') {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compatible_shapes_pass_and_an_incompatible_one_waits_alone_for_an_operator() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let owner = bench.database.connect_as("capture", SOURCE).await?;
    // A new label can be used only once it is committed: each statement is a transaction.
    each(
        &owner,
        "insert into lims.result values (1, 'a', 1);
             alter table lims.result add column unit text; insert into lims.result values (2, 'b', 2, 'g');
             alter table lims.result drop column note; insert into lims.result values (3, 3, 'g');
             alter table lims.result rename unit to units; insert into lims.result values (4, 4, 'g');
             alter table lims.result alter value type bigint; insert into lims.result values (5, 5, 'g');
             alter type lims.state add value 'closed'; insert into lims.other values (6, 'closed');
             alter type lims.state rename value 'open' to 'begun';
             alter table lims.other rename to others; insert into lims.others values (7, 'begun')",
    )
    .await?;
    let items = bench.log(|items| inserts(items) == 7).await?;
    let want_columns = ["id note value", "id note value unit", "id value unit", "id value units", "id value units"];
    assert_eq!(columns(&items)[..5], want_columns);
    assert_eq!(states(&items), ["closed", "begun"], "as they were at the time, whatever was known of the type before");

    let connector = a_side_table_waits_alone(&bench, connector, &owner).await?;
    a_table_that_is_changed_back_is_read_anew(&bench, &connector, &owner).await?;
    connector.stop().await
}

/// The shape of one table waits for an operator: what is critical in another one does not.
async fn a_side_table_waits_alone(bench: &Bench, connector: Connector, owner: &Client) -> anyhow::Result<Connector> {
    owner.batch_execute("insert into lims.note values (1, 'stays'), (2, 'goes'), (3, 'before')").await?;
    bench.log(|items| rows_of(items, "lims.note").len() == 3).await?;
    // Within one transaction the other table's rows are told whole, on both sides of what is left out.
    owner
        .batch_execute(
            "begin; insert into lims.result values (10, 10, 'g'); alter table lims.note alter id type text;
             insert into lims.note values ('four', 'new'); insert into lims.result values (11, 11, 'g');
             delete from lims.note where id = '2'; commit; insert into lims.result values (12, 12, 'critical')",
        )
        .await?;
    bench.log(|items| rows_of(items, "lims.result").contains_key("12")).await?;
    connector.wait(|connector| !connector.status.view().refused_tables.is_empty()).await?;
    connector.wait_ready().await?;
    let [aside] = &connector.status.view().refused_tables[..] else { anyhow::bail!("one table is left out") };
    assert_eq!((&*aside.table, connector.status.view().phase), ("lims.note", Phase::Streaming));
    let why = connector.unready().unwrap_or_default();
    for words in ["lims.note has a new shape", "accept-schema CONFIG clinic lims.note", "left out since", &aside.since]
    {
        assert!(why.contains(words), "{why}");
    }
    let items = bench.log(|items| rows_of(items, "lims.result").contains_key("11")).await?;
    assert_eq!(rows_of(&items, "lims.note").len(), 3, "nothing of it is told");

    // The slot moves on, and the process is another one: the table is still to be read anew.
    let slot = "select confirmed_flush_lsn > $1::text::pg_lsn from pg_replication_slots";
    let before: String = owner.query_one("select pg_current_wal_lsn()::text", &[]).await?.get(0);
    while !owner.query_one(slot, &[&before]).await?.get::<_, bool>(0) {
        owner.batch_execute("update lims.result set units = units where id = 12").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    connector.cut_off().await;
    owner
        .batch_execute(
            "update lims.note set text = 'after' where id = '3'; insert into lims.result values (13, 13, 'g')",
        )
        .await?;
    let connector = bench.connector(bench.settings());
    bench.log(|items| rows_of(items, "lims.result").contains_key("13")).await?;
    connector.wait(|connector| connector.status.view().refused_tables == [aside.clone()]).await?;
    let items = bench.log(|items| !items.is_empty()).await?;
    assert_eq!(rows_of(&items, "lims.note")["3"], "before", "left out still");

    let asked = causeway(&config(bench, "capture")?, &["accept-schema", SOURCE, "lims.note"]).await?;
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    connector.wait(|connector| connector.status.view().refused_tables.is_empty()).await?;
    owner.batch_execute("update lims.note set text = 'streamed' where id = 'four'").await?;
    let want =
        [("1", "stays"), ("3", "after"), ("four", "streamed")].map(|(id, text)| (id.to_owned(), text.to_owned()));
    bench.log(|items| rows_of(items, "lims.note") == want.clone().into()).await?;
    let desired = signal::read(&bench.kafka_settings(), SOURCE).await?;
    assert_eq!(desired.accepted, [], "a consent is for one use");
    Ok(connector)
}

/// Nobody has to say anything of a table that is as it was.
async fn a_table_that_is_changed_back_is_read_anew(
    bench: &Bench,
    connector: &Connector,
    owner: &Client,
) -> anyhow::Result<()> {
    owner.batch_execute("alter table lims.result alter value type text").await?;
    owner
        .batch_execute("insert into lims.result values (20, 'twenty', 'g'); delete from lims.result where id = 10")
        .await?;
    let left_out = |connector: &Connector| connector.status.view().refused_tables;
    connector.wait(|connector| left_out(connector).iter().any(|aside| aside.table == "lims.result")).await?;
    assert!(left_out(connector)[0].why.contains("value: long → string"), "{:?}", left_out(connector));
    owner.batch_execute("insert into lims.others values (14, 'begun')").await?;
    bench.log(|items| rows_of(items, "lims.others").contains_key("14")).await?;
    owner.batch_execute("alter table lims.result alter value type integer using 9").await?;
    connector.wait(|connector| left_out(connector).is_empty()).await?;
    owner.batch_execute("insert into lims.result values (21, 21, 'g')").await?;
    let ids = |items: &[Item]| rows_of(items, "lims.result").into_keys().collect::<Vec<_>>();
    let want = ["1", "11", "12", "13", "2", "20", "21", "3", "4", "5"];
    bench.log(|items| ids(items) == want).await?;
    connector.wait_ready().await?;
    assert_eq!(connector.unready(), None);
    Ok(())
}
