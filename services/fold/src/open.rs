//! What is in quarantine and not resolved.
//!
//! # Why
//! A record waits for its patient, and then the patient comes: the item is over, and whoever counts it has to hear so. So
//! an item has a name, of what it is about and what is wrong with it, which stays the same however often the log is folded.
//! It is told when it opens, and when it closes, and not between.

use super::store::{Key, RecordId};
use event::Quarantined;
use std::collections::BTreeMap;

/// What an item is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    Record(RecordId),
    /// A row, by its table and key.
    Row(usize, Key),
    Table(usize),
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

/// By what it is about, and its name.
#[derive(Default)]
pub struct Open(BTreeMap<About, BTreeMap<String, Quarantined>>);

impl Open {
    /// `now`: everything that is wrong with it, each with its name. Gives out what has to be told: what opens, what is
    /// another patient's now, and what closes.
    pub fn settle(&mut self, about: About, now: Vec<Quarantined>) -> Vec<Quarantined> {
        let before = self.0.remove(&about).unwrap_or_default();
        if now.is_empty() && before.is_empty() {
            return Vec::new();
        }
        let mut told = Vec::new();
        let mut stands = BTreeMap::new();
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
        let gone = before.into_iter().filter(|(name, _)| !stands.contains_key(name));
        told.extend(gone.map(|(_, item)| closed(item)));
        if !stands.is_empty() {
            self.0.insert(about, stands);
        }
        told
    }

    /// Without the rows themselves.
    pub fn items(&self) -> impl Iterator<Item = &Quarantined> {
        self.0.values().flat_map(BTreeMap::values)
    }
}

/// The record that closes an item: it repeats where and why, and holds no values.
pub fn closed(item: Quarantined) -> Quarantined {
    Quarantined { original: None, key: None, closed: true, ..item }
}
