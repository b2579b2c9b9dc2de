//! `causeway mapping`: the tools for who writes a mapping.

mod cases;
mod check;
pub mod database;
mod draft;
mod live;

use crate::output::Format;
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
    /// Run a mapping's cases: rows against the events and quarantine that are expected of them.
    Test(cases::Arguments),
    /// Draft a mapping from a live database, with the evidence for each line.
    New(draft::Arguments),
    /// What a mapping leaves out of a live database: tables, columns, codes, units and statuses, the most frequent first.
    Coverage(live::Coverage),
    /// How one record came to be, cell by cell, from the rows that a live database has now. It shows a patient's values.
    Explain(live::Explain),
}

pub async fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::Check { files, database } => check::run(&files, database, format).await,
        Verb::Test(arguments) => cases::run(&arguments, format),
        Verb::New(arguments) => draft::run(arguments, format).await,
        Verb::Coverage(arguments) => live::cover(arguments, format).await,
        Verb::Explain(arguments) => live::explain(arguments, format).await,
    }
}
