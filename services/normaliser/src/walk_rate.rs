//! How many rows a walk may look at now, where a site limits that: what comes meanwhile shall not feel a replay.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

/// Time that nobody used is saved up for no longer than this.
const SAVED_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct WalkRate {
    /// None: as fast as it goes.
    rows_per_s: Option<u32>,
    /// Since when there are rows to look at.
    since: Duration,
}

impl WalkRate {
    pub const fn new(rows_per_s: u32) -> Self {
        let rows_per_s = if rows_per_s == 0 { None } else { Some(rows_per_s) };
        Self { rows_per_s, since: Duration::ZERO }
    }

    /// Of so many rows at most, those that may be looked at. `now` counts from any start.
    pub fn take(&mut self, now: Duration, max: usize) -> usize {
        let Some(rows_per_s) = self.rows_per_s else { return max };
        self.since = self.since.max(now.saturating_sub(SAVED_MAX));
        let saved = now.saturating_sub(self.since).as_micros() * u128::from(rows_per_s) / 1_000_000;
        let rows = usize::try_from(saved).unwrap_or(usize::MAX).min(max);
        self.since += Duration::from_micros(rows as u64 * 1_000_000 / u64::from(rows_per_s));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows looked at within a second, asked for every so many milliseconds.
    fn in_a_second(rate: &mut WalkRate, from_ms: u64, every_ms: usize) -> usize {
        let asked = (from_ms..from_ms + 1_000).step_by(every_ms);
        asked.map(|ms| rate.take(Duration::from_millis(ms), 512)).sum()
    }

    #[test]
    fn a_site_s_limit_holds_however_often_it_is_asked() {
        for every_ms in [1, 7, 50, 250] {
            let mut rate = WalkRate::new(1_000);
            in_a_second(&mut rate, 0, every_ms);
            let rows = in_a_second(&mut rate, 1_000, every_ms);
            assert!((950..=1_050).contains(&rows), "{rows} every {every_ms} ms");
        }
        let mut slow = WalkRate::new(3);
        let rows: usize = (0..10).map(|second| in_a_second(&mut slow, second * 1_000, 10)).sum();
        assert!((28..=31).contains(&rows), "{rows} in ten seconds");
    }

    #[test]
    fn what_is_saved_up_is_little_and_without_a_limit_there_is_none() {
        let mut rate = WalkRate::new(100);
        assert_eq!(rate.take(Duration::from_secs(3_600), 512), 100, "an hour of rest is worth a second");
        assert_eq!(rate.take(Duration::from_secs(3_600), 512), 0);
        assert_eq!(WalkRate::new(0).take(Duration::ZERO, 512), 512);
    }
}
