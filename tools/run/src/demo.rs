//! `./run demo`: the command line of the demo.

use std::{path::PathBuf, process::ExitCode};

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
}

pub fn run(_arguments: &Arguments) -> anyhow::Result<ExitCode> {
    eprintln!("./run: the demo is not built yet");
    Ok(ExitCode::from(2))
}
