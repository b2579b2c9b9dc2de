//! `causeway mapping check`: every mistake in mapping files, with file, key and line.

use crate::output::{self, Format};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum Verb {
    /// Parse mapping files and tell every mistake.
    Check {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    let Verb::Check { files } = verb;
    let results: Vec<(String, Vec<String>)> = files
        .iter()
        .map(|file| {
            let mistakes = match normaliser::mapping::load(file) {
                Ok(_) => Vec::new(),
                Err(error) => error.to_string().lines().map(|line| line.trim().to_owned()).collect(),
            };
            (file.display().to_string(), mistakes)
        })
        .collect();
    let rows: Vec<_> = results.iter().map(|(file, mistakes)| json!({ "file": file, "mistakes": mistakes })).collect();
    output::one(format, &rows, |_| {
        let lines = results.iter().map(|(file, mistakes)| {
            if mistakes.is_empty() { format!("{file}: good") } else { format!("{file}:\n  {}", mistakes.join("\n  ")) }
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    let wrong = results.iter().filter(|(_, mistakes)| !mistakes.is_empty()).count();
    anyhow::ensure!(wrong == 0, "{wrong} of {} mapping files have mistakes", results.len());
    Ok(())
}
