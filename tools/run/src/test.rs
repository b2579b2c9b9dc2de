//! `./run test`: format, lints and every group of tests, timed, and counted as cargo counts them.

use anyhow::Context;
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::OnceLock,
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
/// The target with the tests on components.
const COMPONENTS: &str = "all";
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
    what: What,
    /// The major version of PostgreSQL to test against; otherwise the newest installed.
    postgres: Option<&'static str>,
    /// It runs while those after it do, which mostly wait for processes, and takes what they leave of the processors.
    beside: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Arguments of cargo.
    Cargo(Vec<String>),
    /// Those tests on real components whose names hold one of these. Not through cargo, which waits until nobody else builds.
    Components(Vec<String>),
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
    let alone = groups.len() == 1;
    let outcomes = std::thread::scope(|scope| {
        let (mut outcomes, mut beside) = (Vec::new(), Vec::new());
        for group in &groups {
            if let (What::Cargo(arguments), true, false) = (&group.what, group.beside, alone) {
                println!("==> {}: beside those that follow", group.name);
                // Nobody can build while it does.
                components(&repository)?;
                beside.push(scope.spawn(|| run_beside(&group.name, arguments, &repository)));
                continue;
            }
            outcomes.push(run_group(group, &repository)?);
        }
        for group in beside {
            outcomes.push(group.join().map_err(|_| anyhow::anyhow!("a group that ran beside panicked"))??);
        }
        anyhow::Ok(outcomes)
    })?;
    Ok(report(&outcomes))
}

/// Says what it has to say at its end.
fn run_beside(name: &str, arguments: &[String], repository: &Path) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let mut command = Command::new("nice");
    command.args(["-n", "19", "cargo"]).args(arguments).current_dir(repository).stdin(Stdio::null());
    let ended = command.output().context("cannot run cargo under `nice`")?;
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("==> {name}: cargo {}\n{said}", arguments.join(" "));
    let took = began.elapsed();
    Ok(Outcome { name: name.to_owned(), succeeded: ended.status.success(), took, ..Outcome::default() })
}

/// The binary of the tests on components, built once.
fn components(repository: &Path) -> anyhow::Result<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(built) = BUILT.get() {
        return Ok(built);
    }
    let mut command = Command::new("cargo");
    command.args([
        "test",
        "--quiet",
        "--workspace",
        "--test",
        COMPONENTS,
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    let ended = command.current_dir(repository).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    anyhow::ensure!(ended.status.success(), "the tests on components do not build");
    let lines = String::from_utf8_lossy(&ended.stdout);
    let built = lines.lines().find_map(executable).context("cargo does not tell where the tests are")?;
    Ok(BUILT.get_or_init(|| built))
}

/// Of the target with the tests on components, as cargo tells it.
fn executable(line: &str) -> Option<PathBuf> {
    let told: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_ours = told["target"]["name"] == COMPONENTS && told["profile"]["test"] == true;
    told["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
}

fn group(name: &str, cargo: &[&str]) -> Group {
    let what = What::Cargo(cargo.iter().map(|argument| (*argument).to_owned()).collect());
    Group { name: name.to_owned(), what, postgres: None, beside: false }
}

/// The tests of capture whose names hold one of `names`, against a version of PostgreSQL that was fetched; none: all.
pub(crate) fn capture_on(postgres: &'static str, names: &[&str]) -> Group {
    let mut filters: Vec<String> = names.iter().map(|name| format!("contract::capture_{name}")).collect();
    if filters.is_empty() {
        filters.push("contract::capture".to_owned());
    }
    Group { what: What::Components(filters), postgres: Some(postgres), ..group(&format!("contract-{postgres}"), &[]) }
}

fn all(repository: &Path) -> anyhow::Result<Vec<Group>> {
    let lints = group("lints", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    let mut groups = vec![
        group("format", &["fmt", "--all", "--check"]),
        unit(repository)?,
        // What does not compile: `access` shows what no exit can do.
        group("doc", &["test", "--quiet", "--workspace", "--doc"]),
        group("fuzz", &["test", "--quiet", "--workspace", "--test", "fuzz"]),
        Group { beside: true, ..lints },
    ];
    for name in folders(&repository.join("tests"))? {
        groups.push(Group { what: What::Components(vec![format!("{name}::")]), ..group(&name, &[]) });
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
    Ok(Group { what: What::Cargo(arguments), ..group("unit", &[]) })
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
        if let What::Cargo(arguments) = &mut group.what {
            arguments.push(name.to_owned());
        }
    }
    unit.push(Group { what: What::Components(vec![name.to_owned()]), ..group("tests", &[]) });
    unit
}

pub(crate) fn run_group(group: &Group, repository: &Path) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let mut command = match &group.what {
        What::Cargo(arguments) => {
            println!("==> {}: cargo {}", group.name, arguments.join(" "));
            let mut command = Command::new("cargo");
            command.args(arguments).current_dir(repository);
            command
        }
        What::Components(filters) => {
            println!("==> {}: tests on components, of {}", group.name, filters.join(" "));
            let mut command = Command::new(components(repository)?);
            command.arg(COMPONENT_TEST_THREADS).args(filters).current_dir(repository.join("tests"));
            command
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped());
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
    fn the_tests_on_components_are_found_by_what_cargo_tells() {
        let told = |name: &str, is_test: bool| {
            serde_json::json!({ "reason": "compiler-artifact", "target": { "name": name }, "profile": { "test": is_test },
                "executable": "/t/all-1" })
            .to_string()
        };
        assert_eq!(executable(&told("all", true)), Some(PathBuf::from("/t/all-1")));
        assert_eq!(executable(&told("all", false)), None);
        assert_eq!(executable(&told("suite", true)), None);
        assert_eq!(executable("   Compiling tests"), None);
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
        let what = |at: usize| chosen(groups(), Some("toast"))[at].what.clone();
        assert_eq!(what(0), What::Cargo(["test", "--", "toast"].map(str::to_owned).into()));
        assert_eq!(what(1), What::Components(vec!["toast".to_owned()]));
    }
}
