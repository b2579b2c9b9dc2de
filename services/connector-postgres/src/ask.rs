//! Questions of an operator's command to a live database: read only, one at a time, each within a time.

use crate::{
    connect,
    error::{ConnectorError, Doing},
    settings::Settings,
};
use std::time::Duration;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A connection that only reads.
pub struct Asking(Client);

impl Asking {
    /// The server gives each question up after `within`.
    pub async fn open(settings: &Settings, within: Duration) -> Result<Self, ConnectorError> {
        let client = connect::sql(settings).await?;
        let begin = format!(
            "set statement_timeout = {}; set timezone = 'UTC'; set datestyle = 'ISO'; set bytea_output = 'hex'; \
             set default_transaction_read_only = on",
            within.as_millis()
        );
        client.batch_execute(&begin).await.doing("asking the database")?;
        Ok(Self(client))
    }

    /// Each row's cells as the server writes them; none is NULL.
    pub async fn rows(&self, query: &str) -> Result<Vec<Vec<Option<String>>>, ConnectorError> {
        let answer = self.0.simple_query(query).await.doing("asking the database")?;
        let row = |message: SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(answer.into_iter().filter_map(row).collect())
    }
}
