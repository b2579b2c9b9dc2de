//! `causeway check`: every mistake at once, in the settings and in the files they name; with
//! `--connect` also whether everything that is named answers.

use crate::{
    Config,
    output::{self, Format},
    settings::{Settings, SourceSettings},
};
use boot::settings::Mistakes;
use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use serde::Serialize;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What production wants of the brokers.
const REPLICAS_WANTED: usize = 3;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: Config,
    /// Also connect to the brokers, the registry and the databases.
    #[arg(long)]
    connect: bool,
}

#[derive(Serialize)]
struct Finding {
    /// `mistake` stops a run; `advice` does not.
    kind: &'static str,
    what: String,
}

pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    let mut mistake = |what: String| findings.push(Finding { kind: "mistake", what });
    let settings = match Settings::load(&arguments.config) {
        Ok(settings) => Some(settings),
        Err(error) => {
            match error.downcast_ref::<Mistakes>() {
                Some(Mistakes(all)) => all.iter().for_each(|m| mistake(m.to_string())),
                None => mistake(format!("{error:#}")),
            }
            None
        }
    };
    if let Some(settings) = &settings {
        files(settings).into_iter().for_each(&mut mistake);
        if arguments.connect {
            connect(settings, &mut findings).await;
        }
    }
    let mistakes = findings.iter().filter(|finding| finding.kind == "mistake").count();
    output::one(format, &findings, |findings| {
        let lines: Vec<String> = findings.iter().map(|f| format!("{}: {}", f.kind, f.what)).collect();
        if lines.is_empty() { "good".to_owned() } else { lines.join("\n") }
    })?;
    anyhow::ensure!(mistakes == 0, "{mistakes} mistake(s) in {}", arguments.config.config.display());
    Ok(())
}

/// The files that the settings name.
fn files(settings: &Settings) -> Vec<String> {
    let mut mistakes = Vec::new();
    let site = &settings.site;
    let known = match site.read_teams() {
        Ok(teams) => teams.iter().map(|team| team.id.clone()).collect::<Vec<_>>(),
        Err(error) => {
            mistakes.push(format!("{error:#}"));
            Vec::new()
        }
    };
    if let Err(error) = gateway::agreements(&site.agreements) {
        mistakes.push(error.to_string());
    }
    match std::fs::read_to_string(&site.users) {
        Ok(text) => {
            let users = gateway::users::parse(&site.users.display().to_string(), &text, |team| {
                known.iter().any(|id| id == team)
            });
            mistakes.extend(users.err().into_iter().flatten());
        }
        Err(error) => mistakes.push(format!("cannot read {}: {error}", site.users.display())),
    }
    if let Err(error) = site.read_limits() {
        mistakes.push(format!("{error:#}"));
    }
    for source in &settings.sources {
        if let Err(error) = normaliser::mapping::load(&source.mapping) {
            mistakes.push(format!("{}: {error}", source.mapping.display()));
        }
    }
    mistakes
}

async fn connect(settings: &Settings, findings: &mut Vec<Finding>) {
    let kafka = settings.kafka.clone();
    let asked = tokio::task::spawn_blocking(move || brokers(&kafka)).await;
    match asked {
        Ok(Ok(count)) if count < REPLICAS_WANTED || usize::from(settings.kafka.replicas) < REPLICAS_WANTED => findings.push(Finding {
            kind: "advice",
            what: format!(
                "kafka: {count} broker(s), replicas = {}: production wants three replicas and min.insync.replicas = 2",
                settings.kafka.replicas
            ),
        }),
        Ok(Ok(_)) => in_sync(settings, findings).await,
        Ok(Err(error)) => findings.push(Finding { kind: "mistake", what: format!("kafka.brokers: no answer: {error}") }),
        Err(_) => {}
    }
    let client = reqwest::Client::builder().timeout(CONNECT_TIMEOUT).build().unwrap_or_default();
    let url = format!("{}/subjects", settings.registry.url.trim_end_matches('/'));
    match client.get(&url).send().await {
        Ok(answer) if answer.status().is_success() => {}
        Ok(answer) => {
            findings.push(Finding { kind: "mistake", what: format!("registry.url: {url} answers {}", answer.status()) })
        }
        Err(error) => findings.push(Finding { kind: "mistake", what: format!("registry.url: no answer: {error}") }),
    }
    for source in &settings.sources {
        findings.extend(source_answers(source).await);
    }
    let own = match boot::database::pool(&settings.database, 1) {
        Ok(pool) => pool.get().await.map(|_| ()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = own {
        findings.push(Finding { kind: "mistake", what: format!("database.url: {error}") });
    }
}

/// Whether a source's database can be reached, and what its tables' replica identities cost.
async fn source_answers(source: &SourceSettings) -> Vec<Finding> {
    let published = match connector_postgres::published(&source.connector()).await {
        Ok(published) => published,
        Err(error) => {
            let what = format!("source {}: {}", source.name, boot::restart::in_one_line(&error));
            return vec![Finding { kind: "mistake", what }];
        }
    };
    if published.is_empty() {
        let what = format!(
            "source {}: no wanted table is published yet; the connector publishes them at its start if its role may",
            source.name
        );
        return vec![Finding { kind: "advice", what }];
    }
    let advice = published.iter().filter_map(|published| published.identity.advice(&published.table));
    advice.map(|advice| Finding { kind: "advice", what: format!("source {}: {advice}", source.name) }).collect()
}

fn brokers(kafka: &change_log::KafkaSettings) -> Result<usize, rdkafka::error::KafkaError> {
    let consumer: BaseConsumer = kafka.client().create()?;
    Ok(consumer.fetch_metadata(None, CONNECT_TIMEOUT)?.brokers().len())
}

/// The topics' own `min.insync.replicas`.
async fn in_sync(settings: &Settings, findings: &mut Vec<Finding>) {
    let Ok(admin) = settings.kafka.client().create::<AdminClient<DefaultClientContext>>() else { return };
    let events = settings.kafka.topic("patient.events");
    let resources = [ResourceSpecifier::Topic(&events)];
    let described =
        admin.describe_configs(&resources, &AdminOptions::new().request_timeout(Some(CONNECT_TIMEOUT))).await;
    let value = described
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|resource| resource.get("min.insync.replicas").and_then(|e| e.value.clone()));
    if value.as_deref() == Some("1") {
        let what = format!("kafka: {events} has min.insync.replicas = 1; production wants 2");
        findings.push(Finding { kind: "advice", what });
    }
}
