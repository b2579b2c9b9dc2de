//! The invariants of a running region, each a check of its report.

use crate::{access, alerts, live::sign_in, log, order, report::Report, running::Running, story, views, witness};
use anyhow::Context;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio_postgres::Client;

/// What is on its way gets so long to arrive, counted from when the traffic stopped.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(120);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// David's story through the page, FHIR and the event stream.
pub async fn story(running: &Running, report: &mut Report) -> anyhow::Result<()> {
    let sentences = story::tell(running).await?;
    let ok = sentences.iter().all(|sentence| sentence.ok);
    let detail: Vec<String> =
        sentences.iter().map(|s| format!("{} {}: {}", if s.ok { "✓" } else { "✗" }, s.name, s.detail)).collect();
    report.check("story", ok, &detail.join("; "));
    Ok(())
}

/// Everything else: call it when the traffic has stopped.
pub async fn all(running: &mut Running, report: &mut Report) -> anyhow::Result<()> {
    log_complete(running, report).await?;
    let deadline = Instant::now() + DRAIN_WAIT_MAX;
    let (gp, hospital, own) =
        (running.source("riverside").await?, running.source("stmarys").await?, running.own().await?);
    views_equal(&gp, &hospital, &own, deadline, report).await?;
    order_kept(running, report).await?;
    alerts_exact(running, &gp, &hospital, &own, deadline, report).await?;
    access_audited(running, &own, report).await
}

/// Every committed change is in its log exactly once, in commit order.
async fn log_complete(running: &mut Running, report: &mut Report) -> anyhow::Result<()> {
    let (mut changes, mut lost, mut duplicated, mut reordered, mut holes) = (0, 0, 0, 0, 0);
    let mut first = None;
    for (index, source) in ["riverside", "stmarys"].into_iter().enumerate() {
        let cluster = if source == "stmarys" { &running.region.hospital } else { &running.region.gp };
        let witness = running.witnesses.get_mut(index).context("no witness was called")?;
        witness.wait_caught_up(cluster).await?;
        let witness = &running.witnesses[index];
        let keys = witness::keys(&running.source(source).await?).await?;
        let committed = witness::committed(&witness.transactions()?, &keys)?;
        let topic = format!("changes.{source}");
        let deadline = Instant::now() + DRAIN_WAIT_MAX;
        let compared = loop {
            let logged =
                log::read(running.region.kafka.brokers(), &running.region.registry.url(), &topic, &keys).await?;
            let compared = log::compare(&committed, &logged.changes);
            holes = logged.holes;
            if compared.same() || Instant::now() > deadline {
                break compared;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        };
        changes += committed.len();
        lost += compared.lost;
        duplicated += compared.duplicated;
        reordered += compared.reordered;
        first = first.or(compared.first);
    }
    report.figure("source_changes", changes as f64);
    report.figure("lost", lost as f64);
    report.figure("duplicated", duplicated as f64);
    report.figure("reordered", reordered as f64);
    let ok = lost + duplicated + reordered + holes == 0 && changes > 0;
    let detail = format!(
        "{changes} committed; {lost} lost, {duplicated} twice, {reordered} out of order, {holes} holes {}",
        first.unwrap_or_default()
    );
    report.check("log_complete", ok, detail.trim());
    Ok(())
}

/// Every mapped row is in the views or the quarantine, none twice, values equal.
async fn views_equal(
    gp: &Client,
    hospital: &Client,
    own: &Client,
    deadline: Instant,
    report: &mut Report,
) -> anyhow::Result<()> {
    let compared = loop {
        let compared = views::compare(gp, hospital, own).await?;
        if compared.equal() || Instant::now() > deadline {
            break compared;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    };
    report.figure("quarantined", compared.quarantined as f64);
    let detail = format!(
        "{} compared; {} missing, {} extra, {} different, {} doubled, {} waiting of which {} unaccounted {}",
        compared.compared,
        compared.missing,
        compared.extra,
        compared.different,
        compared.doubled,
        compared.waiting,
        compared.unaccounted,
        compared.first.clone().unwrap_or_default()
    );
    report.check("views_equal", compared.equal() && compared.compared > 0, detail.trim());
    Ok(())
}

/// Per patient nothing is out of order.
async fn order_kept(running: &Running, report: &mut Report) -> anyhow::Result<()> {
    let order = order::read(running.region.kafka.brokers(), "patient.events").await?;
    report.figure("events", order.events as f64);
    let detail = format!(
        "{} events; {} again, {} out of order {}",
        order.events,
        order.duplicated,
        order.reordered,
        order.first.clone().unwrap_or_default()
    );
    report.check("order_kept", order.kept() && order.events > 0, detail.trim());
    Ok(())
}

/// Each alert that the rules demand is raised once, none beside.
async fn alerts_exact(
    running: &Running,
    gp: &Client,
    hospital: &Client,
    own: &Client,
    deadline: Instant,
    report: &mut Report,
) -> anyhow::Result<()> {
    let rules = alerts::Rules::read(&stack::repository().join("site/alerts.toml"))?;
    let compared = loop {
        let compared = alerts::compare(gp, hospital, own, &rules, running.live_since).await?;
        if compared.exact() || Instant::now() > deadline {
            break compared;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    };
    report.figure("alerts", compared.raised as f64);
    let detail = format!(
        "{} demanded, {} raised; {} missing, {} doubled, {} beside {}",
        compared.demanded,
        compared.raised,
        compared.missing,
        compared.doubled,
        compared.beside,
        compared.first.clone().unwrap_or_default()
    );
    report.check("alerts_exact", compared.exact() && compared.demanded > 0, detail.trim());
    Ok(())
}

/// A reader outside the team gets 403 and an audit row; breaking the glass lets them in, audited.
async fn access_audited(running: &Running, own: &Client, report: &mut Report) -> anyhow::Result<()> {
    let checked = access::check(running, own).await?;
    report.check("access_audited", checked.ok, &checked.detail);
    Ok(())
}

/// A token for a user of the region.
pub async fn token(running: &Running, user: &str) -> anyhow::Result<String> {
    sign_in(&running.gateway, user, running.passwords.get(user).with_context(|| format!("no user {user}"))?).await
}

/// Whether a file of a report can be written there, before minutes are spent on making it.
pub fn writable(path: &Path) -> anyhow::Result<()> {
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
