//! `./run faults`: the command line of the fault runs, in their long form unless asked otherwise.

use crate::demo;
use anyhow::Context;
use proof::{
    checks,
    faults::{self, Act, Scale},
};
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

#[derive(clap::Args)]
pub struct Arguments {
    /// How many sources are killed at random failpoints.
    #[arg(long, value_name = "N", default_value_t = 50)]
    runs: u64,
    /// Repeats a run: it is printed at the start of each.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only these acts: kills, copy, kafka, links, takeover, disks, clocks, members, planted, halts.
    #[arg(long, value_name = "ACT", value_delimiter = ',', value_parser = act)]
    only: Vec<Act>,
    /// As short as in the tests.
    #[arg(long)]
    short: bool,
    /// Write the report here as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn act(name: &str) -> Result<Act, String> {
    let names: Vec<&str> = Act::LONG.iter().map(|act| act.name()).collect();
    let found = Act::LONG.into_iter().find(|act| act.name() == name);
    found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(file) = &arguments.report {
        checks::writable(file)?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let seed = arguments.seed.unwrap_or(now.subsec_nanos().into());
    let scale = Scale { kill_runs: arguments.runs, ..if arguments.short { Scale::short() } else { Scale::long(0) } };
    let acts = if arguments.only.is_empty() && arguments.short {
        Act::ALL.to_vec()
    } else if arguments.only.is_empty() {
        Act::LONG.to_vec()
    } else {
        arguments.only.clone()
    };
    let folder = stack::local().join("faults");
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let report = runtime.block_on(async {
        let stop = demo::on_signal()?;
        tokio::select! {
            () = stop.cancelled() => anyhow::bail!("stopped"),
            report = faults::run(&folder, &acts, &scale, seed, |text| println!("{text}")) => report,
        }
    })?;
    report.print();
    if let Some(file) = &arguments.report {
        report.write(file)?;
    }
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
