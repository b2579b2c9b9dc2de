//! `causeway mapping test`: a mapping's cases, and what differs.

use crate::output::{self, Format};
use anyhow::Context;
use serde_json::json;
use std::path::{Path, PathBuf};
use workbench::cases::{self, Bench, Difference, Outcome};

#[derive(clap::Args)]
pub struct Arguments {
    /// Mapping files. The cases of `emis.toml` lie in the folder `emis.test` beside it.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Write what comes into the cases as what is expected, instead of comparing.
    #[arg(long)]
    update: bool,
}

pub fn run(arguments: &Arguments, format: Format) -> anyhow::Result<()> {
    let benches: Vec<_> = arguments.files.iter().map(|file| (file, Bench::load(file))).collect();
    let unread: Vec<String> =
        benches.iter().filter_map(|(_, bench)| bench.as_ref().err().map(ToString::to_string)).collect();
    anyhow::ensure!(unread.is_empty(), "cases cannot be read:\n{}", unread.join("\n"));
    let mut results = Vec::new();
    for (file, bench) in benches.into_iter().filter_map(|(file, bench)| Some((file, bench.ok()?))) {
        let outcomes = bench.run();
        if arguments.update {
            update(&bench, &outcomes)?;
        }
        results.push(result(file, &bench, outcomes, arguments.update));
    }
    let rows: Vec<_> = results.iter().map(Tested::json).collect();
    output::one(format, &rows, |_| results.iter().map(Tested::text).collect::<Vec<_>>().join("\n"))?;
    let wrong: usize = results.iter().map(Tested::wrong).sum();
    let all: usize = results.iter().map(|it| it.outcomes.len()).sum();
    anyhow::ensure!(wrong == 0, "{wrong} of {all} cases differ; --update takes what came as what is expected");
    Ok(())
}

fn update(bench: &Bench, outcomes: &[Outcome]) -> anyhow::Result<()> {
    for (case, outcome) in bench.cases.iter().zip(outcomes) {
        let file = case.file.display();
        let text = cases::updated(case, &outcome.got)
            .with_context(|| format!("{file}: only transactions written as [[transaction]] can be updated"))?;
        std::fs::write(&case.file, text).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

/// A mapping with what its cases came to.
struct Tested {
    file: String,
    without_case: Vec<String>,
    outcomes: Vec<Outcome>,
    updated: bool,
}

fn result(file: &Path, bench: &Bench, outcomes: Vec<Outcome>, updated: bool) -> Tested {
    let without_case = bench.without_case().into_iter().map(str::to_owned).collect();
    Tested { file: file.display().to_string(), without_case, outcomes, updated }
}

impl Tested {
    fn wrong(&self) -> usize {
        let differ = self.outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).count();
        if self.updated { 0 } else { differ }
    }

    fn json(&self) -> serde_json::Value {
        let case = |outcome: &Outcome| {
            let differences: Vec<_> = outcome.differences.iter().map(difference).collect();
            json!({ "file": outcome.file.display().to_string(), "about": outcome.about, "differences": differences })
        };
        let cases: Vec<_> = self.outcomes.iter().map(case).collect();
        json!({ "file": self.file, "updated": self.updated, "records_without_case": self.without_case, "cases": cases })
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        for outcome in &self.outcomes {
            let file = outcome.file.display();
            let verdict = match outcome.differences.as_slice() {
                [] => "good",
                _ if self.updated => "written",
                _ => "DIFFERS",
            };
            lines.push(format!("{file}: {verdict}: {}", outcome.about));
            let told = outcome.differences.iter().filter(|_| !self.updated);
            lines.extend(told.map(|(place, line, difference)| {
                let difference = difference.to_string().replace('\n', "\n  ");
                format!("  transaction {place} (line {line})\n  {difference}")
            }));
        }
        if !self.without_case.is_empty() {
            lines.push(format!("{}: no case expects an event of: {}", self.file, self.without_case.join(", ")));
        }
        lines.join("\n")
    }
}

fn difference((place, line, difference): &(usize, usize, Difference)) -> serde_json::Value {
    let told = match difference {
        Difference::Missing(missing) => json!({ "missing": entry(missing) }),
        Difference::Unexpected(came) => json!({ "unexpected": entry(came) }),
        Difference::Fields { about, fields } => {
            let field = |(name, expected, got): &(String, Option<String>, Option<String>)| json!({ "field": name, "expected": expected, "got": got });
            json!({ "about": about, "fields": fields.iter().map(field).collect::<Vec<_>>() })
        }
        Difference::Order(came) => json!({ "order": came }),
    };
    json!({ "transaction": place, "line": line, "difference": told })
}

pub fn entry(entry: &cases::Entry) -> serde_json::Value {
    let fields: serde_json::Map<_, _> =
        entry.fields.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({ "what": entry.what, "about": entry.about, "fields": fields })
}
