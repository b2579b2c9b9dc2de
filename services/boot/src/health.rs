//! Which parts of the process are ready, and why the others are not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The states of all parts. Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, PartState>>>,
}

#[derive(Clone, Debug, Default)]
struct PartState {
    ready: bool,
    /// Why it is not ready, or does nothing, in words without patient data.
    why: Option<String>,
    /// Why it is not ready whatever it says itself: told by who watches over it.
    held: Option<String>,
}

impl PartState {
    const fn ready(&self) -> bool {
        self.ready && self.held.is_none()
    }

    fn why(&self) -> Option<String> {
        self.held.as_ref().or(self.why.as_ref()).cloned()
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
        let part = Part { health: self.clone(), name: name.to_owned() };
        part.not_ready("starting");
        part
    }

    /// Every part with its reason for not being ready, or for doing nothing, if any.
    pub fn parts(&self) -> BTreeMap<String, Option<String>> {
        self.lock().iter().map(|(name, state)| (name.clone(), state.why())).collect()
    }

    pub fn ready(&self) -> bool {
        let parts = self.lock();
        !parts.is_empty() && parts.values().all(PartState::ready)
    }

    fn set(&self, name: &str, ready: bool, why: Option<String>) {
        let mut parts = self.lock();
        let state = parts.entry(name.to_owned()).or_default();
        (state.ready, state.why) = (ready, why);
    }

    fn set_held(&self, name: &str, held: Option<String>) {
        self.lock().entry(name.to_owned()).or_default().held = held;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PartState>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    pub fn ready(&self) {
        self.health.set(&self.name, true, None);
    }

    /// Well, and doing nothing: an operator wants it so.
    pub fn ready_but(&self, why: impl Into<String>) {
        self.health.set(&self.name, true, Some(why.into()));
    }

    pub fn not_ready(&self, why: impl Into<String>) {
        self.health.set(&self.name, false, Some(why.into()));
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
}
