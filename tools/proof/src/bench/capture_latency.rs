//! `./run bench capture-latency`: from a commit in the source to its change in a Kafka consumer's hands, while only the
//! connector runs; beside a client that tells Kafka itself after its commit, in the same run.

use super::{
    Options,
    commits::{Commit, Direct, commit},
    median,
    peer::{self, Work},
    quantile,
    sighting::Sightings,
    stage::Stage,
    usage::{Usage, resident_max_mb},
};
use crate::report::Report;
use anyhow::Context;
use stack::Part;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

pub const RATE: u32 = 1_000;
const WARM_UP_S: u64 = 5;
const LATE_MAX: Duration = Duration::from_secs(30);

/// Milliseconds; what a round found.
struct Round {
    p50: f64,
    p99: f64,
    max: f64,
    /// From the statement's sending: with the commit itself.
    sent_p50: f64,
    sent_p99: f64,
}

struct Live {
    round: Round,
    cpu_us: f64,
    client_us: f64,
    resident_mb: f64,
}

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    say("starting PostgreSQL, Kafka and the registry");
    let stage = Stage::start(&options.folder).await?;
    let report = rounds(&stage, options, &mut say).await;
    stage.stop().await?;
    report
}

/// Numbers of the rows to come: no two rounds share one.
struct Numbers {
    next: u64,
    rate: u32,
    seconds: u64,
}

async fn rounds(stage: &Stage, options: &Options, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
    let mut numbers = Numbers { next: 0, rate: options.rate.max(1), seconds: u64::from(options.seconds.max(1)) };
    let (mut floors, mut all, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    if options.debezium {
        peer::publish(stage).await?;
    }
    for round in 0..options.repeat {
        let floor = direct(stage, &format!("direct_{round}"), &mut numbers).await?;
        say(&told(round, "a client that tells Kafka itself", &floor));
        let ours = ours(stage, &format!("bench_{round}"), &mut numbers).await?;
        say(&told(round, "capture", &ours.round));
        say(&used(round, &ours));
        if options.debezium {
            let peer = debezium(stage, &format!("peer_{round}"), &mut numbers).await?;
            say(&told(round, "Debezium", &peer.round));
            say(&used(round, &peer));
            peers.push(peer);
        }
        floors.push(floor);
        all.push(ours);
    }
    Ok(report(&numbers, &floors, &all, &peers))
}

fn told(round: usize, who: &str, found: &Round) -> String {
    let Round { p50, p99, max, sent_p50, sent_p99 } = found;
    format!(
        "round {}: {who}: p50 {p50:.1} ms, p99 {p99:.1} ms, at most {max:.1} ms; with the commit itself {sent_p50:.1} and {sent_p99:.1} ms",
        round + 1
    )
}

fn used(round: usize, live: &Live) -> String {
    let Live { cpu_us, client_us, resident_mb, .. } = live;
    format!(
        "round {}: {cpu_us:.0} µs of CPU a change (the Kafka client's {client_us:.0}), {resident_mb:.0} MB",
        round + 1
    )
}

fn report(numbers: &Numbers, floors: &[Round], all: &[Live], peers: &[Live]) -> Report {
    let floor = |figure: fn(&Round) -> f64| median(floors.iter().map(figure).collect());
    let ours = |figure: fn(&Live) -> f64| median(all.iter().map(figure).collect());
    let (p50, p99) = (ours(|ours| ours.round.p50), ours(|ours| ours.round.p99));
    let mut report = Report::new("capture-latency");
    report.figure("rate_per_s", f64::from(numbers.rate));
    report.figure("p50_ms", p50);
    report.figure("p99_ms", p99);
    report.figure("max_ms", ours(|ours| ours.round.max));
    report.figure("with_commit_p50_ms", ours(|ours| ours.round.sent_p50));
    report.figure("with_commit_p99_ms", ours(|ours| ours.round.sent_p99));
    report.figure("floor_p50_ms", floor(|round| round.p50));
    report.figure("floor_p99_ms", floor(|round| round.p99));
    report.figure("cpu_us_per_change", ours(|ours| ours.cpu_us));
    report.figure("kafka_client_cpu_us_per_change", ours(|ours| ours.client_us));
    report.figure("rss_mb", all.iter().map(|ours| ours.resident_mb).fold(0.0, f64::max));
    let peer = |figure: fn(&Live) -> f64| median(peers.iter().map(figure).collect());
    // Without a peer they are no numbers, and left out.
    report.figure("peer_p50_ms", peer(|peer| peer.round.p50));
    report.figure("peer_p99_ms", peer(|peer| peer.round.p99));
    report.figure("peer_cpu_us", peer(|peer| peer.cpu_us));
    report.figure("peer_rss_mb", peer(|peer| peer.resident_mb));
    report.check("p50_ms", p50 <= 5.0, &format!("{p50:.1} ms; at most 5"));
    report.check("p99_ms", p99 <= 25.0, &format!("{p99:.1} ms; at most 25"));
    report
}

/// What Kafka alone takes, behind the same commits.
async fn direct(stage: &Stage, topic: &str, numbers: &mut Numbers) -> anyhow::Result<Round> {
    stage.create_topic(topic).await?;
    let client = Direct::new(stage, topic)?;
    let sightings = Sightings::of(stage.brokers(), topic, 0)?;
    numbers.commits(stage, WARM_UP_S, Some(&client)).await?;
    let commits = numbers.commits(stage, numbers.seconds, Some(&client)).await?;
    client.flush()?;
    let seen = sightings.wait(commits.len() + numbers.of(WARM_UP_S), LATE_MAX).await?;
    latencies(&commits, &seen)
}

async fn ours(stage: &Stage, name: &str, numbers: &mut Numbers) -> anyhow::Result<Live> {
    let mut connector = stage.connector(name)?;
    connector.start().await?;
    let live = live(stage, &mut connector, &format!("changes.{name}"), numbers).await?;
    connector.stop().await?;
    Ok(live)
}

async fn debezium(stage: &Stage, name: &str, numbers: &mut Numbers) -> anyhow::Result<Live> {
    let topic = peer::topic(name);
    stage.create_topic(&topic).await?;
    peer::hold(stage, name).await?;
    let mut connect = peer::start(stage, name, Work::Live).await?;
    let live = live(stage, &mut connect, &topic, numbers).await?;
    peer::end(connect).await;
    Ok(live)
}

/// What the process makes of commits, once it is warm.
async fn live(stage: &Stage, part: &mut Part, topic: &str, numbers: &mut Numbers) -> anyhow::Result<Live> {
    let pid = part.pid().context("the process is gone")?;
    let sightings = Sightings::of(stage.brokers(), topic, stage.ends(topic)?.now())?;
    numbers.commits(stage, WARM_UP_S, None).await?;
    let used = Usage::of(pid)?;
    let commits = numbers.commits(stage, numbers.seconds, None).await?;
    let (cpu_us, client_us) = Usage::of(pid)?.since(used).micros_per(commits.len() as f64);
    let seen = sightings.wait(commits.len() + numbers.of(WARM_UP_S), LATE_MAX).await?;
    let round = latencies(&commits, &seen)?;
    Ok(Live { round, cpu_us, client_us, resident_mb: resident_max_mb(pid)? })
}

impl Numbers {
    fn of(&self, seconds: u64) -> usize {
        usize::try_from(seconds * u64::from(self.rate)).unwrap_or(usize::MAX)
    }

    async fn commits(&mut self, stage: &Stage, seconds: u64, direct: Option<&Direct>) -> anyhow::Result<Vec<Commit>> {
        let count = seconds * u64::from(self.rate);
        let first = self.next;
        self.next += count;
        commit(stage, (first, count, self.rate), direct).await
    }
}

fn latencies(commits: &[Commit], seen: &HashMap<u64, Instant>) -> anyhow::Result<Round> {
    let (mut since_done, mut since_sent) = (Vec::new(), Vec::new());
    for commit in commits {
        let at = *seen.get(&commit.number).context("a row that was counted was not seen")?;
        // The server tells its replicas and its client at once: either may hear first.
        since_done.push(at.saturating_duration_since(commit.done).as_secs_f64() * 1e3);
        since_sent.push(at.saturating_duration_since(commit.sent).as_secs_f64() * 1e3);
    }
    since_done.sort_by(f64::total_cmp);
    since_sent.sort_by(f64::total_cmp);
    Ok(Round {
        p50: quantile(&since_done, 0.5),
        p99: quantile(&since_done, 0.99),
        max: quantile(&since_done, 1.0),
        sent_p50: quantile(&since_sent, 0.5),
        sent_p99: quantile(&since_sent, 0.99),
    })
}
