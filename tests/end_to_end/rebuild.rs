//! Views that are wiped and built again from the topics are the same rows, and nobody is alerted again.

use super::region::{shared, until};
use anyhow::ensure;
use std::time::Duration;
use tokio_postgres::Client;

/// So long without a change, nothing is on its way any more.
const QUIET: Duration = Duration::from_secs(3);

async fn checksum(own: &Client) -> anyhow::Result<String> {
    Ok(own.query_one("select record.checksum()", &[]).await?.get(0))
}

/// Rows of the record, and a digest of the alerts.
async fn alerts(own: &Client) -> anyhow::Result<String> {
    let sql = "select md5(coalesce(string_agg(a::text, chr(10) order by a.id), '')) from alert.alert a";
    Ok(own.query_one(sql, &[]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn wiped_views_are_rebuilt_identical() -> anyhow::Result<()> {
    let mut shared = shared().await?;
    let own = shared.running.own().await?;
    let before = until("the record stands still", async || {
        let one = checksum(&own).await?;
        tokio::time::sleep(QUIET).await;
        Ok((one == checksum(&own).await?).then_some(one))
    })
    .await?;
    let raised = alerts(&own).await?;
    shared.running.process("sinks")?.stop().await?;
    ensure!(
        shared.ask(&["views", "checksum"], &[]).await?["checksum"] == before.as_str(),
        "the verb tells another checksum"
    );
    ensure!(shared.ask(&["views", "rebuild"], &["--yes"]).await?["wiped"] == true, "the views were not wiped");
    let rows: i64 = own.query_one("select count(*) from record.observation", &[]).await?.get(0);
    ensure!(rows == 0 && checksum(&own).await? != before, "the views were not wiped");
    shared.running.process("sinks")?.start().await?;
    until("the rebuilt record is the same", async || Ok((checksum(&own).await? == before).then_some(()))).await?;
    // It stays the same: the replay is over, and nothing comes after it.
    tokio::time::sleep(QUIET).await;
    ensure!(checksum(&own).await? == before, "the rebuilt record changed afterwards");
    ensure!(alerts(&own).await? == raised, "the rebuild changed alerts");
    shared.all_well().await
}
