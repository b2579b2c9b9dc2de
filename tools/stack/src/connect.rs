//! A Kafka Connect worker with Debezium's connectors, and Apicurio's converter: consumers and a peer that nobody here
//! wrote.
//!
//! # Why
//! Standalone: one process, and what it remembers lies in its folder. Its log goes to `connect.log`, where a task's end
//! is told too.

use crate::{
    part::{Part, Ready},
    ports::free_port,
    process::{Lifetime, Spec},
};
use anyhow::{Context, bail};
use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MAIN: &str = "org.apache.kafka.connect.cli.ConnectStandalone";
const HEAP: &str = "-Xmx512m";
/// One question to the worker's REST interface.
const ASK_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// A connector and its tasks start within this, even on two busy cores.
const TASKS_WAIT_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// Properties of the worker, or of a connector (with its `name` among them).
pub type Properties = BTreeMap<String, String>;

/// One worker. A part like any other; its connectors start with it.
#[derive(Debug)]
pub struct Connect {
    part: Part,
    address: String,
}

impl Connect {
    /// Starts a worker with these connectors. `worker` adds to its properties, or takes the place of what is set here:
    /// addresses, the folder of plugins, offsets, and JSON converters without schemas. The heap is what
    /// [`Connect::start_with`] changes.
    pub async fn start(
        folder: &Path,
        lifetime: Lifetime,
        brokers: &str,
        worker: &Properties,
        connectors: &[Properties],
    ) -> anyhow::Result<Self> {
        Self::start_with(folder, lifetime, &[HEAP], brokers, worker, connectors).await
    }

    /// The same with options of the Java machine.
    pub async fn start_with(
        folder: &Path,
        lifetime: Lifetime,
        java: &[&str],
        brokers: &str,
        worker: &Properties,
        connectors: &[Properties],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let fetched = crate::fetched("connect", "connect.version")?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut properties = own_properties(&folder, &fetched, brokers, &address);
        properties.extend(worker.clone());
        let settings = folder.join("worker.properties");
        std::fs::write(&settings, text_of(&properties))?;
        let mut files = vec![settings.display().to_string()];
        for connector in connectors {
            let name = connector.get("name").context("a connector without a name")?;
            let file = folder.join(format!("{name}.properties"));
            std::fs::write(&file, text_of(connector))?;
            files.push(file.display().to_string());
        }
        let class_path = fetched.join("libs").join("*");
        let spec = Spec::new("java", folder.join("connect.log"), lifetime)
            .arguments(java.iter().copied())
            .arguments(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"])
            .arguments(["-cp".to_owned(), class_path.display().to_string(), MAIN.to_owned()])
            .arguments(files);
        let mut part = Part::new("connect", spec, Ready::Http { address: address.clone(), path: "/".to_owned() });
        part.start().await?;
        let connect = Self { part, address };
        for connector in connectors {
            connect.wait_running(&connector["name"]).await?;
        }
        Ok(connect)
    }

    /// Where its REST interface listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the connector and at least one task of it run. An error says what the worker says.
    pub async fn wait_running(&self, connector: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + TASKS_WAIT_MAX;
        loop {
            let told = self.status(connector).await;
            match &told {
                Ok(told) if states(told).filter(|state| *state == "RUNNING").count() >= 2 => return Ok(()),
                Ok(told) if told.contains("\"FAILED\"") => bail!("{connector} failed: {told}"),
                _ if Instant::now() > deadline => bail!("{connector} does not run: {told:?}"),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Why the connector or a task of it failed, as the worker tells it; none while all run.
    pub async fn failure(&self, connector: &str) -> anyhow::Result<Option<String>> {
        let told = self.status(connector).await?;
        Ok(told.contains("\"FAILED\"").then_some(told))
    }

    async fn status(&self, connector: &str) -> anyhow::Result<String> {
        self.get(&format!("/connectors/{connector}/status")).await
    }

    /// The answer to a GET of the path, if its status is 200.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let ask = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            // HTTP/1.0: an answer in one piece.
            let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\nAccept: application/json\r\n\r\n", self.address);
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(ASK_MAX, ask).await.context("the worker does not answer")??;
        let (head, body) = answer.split_once("\r\n\r\n").context("the worker's answer has no body")?;
        let status = head.lines().next().unwrap_or_default();
        if !status.contains(" 200 ") {
            bail!("{path}: {status}");
        }
        Ok(body.to_owned())
    }
}

impl Deref for Connect {
    type Target = Part;
    fn deref(&self) -> &Part {
        &self.part
    }
}

impl DerefMut for Connect {
    fn deref_mut(&mut self) -> &mut Part {
        &mut self.part
    }
}

/// Pairs of a property and its value, for [`Connect::start`].
pub fn properties<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Properties {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn own_properties(folder: &Path, fetched: &Path, brokers: &str, address: &str) -> Properties {
    let path = |path: PathBuf| path.display().to_string();
    let listener = format!("http://{address}");
    let (plugins, offsets) = (path(fetched.join("plugins")), path(folder.join("offsets")));
    properties([
        ("bootstrap.servers", brokers),
        ("listeners", &listener),
        ("plugin.path", &plugins),
        ("offset.storage.file.filename", &offsets),
        ("offset.flush.interval.ms", "1000"),
        ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("key.converter.schemas.enable", "false"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
        // What lies in the folder of plugins is all there is.
        ("plugin.discovery", "hybrid_warn"),
    ])
}

/// `"state":"RUNNING"` of the connector and of each task.
fn states(told: &str) -> impl Iterator<Item = &str> {
    told.split("\"state\":\"").skip(1).filter_map(|rest| rest.split('"').next())
}

/// Java's properties file: backslashes count, nothing else in our values does.
fn text_of(properties: &Properties) -> String {
    properties.iter().map(|(key, value)| format!("{key}={}\n", value.replace('\\', "\\\\"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_and_states_are_as_java_and_the_worker_write_them() {
        assert_eq!(text_of(&properties([("b", r"a\.b"), ("a", "1")])), "a=1\nb=a\\\\.b\n");
        let told =
            r#"{"name":"x","connector":{"state":"RUNNING","worker_id":"w"},"tasks":[{"id":0,"state":"FAILED"}]}"#;
        assert_eq!(states(told).collect::<Vec<_>>(), ["RUNNING", "FAILED"]);
    }
}
