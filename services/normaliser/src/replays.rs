//! What operators want to be told again.

use crate::error::NormaliserError;
use boot::restart::in_one_line;
use change_log::{
    KafkaSettings,
    signal::replay::{self, Counted, Only, Replays},
};
use event::Kind;
use fold::{Fold, dry::Dry, walk};
use std::{collections::BTreeMap, sync::Arc};
use store::DiskStore;
use tokio::sync::watch;

/// Rows counted between two batches of the log.
const COUNTED_ROWS: usize = 512;

pub struct Counting {
    asked: watch::Receiver<Arc<Replays>>,
    /// What is being counted, and for whom.
    dry: Option<(String, Dry)>,
    /// What was counted last.
    done: String,
}

fn only(only: &Only) -> walk::Only {
    let named = |kind: &&Kind| only.kinds.iter().any(|name| name == kind.as_str());
    let kinds: Vec<Kind> = Kind::ALL.iter().filter(named).copied().collect();
    if kinds.is_empty() && !only.kinds.is_empty() {
        // Words that are no kinds, written by another version's command.
        return walk::Only::nothing();
    }
    walk::Only::of(&kinds, only.since)
}

impl Counting {
    pub async fn follow(kafka: &KafkaSettings, source: &str) -> Result<Self, NormaliserError> {
        Ok(Self { asked: replay::follow(kafka, source).await?, dry: None, done: String::new() })
    }

    /// Was another replay asked for?
    pub fn is_replayed(&self, number: u32) -> bool {
        self.asked.borrow().number > number
    }

    /// What the replay that was asked for is limited to.
    pub fn only(&self) -> walk::Only {
        only(&self.asked.borrow().only)
    }

    /// Is there something to count?
    pub fn is_due(&mut self) -> bool {
        if self.dry.is_some() {
            return true;
        }
        let asked = self.asked.borrow();
        let wanted = asked.dry.as_ref().filter(|dry| dry.counted.is_none() && dry.id != self.done);
        self.dry = wanted.map(|dry| (dry.id.clone(), Dry::of(only(&dry.only))));
        self.dry.is_some()
    }

    /// A page more; and what came of it, at its end.
    pub async fn count(&mut self, fold: &Fold<DiskStore>, kafka: &KafkaSettings, source: &str) {
        let Some((_, dry)) = &mut self.dry else { return };
        fold.count(dry, COUNTED_ROWS);
        if !dry.is_over() {
            return;
        }
        let Some((id, dry)) = self.dry.take() else { return };
        let counted = counted(&dry);
        tracing::info!(source, rows = counted.rows, "has counted what a replay would tell");
        if let Err(error) = replay::counted(kafka, source, &id, &counted).await {
            tracing::warn!(source, error = in_one_line(&error), "could not say what a replay would tell");
        }
        self.done = id;
    }
}

fn counted(dry: &Dry) -> Counted {
    let mut events: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for ((kind, action), count) in &dry.events {
        events.entry(kind.as_str().to_owned()).or_default().insert(action.as_str().to_owned(), *count);
    }
    Counted { rows: dry.rows, events }
}
