//! `./run plants`: mistakes that others made, planted one by one in a copy of the work tree; a suite that stays green
//! over one of them is worth less than it looks.
//!
//! A plant is a patch in `tests/plants`; lines before its diff say what it is and, after `Caught by:`, what has to go red.
//!
//! # Why
//! A catcher that is red anyway would catch everything. So each is run on the copy without plants first and has to be
//! green there, and afterwards only a verdict of its own counts: a test that failed, a check that did not hold. What cannot
//! be built, hangs up, or finds no Kafka has caught nothing.

mod catcher;
mod choice;
mod copy;

use anyhow::{Context, ensure};
use catcher::{Catcher, Outcome};
use copy::Copy;
use proof::{checks, report::Report};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

const CATCHER: &str = "Caught by: ";

#[derive(clap::Args)]
pub struct Arguments {
    /// One plant, or part of its name or of what catches it: unit, fuzz, contract, faults.
    name: Option<String>,
    /// Only plants in files that differ from this commit, and those that are new themselves. Without a name of a commit:
    /// from the last one that the upstream branch holds, or else from the last but one.
    #[arg(long, value_name = "COMMIT", num_args = 0..=1)]
    changed: Option<Option<String>>,
    /// Only this part of the catalogue: the second of three is 2/3.
    #[arg(long, value_name = "PART/PARTS")]
    part: Option<choice::Part>,
    /// Write the report here as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

struct Plant {
    name: String,
    patch: PathBuf,
    text: String,
    catcher: Catcher,
}

/// Every plant is tried, whatever became of the one before.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(file) = &arguments.report {
        checks::writable(file)?;
    }
    let began = Instant::now();
    let repository = stack::repository();
    let mut plants = plants(&repository.join("tests/plants"), arguments.name.as_deref())?;
    ensure!(!plants.is_empty(), "no plant has that name");
    if let Some(since) = &arguments.changed {
        let changed = choice::changed(&repository, since.as_deref())?;
        plants.retain(|plant| choice::touches(&plant.patch, &plant.text, &changed));
    }
    if let Some(part) = arguments.part {
        plants = part.of(plants);
    }
    if plants.is_empty() {
        println!("no plant is in what changed, or in this part");
        return Ok(ExitCode::SUCCESS);
    }
    let copy = Copy::make(&repository)?;
    let mut report = Report::new("plants");
    control(&copy, &plants)?;
    report.figure("control_seconds", began.elapsed().as_secs_f64().round());
    for (number, plant) in plants.iter().enumerate() {
        let began = Instant::now();
        let (caught, told) = match tried(&copy, plant) {
            Ok(Outcome::Red(what)) => (true, format!("red: {}", what.join(", "))),
            Ok(Outcome::Green(_)) => (false, format!("MISSED: {} stays green", plant.catcher)),
            Err(error) => (false, format!("NOT TRIED: {error:#}")),
        };
        let seconds = began.elapsed().as_secs_f32();
        println!("{:>2}/{} {:<32} {seconds:>5.0} s  {told}", number + 1, plants.len(), plant.name);
        report.check(&plant.name, caught, &told);
    }
    let caught = report.checks().iter().filter(|check| check.ok).count();
    report.figure("seconds", began.elapsed().as_secs_f64().round());
    println!("{} planted, {caught} caught, {:.0} s", plants.len(), began.elapsed().as_secs_f32());
    if let Some(file) = &arguments.report {
        report.write(file)?;
    }
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All catchers are green where nothing is planted, else they could catch nothing.
fn control(copy: &Copy, plants: &[Plant]) -> anyhow::Result<()> {
    let began = Instant::now();
    copy.refresh()?;
    let catchers: BTreeSet<&Catcher> = plants.iter().map(|plant| &plant.catcher).collect();
    for catcher in &catchers {
        let outcome = catcher.run(copy).with_context(|| format!("without a plant: {catcher}"))?;
        match outcome {
            Outcome::Green(1..) => println!("green without a plant: {catcher}"),
            Outcome::Green(0) => anyhow::bail!("there is no such catcher: {catcher}"),
            Outcome::Red(what) => anyhow::bail!("red without a plant: {catcher}: {}", what.join(", ")),
        }
    }
    println!("{} catchers are green without a plant, {:.0} s", catchers.len(), began.elapsed().as_secs_f32());
    Ok(())
}

fn tried(copy: &Copy, plant: &Plant) -> anyhow::Result<Outcome> {
    copy.refresh()?;
    copy.apply(&plant.patch).context("it does not apply")?;
    plant.catcher.run(copy)
}

fn plants(folder: &Path, name: Option<&str>) -> anyhow::Result<Vec<Plant>> {
    let mut plants = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let patch = entry.path();
        let stem = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if patch.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let text = std::fs::read_to_string(&patch)?;
        let line = text.lines().find_map(|line| line.strip_prefix(CATCHER));
        let line = line.with_context(|| format!("{stem} does not say what catches it"))?;
        if name.is_some_and(|name| !stem.contains(name) && !line.contains(name)) {
            continue;
        }
        let catcher = line.parse().with_context(|| format!("{stem}: {line}"))?;
        plants.push(Plant { name: stem, patch, text, catcher });
    }
    // Those of one catcher follow one another, so that little is built again.
    plants.sort_by(|a, b| (&a.catcher, &a.name).cmp(&(&b.catcher, &b.name)));
    Ok(plants)
}
