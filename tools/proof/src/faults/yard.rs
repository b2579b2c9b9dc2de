//! The ground that faults are tried on: a database, Kafka and the registry, each met through a proxy; sources of their
//! own for each trial; and the connector as a process that can be killed.

use super::{fold, large, members};
use crate::{
    log, running,
    witness::{self, Committed, Keys},
};
use anyhow::{Context, bail, ensure};
use stack::{Causeway, Kafka, Lifetime, Postgres, Proxy, Registry, proxy::Link, witness::Witness};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const ROLE: &str = "capture";
/// Dead links are found within this, and the connector reports four times as often.
const SENDER_TIMEOUT: &str = "4s";
/// So long a connector may take to catch up with a small load after the last fault.
const SETTLE_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// A key of one column, one of two, none; large values that updates leave alone; rows that have no room in the log; and
/// a table that nobody wants.
const TABLES: &str = "
    create schema yard;
    create sequence yard.ids;
    create table yard.row (id bigint primary key, version bigint not null, note text);
    alter table yard.row alter column note set storage external;
    create table yard.pair (a integer, b text, n bigint not null, primary key (a, b));
    create table yard.loose (n bigint not null);
    alter table yard.loose replica identity full;
    create table yard.large (id bigint primary key, note text);
    alter table yard.large alter column note set storage external;
    create schema other;
    create table other.noise (n bigint, filler text);";

pub struct Yard {
    pub database: Postgres,
    pub kafka: Kafka,
    pub registry: Registry,
    pub database_link: Proxy,
    pub kafka_link: Proxy,
    pub registry_link: Proxy,
    folder: PathBuf,
    sources: u32,
}

/// One captured database.
pub struct Source {
    pub name: String,
    /// Met through the proxies.
    config: PathBuf,
    /// Kafka met without one.
    config_direct: PathBuf,
    witness: Witness,
    witness_file: PathBuf,
    keys: Keys,
    connectors: u32,
}

/// How a connector is started.
#[derive(Clone, Debug, Default)]
pub struct Start<'a> {
    /// Text of `CAUSEWAY_FAILPOINT`.
    pub failpoints: Option<&'a str>,
    /// Kafka is met without the proxy.
    pub direct: bool,
    pub environment: Vec<(&'a str, String)>,
}

/// What a trial left in the log.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub committed: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub holes: u64,
    /// Records of older sessions after a newer one's.
    pub void: u64,
    pub sessions: u64,
    pub snapshot_rows: u64,
    /// Rows too large for the log, each in the quarantine.
    pub quarantined: u64,
    /// Rows that the log tells otherwise than the database.
    pub wrong_rows: u64,
    /// The first difference; never values.
    pub first: Option<String>,
}

impl Verdict {
    pub const fn ok(&self) -> bool {
        self.lost + self.duplicated + self.reordered + self.holes + self.wrong_rows == 0
    }

    pub fn text(&self) -> String {
        let Self {
            committed,
            lost,
            duplicated,
            reordered,
            holes,
            void,
            sessions,
            snapshot_rows,
            quarantined,
            wrong_rows,
            first,
        } = self;
        let first = first.as_ref().map(|first| format!("; {first}")).unwrap_or_default();
        format!(
            "{committed} committed changes, {snapshot_rows} snapshot rows, {quarantined} rows too large, {sessions} \
             sessions, {void} void records: {lost} lost, {duplicated} duplicated, {reordered} out of order, {holes} holes, {wrong_rows} wrong \
             rows{first}"
        )
    }
}

impl Yard {
    /// Everything started in an empty folder. `prepare` sees the folders of the database and of Kafka before.
    pub async fn start(
        folder: &Path,
        prepare: impl FnOnce(&Path, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        let (database, kafka, registry) = (folder.join("database"), folder.join("kafka"), folder.join("registry"));
        std::fs::create_dir_all(&database)?;
        std::fs::create_dir_all(&kafka)?;
        prepare(&database, &kafka)?;
        let port = stack::free_port()?;
        let (database, kafka, registry) = tokio::try_join!(
            Postgres::start("yard", &database, Lifetime::WithParent),
            Kafka::start_behind(port, &kafka, Lifetime::WithParent),
            Registry::start(&registry, Lifetime::WithParent),
        )?;
        let back = kafka.back().context("the broker has no second listener")?.to_owned();
        let kafka_link = Proxy::start(port, back).await?;
        let database_link = Proxy::start(stack::free_port()?, database.address()).await?;
        let registry_link = Proxy::start(stack::free_port()?, registry.address()).await?;
        database.create_role(ROLE, "login replication").await?;
        let yard = Self {
            database,
            kafka,
            registry,
            database_link,
            kafka_link,
            registry_link,
            folder: folder.to_owned(),
            sources: 0,
        };
        yard.reset_sender_timeout().await?;
        Ok(yard)
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut done = self.database.stop().await;
        done = done.and(self.kafka.stop().await);
        done.and(self.registry.stop().await)
    }

    /// A place in the yard's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Every link as good as new, and nothing left on it.
    pub fn heal(&self) {
        for link in [&self.database_link, &self.kafka_link, &self.registry_link] {
            link.set(Link::default());
            link.cut();
        }
    }

    /// A new database with so many rows, watched from its beginning.
    pub async fn source(&mut self, rows: u64) -> anyhow::Result<Source> {
        self.sources += 1;
        let name = format!("s{}", self.sources);
        self.database.create_database(&name, ROLE).await?;
        let owner = self.database.connect_as(ROLE, &name).await?;
        owner.batch_execute(TABLES).await.context("cannot make the tables")?;
        let fill = format!(
            "insert into yard.row select nextval('yard.ids'), 0, repeat(md5(g::text), case g % 4 when 0 then 100 else 1 end)
             from generate_series(1, {rows}) g;
             insert into yard.pair select g, 'k' || g, 0 from generate_series(1, {rows} / 10) g"
        );
        owner.batch_execute(&fill).await.context("cannot fill the tables")?;
        let witness_file = self.folder.join(format!("{name}.witness"));
        let witness = Witness::start(&self.database, &name, &format!("witness_{name}"), &witness_file).await?;
        let keys = witness::keys(&self.database.connect(&name).await?).await?;
        let config = self.write_settings(&name, false)?;
        let config_direct = self.write_settings(&name, true)?;
        Ok(Source { name, config, config_direct, witness, witness_file, keys, connectors: 0 })
    }

    fn write_settings(&self, name: &str, direct: bool) -> anyhow::Result<PathBuf> {
        let text = self.own_settings(name, direct)? + &self.block(name)?;
        let mapping = stack::repository().join("mappings").join("emis.toml");
        let file = self.folder.join(format!("{name}{}.toml", if direct { "-direct" } else { "" }));
        std::fs::write(&file, format!("{text}mapping = \"{}\"\n", mapping.display()))?;
        Ok(file)
    }

    /// Of processes that share these sources.
    pub fn write_shared_settings(&self, name: &str, sources: &[String], session_s: u64) -> anyhow::Result<PathBuf> {
        let mapping = self.folder.join("yard.mapping.toml");
        std::fs::write(&mapping, members::MAPPING)?;
        let own = self.own_settings(sources.first().context("no source")?, true)?;
        let blocks: anyhow::Result<Vec<String>> = sources.iter().map(|source| self.block(source)).collect();
        let file = self.folder.join(format!("{name}.toml"));
        std::fs::write(&file, members::settings(&own, &blocks?, session_s, &mapping))?;
        std::fs::create_dir_all(self.folder.join(name))?;
        Ok(file)
    }

    /// How long the server waits for whoever does not answer.
    pub async fn set_sender_timeout(&self, timeout: &str) -> anyhow::Result<()> {
        self.database.execute("postgres", &format!("alter system set wal_sender_timeout = '{timeout}'")).await?;
        self.database.execute("postgres", "select pg_reload_conf()").await
    }

    pub async fn reset_sender_timeout(&self) -> anyhow::Result<()> {
        self.set_sender_timeout(SENDER_TIMEOUT).await
    }

    /// All but the sources.
    fn own_settings(&self, name: &str, direct: bool) -> anyhow::Result<String> {
        let mut text = String::new();
        let brokers = if direct { self.kafka.brokers().to_owned() } else { self.kafka_link.address() };
        let registry = self.registry.url().replace(self.registry.address(), &self.registry_link.address());
        let password = self.database.password_file(ROLE).display().to_string();
        let url = |address: &str| format!("postgres://{ROLE}@{address}/{name}");
        writeln!(text, "[kafka]\nbrokers = \"{brokers}\"\n[registry]\nurl = \"{registry}\"")?;
        writeln!(text, "[database]\nurl = \"{}\"", url(&self.database.address()))?;
        writeln!(text, "password_file = \"{password}\"\n[ops]\nlisten = \"127.0.0.1:0\"")?;
        writeln!(text, "[gateway]\nlisten = \"127.0.0.1:0\"\n[site]")?;
        let repository = stack::repository();
        for (key, file) in
            [("teams", "teams.toml"), ("alerts", "alerts.toml"), ("users", "users.toml"), ("agreements", "agreements")]
        {
            writeln!(text, "{key} = \"{}\"", repository.join("site").join(file).display())?;
        }
        Ok(text)
    }

    /// A source, but for its mapping.
    fn block(&self, name: &str) -> anyhow::Result<String> {
        let (password, address) =
            (self.database.password_file(ROLE).display().to_string(), self.database_link.address());
        let mut text = String::new();
        writeln!(text, "[[source]]\nname = \"{name}\"\norganisation = \"R1V01\"")?;
        writeln!(text, "url = \"postgres://{ROLE}@{address}/{name}\"\npassword_file = \"{password}\"")?;
        writeln!(text, "tables = [\"yard.*\"]")?;
        Ok(text)
    }

    /// Waits until the log holds all that is committed now and the slot knows it.
    pub async fn settle(&self, source: &Source, connector: &mut Causeway) -> anyhow::Result<()> {
        let client = self.database.connect(&source.name).await?;
        client.batch_execute("insert into yard.loose values (-1)").await?;
        let here: String = client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
        let reached = "select coalesce(confirmed_flush_lsn >= $2::text::pg_lsn, false) from pg_replication_slots \
                       where slot_name = $1";
        let slot = format!("causeway_{}", source.name);
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let row = client.query_opt(reached, &[&slot, &here]).await?;
            // A snapshot may go on while the slot is confirmed: only then is the process ready.
            if row.is_some_and(|row| row.get(0)) && connector.is_ready().await {
                return Ok(());
            }
            let ended = connector.exited()?;
            if ended.is_some() || Instant::now() > deadline {
                let told = running::tail(connector.log());
                bail!("the log of {} did not catch up with {here} ({ended:?}); the connector:\n{told}", source.name);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Compares what was committed with what the log tells; `connector` is asked to catch up, and stopped.
    pub async fn judge(&self, mut source: Source, mut connector: Causeway) -> anyhow::Result<Verdict> {
        self.settle(&source, &mut connector).await?;
        let verdict = self.verdict(&mut source).await?;
        connector.stop().await?;
        self.forget(source).await?;
        Ok(verdict)
    }

    pub async fn verdict(&self, source: &mut Source) -> anyhow::Result<Verdict> {
        source.witness.wait_caught_up(&self.database).await?;
        let mut committed = witness::committed(&source.witness.transactions()?, &source.keys)?;
        committed.retain(|change| change.table.starts_with("yard."));
        let topic = format!("changes.{}", source.name);
        let (brokers, registry) = (self.kafka.brokers(), self.registry.url());
        let log = log::read(brokers, &registry, &topic, &source.keys).await?;
        let large = large::read(brokers, &registry, &source.name).await?.compare(&mut committed);
        // What was committed before the stream began is in the snapshot, and there the rows are compared.
        let from = log.changes.first().map_or(committed.len(), |first| began(&committed, first));
        let comparison = log::compare(&committed[from..], &log.changes);
        let told = fold::read(brokers, &registry, &topic, &source.keys).await?;
        let (wrong_rows, wrong) = told.differences(&self.database.connect(&source.name).await?).await?;
        Ok(Verdict {
            committed: committed.len() as u64,
            lost: comparison.lost + large.lost,
            duplicated: comparison.duplicated + large.never_committed,
            reordered: comparison.reordered,
            holes: log.holes,
            void: log.void,
            sessions: log.sessions,
            snapshot_rows: log.snapshot_rows,
            quarantined: large.told,
            wrong_rows,
            first: comparison.first.or(large.first).or(wrong),
        })
    }

    /// Drops the database and its slots.
    pub async fn forget(&self, source: Source) -> anyhow::Result<()> {
        source.witness.finish(&self.database).await?;
        let client = self.database.connect("postgres").await?;
        let deadline = Instant::now() + SETTLE_MAX;
        let idle =
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active";
        let left = "select count(*) from pg_replication_slots where database = $1";
        while client.query_one(left, &[&source.name]).await?.get::<_, i64>(0) > 0 {
            ensure!(Instant::now() < deadline, "a slot of {} is not let go of", source.name);
            // One that has just been taken is dropped in the next round.
            let _ = client.query(idle, &[&source.name]).await;
            tokio::time::sleep(POLL).await;
        }
        client.batch_execute(&format!("drop database {} with (force)", source.name)).await?;
        Ok(std::fs::remove_file(&source.witness_file)?)
    }
}

/// Where the stream begins among what was committed.
fn began(committed: &[Committed], first: &log::Logged) -> usize {
    let same = |change: &Committed| {
        change.xid == first.xid && change.table == first.table && change.op == first.op && change.key == first.key
    };
    committed.iter().position(same).unwrap_or(0)
}

impl Source {
    /// A connector, started but perhaps not ready.
    pub fn connector(&mut self, start: &Start<'_>) -> anyhow::Result<Causeway> {
        let ops = format!("127.0.0.1:{}", stack::free_port()?);
        self.connectors += 1;
        let log = self.config.with_extension(format!("{}.log", self.connectors));
        let config = if start.direct { &self.config_direct } else { &self.config };
        let mut connector = Causeway::prepare(config, &["connector"], &ops, &log)?;
        let environment = &mut connector.spec_mut().environment;
        environment.insert("CAUSEWAY__OPS__LISTEN".to_owned(), ops);
        environment.extend(start.failpoints.map(|text| ("CAUSEWAY_FAILPOINT".to_owned(), text.to_owned())));
        environment.extend(start.environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        connector.launch()?;
        Ok(connector)
    }

    pub async fn ready_connector(&mut self) -> anyhow::Result<Causeway> {
        let mut connector = self.connector(&Start::default())?;
        connector.wait_ready().await?;
        Ok(connector)
    }
}
