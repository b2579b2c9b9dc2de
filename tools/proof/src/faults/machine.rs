//! What machines do: their disks fill up, and their clocks jump.

use super::{
    Scale,
    load::Load,
    yard::{Start, Yard},
};
use crate::report::Report;
use anyhow::{Context, ensure};
use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const ROWS: u64 = 200;
const CALM: Duration = Duration::from_millis(800);
/// Small disks, and large enough to start on.
const DATABASE_DISK: &str = "size=320m";
const KAFKA_DISK: &str = "size=320m";
const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// A file system in memory, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path, size: &str) -> anyhow::Result<Self> {
        let mut command = Command::new("mount");
        let output = command.args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(folder).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Self(folder.to_owned()))
    }

    /// Takes what is left of the disk.
    fn fill(&self) -> anyhow::Result<PathBuf> {
        let ballast = self.0.join("ballast");
        let mut file = File::create(&ballast)?;
        let block = vec![0; 256 * 1024];
        while file.write_all(&block).is_ok() {}
        Ok(ballast)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still writes there is being killed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The disk of the database is full for a while, then Kafka's. A yard of its own, because both may break.
pub async fn disks(folder: &Path, scale: &Scale, seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut disks = Vec::new();
    let mounted = Yard::start(folder, |database, kafka| {
        disks.push(Disk::mount(database, DATABASE_DISK)?);
        disks.push(Disk::mount(kafka, KAFKA_DISK)?);
        Ok(())
    });
    let mut yard = mounted.await.context("a small disk can be mounted by root only")?;
    let mut source = yard.source(ROWS).await?;
    let connector = source.ready_connector().await?;
    let load = Load::start(&yard.database.config(&source.name)?, seed);
    tokio::time::sleep(CALM).await;
    let (mut refused, mut ended) = (false, false);
    let ballast = disks[0].fill()?;
    tokio::time::sleep(scale.full).await;
    let filler = "create table other.filler as select repeat('x', 100000) from generate_series(1, 2000)";
    refused |= yard.database.execute(&source.name, filler).await.is_err();
    std::fs::remove_file(ballast)?;
    if yard.database.exited()?.is_some() {
        ended = true;
        yard.database.restart().await?;
    }
    tokio::time::sleep(CALM).await;
    let ballast = disks[1].fill()?;
    tokio::time::sleep(scale.full).await;
    std::fs::remove_file(ballast)?;
    let kafka_ended = yard.kafka.exited()?.is_some();
    if kafka_ended {
        yard.kafka.restart().await?;
    }
    tokio::time::sleep(CALM).await;
    let committed = load.stop().await;
    let verdict = yard.judge(source, connector).await.context("after full disks")?;
    let detail = format!(
        "the database refused: {refused}, ended: {ended}; Kafka ended: {kafka_ended}; {committed} transactions: {}",
        verdict.text()
    );
    report.check("disks_full", verdict.ok() && (refused || ended), &detail);
    yard.stop().await
}

/// The wall clock of the connector's machine jumps while it streams, and it is killed at the wrong time and started again at the right one.
pub async fn clocks(yard: &mut Yard, seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let library = FAKETIME.into_iter().find(|library| Path::new(library).exists());
    let library = library.context("no libfaketime: apt-get install faketime")?;
    let mut source = yard.source(ROWS).await?;
    let clock = yard.file("clock");
    std::fs::write(&clock, "+0")?;
    let environment = || {
        vec![
            ("LD_PRELOAD", library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // As on real machines: steps move the wall clock alone.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    };
    let mut connector = source.connector(&Start { environment: environment(), ..Start::default() })?;
    connector.wait_ready().await?;
    let load = Load::start(&yard.database.config(&source.name)?, seed);
    let jumps = ["+1h", "-3h", "+0", "-20y", "+30y"];
    for jump in jumps {
        tokio::time::sleep(CALM).await;
        std::fs::write(&clock, jump)?;
    }
    tokio::time::sleep(CALM).await;
    connector.kill_9()?;
    std::fs::write(&clock, "+0")?;
    let mut connector = source.connector(&Start { environment: environment(), ..Start::default() })?;
    connector.wait_ready().await?;
    tokio::time::sleep(CALM).await;
    load.stop().await;
    let verdict = yard.judge(source, connector).await.context("after clock jumps")?;
    report.check(
        "clock_jumps",
        verdict.ok(),
        &format!("{}, then killed and started again: {}", jumps.join(", "), verdict.text()),
    );
    Ok(())
}
