//! A source where nothing happens: silence is not a broken link.

use super::capture_stack::{Bench, SOURCE};
use change_log::{ControlBody, Item};
use std::time::Duration;

const SCHEMA: &str = "create schema lims; create table lims.result (id bigint primary key, note text)";
/// Three times what the server and the connector wait for each other.
const IDLE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_source_stays_connected() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    bench.database.execute(SOURCE, "alter system set wal_sender_timeout = '4s'").await?;
    bench.database.execute(SOURCE, "select pg_reload_conf()").await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let before = sessions(&bench.log(|items| sessions(items) > 0).await?);
    tokio::time::sleep(IDLE).await;
    let client = bench.database.connect(SOURCE).await?;
    client.execute("insert into lims.result values (1, 'after the silence')", &[]).await?;
    let items = bench.log(|items| items.iter().any(|item| matches!(item, Item::Entry(_)))).await?;
    assert_eq!(sessions(&items), before, "the connector took the silence for a broken link");
    connector.stop().await
}

fn sessions(items: &[Item]) -> usize {
    let session =
        |item: &&Item| matches!(item, Item::Control(control) if matches!(control.body, ControlBody::Session(_)));
    items.iter().filter(session).count()
}
