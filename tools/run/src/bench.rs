//! `./run bench`: the command line of the benches.

use crate::demo;
use anyhow::Context;
use proof::{
    bench::{self, Options},
    checks,
};
use std::{path::PathBuf, process::ExitCode};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// Draining a backlog of changes, against `pg_recvlogical`.
    Capture,
    /// From a commit to its change in a Kafka consumer's hands, against a client that tells Kafka itself.
    CaptureLatency,
    /// The first reading of a table, against `COPY … TO STDOUT`.
    Snapshot,
    /// From a backlog of changes to coded events, against a bare read, decode, encode and produce of the same records.
    Normalise,
    /// From a commit in the source to the alert in a browser.
    Latency,
    /// Who is one person, of a generated population, and how many records a second the linker takes.
    Linkage,
    /// One process with many sources: how long until all are level, and what it holds then.
    Sources,
    /// A generated release of full size, loaded and asked, against a bare read of its files.
    Terminology,
    /// Results coded and converted by the lab table on one core, against a bare look-up and product of the same values.
    Units,
}

#[derive(clap::Args)]
pub struct Arguments {
    /// What to measure.
    #[arg(value_enum)]
    pub name: Name,
    /// Rows: of the backlog (500,000 unless told), of the snapshot (1,500,000), of each backlog of `normalise` (300,000), the sources of `sources` (500), the persons that `linkage` knows (3,000,000), the concepts of `terminology` (1,150,000), of the large transaction (5,000,000).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: Option<u64>,
    /// Rounds, of which the median is told; each measures its floor, too. Three unless told, one for `capture-latency`;
    /// `capture`, `snapshot` and `normalise` warm up with one more, not counted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=bench::REPEAT_MAX as i64))]
    pub repeat: Option<u8>,
    /// Changes a second that the sources take: 1,000 unless told for `capture-latency`, 500 for `latency`.
    #[arg(long, value_name = "N")]
    pub rate: Option<u32>,
    /// How long `capture-latency` measures.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub seconds: u32,
    /// With `capture`: what stays resident while one transaction of millions of rows and a row of 50 MB pass.
    #[arg(long)]
    pub large: bool,
    /// Write the report here as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Measure this product in the same run, too.
    #[arg(long, value_enum, value_name = "NAME")]
    pub peer: Option<Peer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// Debezium's connector in a Kafka Connect worker, which `./run` then fetches. Not with `--large`, `normalise` or `latency`.
    Debezium,
}

impl Arguments {
    fn options(&self) -> Options {
        let (rate, repeat) = match self.name {
            Name::CaptureLatency => (bench::capture_latency::RATE, 1),
            Name::Capture
            | Name::Snapshot
            | Name::Normalise
            | Name::Latency
            | Name::Linkage
            | Name::Sources
            | Name::Terminology
            | Name::Units => (bench::latency::RATE, 3),
        };
        Options {
            folder: stack::local().join("bench"),
            rows: self.rows,
            repeat: usize::from(self.repeat.unwrap_or(repeat)),
            rate: self.rate.unwrap_or(rate),
            seconds: self.seconds,
            debezium: self.peer == Some(Peer::Debezium),
        }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!arguments.large || arguments.name == Name::Capture, "--large goes with `capture`");
    let alone = arguments.large
        || matches!(
            arguments.name,
            Name::Latency | Name::Linkage | Name::Normalise | Name::Sources | Name::Terminology | Name::Units
        );
    anyhow::ensure!(!alone || arguments.peer.is_none(), "no peer does this");
    if let Some(file) = &arguments.report {
        checks::writable(file)?;
    }
    let options = arguments.options();
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let report = runtime.block_on(async {
        let stop = demo::on_signal()?;
        let say = |text: &str| println!("{text}");
        tokio::select! {
            () = stop.cancelled() => anyhow::bail!("stopped"),
            report = async {
                match arguments.name {
                    Name::Capture if arguments.large => bench::large::run(&options, say).await,
                    Name::Capture => bench::capture::run(&options, say).await,
                    Name::CaptureLatency => bench::capture_latency::run(&options, say).await,
                    Name::Snapshot => bench::snapshot::run(&options, say).await,
                    Name::Normalise => bench::normalise::run(&options, say).await,
                    Name::Latency => bench::latency::run(&options, say).await,
                    Name::Linkage => bench::linkage::run(&options, say).await,
                    Name::Sources => bench::sources::run(&options, say).await,
                    Name::Units => bench::units::run(&options, say),
                    Name::Terminology => bench::terminology::run(&options, say).await,
                }
            } => report,
        }
    })?;
    report.print();
    if let Some(file) = &arguments.report {
        report.write(file)?;
    }
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
