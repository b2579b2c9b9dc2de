//! Tables change their shape under load: what readers may not understand stops the source until an operator decides.

use super::{
    capture_signal::{inserts, want},
    capture_stack::{Bench, SOURCE},
};
use change::{Cell, Change, Entry, Value};
use change_log::{Item, Registry};
use connector_postgres::Phase;

const SCHEMA: &str = "create schema lims; create table lims.result (id bigint primary key, note text, value integer);
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

pub async fn each(client: &tokio_postgres::Client, statements: &str) -> anyhow::Result<()> {
    for statement in statements.split(';') {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compatible_shapes_pass_and_an_incompatible_one_waits_for_an_operator() -> anyhow::Result<()> {
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

    each(
        &owner,
        "alter table lims.result alter value type text; insert into lims.result values (8, 'eight', 'g');
             alter table lims.result alter value type integer using 9; insert into lims.result values (9, 9, 'g')",
    )
    .await?;
    connector.wait(|connector| connector.status.view().phase == Phase::Refused).await?;
    let why = connector.unready().unwrap_or_default();
    for words in ["lims.result has a new shape", "value: long → string", "accept-schema CONFIG clinic lims.result"] {
        assert!(why.contains(words), "{why}");
    }
    assert_eq!(inserts(&bench.log(|items| inserts(items) >= 7).await?), 7, "nothing is written under the new shape");
    // Looked at again, it is no more ready than before.
    want(&bench, |desired| desired.paused = false).await?;
    for _ in 0..60 {
        assert!(!connector.health.ready() && connector.status.view().phase == Phase::Refused, "it flickers");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let registry = Registry::new(&bench.registry_settings())?;
    let [envelope, _] = connector_postgres::subjects(SOURCE, "lims", "result");
    let (after, _) = registry.latest(&envelope).await?.expect("a shape");
    want(&bench, |desired| desired.accept(&envelope, after)).await?;
    // The next shape is one that the table has had before: it passes by itself.
    connector.wait_ready().await?;
    let items = bench.log(|items| inserts(items) == 9).await?;
    assert_eq!(inserts(&items), 9, "nothing was lost or told twice");
    connector.stop().await
}
