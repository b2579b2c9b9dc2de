//! Apicurio Registry, spoken to through its Confluent-compatible API.

use crate::{
    part::{Part, Ready},
    ports::free_port,
    process::{Lifetime, Spec},
};
use anyhow::Context;
use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

const API: &str = "/apis/ccompat/v7";
const HEAP: &str = "-Xmx256m";

/// One registry with its schemas in a file.
#[derive(Debug)]
pub struct Registry {
    part: Part,
    address: String,
}

impl Registry {
    pub async fn start(folder: &Path, lifetime: Lifetime) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        // In memory it would forget its schemas at a restart, and with a write delay at a kill -9.
        let store = format!("jdbc:h2:file:{};DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0", folder.join("schemas").display());
        let spec = Spec::new("java", folder.join("registry.log"), lifetime)
            .arguments([HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar"])
            .arguments([runner()?.display().to_string()])
            .environment("REGISTRY_DATASOURCE_URL", store)
            .environment("QUARKUS_HTTP_HOST", "127.0.0.1")
            .environment("HTTP_PORT", port.to_string())
            .environment("QUARKUS_DATASOURCE_JDBC_INITIAL_SIZE", "2")
            .environment("QUARKUS_DATASOURCE_JDBC_MIN_SIZE", "2");
        let ready = Ready::Http { address: address.clone(), path: format!("{API}/subjects") };
        let mut part = Part::new("registry", spec, ready);
        part.start().await?;
        Ok(Self { part, address })
    }

    /// The base URL that Confluent's clients want.
    pub fn url(&self) -> String {
        format!("http://{}{API}", self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Deref for Registry {
    type Target = Part;
    fn deref(&self) -> &Part {
        &self.part
    }
}

impl DerefMut for Registry {
    fn deref_mut(&mut self) -> &mut Part {
        &mut self.part
    }
}

/// The one jar that starts the registry; it names its libraries itself.
fn runner() -> anyhow::Result<PathBuf> {
    let folder = crate::fetched("apicurio", "registry.version")?;
    let files = std::fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let runner = files.filter(|path| path.to_str().is_some_and(|path| path.ends_with("-runner.jar"))).max();
    runner.with_context(|| format!("no runner in {}", folder.display()))
}
