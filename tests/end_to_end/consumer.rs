//! The Python consumer of docs/examples reads `patient.events`, with the libraries that its requirements name.

use super::region::shared;
use anyhow::{Context, ensure};
use proof::topic;
use rdkafka::Message;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::process::Command;

const RUN_WAIT_MAX: Duration = Duration::from_secs(90);
/// A package index may be slow, or refuse for a moment.
const INSTALL_WAIT_MAX: Duration = Duration::from_secs(300);

/// A Python with the example's requirements, kept in `.local` until they change.
async fn python(examples: &Path) -> anyhow::Result<PathBuf> {
    let venv = stack::local().join("venv");
    let (python, stamp) = (venv.join("bin/python"), venv.join("requirements.txt"));
    let wanted = std::fs::read(examples.join("requirements.txt"))?;
    if python.exists() && std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), RUN_WAIT_MAX).await?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "10",
        "--only-binary",
        ":all:",
        "--requirement",
    ]);
    run(install.arg(examples.join("requirements.txt")), INSTALL_WAIT_MAX).await?;
    std::fs::write(stamp, wanted)?;
    Ok(python)
}

/// Standard output and error of a command that ends well.
async fn run(command: &mut Command, wait: Duration) -> anyhow::Result<(String, String)> {
    let output = tokio::time::timeout(wait, command.kill_on_drop(true).output()).await.context("it does not end")??;
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
    ensure!(output.status.success(), "{:?}: {err}", command.as_std());
    Ok((out, err))
}

/// `ce_id` of every message that has one, by partition and offset.
async fn ids(brokers: &str) -> anyhow::Result<BTreeMap<(i64, i64), String>> {
    let brokers = brokers.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut ids = BTreeMap::new();
        topic::read(&brokers, "patient.events", |message| {
            if let Some(id) = topic::header(message, "ce_id") {
                ids.insert((i64::from(message.partition()), message.offset()), id.to_owned());
            }
            Ok(())
        })?;
        Ok(ids)
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_reads_every_event() -> anyhow::Result<()> {
    let examples = stack::repository().join("docs/examples");
    let python = python(&examples).await?;
    let shared = shared().await?;
    let brokers = shared.running.region.kafka.brokers();
    let wanted = ids(brokers).await?;
    ensure!(wanted.len() > 100, "{} events are too few to tell", wanted.len());
    let group = format!("python-{}", shared.seed);
    let mut command = Command::new(python);
    command.arg(examples.join("consume_events.py")).args([
        "--brokers",
        brokers,
        "--registry",
        &shared.running.region.registry.url(),
    ]);
    let (out, err) = run(command.args(["--group", &group, "--until-end", "--bodies"]), RUN_WAIT_MAX).await?;
    let mut read = BTreeMap::new();
    let mut numbers = 0;
    for line in out.lines() {
        let told: Value = serde_json::from_str(line)?;
        let place =
            (told["partition"].as_i64().context("no partition")?, told["offset"].as_i64().context("no offset")?);
        read.insert(place, told["id"].as_str().unwrap_or_default().to_owned());
        // Decimals are text, so that none of them is rounded on the way.
        numbers += usize::from(told["body"]["value"]["number"].is_string());
    }
    for (place, id) in &wanted {
        ensure!(read.get(place) == Some(id), "the event at {place:?} was not read; it said: {err}");
    }
    ensure!(numbers > 0, "no event had a number");
    ensure!(err.contains("records"), "{err}");
    Ok(())
}
