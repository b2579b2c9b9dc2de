//! `./run bench capture --large`: what stays resident while one transaction of millions of rows passes, and then one
//! row that is too large for Kafka.

use super::{
    Options,
    stage::{DATABASE, POLL, Stage, insert},
    usage::{Usage, resident_max_mb},
};
use crate::report::Report;
use anyhow::Context;
use std::time::{Duration, Instant};

pub const ROWS: u64 = 5_000_000;
/// 32 letters each: 50 MB of text that does not repeat.
const DIGESTS: u64 = 50 * 1024 * 1024 / 32;
const WAIT_MAX: Duration = Duration::from_secs(900);

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    say("starting PostgreSQL, Kafka and the registry");
    let stage = Stage::start(&options.folder).await?;
    let report = measure(&stage, options.rows.unwrap_or(ROWS), &mut say).await;
    stage.stop().await?;
    report
}

async fn measure(stage: &Stage, rows: u64, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
    let mut connector = stage.connector("bench")?;
    connector.start().await?;
    let pid = connector.pid().context("the connector is gone")?;
    let (log, quarantine) = (stage.ends("changes.bench")?, stage.ends("quarantine")?);
    let (before, used) = (log.now(), Usage::of(pid)?);
    say(&format!("writing {rows} rows in one transaction"));
    stage.cluster.execute(DATABASE, &insert(0, rows)).await?;
    say("the source has committed it");
    let (deadline, committed) = (Instant::now() + WAIT_MAX, Instant::now());
    let wanted = before + i64::try_from(rows)?;
    while log.now() < wanted {
        stage.alive(&mut connector, deadline)?;
        tokio::time::sleep(POLL).await;
    }
    let seconds = committed.elapsed().as_secs_f64();
    let (cpu_us, _) = Usage::of(pid)?.since(used).micros_per(rows as f64);
    let transaction_mb = resident_max_mb(pid)?;
    say(&format!("all of it is in the log {seconds:.0} s later, {transaction_mb:.0} MB resident at most"));
    let (held, after) = (quarantine.now(), log.now());
    let document = format!(
        "insert into lims.document select 1, string_agg(md5(n::text), '') from generate_series(1, {DIGESTS}) as n"
    );
    stage.cluster.execute(DATABASE, &document).await?;
    stage.cluster.execute(DATABASE, "insert into lims.document values (2, 'the next row')").await?;
    let deadline = Instant::now() + WAIT_MAX;
    while quarantine.now() <= held || log.now() <= after {
        stage.alive(&mut connector, deadline)?;
        tokio::time::sleep(POLL).await;
    }
    let row_mb = resident_max_mb(pid)?;
    say(&format!("the row of 50 MB is told in the quarantine, the next one is in the log: {row_mb:.0} MB"));
    connector.stop().await?;
    let mut report = Report::new("capture-large");
    report.figure("rows", rows as f64);
    report.figure("changes_per_s_after_commit", rows as f64 / seconds);
    report.figure("cpu_us_per_change", cpu_us);
    report.figure("rss_transaction_mb", transaction_mb);
    report.figure("rss_row_mb", row_mb);
    let told = |mb: f64, limit: f64| format!("{mb:.0} MB; at most {limit:.0}");
    report.check("rss_transaction_mb", transaction_mb <= 64.0, &told(transaction_mb, 64.0));
    report.check("rss_row_mb", row_mb <= 256.0, &told(row_mb, 256.0));
    Ok(report)
}
