//! The one binary: a subcommand per service, and the operator's verbs.
//!
//! # Why
//! A thin main: settings are checked before anything connects, services are functions of
//! settings and a stop signal, and every verb that prints does so as text or as JSON.

mod agreements;
mod check;
mod feedback;
mod folder;
mod labs;
mod linkage;
mod mapping;
mod members;
mod output;
mod quarantine;
mod replay;
mod run;
mod settings;
mod source;
mod sources;
mod state;
mod status;
mod terminology;
mod views;

use clap::{Parser, Subcommand};
use output::Format;
use std::{path::PathBuf, process::ExitCode};

/// Records are handed from thread to thread, and freed on another than the one that made them: the system's allocator
/// pays for that with each one. The override takes the Kafka client's C along.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Streams record changes out of health databases, codes them, and keeps records and alerts live.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    /// How to print results.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run services until SIGTERM or Ctrl-C: all of them, or those named.
    Run(run::Arguments),
    /// Tell every mistake in a settings file and in the files it names. Nothing is connected to
    /// unless asked.
    Check(check::Arguments),
    /// What a running process is doing: readiness of its parts, sources, lag.
    Status(status::Arguments),
    /// What could not be put into the record.
    #[command(subcommand)]
    Quarantine(quarantine::Verb),
    /// Tell again what differs from what was told of a source, or count what would.
    Replay(replay::Arguments),
    /// Set up, watch, pause and resume source databases, and read them again.
    #[command(subcommand)]
    Source(source::Verb),
    /// The lab table: what results are known by, and what a site adds to it.
    #[command(subcommand)]
    Labs(labs::Verb),
    /// Check and test mapping files.
    #[command(subcommand)]
    Mapping(mapping::Verb),
    /// Who is one person: weights, the clerks' queue and what clerks decide.
    #[command(subcommand)]
    Identity(linkage::Verb),
    /// Load releases of SNOMED CT, Read maps, LOINC and dm+d, and look into them.
    #[command(subcommand)]
    Terminology(terminology::Verb),
    /// Look after the per-patient views.
    #[command(subcommand)]
    Views(views::Verb),
    /// What readers said is wrong with alerts, and what they are answered.
    #[command(subcommand)]
    Feedback(feedback::Verb),
    /// Who may receive what, from whom, by which agreement.
    #[command(subcommand)]
    Agreements(agreements::Verb),
}

/// A settings file, by path; the argument most verbs share.
#[derive(clap::Args)]
pub struct Config {
    /// The settings file (TOML). `CAUSEWAY__SECTION__KEY` in the environment overrides a key.
    #[arg(env = "CAUSEWAY_CONFIG")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("causeway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    // librdkafka brings its own TLS; everything else uses this provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let format = arguments.output;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        match arguments.verb {
            Verb::Run(arguments) => run::run(arguments).await,
            Verb::Check(arguments) => check::run(arguments, format).await,
            Verb::Status(arguments) => status::run(arguments, format).await,
            Verb::Quarantine(verb) => quarantine::run(verb, format).await,
            Verb::Replay(arguments) => replay::run(arguments, format).await,
            Verb::Source(verb) => source::run(verb, format).await,
            Verb::Labs(verb) => labs::run(verb, format),
            Verb::Mapping(verb) => mapping::run(verb, format).await,
            Verb::Identity(verb) => linkage::run(verb, format).await,
            Verb::Terminology(verb) => terminology::run(verb, format),
            Verb::Views(verb) => views::run(verb, format).await,
            Verb::Feedback(verb) => feedback::run(verb, format).await,
            Verb::Agreements(verb) => agreements::run(&verb, format),
        }
    })
}
