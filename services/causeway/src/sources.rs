//! The sources that this process works for: what is done for each is supervised, and ends alone.

use crate::{
    folder::{Folder, LOOK_EVERY},
    settings::{SourceSettings, source::Bad},
};
use boot::{
    Stop,
    health::{Health, Part},
    organisations::Organisations,
    settings::Mistakes,
    shown::Shown,
    supervisor::supervise,
};
use change_log::{KafkaSettings, Registry};
use connector_postgres::ConnectorError;
use serde_json::{Value, json};
use sink_topics::TopicsError;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;

/// How long what is done for a source may take to end, before it is cut off.
const END_MAX: Duration = Duration::from_secs(60);
/// The part of a source that writes Debezium's topics.
const TOPICS: &str = "topics";

/// What can be done for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Its database is captured into its log, and from there into Debezium's topics where it has them.
    Capture,
    /// Its log is told as patient events.
    Normalise,
}

impl Work {
    /// As its part of a source is called.
    const fn name(self) -> &'static str {
        match self {
            Self::Capture => "connector",
            Self::Normalise => normaliser::run::WORK,
        }
    }
}

/// What is shown of the sources.
#[derive(Clone, Debug, Default)]
pub struct Statuses {
    connectors: BTreeMap<String, Arc<connector_postgres::Status>>,
    topics: BTreeMap<String, Arc<sink_topics::Status>>,
    /// What is wrong with the folder of sources and its files.
    problems: BTreeMap<String, String>,
}

impl Statuses {
    pub fn told(&self, health: &Health) -> Value {
        json!({
            "sources": views(&self.connectors, connector_postgres::Status::view),
            "topics": views(&self.topics, sink_topics::Status::view),
            "states": health.sources(),
            "problems": self.problems,
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
    pub organisations: Organisations,
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
    settings: SourceSettings,
    stop: Stop,
    tasks: JoinSet<()>,
}

/// What has to be done so that these sources are worked for: those that are over, and those that begin. One that was
/// changed is both.
fn difference(running: &[&SourceSettings], wanted: &[SourceSettings]) -> (Vec<String>, Vec<SourceSettings>) {
    let over = running.iter().filter(|source| !wanted.contains(source)).map(|source| source.name.clone());
    let begin = wanted.iter().filter(|source| !running.contains(source)).cloned();
    (over.collect(), begin.collect())
}

impl Sources {
    pub fn new(world: World, shown: Arc<Shown<Statuses>>) -> Self {
        Self { world, shown, running: BTreeMap::new() }
    }

    /// Works for the sources of the settings until the stop signal, and ends when all of it has ended. `own`: those of the
    /// settings file; the folder's come and go.
    pub async fn run(mut self, own: Vec<SourceSettings>, bad: Vec<Bad>, folder: Option<Folder>) {
        for Bad { name, mistakes } in bad {
            self.refuse(&name, &mistakes);
        }
        match folder {
            Some(folder) => self.follow(own, folder).await,
            None => {
                self.work_for(own).await;
                self.world.stop.cancelled().await;
            }
        }
        for running in self.running.values_mut() {
            // What panics is caught where it is supervised.
            while running.tasks.join_next().await.is_some() {}
        }
    }

    /// Looks at the folder until the stop signal. What it said at the start is among the settings' sources already.
    async fn follow(&mut self, own: Vec<SourceSettings>, mut folder: Folder) {
        let (part, stop) = (self.world.health.part("sources-folder"), self.world.stop.clone());
        let mut news = Some(folder.all());
        loop {
            if let Some(added) = news {
                self.work_for(own.iter().cloned().chain(added).collect()).await;
            }
            self.tell(&part, folder.problems());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looking = tokio::task::spawn_blocking(move || (folder.look(), folder));
            // It ends early only with the process.
            let Ok((seen, looked)) = looking.await else { return };
            (news, folder) = (seen, looked);
        }
    }

    /// Says what is wrong with the folder: in the log once, in the status as long as it is so. Nothing stops for it.
    fn tell(&self, part: &Part, problems: &BTreeMap<String, String>) {
        let known = self.shown.view_of(|shown| shown.problems.clone());
        for (file, what) in problems.iter().filter(|(file, what)| known.get(*file) != Some(*what)) {
            tracing::error!(file, what, "a file of the folder of sources is not taken up");
        }
        for file in known.keys().filter(|file| !problems.contains_key(*file)) {
            tracing::info!(file, "the file is well");
        }
        self.shown.update(|shown| shown.problems.clone_from(problems));
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("causeway_sources_folder_problems").set(problems.len() as f64);
        let told: Vec<String> = problems.iter().map(|(file, what)| format!("{file}: {what}")).collect();
        if told.is_empty() { part.ready() } else { part.ready_but(told.join("; ")) }
    }

    /// A source whose settings have mistakes is not worked for, and says why.
    fn refuse(&self, name: &str, mistakes: &Mistakes) {
        let why = mistakes.to_string();
        tracing::error!(source = name, why, "this source is not worked for; the others are");
        for work in self.world.works.iter().map(|work| work.name()) {
            self.world.health.part_of(name, work).needs_operator(why.clone());
        }
    }

    async fn work_for(&mut self, wanted: Vec<SourceSettings>) {
        let running: Vec<&SourceSettings> = self.running.values().map(|running| &running.settings).collect();
        let (over, begin) = difference(&running, &wanted);
        for name in over {
            let goes_on = begin.iter().any(|source| source.name == name);
            self.end(&name, goes_on).await;
        }
        for source in begin {
            self.world.organisations.note(&source.name, &source.organisation);
            self.start(source);
        }
    }

    /// Ends what is done for a source. Its slot stays: only its owner gives it up.
    async fn end(&mut self, name: &str, goes_on: bool) {
        let Some(mut running) = self.running.remove(name) else { return };
        running.stop.cancel();
        let ended = async { while running.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END_MAX, ended).await.is_err() {
            tracing::warn!(source = name, "did not end within {} s: it is cut off", END_MAX.as_secs());
            running.tasks.shutdown().await;
        }
        if goes_on {
            tracing::info!(source = name, "begins anew with other settings");
            return;
        }
        let slot = running.settings.connector().slot();
        let why = format!(
            "taken out of the settings. Slot `{slot}` stays on its server and keeps WAL there: put the source back, or let \
             its administrator drop it with `select pg_drop_replication_slot('{slot}')`"
        );
        tracing::warn!(source = name, why);
        self.shown.update(|shown| {
            shown.connectors.remove(name);
            shown.topics.remove(name);
        });
        let topics = running.settings.topics().map(|_| TOPICS);
        for work in self.world.works.iter().map(|work| work.name()).chain(topics) {
            self.world.health.part_of(name, work).stopped(why.clone());
        }
    }

    fn start(&mut self, settings: SourceSettings) {
        let (stop, mut tasks) = (self.world.stop.child_token(), JoinSet::new());
        if self.world.works.contains(&Work::Capture) {
            self.capture(&settings, &stop, &mut tasks);
            self.topics(&settings, &stop, &mut tasks);
        }
        if self.world.works.contains(&Work::Normalise) {
            let part = self.world.health.part_of(&settings.name, Work::Normalise.name());
            let World { kafka, registry, normaliser, .. } = self.world.clone();
            let source = settings.normaliser();
            tasks.spawn(normaliser::run::run_source(normaliser, source, kafka, registry, part, stop.clone()));
        }
        self.running.insert(settings.name.clone(), Running { settings, stop, tasks });
    }

    fn capture(&self, source: &SourceSettings, stop: &Stop, tasks: &mut JoinSet<()>) {
        let part = self.world.health.part_of(&source.name, Work::Capture.name());
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
        let part = self.world.health.part_of(&source.name, TOPICS);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, tables: &str) -> SourceSettings {
        let text = format!(
            "name = \"{name}\"\norganisation = \"R1V01\"\nmapping = \"emis.toml\"\nurl = \"postgres://u@127.0.0.1/d\"\n\
             tables = [\"{tables}\"]\n"
        );
        toml::from_str(&text).expect("settings")
    }

    #[test]
    fn only_what_differs_is_ended_and_begun() {
        let (one, two) = (source("one", "emis.*"), source("two", "emis.*"));
        let names = |(over, begin): (Vec<String>, Vec<SourceSettings>)| {
            (over, begin.into_iter().map(|source| source.name).collect::<Vec<_>>())
        };
        let told = |running: &[&SourceSettings], wanted: &[SourceSettings]| names(difference(running, wanted));
        assert_eq!(told(&[], std::slice::from_ref(&one)), (vec![], vec!["one".into()]));
        assert_eq!(told(&[&one], &[one.clone(), two.clone()]), (vec![], vec!["two".into()]));
        assert_eq!(told(&[&one, &two], std::slice::from_ref(&two)), (vec!["one".into()], vec![]));
        let other = source("one", "lims.*");
        assert_eq!(told(&[&one, &two], &[other, two.clone()]), (vec!["one".into()], vec!["one".into()]));
    }
}
