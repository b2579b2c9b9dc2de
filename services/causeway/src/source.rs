//! `causeway source`: what a source database must grant.

use crate::{Config, settings::Settings};
use anyhow::Context;

#[derive(clap::Subcommand)]
pub enum Verb {
    /// Print the SQL that gives the connector the least privilege it needs. An administrator of the
    /// source reads it and runs it; Causeway never does.
    Setup {
        #[command(flatten)]
        config: Config,
        /// The source's name in the settings.
        source: String,
        /// Print the script. (There is no other way: the script is run by the source's owner.)
        #[arg(long, required = true)]
        print_sql: bool,
    },
}

pub fn run(verb: Verb) -> anyhow::Result<()> {
    let Verb::Setup { config, source, print_sql: _ } = verb;
    let settings = Settings::load(&config)?;
    let names = || settings.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = settings.sources.iter().find(|s| s.name == source);
    let found = found.with_context(|| format!("no [[source]] is named `{source}`; there are: {}", names()))?;
    print!("{}", connector_postgres::setup_sql(&found.connector()));
    Ok(())
}
