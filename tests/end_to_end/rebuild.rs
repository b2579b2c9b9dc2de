//! Views that are wiped and built again from the topics are the same rows, and nobody is alerted again.

use super::region::{shared, until};
use anyhow::ensure;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio_postgres::Client;

/// So long without a change, nothing is on its way any more.
const QUIET: Duration = Duration::from_secs(3);

async fn checksum(own: &Client) -> anyhow::Result<String> {
    Ok(own.query_one("select record.checksum()", &[]).await?.get(0))
}

/// The alerts by id, with every column but their words: a rebuild knows all evidence at once, and may name more of it.
async fn alerts(own: &Client) -> anyhow::Result<BTreeMap<String, Value>> {
    let rows =
        own.query("select id::text, (to_jsonb(a) - 'headline' - 'detail')::text from alert.alert a", &[]).await?;
    rows.iter().map(|row| Ok((row.get(0), serde_json::from_str(row.get(1))?))).collect()
}

/// Rule and record of each alert that is not as it was, and the columns that differ; never values.
fn changed(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = ids.into_iter().filter(|id| before.get(*id) != after.get(*id));
    let told = |id: &String| match (before.get(id), after.get(id)) {
        (Some(one), Some(other)) => {
            let columns = one.as_object().into_iter().flatten().filter(|(name, value)| other[name.as_str()] != **value);
            let columns: Vec<&String> = columns.map(|(name, _)| name).collect();
            format!("{} of {}: {columns:?} differ", one["rule"], one["record"])
        }
        (Some(one), None) => format!("{} of {} is gone", one["rule"], one["record"]),
        (None, new) => {
            format!("{} of {} is new", new.unwrap_or(&Value::Null)["rule"], new.unwrap_or(&Value::Null)["record"])
        }
    };
    changed.map(told).collect()
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
    let changed = changed(&raised, &alerts(&own).await?);
    ensure!(changed.is_empty(), "the rebuild changed alerts: {changed:#?}");
    shared.all_well().await
}
