//! The way to a PostgreSQL database: settings, TLS, and a bounded pool.
//!
//! # Why
//! A database is either on this machine, or proves with a certificate who it is. Nothing in between: the driver's own
//! default goes on in clear when a server, or whoever stands in front of it, says that it has no TLS.

mod fault;
mod refusal;
mod way;

pub use fault::DatabaseFault;
pub use refusal::Refusal;
pub use way::{Asked, Watch, Way};

use crate::{
    authority::{self, AuthorityError},
    secret::{self, ExposeSecret, SecretError},
};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use serde::Deserialize;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_postgres::config::{ChannelBinding, Host, SslMode, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long to wait for a connection before saying so.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub const POOL_WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `postgres://user@host:port/database`, without a password.
    pub url: String,
    /// A file that holds the password; otherwise `CAUSEWAY_DATABASE_PASSWORD`.
    pub password_file: Option<PathBuf>,
    /// `verify-full` (default) or, said outright, `disable`. Loopback needs none: it uses TLS if there is a `ca_file`.
    /// Unix sockets have none.
    #[serde(default)]
    pub tls: Tls,
    /// The certificate authority that signed the server's certificate (PEM).
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    #[default]
    VerifyFull,
    Disable,
}

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("the database url is not one: expected postgres://user@host:port/database")]
    BadUrl,
    #[error("the database url holds a password; put it into a file and name that as password_file")]
    PasswordInUrl,
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("tls = \"verify-full\" needs ca_file, the certificate authority of the server")]
    NoAuthority,
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("cannot speak TLS")]
    Tls(#[source] rustls::Error),
    #[error("cannot build the connection pool")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// A pool of at most `connections_max` connections.
pub fn pool(settings: &DatabaseSettings, connections_max: usize) -> Result<Pool, DatabaseError> {
    let config = config(settings, "CAUSEWAY_DATABASE_PASSWORD")?;
    let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let way = way(settings, &config)?;
    let manager = Manager::from_config(config, way, recycle);
    Ok(Pool::builder(manager)
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(POOL_WAIT_MAX))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .build()?)
}

/// The driver's configuration, with the password in it. It is made for [`way`].
pub fn config(settings: &DatabaseSettings, password_variable: &str) -> Result<tokio_postgres::Config, DatabaseError> {
    let mut config: tokio_postgres::Config = settings.url.parse().map_err(|_| DatabaseError::BadUrl)?;
    if config.get_password().is_some() {
        return Err(DatabaseError::PasswordInUrl);
    }
    let password = secret::read(settings.password_file.as_deref(), password_variable)?;
    if let Some(password) = &password {
        config.password(password.expose_secret());
    }
    if uses_tls(settings, &config) {
        let binding = if password.is_some() { ChannelBinding::Require } else { ChannelBinding::Prefer };
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Postgres).channel_binding(binding);
    } else if config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) {
        config.ssl_mode(SslMode::Disable);
    } else {
        // The way gives the stream as it is, watched, without a word to the server.
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        config.channel_binding(ChannelBinding::Disable);
    }
    config.connect_timeout(CONNECT_TIMEOUT).application_name("causeway").keepalives_idle(Duration::from_secs(15));
    Ok(config)
}

/// Whether sessions go over TLS, with the server's certificate checked against `ca_file` and the host's name.
pub fn uses_tls(settings: &DatabaseSettings, config: &tokio_postgres::Config) -> bool {
    let hosts = config.get_hosts();
    let unix = hosts.iter().any(|host| matches!(host, Host::Unix(_)));
    settings.tls == Tls::VerifyFull && !unix && (settings.ca_file.is_some() || !hosts.iter().all(is_local))
}

/// How sessions get to this server, for [`config`]'s configuration.
pub fn way(settings: &DatabaseSettings, config: &tokio_postgres::Config) -> Result<Way, DatabaseError> {
    if !uses_tls(settings, config) {
        return Ok(Way(None));
    }
    let file = settings.ca_file.as_deref().ok_or(DatabaseError::NoAuthority)?;
    let roots = authority::read(file)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(DatabaseError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Way(Some(MakeRustlsConnect::new(client))))
}

/// Whether the server is on this machine.
pub fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
    }
}
