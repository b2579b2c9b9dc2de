//! Another revision that means the same tells nothing; a log that was lost and began anew is told in a generation of its
//! own, and what its first snapshot does not show is taken back.

use super::{Log, Normaliser, PATIENCE, SOURCES, events, mapping_file, patient};
use anyhow::{Context, ensure};
use change::{Batch, Lsn, Position, Sink};
use change_log::{
    KafkaSettings, Records, Registry,
    control::{SNAPSHOT, Snapshot},
    frame,
    header::Kind,
};
use event::{Action, PatientEvent, Place};
use rdkafka::{
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

pub const LOST: &str = SOURCES[0];
/// As a connector fixes it, far beyond the first one's.
pub const EPOCH: u32 = 1_764_000_000;

impl Log {
    pub async fn control(&mut self, registry: &Registry, kind: Kind, tables: &[&str]) -> anyhow::Result<()> {
        self.commit += 0x10;
        let record = Snapshot {
            snapshot: "first".into(),
            table: None,
            rows: 0,
            lsn: Lsn(self.commit),
            at: 1_766_000_000_000_000,
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            partial: false,
            state: None,
        };
        let id = registry.register(SNAPSHOT.name, SNAPSHOT.text).await?;
        let mut records = Records::default();
        records.buffer().extend_from_slice(kind.name().as_bytes());
        records.end_part();
        frame::start(id, records.buffer());
        record.encode(records.buffer());
        records.close(kind, Position::new(self.epoch, Lsn(self.commit), 1), false);
        records.end_commit(Lsn(self.commit + 8));
        self.writer.enqueue(Batch { items: vec![records], upto: self.commit }).await?;
        while self.writer.durable().await?.point() < self.commit {}
        Ok(())
    }
}

/// Records of the source that are shown, by the rule of places.
pub fn shown(events: &[PatientEvent], source: &str) -> BTreeSet<String> {
    let mut newest: BTreeMap<String, (Place, bool)> = BTreeMap::new();
    for event in events.iter().filter(|event| event.patient.source == source) {
        let key = format!("{} of {}", event.record, event.patient.id);
        let known = newest.entry(key).or_default();
        if event.place() > known.0 {
            *known = (event.place(), event.action != Action::Retracted);
        }
    }
    newest.into_iter().filter(|(_, (_, live))| *live).map(|(key, _)| key).collect()
}

fn generations(events: &[PatientEvent], source: &str) -> BTreeSet<u32> {
    events.iter().filter(|event| event.patient.source == source).map(|event| event.generation).collect()
}

pub async fn what_was_told(kafka: &KafkaSettings, registry: &Registry, folder: &Path) -> anyhow::Result<()> {
    let before = events(kafka)?;
    let first = generations(&before, LOST);
    ensure!(first.len() == 1 && !first.contains(&0), "a source that is new has a generation: {first:?}");

    let text = std::fs::read_to_string(mapping_file())?;
    let line = text.lines().find(|line| line.starts_with("revision")).context("a revision")?;
    let raised = folder.join("raised.toml");
    std::fs::write(&raised, text.replacen(line, "revision = 99", 1))?;
    let normaliser = Normaliser::new(kafka, registry);
    let running = normaliser.start_with(&raised);
    let fixed = async |generations: usize| -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = BTreeSet::new();
        while seen.len() < generations {
            ensure!(Instant::now() < deadline, "no further generation was fixed: {seen:?}");
            let lives = change_log::signal::lives::read(kafka, LOST).await?;
            seen.extend(first.iter().copied().chain(lives.generation.map(|generation| generation.number)));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    };
    fixed(2).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    running.abort();
    let _ = running.await;
    ensure!(
        events(kafka)?.len() == before.len(),
        "a revision that means the same told {}",
        events(kafka)?.len() - before.len()
    );

    // The log is lost, and begins anew with what is there: one patient.
    let admin: AdminClient<DefaultClientContext> = kafka.client().create()?;
    let topic = kafka.topic(&change_log::topics::changes_topic(LOST));
    admin.delete_topics(&[topic.as_str()], &AdminOptions::new()).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let deadline = Instant::now() + PATIENCE;
    let mut log = loop {
        match Log::open_in(kafka, registry, LOST, EPOCH).await {
            Ok(log) => break log,
            // A busy broker deletes late: the topic is there still, or half of it.
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(500)).await,
            Err(error) => return Err(error),
        }
    };
    let tables: Vec<String> = log.schemas.keys().cloned().collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    log.control(registry, Kind::SnapshotBegin, &tables).await?;
    patient(&mut log, 1).await?;
    log.control(registry, Kind::SnapshotEnd, &tables).await?;
    let kept = shown(&before, LOST);
    ensure!(kept.len() > 100, "{} records were shown", kept.len());
    let running = normaliser.start_with(&raised);
    let deadline = Instant::now() + PATIENCE;
    let left = loop {
        let left = shown(&events(kafka)?, LOST);
        if left.len() == 1 || Instant::now() > deadline {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    ensure!(left.iter().map(String::as_str).eq(["patient/1 of 1"]), "{} records are left", left.len());
    running.abort();
    let _ = running.await;
    let after = events(kafka)?;
    let ids: BTreeSet<String> = after.iter().map(PatientEvent::id).collect();
    ensure!(ids.len() == after.len(), "{} told twice", after.len() - ids.len());
    ensure!(shown(&after, SOURCES[1]) == shown(&before, SOURCES[1]), "the other source is what it was");
    Ok(())
}
