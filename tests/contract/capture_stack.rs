//! A database, Kafka and the registry for tests of capture, and a connector that can be ended.

use anyhow::Context;
use boot::{Stop, health::Health};
use change_log::{Item, KafkaSettings, LogReader, Registry, RegistrySettings};
use connector_postgres::{ConnectorError, Settings, Status};
use stack::{Kafka, Lifetime, Postgres};
use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

pub const SOURCE: &str = "clinic";
pub const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Looking at the whole log after every few records would take longer than reading it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Bench {
    pub database: Postgres,
    pub kafka: Kafka,
    pub registry: stack::Registry,
    folder: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Bench {
    /// Everything started, with a database `clinic` and a role `capture` that may replicate.
    pub async fn start(schema: &str) -> anyhow::Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("causeway-capture-{}-{number}", std::process::id()));
        let (one, two, three) = (folder.join("database"), folder.join("kafka"), folder.join("registry"));
        let (database, kafka, registry) = tokio::try_join!(
            postgres(&one),
            Kafka::start(&two, Lifetime::WithParent),
            stack::Registry::start(&three, Lifetime::WithParent),
        )?;
        database.create_role("capture", "login replication").await?;
        database.create_database(SOURCE, "capture").await?;
        let owner = database.connect_as("capture", SOURCE).await?;
        owner.batch_execute(schema).await.context("cannot make the tables")?;
        Ok(Self { database, kafka, registry, folder })
    }

    /// A file that goes when the bench does.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(SOURCE, self.database.url("capture", SOURCE));
        settings.password_file = Some(self.database.password_file("capture"));
        settings
    }

    pub fn kafka_settings(&self) -> KafkaSettings {
        KafkaSettings {
            brokers: self.kafka.brokers().into(),
            topic_prefix: String::new(),
            replicas: 1,
            security: None,
            clients: change_log::Clients::default(),
        }
    }

    pub fn registry_settings(&self) -> RegistrySettings {
        RegistrySettings { url: self.registry.url() }
    }

    pub fn connector(&self, settings: Settings) -> Connector {
        let (stop, health, status) = (Stop::new(), Health::new(), Arc::new(Status::default()));
        let running = connector_postgres::run(
            settings,
            self.kafka_settings(),
            Registry::new(&self.registry_settings()).expect("a client"),
            Arc::clone(&status),
            health.part("capture"),
            stop.clone(),
        );
        Connector { task: tokio::spawn(running), stop, health, status }
    }

    pub fn reader(&self) -> anyhow::Result<LogReader> {
        let registry = Registry::new(&self.registry_settings())?;
        Ok(LogReader::open(&self.kafka_settings(), &registry, SOURCE, 0)?)
    }

    /// The whole log, until `enough` says so.
    pub async fn log(&self, mut enough: impl FnMut(&[Item]) -> bool) -> anyhow::Result<Vec<Item>> {
        let mut reader = self.reader()?;
        let (mut items, mut unseen, mut looked) = (Vec::new(), true, Instant::now());
        let mut came = Instant::now();
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let mut reading = pin!(reader.read());
            let read = loop {
                match tokio::time::timeout(LOOK_EVERY, &mut reading).await {
                    Ok(read) => break read,
                    Err(_) if std::mem::take(&mut unseen) && enough(&items) => return Ok(items),
                    Err(_) => anyhow::ensure!(
                        Instant::now() < deadline,
                        "the log has only {} records, the last {:?} ago",
                        items.len(),
                        came.elapsed()
                    ),
                }
            };
            match read {
                Ok(batch) => {
                    items.extend(batch.items);
                    came = Instant::now();
                }
                Err(error) if error.worth_retrying() => tokio::time::sleep(POLL).await,
                Err(error) => return Err(error.into()),
            }
            unseen = true;
            if looked.elapsed() >= LOOK_EVERY {
                (unseen, looked) = (false, Instant::now());
                if enough(&items) {
                    return Ok(items);
                }
                anyhow::ensure!(
                    Instant::now() < deadline,
                    "the log has only {} records, the last {:?} ago",
                    items.len(),
                    came.elapsed()
                );
            }
        }
    }
}

/// The version that `./run matrix` names, else the one that is installed.
async fn postgres(folder: &Path) -> anyhow::Result<Postgres> {
    match std::env::var("CAUSEWAY_TEST_POSTGRES") {
        Ok(major) => {
            let binaries = stack::fetched_postgres(&major)?;
            Postgres::start_from(&binaries, SOURCE, folder, Lifetime::WithParent).await
        }
        Err(_) => Postgres::start(SOURCE, folder, Lifetime::WithParent).await,
    }
}

/// A connector in this process.
pub struct Connector {
    pub task: JoinHandle<Result<(), ConnectorError>>,
    pub stop: Stop,
    pub health: Health,
    pub status: Arc<Status>,
}

impl Connector {
    /// Ends it at once, wherever it is: nothing is flushed or confirmed.
    pub async fn cut_off(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(tokio::time::timeout(WAIT_MAX, self.task).await.context("the connector does not stop")???)
    }

    /// Why it is not ready, if it is not.
    pub fn unready(&self) -> Option<String> {
        self.health.parts().remove("capture").flatten()
    }

    pub async fn wait_ready(&self) -> anyhow::Result<()> {
        self.wait(|connector| connector.health.ready()).await
    }

    pub async fn wait(&self, until: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + WAIT_MAX;
        while !until(self) {
            anyhow::ensure!(!self.task.is_finished(), "the connector has ended");
            anyhow::ensure!(Instant::now() < deadline, "waited in vain; the connector says {:?}", self.unready());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}
