//! Which of a store's notes there are: most of what is asked for is not there, and is not looked for.

use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_64;

/// Digests of names. What it does not have is not there; what it has is there, but for one in billions.
#[derive(Default)]
pub struct Noted(HashSet<u64>);

impl Noted {
    pub fn maybe(&self, name: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&xxh3_64(name.as_bytes()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, name: &str) {
        self.0.insert(xxh3_64(name.as_bytes()));
    }

    /// Of two names with one digest the other is lost too: so rare that a restart may mend it.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(&xxh3_64(name.as_bytes()));
    }
}
