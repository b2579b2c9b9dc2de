//! The window of alert changes that a stream can resume in. The id of an event is its Kafka offset.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use event::{Micros, alert::AlertChange};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

/// Alert changes kept at most.
pub const ENTRIES_MAX: usize = 100_000;
/// Changes are kept at least so long, unless there are more than `ENTRIES_MAX`.
pub const WINDOW: Micros = 24 * 3_600_000_000;

/// A change of an alert: ids only, no clinical content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: i64,
    /// Of the change: the same id is the same change, told again.
    pub id: i64,
    pub alert: uuid::Uuid,
    pub change: AlertChange,
    /// The teams that received it then.
    pub teams: Arc<[String]>,
    pub at: Micros,
}

/// Invariant: offsets grow, and every change with an offset from `floor` on is here.
pub struct Ring {
    entries: VecDeque<Entry>,
    /// Of the changes that are here.
    ids: HashSet<i64>,
    head: i64,
    floor: i64,
    max: usize,
}

/// Where a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// With what follows this offset.
    After(i64),
    /// The point asked for is outside the window: reload, then go on after this offset.
    Reset(i64),
}

/// The window has moved past the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed;

impl Ring {
    pub fn new(floor: i64) -> Self {
        Self { entries: VecDeque::new(), ids: HashSet::new(), head: floor - 1, floor, max: ENTRIES_MAX }
    }

    /// The newest offset, or the one before the window when it is empty.
    pub const fn head(&self) -> i64 {
        self.head
    }

    /// Takes the next change; one that was told before, or read before, is passed over.
    pub fn push(&mut self, entry: Entry, now: Micros) {
        if entry.offset <= self.head {
            return;
        }
        self.head = entry.offset;
        if self.ids.insert(entry.id) {
            self.entries.push_back(entry);
        }
        while self.entries.len() > self.max || self.entries.front().is_some_and(|entry| entry.at < now - WINDOW) {
            let Some(gone) = self.entries.pop_front() else { break };
            self.ids.remove(&gone.id);
            self.floor = gone.offset + 1;
        }
    }

    /// Where a stream starts that last saw `after`; a new one starts at the head.
    pub fn resume(&self, after: Option<i64>) -> Resume {
        match after {
            None => Resume::After(self.head()),
            // From the future: another Kafka gave this id.
            Some(after) if after > self.head() || after < self.floor - 1 => Resume::Reset(self.head()),
            Some(after) => Resume::After(after),
        }
    }

    /// Whether one of these teams had the alert before this change of it. That yet another team was given it is nothing to
    /// them, and would tell them where else the patient is known.
    pub fn had_before(&self, change: &Entry, teams: &[String]) -> bool {
        let before = self.entries.iter().take_while(|entry| entry.offset < change.offset);
        before
            .into_iter()
            .any(|entry| entry.alert == change.alert && entry.teams.iter().any(|team| teams.contains(team)))
    }

    /// The changes after the offset that are here yet.
    pub fn next(&self, after: i64) -> Result<impl Iterator<Item = &Entry>, Missed> {
        if after < self.floor - 1 {
            return Err(Missed);
        }
        let index = self.entries.partition_point(|entry| entry.offset <= after);
        Ok(self.entries.range(index..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Micros = 10 * WINDOW;

    fn entry(offset: i64, at: Micros) -> Entry {
        Entry { offset, id: offset, alert: uuid::Uuid::nil(), change: AlertChange::Raised, teams: Arc::new([]), at }
    }

    fn ring(floor: i64, offsets: &[i64], max: usize) -> Ring {
        let mut ring = Ring { max, ..Ring::new(floor) };
        for offset in offsets {
            ring.push(entry(*offset, NOW), NOW);
        }
        ring
    }

    /// The first offset that follows.
    fn next(ring: &Ring, after: i64) -> Result<Option<i64>, Missed> {
        Ok(ring.next(after)?.next().map(|entry| entry.offset))
    }

    #[track_caller]
    fn check(ring: &Ring, after: Option<i64>, want: Resume) {
        assert_eq!(ring.resume(after), want, "after {after:?}");
    }

    #[test]
    fn streams_resume_inside_the_window_and_are_reset_outside() {
        let empty = ring(5, &[], 10);
        check(&empty, None, Resume::After(4));
        check(&empty, Some(4), Resume::After(4));
        check(&empty, Some(3), Resume::Reset(4));
        check(&empty, Some(5), Resume::Reset(4));
        // Offsets may leave gaps.
        let full = ring(0, &[0, 1, 3, 4], 3);
        check(&full, None, Resume::After(4));
        check(&full, Some(4), Resume::After(4));
        check(&full, Some(1), Resume::After(1));
        check(&full, Some(0), Resume::After(0));
        check(&full, Some(-1), Resume::Reset(4));
        check(&full, Some(5), Resume::Reset(4));
        check(&full, Some(i64::MIN), Resume::Reset(4));
        check(&full, Some(i64::MAX), Resume::Reset(4));
    }

    #[test]
    fn old_changes_leave_by_time() {
        let mut ring = ring(0, &[], 10);
        ring.push(entry(0, NOW - WINDOW), NOW);
        ring.push(entry(1, NOW), NOW);
        assert_eq!(ring.resume(Some(-1)), Resume::After(-1), "a day is kept whole");
        ring.push(entry(2, NOW + 1), NOW + 1);
        assert_eq!(ring.resume(Some(-1)), Resume::Reset(2));
        assert_eq!(next(&ring, 0), Ok(Some(1)));
    }

    #[test]
    fn a_change_told_twice_is_kept_once() {
        let mut ring = ring(0, &[0], 10);
        ring.push(Entry { id: 0, ..entry(1, NOW) }, NOW);
        assert_eq!((ring.head(), next(&ring, 0)), (1, Ok(None)));
    }

    #[test]
    fn that_another_team_was_given_it_is_nothing_to_those_who_had_it() {
        let told = |offset, teams: &[&str]| {
            let teams: Vec<String> = teams.iter().map(|team| (*team).to_owned()).collect();
            Entry { teams: teams.into(), ..entry(offset, NOW) }
        };
        let mut ring = ring(0, &[], 10);
        ring.push(told(0, &["ed"]), NOW);
        let routed = told(1, &["ed", "practice"]);
        ring.push(routed.clone(), NOW);
        ring.push(told(2, &["practice"]), NOW);
        assert!(ring.had_before(&routed, &["ed".to_owned()]));
        assert!(!ring.had_before(&routed, &["practice".to_owned()]));
        let other = Entry { alert: uuid::Uuid::max(), ..routed };
        assert!(!ring.had_before(&other, &["ed".to_owned()]));
    }

    #[test]
    fn a_reader_left_behind_is_told() {
        let ring = ring(0, &[0, 1, 2, 3], 2);
        assert_eq!(next(&ring, 0), Err(Missed));
        assert_eq!(next(&ring, 1), Ok(Some(2)));
        assert_eq!(next(&ring, 3), Ok(None));
    }

    proptest! {
        /// However a reader is cut off and resumes, it gets every change once and in order, or is told to reload.
        #[test]
        fn resuming_loses_and_repeats_nothing(
            gaps in proptest::collection::vec(1_i64..4, 1..60),
            cuts in proptest::collection::vec(0_usize..60, 0..8),
            max in 1_usize..80,
        ) {
            let mut ring = ring(0, &[], max);
            let mut offsets = Vec::new();
            let (mut seen, mut last): (Vec<i64>, Option<i64>) = (Vec::new(), Some(-1));
            let mut reset = false;
            for (index, gap) in gaps.iter().enumerate() {
                let offset = offsets.last().copied().unwrap_or(-1) + gap;
                offsets.push(offset);
                ring.push(entry(offset, NOW), NOW);
                if cuts.contains(&index) {
                    continue;
                }
                let mut after = match ring.resume(last) {
                    Resume::After(after) => after,
                    Resume::Reset(head) => { reset = true; head }
                };
                while let Ok(Some(offset)) = next(&ring, after) {
                    after = offset;
                    seen.push(after);
                }
                last = Some(after);
            }
            prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
            if !reset {
                let upto = last.unwrap_or(-1);
                let want: Vec<i64> = offsets.into_iter().filter(|offset| *offset <= upto).collect();
                prop_assert_eq!(seen, want);
            }
        }
    }
}
