//! A live database, as the tools for mappings look at it.

use anyhow::Context;
use change::described::Described;
use connector_postgres::{ConnectorError, Settings};
use mapping::Mapping;
use std::path::PathBuf;
use workbench::fit::{self, Fit};

/// The source's name in the variable of its password.
const NAME: &str = "mapping";
pub const PASSWORD: &str =
    "cannot look at the database (its password comes from --password-file or CAUSEWAY_SOURCE_MAPPING_PASSWORD)";

/// How a database is reached that a verb needs.
#[derive(clap::Args)]
pub struct Reached {
    /// A file that holds the password; otherwise it is taken from `CAUSEWAY_SOURCE_MAPPING_PASSWORD`.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The certificate authority that signed the server's certificate (PEM). Without one, only loopback is connected to.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Reached {
    pub fn settings(self, url: &str) -> anyhow::Result<Settings> {
        let mut settings = toml::Table::new();
        settings.insert("name".into(), NAME.into());
        settings.insert("url".into(), url.into());
        let settings: Settings = settings.try_into().context("the database's settings")?;
        Ok(Settings { password_file: self.password_file, ca_file: self.ca_file, ..settings })
    }

    /// Everything that the catalogue tells, with statistics.
    pub async fn surveyed(self, url: &str) -> anyhow::Result<Vec<Described>> {
        connector_postgres::surveyed(&self.settings(url)?).await.context(PASSWORD)
    }
}

#[derive(clap::Args)]
pub struct Arguments {
    /// Also compare tables, columns and types with this database, such as postgres://user@host:5432/emis, without a password.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    #[command(flatten)]
    reached: Reached,
}

impl Arguments {
    /// How each of these mappings fits the database; nothing if no database was named.
    pub async fn fits(self, mappings: &[&Mapping]) -> anyhow::Result<Vec<Fit>> {
        let Some(url) = self.database else { return Ok(mappings.iter().map(|_| Fit::default()).collect()) };
        fits(&self.reached.settings(&url)?, mappings).await.context(PASSWORD)
    }
}

/// How each of these mappings fits the source's database.
pub async fn fits(settings: &Settings, mappings: &[&Mapping]) -> Result<Vec<Fit>, ConnectorError> {
    let tables = mappings.iter().flat_map(|mapping| &mapping.tables);
    let names: Vec<String> = tables.map(|table| table.id.to_string()).collect();
    let described = connector_postgres::described(settings, &names).await?;
    Ok(mappings.iter().map(|mapping| fit::fit(mapping, &described)).collect())
}
