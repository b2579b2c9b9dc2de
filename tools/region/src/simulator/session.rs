//! A connection that comes back.

use super::transaction::Transaction;
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::sync::CancellationToken;

const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// A server that answers nothing for this long is taken for lost.
const ANSWER_MAX: Duration = Duration::from_secs(30);

pub struct Session {
    config: Config,
    client: Option<Client>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    /// The connection went while the transaction was under way: the witness knows.
    Unknown,
    /// The server said no, and rolled back.
    Refused,
    /// Told to stop before it was sent.
    Stopped,
}

impl Session {
    pub fn new(config: Config) -> Self {
        Self { config, client: None }
    }

    /// The client, after as many attempts as it takes; `None` when told to stop.
    pub async fn client(&mut self, stop: &CancellationToken) -> Option<&Client> {
        let mut wait = RECONNECT_FIRST;
        while self.client.as_ref().is_none_or(Client::is_closed) {
            match self.config.connect(NoTls).await {
                Ok((client, connection)) => {
                    // Ends when the client is dropped; what it has to say the client says too.
                    tokio::spawn(async move { drop(connection.await) });
                    self.client = Some(client);
                }
                Err(_) => {
                    tracing::debug!(wait_ms = wait.as_millis(), "a source database cannot be reached");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => wait = (wait * 2).min(RECONNECT_MAX),
                        () = stop.cancelled() => return None,
                    }
                }
            }
        }
        self.client.as_ref()
    }

    pub async fn run(&mut self, transaction: &Transaction, stop: &CancellationToken) -> Outcome {
        let Some(client) = self.client(stop).await else {
            return Outcome::Stopped;
        };
        // Sent is sent: a stop waits for the answer, so that its outcome is known.
        match tokio::time::timeout(ANSWER_MAX, client.batch_execute(transaction.sql())).await {
            Ok(Ok(())) => Outcome::Committed,
            // An error the server raised and survived; what ends the session (class 57) leaves the outcome open.
            Ok(Err(error)) if error.as_db_error().is_some_and(|e| !e.code().code().starts_with("57")) => {
                let state = error.code().map_or("", |code| code.code());
                tracing::warn!(sqlstate = state, "a simulated transaction was refused");
                Outcome::Refused
            }
            Ok(Err(_)) | Err(_) => {
                self.client = None;
                Outcome::Unknown
            }
        }
    }
}
