//! `./run soak`: a region at work for long, and what grows meanwhile: memory, descriptors, disk.
//!
//! # Why
//! What leaks a little a minute passes every test and ends a process in its third week. Slopes are taken over the second
//! half of the time, by least squares, because a start fills caches and pools.

use crate::{
    checks,
    report::Report,
    running::{Histories, Running},
};
use anyhow::Context;
use region::simulator::Simulator;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often it is looked.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// How often a line is said.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Descriptors come and go with connections; more than this over the second half are a leak.
const DESCRIPTORS_MORE_MAX: f64 = 24.0;

pub struct Options {
    pub folder: PathBuf,
    pub minutes: u64,
    /// Changes a second over both clinics.
    pub rate: f64,
    pub people: u64,
    pub seed: u64,
}

/// What was seen, each at so many seconds after the start.
#[derive(Clone, Debug, Default)]
struct Series(Vec<(f64, f64)>);

impl Series {
    fn add(&mut self, at_s: f64, value: f64) {
        self.0.push((at_s, value));
    }

    fn last(&self) -> f64 {
        self.0.last().map_or(f64::NAN, |(_, value)| *value)
    }

    /// Of the second half, in an hour.
    fn slope_per_h(&self) -> f64 {
        let half = &self.0[self.0.len() / 2..];
        let count = half.len() as f64;
        let mean = |pick: fn(&(f64, f64)) -> f64| half.iter().map(pick).sum::<f64>() / count;
        let (at, value) = (mean(|it| it.0), mean(|it| it.1));
        let above: f64 = half.iter().map(|(x, y)| (x - at) * (y - value)).sum();
        let below: f64 = half.iter().map(|(x, _)| (x - at).powi(2)).sum();
        above / below * 3_600.0
    }

    /// How much more the last quarter has than the third, on average.
    fn more(&self) -> f64 {
        let quarter = self.0.len() / 4;
        let mean = |part: &[(f64, f64)]| part.iter().map(|(_, value)| value).sum::<f64>() / part.len() as f64;
        let (third, last) = (&self.0[2 * quarter..3 * quarter], &self.0[3 * quarter..]);
        mean(last) - mean(third)
    }
}

/// Of one process.
#[derive(Default)]
struct Grown {
    resident_mb: Series,
    descriptors: Series,
}

pub async fn run(options: &Options, stop: CancellationToken, say: impl Fn(&str)) -> anyhow::Result<Report> {
    let histories = Histories { seed: options.seed, people: options.people };
    let mut running = Running::prepare(&options.folder, &histories, |_| {}).await?;
    running.call_witnesses().await?;
    running.launch()?;
    say("waits for the snapshots");
    running.wait_live(|_, _| {}).await?;
    let (gp, hospital) = (running.region.gp.config("riverside")?, running.region.hospital.config("stmarys")?);
    let simulator = Simulator::new(options.seed, gp, hospital, options.rate);
    let (counts, over) = (simulator.counts(), stop.child_token());
    let ends = over.clone();
    let work = tokio::spawn(async move { simulator.run(ends).await });
    let watched = watch(&mut running, options, &stop, || counts().changes_total(), &say).await;
    over.cancel();
    work.await??;
    let (processes, disk, changes) = watched?;
    let mut report = Report::new("soak");
    for (name, grown) in &processes {
        report.figure(&format!("{name}_rss_mb"), grown.resident_mb.last());
        report.figure(&format!("{name}_rss_mb_per_h"), grown.resident_mb.slope_per_h());
        report.figure(&format!("{name}_descriptors"), grown.descriptors.last());
        report.figure(&format!("{name}_descriptors_per_h"), grown.descriptors.slope_per_h());
        let more = grown.descriptors.more();
        report.check(&format!("{name}_keeps_its_descriptors"), more <= DESCRIPTORS_MORE_MAX, &format!("{more:+.1}"));
    }
    report.figure("state_mb", disk.last());
    report.figure("state_mb_per_h", disk.slope_per_h());
    report.figure("changes", changes as f64);
    say("traffic has stopped; draining, then checking");
    checks::all(&mut running, &mut report).await?;
    running.stop().await?;
    Ok(report)
}

type Watched = (BTreeMap<&'static str, Grown>, Series, u64);

async fn watch(
    running: &mut Running,
    options: &Options,
    stop: &CancellationToken,
    changes: impl Fn() -> u64,
    say: impl Fn(&str),
) -> anyhow::Result<Watched> {
    let (began, mut said) = (Instant::now(), Instant::now());
    let (mut processes, mut disk): (BTreeMap<&'static str, Grown>, Series) = Default::default();
    let state = options.folder.join("state");
    while began.elapsed() < Duration::from_secs(options.minutes * 60) {
        tokio::select! {
            () = stop.cancelled() => anyhow::bail!("stopped"),
            () = tokio::time::sleep(SAMPLE_EVERY) => {}
        }
        let at = began.elapsed().as_secs_f64();
        for (name, process) in &mut running.processes {
            anyhow::ensure!(process.part.exited()?.is_none(), "{name} ended; see {}", process.part.log().display());
            let pid = process.part.pid().with_context(|| format!("{name} is gone"))?;
            let grown = processes.entry(name).or_default();
            grown.resident_mb.add(at, resident_mb(pid)?);
            grown.descriptors.add(at, std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as f64);
        }
        disk.add(at, bytes_in(&state)? as f64 / 1e6);
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let one = |(name, grown): (&&str, &Grown)| {
                format!("{name} {:.0} MB, {} descriptors", grown.resident_mb.last(), grown.descriptors.last())
            };
            let all: Vec<String> = processes.iter().map(one).collect();
            say(&format!("{} changes; {}; state {:.0} MB", changes(), all.join("; "), disk.last()));
        }
    }
    Ok((processes, disk, changes()))
}

fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kb / 1024.0)
}

/// Of all files below; what goes meanwhile counts nothing.
fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += bytes_in(&entry.path()).unwrap_or_default(),
            Ok(metadata) => bytes += metadata.len(),
            Err(_) => {}
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: impl Fn(f64) -> f64) -> Series {
        Series((0..100).map(|at| (f64::from(at) * 5.0, values(f64::from(at) * 5.0))).collect())
    }

    #[test]
    fn a_slope_is_of_the_second_half_and_in_an_hour() {
        let leaks = series(|at_s| 40.0 + at_s / 3_600.0 * 12.0);
        assert!((leaks.slope_per_h() - 12.0).abs() < 1e-6, "{}", leaks.slope_per_h());
        let warms_up = series(|at_s| at_s.min(200.0));
        assert!(warms_up.slope_per_h().abs() < 1e-6, "{}", warms_up.slope_per_h());
        let noise = series(|at_s| if (at_s as u64).is_multiple_of(2) { 10.0 } else { 12.0 });
        assert!(noise.more().abs() < 0.5 && series(|at_s| at_s).more() > 100.0);
    }

    #[test]
    fn what_this_process_holds_is_seen() {
        assert!(resident_mb(std::process::id()).unwrap() > 1.0);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("in/it"), [0; 100]).unwrap();
        assert_eq!(bytes_in(folder.path()).unwrap(), 100);
    }
}
