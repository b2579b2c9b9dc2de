//! `./run fuzz`: the fuzz targets of `tests/fuzz`, for as long as one likes.

use anyhow::Context;
use std::process::{Command, ExitCode};

/// As `tests/fuzz/driver.rs` reads it.
const SECONDS_VARIABLE: &str = "CAUSEWAY_FUZZ_SECONDS";

#[derive(clap::Args)]
pub struct Arguments {
    /// How long each target is fed.
    #[arg(long, value_name = "N", default_value_t = 300)]
    seconds: u64,
    /// One target, or part of its name: pgoutput, texts, arrays, copy_rows, envelope_codec, schemas, control_records, headers, rf2, dmd_xml, maps, index_files.
    target: Option<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet", "-p", "tests", "--test", "fuzz", "--", "--nocapture"]);
    command.args(arguments.target.iter()).env(SECONDS_VARIABLE, arguments.seconds.to_string());
    let status = command.current_dir(stack::repository()).status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
