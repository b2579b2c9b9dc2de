//! Records that were not told, or not whole, and how they came: notes in the store, by the records' names.

use super::{
    Touch, name,
    noted::Noted,
    reading::{Reading, WAIT_MAX},
    store::{RecordId, Said, Store, read, write},
};
use event::Micros;
use mapping::{Mapping, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Names of these notes begin so.
const PREFIX: &str = "wait:";
/// Notes read at a time.
const PAGE: usize = 4_096;

/// A record that was not told, or not whole.
#[derive(Serialize, Deserialize)]
struct Wait {
    /// What is known of how it came.
    touch: Touch,
    until: Option<Micros>,
    overdue: bool,
}

#[derive(Default)]
pub struct Waiting {
    noted: Noted,
    until: BTreeSet<(Micros, String)>,
}

fn note(record: &str) -> String {
    format!("{PREFIX}{record}")
}

impl Waiting {
    /// As the store has noted it.
    pub fn resume(store: &impl Store) -> Self {
        let mut waiting = Self::default();
        let mut after = None;
        loop {
            let page = store.notes(PREFIX, after.as_deref(), PAGE);
            for (note, wait) in &page {
                let Some(record) = note.strip_prefix(PREFIX) else { continue };
                waiting.noted.add(record);
                let until = read::<Wait>(wait).and_then(|wait| wait.until);
                waiting.until.extend(until.map(|until| (until, record.to_owned())));
            }
            match page.into_iter().next_back() {
                Some((note, _)) => after = Some(note),
                None => return waiting,
            }
        }
    }

    fn known(&self, store: &impl Store, record: &str) -> Option<Wait> {
        if !self.noted.maybe(record) {
            return None;
        }
        read(&store.note(&note(record))?)
    }

    fn set(&mut self, store: &mut impl Store, record: &str, wait: Option<&Wait>) {
        match wait {
            Some(_) => self.noted.add(record),
            None => self.noted.remove(record),
        }
        store.keep_note(&note(record), wait.map(write));
    }

    pub fn has(&self, store: &impl Store, record: &str) -> bool {
        self.known(store, record).is_some()
    }

    /// Does a streamed record wait for a table?
    pub fn is_urgent(&self) -> bool {
        !self.until.is_empty()
    }

    /// Records that wait, in the order of their names, and the place to go on from.
    pub fn page(mapping: &Mapping, store: &impl Store, after: Option<&str>) -> (Vec<RecordId>, Option<String>) {
        let page = store.notes(PREFIX, after, PAGE);
        let last = page.last().map(|(note, _)| note.clone());
        let ids = page.iter().filter_map(|(note, _)| name::record(mapping, note.strip_prefix(PREFIX)?));
        (ids.collect(), last)
    }

    /// Those that have waited long enough.
    pub fn overdue(&mut self, mapping: &Mapping, store: &mut impl Store, now: Micros) -> Vec<RecordId> {
        let mut overdue = Vec::new();
        while let Some((until, _)) = self.until.first()
            && *until <= now
            && let Some((until, record)) = self.until.pop_first()
        {
            if let Some(mut wait) = self.known(store, &record).filter(|wait| wait.until == Some(until)) {
                (wait.until, wait.overdue) = (None, true);
                self.set(store, &record, Some(&wait));
                overdue.extend(name::record(mapping, &record));
            }
        }
        overdue
    }

    /// How the record came, if a row beside it lets it be told now: its own row was there before. What was streamed stays
    /// streamed although a snapshot reads it, too.
    pub fn came(&self, store: &impl Store, record: &str, touch: Touch, said: Option<&Said>) -> Touch {
        let Some(wait) = self.known(store, record) else { return touch };
        let Touch { position, offset, own, walked, committed_at, .. } = touch;
        if own && (!touch.snapshot || wait.touch.snapshot) {
            return touch;
        }
        // What is in quarantine may have waited for long: it is known from now on.
        let committed_at = if said == Some(&Said::Waiting) { committed_at } else { wait.touch.committed_at };
        Touch { position, offset, own, walked, committed_at, ..wait.touch }
    }

    /// Does a record that was never told wait? `lacks`: a join finds nothing in a table that is being read.
    pub fn waits(
        &self,
        store: &impl Store,
        name: &str,
        touch: &Touch,
        record: &Record,
        reading: &Reading,
        lacks: bool,
    ) -> bool {
        if touch.snapshot {
            return reading.reads_any(record);
        }
        lacks && !self.known(store, name).is_some_and(|wait| wait.overdue)
    }

    pub fn wait(&mut self, store: &mut impl Store, record: &str, touch: Touch, now: Micros) {
        let known = self.known(store, record);
        let mut until = known.and_then(|wait| wait.until);
        if !touch.snapshot && until.is_none() {
            until = Some(now.saturating_add(WAIT_MAX));
        }
        self.set(store, record, Some(&Wait { touch, until, overdue: false }));
        self.until.extend(until.map(|until| (until, record.to_owned())));
    }

    /// In quarantine, or told with what it lacks: how it came is remembered.
    pub fn keep(&mut self, store: &mut impl Store, record: &str, touch: &Touch) {
        let wait = Wait { touch: touch.clone(), until: None, overdue: true };
        self.set(store, record, Some(&wait));
    }

    pub fn forget(&mut self, store: &mut impl Store, record: &str) {
        if let Some(wait) = self.known(store, record) {
            if let Some(until) = wait.until {
                self.until.remove(&(until, record.to_owned()));
            }
            self.set(store, record, None);
        }
    }
}
