//! The connector is killed at its failpoints, again and again, while the source goes on working.

use super::{
    load::{Load, Random, TOO_LARGE},
    yard::{Start, Verdict, Yard},
};
use crate::report::Report;
use anyhow::{Context, ensure};
use stack::Causeway;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

/// Large enough for several blocks of rows.
const ROWS: u64 = 3_000;
/// A failpoint that is not passed within this is given up: the process is killed wherever it is.
const REACHED_WITHIN: Duration = Duration::from_secs(7);
const KILLS_MAX: u64 = 2;
const POLL: Duration = Duration::from_millis(20);
/// Passed only with rows that are too large for the log.
const QUARANTINED: &str = "capture.quarantined";
/// How the code names a failpoint.
const CALL: &str = "failpoint::reached(\"";

/// Every failpoint that a connector passes.
pub fn points() -> anyhow::Result<Vec<String>> {
    let mut points = BTreeSet::new();
    gather(&stack::repository().join("services"), &mut points)?;
    ensure!(points.len() >= 12, "only {} failpoints are left", points.len());
    Ok(points.into_iter().collect())
}

fn gather(folder: &Path, points: &mut BTreeSet<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, points)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let calls = text.split(CALL).skip(1).filter_map(|rest| rest.split_once('"'));
            // Neither own tests, nor the runner's, nor the normaliser's.
            points.extend(
                calls
                    .map(|(name, _)| name.to_owned())
                    .filter(|name| !["boot.", "checkpoint."].iter().any(|other| name.starts_with(other))),
            );
        }
    }
    Ok(())
}

/// Two rounds are dealt before a failpoint comes again.
struct Dealer {
    points: Vec<String>,
    left: Vec<String>,
}

impl Dealer {
    fn next(&mut self, random: &mut Random) -> String {
        if self.left.is_empty() {
            self.left.clone_from(&self.points);
            random.shuffle(&mut self.left);
        }
        self.left.pop().unwrap_or_default()
    }
}

/// How often a failpoint may be passed before it kills: those of a row are passed thousands of times.
fn passes(point: &str, random: &mut Random) -> u64 {
    let doublings = match point {
        QUARANTINED => 2,
        "log.produced" | "log.acknowledged" | "snapshot.row-read" => 12,
        _ if ["stream.", "capture.", "log.durable"].iter().any(|start| point.starts_with(start)) => 6,
        _ => 2,
    };
    let doublings = random.below(doublings);
    1 + random.below(1 << doublings)
}

#[derive(Default)]
struct Sum {
    verdict: Verdict,
    kills: u64,
    reached: BTreeMap<String, u64>,
}

pub async fn run(
    yard: &mut Yard,
    runs: u64,
    seed: u64,
    report: &mut Report,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    let mut random = Random(seed);
    let mut dealer = Dealer { points: points()?, left: Vec::new() };
    let mut sum = Sum::default();
    for number in 1..=runs {
        let kills = 1 + random.below(KILLS_MAX);
        let plan: Vec<String> = (0..kills)
            .map(|_| {
                let point = dealer.next(&mut random);
                let passes = passes(&point, &mut random);
                format!("{point}:{passes}")
            })
            .collect();
        let verdict = one(yard, &plan, random.next(), &mut sum).await;
        let verdict = verdict.with_context(|| format!("run {number} of seed {seed}, killed at {}", plan.join(", ")))?;
        say(&format!("run {number}, killed at {}: {}", plan.join(", then "), verdict.text()));
        add(&mut sum.verdict, verdict, &plan);
    }
    let Sum { verdict, kills, reached } = sum;
    let at_points: u64 = reached.values().sum();
    report.figure("kill_runs", runs as f64);
    report.figure("kills", kills as f64);
    report.figure("kills_at_failpoints", at_points as f64);
    report.check("killed_at_failpoints", verdict.ok(), &verdict.text());
    let names: Vec<&str> = reached.keys().map(String::as_str).collect();
    let told = format!("{at_points} of {kills} kills, at {} failpoints: {}", names.len(), names.join(", "));
    // Some are passed seldom: WAL of others, the slot once it is there.
    report.check("failpoints_are_passed", at_points * 3 >= kills, &told);
    Ok(())
}

/// One source, from its first snapshot on.
async fn one(yard: &mut Yard, plan: &[String], seed: u64, sum: &mut Sum) -> anyhow::Result<Verdict> {
    let mut source = yard.source(ROWS).await?;
    let config = yard.database.config(&source.name)?;
    let load = if plan.iter().any(|point| point.starts_with(QUARANTINED)) {
        let first = format!("insert into yard.large values (nextval('yard.ids'), {TOO_LARGE})");
        yard.database.execute(&source.name, &first).await?;
        Load::start_with_large(&config, seed)
    } else {
        Load::start(&config, seed)
    };
    for failpoint in plan {
        let start = Start { failpoints: Some(failpoint), ..Start::default() };
        let mut connector = source.connector(&start)?;
        sum.kills += 1;
        if died(&mut connector).await? {
            *sum.reached.entry(failpoint.split(':').next().unwrap_or_default().to_owned()).or_default() += 1;
        } else {
            connector.kill_9()?;
        }
    }
    let connector = source.ready_connector().await?;
    load.stop().await;
    yard.judge(source, connector).await
}

/// Whether the process ended by itself in time.
async fn died(connector: &mut Causeway) -> anyhow::Result<bool> {
    let deadline = Instant::now() + REACHED_WITHIN;
    while Instant::now() < deadline {
        if connector.exited()?.is_some() {
            return Ok(true);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(false)
}

fn add(sum: &mut Verdict, one: Verdict, plan: &[String]) {
    sum.committed += one.committed;
    sum.lost += one.lost;
    sum.duplicated += one.duplicated;
    sum.reordered += one.reordered;
    sum.holes += one.holes;
    sum.void += one.void;
    sum.sessions += one.sessions;
    sum.snapshot_rows += one.snapshot_rows;
    sum.wrong_rows += one.wrong_rows;
    sum.quarantined += one.quarantined;
    if let (None, Some(first)) = (&sum.first, one.first) {
        sum.first = Some(format!("killed at {}: {first}", plan.join(", ")));
    }
}
