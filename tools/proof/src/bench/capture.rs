//! `./run bench capture`: how fast a backlog drains from the slot into Kafka, beside what
//! `pg_recvlogical` drains from the same backlog to `/dev/null`, in the same run.

use super::{
    Options, median,
    peer::{self, Work},
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
    let report = Bench { stage: &stage, changes, debezium: options.debezium }.rounds(options.repeat, &mut say).await;
    stage.stop().await?;
    report
}

struct Bench<'a> {
    stage: &'a Stage,
    changes: u64,
    debezium: bool,
}

struct Round {
    floor: f64,
    ours: Arrived,
    peer: Option<Arrived>,
}

impl Bench<'_> {
    async fn rounds(&self, repeat: usize, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
        let cluster = &self.stage.cluster;
        say("creating the slots, while the table is empty");
        if self.debezium {
            peer::publish(self.stage).await?;
        }
        for round in 0..=repeat {
            if self.debezium {
                peer::hold(self.stage, &format!("peer_{round}")).await?;
            }
            let mut connector = self.stage.connector(&format!("bench_{round}"))?;
            connector.start().await?;
            connector.stop().await?;
            let slot = format!("select pg_create_logical_replication_slot('floor_{round}', 'pgoutput')");
            cluster.execute(DATABASE, &slot).await?;
        }
        say(&format!("writing {} rows in transactions of {ROWS_PER_TRANSACTION}", self.changes));
        cluster.execute(DATABASE, &self.backlog()).await?;
        let end = self.stage.text("select pg_current_wal_flush_lsn()::text").await?;
        let mut rounds = Vec::new();
        for round in 0..=repeat {
            let name = super::round_name(round);
            let floor = self.floor(round, &end).await?;
            say(&format!("{name}: pg_recvlogical {floor:.0}/s"));
            let ours = self.drain(round).await?;
            say(&format!("{name}: capture {}, {:.2} of pg_recvlogical", ours.told(), ours.per_s / floor));
            let peer = match self.debezium {
                true => Some(peer::arrival(self.stage, &format!("peer_{round}"), Work::Backlog, self.changes).await?),
                false => None,
            };
            if let Some(peer) = &peer {
                say(&format!("{name}: Debezium {}", peer.told()));
            }
            rounds.push(Round { floor, ours, peer });
        }
        rounds.remove(0);
        Ok(report(&rounds))
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
        let topic = format!("changes.{name}");
        // It begins with a session record.
        let from = self.stage.ends(&topic)?.now() + 1;
        connector.launch()?;
        let records = (from, i64::try_from(self.changes)?);
        let arrived = self.stage.arrival(&mut connector, &topic, records, DRAIN_WAIT_MAX).await?;
        connector.stop().await?;
        Ok(arrived)
    }
}

fn report(rounds: &[Round]) -> Report {
    let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    // Neighbours in time share the machine's mood.
    let ratio = middle(|round| round.ours.per_s / round.floor);
    let cpu_us = middle(|round| round.ours.cpu_us);
    let resident = rounds.iter().map(|round| round.ours.resident_mb).fold(0.0, f64::max);
    let mut report = Report::new("capture");
    report.figure("changes_per_s", middle(|round| round.ours.per_s));
    report.figure("floor_per_s", middle(|round| round.floor));
    report.figure("ratio_to_floor", ratio);
    report.figure("cpu_us_per_change", cpu_us);
    report.figure("kafka_client_cpu_us_per_change", middle(|round| round.ours.client_us));
    report.figure("rss_mb", resident);
    report.figure("rounds", rounds.len() as f64);
    report.check("ratio_to_floor", ratio >= 0.85, &format!("{ratio:.2} of pg_recvlogical; at least 0.85"));
    report.check("cpu_us_per_change", cpu_us <= 8.0, &format!("{cpu_us:.1} µs; at most 8"));
    report.check("rss_mb", resident <= 64.0, &format!("{resident:.0} MB; at most 64"));
    let pairs: Vec<(&Arrived, &Arrived)> =
        rounds.iter().filter_map(|round| Some((&round.ours, round.peer.as_ref()?))).collect();
    super::against(&mut report, &pairs, 6.0);
    report
}
