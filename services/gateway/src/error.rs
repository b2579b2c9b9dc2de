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
}

fn list(mistakes: &[String]) -> String {
    format!("{} mistake(s):\n  {}", mistakes.len(), mistakes.join("\n  "))
}

/// A failed statement, without the server's message.
#[derive(Debug, Clone)]
pub struct DatabaseFailure {
    code: Option<String>,
    closed: bool,
}

fn sqlstate(failure: &DatabaseFailure) -> &str {
    failure.code.as_deref().unwrap_or(if failure.closed { "connection closed" } else { "client side" })
}

impl From<tokio_postgres::Error> for GatewayError {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error.code().map(|code| code.code().to_owned());
        Self::Database(DatabaseFailure { code, closed: error.is_closed() })
    }
}

impl GatewayError {
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Pool(_) | Self::Database(_) | Self::Kafka(_) | Self::Stalled(_) | Self::Serve(_) => true,
            Self::Registry(error) => error.worth_retrying(),
            Self::Topic(error) => error.worth_retrying(),
            Self::Listen { .. }
            | Self::Migration(_)
            | Self::Partitions { .. }
            | Self::File { .. }
            | Self::Site(_)
            | Self::Hash => false,
        }
    }
}
