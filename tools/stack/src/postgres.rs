//! A PostgreSQL cluster that is ready for logical replication.

use crate::{
    part::{Part, Ready},
    ports::{free_port, random_password},
    process::{self, Lifetime, Owner, Spec},
};
use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use std::{
    ops::{Deref, DerefMut},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio_postgres::NoTls;

/// The role that initdb makes.
pub const SUPERUSER: &str = "postgres";
/// Where Debian and Ubuntu keep one folder per major version.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";

/// As in production where it matters for what we prove (fsync, WAL, SCRAM), small elsewhere.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "'127.0.0.1'"),
    ("unix_socket_directories", "''"),
    ("password_encryption", "'scram-sha-256'"),
    ("wal_level", "logical"),
    ("max_replication_slots", "20"),
    ("max_wal_senders", "20"),
    ("fsync", "on"),
    ("max_connections", "100"),
    ("shared_buffers", "'64MB'"),
    ("max_wal_size", "'4GB'"),
    ("checkpoint_timeout", "'15min'"),
    ("log_min_messages", "warning"),
    ("log_line_prefix", "'%m [%p] '"),
    ("timezone", "'UTC'"),
    ("log_timezone", "'UTC'"),
];

/// One cluster: one server process, its data, its roles' passwords in files.
#[derive(Debug)]
pub struct Postgres {
    part: Part,
    folder: PathBuf,
    binaries: PathBuf,
    port: u16,
}

impl Postgres {
    /// Makes the cluster in `folder` if there is none, and starts it, with the newest installed version.
    pub async fn start(name: &str, folder: &Path, lifetime: Lifetime) -> anyhow::Result<Self> {
        Self::start_from(&installed()?, name, folder, lifetime).await
    }

    /// The same with the server's programs from `binaries`.
    pub async fn start_from(binaries: &Path, name: &str, folder: &Path, lifetime: Lifetime) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join("secrets")).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let owner = Owner::of_servers(&[&folder, binaries])?;
        let data = folder.join("data");
        if !data.join("PG_VERSION").exists() {
            initialise(binaries, &folder, &data, owner).await?;
        }
        let port = free_port()?;
        let mut spec = Spec::new(binaries.join("postgres"), folder.join("postgres.log"), lifetime).arguments([
            "-D".to_owned(),
            data.display().to_string(),
            "-p".to_owned(),
            port.to_string(),
        ]);
        spec.owner = owner;
        let ready = Ready::Postmaster(data.join("postmaster.pid"));
        // SIGINT is PostgreSQL's fast shutdown: clients are cut off, WAL is kept.
        let mut part = Part::new(name, spec, ready).stopped_by(Signal::SIGINT);
        part.start().await?;
        Ok(Self { part, folder, binaries: binaries.to_owned(), port })
    }

    /// `127.0.0.1:15432`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the server's programs. Of a fetched version: without clients.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// A URL without a password, as Causeway's settings want it.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@{}/{database}", self.address())
    }

    /// A URL with the password in it, for drivers and psql.
    pub fn url_with_password(&self, role: &str, database: &str) -> anyhow::Result<String> {
        Ok(format!("postgres://{role}:{}@{}/{database}", self.password(role)?, self.address()))
    }

    /// The file that holds a role's password and nothing else.
    pub fn password_file(&self, role: &str) -> PathBuf {
        password_file(&self.folder, role)
    }

    pub fn password(&self, role: &str) -> anyhow::Result<String> {
        let file = self.password_file(role);
        let password = std::fs::read_to_string(&file);
        password.with_context(|| format!("role {role} was not made here: no file {}", file.display()))
    }

    /// A connection as the superuser. It ends when the client is dropped.
    pub async fn connect(&self, database: &str) -> anyhow::Result<tokio_postgres::Client> {
        self.connect_as(SUPERUSER, database).await
    }

    pub async fn connect_as(&self, role: &str, database: &str) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::connect(&self.url_with_password(role, database)?, NoTls)
            .await
            .with_context(|| format!("cannot connect to {database} of {}", self.part.name()))?;
        // Its error, if any, comes out of the client's next call.
        tokio::spawn(connection);
        Ok(client)
    }

    /// How the superuser connects, for who connects again by itself.
    pub fn config(&self, database: &str) -> anyhow::Result<tokio_postgres::Config> {
        Ok(self.url_with_password(SUPERUSER, database)?.parse()?)
    }

    /// Runs statements as the superuser.
    pub async fn execute(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        let client = self.connect(database).await?;
        client.batch_execute(sql).await.with_context(|| format!("a statement failed in {database}"))
    }

    /// Makes a role with a new password, and returns the password's file. `attributes` as in
    /// `create role`: `login`, `login replication`.
    pub async fn create_role(&self, role: &str, attributes: &str) -> anyhow::Result<PathBuf> {
        let role_name = identifier(role)?;
        let password = random_password()?;
        let file = self.password_file(role);
        write_secret(&file, &password)?;
        self.execute("postgres", &format!("create role {role_name} {attributes} password '{password}'")).await?;
        Ok(file)
    }

    /// The immediate stop: no checkpoint, no good-byes; the next start recovers from the WAL.
    pub async fn stop_immediately(&mut self) -> anyhow::Result<()> {
        self.part.stop_by(Signal::SIGQUIT).await
    }

    pub async fn create_database(&self, database: &str, owner: &str) -> anyhow::Result<()> {
        let (database, owner) = (identifier(database)?, identifier(owner)?);
        self.execute("postgres", &format!("create database {database} owner {owner}")).await
    }
}

impl Deref for Postgres {
    type Target = Part;
    fn deref(&self) -> &Part {
        &self.part
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Part {
        &mut self.part
    }
}

/// A client (`pg_recvlogical`) that the server's own folder may lack; any version serves any other.
pub(crate) fn client(cluster: &Postgres, name: &str) -> anyhow::Result<PathBuf> {
    let own = cluster.binaries.join(name);
    if own.exists() { Ok(own) } else { Ok(installed()?.join(name)) }
}

/// The major version that is installed, if any is.
pub fn installed_major() -> Option<String> {
    Some(installed().ok()?.parent()?.file_name()?.to_str()?.to_owned())
}

/// The programs of the newest version installed.
fn installed() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN_VERSIONS).into_iter().flatten().flatten();
    versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin"))))
        .filter(|(_, binaries)| binaries.join("postgres").exists())
        .max()
        .map(|(_, binaries)| binaries)
        .with_context(|| format!("no PostgreSQL server in {DEBIAN_VERSIONS}: install postgresql"))
}

async fn initialise(binaries: &Path, folder: &Path, data: &Path, owner: Option<Owner>) -> anyhow::Result<()> {
    let password = random_password()?;
    let secret = password_file(folder, SUPERUSER);
    write_secret(&secret, &password)?;
    // The server's user reads the password file, and owns the data and the log.
    std::fs::create_dir_all(data)?;
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700))?;
    if let Some(owner) = owner {
        for path in [data, &secret] {
            std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid))?;
        }
    }
    let (data_text, password_file) = (data.display().to_string(), format!("--pwfile={}", secret.display()));
    let arguments = [
        "-D",
        &data_text,
        "--username",
        SUPERUSER,
        &password_file,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
        "--no-instructions",
    ];
    process::run_as(owner, &binaries.join("initdb"), &arguments).await?;
    let settings: String = SETTINGS.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let file = data.join("postgresql.auto.conf");
    std::fs::write(&file, settings).with_context(|| format!("cannot write {}", file.display()))
}

fn password_file(folder: &Path, role: &str) -> PathBuf {
    folder.join("secrets").join(role)
}

fn write_secret(file: &Path, secret: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    let written = opened.and_then(|mut file| file.write_all(secret.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// Names here are ours; anything that would need quoting is a mistake.
fn identifier(name: &str) -> anyhow::Result<&str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        bail!("`{name}` is not a plain name of a role or database");
    }
    Ok(name)
}
