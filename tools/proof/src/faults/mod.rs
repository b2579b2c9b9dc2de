//! Faults on purpose: what breaks, halts, fills up, jumps or lies to whom, and afterwards the log is held against what
//! the witness saw. Short in the tests, long by `./run faults`.
//!
//! # Why
//! Each act has a source of its own, so that acts follow one another on one yard of components; starting those costs
//! more than most acts. Nothing here is timed, only counted: zero lost, zero duplicated, order kept.

mod fold;
pub mod halts;
mod kills;
mod large;
mod links;
mod load;
mod machine;
mod members;
mod outages;
mod planted;
mod takeover;
mod yard;

pub use kills::points;

use crate::report::Report;
use anyhow::Context;
use std::{
    path::Path,
    time::{Duration, Instant},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The connector is killed at its failpoints.
    Kills,
    /// The database is stopped at once in the middle of a large COPY.
    Copy,
    /// Kafka is killed, halted, and away.
    Kafka,
    /// Latency, cuts, half-open and one-way links, late and lost answers.
    Links,
    /// A second connector; a frozen one that wakes up.
    Takeover,
    /// Full disks.
    Disks,
    /// Clock jumps.
    Clocks,
    /// Several processes share sources: they come, go, are killed and frozen. Not in the tests: its long form still loses
    /// records.
    Members,
    /// A planted loss and a planted repetition are found.
    Planted,
    /// Kafka halts again and again under a whole region. Not in the tests: their region is halted, too.
    Halts,
}

impl Act {
    /// What the tests perform, in their short form.
    pub const ALL: [Self; 8] =
        [Self::Planted, Self::Takeover, Self::Copy, Self::Kafka, Self::Links, Self::Clocks, Self::Disks, Self::Kills];
    /// And what takes a region of its own.
    pub const LONG: [Self; 10] = [
        Self::Planted,
        Self::Takeover,
        Self::Copy,
        Self::Kafka,
        Self::Links,
        Self::Clocks,
        Self::Disks,
        Self::Kills,
        Self::Members,
        Self::Halts,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Kills => "kills",
            Self::Copy => "copy",
            Self::Kafka => "kafka",
            Self::Links => "links",
            Self::Takeover => "takeover",
            Self::Disks => "disks",
            Self::Clocks => "clocks",
            Self::Members => "members",
            Self::Planted => "planted",
            Self::Halts => "halts",
        }
    }
}

/// How long and how large.
#[derive(Clone, Debug)]
pub struct Scale {
    pub kill_runs: u64,
    pub copy_rows: u64,
    /// How often Kafka is halted, and for how long.
    pub halts: u64,
    pub halt_min: Duration,
    pub halt_max: Duration,
    /// How long Kafka is away.
    pub away: Duration,
    /// How long a link is slow or silent.
    pub silent: Duration,
    /// How long a disk is full.
    pub full: Duration,
    /// How long members come and go, and how long they are left alone between.
    pub members_for: Duration,
    pub members_every: (Duration, Duration),
}

impl Scale {
    pub const fn short() -> Self {
        let seconds = Duration::from_secs;
        Self {
            kill_runs: 7,
            copy_rows: 100_000,
            halts: 2,
            // Longer than the broker's session, so that it comes back without knowing itself.
            halt_min: seconds(4),
            halt_max: seconds(7),
            away: seconds(3),
            silent: seconds(2),
            full: seconds(3),
            members_for: seconds(60),
            members_every: (seconds(4), seconds(6)),
        }
    }

    pub const fn long(kill_runs: u64) -> Self {
        let seconds = Duration::from_secs;
        Self {
            kill_runs,
            copy_rows: 1_000_000,
            halts: 20,
            halt_min: seconds(2),
            halt_max: seconds(30),
            away: seconds(150),
            silent: seconds(15),
            full: seconds(20),
            members_for: seconds(600),
            members_every: (seconds(15), seconds(25)),
        }
    }
}

/// Performs the acts one after the other in an empty `folder`.
pub async fn run(
    folder: &Path,
    acts: &[Act],
    scale: &Scale,
    seed: u64,
    mut say: impl FnMut(&str),
) -> anyhow::Result<Report> {
    say(&format!("seed {seed}"));
    let mut report = Report::new("faults");
    let mut yard = yard::Yard::start(folder, |_, _| Ok(())).await?;
    for act in acts {
        say(&format!("{}: starts", act.name()));
        let (began, checked) = (Instant::now(), report.checks().len());
        let done = perform(*act, &mut yard, scale, seed, &mut report, &mut say).await;
        done.with_context(|| format!("{} of seed {seed}; logs in {}", act.name(), folder.display()))?;
        for check in &report.checks()[checked..] {
            say(&format!("{} {}: {}", if check.ok { "ok    " } else { "FAILED" }, check.name, check.detail));
        }
        let seconds = began.elapsed().as_secs_f64().round();
        say(&format!("{}: over after {seconds} s", act.name()));
        report.figure(&format!("{}_seconds", act.name()), seconds);
        yard.heal();
    }
    yard.stop().await?;
    Ok(report)
}

async fn perform(
    act: Act,
    yard: &mut yard::Yard,
    scale: &Scale,
    seed: u64,
    report: &mut Report,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    match act {
        Act::Kills => kills::run(yard, scale.kill_runs, seed, report, say).await,
        Act::Copy => outages::copy(yard, scale, report).await,
        Act::Kafka => outages::kafka(yard, scale, seed, report, say).await,
        Act::Links => links::run(yard, scale, seed, report).await,
        Act::Takeover => {
            takeover::second(yard, seed, report).await?;
            takeover::frozen(yard, seed, report).await
        }
        Act::Disks => machine::disks(&yard.file("small-disks"), scale, seed, report).await,
        Act::Clocks => machine::clocks(yard, seed, report).await,
        Act::Members => members::run(yard, scale, seed, report, say).await,
        Act::Planted => planted::run(yard, report).await,
        Act::Halts => halts::region(&yard.file("region"), scale, seed, report, say).await,
    }
}
