//! `./run bench`: the command line of the benches.

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

pub fn run(_arguments: &Arguments) -> anyhow::Result<ExitCode> {
    eprintln!("./run: the benches are not built yet");
    Ok(ExitCode::from(2))
}
