//! The sources that this process works for: what is done for each is supervised, and ends alone.

use crate::{
    folder::{Folder, LOOK_EVERY},
    members::{Members, MembersSettings, Placed, place_of},
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
use change_log::{KafkaSettings, Lease, Registry};
use connector_postgres::ConnectorError;
use serde_json::{Value, json};
use sink_topics::TopicsError;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};

/// How long what is done for a source may take to end, before it is cut off.
const END_MAX: Duration = Duration::from_secs(60);
/// And where another member waits for it.
const MOVE_MAX: Duration = Duration::from_secs(20);
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

/// What changes the sources of this process.
pub enum News {
    /// The folder of sources holds these, if that has changed, and these problems.
    Folder(Option<Vec<SourceSettings>>, BTreeMap<String, String>),
    Placed(Placed),
}

/// News that wait.
const NEWS_MAX: usize = 16;

/// The sources at work.
pub struct Sources {
    world: World,
    shown: Arc<Shown<Statuses>>,
    members: Option<Arc<Members>>,
    /// The places that this process has, if it shares its work.
    places: BTreeSet<i32>,
    running: BTreeMap<String, Running>,
}

struct Running {
    settings: SourceSettings,
    stop: Stop,
    tasks: JoinSet<()>,
}

/// Why a source is not worked for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// Its settings have changed.
    Anew,
    TakenOut,
    /// Another member works for it.
    Elsewhere,
}

const ELSEWHERE: &str = "another member of the group works for it";

/// What has to be done so that these sources are worked for: those that are over, and those that begin. One that was
/// changed is both.
fn difference(running: &[&SourceSettings], wanted: &[SourceSettings]) -> (Vec<String>, Vec<SourceSettings>) {
    let over = running.iter().filter(|source| !wanted.contains(source)).map(|source| source.name.clone());
    let begin = wanted.iter().filter(|source| !running.contains(source)).cloned();
    (over.collect(), begin.collect())
}

impl Sources {
    pub fn new(world: World, shown: Arc<Shown<Statuses>>) -> Self {
        Self { world, shown, members: None, places: BTreeSet::new(), running: BTreeMap::new() }
    }

    /// Works for the sources of the settings until the stop signal, and ends when all of it has ended. `own`: those of the
    /// settings file; the folder's come and go.
    pub async fn run(
        mut self,
        own: Vec<SourceSettings>,
        bad: Vec<Bad>,
        folder: Option<Folder>,
        members: Option<MembersSettings>,
    ) {
        for Bad { name, mistakes } in bad {
            self.refuse(&name, &mistakes);
        }
        let (send, mut news) = mpsc::channel(NEWS_MAX);
        let mut wanted = own.clone();
        let part = folder.is_some().then(|| self.world.health.part("sources-folder"));
        if let Some((folder, part)) = folder.zip(part.as_ref()) {
            // What it said at the start is among the settings' sources already.
            wanted.extend(folder.all());
            self.tell(part, folder.problems());
            tokio::spawn(follow(folder, send.clone(), self.world.stop.clone()));
        }
        if let Some(settings) = members {
            let World { kafka, health, stop, .. } = self.world.clone();
            self.members = Some(Arc::new(Members::join(settings, kafka, health.part("members"), stop, send.clone())));
        }
        self.work_for(&wanted).await;
        loop {
            let news = tokio::select! {
                () = self.world.stop.cancelled() => break,
                Some(news) = news.recv() => news,
            };
            match news {
                News::Folder(added, problems) => {
                    if let Some(added) = added {
                        wanted = own.iter().cloned().chain(added).collect();
                        self.work_for(&wanted).await;
                    }
                    part.iter().for_each(|part| self.tell(part, &problems));
                }
                News::Placed(placed) => {
                    self.places.clone_from(&placed.places);
                    self.work_for(&wanted).await;
                }
            }
        }
        // Nobody waits for news any more.
        drop(news);
        for mut running in std::mem::take(&mut self.running).into_values() {
            // What panics is caught where it is supervised.
            while running.tasks.join_next().await.is_some() {}
        }
        if let Some(members) = self.members.and_then(Arc::into_inner) {
            members.leave().await;
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

    async fn work_for(&mut self, wanted: &[SourceSettings]) {
        let is_here =
            |source: &&SourceSettings| self.members.is_none() || self.places.contains(&place_of(&source.name));
        let (here, elsewhere): (Vec<&SourceSettings>, Vec<&SourceSettings>) = wanted.iter().partition(is_here);
        let here: Vec<SourceSettings> = here.into_iter().cloned().collect();
        let running: Vec<&SourceSettings> = self.running.values().map(|running| &running.settings).collect();
        let (over, begin) = difference(&running, &here);
        for running in over.iter().filter_map(|name| self.running.get(name)) {
            running.stop.cancel();
        }
        for name in over {
            let named = |source: &SourceSettings| source.name == name;
            let leaving = if begin.iter().any(named) {
                Leaving::Anew
            } else if elsewhere.iter().any(|source| named(source)) {
                Leaving::Elsewhere
            } else {
                Leaving::TakenOut
            };
            self.end(&name, leaving).await;
        }
        for source in elsewhere {
            self.world.organisations.note(&source.name, &source.organisation);
            self.say_stopped(source, ELSEWHERE);
        }
        for source in begin {
            self.world.organisations.note(&source.name, &source.organisation);
            self.start(source);
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("causeway_sources_here").set(self.running.len() as f64);
    }

    /// Ends what is done for a source. Its slot stays: only its owner gives it up.
    async fn end(&mut self, name: &str, leaving: Leaving) {
        let Some(mut running) = self.running.remove(name) else { return };
        running.stop.cancel();
        let max = if leaving == Leaving::Elsewhere { MOVE_MAX } else { END_MAX };
        let ended = async { while running.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(max, ended).await.is_err() {
            tracing::warn!(source = name, "did not end within {} s: it is cut off", max.as_secs());
            running.tasks.shutdown().await;
        }
        let slot = running.settings.connector().slot();
        let why = match leaving {
            Leaving::Anew => return tracing::info!(source = name, "begins anew with other settings"),
            Leaving::Elsewhere => {
                tracing::info!(source = name, "is given to another member");
                ELSEWHERE.to_owned()
            }
            Leaving::TakenOut => format!(
                "taken out of the settings. Slot `{slot}` stays on its server and keeps WAL there: put the source back, or \
                 let its administrator drop it with `select pg_drop_replication_slot('{slot}')`"
            ),
        };
        if leaving == Leaving::TakenOut {
            tracing::warn!(source = name, why);
        }
        self.shown.update(|shown| {
            shown.connectors.remove(name);
            shown.topics.remove(name);
        });
        self.say_stopped(&running.settings, &why);
    }

    fn say_stopped(&self, source: &SourceSettings, why: &str) {
        let topics = source.topics().map(|_| TOPICS);
        for work in self.world.works.iter().map(|work| work.name()).chain(topics) {
            self.world.health.part_of(&source.name, work).stopped(why);
        }
    }

    fn start(&mut self, settings: SourceSettings) {
        let (stop, mut tasks) = (self.world.stop.child_token(), JoinSet::new());
        let (world, shown, members) = (self.world.clone(), Arc::clone(&self.shown), self.members.clone());
        let (source, stopped) = (settings.clone(), stop.clone());
        tasks.spawn(async move {
            let lease = match members {
                None => None,
                Some(members) => tokio::select! {
                    lease = members.lease(&source.name) => Some(lease),
                    () = stopped.cancelled() => return,
                },
            };
            let mut works = world.works_of(&source, lease, &stopped, &shown);
            while works.join_next().await.is_some() {}
        });
        self.running.insert(settings.name.clone(), Running { settings, stop, tasks });
    }
}

impl World {
    /// All that is done for a source.
    fn works_of(
        &self,
        source: &SourceSettings,
        lease: Option<Lease>,
        stop: &Stop,
        shown: &Shown<Statuses>,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if self.works.contains(&Work::Capture) {
            self.capture(source, lease.clone(), stop, shown, &mut tasks);
            self.topics(source, stop, shown, &mut tasks);
        }
        if self.works.contains(&Work::Normalise) {
            let part = self.health.part_of(&source.name, Work::Normalise.name());
            let Self { kafka, registry, normaliser, .. } = self.clone();
            let source = source.normaliser();
            tasks.spawn(normaliser::run::run_source(normaliser, source, kafka, registry, part, lease, stop.clone()));
        }
        tasks
    }

    fn capture(
        &self,
        source: &SourceSettings,
        lease: Option<Lease>,
        stop: &Stop,
        shown: &Shown<Statuses>,
        tasks: &mut JoinSet<()>,
    ) {
        let part = self.health.part_of(&source.name, Work::Capture.name());
        let status = Arc::<connector_postgres::Status>::default();
        shown.update(|shown| drop(shown.connectors.insert(source.name.clone(), Arc::clone(&status))));
        let Self { kafka, registry, .. } = self.clone();
        let (settings, stop) = (connector_postgres::Settings { lease, ..source.connector() }, stop.clone());
        tasks.spawn(async move {
            let attempt = || {
                let (status, part, stop) = (Arc::clone(&status), part.clone(), stop.clone());
                connector_postgres::run(settings.clone(), kafka.clone(), registry.clone(), status, part, stop)
            };
            supervise(&part, &stop, ConnectorError::worth_retrying, attempt).await;
        });
    }

    /// Debezium's topics, of a source that has them.
    fn topics(&self, source: &SourceSettings, stop: &Stop, shown: &Shown<Statuses>, tasks: &mut JoinSet<()>) {
        let Some(settings) = source.topics() else { return };
        let part = self.health.part_of(&source.name, TOPICS);
        let status = Arc::<sink_topics::Status>::default();
        shown.update(|shown| drop(shown.topics.insert(source.name.clone(), Arc::clone(&status))));
        let Self { kafka, registry, .. } = self.clone();
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

/// Looks at the folder until the stop signal.
async fn follow(mut folder: Folder, news: mpsc::Sender<News>, stop: Stop) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let looking = tokio::task::spawn_blocking(move || (folder.look(), folder));
        // It ends early only with the process.
        let Ok((seen, looked)) = looking.await else { return };
        folder = looked;
        if news.send(News::Folder(seen, folder.problems().clone())).await.is_err() {
            return;
        }
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
