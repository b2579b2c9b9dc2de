//! Names by their words: every word has to be there, the last may be the beginning of one.
//!
//! # Why
//! Names are numbered in the order in which they are shown: in use before not, short before long. So the rarest word's
//! list is walked from its front, each name looked up in the lists of the others, and the first that match are the
//! answer; nothing is scored, and nothing sorted.

use crate::{
    lists::List,
    release::{Name, Release},
    words,
};
use std::{cmp::Reverse, collections::BinaryHeap};

pub const FOUND_MAX: usize = 200;
pub const QUERY_WORDS_MAX: usize = 16;
/// Names of the rarest word that are looked at.
pub const LOOKED_AT_MAX: usize = 5_000;
/// A beginning stands for so many words at most.
pub const EXPANDED_MAX: usize = 256;

/// What was found.
#[derive(Debug)]
pub struct Found<'a> {
    pub names: Vec<Name<'a>>,
    /// Not all was looked at: another word makes it narrower.
    pub more: bool,
}

/// One word of the query, and the names that it is in.
struct Wanted<'a> {
    word: String,
    beginning: bool,
    lists: Vec<List<'a>>,
    size: usize,
}

impl Release {
    pub fn search(&self, query: &str, limit: usize) -> Found<'_> {
        let (mut asked, mut scratch) = (Vec::new(), String::new());
        words::each(query, &mut scratch, |word| asked.push(word.to_owned()));
        let open = query.ends_with(|c: char| c.is_alphanumeric());
        let mut more = asked.len() > QUERY_WORDS_MAX;
        asked.truncate(QUERY_WORDS_MAX);
        let last = asked.len().saturating_sub(1);
        let mut wanted: Vec<Wanted<'_>> = Vec::with_capacity(asked.len());
        for (nth, word) in asked.into_iter().enumerate() {
            let (one, cut) = self.wanted(word, open && nth == last);
            more |= cut;
            wanted.push(one);
        }
        wanted.sort_by_key(|it| it.size);
        let limit = limit.min(FOUND_MAX);
        let mut names: Vec<Name<'_>> = Vec::new();
        let Some((rarest, others)) = wanted.split_first() else { return Found { names, more } };
        for (looked_at, ordinal) in rarest.in_order().enumerate() {
            if names.len() >= limit || looked_at >= LOOKED_AT_MAX {
                more = true;
                break;
            }
            if !others.iter().filter(|it| !it.beginning).all(|it| it.lists.iter().any(|list| list.contains(ordinal))) {
                continue;
            }
            let Some(name) = self.name(ordinal) else { continue };
            // A beginning has many lists: the name's own words tell sooner.
            let mut begun = others.iter().filter(|it| it.beginning);
            // One name of a concept is enough: the first is the shortest.
            if begun.all(|it| it.begins_a_word_of(name.term, &mut scratch))
                && names.iter().all(|it| it.concept != name.concept)
            {
                names.push(name);
            }
        }
        Found { names, more }
    }

    fn wanted(&self, word: String, beginning: bool) -> (Wanted<'_>, bool) {
        let all = self.words();
        let range = all.beginning_with(word.as_bytes());
        let cut = beginning && range.len() > EXPANDED_MAX;
        let exact = range.clone().next().filter(|nth| all.get(*nth) == word.as_bytes());
        let numbers = if beginning { range.start..range.end.min(range.start + EXPANDED_MAX) } else { 0..0 };
        let lists: Vec<List<'_>> = numbers.chain(exact.filter(|_| !beginning)).map(|nth| self.postings(nth)).collect();
        let size = lists.iter().map(|list| list.len()).sum();
        (Wanted { word, beginning, lists, size }, cut)
    }
}

impl Wanted<'_> {
    /// The names of all its lists, as they are numbered, each once.
    fn in_order(&self) -> impl Iterator<Item = u32> {
        let mut lists: Vec<_> = self.lists.iter().map(|list| list.iter()).collect();
        let mut next: BinaryHeap<Reverse<(u32, usize)>> = BinaryHeap::with_capacity(lists.len());
        for (nth, list) in lists.iter_mut().enumerate() {
            next.extend(list.next().map(|ordinal| Reverse((ordinal, nth))));
        }
        let mut before = None;
        std::iter::from_fn(move || {
            loop {
                let Reverse((ordinal, nth)) = next.pop()?;
                next.extend(lists[nth].next().map(|later| Reverse((later, nth))));
                if before != Some(ordinal) {
                    before = Some(ordinal);
                    return before;
                }
            }
        })
    }

    fn begins_a_word_of(&self, term: &str, scratch: &mut String) -> bool {
        let mut found = false;
        words::each(term, scratch, |word| found |= word.starts_with(&self.word));
        found
    }
}
