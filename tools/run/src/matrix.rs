//! `./run matrix`: the tests of capture against every version of PostgreSQL that is supported.

use crate::test;
use std::process::ExitCode;

/// Their patch releases are pinned where Maven reads them.
const VERSIONS: &[&str] = &["14", "15", "16", "17", "18"];

#[derive(clap::Args)]
pub struct Arguments {
    /// What follows `capture_` in the names of the tests to run: edges, types, …
    name: Option<String>,
    /// Only these versions.
    #[arg(long, value_name = "MAJOR", value_delimiter = ',')]
    postgres: Vec<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(unknown) = arguments.postgres.iter().find(|major| !VERSIONS.contains(&major.as_str())) {
        anyhow::bail!("PostgreSQL {unknown} is not one of {}", VERSIONS.join(", "));
    }
    let wanted = |major: &str| arguments.postgres.is_empty() || arguments.postgres.iter().any(|one| one == major);
    let repository = stack::repository();
    let mut outcomes = Vec::new();
    for major in VERSIONS.iter().copied().filter(|major| wanted(major)) {
        println!("==> PostgreSQL {major}");
        outcomes.push(test::run_group(&test::capture_on(major, arguments.name.as_deref()), &repository)?);
    }
    Ok(test::report(&outcomes))
}
