//! `causeway mapping new`: a commented draft from a live database.

use super::database::Reached;
use crate::output::{self, Format};
use anyhow::Context;
use serde_json::json;
use std::path::PathBuf;
use workbench::draft::{self, Options};

#[derive(clap::Args)]
pub struct Arguments {
    /// The database, such as postgres://user@host:5432/emis, without a password.
    #[arg(long, value_name = "URL")]
    from_database: String,
    #[command(flatten)]
    reached: Reached,
    /// What the system is called; otherwise as the database.
    #[arg(long, value_name = "NAME")]
    system: Option<String>,
    /// The zone of times that tell none.
    #[arg(long, value_name = "ZONE", default_value = "Europe/London")]
    zone: String,
    /// The patients' table, `schema.table`, if the draft takes another for it.
    #[arg(long, value_name = "TABLE")]
    patients: Option<String>,
    /// Only tables of these schemas.
    #[arg(long, value_name = "SCHEMA")]
    schema: Vec<String>,
    /// Show common values also of columns whose names do not say that they hold codes. They may be patients': look before you
    /// pass the draft on.
    #[arg(long)]
    with_samples: bool,
    /// Write the draft to this file, which must not be there; otherwise it is printed.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
    let Arguments { from_database: url, reached, system, zone, patients, schema, with_samples, to } = arguments;
    let mut tables = reached.surveyed(&url).await?;
    tables.retain(|table| schema.is_empty() || schema.iter().any(|schema| **schema == *table.table.schema));
    let system = system.or_else(|| Some(url.rsplit('/').next()?.split('?').next()?.to_owned()));
    let system = system.filter(|system| !system.is_empty()).unwrap_or_else(|| "source".into());
    let options = Options { system: &system, zone: &zone, samples: with_samples, patients: patients.as_deref() };
    let draft = draft::draft(&tables, &options)?;
    let Some(file) = to else {
        let records: Vec<_> =
            draft.records.iter().map(|(name, table)| json!({ "name": name, "table": table })).collect();
        let left: Vec<_> = draft.left.iter().map(|(table, why)| json!({ "table": table, "why": why })).collect();
        let told = json!({ "draft": draft.text, "patients": draft.patients, "records": records, "left": left });
        return output::one(format, &told, |_| draft.text.trim_end().to_owned());
    };
    let mut options = std::fs::OpenOptions::new();
    let written = options.write(true).create_new(true).open(&file);
    let written = written.and_then(|mut file| std::io::Write::write_all(&mut file, draft.text.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))?;
    let told = json!({ "file": file.display().to_string(), "records": draft.records.len(), "left": draft.left.len() });
    output::one(format, &told, |_| {
        format!(
            "{}: {} records drafted, {} tables left, patients in {}. Next: causeway mapping check {} --database {url}",
            file.display(),
            draft.records.len(),
            draft.left.len(),
            draft.patients,
            file.display()
        )
    })
}
