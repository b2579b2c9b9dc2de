//! The tables that the stream has described: each as the server sent it, and those in use ready to encode their rows.
//!
//! # Why
//! The server describes a table once on a connection, and again only when it changes. So a description is kept as long as
//! there is room, in the server's own bytes, which are small; only what is made of it can be forgotten and made again. A
//! partition that is captured by its root is described, too, and never made ready.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::relation::Relation;
use std::collections::HashMap;

/// Tables that are ready at a time.
const READY_MAX: usize = 4_096;
/// Bytes of descriptions: some hundred thousand tables. Beyond it all are forgotten, and the next change of a forgotten one
/// ends the connection; on the next, the server describes each again from there on.
const DESCRIBED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What an entry costs beside the description.
const ENTRY_BYTES: usize = 64;

/// By the server's relation id.
#[derive(Debug)]
pub(crate) struct Relations<R = Relation> {
    /// None: a table that is not wanted.
    known: HashMap<u32, Option<Known<R>>>,
    ready: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Known<R> {
    description: Box<[u8]>,
    ready: Option<Box<R>>,
}

/// What is known of the table that a row names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a, R = Relation> {
    /// Not described, or not made ready.
    Unknown,
    Unwanted,
    Ready(&'a mut R),
}

impl<R> Default for Relations<R> {
    fn default() -> Self {
        Self { known: HashMap::new(), ready: 0, bytes: 0 }
    }
}

impl<R> Relations<R> {
    pub(crate) fn get(&self, oid: u32) -> Option<&R> {
        self.known.get(&oid)?.as_ref()?.ready.as_deref()
    }

    #[inline]
    pub(crate) fn find(&mut self, oid: u32) -> Found<'_, R> {
        match self.known.get_mut(&oid) {
            None => Found::Unknown,
            Some(None) => Found::Unwanted,
            Some(Some(known)) => known.ready.as_deref_mut().map_or(Found::Unknown, Found::Ready),
        }
    }

    /// The description of a table that is wanted and not ready.
    #[inline]
    pub(crate) fn waiting(&self, oid: u32) -> Option<&[u8]> {
        let known = self.known.get(&oid)?.as_ref()?;
        if known.ready.is_some() { None } else { Some(&known.description) }
    }

    /// The table is not wanted.
    pub(crate) fn leave_out(&mut self, oid: u32) {
        self.note(oid, None);
    }

    /// Keeps what the server says. What was ready before stays until it is replaced.
    pub(crate) fn describe(&mut self, oid: u32, description: &[u8]) {
        self.note(oid, Some(description.into()));
    }

    fn note(&mut self, oid: u32, description: Option<Box<[u8]>>) {
        let ready = match self.known.remove(&oid) {
            None => None,
            Some(None) => {
                self.bytes -= ENTRY_BYTES;
                None
            }
            Some(Some(known)) => {
                self.bytes -= ENTRY_BYTES + known.description.len();
                known.ready
            }
        };
        self.ready -= usize::from(ready.is_some());
        let bytes = ENTRY_BYTES + description.as_ref().map_or(0, |description| description.len());
        if self.bytes + bytes > DESCRIBED_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes += bytes;
        let known = description.map(|description| Known { description, ready });
        self.ready += usize::from(known.as_ref().is_some_and(|known| known.ready.is_some()));
        self.known.insert(oid, known);
    }

    /// Makes a described table ready. `last_used` says when another one was; of one that must stay, nothing.
    pub(crate) fn make_ready(&mut self, oid: u32, relation: R, last_used: impl Fn(u32, &R) -> Option<u64>) {
        if self.ready >= READY_MAX {
            self.make_room(last_used);
        }
        if let Some(Some(known)) = self.known.get_mut(&oid)
            && known.ready.replace(Box::new(relation)).is_none()
        {
            self.ready += 1;
        }
    }

    /// Forgets the half that was not used for longest.
    fn make_room(&mut self, last_used: impl Fn(u32, &R) -> Option<u64>) {
        let used = |(oid, known): (&u32, &Option<Known<R>>)| last_used(*oid, known.as_ref()?.ready.as_deref()?);
        let mut times: Vec<u64> = self.known.iter().filter_map(used).collect();
        if times.is_empty() {
            return;
        }
        let middle = times.len() / 2;
        let limit = *times.select_nth_unstable(middle).1;
        // Many can be of one time, such as tables that one transaction changes: no more than half of all go.
        let mut surplus = middle.max(1);
        for (oid, known) in &mut self.known {
            let Some(known) = known else { continue };
            let old = known.ready.as_deref().and_then(|ready| last_used(*oid, ready)).is_some_and(|time| time <= limit);
            if old && surplus > 0 {
                known.ready = None;
                self.ready -= 1;
                surplus -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &[u8] = b"what the server says of a table";

    #[test]
    fn each_of_many_tables_can_be_made_ready_again_and_few_are_at_a_time() {
        let mut relations = Relations::<u64>::default();
        let tables = 100_000;
        for oid in 0..tables {
            relations.describe(oid, DESCRIPTION);
        }
        // Three rounds over all of them: none is ever lost.
        let mut now = 0;
        for oid in (0..3).flat_map(|_| 0..tables) {
            now += 1;
            if relations.waiting(oid).is_some_and(|description| description == DESCRIPTION) {
                relations.make_ready(oid, now, |oid, time| (oid != 7).then_some(*time));
            }
            assert!(matches!(relations.find(oid), Found::Ready(_)), "table {oid}");
            assert!(relations.ready <= READY_MAX);
            assert_eq!(relations.get(7).is_some(), now > 7, "one that must stay");
        }
        assert_eq!(relations.ready, relations.known.values().flatten().filter(|known| known.ready.is_some()).count());
    }

    #[test]
    fn what_was_used_of_late_stays() {
        let mut relations = Relations::<u64>::default();
        for oid in 0..=READY_MAX as u32 {
            relations.describe(oid, DESCRIPTION);
            relations.make_ready(oid, u64::from(oid), |_, time| Some(*time));
        }
        assert!(relations.get(0).is_none() && relations.get(READY_MAX as u32 - 1).is_some());
        assert!(relations.get(READY_MAX as u32).is_some());
    }

    #[test]
    fn descriptions_replace_each_other_and_all_go_when_there_is_no_room() {
        let mut relations = Relations::<u64>::default();
        let large = vec![0; DESCRIBED_BYTES_MAX / 4];
        for _ in 0..100 {
            relations.describe(1, &large);
        }
        relations.make_ready(1, 5, |_, _| None);
        relations.describe(1, &large);
        assert_eq!(relations.get(1), Some(&5), "until it is replaced");
        relations.leave_out(2);
        assert_eq!(relations.find(2), Found::Unwanted);
        assert_eq!(relations.find(3), Found::Unknown);
        for oid in 4..8 {
            relations.describe(oid, &large);
        }
        assert_eq!(relations.find(1), Found::Unknown, "there was no room left");
        assert!(relations.waiting(7).is_some() && relations.bytes <= DESCRIBED_BYTES_MAX);
    }
}
