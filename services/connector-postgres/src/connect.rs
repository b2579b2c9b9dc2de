//! Ways into the source database: an ordinary session, and a replication session.

use crate::{
    error::{ConnectorError, Doing},
    settings::{Settings, is_local},
};
use boot::database::{CONNECT_TIMEOUT, Tls, config, connector};
use pgwire_replication::{Lsn as WireLsn, ReplicationClient, ReplicationConfig, TlsConfig};
use std::time::Duration;
use tokio_postgres::{Client, NoTls, config::Host};

/// How every value is printed, whatever the server's own defaults are.
const SESSION_OPTIONS: &str = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=3 \
                               -c bytea_output=hex -c statement_timeout=0 -c idle_in_transaction_session_timeout=0";
/// Frames between the replication session and the encoder: a frame can be as large as a row.
pub(crate) const FRAMES_BUFFERED_MAX: usize = 24;
/// Starting a session may wait for others of the server.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The server's default, for when it does not tell.
const SENDER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
const STATUS_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// An ordinary session. It ends when the client is dropped.
pub(crate) async fn sql(settings: &Settings) -> Result<Client, ConnectorError> {
    let database = settings.database();
    let mut config = config(&database, &settings.password_variable())?;
    config.options(SESSION_OPTIONS).application_name("causeway connector");
    let connecting = async {
        match connector(&database, &config)? {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.doing("connecting")?;
                tokio::spawn(connection);
                Ok(client)
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.doing("connecting")?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    };
    within(2 * CONNECT_TIMEOUT, connecting).await
}

/// How the replication session keeps in touch with the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// How often we report at most while there is something to report.
    pub(crate) status_interval: Duration,
    /// How often we report when nothing happens. The server asks for a sign of life after half of its patience: a report
    /// of ours before that would keep it silent, and its silence could not be told from a broken link's.
    pub(crate) idle_interval: Duration,
    /// Silence for longer means that the stream is dead; none when the server sends no keepalives.
    pub(crate) silence_max: Option<Duration>,
}

impl Pulse {
    /// From `wal_sender_timeout`: several reports of ours within it, and silence no longer than it.
    pub(crate) fn of(sender_timeout: Option<Duration>) -> Self {
        let timeout = sender_timeout.unwrap_or(SENDER_TIMEOUT_DEFAULT);
        let status_interval = (timeout / 4).min(STATUS_INTERVAL_MAX);
        let silence_max = (timeout > Duration::ZERO).then_some(timeout);
        let status_interval = if status_interval.is_zero() { STATUS_INTERVAL_MAX } else { status_interval };
        let idle_interval = if timeout.is_zero() { STATUS_INTERVAL_MAX } else { timeout * 3 / 5 };
        Self { status_interval, idle_interval, silence_max }
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
        let connected = ReplicationClient::connect_gated(config).await;
        connected.map_err(|source| ConnectorError::Stream { slot: settings.slot(), source })
    };
    within(CONNECT_TIMEOUT, connecting).await
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
    let tls = match (settings.tls, is_local(host)) {
        (Tls::VerifyFull, false) => TlsConfig::verify_full(settings.ca_file.clone()),
        (Tls::VerifyFull, true) | (Tls::Disable, _) => TlsConfig::disabled(),
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
    .with_options(SESSION_OPTIONS);
    config.application_name = Some("causeway connector".into());
    Ok(config)
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
        assert_eq!((pulse.status_interval, pulse.silence_max), (Duration::from_millis(1250), Some(seconds(5))));
        assert_eq!(pulse.idle_interval, seconds(3), "after the server has asked, before it gives up");
        let pulse = Pulse::of(None);
        assert_eq!((pulse.status_interval, pulse.silence_max), (seconds(10), Some(seconds(60))));
        let pulse = Pulse::of(Some(Duration::ZERO));
        assert_eq!((pulse.status_interval, pulse.silence_max), (seconds(10), None));
    }
}
