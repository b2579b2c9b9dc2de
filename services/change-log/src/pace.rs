//! Whether records come one by one or as a backlog.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

const WINDOW: Duration = Duration::from_millis(100);
/// So many records within a window are a backlog, …
const BACKLOG_RECORDS_MIN: u64 = 1_000;
/// … and it lasts until there are fewer than this.
const LIVE_RECORDS_MAX: u64 = BACKLOG_RECORDS_MIN / 2;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When it began.
    window: Duration,
    records: u64,
    backlog: bool,
}

impl Pace {
    /// Whether so many records that come now belong to a backlog. `now` counts from any start.
    pub(crate) fn is_backlog(&mut self, now: Duration, records: usize) -> bool {
        let elapsed = now.saturating_sub(self.window);
        if elapsed >= WINDOW {
            let windows = elapsed.as_nanos() / WINDOW.as_nanos();
            self.backlog &= u128::from(self.records) >= u128::from(LIVE_RECORDS_MAX) * windows;
            (self.window, self.records) = (now, 0);
        }
        self.records += records as u64;
        self.backlog |= self.records >= BACKLOG_RECORDS_MIN;
        self.backlog
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records each millisecond → after how many milliseconds it is a backlog.
    fn turns(records: usize) -> Option<u64> {
        let mut pace = Pace::default();
        (0..1_000).find(|ms| pace.is_backlog(Duration::from_millis(*ms), records))
    }

    #[test]
    fn a_backlog_is_seen_at_once_and_ends_when_it_has_gone() {
        assert_eq!(turns(1), None, "1,000 a second come one by one");
        assert_eq!(turns(100), Some(9), "100,000 a second");
        let mut pace = Pace::default();
        assert!(pace.is_backlog(Duration::ZERO, 5_000));
        assert!(pace.is_backlog(WINDOW, 1), "the window before was full");
        assert!(!pace.is_backlog(2 * WINDOW, 1));
        assert!(pace.is_backlog(2 * WINDOW, 5_000));
        assert!(!pace.is_backlog(100 * WINDOW, 1), "nothing came for long");
    }
}
