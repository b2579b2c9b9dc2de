//! `./run bench capture`: how fast a backlog drains from the slot into Kafka, beside what
//! `pg_recvlogical` drains from the same backlog to `/dev/null`, in the same run.

use super::{
    Options, median,
    stage::{Arrived, DATABASE, Stage},
};
use crate::report::Report;
use anyhow::{Context, ensure};
use std::time::{Duration, Instant};

pub const CHANGES: u64 = 500_000;
const ROWS_PER_TRANSACTION: u64 = 100;
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(300);

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    say("starting PostgreSQL, Kafka and the registry");
    let stage = Stage::start(&options.folder).await?;
    let changes = options.rows.unwrap_or(CHANGES).next_multiple_of(ROWS_PER_TRANSACTION);
    let report = Bench { stage: &stage, changes }.rounds(options.repeat, &mut say).await;
    stage.stop().await?;
    report
}

struct Bench<'a> {
    stage: &'a Stage,
    changes: u64,
}

impl Bench<'_> {
    async fn rounds(&self, repeat: usize, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
        let cluster = &self.stage.cluster;
        say("creating the slots, while the table is empty");
        for round in 0..repeat {
            let mut connector = self.stage.connector(&format!("bench_{round}"))?;
            connector.start().await?;
            connector.stop().await?;
            let slot = format!("select pg_create_logical_replication_slot('floor_{round}', 'pgoutput')");
            cluster.execute(DATABASE, &slot).await?;
        }
        say(&format!("writing {} rows in transactions of {ROWS_PER_TRANSACTION}", self.changes));
        cluster.execute(DATABASE, &self.backlog()).await?;
        let end = self.stage.text("select pg_current_wal_flush_lsn()::text").await?;
        let (mut floors, mut drains) = (Vec::new(), Vec::new());
        for round in 0..repeat {
            let floor = self.floor(round, &end).await?;
            let drain = self.drain(round).await?;
            say(&format!(
                "round {}: pg_recvlogical {floor:.0}/s, capture {:.0}/s ({:.2}), {:.1} µs of CPU a change ({:.1} of them the Kafka client's), {:.0} MB",
                round + 1,
                drain.per_s,
                drain.per_s / floor,
                drain.cpu_us,
                drain.client_us,
                drain.resident_mb
            ));
            floors.push(floor);
            drains.push(drain);
        }
        Ok(report(&floors, &drains))
    }

    fn backlog(&self) -> String {
        format!(
            "do $$ begin for t in 0..{} loop
                insert into lims.result select t * {ROWS_PER_TRANSACTION} + n, t, t * 10 + n, gen_random_uuid(), 'K', '4.' || n % 10,
                    4.1, 'mmol/L', 3.5, 5.3, case n % 7 when 0 then 'H' end, now(), true from generate_series(1, {ROWS_PER_TRANSACTION}) as n;
                commit;
            end loop; end $$",
            self.changes / ROWS_PER_TRANSACTION - 1
        )
    }

    /// `pg_recvlogical` of the same publication to `/dev/null`: changes a second.
    async fn floor(&self, round: usize, end: &str) -> anyhow::Result<f64> {
        let publication = self
            .stage
            .text("select pubname::text from pg_publication order by pubname limit 1")
            .await
            .context("the connector made no publication")?;
        let cluster = &self.stage.cluster;
        let (port, slot) = (cluster.port().to_string(), format!("floor_{round}"));
        let mut command = tokio::process::Command::new(cluster.binaries().join("pg_recvlogical"));
        command
            .args(["--host", "127.0.0.1", "--port", &port, "--username", stack::SUPERUSER, "--no-password"])
            .args(["--dbname", DATABASE, "--slot", &slot, "--start", "--no-loop", "--file", "/dev/null"])
            .args(["--endpos", end, "-o", "proto_version=1", "-o", &format!("publication_names={publication}")])
            .env("PGPASSWORD", cluster.password(stack::SUPERUSER)?)
            .kill_on_drop(true);
        let started = Instant::now();
        let status =
            tokio::time::timeout(DRAIN_WAIT_MAX, command.status()).await.context("pg_recvlogical did not end")??;
        ensure!(status.success(), "pg_recvlogical ended with {status}");
        Ok(self.changes as f64 / started.elapsed().as_secs_f64())
    }

    /// The connector on the same backlog, from its first record in Kafka to its last.
    async fn drain(&self, round: usize) -> anyhow::Result<Arrived> {
        let name = format!("bench_{round}");
        let mut connector = self.stage.connector(&name)?;
        // It begins with a session record.
        let records = (1, i64::try_from(self.changes)?);
        let arrived = self.stage.arrival(&mut connector, &format!("changes.{name}"), records, DRAIN_WAIT_MAX).await?;
        connector.stop().await?;
        Ok(arrived)
    }
}

fn report(floors: &[f64], drains: &[Arrived]) -> Report {
    let middle = |figure: fn(&Arrived) -> f64| median(drains.iter().map(figure).collect());
    let floor = median(floors.to_vec());
    // Neighbours in time share the machine's mood.
    let ratio = median(floors.iter().zip(drains).map(|(floor, drain)| drain.per_s / floor).collect());
    let (cpu_us, resident) =
        (middle(|drain| drain.cpu_us), drains.iter().map(|drain| drain.resident_mb).fold(0.0, f64::max));
    let mut report = Report::new("capture");
    report.figure("changes_per_s", middle(|drain| drain.per_s));
    report.figure("floor_per_s", floor);
    report.figure("ratio_to_floor", ratio);
    report.figure("cpu_us_per_change", cpu_us);
    report.figure("kafka_client_cpu_us_per_change", middle(|drain| drain.client_us));
    report.figure("rss_mb", resident);
    report.figure("rounds", drains.len() as f64);
    report.check("ratio_to_floor", ratio >= 0.85, &format!("{ratio:.2} of pg_recvlogical; at least 0.85"));
    report.check("cpu_us_per_change", cpu_us <= 8.0, &format!("{cpu_us:.1} µs; at most 8"));
    report.check("rss_mb", resident <= 64.0, &format!("{resident:.0} MB; at most 64"));
    report
}
