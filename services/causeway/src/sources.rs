//! The sources that this process works for: what is done for each is supervised, and ends alone.

use crate::settings::SourceSettings;
use boot::{Stop, health::Health, shown::Shown, supervisor::supervise};
use change_log::{KafkaSettings, Registry};
use connector_postgres::ConnectorError;
use serde_json::{Value, json};
use sink_topics::TopicsError;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::task::JoinSet;

/// What can be done for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Its database is captured into its log, and from there into Debezium's topics where it has them.
    Capture,
    /// Its log is told as patient events.
    Normalise,
}

/// What is shown of the sources.
#[derive(Clone, Debug, Default)]
pub struct Statuses {
    connectors: BTreeMap<String, Arc<connector_postgres::Status>>,
    topics: BTreeMap<String, Arc<sink_topics::Status>>,
}

impl Statuses {
    pub fn told(&self, health: &Health) -> Value {
        json!({
            "sources": views(&self.connectors, connector_postgres::Status::view),
            "topics": views(&self.topics, sink_topics::Status::view),
            "states": health.sources(),
        })
    }
}

fn views<S, V: serde::Serialize>(statuses: &BTreeMap<String, Arc<S>>, view: impl Fn(&S) -> V) -> Value {
    let told = |status: &S| serde_json::to_value(view(status)).unwrap_or_default();
    statuses.iter().map(|(name, status)| (name.clone(), told(status))).collect::<serde_json::Map<_, _>>().into()
}

/// What every source's work needs.
#[derive(Clone)]
pub struct World {
    pub kafka: KafkaSettings,
    pub registry: Registry,
    pub normaliser: normaliser::Settings,
    pub health: Health,
    pub stop: Stop,
    pub works: BTreeSet<Work>,
}

/// The sources at work.
pub struct Sources {
    world: World,
    shown: Arc<Shown<Statuses>>,
    running: BTreeMap<String, Running>,
}

struct Running {
    tasks: JoinSet<()>,
}

impl Sources {
    pub fn new(world: World, shown: Arc<Shown<Statuses>>) -> Self {
        Self { world, shown, running: BTreeMap::new() }
    }

    /// Works for these sources until the stop signal, and ends when all of it has ended.
    pub async fn run(mut self, sources: Vec<SourceSettings>) {
        for source in sources {
            self.start(source);
        }
        self.world.stop.cancelled().await;
        for running in self.running.values_mut() {
            // What panics is caught where it is supervised.
            while running.tasks.join_next().await.is_some() {}
        }
    }

    fn start(&mut self, source: SourceSettings) {
        let mut running = Running { tasks: JoinSet::new() };
        let stop = self.world.stop.child_token();
        if self.world.works.contains(&Work::Capture) {
            self.capture(&source, &stop, &mut running.tasks);
            self.topics(&source, &stop, &mut running.tasks);
        }
        if self.world.works.contains(&Work::Normalise) {
            let part = self.world.health.part_of(&source.name, normaliser::run::WORK);
            let World { kafka, registry, normaliser, .. } = self.world.clone();
            running.tasks.spawn(normaliser::run::run_source(
                normaliser,
                source.normaliser(),
                kafka,
                registry,
                part,
                stop,
            ));
        }
        self.running.insert(source.name, running);
    }

    fn capture(&self, source: &SourceSettings, stop: &Stop, tasks: &mut JoinSet<()>) {
        let part = self.world.health.part_of(&source.name, "connector");
        let status = Arc::<connector_postgres::Status>::default();
        self.shown.update(|shown| drop(shown.connectors.insert(source.name.clone(), Arc::clone(&status))));
        let World { kafka, registry, .. } = self.world.clone();
        let (settings, stop) = (source.connector(), stop.clone());
        tasks.spawn(async move {
            let attempt = || {
                let (status, part, stop) = (Arc::clone(&status), part.clone(), stop.clone());
                connector_postgres::run(settings.clone(), kafka.clone(), registry.clone(), status, part, stop)
            };
            supervise(&part, &stop, ConnectorError::worth_retrying, attempt).await;
        });
    }

    /// Debezium's topics, of a source that has them.
    fn topics(&self, source: &SourceSettings, stop: &Stop, tasks: &mut JoinSet<()>) {
        let Some(settings) = source.topics() else { return };
        let part = self.world.health.part_of(&source.name, "topics");
        let status = Arc::<sink_topics::Status>::default();
        self.shown.update(|shown| drop(shown.topics.insert(source.name.clone(), Arc::clone(&status))));
        let World { kafka, registry, .. } = self.world.clone();
        let stop = stop.clone();
        tasks.spawn(async move {
            let attempt = || {
                let (status, part, stop) = (Arc::clone(&status), part.clone(), stop.clone());
                sink_topics::run(settings.clone(), kafka.clone(), registry.clone(), status, part, stop)
            };
            supervise(&part, &stop, |_: &TopicsError| true, attempt).await;
        });
    }
}
