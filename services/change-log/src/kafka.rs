//! How to reach the brokers: addresses, the region's topic prefix, TLS and SCRAM.

use crate::{clients::Clients, topics::TOPIC_RECORD_BYTES_MAX};
use boot::{
    authority::{self, AuthorityError},
    secret::{self, ExposeSecret, SecretError},
};
use rdkafka::ClientConfig;
use serde::Deserialize;
use std::path::PathBuf;

/// The environment variable that holds the SCRAM password when no file does.
pub const PASSWORD_VARIABLE: &str = "CAUSEWAY_KAFKA_PASSWORD";
/// How long a broker may take to answer before the client asks another.
const SOCKET_TIMEOUT_MS: &str = "10000";
const RECONNECT_BACKOFF_MAX_MS: &str = "2000";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Stands in front of every topic's name.
    #[serde(default)]
    pub topic_prefix: String,
    /// Replicas of topics that Causeway creates. Production wants three.
    #[serde(default = "one_replica")]
    pub replicas: u16,
    pub security: Option<SecuritySettings>,
    /// What all clones share.
    #[serde(skip)]
    pub clients: Clients,
}

const fn one_replica() -> u16 {
    1
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecuritySettings {
    /// TLS towards the brokers. Off only where the network itself is private.
    #[serde(default = "tls_on")]
    pub tls: bool,
    /// The certificate authority that signed the brokers' certificates (PEM).
    pub ca_file: Option<PathBuf>,
    pub sasl: Option<SaslSettings>,
}

const fn tls_on() -> bool {
    true
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaslSettings {
    pub mechanism: SaslMechanism,
    pub username: String,
    /// A file that holds the password; otherwise `CAUSEWAY_KAFKA_PASSWORD`.
    pub password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum SaslMechanism {
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

#[derive(Debug, thiserror::Error)]
pub enum KafkaSettingsError {
    #[error("brokers is empty: name at least one as host:port")]
    NoBrokers,
    #[error("topic_prefix may hold only letters, digits, `.`, `_` and `-`")]
    BadPrefix,
    #[error("replicas must be at least 1")]
    NoReplicas,
    #[error("no Kafka password: name a password_file or set {PASSWORD_VARIABLE}")]
    NoPassword,
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl KafkaSettings {
    /// The topic's full name.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }

    /// Every mistake that shows without a connection.
    pub fn mistakes(&self) -> Vec<KafkaSettingsError> {
        let mut mistakes = Vec::new();
        if self.brokers.split(',').all(|broker| broker.trim().is_empty()) {
            mistakes.push(KafkaSettingsError::NoBrokers);
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !self.topic_prefix.chars().all(legal) {
            mistakes.push(KafkaSettingsError::BadPrefix);
        }
        if self.replicas == 0 {
            mistakes.push(KafkaSettingsError::NoReplicas);
        }
        // The client would take what it can read of the file.
        let authority = self.security.as_ref().filter(|security| security.tls).and_then(|it| it.ca_file.as_deref());
        if let Some(Err(error)) = authority.map(authority::read) {
            mistakes.push(error.into());
        }
        if let Some(Err(error)) = self.sasl().map(SaslSettings::password) {
            mistakes.push(error);
        }
        mistakes
    }

    /// The client's configuration. A password that cannot be read is left out, and the brokers
    /// refuse the client; [`KafkaSettings::mistakes`] says why.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "causeway")
            .set("socket.timeout.ms", SOCKET_TIMEOUT_MS)
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS);
        let Some(security) = &self.security else { return client };
        let protocol = match (security.tls, security.sasl.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(authority) = &security.ca_file {
            client.set("ssl.ca.location", authority.display().to_string());
        }
        if let Some(sasl) = &security.sasl {
            client.set("sasl.mechanism", sasl.mechanism.name()).set("sasl.username", &sasl.username);
            match sasl.password() {
                Ok(password) => {
                    client.set("sasl.password", password.expose_secret());
                }
                Err(error) => tracing::error!(%error, "cannot sign in to Kafka"),
            }
        }
        client
    }

    /// Of a producer that is idempotent and never gives up a message by time: order holds, and Kafka away means waiting,
    /// not loss. At most this many messages wait in it.
    pub fn outbox(&self, messages_max: usize) -> ClientConfig {
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "2")
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", messages_max.to_string())
            .set("message.max.bytes", TOPIC_RECORD_BYTES_MAX.to_string());
        client
    }

    fn sasl(&self) -> Option<&SaslSettings> {
        self.security.as_ref()?.sasl.as_ref()
    }
}

impl SaslMechanism {
    const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl SaslSettings {
    fn password(&self) -> Result<secret::Secret, KafkaSettingsError> {
        secret::read(self.password_file.as_deref(), PASSWORD_VARIABLE)?.ok_or(KafkaSettingsError::NoPassword)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> KafkaSettings {
        serde_json::from_str(json).expect("valid settings")
    }

    #[test]
    fn plain_settings_are_two_words() {
        let settings = settings(r#"{"brokers": "localhost:9092", "topic_prefix": "test."}"#);
        assert_eq!(settings.topic("quarantine"), "test.quarantine");
        assert!(settings.mistakes().is_empty());
        assert_eq!(settings.client().get("security.protocol"), None);
    }

    #[test]
    fn mistakes_come_together() {
        let settings = settings(
            r#"{"brokers": " ", "topic_prefix": "a b", "replicas": 0, "security": {"sasl": {
                "mechanism": "SCRAM-SHA-512", "username": "u", "password_file": "/nonexistent"}, "ca_file": "/nonexistent"}}"#,
        );
        assert_eq!(settings.mistakes().len(), 5);
        assert_eq!(settings.client().get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(settings.client().get("sasl.mechanism"), Some("SCRAM-SHA-512"));
    }
}
