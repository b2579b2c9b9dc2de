//! Ways into the source database: an ordinary session, and a replication session.

use crate::{
    charset::Charset,
    error::{ConnectorError, Doing},
    settings::Settings,
};
use boot::database::{Asked, CONNECT_TIMEOUT, Refusal, Watch, config, uses_tls, way};
use pgwire_replication::{
    Lsn as WireLsn, PgWireError, ReplicationClient, ReplicationConfig, TlsConfig,
    protocol::framing::write_startup_message, tls::rustls::maybe_upgrade_to_tls,
};
use std::time::Duration;
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_postgres::{Client, config::Host};

/// How every value is printed, whatever the server's own defaults are. Rows that row-level security hides are an error,
/// not left out; and no session ends because it has nothing to do, or because it takes long: what limits that is here.
const SESSION_OPTIONS: &str = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=3 \
                               -c bytea_output=hex -c row_security=off -c statement_timeout=0 -c idle_session_timeout=0 \
                               -c idle_in_transaction_session_timeout=0 -c lock_timeout=0";
/// A timeout that only newer servers know (from 17): it ends the decoding of a large transaction, too.
const NO_TRANSACTION_TIMEOUT: &str =
    "select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'";
/// Frames between the replication session and the encoder: a frame can be as large as a row.
pub(crate) const FRAMES_BUFFERED_MAX: usize = 24;
/// Starting a session may wait for others of the server.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(30);
/// A link is given up after so long a silence at most: our sessions ask for it where the server has more patience, or has
/// no end of it. It is the server's default, too, for when it does not tell.
const SENDER_TIMEOUT_MAX: Duration = Duration::from_secs(60);
const STATUS_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// 3.0, which every server speaks.
const PROTOCOL_VERSION: i32 = 3 << 16;

/// An ordinary session. It ends when the client is dropped.
pub(crate) async fn sql(settings: &Settings) -> Result<Client, ConnectorError> {
    let database = settings.database();
    let mut config = config(&database, &settings.password_variable())?;
    config.options(SESSION_OPTIONS).application_name(settings.application_name());
    let way = way(&database, &config)?;
    let connecting = async {
        let (client, connection) = config.connect(way).await.map_err(|source| match Refusal::of(&source) {
            Some(why) => untrusted(settings, why),
            None => ConnectorError::Database { doing: "connecting", source: source.into() },
        })?;
        tokio::spawn(connection);
        client.batch_execute(NO_TRANSACTION_TIMEOUT).await.doing("connecting")?;
        Ok(client)
    };
    within(2 * CONNECT_TIMEOUT, connecting).await
}

/// Asks the server to stop what the session is doing. It need not have heard it.
pub(crate) async fn cancel(settings: &Settings, client: &Client) {
    let database = settings.database();
    let way = config(&database, &settings.password_variable()).and_then(|config| way(&database, &config));
    if let Ok(way) = way {
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, client.cancel_token().cancel_query(way)).await;
    }
}

fn untrusted(settings: &Settings, why: Refusal) -> ConnectorError {
    ConnectorError::Untrusted { source_name: settings.name.clone(), why }
}

/// How the replication session keeps in touch with the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// How often we report at most while there is something to report.
    pub(crate) status_interval: Duration,
    /// How often we report when nothing happens. The server asks for a sign of life after half of its patience: a report
    /// of ours before that would keep it silent, and its silence could not be told from a broken link's.
    pub(crate) idle_interval: Duration,
    /// Silence for longer means that the stream is dead.
    pub(crate) silence_max: Duration,
    /// The session asks the server for this patience instead of its own.
    pub(crate) asked: bool,
}

impl Pulse {
    /// From `wal_sender_timeout`: several reports of ours within it, and silence no longer than it.
    pub(crate) fn of(sender_timeout: Option<Duration>) -> Self {
        let known = sender_timeout.unwrap_or(SENDER_TIMEOUT_MAX);
        let asked = known.is_zero() || known > SENDER_TIMEOUT_MAX;
        let timeout = if asked { SENDER_TIMEOUT_MAX } else { known };
        Self {
            status_interval: (timeout / 4).min(STATUS_INTERVAL_MAX),
            idle_interval: timeout * 3 / 5,
            silence_max: timeout,
            asked,
        }
    }
}

/// A replication session that waits before it starts to stream.
pub(crate) async fn replication(
    settings: &Settings,
    pulse: Pulse,
    start: change::Lsn,
) -> Result<ReplicationClient, ConnectorError> {
    let config = replication_config(settings, pulse, start)?;
    let connecting = async {
        expect_proof(settings, &config).await?;
        let lost = |source| ConnectorError::Stream { slot: settings.slot(), source };
        let mut client = ReplicationClient::connect_gated(config).await.map_err(lost)?;
        client.simple_query(NO_TRANSACTION_TIMEOUT).await.map_err(lost)?;
        Ok(client)
    };
    within(CONNECT_TIMEOUT, connecting).await
}

/// Asks for rows in the database's own encoding.
pub(crate) async fn speak(
    client: &mut ReplicationClient,
    settings: &Settings,
    charset: &Charset,
) -> Result<(), ConnectorError> {
    let Some(own) = charset.own() else { return Ok(()) };
    let ask = format!("set client_encoding to '{own}'");
    let lost = |source| ConnectorError::Stream { slot: settings.slot(), source };
    within(CONNECT_TIMEOUT, async { client.simple_query(&ask).await.map(drop).map_err(lost) }).await
}

/// The transport would say the password to a server that asks for it. So the server is asked first what it wants, on a
/// connection that ends then, and as whom the session that goes before every replication session has proven itself.
async fn expect_proof(settings: &Settings, config: &ReplicationConfig) -> Result<(), ConnectorError> {
    if config.host.starts_with('/') {
        return Ok(());
    }
    let lost = |source: PgWireError| ConnectorError::Stream { slot: settings.slot(), source };
    let socket = TcpStream::connect((config.host.as_str(), config.port)).await.map_err(|error| lost(error.into()))?;
    let mut stream = maybe_upgrade_to_tls(socket, &config.tls, &config.host).await.map_err(lost)?;
    let parameters = [("user", &*config.user), ("database", &*config.database), ("replication", "database")];
    write_startup_message(&mut stream, PROTOCOL_VERSION, &parameters).await.map_err(lost)?;
    let (mut watch, mut piece) = (Watch::default(), [0; 512]);
    while watch.asked() == Asked::Nothing {
        let read = stream.read(&mut piece).await.map_err(|error| lost(error.into()))?;
        if read == 0 {
            return Err(lost(PgWireError::Protocol(
                "the server ended the connection before it was asked anything".into(),
            )));
        }
        watch.see(&piece[..read]).map_err(|why| untrusted(settings, why))?;
    }
    Ok(())
}

fn replication_config(
    settings: &Settings,
    pulse: Pulse,
    start: change::Lsn,
) -> Result<ReplicationConfig, ConnectorError> {
    let database = settings.database();
    let parsed = config(&database, &settings.password_variable())?;
    let incomplete = || ConnectorError::Settings { name: settings.name.clone(), what: "the url is incomplete".into() };
    let host = parsed.get_hosts().first().ok_or_else(incomplete)?;
    let address = match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    };
    let tls = if uses_tls(&database, &parsed) {
        // Named outright, an address is checked as one; otherwise the transport refuses addresses.
        TlsConfig::verify_full(settings.ca_file.clone()).with_sni_hostname(address.clone())
    } else {
        TlsConfig::disabled()
    };
    let password = String::from_utf8_lossy(parsed.get_password().unwrap_or_default()).into_owned();
    let mut config = ReplicationConfig::new(
        address,
        parsed.get_user().ok_or_else(incomplete)?,
        password,
        parsed.get_dbname().ok_or_else(incomplete)?,
        settings.slot(),
        settings.publication(),
    )
    .with_port(parsed.get_ports().first().copied().unwrap_or(5432))
    .with_tls(tls)
    .with_start_lsn(WireLsn::from_u64(start.0))
    .with_ack_lsn(WireLsn::from_u64(0))
    .with_status_interval(pulse.status_interval)
    .with_wakeup_interval(pulse.idle_interval)
    .with_buffer_size(FRAMES_BUFFERED_MAX)
    .with_options(session_options(pulse));
    config.application_name = Some(settings.application_name());
    Ok(config)
}

fn session_options(pulse: Pulse) -> String {
    let patience =
        if pulse.asked { format!(" -c wal_sender_timeout={}", pulse.silence_max.as_millis()) } else { String::new() };
    format!("{SESSION_OPTIONS}{patience}")
}

/// Anything that asks the server something has an end.
pub(crate) async fn within<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, ConnectorError>>,
) -> Result<T, ConnectorError> {
    let answered = tokio::time::timeout(limit, asking).await;
    answered.unwrap_or_else(|_| Err(ConnectorError::Slow { seconds: limit.as_secs() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pulse_follows_the_servers_patience() {
        let seconds = Duration::from_secs;
        let pulse = Pulse::of(Some(seconds(5)));
        assert_eq!((pulse.status_interval, pulse.silence_max), (Duration::from_millis(1250), seconds(5)));
        assert_eq!(pulse.idle_interval, seconds(3), "after the server has asked, before it gives up");
        assert!(!session_options(pulse).contains("wal_sender_timeout"));
        assert_eq!((Pulse::of(None).status_interval, Pulse::of(None).silence_max), (seconds(10), seconds(60)));
        for patient in [Duration::ZERO, seconds(300)] {
            let pulse = Pulse::of(Some(patient));
            assert_eq!((pulse.status_interval, pulse.silence_max), (seconds(10), seconds(60)));
            assert!(session_options(pulse).ends_with(" -c wal_sender_timeout=60000"));
        }
    }
}
