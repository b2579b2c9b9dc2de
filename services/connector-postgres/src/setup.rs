//! What must be there before anything is captured: the server's settings, and the role.

use crate::{
    charset::Charset,
    error::{ConnectorError, Doing},
    settings::Settings,
};
use std::time::Duration;
use tokio_postgres::Client;

/// What the server says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) sender_timeout: Option<Duration>,
    pub(crate) charset: Charset,
}

/// Of an encoding that is not known here.
pub(crate) const CONVERTS: &str = "is an encoding that Causeway does not know, so the server converts texts to UTF-8: one that \
                                   it cannot convert stops the source";

const SETTINGS: &str = "select current_setting('wal_level') as wal_level,
    current_setting('server_encoding') as encoding,
    (select setting::bigint from pg_settings where name = 'wal_sender_timeout') as sender_timeout";

/// Refuses a server that cannot be captured.
pub(crate) async fn check_server(client: &Client, source: &str) -> Result<Server, ConnectorError> {
    let row = client.query_one(SETTINGS, &[]).await.doing("reading the server's settings")?;
    let (wal_level, encoding): (String, String) = (row.get("wal_level"), row.get("encoding"));
    if wal_level != "logical" {
        return Err(ConnectorError::WalLevel { found: wal_level });
    }
    let millis: Option<i64> = row.get("sender_timeout");
    let sender_timeout = millis.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
    let charset = Charset::of(&encoding);
    if matches!(charset, Charset::Servers) {
        tracing::warn!(source, "{encoding} {CONVERTS}");
    }
    Ok(Server { sender_timeout, charset })
}

/// The role that the connector uses, as an identifier.
pub(crate) fn role_of(settings: &Settings) -> String {
    let user = settings.url.parse::<tokio_postgres::Config>().ok();
    let user = user.as_ref().and_then(tokio_postgres::Config::get_user).unwrap_or("causeway");
    let plain = user.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { user.to_owned() } else { format!("\"{}\"", user.replace(['"', '\''], "")) }
}
