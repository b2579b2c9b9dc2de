//! What is in quarantine and not resolved.
//!
//! # Why
//! A record waits for its patient, and then the patient comes: the item is over, and whoever counts it has to hear so. So
//! an item has a name, of what it is about and what is wrong with it, which stays the same however often the log is folded.
//! It is told when it opens, and when it closes, and not between.

use super::{
    noted::Noted,
    store::{Store, read, write},
};
use event::Quarantined;
use std::collections::BTreeMap;

/// Names of these notes begin so.
const PREFIX: &str = "open:";
/// Notes read at a time.
const PAGE: usize = 1_024;

/// What an item is about.
pub enum About<'a> {
    /// By its name.
    Record(&'a str),
    /// A row, by its table and key.
    Row(&'a str, &'a str),
    Table(&'a str),
}

const RECORD: &str = "open:record:";

impl About<'_> {
    fn note(&self) -> String {
        match self {
            Self::Record(name) => format!("{RECORD}{name}"),
            Self::Row(table, key) => format!("{PREFIX}row:{table}:{key}"),
            Self::Table(table) => format!("{PREFIX}table:{table}"),
        }
    }
}

/// A longer name ends in a digest: it stands in a header of the record too.
const NAME_BYTES_MAX: usize = 512;

/// The name of an item: of what, and what is wrong with it.
pub fn name(source: &str, of: &str, reason: &str, detail: &str) -> String {
    let whole = format!("{source}:{of}:{reason}:{detail}");
    if whole.len() <= NAME_BYTES_MAX {
        return whole;
    }
    format!("{source}:{:032x}:{reason}", xxhash_rust::xxh3::xxh3_128(whole.as_bytes()))
}

/// By what they are about: the items and their names.
#[derive(Default)]
pub struct Open(Noted);

type Items = BTreeMap<String, Quarantined>;

impl Open {
    /// As the store has noted it.
    pub fn resume(store: &impl Store) -> Self {
        let mut open = Self::default();
        pages(store, |note, _| open.0.add(note));
        open
    }

    /// `now`: everything that is wrong with it, each with its name. Gives out what has to be told: what opens, what is
    /// another patient's now, and what closes.
    pub fn settle(&mut self, store: &mut impl Store, about: &About<'_>, now: Vec<Quarantined>) -> Vec<Quarantined> {
        if now.is_empty() && self.0.is_empty() {
            return Vec::new();
        }
        let note = about.note();
        let known = self.0.maybe(&note);
        if now.is_empty() && !known {
            return Vec::new();
        }
        let before = if known { store.note(&note) } else { None };
        let before: Items = before.and_then(|before| read(&before)).unwrap_or_default();
        let mut told = Vec::new();
        let mut stands = Items::new();
        for item in now {
            let Some(name) = item.item.clone() else { continue };
            match before.get(&name) {
                Some(known) if known.patient == item.patient => drop(stands.insert(name, known.clone())),
                _ if stands.contains_key(&name) => {}
                _ => {
                    stands.insert(name, Quarantined { original: None, key: None, ..item.clone() });
                    told.push(item);
                }
            }
        }
        if stands.is_empty() {
            self.0.remove(&note);
            store.keep_note(&note, None);
        } else if stands != before {
            self.0.add(&note);
            store.keep_note(&note, Some(write(&stands)));
        }
        told.extend(before.into_iter().filter(|(name, _)| !stands.contains_key(name)).map(|(_, item)| closed(item)));
        told
    }

    /// Closes what is about rows and tables of which this mapping knows nothing.
    pub fn unmapped(&mut self, store: &mut impl Store, is_mapped: impl Fn(&str) -> bool) -> Vec<Quarantined> {
        let mut over = Vec::new();
        pages(store, |note, items| {
            let items = read::<Items>(items).unwrap_or_default();
            let mapped = items.values().all(|item| item.table.as_deref().is_none_or(&is_mapped));
            if !note.starts_with(RECORD) && !mapped {
                over.push((note.to_owned(), items));
            }
        });
        let mut told = Vec::new();
        for (note, items) in over {
            self.0.remove(&note);
            store.keep_note(&note, None);
            told.extend(items.into_values().map(closed));
        }
        told
    }

    /// Without the rows themselves.
    pub fn items(store: &impl Store) -> Vec<Quarantined> {
        let mut items = Vec::new();
        pages(store, |_, note| items.extend(read::<Items>(note).unwrap_or_default().into_values()));
        items
    }
}

fn pages(store: &impl Store, mut take: impl FnMut(&str, &[u8])) {
    let mut after = None;
    loop {
        let page = store.notes(PREFIX, after.as_deref(), PAGE);
        for (note, items) in &page {
            take(note, items);
        }
        match page.into_iter().next_back() {
            Some((note, _)) => after = Some(note),
            None => return,
        }
    }
}

/// The record that closes an item: it repeats where and why, and holds no values.
pub fn closed(item: Quarantined) -> Quarantined {
    Quarantined { original: None, key: None, closed: true, ..item }
}
