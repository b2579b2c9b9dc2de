//! The settings file of a region, whole: every section, and the files that it names.

pub mod source;
pub mod terminology;

use crate::{Config, folder::Folder, labs, members::MembersSettings};
use anyhow::Context;
use boot::{
    database::DatabaseSettings,
    logs::LogFormat,
    ops::OpsSettings,
    organisations::Organisations,
    settings::{Document, Mistake, Mistakes},
};
use change_log::{KafkaSettings, RegistrySettings};
use coding::lab::Lab;
use serde::Deserialize;
use source::Bad;
pub use source::SourceSettings;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};
pub use terminology::TerminologySettings;

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
    pub terminology: TerminologySettings,
    pub views: sink_views::Settings,
    pub alerts: sink_alerts::Settings,
    /// Those of the file itself, and of the folder as it was when the file was read.
    pub sources: Vec<SourceSettings>,
    /// How many of them are of the file itself: they come first.
    pub own: usize,
    /// Blocks with mistakes.
    pub bad: Vec<Bad>,
    /// Where further sources lie.
    pub folder: Option<Folder>,
    /// Other processes share the sources.
    pub members: Option<MembersSettings>,
}

/// `[sources]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesSettings {
    /// Files of `[[source]]` blocks, taken up, changed and removed while a process runs.
    folder: PathBuf,
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
    /// Analytes, codes and units that the site adds to the lab table.
    pub labs: Option<PathBuf>,
    /// The weights that records are linked by. Without the file nobody is linked by weight.
    pub identity: Option<PathBuf>,
    /// Concept sets of rules and pages; the file that is shipped unless said.
    pub concept_sets: Option<PathBuf>,
    /// The codes of consent; the file that is shipped unless said.
    pub consent: Option<PathBuf>,
}

impl SiteSettings {
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let needed = [&mut self.teams, &mut self.alerts, &mut self.users, &mut self.agreements];
        let optional = [
            &mut self.passwords_file,
            &mut self.medicines,
            &mut self.labs,
            &mut self.identity,
            &mut self.concept_sets,
            &mut self.consent,
        ];
        needed.into_iter().chain(optional.into_iter().flatten())
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

    pub fn read_weights(&self) -> anyhow::Result<Option<identity::parameters::Parameters>> {
        let Some(file) = &self.identity else { return Ok(None) };
        let path = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {path}"))?;
        let weights = identity::parameters::Parameters::parse(&text);
        weights.map(Some).map_err(|mistakes| anyhow::anyhow!("{path}: {}", mistakes.join("; ")))
    }

    pub fn read_limits(&self, lab: &Lab) -> anyhow::Result<sink_alerts::Limits> {
        let path = self.alerts.display();
        let text = std::fs::read_to_string(&self.alerts).with_context(|| format!("cannot read {path}"))?;
        let limits = sink_alerts::Limits::parse(&text);
        let limits = limits.and_then(|limits| limits.of_lab(lab));
        let limits = limits.map_err(|mistakes| anyhow::anyhow!("{path}: {}", mistakes.join("; ")))?;
        let unknown = unknown_analytes(&limits, lab);
        anyhow::ensure!(unknown.is_empty(), "{path}: {}", unknown.join("; "));
        Ok(limits)
    }
}

/// What the file names and no result can ever have: it would never alert.
fn unknown_analytes(limits: &sink_alerts::Limits, lab: &Lab) -> Vec<String> {
    let mut mistakes: Vec<String> = limits
        .named()
        .filter_map(|(key, analyte, unit)| match lab.analyte(analyte) {
            None => {
                Some(format!("{key}: no results are known as `{analyte}`; `causeway labs list` tells those that are"))
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
    /// The lab table, with what the site adds to it.
    pub const fn lab(&self) -> &Arc<Lab> {
        &self.normaliser.lab
    }

    /// Sources that the site's codes are of and that nobody knows here. One may come with a file of the folder.
    pub fn strangers(&self) -> Vec<String> {
        let known: BTreeSet<&str> = self.sources.iter().map(|source| source.name.as_str()).collect();
        let strangers = self.lab().own_sources().filter(|source| !known.contains(source));
        strangers
            .map(|source| format!("site.labs: no source is called `{source}`, so its codes count nowhere"))
            .collect()
    }

    /// The organisation whose database each source is.
    pub fn organisations(&self) -> Organisations {
        self.sources.iter().map(|source| (source.name.clone(), source.organisation.clone())).collect()
    }

    /// Reads the file and checks all that can be checked without connecting. A file of the folder that has mistakes is left
    /// out: [`Folder::problems`] tells them.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let settings = Self::load_to_run(config)?;
        let mistakes: Vec<Mistake> = settings.bad.iter().flat_map(|bad| bad.mistakes.0.clone()).collect();
        if mistakes.is_empty() {
            return Ok(settings);
        }
        Err(Mistakes(mistakes)).with_context(|| config.config.display().to_string())
    }

    /// The same, and what is wrong with one source is told of that source alone.
    pub fn load_to_run(config: &Config) -> anyhow::Result<Self> {
        let path = config.config.display();
        let text =
            std::fs::read_to_string(&config.config).with_context(|| format!("cannot read the settings file {path}"))?;
        let base = folder_of(&config.config);
        let mut settings = Self::parse_apart(&text, &base, std::env::vars()).with_context(|| format!("{path}"))?;
        if let Some(folder) = &mut settings.folder {
            settings.sources.extend(folder.look().into_iter().flatten());
        }
        Ok(settings)
    }

    /// The sources alone, for what is printed and connects to nothing: secrets and certificates need not be here.
    pub fn sources_to_print(config: &Config) -> anyhow::Result<Vec<SourceSettings>> {
        const NAMES: [&str; 4] = ["name", "tables", "publication", "slot"];
        let path = config.config.display();
        let text =
            std::fs::read_to_string(&config.config).with_context(|| format!("cannot read the settings file {path}"))?;
        let mut document = Document::parse(&text, std::env::vars())?;
        let mut sources: Vec<SourceSettings> = document.sections("source");
        let folder: Option<SourcesSettings> = document.optional("sources");
        for (index, source) in sources.iter().enumerate() {
            for (key, what) in source.connector().mistakes().into_iter().filter(|(key, _)| NAMES.contains(key)) {
                document.mistake("source", index, key, what);
            }
        }
        let Mistakes(mut mistakes) = document.finish().err().unwrap_or(Mistakes(Vec::new()));
        mistakes.retain(|mistake| mistake.key == "source" || mistake.key.starts_with("source."));
        anyhow::ensure!(mistakes.is_empty(), "{path}: {}", Mistakes(mistakes));
        let base = folder_of(&config.config);
        let folder = folder.map(|folder| base.join(folder.folder));
        sources.extend(folder.iter().flat_map(|folder| crate::folder::to_print(folder)));
        Ok(sources)
    }

    /// What is wrong with one source is told of that source alone. `folder`: where relative paths begin.
    fn parse_apart(
        text: &str,
        folder: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let mut document = Document::parse(text, environment)?;
        let mut kafka = document.section::<KafkaSettings>("kafka");
        let registry = document.section("registry");
        let mut database = document.section::<DatabaseSettings>("database");
        let (ops, logs) = (document.optional("ops"), document.optional("logs"));
        let mut gateway = document.section::<gateway::Settings>("gateway");
        let mut site = document.section::<SiteSettings>("site");
        let mut normaliser = document.optional::<normaliser::Settings>("normaliser").unwrap_or_default();
        let terminology = TerminologySettings::of(&mut document, folder);
        let views = document.optional::<sink_views::Settings>("views");
        let alerts = document.optional("alerts").unwrap_or_default();
        let (apart, members) =
            (document.optional::<SourcesSettings>("sources"), document.optional::<MembersSettings>("members"));
        let blocks = source::read(&mut document, folder);
        let paths = kafka.iter_mut().flat_map(kafka_paths).chain(database.iter_mut().flat_map(database_paths));
        let certificate = gateway.iter_mut().flat_map(|gateway| &mut gateway.tls);
        let certificate = certificate.flat_map(|tls| [&mut tls.certificate_file, &mut tls.key_file]);
        let paths = paths.chain(certificate).chain(site.iter_mut().flat_map(SiteSettings::paths));
        paths.chain([&mut normaliser.state]).for_each(|path| *path = folder.join(&*path));
        normaliser.lab = lab(site.as_ref(), &mut document);
        for mistake in kafka.iter().flat_map(KafkaSettings::mistakes) {
            document.mistake("kafka", 0, "", mistake.to_string());
        }
        for (key, what) in members.iter().flat_map(MembersSettings::mistakes) {
            document.mistake("members", 0, key, what);
        }
        if let Some(Err(error)) = views.as_ref().map(sink_views::Settings::check) {
            document.mistake("views", 0, "batch_rows", error.to_string());
        }
        if let Some(Err(error)) = database.as_ref().and_then(|it| it.ca_file.as_deref()).map(boot::authority::read) {
            document.mistake("database", 0, "ca_file", boot::restart::in_one_line(&error));
        }
        let (sources, bad, rest) = source::finish(document, blocks);
        if let Err(Mistakes(mut mistakes)) = rest {
            // Whoever has to mend the file anyway learns all.
            mistakes.extend(bad.into_iter().flat_map(|bad| bad.mistakes.0));
            mistakes.sort();
            return Err(Mistakes(mistakes));
        }
        let (Some(kafka), Some(registry), Some(database), Some(gateway), Some(site)) =
            (kafka, registry, database, gateway, site)
        else {
            let what = "the settings could not be read".to_owned();
            return Err(Mistakes(vec![Mistake::new(None, "", what)]));
        };
        let (ops, logs, views) = (ops.unwrap_or_default(), logs.unwrap_or_default(), views.unwrap_or_default());
        let names: BTreeSet<String> =
            sources.iter().map(|source| &source.name).chain(bad.iter().map(|bad| &bad.name)).cloned().collect();
        let apart = apart.map(|apart| Folder::new(folder.join(apart.folder), folder.to_owned(), names));
        Ok(Self {
            kafka,
            registry,
            database,
            ops,
            logs,
            gateway,
            site,
            normaliser,
            terminology,
            views,
            alerts,
            own: sources.len(),
            sources,
            bad,
            folder: apart,
            members,
        })
    }
}

/// The lab table with what the site adds; the table alone if that has mistakes, which are then noted.
fn lab(site: Option<&SiteSettings>, document: &mut Document) -> Arc<Lab> {
    let added = site.and_then(|site| site.labs.as_deref()).map_or_else(|| Ok(Lab::shipped()), labs::read);
    added.unwrap_or_else(|mistakes| {
        mistakes.into_iter().for_each(|what| document.mistake("site", 0, "labs", what));
        Lab::shipped()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented file, with the databases on this machine and without the files that only a deployment has.
    fn documented() -> String {
        let text = include_str!("../../../docs/examples/causeway.toml");
        let kept = text.lines().filter(|line| !line.starts_with("password_file") && !line.starts_with("ca_file"));
        kept.map(|line| line.replace("gp-db", "127.0.0.1").replace("pas-db", "127.0.0.1") + "\n").collect()
    }

    /// Every mistake is one.
    fn parse(text: &str) -> Result<Settings, Mistakes> {
        let settings = Settings::parse_apart(text, Path::new("/etc/causeway"), std::iter::empty())?;
        let mistakes: Vec<Mistake> = settings.bad.iter().flat_map(|bad| bad.mistakes.0.clone()).collect();
        if mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(mistakes)) }
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
        let told = |text: &str| unknown_analytes(&sink_alerts::Limits::parse(text).unwrap(), &Lab::shipped());
        let site = include_str!("../../../site/alerts.toml");
        assert_eq!(told(site), [""; 0]);
        let mistyped = site.replacen("\"potassium\"", "\"pottasium\"", 1).replacen("\"mmol/L\"", "\"mg/dL\"", 1);
        let told = told(&mistyped);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], "limit: sodium is in mmol/L, never in `mg/dL`");
        assert!(told[1].starts_with("limit: no results are known as `pottasium`; `causeway labs list` "), "{told:?}");
    }

    #[test]
    fn one_sources_mistakes_leave_the_others_alone() {
        let text = documented()
            .replace("tables = [\"emis.*\"]", "tables = []\nca_file = \"no/such/ca.pem\"")
            .replace("organisation = \"RSM01\"", "organisation = 7");
        let settings = Settings::parse_apart(&text, Path::new("/etc/causeway"), std::iter::empty()).unwrap();
        assert!(settings.sources.is_empty());
        let told: Vec<(&str, String)> = settings.bad.iter().map(|bad| (&*bad.name, bad.mistakes.to_string())).collect();
        assert!(told[0].0 == "riverside" && told[0].1.contains("names no table"), "{told:?}");
        assert!(told[0].1.contains("cannot read the certificate authority file"), "{told:?}");
        assert!(told[1].0 == "stmarys" && told[1].1.contains("source.organisation: invalid type"), "{told:?}");
        let text = documented().replace("name = \"stmarys\"", "name = \"riverside\"");
        let settings = Settings::parse_apart(&text, Path::new("/etc/causeway"), std::iter::empty()).unwrap();
        assert_eq!((settings.sources.len(), settings.bad.len()), (1, 1), "the first of a name goes on");
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
