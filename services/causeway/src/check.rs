//! `causeway check`: every mistake at once, in the settings and in the files they name; with
//! `--connect` also whether everything that is named answers.

use crate::{
    Config,
    folder::Folder,
    labs, mapping,
    output::{self, Format},
    settings::{Settings, SourceSettings},
    state, terminology,
};
use boot::settings::Mistakes;
use coding::lab::Lab;
use connector_postgres::ConnectorError;
use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use serde::Serialize;
use std::{collections::BTreeSet, time::Duration};
use workbench::fit::Misfit;

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
pub struct Finding {
    /// `mistake` stops a run; `advice` does not; `watched` says which results the rules look at, `unwatched` which have no
    /// limits, `rule` which rules are on.
    pub kind: &'static str,
    pub what: String,
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
        let (mistakes, advice) = state::look(&settings.normaliser.state);
        findings.extend(mistakes.into_iter().map(|what| Finding { kind: "mistake", what }));
        findings.extend(advice.into_iter().map(|what| Finding { kind: "advice", what }));
        mapping_warnings(settings, &mut findings);
        let strangers = settings.strangers().into_iter();
        findings.extend(strangers.map(|what| Finding { kind: "advice", what }));
        terminology::look(settings, &mut findings);
        if let Ok(limits) = settings.site.read_limits(settings.lab()) {
            watched(&limits, settings.lab(), &mut findings);
            rules(&limits, settings.lab(), &mut findings);
        }
        if arguments.connect {
            connect(settings, &mut findings).await;
        }
    }
    let mistakes = findings.iter().filter(|finding| finding.kind == "mistake").count();
    output::one(format, &findings, |findings| {
        let lines: Vec<String> = findings.iter().map(|f| format!("{}: {}", f.kind, f.what)).collect();
        let good = findings
            .iter()
            .all(|finding| ["watched", "unwatched", "rule"].contains(&finding.kind))
            .then(|| "good".to_owned());
        lines.into_iter().chain(good).collect::<Vec<_>>().join("\n")
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
    if let Some(Err(error)) = settings.gateway.tls.as_ref().map(gateway::server::Tls::load) {
        mistakes.push(error.to_string());
    }
    if let Err(error) = gateway::consent(site.consent.as_deref()) {
        mistakes.push(error.to_string());
    }
    if let Err(error) = site.closed_medicines(None) {
        mistakes.push(format!("{error:#}"));
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
    if let Err(error) = site.closed_limits(None, settings.lab()) {
        mistakes.push(format!("{error:#}"));
    }
    if let Err(error) = site.read_weights() {
        mistakes.push(format!("{error:#}"));
    }
    let problems = settings.folder.iter().flat_map(Folder::problems);
    mistakes.extend(problems.map(|(file, what)| format!("{file}: {what}")));
    for source in &settings.sources {
        if let Err(error) = ::mapping::load(&source.mapping) {
            mistakes.push(format!("{}: {error}", source.mapping.display()));
        }
    }
    mistakes
}

/// What a good mapping may not mean. A mapping that several sources share is told once.
fn mapping_warnings(settings: &Settings, findings: &mut Vec<Finding>) {
    let files: BTreeSet<_> = settings.sources.iter().map(|source| &source.mapping).collect();
    for mapping in files.into_iter().filter_map(|file| ::mapping::load(file).ok()) {
        findings.extend(mapping.warnings.iter().map(|warning| Finding { kind: "advice", what: warning.to_string() }));
    }
}

/// Every analyte of the site's rules with all the codes that make a result one of it: another code is not watched. A
/// limit that no result can meet would look like one that watches.
fn watched(limits: &sink_alerts::Limits, lab: &Lab, findings: &mut Vec<Finding>) {
    let limit = limits.limit.iter().map(|limit| (limit.analyte.as_str(), limit.unit.as_str()));
    let signal = limits.adrenal.signal.iter().map(|signal| (signal.analyte.as_str(), signal.unit.as_str()));
    let all: BTreeSet<(&str, &str)> = limit.chain(signal).collect();
    let mut told = BTreeSet::new();
    for (key, unit) in all {
        let (kind, what) = match lab.analyte(key) {
            None => ("mistake", format!("alerts: no code names the analyte `{key}`, so its limits watch nothing")),
            Some(analyte) if analyte.unit != unit => {
                let wanted = &analyte.unit;
                (
                    "mistake",
                    format!("alerts: limits of `{key}` are in {unit}, its results in {wanted}: they watch nothing"),
                )
            }
            Some(_) if !told.insert(key) => continue,
            Some(analyte) => ("watched", format!("{key}: {}{}", labs::codes(analyte), labs::own_codes(lab, key))),
        };
        findings.push(Finding { kind, what });
    }
}

/// Which rules are on, and what has no limits: nobody is to take silence for watching.
fn rules(limits: &sink_alerts::Limits, lab: &Lab, findings: &mut Vec<Finding>) {
    let known = lab.analytes().iter().map(|analyte| analyte.key.as_str());
    let unwatched: Vec<&str> = known.filter(|key| !limits.watches(key)).collect();
    if !unwatched.is_empty() {
        findings.push(Finding { kind: "unwatched", what: format!("no critical limits: {}", unwatched.join(", ")) });
    }
    // Limits of children alone are easily taken for watching everybody.
    let adults = |key: &&str| limits.limit.iter().any(|it| it.analyte == **key && it.age_below.is_none());
    let known = lab.analytes().iter().map(|analyte| analyte.key.as_str()).filter(|key| limits.watches(key));
    let children: Vec<&str> = known.filter(|key| !adults(key)).collect();
    if !children.is_empty() {
        findings.push(Finding {
            kind: "unwatched",
            what: format!("no critical limits of adults: {}", children.join(", ")),
        });
    }
    findings.extend(limits.pair.iter().filter(|pair| !pair.missing.is_empty()).map(|pair| Finding {
        kind: "unwatched",
        what: format!("pair `{}` has no number. Missing: {}", pair.name, pair.missing),
    }));
    findings.extend(sink_alerts::Rule::ALL.into_iter().map(|rule| {
        let (card, on) = (rule.card(), if rule.is_on(limits) { "on" } else { "off" });
        let what = format!("{} is {on} (version {}; {})", rule.as_str(), card.version, card.source);
        Finding { kind: "rule", what }
    }));
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
        match source_answers(source).await {
            Ok(found) => findings.extend(found),
            Err(error) => {
                let what = format!("source {}: {}", source.name, boot::restart::in_one_line(&error));
                findings.push(Finding { kind: "mistake", what });
            }
        }
    }
    let own = match boot::database::pool(&settings.database, 1) {
        Ok(pool) => pool.get().await.map(|_| ()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = own {
        findings.push(Finding { kind: "mistake", what: format!("database.url: {error}") });
    }
}

/// Whether a source's database can be reached, what its mapping reads and it does not hold, and what its tables' replica
/// identities cost.
async fn source_answers(source: &SourceSettings) -> Result<Vec<Finding>, ConnectorError> {
    let published = connector_postgres::published(&source.connector()).await?;
    let mut findings = source_lacks(source).await?;
    if published.is_empty() {
        let what = format!(
            "source {}: no wanted table is published yet; the connector publishes them at its start if its role may",
            source.name
        );
        findings.push(Finding { kind: "advice", what });
        return Ok(findings);
    }
    let identities = published.iter().filter_map(|published| published.identity.advice(&published.table));
    // A source that has gone away since is met by the next check.
    let others = connector_postgres::advice(&source.connector()).await.unwrap_or_default();
    // What names old rows is said above.
    let others = others.iter().filter(|advice| advice.sql.iter().all(|sql| !sql.contains("replica identity")));
    let advice = identities.chain(others.map(ToString::to_string));
    let told = |advice: String| Finding { kind: "advice", what: format!("source {}: {advice}", source.name) };
    findings.extend(advice.map(told));
    Ok(findings)
}

/// What its mapping reads and its database does not hold, or holds as something else. One mapping may serve a system that not every site has whole: a
/// table that is not there is advice. That the mapping has mistakes is said already.
async fn source_lacks(source: &SourceSettings) -> Result<Vec<Finding>, ConnectorError> {
    let Ok(mapping) = ::mapping::load(&source.mapping) else { return Ok(Vec::new()) };
    let finding = |misfit: &Misfit| Finding {
        kind: if matches!(misfit, Misfit::Table { .. }) { "advice" } else { "mistake" },
        what: format!("source {}: {}: {misfit}", source.name, source.mapping.display()),
    };
    let fits = mapping::database::fits(&source.connector(), &[&mapping]).await?;
    Ok(fits.iter().flat_map(|fit| &fit.mistakes).map(finding).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limits: &str, want: &[&str]) {
        let limits = sink_alerts::Limits::parse(limits).expect("limits");
        let mut findings = Vec::new();
        watched(&limits, &Lab::shipped(), &mut findings);
        let got: Vec<String> = findings.iter().map(|finding| format!("{}: {}", finding.kind, finding.what)).collect();
        assert_eq!(got.len(), want.len(), "{got:?}");
        for (got, want) in got.iter().zip(want) {
            assert!(got.starts_with(want), "{got}");
        }
    }

    #[test]
    fn rules_and_what_nothing_watches_are_told() {
        let limits = sink_alerts::Limits::parse(include_str!("../../../site/alerts.toml")).expect("limits");
        let mut findings = Vec::new();
        rules(&limits, &Lab::shipped(), &mut findings);
        let unwatched: Vec<&str> = findings[0]
            .what
            .strip_prefix("no critical limits: ")
            .into_iter()
            .flat_map(|keys| keys.split(", "))
            .collect();
        assert!(unwatched.contains(&"calcium") && !unwatched.contains(&"potassium"), "{unwatched:?}");
        assert_eq!(findings[1].what, "no critical limits of adults: urea, creatinine");
        let told = |rule: &str| findings.iter().find(|finding| finding.what.starts_with(rule)).map(|it| &*it.what);
        assert!(told("pair `methotrexate-egfr` has no number. Missing: the number: ").is_some());
        assert!(told("drug-laboratory is off ").is_some() && told("delta is off ").is_some());
        assert!(told("aki is off (version 1; ").is_some() && told("critical-limit is on (version 2; ").is_some());
    }

    #[test]
    fn the_sites_limits_are_told_with_all_their_codes() {
        let site = include_str!("../../../site/alerts.toml");
        check(
            site,
            &[
                "watched: creatinine: ",
                "watched: glucose: Glucose (Read v2 44g..",
                "watched: potassium: Potassium (Read v2 44I4., ",
                "watched: sodium: ",
                "watched: urea: ",
            ],
        );
        check(
            &site.replace("\"glucose\"", "\"troponin\""),
            &[
                "watched: creatinine",
                "watched: potassium",
                "watched: sodium",
                "mistake: alerts: no code names the analyte `troponin`",
                "watched: urea",
            ],
        );
        check(
            &site.replacen("mmol/L", "mg/dL", 1),
            &[
                "watched: creatinine",
                "watched: glucose",
                "watched: potassium",
                "mistake: alerts: limits of `sodium` are in mg/dL",
                "watched: sodium",
                "watched: urea",
            ],
        );
    }
}
