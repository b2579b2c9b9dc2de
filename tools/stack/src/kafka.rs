//! Apache Kafka: one node that is broker and controller (KRaft).

use crate::{
    part::{Part, Ready},
    ports::{free_port, random_bytes},
    process::{self, Lifetime, Spec},
};
use anyhow::Context;
use std::{
    fmt::Write,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

/// Larger than the largest row (1 MB), before and after, as Avro.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The line the broker logs last when it starts.
const STARTED: &str = "Kafka Server started";
const HEAP: [&str; 2] = ["-Xms256m", "-Xmx512m"];

/// Warnings, and the one line that says the broker has started.
const LOGGING: &str = "\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
";

/// One broker.
#[derive(Debug)]
pub struct Kafka {
    part: Part,
    address: String,
    back: Option<String>,
}

impl Kafka {
    /// Formats `folder` if it is new, and starts a broker on it.
    pub async fn start(folder: &Path, lifetime: Lifetime) -> anyhow::Result<Self> {
        Self::start_with(folder, lifetime, None).await
    }

    /// The same with a second listener, which sends its clients to a port of somebody else's: a proxy that passes on to
    /// [`Self::back`].
    pub async fn start_behind(port: u16, folder: &Path, lifetime: Lifetime) -> anyhow::Result<Self> {
        Self::start_with(folder, lifetime, Some(port)).await
    }

    async fn start_with(folder: &Path, lifetime: Lifetime, proxy: Option<u16>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let controller = format!("127.0.0.1:{}", free_port()?);
        let settings = folder.join("server.properties");
        let data = folder.join("data");
        let back = proxy.map(|_| free_port()).transpose()?.map(|port| format!("127.0.0.1:{port}"));
        let listeners = Listeners { address: &address, controller: &controller, behind: back.as_deref().zip(proxy) };
        std::fs::write(&settings, properties(&listeners, &data))?;
        std::fs::write(folder.join("log4j2.properties"), LOGGING)?;
        let libraries = crate::fetched("kafka", "kafka.version")?;
        if !data.join("meta.properties").exists() {
            format(&libraries, &folder, &settings, &data).await?;
        }
        let spec = Spec::new("java", folder.join("kafka.log"), lifetime)
            .arguments(java(&libraries, &folder))
            .arguments(HEAP)
            .arguments(["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "kafka.Kafka"])
            .arguments([settings.display().to_string()]);
        let ready = Ready::Log { text: STARTED, address: address.clone() };
        let mut part = Part::new("kafka", spec, ready);
        part.start().await?;
        Ok(Self { part, address, back })
    }

    /// What a proxy passes on to, of a broker that was started for one.
    pub fn back(&self) -> Option<&str> {
        self.back.as_deref()
    }

    /// The bootstrap servers: `127.0.0.1:19092`.
    pub fn brokers(&self) -> &str {
        &self.address
    }
}

impl Deref for Kafka {
    type Target = Part;
    fn deref(&self) -> &Part {
        &self.part
    }
}

impl DerefMut for Kafka {
    fn deref_mut(&mut self) -> &mut Part {
        &mut self.part
    }
}

fn java(libraries: &Path, folder: &Path) -> [String; 3] {
    let logging = folder.join("log4j2.properties");
    let class_path = libraries.join("libs").join("*");
    [format!("-Dlog4j2.configurationFile={}", logging.display()), "-cp".to_owned(), class_path.display().to_string()]
}

/// Formatting starts a second Java machine, so it is done once and its two small files are copied:
/// they hold no port and no path.
async fn format(libraries: &Path, folder: &Path, settings: &Path, data: &Path) -> anyhow::Result<()> {
    const FILES: [&str; 2] = ["meta.properties", "bootstrap.checkpoint"];
    let kept = libraries.join("formatted");
    if !kept.is_dir() {
        let settings = settings.display().to_string();
        let id = cluster_id()?;
        let [logging, flag, class_path] = java(libraries, folder);
        let arguments = [&logging, "-XX:TieredStopAtLevel=1", &flag, &class_path, "kafka.tools.StorageTool"];
        let arguments: Vec<&str> = arguments.into_iter().chain(["format", "-t", &id, "-c", &settings]).collect();
        process::run_as(None, Path::new("java"), &arguments).await?;
        keep(data, &kept, &FILES)?;
        return Ok(());
    }
    std::fs::create_dir_all(data)?;
    for file in FILES {
        std::fs::copy(kept.join(file), data.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(())
}

/// Several tests may get here at once: each fills a folder of its own, and the first rename wins.
fn keep(data: &Path, kept: &Path, files: &[&str]) -> anyhow::Result<()> {
    let mut name = [0; 8];
    random_bytes(&mut name)?;
    let filling = kept.with_extension(u64::from_le_bytes(name).to_string());
    std::fs::create_dir(&filling)?;
    for file in files {
        std::fs::copy(data.join(file), filling.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    if std::fs::rename(&filling, kept).is_err() {
        std::fs::remove_dir_all(&filling)?;
    }
    Ok(())
}

/// 16 bytes in URL-safe base64, as Kafka names clusters; letters and digits are enough of that.
fn cluster_id() -> anyhow::Result<String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ab";
    let mut bytes = [0; 22];
    random_bytes(&mut bytes)?;
    // The last of the 22 letters carries two bits only: `A` for none.
    let id: String = bytes.iter().take(21).map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect();
    Ok(id + "A")
}

struct Listeners<'a> {
    address: &'a str,
    controller: &'a str,
    /// A second one, and the port it sends its clients to.
    behind: Option<(&'a str, u16)>,
}

fn properties(listeners: &Listeners<'_>, data: &Path) -> String {
    let message_bytes = MESSAGE_BYTES_MAX.to_string();
    let data: PathBuf = data.to_owned();
    let data = data.display().to_string();
    let Listeners { address, controller, behind } = listeners;
    let mut advertised = format!("PLAINTEXT://{address}");
    let mut listeners = format!("PLAINTEXT://{address},CONTROLLER://{controller}");
    if let Some((back, port)) = behind {
        listeners += &format!(",PROXIED://{back}");
        advertised += &format!(",PROXIED://127.0.0.1:{port}");
    }
    let voters = format!("1@{controller}");
    let settings: &[(&str, &str)] = &[
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.voters", &voters),
        ("controller.listener.names", "CONTROLLER"),
        ("listeners", &listeners),
        ("advertised.listeners", &advertised),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT"),
        ("inter.broker.listener.name", "PLAINTEXT"),
        ("log.dirs", &data),
        ("auto.create.topics.enable", "false"),
        ("message.max.bytes", &message_bytes),
        ("replica.fetch.max.bytes", &message_bytes),
        // One node keeps one copy of everything.
        ("offsets.topic.replication.factor", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        // Few partitions and threads: a small machine starts them all.
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.num.partitions", "4"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        ("background.threads", "2"),
        ("log.cleaner.dedupe.buffer.size", "16777216"),
        // Nothing to wait for: consumers of a group come one by one, and a killed broker comes back.
        ("group.initial.rebalance.delay.ms", "0"),
        ("broker.heartbeat.interval.ms", "500"),
        ("broker.session.timeout.ms", "3000"),
    ];
    settings.iter().fold(String::new(), |mut text, (key, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key}={value}");
        text
    })
}
