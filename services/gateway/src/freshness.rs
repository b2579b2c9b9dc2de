//! Up to when the record holds what each source committed.
//!
//! # Why
//! Traffic says nothing of freshness: a quiet practice has none at night, and a stopped connector has none either. The
//! connector says every few seconds that its log holds everything, the normaliser says on `source.progress` up to when it
//! has told it, and the record is that fresh once the sinks have written what was on their topics by then. All of it comes
//! from Kafka, so whatever stands still (connector, normaliser, sinks, Kafka) shows as a source that is behind.

mod follow;

pub use follow::run;

use event::Micros;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

/// Sources that are told of by name in one banner.
pub const NAMED_MAX: usize = 5;

/// How far one source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// ODS code of the organisation that runs it.
    pub organisation: Option<String>,
    /// Everything that it committed by then is in the record. `None`: nobody has said so yet.
    pub at: Option<Micros>,
}

/// A source whose newest changes may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    pub source: String,
    pub organisation: Option<String>,
    pub since: Option<Micros>,
}

/// What is known of all sources. Clones share it.
#[derive(Clone, Default)]
pub struct Sources(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    /// When this gateway began to look: until it has had time to hear, silence says nothing.
    began: Micros,
    standing: BTreeMap<String, Standing>,
}

impl Sources {
    pub fn begin(&self, now: Micros) {
        self.write(|known| known.began = now);
    }

    /// Sources that have rows in the record, whether anybody has told how fresh they are or not.
    pub fn expect(&self, sources: BTreeSet<String>) {
        self.write(|known| {
            for source in sources {
                known.standing.entry(source).or_insert(Standing { organisation: None, at: None });
            }
        });
    }

    /// The record holds all that these say.
    pub fn confirm(&self, told: &BTreeMap<String, Standing>) {
        self.write(|known| {
            for (source, standing) in told {
                known.standing.insert(source.clone(), standing.clone());
            }
        });
    }

    pub fn of(&self, source: &str) -> Option<Standing> {
        self.read(|known| known.standing.get(source).cloned())
    }

    /// How old the newest of each source is that is certainly here.
    pub fn ages(&self, now: Micros) -> Vec<(String, Micros)> {
        let age = |known: &Known, standing: &Standing| now - standing.at.unwrap_or(known.began);
        self.read(|known| known.standing.iter().map(|(source, of)| (source.clone(), age(known, of))).collect())
    }

    /// The sources that are more than `max` behind, those of whom least is known first.
    pub fn behind(&self, now: Micros, max: Micros) -> Vec<Behind> {
        self.read(|known| {
            let late = |standing: &Standing| now - standing.at.unwrap_or(known.began) > max;
            let mut behind: Vec<Behind> = known
                .standing
                .iter()
                .filter(|(_, standing)| late(standing))
                .map(|(source, standing)| Behind {
                    source: source.clone(),
                    organisation: standing.organisation.clone(),
                    since: standing.at,
                })
                .collect();
            behind.sort_by_key(|behind| behind.since);
            behind
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, write: impl FnOnce(&mut Known)) {
        write(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The words of the banner: which sources, and since when.
pub fn words(behind: &[Behind], name: impl Fn(&Behind) -> String, when: impl Fn(Micros) -> String) -> Option<String> {
    if behind.is_empty() {
        return None;
    }
    let mut told: Vec<String> = behind
        .iter()
        .take(NAMED_MAX)
        .map(|one| match one.since {
            Some(at) => format!("{} (nothing after {})", name(one), when(at)),
            None => format!("{} (not known since when)", name(one)),
        })
        .collect();
    if behind.len() > NAMED_MAX {
        told.push(format!("{} more", behind.len() - NAMED_MAX));
    }
    Some(told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const MAX: Micros = 120 * SECOND;

    fn told(at: Micros) -> BTreeMap<String, Standing> {
        [("stmarys".to_owned(), Standing { organisation: Some("RSM01".into()), at: Some(at) })].into()
    }

    #[track_caller]
    fn check(sources: &Sources, now: Micros, want: &[(&str, Option<Micros>)]) {
        let behind = sources.behind(now, MAX);
        let behind: Vec<(&str, Option<Micros>)> = behind.iter().map(|b| (b.source.as_str(), b.since)).collect();
        assert_eq!(behind, want);
    }

    #[test]
    fn quiet_is_not_behind_and_silent_is() {
        let sources = Sources::default();
        sources.begin(0);
        sources.confirm(&told(0));
        check(&sources, MAX, &[]);
        check(&sources, MAX + 1, &[("stmarys", Some(0))]);
        assert_eq!(sources.ages(MAX), [("stmarys".to_owned(), MAX)]);
        // Nothing was committed, but somebody has looked.
        sources.confirm(&told(MAX));
        check(&sources, 2 * MAX, &[]);
    }

    #[test]
    fn a_source_of_which_nobody_tells_is_behind_once_somebody_could_have() {
        let sources = Sources::default();
        sources.begin(10);
        sources.expect(["riverside".to_owned(), "stmarys".to_owned()].into());
        check(&sources, MAX, &[]);
        sources.confirm(&told(MAX));
        check(&sources, MAX + 11, &[("riverside", None)]);
        // What is expected again does not forget what was told.
        sources.expect(["stmarys".to_owned()].into());
        assert_eq!(sources.of("stmarys").and_then(|standing| standing.at), Some(MAX));
    }

    #[test]
    fn the_banner_names_sources_and_when() {
        let one = |source: &str, since| Behind { source: source.into(), organisation: None, since };
        let words = |behind: &[Behind]| words(behind, |one| one.source.to_uppercase(), |at| format!("t{at}"));
        assert_eq!(words(&[]), None);
        let two = [one("a", None), one("b", Some(7))];
        assert_eq!(words(&two).as_deref(), Some("A (not known since when), B (nothing after t7)"));
        let many: Vec<Behind> = (0..7).map(|n| one(&n.to_string(), Some(n))).collect();
        assert!(words(&many).is_some_and(|told| told.ends_with("4 (nothing after t4), 2 more")));
    }
}
