//! `./run soak`: the command line of the long run.

use crate::demo;
use anyhow::Context;
use proof::{checks, soak};
use std::{path::PathBuf, process::ExitCode, time::Instant};

#[derive(clap::Args)]
pub struct Arguments {
    /// How long the clinics work.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// Changes a second over both clinics.
    #[arg(long, value_name = "N", default_value_t = 200)]
    rate: u32,
    /// People whose histories are loaded first.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    people: u64,
    /// The same seed makes the same people.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the report here as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(file) = &arguments.report {
        checks::writable(file)?;
    }
    let options = soak::Options {
        folder: stack::local().join("soak"),
        minutes: arguments.minutes,
        rate: f64::from(arguments.rate),
        people: arguments.people,
        seed: arguments.seed,
    };
    let began = Instant::now();
    let say = |text: &str| println!("[{:>7.1}s] {text}", began.elapsed().as_secs_f64());
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let report = runtime.block_on(async { soak::run(&options, demo::on_signal()?, say).await })?;
    report.print();
    if let Some(file) = &arguments.report {
        report.write(file)?;
    }
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
