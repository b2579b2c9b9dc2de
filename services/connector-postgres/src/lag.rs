//! How far the log is behind the source, by the server's own WAL end and by what waits for Kafka; not by what was read last.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use change::Lsn;
use std::{collections::VecDeque, time::Duration};

/// Commits that are kept, and ends of WAL: beyond it, only the oldest count.
const KEPT_MAX: usize = 1_024;
/// An idle server says only now and then that its WAL holds nothing for us: younger ends say nothing.
const END_AGE_MIN: Duration = Duration::from_secs(60);

/// Transactions that were read and that the log does not hold yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unconfirmed {
    /// Ends of commits with their times, the oldest first.
    commits: VecDeque<(Lsn, i64)>,
}

impl Unconfirmed {
    pub(crate) fn commit(&mut self, end: Lsn, committed_at: i64) {
        if self.commits.len() < KEPT_MAX {
            self.commits.push_back((end, committed_at));
        }
    }

    /// When the oldest was committed that the log does not hold.
    pub(crate) fn since(&mut self, upto: Lsn) -> Option<i64> {
        while self.commits.front().is_some_and(|(end, _)| *end <= upto) {
            self.commits.pop_front();
        }
        self.commits.front().map(|(_, at)| *at)
    }
}

/// Ends of the server's WAL, with when they were seen.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    seen: VecDeque<(Lsn, Duration)>,
}

impl Ends {
    /// `now` counts from any start.
    pub(crate) fn see(&mut self, end: Lsn, now: Duration) {
        if self.seen.len() < KEPT_MAX && self.seen.back().is_none_or(|(last, _)| *last < end) {
            self.seen.push_back((end, now));
        }
    }

    /// For how long the server has had what the log does not hold, where that is more than an idle server's silence.
    pub(crate) fn behind(&mut self, level: Lsn, now: Duration) -> Option<Duration> {
        while self.seen.front().is_some_and(|(end, _)| *end <= level) {
            self.seen.pop_front();
        }
        let age = now.saturating_sub(self.seen.front()?.1);
        (age >= END_AGE_MIN).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_commit_that_the_log_lacks_counts() {
        let mut unconfirmed = Unconfirmed::default();
        assert_eq!(unconfirmed.since(Lsn(0)), None);
        for (end, at) in [(10, 1), (20, 2), (30, 3)] {
            unconfirmed.commit(Lsn(end), at);
        }
        assert_eq!(unconfirmed.since(Lsn(0)), Some(1));
        assert_eq!(unconfirmed.since(Lsn(10)), Some(2));
        assert_eq!(unconfirmed.since(Lsn(25)), Some(3));
        assert_eq!(unconfirmed.since(Lsn(30)), None);
        (0..3_000).for_each(|end| unconfirmed.commit(Lsn(100 + end), 7));
        assert!(unconfirmed.commits.len() <= KEPT_MAX);
    }

    #[test]
    fn a_source_that_is_not_read_falls_behind_its_server() {
        let (mut ends, second) = (Ends::default(), Duration::from_secs);
        ends.see(Lsn(10), second(0));
        ends.see(Lsn(10), second(5));
        assert_eq!(ends.behind(Lsn(10), second(500)), None, "level");
        ends.see(Lsn(20), second(500));
        assert_eq!(ends.behind(Lsn(10), second(530)), None, "an idle server's silence");
        assert_eq!(ends.behind(Lsn(10), second(590)), Some(second(90)));
        assert_eq!(ends.behind(Lsn(20), second(600)), None);
    }
}
