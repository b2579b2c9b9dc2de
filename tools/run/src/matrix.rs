//! `./run matrix`: the tests of capture against every version of PostgreSQL that is supported.

use crate::test;
use std::{collections::BTreeMap, process::ExitCode};

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
    let majors: Vec<&str> = VERSIONS.iter().copied().filter(|major| wanted(major)).collect();
    let names: Vec<&str> = arguments.name.as_deref().into_iter().collect();
    let mut outcomes = Vec::new();
    for major in &majors {
        println!("==> PostgreSQL {major}");
        outcomes.push(test::run_group(&test::capture_on(major, &names), &repository)?);
    }
    let columns = majors.iter().zip(&outcomes).map(|(major, outcome)| (*major, outcome.tests.as_slice()));
    print!("\n{}", table(&columns.collect::<Vec<_>>()));
    Ok(test::report(&outcomes))
}

/// A line for each test, a column for each version.
fn table(columns: &[(&str, &[(String, bool)])]) -> String {
    let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (at, (_, tests)) in columns.iter().enumerate() {
        for (name, passed) in *tests {
            let name = name.trim_start_matches("contract::");
            let line = lines.entry(name).or_insert_with(|| vec!["-"; columns.len()]);
            line[at] = if *passed { "ok" } else { "FAILED" };
        }
    }
    let width = lines.keys().map(|name| name.len()).max().unwrap_or(0).max("PostgreSQL".len());
    let head = ("PostgreSQL", columns.iter().map(|(major, _)| *major).collect());
    let mut text = String::new();
    for (name, cells) in std::iter::once(head).chain(lines) {
        text += &format!("{name:<width$}");
        cells.iter().for_each(|cell| text += &format!(" {cell:>6}"));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_one_version_did_not_run_shows() {
        let one = |name: &str, passed| (format!("contract::{name}"), passed);
        let (older, newer) = ([one("capture::a", true), one("b", false)], [one("b", true)]);
        let want = "PostgreSQL     14     15\nb          FAILED     ok\ncapture::a     ok      -\n";
        assert_eq!(table(&[("14", &older), ("15", &newer)]), want);
    }
}
