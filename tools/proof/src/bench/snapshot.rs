//! `./run bench snapshot`: how fast the first reading of a table gets into Kafka, beside what `COPY … TO STDOUT` of the
//! same table gives to nobody, in the same run.

use super::{
    Options, median,
    stage::{DATABASE, POLL, Stage, insert},
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

struct Taken {
    /// Between the snapshot's first record and its last.
    per_s: f64,
    seconds_from_launch: f64,
    cpu_us: f64,
    client_us: f64,
    resident_mb: f64,
}

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    say("starting PostgreSQL, Kafka and the registry");
    let stage = Stage::start(&options.folder).await?;
    let report = rounds(&stage, options.rows.unwrap_or(ROWS), options.repeat, &mut say).await;
    stage.stop().await?;
    report
}

async fn rounds(stage: &Stage, rows: u64, repeat: usize, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
    say(&format!("writing {rows} rows"));
    stage.cluster.execute(DATABASE, &insert(0, rows)).await?;
    // Neither hint bits nor the statistics are made on the clock.
    stage.cluster.execute(DATABASE, "vacuum analyze lims.result").await?;
    let (mut floors, mut taken) = (Vec::new(), Vec::new());
    for round in 0..repeat {
        let floor = copy(stage, rows).await?;
        let ours = take(stage, &format!("bench_{round}"), rows).await?;
        say(&format!(
            "round {}: COPY {floor:.0} rows/s, snapshot {:.0} ({:.2}), {:.1} s from its start, {:.1} µs of CPU a row ({:.1} of them the Kafka client's), {:.0} MB",
            round + 1,
            ours.per_s,
            ours.per_s / floor,
            ours.seconds_from_launch,
            ours.cpu_us,
            ours.client_us,
            ours.resident_mb
        ));
        floors.push(floor);
        taken.push(ours);
    }
    let middle = |figure: fn(&Taken) -> f64| median(taken.iter().map(figure).collect());
    let ratio = median(floors.iter().zip(&taken).map(|(floor, ours)| ours.per_s / floor).collect());
    let resident = taken.iter().map(|ours| ours.resident_mb).fold(0.0, f64::max);
    let mut report = Report::new("snapshot");
    report.figure("rows", rows as f64);
    report.figure("rows_per_s", middle(|ours| ours.per_s));
    report.figure("copy_per_s", median(floors));
    report.figure("ratio_to_copy", ratio);
    report.figure("seconds_from_launch", middle(|ours| ours.seconds_from_launch));
    report.figure("cpu_us_per_row", middle(|ours| ours.cpu_us));
    report.figure("kafka_client_cpu_us_per_row", middle(|ours| ours.client_us));
    report.figure("rss_mb", resident);
    report.check("ratio_to_copy", ratio >= 0.2, &format!("{ratio:.2} of COPY; at least 0.20"));
    report.check("rss_mb", resident <= 64.0, &format!("{resident:.0} MB; at most 64"));
    Ok(report)
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
async fn take(stage: &Stage, name: &str, rows: u64) -> anyhow::Result<Taken> {
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
    end(stage, &mut connector, &topic, i64::try_from(rows)?, deadline).await?;
    let (cpu_us, client_us) = Usage::of(pid)?.since(used).micros_per(rows as f64);
    let taken = Taken {
        per_s: rows as f64 / started.elapsed().as_secs_f64(),
        seconds_from_launch: launched.elapsed().as_secs_f64(),
        cpu_us,
        client_us,
        resident_mb: resident_max_mb(pid)?,
    };
    connector.stop().await?;
    Ok(taken)
}

/// Waits for the snapshot's last record, which cannot stand before as many records as there are rows.
async fn end(stage: &Stage, part: &mut Part, topic: &str, rows: i64, deadline: Instant) -> anyhow::Result<()> {
    let ends = stage.ends(topic)?;
    while ends.now() <= rows {
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
                    return Ok(());
                }
            }
            None => {
                stage.alive(part, deadline)?;
                tokio::time::sleep(POLL).await;
            }
        }
    }
}
