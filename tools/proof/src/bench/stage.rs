//! PostgreSQL, Kafka and the registry with one table to capture, and connectors on it.

use super::usage::{Usage, resident_max_mb};
use crate::running::tail;
use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use stack::{Causeway, Kafka, Lifetime, Part, Postgres, Registry};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub(super) const DATABASE: &str = "bench";
pub(super) const ROLE: &str = "causeway_capture";
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const POLL: Duration = Duration::from_millis(5);

/// A laboratory's results, as wide as they are in life, and documents as large as they may get.
const TABLES: &str = "create schema lims;
create table lims.result (
    result_id bigint primary key, order_id bigint not null, specimen_id bigint not null,
    patient_id uuid not null, test_code varchar(20) not null, value varchar(255), number numeric(19,3),
    unit varchar(30), low numeric, high numeric, flag varchar(2), authorised_at timestamptz, is_active boolean not null);
create table lims.document (document_id bigint primary key, body text)";

pub(super) struct Stage {
    pub(super) cluster: Postgres,
    kafka: Kafka,
    pub(super) registry: Registry,
    pub(super) folder: PathBuf,
}

/// How a number of records came into a topic, and what the process used meanwhile.
pub(super) struct Arrived {
    /// Between the first record that was seen and the last.
    pub(super) per_s: f64,
    pub(super) cpu_us: f64,
    /// The share of the Kafka client's threads.
    pub(super) client_us: f64,
    pub(super) resident_mb: f64,
}

impl Arrived {
    pub(super) fn told(&self) -> String {
        let Self { per_s, cpu_us, client_us, resident_mb } = self;
        format!("{per_s:.0}/s, {cpu_us:.1} µs of CPU each (the Kafka client's {client_us:.1}), {resident_mb:.0} MB")
    }
}

impl Stage {
    /// Starts the components in an empty `folder`, and makes the empty tables.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder)?;
        let (kafka, registry) = (folder.join("kafka"), folder.join("registry"));
        let (cluster, kafka, registry) = tokio::try_join!(
            async { Postgres::start("bench", &folder.join("postgres"), Lifetime::WithParent).await },
            Kafka::start(&kafka, Lifetime::WithParent),
            Registry::start(&registry, Lifetime::WithParent),
        )?;
        cluster.create_database(DATABASE, stack::SUPERUSER).await?;
        cluster.execute(DATABASE, TABLES).await?;
        cluster.create_role(ROLE, "login replication").await?;
        // It makes its publication itself, so it owns the tables.
        let grants = format!(
            "grant usage on schema lims to {ROLE}; grant create on database {DATABASE} to {ROLE};
             alter table lims.result owner to {ROLE}; alter table lims.document owner to {ROLE}"
        );
        cluster.execute(DATABASE, &grants).await?;
        Ok(Self { cluster, kafka, registry, folder: folder.to_owned() })
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let stopped = self.cluster.stop().await;
        let stopped = stopped.and(self.kafka.stop().await);
        stopped.and(self.registry.stop().await)
    }

    pub(super) fn brokers(&self) -> &str {
        self.kafka.brokers()
    }

    /// A connector with a name, a slot and a topic of its own.
    pub(super) fn connector(&self, name: &str) -> anyhow::Result<Causeway> {
        self.service("connector", name, DATABASE, &["lims.*"])
    }

    /// One service of a source of this name, with a settings file of its own.
    pub(super) fn service(
        &self,
        service: &str,
        name: &str,
        database: &str,
        tables: &[&str],
    ) -> anyhow::Result<Causeway> {
        let ops = format!("127.0.0.1:{}", stack::free_port()?);
        let (repository, url) = (stack::repository(), self.cluster.url(ROLE, database));
        let mut text = format!("[kafka]\nbrokers = \"{}\"\n\n", self.brokers());
        write!(text, "[registry]\nurl = \"{}\"\n\n", self.registry.url())?;
        // The connector needs no database of Causeway's own; the settings file wants one named.
        write!(text, "[database]\nurl = \"{url}\"\n\n[ops]\nlisten = \"{ops}\"\n\n")?;
        write!(text, "[normaliser]\nevents_partitions = 1\n\n")?;
        write!(text, "[gateway]\nlisten = \"127.0.0.1:0\"\n\n[site]\n")?;
        for (key, file) in
            [("teams", "teams.toml"), ("alerts", "alerts.toml"), ("users", "users.toml"), ("agreements", "agreements")]
        {
            writeln!(text, "{key} = \"{}\"", repository.join("site").join(file).display())?;
        }
        write!(text, "\n[[source]]\nname = \"{name}\"\norganisation = \"BENCH\"\nurl = \"{url}\"\n")?;
        writeln!(text, "password_file = \"{}\"", self.cluster.password_file(ROLE).display())?;
        writeln!(text, "tables = {tables:?}")?;
        writeln!(text, "mapping = \"{}\"", repository.join("mappings/stmarys.toml").display())?;
        let config = self.folder.join(format!("{name}-{service}.toml"));
        std::fs::write(&config, text)?;
        Causeway::prepare(&config, &[service], &ops, &self.folder.join(format!("{name}-{service}.log")))
    }

    pub(super) async fn text(&self, query: &str) -> anyhow::Result<String> {
        Ok(self.cluster.connect(DATABASE).await?.query_one(query, &[]).await?.get(0))
    }

    /// Waits until the topic holds so many records from an offset on, which the process writes.
    pub(super) async fn arrival(
        &self,
        part: &mut Part,
        topic: &str,
        (from, records): (i64, i64),
        wait_max: Duration,
    ) -> anyhow::Result<Arrived> {
        let (ends, deadline) = (self.ends(topic)?, Instant::now() + wait_max);
        let pid = part.pid().context("the process is gone")?;
        let mut first = None;
        let last = loop {
            let at = ends.now();
            if at > from && first.is_none() {
                first = Some((Instant::now(), at, Usage::of(pid)?));
            }
            if at >= from + records {
                break at;
            }
            self.alive(part, deadline)?;
            tokio::time::sleep(POLL).await;
        };
        let (started, at_first, used) = first.context("it was too fast to see")?;
        let (seconds, changes) = (started.elapsed().as_secs_f64(), (last - at_first) as f64);
        let (cpu_us, client_us) = Usage::of(pid)?.since(used).micros_per(changes);
        Ok(Arrived { per_s: changes / seconds, cpu_us, client_us, resident_mb: resident_max_mb(pid)? })
    }

    /// Where a topic ends, now and later.
    pub(super) fn ends(&self, topic: &str) -> anyhow::Result<Ends> {
        let consumer = ClientConfig::new().set("bootstrap.servers", self.brokers()).create()?;
        Ok(Ends { consumer, topic: topic.to_owned() })
    }

    pub(super) async fn create_topic(&self, topic: &str) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.brokers()).create()?;
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        let created = admin.create_topics([&new], &AdminOptions::new()).await?;
        ensure!(created.iter().all(Result::is_ok), "cannot make the topic {topic}");
        Ok(())
    }

    /// Neither late nor ended.
    pub(super) fn alive(&self, part: &mut Part, deadline: Instant) -> anyhow::Result<()> {
        let alive = part.exited()?.is_none() && Instant::now() < deadline;
        ensure!(alive, "{} did not come to its end:\n{}", part.name(), tail(part.log()));
        Ok(())
    }
}

pub(super) struct Ends {
    consumer: BaseConsumer,
    topic: String,
}

impl Ends {
    /// 0 of a topic that is not there yet.
    pub(super) fn now(&self) -> i64 {
        self.consumer.fetch_watermarks(&self.topic, 0, WATERMARK_TIMEOUT).map_or(0, |(_, high)| high)
    }
}

/// Rows from `first` on, in one statement.
pub(super) fn insert(first: u64, rows: u64) -> String {
    format!(
        "insert into lims.result select {first} + n, n / 100, n, gen_random_uuid(), 'K', '4.' || n % 10, 4.1, 'mmol/L',
             3.5, 5.3, case n % 7 when 0 then 'H' end, now(), true from generate_series(1, {rows}) as n"
    )
}
