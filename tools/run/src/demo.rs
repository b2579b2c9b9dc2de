//! `./run demo`: the command line of the demo.

use anyhow::Context;
use proof::{checks, demo};
use std::{path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(clap::Args)]
pub struct Arguments {
    /// Stop after so many seconds of live traffic, check every invariant, and exit non-zero if one fails.
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Changes a second that the simulated clinics make.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub rate: u32,
    /// No progress bars, no waiting for anybody: for scripts.
    #[arg(long)]
    pub headless: bool,
    /// Write the report here as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// People whose histories are loaded first.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub people: u64,
    /// The same seed makes the same people.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(file) = &arguments.report {
        checks::writable(file)?;
    }
    let options = demo::Options {
        folder: stack::local().join("demo"),
        seconds: arguments.seconds,
        rate: f64::from(arguments.rate),
        headless: arguments.headless,
        people: arguments.people,
        seed: arguments.seed,
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    runtime.block_on(async {
        let report = demo::run(&options, on_signal()?).await?;
        let Some(report) = report else { return Ok(ExitCode::SUCCESS) };
        report.print();
        if let Some(file) = &arguments.report {
            report.write(file)?;
        }
        Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Cancelled by Ctrl-C or SIGTERM.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        signalled.cancel();
    });
    Ok(stop)
}
