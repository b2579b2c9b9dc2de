//! Another mapping goes on from what is kept, although the log that told it has aged: what differs is told once, what is no
//! more is taken back once, however the walk is ended. A replay of what is the same tells nothing.

use super::{
    Normaliser, PATIENCE,
    aged::{AGED, wait},
    events,
    lost::shown,
};
use anyhow::{Context, ensure};
use boot::health::Health;
use change_log::{
    KafkaSettings, Registry,
    signal::{
        lives,
        replay::{self, Only},
    },
};
use event::PatientEvent;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The walk is ended when it has told so much, and then again.
const ENDED_AFTER: [usize; 2] = [40, 300];

pub async fn mapping_goes_on(kafka: &KafkaSettings, registry: &Registry, folder: &Path) -> anyhow::Result<PathBuf> {
    let of_source = |events: &[PatientEvent]| events.iter().filter(|event| event.patient.source == AGED).count();
    let all = events(kafka)?;
    let (before, told_before, aged_before) = (shown(&all, AGED), all.len(), of_source(&all));
    let text = std::fs::read_to_string(folder.join("raised.toml"))?;
    let (was, is) = ("name = \"result\"\ntable = \"lims.result\"", "name = \"line\"\ntable = \"lims.result\"");
    ensure!(text.matches(was).count() == 1, "the mapping has another form");
    // It does not say that it means something else.
    let renamed = folder.join("renamed.toml");
    std::fs::write(&renamed, text.replace(was, is))?;
    let want: BTreeSet<String> = before.iter().map(|record| record.replace("result/", "line/")).collect();
    let differ = want.difference(&before).count();
    ensure!(differ > 300, "{differ} results were shown");

    let (normaliser, health) = (Normaliser::new(kafka, registry), Health::new());
    for after in ENDED_AFTER {
        let running = normaliser.start_seen(&renamed, Health::new());
        wait("some of it is told", || Ok(events(kafka)?.len() >= told_before + after)).await?;
        running.abort();
        let _ = running.await;
    }
    let part = format!("normaliser-{AGED}");
    let says =
        |what: &str| health.parts().get(&part).is_some_and(|why| why.as_deref().unwrap_or("ready").contains(what));
    let running = normaliser.start_seen(&renamed, health.clone());
    if let Err(error) = wait("all of it is told", || Ok(shown(&events(kafka)?, AGED) == want)).await {
        let now = shown(&events(kafka)?, AGED);
        let (missing, more) = (want.difference(&now).collect::<Vec<_>>(), now.difference(&want).collect::<Vec<_>>());
        anyhow::bail!("{error}: {:?}; missing {missing:?}; too many {more:?}", health.parts());
    }
    wait("it is ready", || Ok(says("ready"))).await?;
    let all = events(kafka)?;
    let ids: BTreeSet<String> = all.iter().map(PatientEvent::id).collect();
    ensure!(ids.len() == all.len(), "{} told twice", all.len() - ids.len());
    let told = of_source(&all) - aged_before;
    ensure!(told == 2 * differ, "{told} events of {differ} results that have another name");

    // Nothing differs by now.
    replay::ask_dry(kafka, AGED, "dry", &Only::default()).await?;
    let deadline = Instant::now() + PATIENCE;
    let counted = loop {
        let dry = replay::read(kafka, AGED).await?.dry.context("asked")?;
        if let Some(counted) = dry.counted {
            break counted;
        }
        ensure!(Instant::now() < deadline, "nobody counts");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    ensure!(counted.rows > 300 && counted.events.is_empty(), "{counted:?}");
    let generation = lives::read(kafka, AGED).await?.generation.context("a generation")?.number;
    replay::ask(kafka, AGED, &Only::default()).await?;
    let deadline = Instant::now() + PATIENCE;
    while lives::read(kafka, AGED).await?.generation.is_none_or(|now| now.number == generation) {
        ensure!(Instant::now() < deadline, "no generation was fixed for the replay");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    wait("it is ready again", || Ok(says("ready"))).await?;
    ensure!(events(kafka)?.len() == all.len(), "a replay of what is the same told something");
    running.abort();
    let _ = running.await;
    Ok(renamed)
}
