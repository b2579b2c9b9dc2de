//! While a table that the mapping uses is left out by its connector, the source does not count as level; it does again once
//! the table has been read anew, not before.

use super::{
    Normaliser,
    aged::wait,
    lost::{EPOCH, LOST},
    patient, topic,
};
use crate::Log;
use anyhow::ensure;
use boot::health::Health;
use change_log::{
    KafkaSettings, Registry,
    header::Kind,
    signal::{Aside, aside},
    told::{self, Told},
};
use std::{path::Path, time::Duration};

/// Beyond all commits so far.
const COMMIT: u64 = 0x20_0000;
/// It is said how far a source is within less.
const SAID_WITHIN: Duration = Duration::from_secs(4);

pub async fn is_not_level(kafka: &KafkaSettings, registry: &Registry, folder: &Path) -> anyhow::Result<()> {
    let said = || -> anyhow::Result<usize> {
        let told = topic(kafka, told::TOPIC)?.into_iter().filter_map(|(_, value)| Told::decode(&value));
        Ok(told.filter(|told| told.source == LOST).count())
    };
    let table = |name: &str| Aside { schema: "lims".into(), name: name.into(), ..Aside::default() };
    // A table of which no record is made changes nothing.
    aside::add(kafka, LOST, &table("note")).await?;
    let (normaliser, health) = (Normaliser::new(kafka, registry), Health::new());
    let running = normaliser.start_seen(&folder.join("raised.toml"), health.clone());
    let part = format!("normaliser-{LOST}");
    let why = || health.parts().get(&part).cloned().flatten();
    let mut log = Log::open_in(kafka, registry, LOST, EPOCH).await?;
    log.commit = COMMIT;
    let before = said()?;
    patient(&mut log, 1).await?;
    wait("level", || Ok(said()? > before && health.parts().contains_key(&part) && why().is_none())).await?;

    aside::add(kafka, LOST, &table("result")).await?;
    tokio::time::sleep(SAID_WITHIN).await;
    let level = said()?;
    for struck in [false, true] {
        if struck {
            aside::strike(kafka, LOST, &[table("result")]).await?;
        }
        patient(&mut log, 1).await?;
        wait("what is left out", || {
            Ok(why().is_some_and(|why| why.contains("lims.result left out") && !why.contains("lims.note")))
        })
        .await?;
        tokio::time::sleep(SAID_WITHIN).await;
        ensure!(said()? == level, "it counts as level; struck out: {struck}");
    }
    log.control(registry, Kind::SnapshotBegin, &["lims.result"]).await?;
    log.control(registry, Kind::SnapshotEnd, &["lims.result"]).await?;
    patient(&mut log, 1).await?;
    wait("level again", || Ok(said()? > level && why().is_none())).await?;
    running.abort();
    let _ = running.await;
    Ok(())
}
