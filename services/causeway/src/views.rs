//! `causeway views`: rebuilding the per-patient views, and proving that a rebuild changes nothing.

use crate::{
    Config,
    output::{self, Format},
    settings::Settings,
};
use serde_json::json;

#[derive(clap::Subcommand)]
pub enum Verb {
    /// A checksum over every record and link. Equal before and after a rebuild.
    Checksum {
        #[command(flatten)]
        config: Config,
    },
    /// Wipe the views and start from the beginning of the topics at the next run of the sinks. Stop
    /// the sinks first. Alerts and who acknowledged them are kept.
    Rebuild {
        #[command(flatten)]
        config: Config,
        /// Do it. Without this, only say what would be done.
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::Checksum { config } => {
            let settings = Settings::load(&config)?;
            let client = boot::database::pool(&settings.database, 1)?.get().await?;
            let checksum = sink_views::checksum(&client).await?;
            output::one(format, &json!({ "checksum": checksum }), |_| checksum.clone())
        }
        Verb::Rebuild { config, yes } => {
            let settings = Settings::load(&config)?;
            if !yes {
                println!("would wipe the schema `record` and reset the offsets of the sinks; say --yes to do it");
                return Ok(());
            }
            let pool = boot::database::pool(&settings.database, 1)?;
            sink_views::rebuild(&pool, &settings.kafka).await?;
            output::one(format, &json!({ "wiped": true }), |_| "wiped; start the sinks to replay".to_owned())
        }
    }
}
