//! Which parts of the process are ready, how each stands, and why.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// The states of all parts. Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, PartState>>>,
}

/// How a part stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// On its way, for the first time or again: it tries by itself.
    #[default]
    Starting,
    Running,
    /// It stands still until an operator has mended something; it looks again now and then.
    WaitingForOperator,
    /// Ended, and does not begin again by itself.
    Stopped,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Starting, Self::Running, Self::WaitingForOperator, Self::Stopped];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::WaitingForOperator => "waiting-for-operator",
            Self::Stopped => "stopped",
        }
    }
}

/// What is shown of one work of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub state: State,
    /// Since when it is in this state, RFC 3339.
    pub since: String,
    /// In words without patient data.
    pub why: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct PartState {
    ready: bool,
    state: State,
    since: Option<SystemTime>,
    /// Why it is not ready, or does nothing, in words without patient data.
    why: Option<String>,
    /// Why it is not ready whatever it says itself: told by who watches over it.
    held: Option<String>,
    /// Of a source's part: the source, and what the part does for it.
    of: Option<(String, &'static str)>,
}

impl PartState {
    const fn ready(&self) -> bool {
        self.ready && self.held.is_none()
    }

    fn why(&self) -> Option<String> {
        self.held.as_ref().or(self.why.as_ref()).cloned()
    }

    fn standing(&self) -> Standing {
        let since = self.since.and_then(|at| jiff::Timestamp::try_from(at).ok());
        let since = since.map(|at| format!("{at:.0}")).unwrap_or_default();
        Standing { state: self.state, since, why: self.why() }
    }

    /// As metrics: 1 for the state that it is in, and since when.
    fn show(&self) {
        let Some((source, work)) = &self.of else { return };
        for state in State::ALL {
            let labels =
                [("source", source.clone()), ("work", (*work).to_owned()), ("state", state.as_str().to_owned())];
            metrics::gauge!("causeway_source_state", &labels).set(f64::from(u8::from(state == self.state)));
        }
        let since = self.since.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default().as_secs_f64();
        let labels = [("source", source.clone()), ("work", (*work).to_owned())];
        metrics::gauge!("causeway_source_state_since_timestamp_seconds", &labels).set(since);
    }
}

/// One part's handle on its own state.
#[derive(Clone, Debug)]
pub struct Part {
    health: Health,
    name: String,
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// A part, not ready until it says so.
    pub fn part(&self, name: &str) -> Part {
        self.begin(name.to_owned(), None)
    }

    /// What the process does for one source: the part `<work>-<source>`, not ready until it says so.
    pub fn part_of(&self, source: &str, work: &'static str) -> Part {
        self.begin(format!("{work}-{source}"), Some((source.to_owned(), work)))
    }

    fn begin(&self, name: String, of: Option<(String, &'static str)>) -> Part {
        self.lock().insert(name.clone(), PartState { of, ..PartState::default() });
        let part = Part { health: self.clone(), name };
        part.not_ready("starting");
        part
    }

    /// Every part with its reason for not being ready, or for doing nothing, if any.
    pub fn parts(&self) -> BTreeMap<String, Option<String>> {
        self.lock().iter().map(|(name, state)| (name.clone(), state.why())).collect()
    }

    /// How each work of each source stands.
    pub fn sources(&self) -> BTreeMap<String, BTreeMap<&'static str, Standing>> {
        let mut sources: BTreeMap<String, BTreeMap<&'static str, Standing>> = BTreeMap::new();
        for state in self.lock().values() {
            if let Some((source, work)) = &state.of {
                sources.entry(source.clone()).or_default().insert(work, state.standing());
            }
        }
        sources
    }

    pub fn ready(&self) -> bool {
        let parts = self.lock();
        !parts.is_empty() && parts.values().all(PartState::ready)
    }

    fn set(&self, name: &str, ready: bool, now: State, why: Option<String>) {
        let mut parts = self.lock();
        let part = parts.entry(name.to_owned()).or_default();
        (part.ready, part.why) = (ready, why);
        if part.state != now || part.since.is_none() {
            (part.state, part.since) = (now, Some(SystemTime::now()));
            part.show();
        }
    }

    fn set_held(&self, name: &str, held: Option<String>) {
        self.lock().entry(name.to_owned()).or_default().held = held;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PartState>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn state(&self) -> State {
        self.health.lock().get(&self.name).map(|part| part.state).unwrap_or_default()
    }

    pub fn ready(&self) {
        self.health.set(&self.name, true, State::Running, None);
    }

    /// Well, and doing nothing: an operator wants it so.
    pub fn ready_but(&self, why: impl Into<String>) {
        self.health.set(&self.name, true, State::Running, Some(why.into()));
    }

    /// On its way: it tries by itself.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.health.set(&self.name, false, State::Starting, Some(why.into()));
    }

    /// It stands still: what is wrong does not go away by waiting.
    pub fn needs_operator(&self, why: impl Into<String>) {
        self.health.set(&self.name, false, State::WaitingForOperator, Some(why.into()));
    }

    /// Ended, as it was wanted: that does not make the process unready.
    pub fn stopped(&self, why: impl Into<String>) {
        self.release();
        self.health.set(&self.name, true, State::Stopped, Some(why.into()));
    }

    /// Not ready until it is released, whatever the part says of itself meanwhile.
    pub fn hold(&self, why: impl Into<String>) {
        self.health.set_held(&self.name, Some(why.into()));
    }

    pub fn release(&self) {
        self.health.set_held(&self.name, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_part_is() {
        let health = Health::new();
        assert!(!health.ready(), "nothing has started yet");
        let (one, two) = (health.part("one"), health.part("two"));
        one.ready();
        assert!(!health.ready());
        two.ready();
        assert!(health.ready());
        one.not_ready("Kafka is away");
        assert_eq!(health.parts()["one"].as_deref(), Some("Kafka is away"));
        assert!(!health.ready());
        one.hold("Kafka does not answer");
        one.ready();
        assert!(!health.ready(), "what holds it is not the part's own");
        assert_eq!(health.parts()["one"].as_deref(), Some("Kafka does not answer"));
        one.release();
        assert!(health.ready());
        one.ready_but("paused");
        assert!(health.ready());
        assert_eq!(health.parts()["one"].as_deref(), Some("paused"));
    }

    #[test]
    fn a_source_tells_how_each_work_stands_and_since_when() {
        let health = Health::new();
        let (connector, normaliser) = (health.part_of("gp", "connector"), health.part_of("gp", "normaliser"));
        health.part("gateway").ready();
        normaliser.ready();
        let told = |work: &str| health.sources()["gp"][work].clone();
        assert_eq!((told("connector").state, told("normaliser").state), (State::Starting, State::Running));
        assert_eq!(health.sources().len(), 1, "the gateway is no source's");
        connector.needs_operator("the slot is gone");
        let first = told("connector");
        assert_eq!((first.state, first.why.as_deref()), (State::WaitingForOperator, Some("the slot is gone")));
        assert!(first.since.ends_with('Z') && !health.ready());
        assert!(health.parts().contains_key("connector-gp"), "it is a part like others");
        connector.needs_operator("another server");
        assert_eq!(told("connector").since, first.since, "it stands still since then");
        connector.stopped("taken out of the settings");
        assert_eq!(told("connector").state, State::Stopped);
        assert!(health.ready(), "what was ended on purpose is not missing");
        health.part_of("gp", "connector");
        assert_eq!((told("connector").state, health.ready()), (State::Starting, false), "it begins again");
    }
}
