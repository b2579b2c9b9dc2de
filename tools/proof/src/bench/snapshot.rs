//! `./run bench snapshot`: how fast the first reading of a table gets into Kafka, beside what `COPY … TO STDOUT` of the
//! same table gives to nobody, in the same run.

use super::{
    Options, median,
    peer::{self, Work},
    stage::{Arrived, DATABASE, POLL, Stage, insert},
    usage::{Usage, resident_max_mb},
};
use crate::report::Report;
use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use stack::Part;
use std::{
    pin::pin,
    time::{Duration, Instant},
};

pub const ROWS: u64 = 1_500_000;
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(600);
const END: &[u8] = b"snapshot-end";

struct Round {
    floor: f64,
    /// Between the snapshot's first record and its last.
    ours: Arrived,
    seconds_from_launch: f64,
    peer: Option<Arrived>,
}

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    say("starting PostgreSQL, Kafka and the registry");
    let stage = Stage::start(&options.folder).await?;
    let report = rounds(&stage, options, &mut say).await;
    stage.stop().await?;
    report
}

async fn rounds(stage: &Stage, options: &Options, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
    let rows = options.rows.unwrap_or(ROWS);
    say(&format!("writing {rows} rows"));
    stage.cluster.execute(DATABASE, &insert(0, rows)).await?;
    // Neither hint bits nor the statistics are made on the clock.
    let client = stage.cluster.connect(DATABASE).await?;
    client.batch_execute("vacuum analyze lims.result").await?;
    if options.debezium {
        peer::publish(stage).await?;
    }
    let mut rounds = Vec::new();
    for round in 0..=options.repeat {
        let name = super::round_name(round);
        let floor = copy(stage, rows).await?;
        say(&format!("{name}: COPY {floor:.0} rows/s"));
        let (ours, seconds_from_launch) = take(stage, &format!("bench_{round}"), rows).await?;
        let ratio = ours.per_s / floor;
        say(&format!(
            "{name}: snapshot {}, {ratio:.2} of COPY; {seconds_from_launch:.1} s from its start",
            ours.told()
        ));
        let peer = match options.debezium {
            true => Some(peer::arrival(stage, &format!("peer_{round}"), Work::Snapshot, rows).await?),
            false => None,
        };
        if let Some(peer) = &peer {
            say(&format!("{name}: Debezium {}", peer.told()));
        }
        rounds.push(Round { floor, ours, seconds_from_launch, peer });
    }
    rounds.remove(0);
    Ok(report(rows, &rounds))
}

fn report(rows: u64, rounds: &[Round]) -> Report {
    let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let ratio = middle(|round| round.ours.per_s / round.floor);
    let resident = rounds.iter().map(|round| round.ours.resident_mb).fold(0.0, f64::max);
    let mut report = Report::new("snapshot");
    report.figure("rows", rows as f64);
    report.figure("rounds", rounds.len() as f64);
    report.figure("rows_per_s", middle(|round| round.ours.per_s));
    report.figure("copy_per_s", middle(|round| round.floor));
    report.figure("ratio_to_copy", ratio);
    report.figure("seconds_from_launch", middle(|round| round.seconds_from_launch));
    report.figure("cpu_us_per_row", middle(|round| round.ours.cpu_us));
    report.figure("kafka_client_cpu_us_per_row", middle(|round| round.ours.client_us));
    report.figure("rss_mb", resident);
    report.check("ratio_to_copy", ratio >= 0.2, &format!("{ratio:.2} of COPY; at least 0.20"));
    report.check("rss_mb", resident <= 64.0, &format!("{resident:.0} MB; at most 64"));
    let pairs: Vec<(&Arrived, &Arrived)> =
        rounds.iter().filter_map(|round| Some((&round.ours, round.peer.as_ref()?))).collect();
    super::against(&mut report, &pairs, 8.0);
    report
}

/// `COPY … TO STDOUT`, thrown away: rows a second.
async fn copy(stage: &Stage, rows: u64) -> anyhow::Result<f64> {
    let client = stage.cluster.connect(DATABASE).await?;
    let started = Instant::now();
    let mut lines = pin!(client.copy_out("copy lims.result to stdout").await?);
    let mut counted = 0;
    while lines.try_next().await?.is_some() {
        counted += 1;
    }
    ensure!(counted == rows, "COPY gave {counted} of {rows} rows");
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

/// A new connector's first snapshot, until its last record is durable.
async fn take(stage: &Stage, name: &str, rows: u64) -> anyhow::Result<(Arrived, f64)> {
    let topic = format!("changes.{name}");
    let mut connector = stage.connector(name)?;
    let ends = stage.ends(&topic)?;
    let launched = Instant::now();
    let deadline = launched + SNAPSHOT_WAIT_MAX;
    connector.launch()?;
    let pid = connector.pid().context("the connector is gone")?;
    // The session's record, and the snapshot's first.
    while ends.now() < 2 {
        stage.alive(&mut connector, deadline)?;
        tokio::time::sleep(POLL).await;
    }
    let (started, used) = (Instant::now(), Usage::of(pid)?);
    let client_s = end(stage, &mut connector, &topic, i64::try_from(rows)?, deadline).await?;
    let (cpu_us, _) = Usage::of(pid)?.since(used).micros_per(rows as f64);
    let client_us = client_s * 1e6 / rows as f64;
    let per_s = rows as f64 / started.elapsed().as_secs_f64();
    let seconds_from_launch = launched.elapsed().as_secs_f64();
    let taken = Arrived { per_s, cpu_us, client_us, resident_mb: resident_max_mb(pid)? };
    connector.stop().await?;
    Ok((taken, seconds_from_launch))
}

/// Waits for the snapshot's last record, which cannot stand before as many records as there are rows. Returns what the
/// Kafka client's threads had used just before: they end with the snapshot.
async fn end(stage: &Stage, part: &mut Part, topic: &str, rows: i64, deadline: Instant) -> anyhow::Result<f64> {
    let ends = stage.ends(topic)?;
    let pid = part.pid().context("the connector is gone")?;
    let mut client_s = 0.0_f64;
    while ends.now() <= rows {
        client_s = client_s.max(Usage::of(pid)?.client_s);
        stage.alive(part, deadline)?;
        tokio::time::sleep(POLL).await;
    }
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stage.brokers())
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Offset(rows))?;
    consumer.assign(&from)?;
    loop {
        match consumer.poll(Duration::ZERO) {
            Some(message) => {
                let message = message?;
                let is_end = |headers: &rdkafka::message::BorrowedHeaders| {
                    headers.iter().any(|header| header.key == "causeway.kind" && header.value == Some(END))
                };
                if message.headers().is_some_and(is_end) {
                    return Ok(client_s);
                }
            }
            None => {
                stage.alive(part, deadline)?;
                tokio::time::sleep(POLL).await;
            }
        }
    }
}
