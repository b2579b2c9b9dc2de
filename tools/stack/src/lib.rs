//! Starts and stops the real components that Causeway works with, on free loopback ports.
//!
//! Shared by `./run up`, the demo, the tests and the benches, so that all of them meet the same
//! PostgreSQL, Apache Kafka and schema registry.
//!
//! # How to use it
//! `./run up` once fetches Kafka, the registry and PostgreSQL's versions into `.local/` (or run
//! `mvn -q -B -f tools/stack/maven/pom.xml -Dlocal=$PWD/.local generate-resources`). Then:
//!
//! ```text
//! let mut region = stack::Region::start(std::path::Path::new("folder")).await?;
//! region.gp.execute("riverside", "create schema emis").await?;
//! let capture = region.gp.create_role("causeway_capture", "login replication").await?;
//! println!("{} {}", region.gp.url("causeway_capture", "riverside"), capture.display()); // no password; its file
//! println!("{} {}", region.kafka.brokers(), region.registry.url());
//! region.kafka.kill_9()?;
//! region.kafka.restart().await?; // same ports, same data
//! region.stop().await
//! ```
//!
//! Every component dereferences to its [`Part`], which has `pid`, `kill_9`, `pause`, `resume`,
//! `restart`, `stop`. Single components start by themselves too: `Postgres::start`,
//! `Kafka::start`, `Registry::start`. A dropped component is killed.
//!
//! `Connect::start` runs Debezium's own connectors in a Kafka Connect worker; `./run test` and `./run bench … --peer` fetch
//! it (`tools/stack/maven/connect.xml`).
//!
//! Between a client and a component a [`proxy::Proxy`] can stand, which does what networks do. Kafka tells clients where
//! to find it, so one that is to be met through a proxy is started with [`Kafka::start_behind`].
//!
//! # Why
//! Children die with the process that started them, whatever happens to it, so that an aborted
//! test leaves nothing behind; only `./run up` asks for [`Lifetime::Detached`]. PostgreSQL refuses
//! to run as root, so root starts it as an unprivileged user.

pub mod causeway;
mod connect;
mod forgetful;
mod kafka;
mod part;
mod ports;
mod postgres;
mod process;
pub mod proxy;
mod record;
mod region;
mod registry;
pub mod witness;

pub use causeway::{Causeway, binary as causeway_binary};
pub use connect::{Connect, Properties, properties};
pub use forgetful::Forgetful;
pub use kafka::Kafka;
pub use part::{Part, Ready};
pub use ports::free_port;
pub use postgres::{Postgres, SUPERUSER, installed_major};
pub use process::{Lifetime, Owner, Spec};
pub use proxy::Proxy;
pub use record::{Running, Stopped, stop_recorded};
pub use region::Region;
pub use registry::Registry;

use anyhow::{Context, bail};
use std::path::PathBuf;

/// The pinned versions, read from where Maven reads them.
const POM: &str = include_str!("../maven/pom.xml");
const CONNECT_POM: &str = include_str!("../maven/connect.xml");
const FHIR_POM: &str = include_str!("../maven/fhir.xml");

/// The repository that the command stands in. Not the one that it was built in: a program that was built in one clone and
/// is used in another would start, stop and write in the first.
///
/// # Panics
/// Where there is none.
pub fn repository() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().find(|folder| folder.join(MARK).is_file());
    found.unwrap_or_else(|| panic!("{} lies in no clone of Causeway: go to one", here.display())).to_owned()
}

/// A file that every clone has, and no other folder.
const MARK: &str = "tools/stack/maven/pom.xml";

/// What `./run` fetches and keeps: `.local` in the repository.
pub fn local() -> PathBuf {
    repository().join(".local")
}

/// `<kafka.version>4.1.2</kafka.version>` → `4.1.2`.
fn pinned(property: &str) -> Option<&'static str> {
    let rest = [POM, CONNECT_POM, FHIR_POM].iter().find_map(|pom| pom.split_once(&format!("<{property}>")))?.1;
    Some(rest.split_once("</")?.0)
}

/// The folder under `.local` that Maven filled for a component.
fn fetched(name: &str, property: &str) -> anyhow::Result<PathBuf> {
    let version = pinned(property).with_context(|| format!("the pom names no {property}"))?;
    let folder = local().join(format!("{name}-{version}"));
    if !folder.is_dir() {
        bail!("{} is not there: ./run fetches it", folder.display());
    }
    Ok(folder)
}

/// HAPI FHIR's client and validator, and Groovy to run a script with them: a class path that `./run test` fetched.
pub fn hapi() -> anyhow::Result<PathBuf> {
    Ok(fetched("hapi", "hapi.version")?.join("libs").join("*"))
}

/// The programs of a major version of PostgreSQL that `./run test` or `./run matrix` fetched.
pub fn fetched_postgres(major: &str) -> anyhow::Result<PathBuf> {
    let binaries = fetched("postgres", &format!("postgres.{major}"))?.join("bin");
    if !binaries.join("postgres").is_file() {
        bail!("{} holds no server: ./run matrix unpacks it", binaries.display());
    }
    Ok(binaries)
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_read_from_the_pom() {
        assert!(super::pinned("kafka.version").is_some_and(|v| v.starts_with("4.")));
        assert!(super::pinned("registry.version").is_some_and(|v| v.starts_with("2.6")));
        assert_eq!(super::pinned("connect.version"), super::pinned("kafka.version"));
        assert!(super::pinned("postgres.18").is_some_and(|v| v.starts_with("18.")));
        assert_eq!(super::pinned("nothing.version"), None);
    }
}
