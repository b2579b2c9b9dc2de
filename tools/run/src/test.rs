//! `./run test`: format, lints and every group of tests, timed, and counted as cargo counts them.

use anyhow::Context;
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// Folders of `tests/` in the order they run, the quickest to fail first; others come after them.
const GROUPS: &[&str] = &["tidy", "compose", "contract", "recovery", "end_to_end", "browser"];
/// Capture is tested against these versions of PostgreSQL, be they installed or not.
const POSTGRES_VERSIONS: &[&str] = &["15", "18"];
/// What another version of the server may do otherwise: its types' text, its slots, what it publishes and how it prints
/// tables. All of capture on every version is `./run matrix`.
const VERSION_TESTS: &[&str] =
    &["types", "slot", "schema", "upkeep", "edges_published", "edges_rows", "edges_transactions", "partitions"];
/// Components of one test share two cores with those of the next; more at once only time out.
const COMPONENT_TEST_THREADS: &str = "--test-threads=1";

#[derive(clap::Args)]
pub struct Arguments {
    /// A group (format, lints, unit, tidy, contract, …), or part of tests' names.
    name: Option<String>,
}

/// One line of the summary.
pub(crate) struct Group {
    name: String,
    /// Arguments of cargo.
    cargo: Vec<String>,
    /// The major version of PostgreSQL to test against; otherwise the newest installed.
    postgres: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

#[derive(Default)]
pub(crate) struct Outcome {
    name: String,
    succeeded: bool,
    counts: Counts,
    took: Duration,
    /// Those that are named in the output, and whether they passed.
    pub(crate) tests: Vec<(String, bool)>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let repository = stack::repository();
    let groups = chosen(all(&repository)?, arguments.name.as_deref());
    let mut outcomes = Vec::new();
    for group in &groups {
        println!("==> {}: cargo {}", group.name, group.cargo.join(" "));
        outcomes.push(run_group(group, &repository)?);
    }
    Ok(report(&outcomes))
}

fn group(name: &str, cargo: &[&str]) -> Group {
    let cargo = cargo.iter().map(|argument| (*argument).to_owned()).collect();
    Group { name: name.to_owned(), cargo, postgres: None }
}

/// The tests of capture whose names hold one of `names`, against a version of PostgreSQL that was fetched; none: all.
pub(crate) fn capture_on(postgres: &'static str, names: &[&str]) -> Group {
    let mut filters: Vec<String> = names.iter().map(|name| format!("contract::capture_{name}")).collect();
    if filters.is_empty() {
        filters.push("contract::capture".to_owned());
    }
    let mut tests = vec!["test", "--workspace", "--test", "all", "--", COMPONENT_TEST_THREADS];
    tests.extend(filters.iter().map(String::as_str));
    Group { postgres: Some(postgres), ..group(&format!("contract-{postgres}"), &tests) }
}

fn all(repository: &Path) -> anyhow::Result<Vec<Group>> {
    let mut groups = vec![
        group("format", &["fmt", "--all", "--check"]),
        group("lints", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        unit(repository)?,
    ];
    groups.push(group("fuzz", &["test", "--quiet", "--workspace", "--test", "fuzz"]));
    for name in folders(&repository.join("tests"))? {
        let filter = format!("{name}::");
        let all = ["test", "--quiet", "--workspace", "--test", "all", "--", COMPONENT_TEST_THREADS, &filter];
        groups.push(group(&name, &all));
        if name == "contract" {
            let installed = stack::installed_major();
            let others = POSTGRES_VERSIONS.iter().filter(|major| installed.as_deref() != Some(**major));
            groups.extend(others.map(|major| capture_on(major, VERSION_TESTS)));
        }
    }
    Ok(groups)
}

/// The tests of every crate but those of `tests`. Their targets are named one by one: to leave a package out would give the
/// others' dependencies other features, and build most of them a second time.
fn unit(repository: &Path) -> anyhow::Result<Group> {
    let mut arguments: Vec<String> =
        ["test", "--quiet", "--no-fail-fast", "--workspace", "--lib", "--bins"].map(str::to_owned).into();
    for target in targets(repository)? {
        arguments.extend(["--test".to_owned(), target]);
    }
    arguments.push("--".to_owned());
    Ok(Group { name: "unit".to_owned(), cargo: arguments, postgres: None })
}

/// The integration tests of the crates in `services` and `tools`.
fn targets(repository: &Path) -> anyhow::Result<Vec<String>> {
    let mut targets = Vec::new();
    for crates in ["services", "tools"] {
        for one in entries(&repository.join(crates))? {
            let tests = one.join("tests");
            for path in if tests.is_dir() { entries(&tests)? } else { Vec::new() } {
                let is_target = path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").is_file();
                targets
                    .extend(path.file_stem().filter(|_| is_target).and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
    }
    targets.sort_unstable();
    targets.dedup();
    Ok(targets)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// The folders that are modules of tests.
fn folders(tests: &Path) -> anyhow::Result<Vec<String>> {
    let modules = entries(tests)?.into_iter().filter(|path| path.join("mod.rs").is_file());
    let mut names: Vec<String> =
        modules.filter_map(|path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned)).collect();
    names.retain(|name| name != "support");
    names.sort_by_key(|name| (GROUPS.iter().position(|group| group == name).unwrap_or(GROUPS.len()), name.clone()));
    Ok(names)
}

/// The group of that name, else every test whose name holds it.
fn chosen(groups: Vec<Group>, name: Option<&str>) -> Vec<Group> {
    let Some(name) = name else { return groups };
    if groups.iter().any(|group| group.name == name) {
        return groups.into_iter().filter(|group| group.name == name).collect();
    }
    let mut unit: Vec<Group> = groups.into_iter().filter(|group| group.name == "unit").collect();
    for group in &mut unit {
        group.cargo.push(name.to_owned());
    }
    let all = ["test", "--quiet", "--workspace", "--test", "all", "--", COMPONENT_TEST_THREADS, name];
    unit.push(group("tests", &all));
    unit
}

pub(crate) fn run_group(group: &Group, repository: &Path) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let mut command = Command::new("cargo");
    command.args(&group.cargo).current_dir(repository).stdin(Stdio::null()).stdout(Stdio::piped());
    command.envs(group.postgres.map(|major| ("CAUSEWAY_TEST_POSTGRES", major)));
    let mut child = command.spawn().context("cannot run cargo")?;
    let (mut counts, mut tests) = (Counts::default(), Vec::new());
    let out = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(out).split(b'\n') {
        let line = line.context("cannot read what cargo prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(more) = result(&line) {
            counts.passed += more.passed;
            counts.failed += more.failed;
        }
        tests.extend(one(&line));
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok(Outcome { name: group.name.clone(), succeeded: status.success(), counts, took: began.elapsed(), tests })
}

/// `test contract::capture::a_name ... ok`
fn one(line: &str) -> Option<(String, bool)> {
    let (name, told) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.to_owned(), told == "ok"))
}

/// `test result: ok. 12 passed; 0 failed; 0 ignored; …`
pub(crate) fn result(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let number_before = |word: &str| rest.split_once(word)?.0.rsplit(' ').next()?.parse().ok();
    Some(Counts { passed: number_before(" passed")?, failed: number_before(" failed")? })
}

/// Prints a line for each group, those that failed, and the counts on the last line alone.
pub(crate) fn report(outcomes: &[Outcome]) -> ExitCode {
    println!();
    let mut sum = Counts::default();
    for outcome in outcomes {
        let told = if outcome.succeeded { "ok" } else { "FAILED" };
        let Counts { passed, failed } = outcome.counts;
        let seconds = outcome.took.as_secs_f32();
        println!("{:<12} {told:<7} {passed:>5} passed {failed:>4} failed {seconds:>8.1} s", outcome.name);
        sum.passed += passed;
        sum.failed += failed;
    }
    let failed: Vec<&str> = outcomes.iter().filter(|outcome| !outcome.succeeded).map(|o| o.name.as_str()).collect();
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    // The last line must not be lost when the output is a pipe.
    let flushed = std::io::stdout().flush();
    if failed.is_empty() && sum.failed == 0 && flushed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_s_own_lines_are_counted() {
        let check = |line: &str, want: Option<(u64, u64)>| {
            assert_eq!(result(line), want.map(|(passed, failed)| Counts { passed, failed }));
        };
        check(
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.1s",
            Some((12, 0)),
        );
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored", Some((3, 2)));
        check("test a_test ... ok", None);
        check("said: test result: ok. 1 passed; 0 failed", None);
        assert_eq!(one("test a::b ... ok"), Some(("a::b".to_owned(), true)));
        assert_eq!(one("test a::b ... FAILED"), Some(("a::b".to_owned(), false)));
        assert_eq!(one("test result: ok. 1 passed; 0 failed"), None);
    }

    #[test]
    fn every_crate_s_integration_tests_are_named_and_those_of_the_groups_are_not() {
        let targets = targets(&stack::repository()).expect("the repository");
        assert!(["suite", "live", "doors", "replay"].iter().all(|name| targets.iter().any(|known| known == name)));
        assert!(!targets.iter().any(|name| name == "all" || name == "fuzz"), "{targets:?}");
    }

    #[test]
    fn a_name_is_a_group_or_part_of_test_names() {
        let groups = || vec![group("format", &[]), group("unit", &["test", "--"]), group("tidy", &["test"])];
        let names = |name| -> Vec<String> { chosen(groups(), name).into_iter().map(|group| group.name).collect() };
        assert_eq!(names(None), ["format", "unit", "tidy"]);
        assert_eq!(names(Some("tidy")), ["tidy"]);
        assert_eq!(names(Some("toast")), ["unit", "tests"]);
        assert_eq!(chosen(groups(), Some("toast"))[0].cargo, ["test", "--", "toast"]);
    }
}
