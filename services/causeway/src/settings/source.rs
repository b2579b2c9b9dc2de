//! The `[[source]]` blocks of a settings file, or of a file in the folder of sources.

use boot::settings::{Document, Mistakes};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A region has hundreds of sources; one process should not have more.
pub const SOURCES_MAX: usize = 500;
/// What a block is called.
pub const SECTION: &str = "source";

/// A block with mistakes: its source is not worked for, the others are.
#[derive(Clone, Debug)]
pub struct Bad {
    pub name: String,
    pub mistakes: Mistakes,
}

/// One captured database.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
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
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
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
            // Who works for it is not the settings' to say.
            lease: None,
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

/// The blocks of a file, with whole paths, each checked without connecting to anything. Of those with mistakes the document
/// has noted them.
pub fn read(document: &mut Document, folder: &Path) -> Vec<Option<SourceSettings>> {
    let mut blocks: Vec<Option<SourceSettings>> = document.every_section(SECTION);
    if blocks.len() > SOURCES_MAX {
        document.mistake("sources", 0, "", format!("more than {SOURCES_MAX} sources in one process"));
    }
    let mut names = BTreeSet::new();
    for (index, block) in blocks.iter_mut().enumerate() {
        let Some(source) = block else { continue };
        source.paths().for_each(|path| *path = folder.join(&*path));
        check(document, index, source);
        if !names.insert(source.name.clone()) {
            document.mistake(SECTION, index, "name", format!("`{}` is used twice", source.name));
        }
    }
    blocks
}

fn check(document: &mut Document, index: usize, source: &SourceSettings) {
    for (key, what) in source.connector().mistakes() {
        document.mistake(SECTION, index, key, what);
    }
    // Every certificate of a file counts, or none: the replication client would take what it can read.
    if let Some(Err(error)) = source.ca_file.as_deref().map(boot::authority::read) {
        document.mistake(SECTION, index, "ca_file", boot::restart::in_one_line(&error));
    }
    let said =
        [("topics_truncations", source.topics_truncations), ("topics_without", !source.topics_without.is_empty())];
    for (key, _) in said.into_iter().filter(|(_, said)| *said && source.topics == Topics::Log) {
        let what = "says something of the per-table topics, and `topics` is not \"per-table\"";
        document.mistake(SECTION, index, key, what);
    }
    if source.tables.is_empty() {
        document.mistake(SECTION, index, "tables", "names no table, so nothing would be captured");
    }
}

/// The blocks without mistakes, and those with; and what is wrong with the file beside them.
pub fn finish(
    document: Document,
    blocks: Vec<Option<SourceSettings>>,
) -> (Vec<SourceSettings>, Vec<Bad>, Result<(), Mistakes>) {
    let named = |index: usize| {
        let name = document.text_in(SECTION, index, "name");
        name.map_or_else(|| format!("source number {}", index + 1), str::to_owned)
    };
    let names: Vec<String> = (0..blocks.len()).map(named).collect();
    let (rest, mut apart): (_, BTreeMap<usize, Mistakes>) = document.finish_apart(SECTION);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (index, (block, name)) in blocks.into_iter().zip(names).enumerate() {
        match (apart.remove(&index), block) {
            (Some(mistakes), _) => bad.push(Bad { name, mistakes }),
            (None, Some(source)) => good.push(source),
            (None, None) => {}
        }
    }
    (good, bad, rest)
}
