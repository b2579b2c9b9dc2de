//! Tables that are not read for a while: others go on meanwhile.

use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// When what was read of a table cannot be used, it is read again after so long; …
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// … where it failed, or waits for a transaction, after so long, and twice as long each time.
const FAILED_PAUSE: Duration = Duration::from_secs(2);
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(16);
/// After so many times in a row it is said.
const AGAIN_TOLD: u32 = 20;
const AGAIN: &str = "a part of a table is read again and again: it changes faster than it is read, or its shape does";

/// By their place in the running snapshot.
#[derive(Debug, Default)]
pub(super) struct Rests(HashMap<usize, Rest>);

#[derive(Debug)]
struct Rest {
    until: Instant,
    /// In a row.
    times: u32,
    /// Read again without a failure, in a row.
    again: u32,
    why: Option<String>,
}

impl Rests {
    /// The table waits, the longer the more often it did.
    pub(super) fn failed(&mut self, table: usize, why: String) {
        let times = self.0.get(&table).map_or(0, |rest| rest.times);
        let pause = FAILED_PAUSE.saturating_mul(1 << times.min(16)).min(FAILED_PAUSE_MAX);
        self.0.insert(table, Rest { until: Instant::now() + pause, times: times + 1, again: 0, why: Some(why) });
    }

    pub(super) fn again_soon(&mut self, table: usize) {
        let again = self.0.get(&table).map_or(0, |rest| rest.again).saturating_add(1);
        let why = (again >= AGAIN_TOLD).then(|| AGAIN.to_owned());
        self.0.insert(table, Rest { until: Instant::now() + AGAIN_AFTER, times: 0, again, why });
    }

    /// Something of the table could be told.
    pub(super) fn over(&mut self, table: usize) {
        self.0.remove(&table);
    }

    pub(super) fn rests(&self, table: usize, now: Instant) -> bool {
        self.0.get(&table).is_some_and(|rest| now < rest.until)
    }

    /// Why a part has to be read again.
    pub(super) fn why(&self) -> Option<String> {
        self.0.values().find_map(|rest| rest.why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_rests_longer_each_time_and_others_do_not() {
        let (mut rests, begun) = (Rests::default(), Instant::now());
        let is_resting = |rests: &Rests, seconds: u64| rests.rests(1, begun + Duration::from_secs(seconds));
        rests.failed(1, "no".into());
        assert!(is_resting(&rests, 1) && !is_resting(&rests, 4) && !rests.rests(2, begun));
        (0..9).for_each(|_| rests.failed(1, "still no".into()));
        assert!(is_resting(&rests, 15) && !is_resting(&rests, 30));
        assert_eq!(rests.why().as_deref(), Some("still no"));
        rests.over(1);
        assert!(!is_resting(&rests, 0) && rests.why().is_none());
        rests.again_soon(1);
        assert!(!is_resting(&rests, 1) && rests.why().is_none());
        (1..AGAIN_TOLD).for_each(|_| rests.again_soon(1));
        assert_eq!(rests.why().as_deref(), Some(AGAIN));
        rests.over(1);
        assert!(rests.why().is_none());
    }
}
