//! What networks do: to the link with the database, with Kafka, and with the registry.

use super::{Scale, load::Load, yard::Yard};
use crate::report::Report;
use anyhow::Context;
use stack::{
    Proxy,
    proxy::{Direction, Flow, Link},
};
use std::time::Duration;

const ROWS: u64 = 200;
const CALM: Duration = Duration::from_millis(600);
/// Long enough for requests to be under way when their answers are lost.
const MOMENT: Duration = Duration::from_millis(700);
const LATENCY: Duration = Duration::from_millis(40);
/// Longer than producers wait for others, and many answers at once are under way.
const LATE: Duration = Duration::from_secs(2);

/// One fault: how the link behaves, how long, and whether its connections are cut afterwards. Without a cut the
/// connector itself has to notice.
struct Fault {
    name: &'static str,
    link: Link,
    lasts: Duration,
    cut: bool,
}

fn faults(scale: &Scale) -> Vec<Fault> {
    let up = |flow| Link { up: Direction { flow, ..Direction::default() }, ..Link::default() };
    let fault = |name, link, lasts, cut| Fault { name, link, lasts, cut };
    vec![
        fault("latency", Link::slow(LATENCY), scale.silent, false),
        fault("cut", Link { refusing: true, ..Link::default() }, MOMENT, true),
        fault("late answers", Link::late(LATE), scale.silent, false),
        fault("lost answers", Link::deaf(Flow::Lost), MOMENT, true),
        fault("one way, answers held", Link::deaf(Flow::Held), scale.silent, false),
        fault("one way, requests held", up(Flow::Held), scale.silent, false),
        fault("half-open", Link::flowing(Flow::Lost), MOMENT, false),
    ]
}

pub async fn run(yard: &mut Yard, scale: &Scale, seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let names: Vec<&str> = faults(scale).iter().map(|fault| fault.name).collect();
    for (name, pick) in
        [("database", (|yard| &yard.database_link) as fn(&Yard) -> &Proxy), ("Kafka", |yard| &yard.kafka_link)]
    {
        let mut source = yard.source(ROWS).await?;
        let connector = source.ready_connector().await?;
        let load = Load::start(&yard.database.config(&source.name)?, seed);
        for fault in faults(scale) {
            tokio::time::sleep(CALM).await;
            let link = pick(yard);
            link.set(fault.link);
            if fault.cut && fault.link.refusing {
                link.cut();
            }
            tokio::time::sleep(fault.lasts).await;
            link.heal();
            if fault.cut {
                link.cut();
            }
        }
        let committed = load.stop().await;
        let verdict =
            yard.judge(source, connector).await.with_context(|| format!("after faults of the link to {name}"))?;
        let detail = format!("{}; {committed} transactions: {}", names.join(", "), verdict.text());
        report.check(&format!("link_to_{}", name.to_lowercase()), verdict.ok() && verdict.sessions > 0, &detail);
    }
    registry(yard, seed, report).await
}

/// A table changes its shape while the registry cannot be reached, and again while its answers are lost.
async fn registry(yard: &mut Yard, seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut source = yard.source(ROWS).await?;
    let connector = source.ready_connector().await?;
    let load = Load::start(&yard.database.config(&source.name)?, seed);
    for (number, link) in [Link { refusing: true, ..Link::default() }, Link::deaf(Flow::Lost)].into_iter().enumerate() {
        tokio::time::sleep(CALM).await;
        yard.registry_link.set(link);
        yard.registry_link.cut();
        let sql =
            format!("alter table yard.pair add column extra_{number} text; update yard.pair set extra_{number} = 'x'");
        yard.database.execute(&source.name, &sql).await?;
        tokio::time::sleep(LATE).await;
        yard.registry_link.heal();
        yard.registry_link.cut();
    }
    load.stop().await;
    let verdict = yard.judge(source, connector).await.context("after faults of the link to the registry")?;
    report.check("link_to_the_registry", verdict.ok(), &format!("refused, lost answers: {}", verdict.text()));
    Ok(())
}
