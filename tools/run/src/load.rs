//! `./run load gp-connect DIR`: real GP records into the GP database, as rows.

use anyhow::{Context, ensure};
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// GP Connect structured records (FHIR STU3 bundles). Loading twice changes nothing.
    GpConnect {
        /// A folder of `*.json` bundles.
        folder: PathBuf,
        /// The GP database, with its password; without this, that of `./run up`.
        #[arg(long, env = "GP_URL", hide_env_values = true)]
        url: Option<String>,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let What::GpConnect { folder, url, json } = &arguments.what;
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    let url = match url {
        Some(url) => url.clone(),
        None => stack_url().context("no --url, and ./run up is not running")?,
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let report = runtime.block_on(async {
        let (mut client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.context("cannot connect to the GP database")?;
        tokio::spawn(connection);
        let there = client.query_one("select to_regnamespace('emis') is not null", &[]).await?.get::<_, bool>(0);
        if !there {
            client.batch_execute(region::load::GP_DDL).await.context("cannot make the schema emis")?;
        }
        anyhow::Ok(region::gp_connect::load(folder, &mut client).await?)
    })?;
    if *json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} files, {} patients, {} rows changed", report.files, report.patients, report.rows_changed);
    for (table, rows) in &report.rows {
        println!("  {table:<34} {rows:>6} rows");
    }
    println!("what the schema cannot hold:");
    for (path, count) in &report.not_held {
        println!("  {path:<60} {count:>6}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `GP_URL` of `.local/stack.env`.
fn stack_url() -> Option<String> {
    let text = std::fs::read_to_string(stack::local().join("stack.env")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("GP_URL="))?;
    Some(line.trim_matches(['"', '\'']).to_owned())
}
