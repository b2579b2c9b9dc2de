//! `[terminology]`: where releases lie, and which one codes are read by; and the concept sets that it closes.

use super::SiteSettings;
use anyhow::Context;
use boot::settings::Document;
use coding::lab::Lab;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use terminology::{Release, folder, sets::ConceptSets};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TerminologySettings {
    /// The folder of index files that `causeway terminology load` writes.
    pub folder: PathBuf,
    /// The release that codes are read by; without it codes mean what the lab table says. Another one is a replay.
    pub release: Option<String>,
}

impl Default for TerminologySettings {
    fn default() -> Self {
        Self { folder: "releases".into(), release: None }
    }
}

impl TerminologySettings {
    /// The section of a whole settings file; relative paths begin in `base`.
    pub(super) fn of(document: &mut Document, base: &Path) -> Self {
        let mut settings: Self = document.optional("terminology").unwrap_or_default();
        for (key, what) in settings.mistakes() {
            document.mistake("terminology", 0, key, what);
        }
        settings.folder = base.join(settings.folder);
        settings
    }

    fn mistakes(&self) -> Vec<(&'static str, String)> {
        let wrong = self.release.iter().filter(|name| !folder::is_name(name));
        wrong.map(|name| ("release", folder::ReleaseError::Name(name.clone()).to_string())).collect()
    }

    /// This section alone, for what looks into releases and connects to nothing.
    pub fn read(config: &Path) -> anyhow::Result<Self> {
        let shown = config.display();
        let text = std::fs::read_to_string(config).with_context(|| format!("cannot read the settings file {shown}"))?;
        let mut document = Document::parse(&text, std::env::vars())?;
        let mut settings: Self = document.optional("terminology").unwrap_or_default();
        let mistakes = settings.mistakes().into_iter().map(|(key, what)| format!("terminology.{key}: {what}"));
        let mistakes: Vec<String> = mistakes.collect();
        anyhow::ensure!(mistakes.is_empty(), "{shown}: {}", mistakes.join("; "));
        settings.folder = config.parent().unwrap_or(Path::new("")).join(settings.folder);
        Ok(settings)
    }

    /// The release, read; none where none is named.
    pub fn open(&self) -> anyhow::Result<Option<Release>> {
        let Some(name) = &self.release else { return Ok(None) };
        let release = folder::path(&self.folder, name).and_then(|path| folder::open(&path));
        Ok(Some(release.with_context(|| format!("terminology.release: the release `{name}` cannot be used"))?))
    }
}

impl SiteSettings {
    /// The site's own document, else the one that is shipped.
    pub fn read_concept_sets(&self) -> anyhow::Result<ConceptSets> {
        let Some(path) = &self.concept_sets else { return Ok(ConceptSets::shipped()) };
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        ConceptSets::parse(&shown, &text).map_err(|mistakes| anyhow::anyhow!("{}", mistakes.join("; ")))
    }

    /// What alerts, with the concepts of its sets.
    pub fn closed_limits(&self, release: Option<&Release>, lab: &Lab) -> anyhow::Result<sink_alerts::Limits> {
        let mut limits = self.read_limits(lab)?;
        let closed = limits.close(&self.read_concept_sets()?, release);
        let wrong = |what: String| anyhow::anyhow!("{}: {what}", self.alerts.display());
        closed.map_err(wrong)?;
        limits.with_medicines(self.closed_medicines(release)?).map_err(|mistakes| wrong(mistakes.join("; ")))
    }

    /// What is known about medicines and steroids, with the concepts of its sets.
    pub fn closed_medicines(&self, release: Option<&Release>) -> anyhow::Result<gateway::Ingredients> {
        let mut medicines = gateway::medicines(self.medicines.as_deref())?;
        let closed = medicines.close(&self.read_concept_sets()?, release);
        closed.map_err(|missing| anyhow::anyhow!("medicines: {}", missing.join("; ")))?;
        Ok(medicines)
    }
}
