//! `./run bench capture`: how fast a backlog drains from the slot into Kafka, beside what
//! `pg_recvlogical` drains from the same backlog to `/dev/null`, in the same run.
//!
//! # Why
//! Only the ratio means something on a shared machine, so floor and capture take turns on the same
//! WAL, each with a slot of its own, and the median of the rounds counts.

use crate::{report::Report, running::tail};
use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use stack::{Causeway, Kafka, Lifetime, Postgres, Registry};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub const CHANGES: u64 = 500_000;
const ROWS_PER_TRANSACTION: u64 = 100;
const ROUNDS: usize = 3;
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(5);
const ROLE: &str = "causeway_capture";
const DATABASE: &str = "bench";
/// Clock ticks a second in `/proc/<pid>/stat` (`getconf CLK_TCK`; 100 on every Linux we know).
const TICKS_PER_S: f64 = 100.0;

const TABLE: &str = "create schema lims;
create table lims.result (
    result_id bigint primary key, order_id bigint not null, specimen_id bigint not null,
    patient_id uuid not null, test_code varchar(20) not null, value varchar(255), number numeric(19,3),
    unit varchar(30), low numeric, high numeric, flag varchar(2), authorised_at timestamptz, is_active boolean not null)";

/// One drain: changes a second, and what the process used.
struct Drain {
    per_s: f64,
    cpu_us: f64,
    rss_mb: f64,
}

pub async fn run(folder: &Path, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    say("starting PostgreSQL, Kafka and the registry");
    let (kafka, registry) = (folder.join("kafka"), folder.join("registry"));
    let (cluster, mut kafka, mut registry) = tokio::try_join!(
        async { Postgres::start("bench", &folder.join("postgres"), Lifetime::WithParent).await },
        Kafka::start(&kafka, Lifetime::WithParent),
        Registry::start(&registry, Lifetime::WithParent),
    )?;
    let mut bench =
        Bench { cluster, folder: folder.to_owned(), brokers: kafka.brokers().to_owned(), registry: registry.url() };
    let report = bench.rounds(&mut say).await;
    bench.cluster.stop().await?;
    kafka.stop().await?;
    registry.stop().await?;
    report
}

struct Bench {
    cluster: Postgres,
    folder: PathBuf,
    brokers: String,
    registry: String,
}

impl Bench {
    async fn rounds(&mut self, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
        self.cluster.create_database(DATABASE, stack::SUPERUSER).await?;
        self.cluster.execute(DATABASE, TABLE).await?;
        self.cluster.create_role(ROLE, "login replication").await?;
        let grants = format!(
            "grant usage on schema lims to {ROLE}; grant select on lims.result to {ROLE}; grant create on database {DATABASE} to {ROLE}; alter table lims.result owner to {ROLE}"
        );
        self.cluster.execute(DATABASE, &grants).await?;
        say("creating the slots, while the table is empty");
        for round in 0..ROUNDS {
            let mut connector = self.connector(round)?;
            connector.start().await?;
            connector.stop().await?;
            self.cluster
                .execute(DATABASE, &format!("select pg_create_logical_replication_slot('floor_{round}', 'pgoutput')"))
                .await?;
        }
        say(&format!("writing {CHANGES} rows in transactions of {ROWS_PER_TRANSACTION}"));
        self.cluster.execute(DATABASE, &backlog()).await?;
        let end: String = self
            .cluster
            .connect(DATABASE)
            .await?
            .query_one("select pg_current_wal_flush_lsn()::text", &[])
            .await?
            .get(0);
        let (mut floors, mut drains) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let floor = self.floor(round, &end).await?;
            let drain = self.drain(round).await?;
            say(&format!(
                "round {}: pg_recvlogical {floor:.0}/s, capture {:.0}/s, {:.1} µs of CPU a change, {:.0} MB",
                round + 1,
                drain.per_s,
                drain.cpu_us,
                drain.rss_mb
            ));
            floors.push(floor);
            drains.push(drain);
        }
        let floor = median(floors);
        let per_s = median(drains.iter().map(|d| d.per_s).collect());
        let mut report = Report::new("capture");
        report.figure("changes_per_s", per_s);
        report.figure("floor_per_s", floor);
        report.figure("ratio_to_floor", per_s / floor);
        report.figure("cpu_us_per_change", median(drains.iter().map(|d| d.cpu_us).collect()));
        let rss = drains.iter().map(|d| d.rss_mb).fold(0.0, f64::max);
        report.figure("rss_mb", rss);
        report.check(
            "ratio_to_floor",
            per_s / floor >= 0.5,
            &format!("{:.2} of pg_recvlogical; at least 0.5", per_s / floor),
        );
        report.check("rss_mb", rss <= 64.0, &format!("{rss:.0} MB; at most 64"));
        Ok(report)
    }

    /// A connector of its own for each round: another name, slot and topic on the same table.
    fn connector(&self, round: usize) -> anyhow::Result<Causeway> {
        let name = format!("bench_{round}");
        let ops = format!("127.0.0.1:{}", stack::free_port()?);
        let mut text =
            format!("[kafka]\nbrokers = \"{}\"\n\n[registry]\nurl = \"{}\"\n\n", self.brokers, self.registry);
        // The connector needs no database of Causeway's own; the settings file wants one named.
        write!(text, "[database]\nurl = \"{}\"\n\n[ops]\nlisten = \"{ops}\"\n\n", self.cluster.url(ROLE, DATABASE))?;
        let site = stack::repository().join("site");
        write!(text, "[gateway]\nlisten = \"127.0.0.1:0\"\n\n[site]\n")?;
        for (key, file) in
            [("teams", "teams.toml"), ("alerts", "alerts.toml"), ("users", "users.toml"), ("agreements", "agreements")]
        {
            writeln!(text, "{key} = \"{}\"", site.join(file).display())?;
        }
        write!(
            text,
            "\n[[source]]\nname = \"{name}\"\norganisation = \"BENCH\"\nurl = \"{}\"\n",
            self.cluster.url(ROLE, DATABASE)
        )?;
        writeln!(text, "password_file = \"{}\"", self.cluster.password_file(ROLE).display())?;
        writeln!(
            text,
            "tables = [\"lims.*\"]\nmapping = \"{}\"",
            stack::repository().join("mappings/stmarys.toml").display()
        )?;
        let config = self.folder.join(format!("{name}.toml"));
        std::fs::write(&config, text)?;
        Causeway::prepare(&config, &["connector"], &ops, &self.folder.join(format!("{name}.log")))
    }

    /// `pg_recvlogical` of the same publication to `/dev/null`: changes a second.
    async fn floor(&self, round: usize, end: &str) -> anyhow::Result<f64> {
        let publication: String = self
            .cluster
            .connect(DATABASE)
            .await?
            .query_one("select pubname::text from pg_publication order by pubname limit 1", &[])
            .await
            .context("the connector made no publication")?
            .get(0);
        let mut command = tokio::process::Command::new(self.cluster.binaries().join("pg_recvlogical"));
        command
            .args([
                "--host",
                "127.0.0.1",
                "--username",
                stack::SUPERUSER,
                "--no-password",
                "--port",
                &self.cluster.port().to_string(),
            ])
            .args([
                "--dbname",
                DATABASE,
                "--slot",
                &format!("floor_{round}"),
                "--start",
                "--no-loop",
                "--file",
                "/dev/null",
            ])
            .args(["--endpos", end, "-o", "proto_version=1", "-o", &format!("publication_names={publication}")])
            .env("PGPASSWORD", self.cluster.password(stack::SUPERUSER)?)
            .kill_on_drop(true);
        let started = Instant::now();
        let status =
            tokio::time::timeout(DRAIN_WAIT_MAX, command.status()).await.context("pg_recvlogical did not end")??;
        ensure!(status.success(), "pg_recvlogical ended with {status}");
        Ok(CHANGES as f64 / started.elapsed().as_secs_f64())
    }

    /// The connector on the same backlog, from its first record in Kafka to its last.
    async fn drain(&self, round: usize) -> anyhow::Result<Drain> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?;
        let topic = format!("changes.bench_{round}");
        let high = || consumer.fetch_watermarks(&topic, 0, Duration::from_secs(5)).map(|(_, high)| high);
        let before = high()?;
        let mut connector = self.connector(round)?;
        connector.launch()?;
        let deadline = Instant::now() + DRAIN_WAIT_MAX;
        let wanted = before + i64::try_from(CHANGES)?;
        let mut first = None;
        loop {
            let at = high()?;
            if at > before + 1 && first.is_none() {
                first = Some((Instant::now(), at));
            }
            if at > wanted {
                break;
            }
            ensure!(
                connector.exited()?.is_none() && Instant::now() < deadline,
                "the drain did not end:\n{}",
                tail(connector.log())
            );
            tokio::time::sleep(POLL).await;
        }
        let (started, at_first) = first.context("the drain was too fast to see")?;
        let per_s = (wanted - at_first) as f64 / started.elapsed().as_secs_f64();
        let pid = connector.pid().context("the connector is gone")?;
        let (cpu_us, rss_mb) = (cpu_seconds(pid)? * 1e6 / CHANGES as f64, rss_peak_mb(pid)?);
        connector.stop().await?;
        Ok(Drain { per_s, cpu_us, rss_mb })
    }
}

fn backlog() -> String {
    format!(
        "do $$ begin for t in 0..{} loop
            insert into lims.result select t * {ROWS_PER_TRANSACTION} + n, t, t * 10 + n, gen_random_uuid(), 'K', '4.' || n % 10,
                4.1, 'mmol/L', 3.5, 5.3, case n % 7 when 0 then 'H' end, now(), true from generate_series(1, {ROWS_PER_TRANSACTION}) as n;
            commit;
        end loop; end $$",
        CHANGES / ROWS_PER_TRANSACTION - 1
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// User and system time so far: fields 14 and 15 of `/proc/<pid>/stat`, counted after the name in brackets.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
    Ok(ticks / TICKS_PER_S)
}

/// The most memory that was ever resident.
fn rss_peak_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kb / 1024.0)
}
