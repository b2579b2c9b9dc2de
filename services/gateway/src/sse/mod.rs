//! Live alerts: `patient.alerts` from Kafka into a ring, and from the ring to each reader's stream.

pub mod consume;
pub mod disclose;
pub mod ring;
pub mod stream;

use crate::app::now;
use ring::{Entry, Missed, Resume, Ring};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Semaphore, watch};

/// Readers connected to one gateway.
pub const CLIENTS_MAX: usize = 2_000;

/// The ring and those who wait for it to grow. Clones share it.
#[derive(Clone)]
pub struct Live {
    ring: Arc<RwLock<Option<Ring>>>,
    grown: Arc<watch::Sender<i64>>,
    clients: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            ring: Arc::default(),
            grown: Arc::new(watch::channel(-1).0),
            clients: Arc::new(Semaphore::new(CLIENTS_MAX)),
        }
    }
}

impl Live {
    /// Goes on with this ring, which holds the whole window.
    pub fn begin(&self, ring: Ring) {
        let head = ring.head();
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Some(ring);
        self.grown.send_replace(head);
    }

    pub fn push(&self, entry: Entry) {
        let offset = entry.offset;
        if let Some(ring) = self.ring.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            ring.push(entry, now());
        }
        self.grown.send_replace(offset);
    }

    /// The newest offset; `None` while Kafka has not been reached.
    pub fn head(&self) -> Option<i64> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(Ring::head)
    }

    pub fn resume(&self, after: Option<i64>) -> Option<Resume> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|ring| ring.resume(after))
    }

    fn had_before(&self, change: &Entry, teams: &[String]) -> bool {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.as_ref().is_some_and(|ring| ring.had_before(change, teams))
    }

    /// The next changes after this offset, at most so many.
    fn next(&self, after: i64, max: usize) -> Result<Vec<Entry>, Missed> {
        match self.ring.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(ring) => Ok(ring.next(after)?.take(max).cloned().collect()),
            None => Ok(Vec::new()),
        }
    }
}
