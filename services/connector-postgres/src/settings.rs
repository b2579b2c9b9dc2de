//! What an operator says about one captured database.

use boot::database::{DatabaseSettings, Tls, is_local, uses_tls};
use change_log::Lease;
use serde::Deserialize;
use std::path::PathBuf;
use tokio_postgres::config::Host;

/// PostgreSQL cuts longer names off.
const NAME_BYTES_MAX: usize = 63;
/// Milliseconds that a backlog's record waits for others, unless said.
pub const LINGER_MS: u16 = 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The source's name: its log is `changes.<name>`.
    pub name: String,
    /// `postgres://user@host:port/database`, without a password.
    pub url: String,
    /// A file that holds the password; otherwise `CAUSEWAY_SOURCE_<NAME>_PASSWORD`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// `verify-full`, or `disable` on loopback, which needs none: it uses TLS if there is a `ca_file`.
    #[serde(default)]
    pub tls: Tls,
    /// The certificate authority that signed the server's certificate (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Which tables: `schema.table`, with `*` for any characters.
    #[serde(default = "all_tables")]
    pub tables: Vec<String>,
    /// Made if it is missing; `causeway_<name>` unless said.
    #[serde(default)]
    pub publication: Option<String>,
    /// Made with the first snapshot; `causeway_<name>` unless said.
    #[serde(default)]
    pub slot: Option<String>,
    /// What to do when the slot no longer continues the log.
    #[serde(default)]
    pub when_lost: WhenLost,
    /// How much WAL the slot may keep, in bytes, before `when_over` applies; unless said, four fifths of the server's
    /// `max_slot_wal_keep_size`.
    #[serde(default)]
    pub wal_budget: Option<u64>,
    #[serde(default)]
    pub when_over: WhenOver,
    /// The tables that `pause-tables` may leave out for a while: `schema.table`, with `*` for any characters.
    #[serde(default)]
    pub may_pause: Vec<String>,
    /// How long a backlog's record waits for others to share its request.
    #[serde(default = "default_linger_ms")]
    pub linger_ms: u16,
    #[serde(default)]
    pub snapshot: SnapshotSettings,
    /// Other processes may work for the source, too: this one does as long as it holds the lease.
    #[serde(skip)]
    pub lease: Option<Lease>,
}

/// How tables are read.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotSettings {
    /// Connections that read at the same time.
    pub workers: u8,
    /// Rows a second at most, of all tables; 0 is as fast as it goes.
    pub rows_per_s_max: u64,
    /// While more of the database's sessions than this run statements, on average and the snapshot's own among them,
    /// reading slows down to a chunk a second; 0 is no limit.
    pub active_sessions_max: u16,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self { workers: 2, rows_per_s_max: 0, active_sessions_max: 0 }
    }
}

/// A lost slot has skipped changes. Only an operator can say that a new snapshot makes up for it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WhenLost {
    #[default]
    Refuse,
    /// Take a new snapshot, in a new epoch of the same log.
    Snapshot,
}

/// What to do when the slot keeps more WAL than its budget. The slot is never given up.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WhenOver {
    /// Say so in the log, in `status` and in the metrics.
    #[default]
    Warn,
    /// Snapshots wait as well, so that the stream has the source, the network and Kafka to itself. No change is left out.
    Throttle,
    /// As well, the tables of `may_pause` are left out until the slot keeps half of its budget, and then read anew: their
    /// rows are right again, their changes in between are not told.
    PauseTables,
}

fn all_tables() -> Vec<String> {
    vec!["*.*".to_owned()]
}

const fn default_linger_ms() -> u16 {
    LINGER_MS
}

impl Settings {
    /// Settings with everything left to its default.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            password_file: None,
            tls: Tls::default(),
            ca_file: None,
            tables: all_tables(),
            publication: None,
            slot: None,
            when_lost: WhenLost::default(),
            wal_budget: None,
            when_over: WhenOver::default(),
            may_pause: Vec::new(),
            linger_ms: LINGER_MS,
            snapshot: SnapshotSettings::default(),
            lease: None,
        }
    }

    pub fn slot(&self) -> String {
        self.slot.clone().unwrap_or_else(|| self.default_name())
    }

    pub fn publication(&self) -> String {
        self.publication.clone().unwrap_or_else(|| self.default_name())
    }

    /// As its sessions call themselves towards the server. Members of one group, and nobody else, have the same name.
    pub(crate) fn application_name(&self) -> String {
        let mut name = "causeway connector".to_owned();
        if let Some(lease) = &self.lease {
            name.extend([" of ", lease.members()]);
        }
        // As the server keeps it.
        let kept = name.chars().map(|c| if c.is_ascii() { c } else { '?' });
        kept.take(NAME_BYTES_MAX).collect()
    }

    fn default_name(&self) -> String {
        format!("causeway_{}", self.name.replace('-', "_"))
    }

    pub(crate) fn password_variable(&self) -> String {
        format!("CAUSEWAY_SOURCE_{}_PASSWORD", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    pub(crate) fn database(&self) -> DatabaseSettings {
        DatabaseSettings {
            url: self.url.clone(),
            password_file: self.password_file.clone(),
            tls: self.tls,
            ca_file: self.ca_file.clone(),
        }
    }

    /// Every mistake that shows without a connection: key and what is wrong.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut wrong = |key, what: &str| mistakes.push((key, what.to_owned()));
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !self.name.starts_with(|c: char| c.is_ascii_lowercase())
            || !self.name.chars().all(|c| lower(c) || matches!(c, '_' | '-'))
            || self.default_name().len() > NAME_BYTES_MAX
        {
            wrong("name", "a source's name is a lower-case letter, then letters, digits, `-` or `_`, at most 54");
        }
        // The slot's name stands unquoted in a replication command.
        let plain =
            |name: &str| !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(|c| lower(c) || c == '_');
        for (key, name) in [("slot", self.slot()), ("publication", self.publication())] {
            if !plain(&name) {
                wrong(key, "only lower-case letters, digits and `_`, at most 63");
            }
        }
        if self.tables.is_empty() || self.tables.iter().any(|table| !table.contains('.')) {
            wrong("tables", "name at least one table as schema.table; `*` stands for any characters");
        }
        if self.may_pause.is_empty() == (self.when_over == WhenOver::PauseTables) {
            wrong(
                "may_pause",
                "it names the tables that when_over = \"pause-tables\" may leave out: one needs the other",
            );
        }
        match boot::database::config(&self.database(), &self.password_variable()) {
            Err(error) => wrong("url", &boot::restart::in_one_line(&error)),
            Ok(config) if config.get_hosts().len() != 1 => wrong("url", "name exactly one host"),
            Ok(config) if config.get_user().is_none() || config.get_dbname().is_none() => {
                wrong("url", "name the user and the database");
            }
            Ok(config) if !config.get_hostaddrs().is_empty() => wrong("url", "name the host alone, without hostaddr"),
            Ok(config) if self.tls == Tls::Disable && !config.get_hosts().iter().all(is_local) => {
                wrong("tls", "only a loopback address or a Unix socket may go without TLS");
            }
            Ok(_) if self.tls == Tls::Disable && self.ca_file.is_some() => {
                wrong("ca_file", "it means TLS, and tls = \"disable\" means none: leave one of them out");
            }
            Ok(config) if uses_tls(&self.database(), &config) && self.ca_file.is_none() => {
                wrong("ca_file", "tls = \"verify-full\" needs the certificate authority of the server");
            }
            Ok(config)
                if config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) && self.ca_file.is_some() =>
            {
                wrong("ca_file", "a Unix socket has no TLS: leave it out, or name a host");
            }
            Ok(_) => {}
        }
        mistakes
    }

    /// A regular expression that `schema.table` of every wanted table matches.
    pub(crate) fn tables_pattern(&self) -> String {
        let globs: Vec<String> = self.tables.iter().map(|glob| pattern_of(glob)).collect();
        format!("^({})$", globs.join("|"))
    }

    /// Whether the table is wanted.
    pub fn wants(&self, schema: &str, table: &str) -> bool {
        names(&self.tables, schema, table)
    }

    /// Whether it is wanted, and may be left out while the slot keeps too much.
    pub(crate) fn may_pause(&self, schema: &str, table: &str) -> bool {
        self.wants(schema, table) && names(&self.may_pause, schema, table)
    }
}

fn names(globs: &[String], schema: &str, table: &str) -> bool {
    let name = format!("{schema}.{table}");
    globs.iter().any(|glob| matches(glob.as_bytes(), name.as_bytes()))
}

fn pattern_of(glob: &str) -> String {
    let mut pattern = String::new();
    for c in glob.chars() {
        match c {
            '*' => pattern.push_str(".*"),
            c if c.is_alphanumeric() || c == '_' || c == ' ' => pattern.push(c),
            c => {
                pattern.push('\\');
                pattern.push(c);
            }
        }
    }
    pattern
}

fn matches(glob: &[u8], name: &[u8]) -> bool {
    match glob {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|at| matches(rest, &name[at..])),
        [first, rest @ ..] => name.first() == Some(first) && matches(rest, &name[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_choose_tables() {
        let mut settings = Settings::new("riverside", "postgres://u@localhost/riverside");
        assert!(settings.wants("emis", "patient"));
        settings.tables = vec!["emis.*".into(), "lims.res*t".into()];
        assert!(settings.wants("emis", "user") && settings.wants("lims", "result"));
        assert!(!settings.wants("lims", "results") && !settings.wants("xemis", "user"));
        assert_eq!(settings.tables_pattern(), r"^(emis\..*|lims\.res.*t)$");
        settings.may_pause = vec!["emis.*".into()];
        assert!(settings.may_pause("emis", "user") && !settings.may_pause("lims", "result"));
        settings.tables.remove(0);
        assert!(!settings.may_pause("emis", "user"), "nobody wants it");
    }

    #[test]
    fn mistakes_come_together() {
        assert!(Settings::new("riverside", "postgres://u@127.0.0.1:1/d").mistakes().is_empty());
        let mut settings = Settings::new("River Side", "postgres://u@db.example/d");
        settings.slot = Some("no quotes'".into());
        settings.tables = vec!["patient".into()];
        let keys: Vec<&str> = settings.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["name", "slot", "publication", "tables", "ca_file"]);
        settings.when_over = WhenOver::PauseTables;
        assert!(settings.mistakes().iter().any(|(key, _)| *key == "may_pause"));
        settings.may_pause = vec!["emis.log".into()];
        assert!(!settings.mistakes().iter().any(|(key, _)| *key == "may_pause"));
        settings.tls = Tls::Disable;
        assert!(settings.mistakes().iter().any(|(key, _)| *key == "tls"));
        settings.ca_file = Some("ca.pem".into());
        settings.url = "postgres://u@localhost/d".into();
        assert!(settings.mistakes().iter().any(|(key, what)| *key == "ca_file" && what.contains("disable")));
        settings.tls = Tls::VerifyFull;
        assert!(!settings.mistakes().iter().any(|(key, _)| matches!(*key, "tls" | "ca_file" | "url")));
        settings.url = "postgres://u@%2Frun%2Fpostgresql/d".into();
        assert!(settings.mistakes().iter().any(|(key, what)| *key == "ca_file" && what.contains("Unix")));
        settings.url = "postgres://u@db.example/d?hostaddr=192.0.2.7".into();
        assert!(settings.mistakes().iter().any(|(key, _)| *key == "url"));
        settings.url = "postgres://u:secret@localhost/d".into();
        let told = settings.mistakes();
        assert!(told.iter().any(|(key, what)| *key == "url" && !what.contains("secret")), "{told:?}");
    }
}
