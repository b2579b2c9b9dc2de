//! What can go wrong, sorted by who must act.

use deadpool_postgres::PoolError;

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("cannot listen on gateway.listen = {address}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("the web server has stopped")]
    Serve(#[source] std::io::Error),
    #[error("no connection to Causeway's database")]
    Pool(#[from] PoolError),
    /// The database's own words can quote a row: they are not part of the message.
    #[error("a statement on Causeway's database failed ({})", sqlstate(.0))]
    Database(DatabaseFailure),
    /// Which of the settings' files cannot be used, and why.
    #[error("{0}")]
    Tls(String),
    #[error("cannot migrate the schema `access`")]
    Migration(#[source] Box<refinery::Error>),
    #[error("cannot read the alerts from Kafka")]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error(transparent)]
    Stalled(#[from] change_log::Stalled),
    #[error("the topic `{topic}` has {partitions} partitions; the live stream's event ids are offsets of one")]
    Partitions { topic: String, partitions: usize },
    #[error("cannot use the schema registry")]
    Registry(#[from] change_log::RegistryError),
    #[error("cannot create the audit topic")]
    Topic(#[from] change_log::TopicError),
    #[error("cannot read `{path}`")]
    File { path: String, source: std::io::Error },
    #[error("{}", list(.0))]
    Site(Vec<String>),
    #[error("cannot hash a password")]
    Hash,
    /// Its words hold no values of a row.
    #[error(transparent)]
    Identity(#[from] linker::LinkerError),
}

fn list(mistakes: &[String]) -> String {
    format!("{} mistake(s):\n  {}", mistakes.len(), mistakes.join("\n  "))
}

/// A failed statement, without the server's message.
#[derive(Debug, Clone)]
pub struct DatabaseFailure {
    code: Option<String>,
    /// No answer came: the connection is gone.
    lost: bool,
}

impl DatabaseFailure {
    /// Whether the same may well be answered in a moment: the connection or the server was lost, or it was too busy.
    /// <https://www.postgresql.org/docs/18/errcodes-appendix.html>: 08 connection exception, 40 transaction rollback,
    /// 53 insufficient resources, 57 operator intervention (shutting down, statement timeout).
    pub fn passes(&self) -> bool {
        let class = self.code.as_deref().and_then(|code| code.get(..2));
        self.lost || class.is_some_and(|class| matches!(class, "08" | "40" | "53" | "57"))
    }
}

fn sqlstate(failure: &DatabaseFailure) -> &str {
    failure.code.as_deref().unwrap_or(if failure.lost { "connection lost" } else { "client side" })
}

impl From<tokio_postgres::Error> for GatewayError {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error.code().map(|code| code.code().to_owned());
        let io = std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>());
        Self::Database(DatabaseFailure { code, lost: error.is_closed() || io })
    }
}

impl GatewayError {
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Pool(_) | Self::Database(_) | Self::Kafka(_) | Self::Stalled(_) | Self::Serve(_) => true,
            Self::Registry(error) => error.worth_retrying(),
            Self::Topic(error) => error.worth_retrying(),
            Self::Identity(error) => error.worth_retrying(),
            Self::Listen { .. }
            | Self::Tls(_)
            | Self::Migration(_)
            | Self::Partitions { .. }
            | Self::File { .. }
            | Self::Site(_)
            | Self::Hash => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself() {
        for (code, lost, passes) in [
            (None, true, true),
            (None, false, false),
            (Some("57P01"), false, true),
            (Some("57014"), false, true),
            (Some("53300"), false, true),
            (Some("08006"), false, true),
            (Some("40001"), false, true),
            (Some("42P01"), false, false),
            (Some("22021"), false, false),
        ] {
            let failure = DatabaseFailure { code: code.map(str::to_owned), lost };
            assert_eq!(failure.passes(), passes, "{failure:?}");
        }
    }
}
