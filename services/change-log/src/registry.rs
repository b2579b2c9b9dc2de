//! The schema registry, by the Confluent API that Apicurio and others speak too.

use crate::difference;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A request is tried so often before the registry counts as away.
pub const ATTEMPTS_MAX: u32 = 6;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Schemas kept in memory; beyond it the cache starts afresh.
pub const SCHEMAS_CACHED_MAX: usize = 4_096;
const UNPROCESSABLE: u16 = 422;
/// The Confluent API's own code for an id that it does not know. Any other 404 is somebody else's: a proxy's, a wrong path's.
const SCHEMA_NOT_FOUND: u32 = 40_403;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    /// Where the Confluent API starts: `http://localhost:8081`, or `…/apis/ccompat/v7` of Apicurio.
    pub url: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("the schema registry at {url} did not answer {ATTEMPTS_MAX} times in a row")]
    Away { url: String, source: reqwest::Error },
    #[error("the schema registry at {url} failed {ATTEMPTS_MAX} times in a row with status {status}")]
    Failing { url: String, status: u16 },
    #[error(
        "readers of subject `{subject}` could not read a new schema of it as they read the one before: {differences}"
    )]
    Incompatible { subject: String, differences: String },
    #[error("the schema registry refused {what} with status {status}")]
    Refused { what: String, status: u16 },
    #[error("the schema registry does not know schema id {id}")]
    UnknownId { id: u32 },
    #[error("a message of schema id {id} tells {what} that this version does not know: it waits, upgrade this process")]
    Newer { id: u32, what: &'static str },
    #[error("cannot build a client for the schema registry")]
    Client(#[source] reqwest::Error),
}

impl RegistryError {
    /// An incompatible schema is worth retrying too: an operator can accept it.
    pub const fn worth_retrying(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Failing { .. } | Self::Incompatible { .. } | Self::Newer { .. } => true,
            // Who may not ask now (401, 403), or not so often (429), may later: only a schema that is no schema stays so.
            Self::Refused { status, .. } => *status != UNPROCESSABLE,
            Self::UnknownId { .. } | Self::Client(_) => false,
        }
    }
}

/// A client of the registry. Clones share the connections, the cache, and what was let in.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
    /// Subjects whose schema after this one may be incompatible.
    accepted: Arc<Mutex<HashMap<String, u32>>>,
}

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    url: String,
    ids: Mutex<HashMap<(String, String), u32>>,
    schemas: Mutex<HashMap<u32, Arc<str>>>,
    /// Subjects that were seen to be BACKWARD: an earlier run may have been killed while it let a schema in.
    backward: Mutex<HashMap<String, ()>>,
}

#[derive(Serialize, Deserialize)]
struct SchemaText {
    schema: String,
}

#[derive(Serialize)]
struct Compatibility {
    compatibility: &'static str,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Deserialize)]
struct Latest {
    id: u32,
    schema: String,
}

#[derive(Deserialize)]
struct Failure {
    error_code: u32,
}

#[derive(Deserialize)]
struct Answer {
    is_compatible: bool,
}

impl Registry {
    pub fn new(settings: &RegistrySettings) -> Result<Self, RegistryError> {
        // A provider that is there already does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(RegistryError::Client)?;
        let url = settings.url.trim_end_matches('/').to_owned();
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                url,
                ids: Mutex::default(),
                schemas: Mutex::default(),
                backward: Mutex::default(),
            }),
            accepted: Arc::default(),
        })
    }

    /// One with the same connections and cache, for a source of its own: what is let in there is let in nowhere else.
    pub fn apart(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), accepted: Arc::default() }
    }

    /// The id of the schema under the subject, registered if it is new. The subject is set to BACKWARD.
    pub async fn register(&self, subject: &str, schema_json: &str) -> Result<u32, RegistryError> {
        let key = (subject.to_owned(), schema_json.to_owned());
        if let Some(id) = locked(&self.inner.ids).get(&key) {
            return Ok(*id);
        }
        let set_before = self.set_backward(subject).await?;
        let path = format!("subjects/{}/versions", escaped(subject));
        let body = SchemaText { schema: schema_json.to_owned() };
        let post = || self.send(|client, url| client.post(format!("{url}/{path}")).json(&body));
        let mut answer = post().await?;
        if answer.status().as_u16() == 409 {
            // Two services that register one new schema at the same moment conflict, too.
            tokio::time::sleep(BACKOFF_FIRST).await;
            answer = post().await?;
        }
        let status = answer.status().as_u16();
        let id = match status {
            200 => self.json::<Registered>(answer).await?.id,
            409 => {
                let before = self.latest(subject).await?.map(|(_, text)| text).unwrap_or_default();
                let differences = difference::between(&before, schema_json);
                return Err(RegistryError::Incompatible { subject: subject.to_owned(), differences });
            }
            _ => return Err(RegistryError::Refused { what: format!("a schema of subject `{subject}`"), status }),
        };
        // Some registries know a subject's setting only once the subject exists.
        if !set_before && !self.set_backward(subject).await? {
            let what = format!("compatibility BACKWARD for subject `{subject}`");
            return Err(RegistryError::Refused { what, status: 404 });
        }
        keep(&self.inner.ids, key, id);
        Ok(id)
    }

    /// As [`Self::register`], of a subject whose schemas change with a table: whether the new one is compatible is asked
    /// before it is written, and one that is not is only registered when an operator has accepted it. Nor is one in which
    /// the same bytes are another number, which a registry does not ask.
    pub async fn register_next(&self, subject: &str, schema_json: &str) -> Result<u32, RegistryError> {
        let key = (subject.to_owned(), schema_json.to_owned());
        if let Some(id) = locked(&self.inner.ids).get(&key) {
            return Ok(*id);
        }
        if !locked(&self.inner.backward).contains_key(subject) && self.set_backward(subject).await? {
            keep(&self.inner.backward, subject.to_owned(), ());
        }
        let body = SchemaText { schema: schema_json.to_owned() };
        let path = format!("subjects/{}", escaped(subject));
        // A shape that the table has had before is known, whatever came after it.
        let known = self.send(|client, url| client.post(format!("{url}/{path}")).json(&body)).await?;
        if known.status().as_u16() == 200 {
            let id = self.json::<Registered>(known).await?.id;
            keep(&self.inner.ids, key, id);
            return Ok(id);
        }
        let Some((latest, before)) = self.latest(subject).await? else {
            return self.register(subject, schema_json).await;
        };
        let path = format!("compatibility/subjects/{}/versions/latest?verbose=true", escaped(subject));
        let asked = self.send(|client, url| client.post(format!("{url}/{path}")).json(&body)).await?;
        let compatible = match asked.status().as_u16() {
            200 => self.json::<Answer>(asked).await?.is_compatible,
            // The subject went meanwhile.
            404 => true,
            status => {
                return Err(RegistryError::Refused { what: format!("to compare a schema of `{subject}`"), status });
            }
        };
        if compatible && !difference::changes_meaning(&before, schema_json) {
            return self.register(subject, schema_json).await;
        }
        if locked(&self.accepted).get(subject) != Some(&latest) {
            let differences = difference::between(&before, schema_json);
            return Err(RegistryError::Incompatible { subject: subject.to_owned(), differences });
        }
        tracing::warn!(
            subject,
            "registering a schema that is not compatible with the one before; an operator accepted it"
        );
        // Whatever ends this here, the subject is set to BACKWARD before it is used again.
        locked(&self.inner.backward).remove(subject);
        self.set(subject, "NONE").await?;
        let path = format!("subjects/{}/versions", escaped(subject));
        let posted = self.send(|client, url| client.post(format!("{url}/{path}")).json(&body)).await;
        self.set_backward(subject).await?;
        keep(&self.inner.backward, subject.to_owned(), ());
        let posted = posted?;
        match posted.status().as_u16() {
            200 => {
                let id = self.json::<Registered>(posted).await?.id;
                keep(&self.inner.ids, key, id);
                Ok(id)
            }
            status => {
                Err(RegistryError::Refused { what: format!("an accepted schema of subject `{subject}`"), status })
            }
        }
    }

    /// Lets the subject's next schema in, whatever it is: the one after the schema with this id.
    pub fn accept(&self, subject: &str, after: u32) {
        keep(&self.accepted, subject.to_owned(), after);
    }

    /// As [`Self::accept`], of these alone: what was let in before and is not among them is refused again.
    pub fn accept_only(&self, accepted: impl Iterator<Item = (String, u32)>) {
        *locked(&self.accepted) = accepted.take(SCHEMAS_CACHED_MAX).collect();
    }

    /// Id and text of the subject's newest schema; none of a subject that is not known.
    pub async fn latest(&self, subject: &str) -> Result<Option<(u32, String)>, RegistryError> {
        let path = format!("subjects/{}/versions/latest", escaped(subject));
        let answer = self.send(|client, url| client.get(format!("{url}/{path}"))).await?;
        match answer.status().as_u16() {
            200 => self.json::<Latest>(answer).await.map(|latest| Some((latest.id, latest.schema))),
            404 => Ok(None),
            status => Err(RegistryError::Refused { what: format!("to show subject `{subject}`"), status }),
        }
    }

    /// The schema's text.
    pub async fn schema(&self, id: u32) -> Result<Arc<str>, RegistryError> {
        if let Some(schema) = locked(&self.inner.schemas).get(&id) {
            return Ok(Arc::clone(schema));
        }
        // Ids are 32-bit with a sign: no registry has this one, and some answer it as they answer a wrong path.
        if i32::try_from(id).is_err() {
            return Err(RegistryError::UnknownId { id });
        }
        let answer = self.send(|client, url| client.get(format!("{url}/schemas/ids/{id}"))).await?;
        let schema: Arc<str> = match answer.status().as_u16() {
            200 => self.json::<SchemaText>(answer).await?.schema.into(),
            status => {
                let unknown = status == 404
                    && answer.json::<Failure>().await.is_ok_and(|failure| failure.error_code == SCHEMA_NOT_FOUND);
                let refused = || RegistryError::Refused { what: format!("to show schema id {id}"), status };
                return Err(if unknown { RegistryError::UnknownId { id } } else { refused() });
            }
        };
        keep(&self.inner.schemas, id, Arc::clone(&schema));
        Ok(schema)
    }

    /// False when the registry does not know the subject yet.
    async fn set_backward(&self, subject: &str) -> Result<bool, RegistryError> {
        self.set(subject, "BACKWARD").await
    }

    async fn set(&self, subject: &str, compatibility: &'static str) -> Result<bool, RegistryError> {
        let path = format!("config/{}", escaped(subject));
        let body = Compatibility { compatibility };
        let answer = self.send(|client, url| client.put(format!("{url}/{path}")).json(&body)).await?;
        match answer.status().as_u16() {
            // 409: another service is setting it at this moment, and to the same.
            200..=299 | 409 => Ok(true),
            404 => Ok(false),
            status => {
                Err(RegistryError::Refused { what: format!("compatibility {compatibility} for `{subject}`"), status })
            }
        }
    }

    /// The first answer that is neither a failure of the way nor of the server.
    async fn send(
        &self,
        request: impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, RegistryError> {
        let mut backoff = BACKOFF_FIRST;
        let mut attempt = 1;
        loop {
            let sent = request(&self.inner.client, &self.inner.url).header("accept", MEDIA_TYPE).send().await;
            let error = match sent {
                Ok(answer) if !answer.status().is_server_error() => return Ok(answer),
                Ok(answer) => RegistryError::Failing { url: self.url(), status: answer.status().as_u16() },
                Err(source) => RegistryError::Away { url: self.url(), source: source.without_url() },
            };
            if attempt == ATTEMPTS_MAX {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, answer: reqwest::Response) -> Result<T, RegistryError> {
        answer.json().await.map_err(|source| RegistryError::Away { url: self.url(), source: source.without_url() })
    }

    fn url(&self) -> String {
        self.inner.url.clone()
    }
}

fn locked<T>(cache: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep<K: Eq + std::hash::Hash, V>(cache: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut cache = locked(cache);
    if cache.len() >= SCHEMAS_CACHED_MAX {
        cache.clear();
    }
    cache.insert(key, value);
}

/// A subject as one segment of a path.
fn escaped(subject: &str) -> String {
    use std::fmt::Write as _;
    let mut path = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            path.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_one_segment() {
        assert_eq!(escaped("riverside.emis.user.Envelope"), "riverside.emis.user.Envelope");
        assert_eq!(escaped("a/b c"), "a%2Fb%20c");
    }

    #[tokio::test]
    async fn an_absent_registry_is_named_and_worth_retrying() {
        let registry = Registry::new(&RegistrySettings { url: "http://127.0.0.1:9/".into() }).expect("a client");
        let error = registry.schema(1).await.expect_err("nobody listens on port 9");
        assert!(error.worth_retrying());
        assert_eq!(error.to_string(), "the schema registry at http://127.0.0.1:9 did not answer 6 times in a row");
    }
}
