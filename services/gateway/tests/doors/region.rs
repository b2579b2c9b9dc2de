//! A gateway over real PostgreSQL, Kafka and registry, with rows as the sinks write them.

use anyhow::{Context, ensure};
use boot::{Stop, health::Health};
use change_log::{KafkaSettings, Registry, RegistrySettings};
use deadpool_postgres::Pool;
use event::teams::Teams;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub struct Region {
    pub pool: Pool,
    /// The gateway's own.
    pub pools: gateway::Pools,
    pub kafka: KafkaSettings,
    pub registry: Registry,
    pub health: Health,
    pub url: String,
    pub passwords: BTreeMap<String, String>,
    pub stop: Stop,
    /// A folder of its own, that a test may change.
    pub agreements: PathBuf,
    site: gateway::Site,
    _parts: (stack::Kafka, stack::Registry, stack::Postgres),
}

impl Region {
    pub async fn start(folder: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let [kafka, registry, own] = ["kafka", "registry", "own"].map(|name| folder.join(name));
        let (broker, registry, database) = tokio::try_join!(
            stack::Kafka::start(&kafka, stack::Lifetime::WithParent),
            stack::Registry::start(&registry, stack::Lifetime::WithParent),
            stack::Postgres::start("own", &own, stack::Lifetime::WithParent),
        )?;
        database.execute("postgres", "create database causeway").await?;
        for owner in ["sink-views", "sink-alerts", "linker"] {
            migrate(&database, &stack::repository().join("services").join(owner).join("migrations")).await?;
        }
        let settings = boot::database::DatabaseSettings {
            url: database.url(stack::SUPERUSER, "causeway"),
            password_file: Some(database.password_file(stack::SUPERUSER)),
            tls: boot::database::Tls::Disable,
            ca_file: None,
        };
        let pool = boot::database::pool(&settings, 12)?;
        let passwords = seed(&pool, folder).await?;
        database.execute("causeway", include_str!("david.sql")).await?;
        let kafka = KafkaSettings {
            brokers: broker.brokers().to_owned(),
            topic_prefix: "doors.".into(),
            replicas: 1,
            security: None,
            clients: change_log::Clients::default(),
        };
        let names = Registry::new(&RegistrySettings { url: registry.url() })?;
        let agreements = folder.join("agreements");
        std::fs::create_dir_all(&agreements)?;
        for file in std::fs::read_dir(stack::repository().join("site/agreements"))? {
            let file = file?;
            std::fs::copy(file.path(), agreements.join(file.file_name()))?;
        }
        let site = gateway::Site {
            teams: Teams::parse(include_str!("../../../../site/teams.toml"))
                .map_err(|told| anyhow::anyhow!("{told:?}"))?,
            organisations: [("riverside", "R1V01"), ("stmarys", "RSM01")]
                .map(|(source, code)| (source.to_owned(), code.to_owned()))
                .into(),
            limits: alert::Limits::parse(include_str!("../../../../site/alerts.toml"))
                .map_err(|told| anyhow::anyhow!("{told:?}"))?,
            agreements: gateway::Agreements::read(&agreements)?,
            consent: gateway::consent(None)?,
            ingredients: gateway::medicines(None)?,
            lab: std::sync::Arc::default(),
            weights: Some(std::sync::Arc::new(super::identity::weights()?)),
        };
        let (stop, health) = (Stop::new(), Health::new());
        let pools = gateway::Pools::new(&settings)?;
        let parts = (broker, registry, database);
        let mut region = Self {
            pool,
            pools,
            kafka,
            registry: names,
            health,
            url: String::new(),
            passwords,
            stop,
            agreements,
            site,
            _parts: parts,
        };
        region.url = format!("http://{}", region.gateway(gateway::Settings::default(), listen).await?);
        region.wait_ready().await?;
        Ok(region)
    }

    /// A gateway over these parts, and where it listens.
    pub async fn gateway(&self, settings: gateway::Settings, listen: SocketAddr) -> anyhow::Result<SocketAddr> {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (kafka, names, pools) = (self.kafka.clone(), self.registry.clone(), self.pools.clone());
        let (site, health, stop) = (self.site.clone(), self.health.clone(), self.stop.clone());
        tokio::spawn(async move {
            gateway::serve(listener, settings, kafka, names, pools, site, &health, stop)
                .await
                .expect("the gateway runs");
        });
        Ok(address)
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        for _ in 0..300 {
            if self.health.ready() {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        ensure!(self.health.ready(), "not ready: {:?}", self.health.parts());
        Ok(())
    }
}

/// The files of a migrations folder, in the order of their versions.
async fn migrate(database: &stack::Postgres, folder: &Path) -> anyhow::Result<()> {
    let mut files = BTreeMap::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name")?;
        let version: u32 = name[1..].split("__").next().context("a version")?.parse()?;
        files.insert(version, path);
    }
    for path in files.values() {
        database.execute("causeway", &std::fs::read_to_string(path)?).await?;
    }
    Ok(())
}

async fn seed(pool: &Pool, folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let users =
        ["gp.riverside", "endo.stmarys", "ed.stmarys", "amu.stmarys", "engineer", "ruth.quality", "amir.quality"];
    let passwords: BTreeMap<String, String> =
        users.iter().map(|user| ((*user).to_owned(), format!("password of {user}"))).collect();
    let file = folder.join("passwords");
    let lines: Vec<String> = passwords.iter().map(|(user, password)| format!("{user} = {password}")).collect();
    std::fs::write(&file, lines.join("\n"))?;
    let seeded = gateway::users::seed(pool, &stack::repository().join("site/users.toml"), &file).await?;
    ensure!(seeded == users.len());
    Ok(passwords)
}
