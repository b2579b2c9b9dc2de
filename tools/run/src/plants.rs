//! `./run plants`: mistakes that others made, planted one by one in a copy of the work tree; a suite that stays green
//! over one of them is worth less than it looks.
//!
//! A plant is a patch in `tests/plants`; lines before its diff say what it is and, after `Caught by:`, what has to go red:
//! `test …` for `cargo test`, or `faults …` for `./run faults --short`.

use anyhow::{Context, ensure};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

const CATCHER: &str = "Caught by: ";
/// What a copy shares with the work tree: the fetched components.
const FETCHED: [&str; 2] = ["kafka-", "apicurio-"];

#[derive(clap::Args)]
pub struct Arguments {
    /// One plant, or part of its name.
    name: Option<String>,
}

struct Plant {
    name: String,
    patch: PathBuf,
    /// Words of the line after `Caught by:`.
    catcher: Vec<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let repository = stack::repository();
    let plants = plants(&repository.join("tests/plants"), arguments.name.as_deref())?;
    ensure!(!plants.is_empty(), "no plant has that name");
    let yard = Copy::make(&repository)?;
    let mut missed = Vec::new();
    for plant in &plants {
        let began = Instant::now();
        yard.refresh()?;
        yard.apply(&plant.patch).with_context(|| format!("{} does not apply", plant.name))?;
        let red = yard.goes_red(&plant.catcher).with_context(|| plant.name.clone())?;
        let told = if red { "caught" } else { "MISSED" };
        println!("{:<32} {told}  {:>5.0} s  by {}", plant.name, began.elapsed().as_secs_f32(), plant.catcher.join(" "));
        if !red {
            missed.push(plant.name.as_str());
        }
    }
    println!("{} planted, {} caught", plants.len(), plants.len() - missed.len());
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plants(folder: &Path, name: Option<&str>) -> anyhow::Result<Vec<Plant>> {
    let mut plants = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let patch = entry.path();
        let stem = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if patch.extension().is_none_or(|extension| extension != "patch")
            || name.is_some_and(|name| !stem.contains(name))
        {
            continue;
        }
        let text = std::fs::read_to_string(&patch)?;
        let catcher = text.lines().find_map(|line| line.strip_prefix(CATCHER));
        let catcher = catcher.with_context(|| format!("{stem} does not say what catches it"))?;
        plants.push(Plant { name: stem, patch, catcher: catcher.split_whitespace().map(str::to_owned).collect() });
    }
    plants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(plants)
}

/// The work tree once more, with a target folder of its own.
struct Copy {
    from: PathBuf,
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn make(repository: &Path) -> anyhow::Result<Self> {
        let folder = stack::local().join("plants");
        let copy = Self { from: repository.to_owned(), tree: folder.join("tree"), target: folder.join("target") };
        std::fs::create_dir_all(copy.tree.join(".local"))?;
        for entry in std::fs::read_dir(stack::local())?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let link = copy.tree.join(".local").join(&name);
            if FETCHED.iter().any(|start| name.starts_with(start)) && !link.exists() {
                std::os::unix::fs::symlink(entry.path(), link)?;
            }
        }
        copy.share_dependencies()?;
        Ok(copy)
    }

    /// What is built already of other people's crates is linked in, once; cargo's notes on it are copied, because cargo
    /// writes over them.
    fn share_dependencies(&self) -> anyhow::Result<()> {
        let built = self.from.join("target/debug");
        let here = self.target.join("debug");
        if here.exists() || !built.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(&here)?;
        for (name, how) in [("deps", "-al"), ("build", "-a"), (".fingerprint", "-a")] {
            let mut command = Command::new("cp");
            let done = command.arg(how).arg(built.join(name)).arg(here.join(name)).status()?;
            ensure!(done.success(), "cannot copy {name} of the target folder");
        }
        Ok(())
    }

    /// As the work tree is now. Files that are the same keep their times, so that little is built again.
    fn refresh(&self) -> anyhow::Result<()> {
        let list = |arguments: &[&str]| -> anyhow::Result<BTreeSet<String>> {
            let output =
                Command::new("git").args(arguments).current_dir(&self.from).output().context("cannot run git")?;
            ensure!(output.status.success(), "the work tree is not git's");
            Ok(String::from_utf8_lossy(&output.stdout)
                .split('\0')
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect())
        };
        for name in list(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])? {
            let (from, to) = (self.from.join(&name), self.tree.join(&name));
            let Ok(wanted) = std::fs::read(&from) else { continue };
            if std::fs::read(&to).is_ok_and(|found| found == wanted) {
                continue;
            }
            std::fs::create_dir_all(to.parent().unwrap_or(&self.tree))?;
            std::fs::copy(&from, &to).with_context(|| format!("cannot copy {name}"))?;
        }
        Ok(())
    }

    fn apply(&self, patch: &Path) -> anyhow::Result<()> {
        let mut command = Command::new("git");
        // The copy lies inside of the work tree: git must not take it for a part of it.
        command.arg("apply").arg(patch).current_dir(&self.tree).env("GIT_CEILING_DIRECTORIES", self.tree.join(".."));
        let output = command.output().context("cannot run git")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Whether the catcher fails. It has to be built: what cannot be compiled catches nothing.
    fn goes_red(&self, catcher: &[String]) -> anyhow::Result<bool> {
        let (kind, rest) = catcher.split_first().context("nothing is said to catch it")?;
        if kind == "faults" {
            self.cargo(&["build", "--quiet", "-p", "causeway", "-p", "run"])?;
            let mut command = Command::new(self.target.join("debug/run"));
            command.args(["faults", "--short"]).args(rest).current_dir(&self.tree).stdout(Stdio::null());
            return Ok(!command.stderr(Stdio::null()).status().context("cannot run the faults")?.success());
        }
        ensure!(kind == "test", "`{kind}` catches nothing");
        let of_cargo = rest.split(|word| word == "--").next().unwrap_or_default();
        let mut build = vec!["test", "--quiet", "--no-run"];
        build.extend(of_cargo.iter().map(String::as_str));
        self.cargo(&build)?;
        let mut command = self.command();
        command.args(["test", "--quiet"]).args(rest).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(!command.status().context("cannot run cargo")?.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    fn cargo(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.command().args(arguments).output().context("cannot run cargo")?;
        ensure!(output.status.success(), "it cannot be built:\n{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}
