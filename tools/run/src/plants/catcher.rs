//! What has to go red over a plant, as a patch names it:
//!
//! - `unit PACKAGE TEST`: one test of a library, by its whole name
//! - `suite TEST`: one of the integration tests that are called `suite`: the fold's, from rows to events; the linker's
//! - `fuzz TARGET`: one of `tests/fuzz`
//! - `contract TEST`: one test of `tests/contract`, by its whole name, on real components
//! - `faults ARGUMENT…`: `./run faults --short`

use super::copy::Copy;
use crate::test::result;
use anyhow::{Context, bail, ensure};
use std::{fmt, path::Path, process::Command, str::FromStr};

/// Ordered so that what shares most of its parts is built one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Catcher {
    Unit { package: String, test: String },
    Suite { test: String },
    Fuzz { target: String },
    Contract { test: String },
    Faults { arguments: Vec<String> },
}

/// A verdict of the catcher's own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// So much passed.
    Green(u64),
    /// The names of what did not.
    Red(Vec<String>),
}

impl FromStr for Catcher {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["unit", package, test] => Ok(Self::Unit { package: package.to_owned(), test: test.to_owned() }),
            ["suite", test] => Ok(Self::Suite { test: test.to_owned() }),
            ["fuzz", target] => Ok(Self::Fuzz { target: target.to_owned() }),
            ["contract", test] => Ok(Self::Contract { test: test.to_owned() }),
            ["faults", _, ..] => Ok(Self::Faults { arguments: words[1..].to_vec() }),
            _ => bail!(
                "expected `unit PACKAGE TEST`, `suite TEST`, `fuzz TARGET`, `contract TEST` or `faults ARGUMENT…`"
            ),
        }
    }
}

impl fmt::Display for Catcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit { package, test } => write!(f, "unit {package} {test}"),
            Self::Suite { test } => write!(f, "suite {test}"),
            Self::Fuzz { target } => write!(f, "fuzz {target}"),
            Self::Contract { test } => write!(f, "contract {test}"),
            Self::Faults { arguments } => write!(f, "faults {}", arguments.join(" ")),
        }
    }
}

impl Catcher {
    /// Everything it runs is built of the copy before.
    pub(super) fn run(&self, copy: &Copy) -> anyhow::Result<Outcome> {
        match self {
            Self::Unit { test, .. } => tests(copy, &["--workspace", "--lib"], test),
            Self::Suite { test } => tests(copy, &["--workspace", "--test", "suite"], test),
            Self::Fuzz { target } => tests(copy, &["--workspace", "--test", "fuzz"], &format!("targets::{target}")),
            Self::Contract { test } => {
                // The test starts the program that lies beside its own.
                copy.build(&BUILD)?;
                tests(copy, &["--workspace", "--test", "all"], &format!("contract::{test}"))
            }
            Self::Faults { arguments } => faults(copy, arguments),
        }
    }
}

/// As everything else builds it: of fewer packages, their dependencies have other features, and are built once more.
const BUILD: [&str; 3] = ["build", "--workspace", "--all-targets"];

fn tests(copy: &Copy, of_cargo: &[&str], test: &str) -> anyhow::Result<Outcome> {
    copy.build(&[&["test", "--no-run"], of_cargo].concat())?;
    let mut command = copy.cargo();
    command.arg("test").args(of_cargo).args(["--", "--exact", test]);
    let output = command.output().context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    copy.keep("catcher.log", &output)?;
    judged(output.status.success(), &text)
}

/// The program's own counts have to agree with how it ended.
fn judged(success: bool, text: &str) -> anyhow::Result<Outcome> {
    let (mut passed, mut failed) = (0, 0);
    for counts in text.lines().filter_map(result) {
        passed += counts.passed;
        failed += counts.failed;
    }
    ensure!(success == (failed == 0), "it ended without a verdict");
    if success {
        return Ok(Outcome::Green(passed));
    }
    let names = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    Ok(Outcome::Red(names.map(str::to_owned).collect()))
}

fn faults(copy: &Copy, arguments: &[String]) -> anyhow::Result<Outcome> {
    copy.build(&BUILD)?;
    let report = copy.file("faults.json");
    let mut command = Command::new(copy.program("run"));
    command.args(["faults", "--short"]).args(arguments).arg("--report").arg(&report).current_dir(copy.tree());
    if report.exists() {
        std::fs::remove_file(&report)?;
    }
    let output = command.output().context("cannot run the faults")?;
    copy.keep("catcher.log", &output)?;
    checked(output.status.success(), &report).with_context(|| {
        let told = String::from_utf8_lossy(&output.stderr);
        format!("the faults ended without a verdict: {}", told.lines().last().unwrap_or_default())
    })
}

fn checked(success: bool, report: &Path) -> anyhow::Result<Outcome> {
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report)?)?;
    let checks = report["checks"].as_array().context("a report without checks")?;
    let name = |check: &serde_json::Value| check["name"].as_str().unwrap_or_default().to_owned();
    let red: Vec<String> = checks.iter().filter(|check| check["ok"] == false).map(name).collect();
    ensure!(success == red.is_empty(), "the report and the status differ");
    Ok(if success { Outcome::Green(checks.len() as u64) } else { Outcome::Red(red) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verdict_counts() {
        let line = |told: &str| format!("test a::b ... FAILED\n\ntest result: {told}; 0 ignored; 0 measured\n");
        assert_eq!(judged(true, &line("ok. 1 passed; 0 failed")).unwrap(), Outcome::Green(1));
        assert_eq!(judged(false, &line("FAILED. 0 passed; 1 failed")).unwrap(), Outcome::Red(vec!["a::b".into()]));
        // Nothing was run; it was killed; it was stopped before it said anything.
        assert_eq!(judged(true, "").unwrap(), Outcome::Green(0));
        assert!(judged(false, &line("ok. 1 passed; 0 failed")).is_err());
        assert!(judged(false, "error: could not compile").is_err());
    }

    #[test]
    fn a_catcher_is_named_in_one_way() {
        for line in [
            "unit change pump::tests::a",
            "suite a::b",
            "fuzz texts",
            "contract capture::a",
            "faults --only copy --seed 1",
        ] {
            assert_eq!(line.parse::<Catcher>().unwrap().to_string(), line);
        }
        for line in ["", "faults", "unit change", "test -p change", "fuzz a b"] {
            assert!(line.parse::<Catcher>().is_err(), "{line}");
        }
    }
}
