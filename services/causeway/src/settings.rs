//! The settings file of a region, whole: every section, and the files that it names.

use crate::Config;
use anyhow::Context;
use boot::{
    database::DatabaseSettings,
    logs::LogFormat,
    ops::OpsSettings,
    settings::{Document, Mistake, Mistakes},
};
use change_log::{KafkaSettings, RegistrySettings};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A region has hundreds of sources; one process should not have more.
pub const SOURCES_MAX: usize = 500;

#[derive(Debug)]
pub struct Settings {
    pub kafka: KafkaSettings,
    pub registry: RegistrySettings,
    pub database: DatabaseSettings,
    pub ops: OpsSettings,
    pub logs: LogSettings,
    pub gateway: gateway::Settings,
    pub site: SiteSettings,
    pub normaliser: normaliser::settings::Settings,
    pub views: sink_views::Settings,
    pub alerts: sink_alerts::Settings,
    pub sources: Vec<SourceSettings>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    #[serde(default)]
    pub format: LogFormat,
}

/// The files that say who works here, what alerts, and what may be shared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSettings {
    pub teams: PathBuf,
    pub alerts: PathBuf,
    pub users: PathBuf,
    /// A folder of agreement files.
    pub agreements: PathBuf,
    /// Lines of `user = password`, from which hashes are seeded at start. Without it nobody's password changes.
    pub passwords_file: Option<PathBuf>,
    /// Facts about medicines and steroids; the file that is shipped unless said.
    pub medicines: Option<PathBuf>,
}

/// One captured database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// `changes.<name>` is its topic.
    pub name: String,
    /// ODS code of the organisation that holds the records.
    pub organisation: String,
    pub mapping: PathBuf,
    /// `postgres://user@host:port/database`, without a password.
    pub url: String,
    pub password_file: Option<PathBuf>,
    #[serde(default)]
    pub tls: boot::database::Tls,
    pub ca_file: Option<PathBuf>,
    /// `schema.table`, with `*` for any name.
    pub tables: Vec<String>,
    pub publication: Option<String>,
    pub slot: Option<String>,
    /// `refuse` (default) or, said outright, `snapshot`: what to do when the slot no longer continues the log.
    #[serde(default)]
    pub when_lost: connector_postgres::WhenLost,
    /// How much WAL the slot may keep, in bytes.
    pub wal_budget: Option<u64>,
    /// `warn` (default), `throttle` or `pause-tables`: what to do when it keeps more.
    #[serde(default)]
    pub when_over: connector_postgres::WhenOver,
    /// What `pause-tables` may leave out for a while: `schema.table`, with `*` for any name.
    #[serde(default)]
    pub may_pause: Vec<String>,
    /// How long a backlog's record waits for others to share its request; 20 unless said.
    pub linger_ms: Option<u16>,
    /// How tables are read.
    #[serde(default)]
    pub snapshot: connector_postgres::SnapshotSettings,
    /// `log` (default): `changes.<name>` only. `per-table`: Debezium's own topics too.
    #[serde(default)]
    pub topics: Topics,
    /// Whether the per-table topics tell truncations, as `t`. Debezium's do not unless told to.
    #[serde(default)]
    pub topics_truncations: bool,
    /// `schema.table` of tables that have no per-table topic.
    #[serde(default)]
    pub topics_without: Vec<String>,
}

/// Which topics a source's changes are written to.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Topics {
    #[default]
    Log,
    /// The log, and from it `<source>.<schema>.<table>`.
    PerTable,
}

impl SourceSettings {
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        std::iter::once(&mut self.mapping).chain(&mut self.password_file).chain(&mut self.ca_file)
    }

    pub fn connector(&self) -> connector_postgres::Settings {
        // Every field by its name: none is forgotten.
        connector_postgres::Settings {
            name: self.name.clone(),
            url: self.url.clone(),
            password_file: self.password_file.clone(),
            tls: self.tls,
            ca_file: self.ca_file.clone(),
            tables: self.tables.clone(),
            publication: self.publication.clone(),
            slot: self.slot.clone(),
            when_lost: self.when_lost,
            wal_budget: self.wal_budget,
            when_over: self.when_over,
            may_pause: self.may_pause.clone(),
            linger_ms: self.linger_ms.unwrap_or(connector_postgres::LINGER_MS),
            snapshot: self.snapshot,
        }
    }

    /// Its per-table topics, if it has them.
    pub fn topics(&self) -> Option<sink_topics::Settings> {
        (self.topics == Topics::PerTable).then(|| sink_topics::Settings {
            source: self.name.clone(),
            truncations: self.topics_truncations,
            without: self.topics_without.clone(),
        })
    }

    pub fn normaliser(&self) -> normaliser::settings::SourceSettings {
        normaliser::settings::SourceSettings {
            name: self.name.clone(),
            mapping: self.mapping.clone(),
            organisation: self.organisation.clone(),
        }
    }
}

impl SiteSettings {
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let needed = [&mut self.teams, &mut self.alerts, &mut self.users, &mut self.agreements];
        needed.into_iter().chain(&mut self.passwords_file).chain(&mut self.medicines)
    }

    pub fn read_teams(&self) -> anyhow::Result<event::teams::Teams> {
        let path = self.teams.display();
        let text = std::fs::read_to_string(&self.teams).with_context(|| format!("cannot read {path}"))?;
        let teams = event::teams::Teams::parse(&text);
        let teams = teams.map_err(|mistakes| anyhow::anyhow!("{path}: {}", mistakes.join("; ")))?;
        anyhow::ensure!(
            teams.catch_all().is_some(),
            "{path}: catch_all names no team; an alert that belongs to no team here would go to nobody"
        );
        Ok(teams)
    }

    pub fn read_limits(&self) -> anyhow::Result<sink_alerts::Limits> {
        let path = self.alerts.display();
        let text = std::fs::read_to_string(&self.alerts).with_context(|| format!("cannot read {path}"))?;
        let limits = sink_alerts::Limits::parse(&text);
        let limits = limits.map_err(|mistakes| anyhow::anyhow!("{path}: {}", mistakes.join("; ")))?;
        let unknown = unknown_analytes(&limits);
        anyhow::ensure!(unknown.is_empty(), "{path}: {}", unknown.join("; "));
        Ok(limits)
    }
}

/// What the file names and no result can ever have: it would never alert.
fn unknown_analytes(limits: &sink_alerts::Limits) -> Vec<String> {
    let known = coding::lab::analytes();
    let mut mistakes: Vec<String> = limits
        .named()
        .filter_map(|(key, analyte, unit)| match known.iter().find(|known| known.key == analyte) {
            None => {
                let all: Vec<&str> = known.iter().map(|known| known.key).collect();
                Some(format!("{key}: no results are known as `{analyte}`; there are {}", all.join(", ")))
            }
            Some(known) if known.unit != unit => {
                Some(format!("{key}: {analyte} is in {}, never in `{unit}`", known.unit))
            }
            Some(_) => None,
        })
        .collect();
    mistakes.dedup();
    mistakes
}

impl Settings {
    /// The organisation whose database each source is.
    pub fn organisations(&self) -> BTreeMap<String, String> {
        self.sources.iter().map(|source| (source.name.clone(), source.organisation.clone())).collect()
    }

    /// Reads the file and checks all that can be checked without connecting.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let path = config.config.display();
        let text =
            std::fs::read_to_string(&config.config).with_context(|| format!("cannot read the settings file {path}"))?;
        Self::parse(&text, &folder_of(&config.config), std::env::vars()).with_context(|| format!("{path}"))
    }

    /// The sources alone, for what is printed and connects to nothing: secrets and certificates need not be here.
    pub fn sources_to_print(config: &Config) -> anyhow::Result<Vec<SourceSettings>> {
        const NAMES: [&str; 4] = ["name", "tables", "publication", "slot"];
        let path = config.config.display();
        let text =
            std::fs::read_to_string(&config.config).with_context(|| format!("cannot read the settings file {path}"))?;
        let mut document = Document::parse(&text, std::env::vars())?;
        let sources: Vec<SourceSettings> = document.sections("source");
        for (index, source) in sources.iter().enumerate() {
            for (key, what) in source.connector().mistakes().into_iter().filter(|(key, _)| NAMES.contains(key)) {
                document.mistake("source", index, key, what);
            }
        }
        let Mistakes(mut mistakes) = document.finish().err().unwrap_or(Mistakes(Vec::new()));
        mistakes.retain(|mistake| mistake.key == "source" || mistake.key.starts_with("source."));
        anyhow::ensure!(mistakes.is_empty(), "{path}: {}", Mistakes(mistakes));
        Ok(sources)
    }

    /// `folder`: where relative paths begin.
    pub fn parse(
        text: &str,
        folder: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let mut document = Document::parse(text, environment)?;
        let mut kafka = document.section::<KafkaSettings>("kafka");
        let registry = document.section("registry");
        let mut database = document.section::<DatabaseSettings>("database");
        let ops = document.optional("ops");
        let logs = document.optional("logs");
        let mut gateway = document.section::<gateway::Settings>("gateway");
        let mut site = document.section::<SiteSettings>("site");
        let mut normaliser = document.optional::<normaliser::Settings>("normaliser").unwrap_or_default();
        let views = document.optional::<sink_views::Settings>("views");
        let alerts = document.optional("alerts").unwrap_or_default();
        let mut sources: Vec<SourceSettings> = document.sections("source");
        let paths = kafka.iter_mut().flat_map(kafka_paths).chain(database.iter_mut().flat_map(database_paths));
        let certificate = gateway.iter_mut().flat_map(|gateway| &mut gateway.tls);
        let certificate = certificate.flat_map(|tls| [&mut tls.certificate_file, &mut tls.key_file]);
        let paths = paths
            .chain(certificate)
            .chain(site.iter_mut().flat_map(SiteSettings::paths))
            .chain([&mut normaliser.state]);
        for path in paths.chain(sources.iter_mut().flat_map(SourceSettings::paths)) {
            *path = folder.join(&*path);
        }
        for mistake in kafka.iter().flat_map(KafkaSettings::mistakes) {
            document.mistake("kafka", 0, "", mistake.to_string());
        }
        if let Some(Err(error)) = views.as_ref().map(sink_views::Settings::check) {
            document.mistake("views", 0, "batch_rows", error.to_string());
        }
        check_authorities(&mut document, database.as_ref(), &sources);
        check_sources(&mut document, &sources);
        document.finish()?;
        let (Some(kafka), Some(registry), Some(database), Some(gateway), Some(site)) =
            (kafka, registry, database, gateway, site)
        else {
            let what = "the settings could not be read".to_owned();
            return Err(Mistakes(vec![Mistake { line: None, key: String::new(), what }]));
        };
        let (ops, logs) = (ops.unwrap_or_default(), logs.unwrap_or_default());
        let views = views.unwrap_or_default();
        Ok(Self { kafka, registry, database, ops, logs, gateway, site, normaliser, views, alerts, sources })
    }
}

/// The folder that a settings file lies in, whole.
fn folder_of(file: &Path) -> PathBuf {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    whole.parent().map_or_else(PathBuf::new, Path::to_owned)
}

fn kafka_paths(kafka: &mut KafkaSettings) -> impl Iterator<Item = &mut PathBuf> {
    let security = kafka.security.iter_mut();
    security.flat_map(|it| it.ca_file.iter_mut().chain(it.sasl.iter_mut().flat_map(|sasl| &mut sasl.password_file)))
}

fn database_paths(database: &mut DatabaseSettings) -> impl Iterator<Item = &mut PathBuf> {
    database.password_file.iter_mut().chain(&mut database.ca_file)
}

/// Every certificate of a file counts, or none: the replication client would take what it can read.
fn check_authorities(document: &mut Document, database: Option<&DatabaseSettings>, sources: &[SourceSettings]) {
    let own = database.and_then(|database| database.ca_file.as_ref()).map(|file| ("database", 0, file));
    let theirs = sources.iter().enumerate().filter_map(|(at, source)| Some(("source", at, source.ca_file.as_ref()?)));
    for (section, index, file) in own.into_iter().chain(theirs) {
        if let Err(error) = boot::authority::read(file) {
            document.mistake(section, index, "ca_file", boot::restart::in_one_line(&error));
        }
    }
}

fn check_sources(document: &mut Document, sources: &[SourceSettings]) {
    if sources.len() > SOURCES_MAX {
        document.mistake("source", 0, "", format!("more than {SOURCES_MAX} sources in one process"));
    }
    let mut names = BTreeSet::new();
    for (index, source) in sources.iter().enumerate() {
        for (key, what) in source.connector().mistakes() {
            document.mistake("source", index, key, what);
        }
        if !names.insert(&source.name) {
            document.mistake("source", index, "name", format!("`{}` is used twice", source.name));
        }
        let said =
            [("topics_truncations", source.topics_truncations), ("topics_without", !source.topics_without.is_empty())];
        for (key, _) in said.into_iter().filter(|(_, said)| *said && source.topics == Topics::Log) {
            let what = "says something of the per-table topics, and `topics` is not \"per-table\"";
            document.mistake("source", index, key, what);
        }
        if source.tables.is_empty() {
            document.mistake("source", index, "tables", "names no table, so nothing would be captured");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented file, with the databases on this machine and without the files that only a deployment has.
    fn documented() -> String {
        let text = include_str!("../../../docs/examples/causeway.toml");
        let kept = text.lines().filter(|line| !line.starts_with("password_file") && !line.starts_with("ca_file"));
        kept.map(|line| line.replace("gp-db", "127.0.0.1").replace("pas-db", "127.0.0.1") + "\n").collect()
    }

    fn parse(text: &str) -> Result<Settings, Mistakes> {
        Settings::parse(text, Path::new("/etc/causeway"), std::iter::empty())
    }

    #[test]
    fn relative_paths_begin_where_the_settings_file_lies() {
        let text = documented().replacen("agreements = \"site/agreements\"", "agreements = \"/srv/agreements\"", 1);
        let tls = "[gateway]\ntls = { certificate_file = \"gateway.pem\", key_file = \"keys/gateway.pem\" }\n";
        let text = text.replacen("[gateway]\n", tls, 1);
        let settings = parse(&text).unwrap();
        let shown = |path: &Path| path.display().to_string();
        assert_eq!(shown(&settings.site.teams), "/etc/causeway/site/teams.toml");
        assert_eq!(shown(&settings.site.agreements), "/srv/agreements");
        let tls = settings.gateway.tls.as_ref().unwrap();
        assert_eq!(shown(&tls.key_file), "/etc/causeway/keys/gateway.pem");
        assert_eq!(shown(&settings.sources[0].mapping), "/etc/causeway/mappings/emis.toml");
        let told = format!("{:#}", settings.site.read_teams().unwrap_err());
        assert!(told.contains("/etc/causeway/site/teams.toml"), "an error says where was looked: {told}");
        let told = parse(&format!("{text}password_file = \"secrets/stmarys\"\nca_file = \"ca.pem\"\n"))
            .unwrap_err()
            .to_string();
        for file in ["/etc/causeway/secrets/stmarys", "/etc/causeway/ca.pem"] {
            assert!(told.contains(file), "{told}");
        }
        let here = std::env::current_dir().unwrap();
        assert_eq!(folder_of(Path::new("causeway.toml")), here);
        assert_eq!(folder_of(Path::new("deploy/causeway.toml")), here.join("deploy"));
    }

    #[test]
    fn the_documented_file_is_good() {
        let settings = parse(&documented()).unwrap();
        assert_eq!(settings.sources.len(), 2);
        let first = settings.sources[0].connector();
        assert_eq!((first.linger_ms, first.snapshot.workers, first.snapshot.rows_per_s_max), (20, 4, 5_000));
    }

    #[test]
    fn an_analyte_or_unit_that_no_result_has_is_a_mistake() {
        let told = |text: &str| unknown_analytes(&sink_alerts::Limits::parse(text).unwrap());
        let site = include_str!("../../../site/alerts.toml");
        assert_eq!(told(site), [""; 0]);
        let mistyped = site.replacen("\"potassium\"", "\"pottasium\"", 1).replacen("\"mmol/L\"", "\"mg/dL\"", 1);
        let told = told(&mistyped);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], "limit: sodium is in mmol/L, never in `mg/dL`");
        assert!(told[1].starts_with("limit: no results are known as `pottasium`; there are "), "{told:?}");
    }

    #[test]
    fn mistakes_come_all_at_once_with_their_lines() {
        let text = documented()
            .replace("name = \"stmarys\"", "name = \"riverside\"")
            .replace("[registry]\nurl", "[registry]\nurk");
        let told = parse(&text).unwrap_err().to_string();
        assert!(told.contains("`riverside` is used twice"), "{told}");
        assert!(told.contains("registry.urk: unknown field"), "{told}");
        assert!(told.contains("registry.url: missing field"), "{told}");
        assert!(told.lines().filter(|line| line.contains("line ")).count() >= 3, "{told}");
    }
}
