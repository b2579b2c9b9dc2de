//! The `.avsc` files are what is on the wire: registered as written, under the subjects that the contract names, and every
//! message of ours is read with them.

use super::region::{Shared, shared, until};
use anyhow::{Context, ensure};
use apache_avro::Schema;
use proof::{running::http, topic};
use rdkafka::Message;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Subject and file.
const SUBJECTS: [(&str, &str); 8] = [
    ("patient.events-value", "patient_event"),
    ("person.links-value", "person_link"),
    ("quarantine-value", "quarantined"),
    ("patient.alerts-value", "patient_alert"),
    ("audit-value", "audit_entry"),
    ("causeway.Session", "session"),
    ("causeway.Progress", "progress"),
    ("causeway.Snapshot", "snapshot"),
];
const CHANGES: [&str; 2] = ["changes.riverside", "changes.stmarys"];

fn file(name: &str) -> anyhow::Result<String> {
    let path = stack::repository().join("schemas").join(format!("{name}.avsc"));
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

async fn get(url: &str) -> anyhow::Result<Value> {
    let answer = http().get(url).send().await?.error_for_status().with_context(|| format!("GET {url}"))?;
    Ok(answer.json().await?)
}

/// Gives every topic something to say: reads that are audited, and WAL without a change of ours, which is progress.
async fn traffic(shared: &Shared) -> anyhow::Result<()> {
    let running = &shared.running;
    proof::access::check(running, &running.own().await?).await?;
    let noise = "create table if not exists public.noise (n int); insert into public.noise values (1)";
    running.source("riverside").await?.batch_execute(noise).await?;
    let (brokers, registry) = (running.region.kafka.brokers().to_owned(), running.region.registry.url());
    until("the audit and progress are told", async || {
        let subjects: Vec<String> = serde_json::from_value(get(&format!("{registry}/subjects")).await?)?;
        let progress = subjects.iter().any(|subject| subject == "causeway.Progress");
        Ok((progress && !all(&brokers, "audit").await?.is_empty()).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_registered_as_written_and_backward() -> anyhow::Result<()> {
    let shared = shared().await?;
    traffic(&shared).await?;
    let registry = shared.running.region.registry.url();
    for (subject, name) in SUBJECTS {
        let written: Value = serde_json::from_str(&file(name)?)?;
        let answer = get(&format!("{registry}/subjects/{subject}/versions/latest")).await?;
        let registered: Value = serde_json::from_str(answer["schema"].as_str().context("no schema")?)?;
        ensure!(registered == written, "{subject} is not schemas/{name}.avsc");
    }
    let all: Vec<String> = serde_json::from_value(get(&format!("{registry}/subjects")).await?)?;
    let ours = all.iter().filter(|subject| !subject.starts_with("io.debezium."));
    for subject in ours {
        let level = get(&format!("{registry}/config/{subject}")).await?;
        ensure!(level["compatibilityLevel"] == "BACKWARD", "{subject} is {level}");
    }
    for wanted in
        ["riverside.emis.observation.Envelope", "riverside.emis.observation.Key", "stmarys.lims.result.Envelope"]
    {
        ensure!(all.iter().any(|subject| subject == wanted), "no subject {wanted} among {all:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_read_with_the_written_schema() -> anyhow::Result<()> {
    let shared = shared().await?;
    traffic(&shared).await?;
    let (brokers, registry) = (shared.running.region.kafka.brokers().to_owned(), shared.running.region.registry.url());
    for (subject, name) in SUBJECTS {
        let Some(topic) = subject.strip_suffix("-value") else { continue };
        let id =
            get(&format!("{registry}/subjects/{subject}/versions/latest")).await?["id"].as_u64().context("no id")?;
        let schema = Schema::parse_str(&file(name)?)?;
        let read = all(&brokers, topic).await?;
        let (ours, others): (Vec<_>, Vec<_>) = read.iter().partition(|(written, _)| u64::from(*written) == id);
        // Foreign messages of another test are few, and framed with ids that are not this topic's.
        ensure!(ours.len() > others.len(), "{topic}: {} messages of ours, {} of others", ours.len(), others.len());
        let unread = ours.iter().filter(|(_, datum)| topic::decode(&schema, datum).is_err()).count();
        ensure!(unread <= FOREIGN_MAX, "{topic}: {unread} of {} messages do not fit schemas/{name}.avsc", ours.len());
    }
    Ok(())
}

/// Malformed messages that another test of this group puts on a topic, under the right id.
const FOREIGN_MAX: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_framed_with_registered_schemas() -> anyhow::Result<()> {
    let shared = shared().await?;
    let (brokers, registry) = (shared.running.region.kafka.brokers().to_owned(), shared.running.region.registry.url());
    for topic in CHANGES {
        let read = all(&brokers, topic).await?;
        let ids: BTreeSet<u32> = read.iter().map(|(id, _)| *id).collect();
        let mut schemas = BTreeMap::new();
        for id in &ids {
            let answer = get(&format!("{registry}/schemas/ids/{id}")).await?;
            schemas.insert(*id, Schema::parse_str(answer["schema"].as_str().context("no schema")?)?);
        }
        let names: BTreeSet<String> =
            schemas.values().filter_map(|s| s.name().map(|name| name.fullname(None))).collect();
        for wanted in ["causeway.Session", "causeway.Snapshot"] {
            ensure!(names.contains(wanted), "{topic}: no record of {wanted} among {names:?}");
        }
        ensure!(
            names.iter().filter(|name| name.ends_with(".Envelope")).count() > 3,
            "{topic}: envelopes among {names:?}"
        );
        let unread = read.iter().filter(|(id, datum)| topic::decode(&schemas[id], datum).is_err()).count();
        ensure!(unread <= FOREIGN_MAX, "{topic}: {unread} of {} records do not fit their schema", read.len());
    }
    Ok(())
}

/// The framed messages of a topic: schema id and datum.
async fn all(brokers: &str, topic: &str) -> anyhow::Result<Vec<(u32, Vec<u8>)>> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        topic::read(&brokers, &topic, |message| {
            all.extend(message.payload().and_then(topic::unframe).map(|(id, datum)| (id, datum.to_vec())));
            Ok(())
        })?;
        Ok(all)
    })
    .await?
}
