//! `causeway mapping check`: every mistake and warning in mapping files, with file, key and line; and what a database does
//! not hold that they read.

pub mod database;

use crate::output::{self, Format};
use ::mapping::{Mapping, Mistake};
use database::Lack;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum Verb {
    /// Parse mapping files and tell every mistake, and what may not be meant.
    Check {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        database: database::Arguments,
    },
}

pub async fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    let Verb::Check { files, database } = verb;
    let loaded: Vec<_> = files.iter().map(|file| ::mapping::load(file)).collect();
    let good: Vec<&Mapping> = loaded.iter().filter_map(|loaded| loaded.as_ref().ok()).collect();
    let mut lacks = database.lacks(&good).await?.into_iter();
    let results: Vec<Checked> = files
        .iter()
        .zip(&loaded)
        .map(|(file, loaded)| {
            let (mistakes, warnings) = match loaded {
                Ok(mapping) => {
                    let lacks = lacks.next().unwrap_or_default();
                    (
                        lacks.iter().map(Lack::to_string).collect(),
                        mapping.warnings.iter().map(Mistake::to_string).collect(),
                    )
                }
                Err(error) => (error.to_string().lines().map(|line| line.trim().to_owned()).collect(), Vec::new()),
            };
            Checked { file: file.display().to_string(), mistakes, warnings }
        })
        .collect();
    let rows: Vec<_> =
        results.iter().map(|it| json!({ "file": it.file, "mistakes": it.mistakes, "warnings": it.warnings })).collect();
    output::one(format, &rows, |_| {
        let lines = results.iter().map(|it| {
            let verdict = if it.mistakes.is_empty() { " good" } else { "" };
            let warnings = it.warnings.iter().map(|warning| format!("warning: {warning}"));
            let told: Vec<String> = it.mistakes.iter().cloned().chain(warnings).collect();
            let told: String = told.iter().map(|line| format!("\n  {line}")).collect();
            format!("{}:{verdict}{told}", it.file)
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    let wrong = results.iter().filter(|it| !it.mistakes.is_empty()).count();
    anyhow::ensure!(wrong == 0, "{wrong} of {} mapping files have mistakes", results.len());
    Ok(())
}

struct Checked {
    file: String,
    mistakes: Vec<String>,
    warnings: Vec<String>,
}
