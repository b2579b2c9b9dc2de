//! `causeway mapping check`: every mistake and warning in mapping files, with file, key and line; and what a database does
//! not hold that they read.

use super::database;
use crate::output::{self, Format};
use ::mapping::{Mapping, Mistake};
use serde_json::json;
use std::path::PathBuf;

pub async fn run(files: &[PathBuf], database: database::Arguments, format: Format) -> anyhow::Result<()> {
    let loaded: Vec<_> = files.iter().map(|file| ::mapping::load(file)).collect();
    let good: Vec<&Mapping> = loaded.iter().filter_map(|loaded| loaded.as_ref().ok()).collect();
    let mut fits = database.fits(&good).await?.into_iter();
    let results: Vec<Checked> = files
        .iter()
        .zip(&loaded)
        .map(|(file, loaded)| {
            let (mistakes, warnings) = match loaded {
                Ok(mapping) => {
                    let fit = fits.next().unwrap_or_default();
                    let warnings = mapping.warnings.iter().map(Mistake::to_string);
                    (
                        fit.mistakes.iter().map(ToString::to_string).collect(),
                        warnings.chain(fit.warnings.iter().map(ToString::to_string)).collect(),
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
