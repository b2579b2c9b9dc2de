//! `./run bench`: the command line of the benches.

use crate::demo;
use anyhow::Context;
use proof::{bench_capture, bench_latency, checks};
use std::{path::PathBuf, process::ExitCode};

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Name {
    /// Draining a backlog of changes, against `pg_recvlogical`.
    Capture,
    /// From a commit in the source to the alert in a browser.
    Latency,
}

#[derive(clap::Args)]
pub struct Arguments {
    /// What to measure.
    #[arg(value_enum)]
    pub name: Name,
    /// Changes a second that the sources take meanwhile.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub rate: u32,
    /// Write the report here as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Measure this product in the same run, too.
    #[arg(long, value_name = "NAME")]
    pub peer: Option<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(peer) = &arguments.peer {
        anyhow::bail!("the peer `{peer}` cannot be measured: no peer is built in yet");
    }
    if let Some(file) = &arguments.report {
        checks::writable(file)?;
    }
    let folder = stack::local().join("bench");
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let report = runtime.block_on(async {
        let stop = demo::on_signal()?;
        let say = |text: &str| println!("{text}");
        tokio::select! {
            () = stop.cancelled() => anyhow::bail!("stopped"),
            report = async {
                match arguments.name {
                    Name::Capture => bench_capture::run(&folder, say).await,
                    Name::Latency => bench_latency::run(&folder, f64::from(arguments.rate), say).await,
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
