//! The lives of a source's log: its epochs, and the generations of what is told of it.
//!
//! # Why
//! An epoch or a generation that comes again makes sinks deaf: they ignore what is not beyond what they hold. So
//! neither is derived from what a log that may be lost says. Each is more than the last one *and* than the seconds since
//! 1970, so that a topic that was lost with everything else still goes forward, and it is fixed here before first use.
//!
//! They stand under a key of their own: whoever writes what an operator wants, an older version too, leaves them alone.

use super::{
    SignalError,
    register::{self, Entry},
};
use crate::KafkaSettings;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// What was fixed of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lives {
    /// The last epoch that was fixed. 0: none was, or not here.
    pub epoch: u32,
    pub generation: Option<Generation>,
}

/// One life of the log under one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Generation {
    /// 0: what is told since before generations were.
    pub number: u32,
    /// Of the mapping.
    pub revision: u32,
    /// The epoch of the log's first record; none while it was empty.
    pub log: Option<u32>,
    /// Where the log ended when this was fixed: what stands before is told in its last state.
    pub upto: i64,
    /// The source had another log before: what a snapshot shows now need not be new.
    pub log_before: bool,
    /// Of what the mapping says, whatever revision it calls itself. 0: nobody looked.
    pub digest: u64,
    /// The replay that an operator asked for.
    pub replay: u32,
    /// That replay is all that is new about it: it may be limited.
    pub replayed: bool,
}

/// What a generation means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    pub revision: u32,
    pub digest: u64,
    pub replay: u32,
}

/// What a source's log is like now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogNow {
    /// The epoch of its first record; none while it is empty.
    pub begins: Option<u32>,
    pub low: i64,
    pub high: i64,
}

impl Entry for Lives {
    const HEARD: bool = false;

    fn bounded(&self) -> bool {
        true
    }
}

/// The next epoch or generation: more than the last one, and than any that was fixed where nobody remembers it.
pub fn next(last: u32, now: SystemTime) -> u32 {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    last.saturating_add(1).max(u32::try_from(seconds).unwrap_or(u32::MAX))
}

impl Generation {
    const fn means(&self, meaning: Meaning) -> bool {
        let Meaning { revision, digest, .. } = meaning;
        self.revision == revision && (self.digest == 0 || self.digest == digest)
    }

    /// Whether it goes on with this log under this meaning; with what it did not know of the log yet.
    fn goes_on(self, meaning: Meaning, log: LogNow) -> Option<Self> {
        let goes_on = self.is_of(log) && self.means(meaning) && self.replay == meaning.replay;
        goes_on.then(|| Self { log: self.log.or(log.begins), digest: meaning.digest, ..self })
    }

    /// A log that has aged does not show where it began.
    fn is_of(&self, log: LogNow) -> bool {
        log.low > 0 || self.log.is_none() || self.log == log.begins
    }

    /// The one that follows.
    fn after(before: Option<Self>, meaning: Meaning, log: LogNow, now: SystemTime) -> Self {
        let another =
            |known: &Self| known.log_before || (known.log.is_some() && known.log != log.begins && log.low == 0);
        let Meaning { revision, digest, replay } = meaning;
        Self {
            number: next(before.map_or(0, |known| known.number), now),
            revision,
            log: log.begins,
            upto: log.high,
            log_before: before.as_ref().is_some_and(another),
            digest,
            replay,
            replayed: before.is_some_and(|known| known.is_of(log) && known.means(meaning)),
        }
    }
}

/// What is fixed of the source now.
pub async fn read(kafka: &KafkaSettings, source: &str) -> Result<Lives, SignalError> {
    register::read(kafka, &key(source)).await
}

/// Fixes the source's next epoch, beyond the one that its log is in.
pub async fn next_epoch(kafka: &KafkaSettings, source: &str, beyond: u32) -> Result<u32, SignalError> {
    let fix = |lives: &mut Lives| {
        lives.epoch = next(lives.epoch.max(beyond), SystemTime::now());
        Ok(())
    };
    register::change(kafka, &key(source), fix).await.map(|lives| lives.epoch)
}

/// The source's generation: the one that was fixed, if it has this meaning and is of this log; else the next, fixed now.
///
/// `told`: before generations were, this revision told of this source: it goes on in generation 0. `lost`: whatever the
/// log says, it is not the one that was told of.
pub async fn generation(
    kafka: &KafkaSettings,
    source: &str,
    meaning: Meaning,
    log: LogNow,
    told: bool,
    lost: bool,
) -> Result<Generation, SignalError> {
    let fix = |lives: &mut Lives| {
        lives.generation = Some(decided(lives.generation, meaning, log, (told, lost), SystemTime::now()));
        Ok(())
    };
    let lives = register::change(kafka, &key(source), fix).await?;
    Ok(lives.generation.unwrap_or_default())
}

fn decided(
    known: Option<Generation>,
    meaning: Meaning,
    log: LogNow,
    (told, lost): (bool, bool),
    now: SystemTime,
) -> Generation {
    if known.is_none() && told && !lost {
        let Meaning { revision, digest, replay } = meaning;
        return Generation { revision, digest, replay, log: log.begins, ..Generation::default() };
    }
    let on = known.filter(|_| !lost).and_then(|known| known.goes_on(meaning, log));
    let next = || {
        let next = Generation::after(known, meaning, log, now);
        Generation { log_before: next.log_before || lost, replayed: next.replayed && !lost, ..next }
    };
    on.unwrap_or_else(next)
}

/// No source's name has a slash.
fn key(source: &str) -> String {
    format!("lives/{source}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: u32 = 1_764_000_000;

    fn at(seconds: u32) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds.into())
    }

    fn means(revision: u32) -> Meaning {
        Meaning { revision, ..Meaning::default() }
    }

    fn log(begins: Option<u32>, high: i64) -> LogNow {
        LogNow { begins, low: 0, high }
    }

    #[test]
    fn the_next_is_beyond_the_last_and_beyond_what_nobody_remembers() {
        assert_eq!(next(0, at(NOW)), NOW, "a log that was lost with its memory is beyond any that was");
        assert_eq!(next(NOW + 5, at(NOW)), NOW + 6, "a clock that went back");
        assert_eq!(next(3, UNIX_EPOCH - Duration::from_secs(1)), 4);
        assert_eq!(next(u32::MAX, at(NOW)), u32::MAX);
    }

    #[test]
    fn what_was_told_before_generations_goes_on_in_generation_0() {
        let zero = decided(None, means(1), log(Some(1), 90), (true, false), at(NOW));
        assert_eq!(zero, Generation { revision: 1, log: Some(1), ..Generation::default() });
        let again = decided(Some(zero), means(1), log(Some(1), 95), (true, false), at(NOW + 9));
        assert_eq!(again, zero);
        let new = decided(None, means(1), log(Some(1), 90), (false, false), at(NOW));
        assert_eq!((new.number, new.upto, new.log_before), (NOW, 90, false));
    }

    #[test]
    fn whatever_is_meant_otherwise_is_a_generation() {
        let said = |digest, replay| Meaning { revision: 1, digest, replay };
        let decide = |known, meaning| decided(known, meaning, log(Some(7), 10), (false, false), at(NOW));
        let first = decide(None, said(0, 0));
        let known = decide(Some(first), said(5, 0));
        assert_eq!(known, Generation { digest: 5, ..first }, "from before anybody looked");
        let mended = decide(Some(known), said(6, 0));
        assert_eq!((mended.number, mended.replayed), (NOW + 1, false), "a mapping that does not say so");
        let again = decide(Some(mended), said(6, 1));
        assert_eq!((again.number, again.replayed), (NOW + 2, true));
        assert_eq!(decide(Some(again), said(6, 1)), again);
        let both = decide(Some(again), said(7, 2));
        assert!(!both.replayed, "all of it is looked at");
        let lost = decided(Some(again), said(6, 2), log(Some(7), 10), (false, true), at(NOW));
        assert!(!lost.replayed);
    }

    #[test]
    fn each_revision_and_each_log_is_a_generation() {
        let mut known = None;
        let mut told = Vec::new();
        // A, B, and A again, within one second.
        for revision in [1, 2, 1, 1] {
            let next = decided(known, means(revision), log(Some(7), 10), (false, false), at(NOW));
            told.push(next.number);
            known = Some(next);
        }
        assert_eq!(told, [NOW, NOW + 1, NOW + 2, NOW + 2]);
        let anew = decided(known, means(1), log(Some(8), 3), (false, false), at(NOW));
        assert_eq!((anew.number, anew.log, anew.upto, anew.log_before), (NOW + 3, Some(8), 3, true));
        let empty = decided(Some(anew), means(1), log(None, 0), (false, false), at(NOW));
        assert_eq!((empty.number, empty.log), (NOW + 4, None), "lost, and not begun anew yet");
        let begun = decided(Some(empty), means(1), log(Some(9), 40), (false, false), at(NOW));
        assert_eq!(begun, Generation { log: Some(9), ..empty }, "it covers the log that began after it");
        let shorter = decided(Some(begun), means(1), log(Some(9), 2), (false, true), at(NOW));
        assert_eq!((shorter.number, shorter.log_before), (NOW + 5, true), "less than was told of it");
        let aged = LogNow { begins: Some(12), low: 5, high: 50 };
        assert_eq!(decided(Some(begun), means(1), aged, (false, false), at(NOW)), begun, "its beginning has aged away");
    }
}
