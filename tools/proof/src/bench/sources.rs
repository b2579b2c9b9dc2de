//! `./run bench sources`: how many sources one process bears, with real Kafka and PostgreSQL: how long it takes until all
//! are level, what it holds then, and whether its other parts answer meanwhile.
//!
//! # Why
//! The sources are schemas of one database: a server for each would measure the servers. What a source costs its server
//! is not measured here.

use super::{Options, quantile, usage::Usage};
use crate::{
    report::Report,
    running::{http, tail},
};
use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::Value;
use stack::{Causeway, Kafka, Lifetime, Postgres, Registry};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub const SOURCES: u64 = 500;
/// The goal, of a start with nothing to do but to look where each source stands.
const START_MAX_S: f64 = 60.0;
const RESIDENT_MAX_MB: f64 = 2_048.0;
/// Threads that do not grow with the sources, …
const THREADS_MAX: f64 = 300.0;
/// … and what each adds: its store's, and those of the client that commits how far its log is told.
const THREADS_A_SOURCE: f64 = 6.0;
/// An answer of a part while all sources start.
const ANSWER_MAX_MS: f64 = 1_000.0;
const WAIT_MAX: Duration = Duration::from_secs(1_200);
const ROLE: &str = "capture";
const OWN: &str = "causeway";
const DATABASE: &str = "region";
/// How long the process is looked at when it has nothing to do.
const IDLE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(250);
const WATERMARKS: Duration = Duration::from_secs(10);
/// As `patient.events` is made unless its settings say otherwise.
const EVENTS_PARTITIONS: i32 = 6;
/// Of the settings file; the others lie in the folder of sources.
const OWN_SOURCES_MAX: u64 = 10;

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    let count = options.rows.unwrap_or(SOURCES);
    say(&format!("starting PostgreSQL with {count} sources, Kafka and the registry"));
    let stage = Stage::start(&options.folder, count).await?;
    let report = measure(&stage, &mut say).await;
    stage.stop().await?;
    report
}

async fn measure(stage: &Stage, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
    let mut report = Report::new("sources");
    report.figure("sources", stage.count as f64);
    let mut causeway = stage.causeway()?;
    let first = stage.begin(&mut causeway).await?;
    say(&format!("first start: {}", first.told()));
    let told = stage.commit_everywhere(&causeway).await?;
    say(&format!("a row committed in each source was told {told:.1} s later"));
    causeway.stop().await?;
    let again = stage.begin(&mut causeway).await?;
    say(&format!("start with slots, logs and stores: {}", again.told()));
    causeway.stop().await?;
    for (name, start) in [("first", &first), ("again", &again)] {
        report.figure(&format!("{name}_ready_s"), start.ready_s);
        report.figure(&format!("{name}_resident_mb"), start.resident_mb);
        report.figure(&format!("{name}_resident_max_mb"), start.resident_max_mb);
        report.figure(&format!("{name}_threads"), start.threads);
        report.figure(&format!("{name}_idle_cpu"), start.idle_cpu);
        report.figure(&format!("{name}_answer_p99_ms"), start.answer_ms);
        let resident = start.resident_max_mb <= RESIDENT_MAX_MB;
        report.check(&format!("{name}_resident"), resident, &format!("{:.0} MB at most", start.resident_max_mb));
        let answers = start.answer_ms <= ANSWER_MAX_MS;
        report.check(&format!("{name}_answers"), answers, &format!("p99 {:.0} ms while starting", start.answer_ms));
        let limit = THREADS_MAX + THREADS_A_SOURCE * stage.count as f64;
        report.check(&format!("{name}_threads"), start.threads <= limit, &format!("{} of {limit}", start.threads));
    }
    report.figure("all_told_s", told);
    report.check("again_ready", again.ready_s <= START_MAX_S, &format!("{:.1} s of {START_MAX_S}", again.ready_s));
    Ok(report)
}

/// One start of the process.
struct Start {
    ready_s: f64,
    resident_mb: f64,
    resident_max_mb: f64,
    threads: f64,
    /// Processors that it keeps busy with nothing to do.
    idle_cpu: f64,
    /// The ninety-ninth of a hundred answers of the ops port and of the page, while it started.
    answer_ms: f64,
}

impl Start {
    fn told(&self) -> String {
        let Self { ready_s, resident_mb, resident_max_mb, threads, idle_cpu, answer_ms } = self;
        format!(
            "level after {ready_s:.1} s; {threads} threads, {resident_mb:.0} MB resident ({resident_max_mb:.0} at most), \
             {idle_cpu:.2} processors when idle; answers within {answer_ms:.0} ms"
        )
    }
}

/// A server with a schema for each source, and everything that one process needs.
pub struct Stage {
    cluster: Postgres,
    kafka: Kafka,
    registry: Registry,
    pub folder: PathBuf,
    pub config: PathBuf,
    pub ops: String,
    page: String,
    count: u64,
}

impl Stage {
    pub async fn start(folder: &Path, count: u64) -> anyhow::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder.join("sources.d"))?;
        let (one, two, three) = (folder.join("postgres"), folder.join("kafka"), folder.join("registry"));
        let (mut cluster, kafka, registry) = tokio::try_join!(
            Postgres::start("region", &one, Lifetime::WithParent),
            Kafka::start(&two, Lifetime::WithParent),
            Registry::start(&three, Lifetime::WithParent),
        )?;
        let more = [
            ("max_connections", 5 * count + 100),
            ("max_wal_senders", 2 * count + 20),
            ("max_replication_slots", count + 20),
        ];
        for (key, value) in more {
            cluster.execute("postgres", &format!("alter system set {key} = {value}")).await?;
        }
        cluster.restart().await?;
        cluster.create_role(ROLE, "login replication").await?;
        cluster.create_role(OWN, "login").await?;
        cluster.create_database(DATABASE, ROLE).await?;
        cluster.create_database(OWN, OWN).await?;
        let (ops, page) = (format!("127.0.0.1:{}", stack::free_port()?), format!("127.0.0.1:{}", stack::free_port()?));
        let config = folder.join("causeway.toml");
        let stage = Self { cluster, kafka, registry, folder: folder.to_owned(), config, ops, page, count };
        stage.settings()?;
        for number in 0..count {
            stage.make(number).await?;
        }
        Ok(stage)
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        let stopped = self.cluster.stop().await;
        let stopped = stopped.and(self.kafka.stop().await);
        stopped.and(self.registry.stop().await)
    }

    pub fn name(number: u64) -> String {
        format!("gp{number}")
    }

    pub fn file(&self, number: u64) -> PathBuf {
        self.folder.join("sources.d").join(format!("{}.toml", Self::name(number)))
    }

    /// Tables with a few rows.
    pub async fn make(&self, number: u64) -> anyhow::Result<()> {
        let name = Self::name(number);
        let sql = format!(
            "create schema {name};
             create table {name}.visit (id bigint primary key, patient bigint not null, note text);
             insert into {name}.visit select n, n, 'a note' from generate_series(1, 3) as n;
             alter schema {name} owner to {ROLE}; alter table {name}.visit owner to {ROLE}"
        );
        self.cluster.execute(DATABASE, &sql).await
    }

    /// Whether the source's slot is on its server.
    pub async fn has_slot(&self, number: u64) -> anyhow::Result<bool> {
        let slot = format!("causeway_{}", Self::name(number));
        let found = "select from pg_replication_slots where slot_name = $1";
        Ok(self.cluster.connect(DATABASE).await?.query_opt(found, &[&slot]).await?.is_some())
    }

    /// A source as the settings name it.
    pub fn block(&self, number: u64) -> anyhow::Result<String> {
        let (name, mut text) = (Self::name(number), String::new());
        let mapping = self.folder.join(format!("{name}.mapping.toml"));
        std::fs::write(
            &mapping,
            format!(
                "system = \"bench\"\nrevision = 1\nzone = \"Europe/London\"\n\n[[record]]\nkind = \"encounter\"\n\
                 name = \"visit\"\ntable = \"{name}.visit\"\nid = \"id\"\npatient = \"patient\"\n"
            ),
        )?;
        write!(text, "[[source]]\nname = \"{name}\"\norganisation = \"ORG{number}\"\n")?;
        writeln!(text, "url = \"{}\"", self.cluster.url(ROLE, DATABASE))?;
        writeln!(text, "password_file = \"{}\"", self.cluster.password_file(ROLE).display())?;
        writeln!(text, "tables = [\"{name}.*\"]\nmapping = \"{}\"\n", mapping.display())?;
        Ok(text)
    }

    fn settings(&self) -> anyhow::Result<()> {
        let (repository, mut text) = (stack::repository(), String::new());
        write!(text, "[kafka]\nbrokers = \"{}\"\n\n", self.kafka.brokers())?;
        write!(text, "[registry]\nurl = \"{}\"\n\n", self.registry.url())?;
        write!(text, "[database]\nurl = \"{}\"\n", self.cluster.url(OWN, OWN))?;
        write!(text, "password_file = \"{}\"\n\n", self.cluster.password_file(OWN).display())?;
        write!(text, "[ops]\nlisten = \"{}\"\n\n[gateway]\nlisten = \"{}\"\n\n[site]\n", self.ops, self.page)?;
        for (key, file) in
            [("teams", "teams.toml"), ("alerts", "alerts.toml"), ("users", "users.toml"), ("agreements", "agreements")]
        {
            writeln!(text, "{key} = \"{}\"", repository.join("site").join(file).display())?;
        }
        write!(text, "\n[sources]\nfolder = \"sources.d\"\n\n")?;
        for number in 0..self.count {
            let block = self.block(number)?;
            if number < OWN_SOURCES_MAX { text += &block } else { std::fs::write(self.file(number), block)? }
        }
        Ok(std::fs::write(&self.config, text)?)
    }

    /// Every service in one process, not started.
    pub fn causeway(&self) -> anyhow::Result<Causeway> {
        Causeway::prepare(&self.config, &[], &self.ops, &self.folder.join("causeway.log"))
    }

    /// Starts the process, and waits until all its parts are ready.
    async fn begin(&self, causeway: &mut Causeway) -> anyhow::Result<Start> {
        let (began, http) = (Instant::now(), http());
        causeway.launch()?;
        let pid = causeway.pid().context("the process is gone")?;
        let mut answers = Vec::new();
        loop {
            for url in [format!("http://{}/readyz", self.ops), format!("http://{}/healthz", self.page)] {
                let asked = Instant::now();
                let Ok(answer) = http.get(&url).send().await else { continue };
                answers.push(asked.elapsed().as_secs_f64() * 1_000.0);
                if url.ends_with("readyz") && answer.status().is_success() {
                    answers.sort_by(f64::total_cmp);
                    let (ready_s, answer_ms) = (began.elapsed().as_secs_f64(), quantile(&answers, 0.99));
                    return self.idle(pid, ready_s, answer_ms).await;
                }
            }
            let ended = causeway.exited()?;
            let log = causeway.log();
            ensure!(ended.is_none(), "the process ended:\n{}", tail(log));
            ensure!(began.elapsed() < WAIT_MAX, "not ready: {}\n{}", self.unready().await, tail(log));
            tokio::time::sleep(POLL).await;
        }
    }

    /// What it holds and does with nothing to do.
    async fn idle(&self, pid: u32, ready_s: f64, answer_ms: f64) -> anyhow::Result<Start> {
        let used = Usage::of(pid)?;
        tokio::time::sleep(IDLE).await;
        let idle_cpu = Usage::of(pid)?.since(used).cpu_s / IDLE.as_secs_f64();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |key: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
            Ok(line.trim().trim_end_matches("kB").trim().parse()?)
        };
        Ok(Start {
            ready_s,
            resident_mb: number("VmRSS:")? / 1024.0,
            resident_max_mb: number("VmHWM:")? / 1024.0,
            threads: number("Threads:")?,
            idle_cpu,
            answer_ms,
        })
    }

    /// What the process says of the parts that are not ready, of a few of them.
    async fn unready(&self) -> String {
        let told = self.ask("/readyz").await.unwrap_or_default();
        let parts = told.as_object().into_iter().flatten().filter(|(_, why)| *why != "ready");
        let parts: Vec<String> = parts.map(|(part, why)| format!("{part}: {why}")).collect();
        format!("{} parts: {}", parts.len(), parts[..parts.len().min(5)].join("; "))
    }

    pub async fn ask(&self, path: &str) -> anyhow::Result<Value> {
        crate::running::ask(&self.ops, path).await
    }

    /// A row in every source, and how many seconds later all of it is told.
    async fn commit_everywhere(&self, causeway: &Causeway) -> anyhow::Result<f64> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", self.kafka.brokers()).create()?;
        let partitions = 0..EVENTS_PARTITIONS;
        let events = || -> anyhow::Result<i64> {
            let ends =
                partitions.clone().map(|partition| consumer.fetch_watermarks("patient.events", partition, WATERMARKS));
            Ok(ends.collect::<Result<Vec<_>, _>>()?.into_iter().map(|(_, high)| high).sum())
        };
        let before = events()?;
        let client = self.cluster.connect(DATABASE).await?;
        let began = Instant::now();
        for number in 0..self.count {
            client.batch_execute(&format!("insert into {}.visit values (7, 7, 'news')", Self::name(number))).await?;
        }
        let wanted = before + i64::try_from(self.count)?;
        loop {
            let told = events()?;
            if told >= wanted {
                return Ok(began.elapsed().as_secs_f64());
            }
            let log = causeway.log();
            ensure!(began.elapsed() < WAIT_MAX, "{} of {wanted} events are told:\n{}", told, tail(log));
            tokio::time::sleep(POLL).await;
        }
    }
}
