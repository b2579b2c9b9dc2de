//! Whether records come now and then, one by one, or as a backlog.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

const WINDOW: Duration = Duration::from_millis(100);
/// So many records within a window are a backlog, …
const BACKLOG_RECORDS_MIN: u64 = 1_000;
/// … and it lasts until there are fewer than this.
const LIVE_RECORDS_MAX: u64 = BACKLOG_RECORDS_MIN / 2;
/// More records within a window are not now and then.
const QUIET_RECORDS_MAX: u64 = 4;
/// They have to come now and then for so long.
const QUIET_AFTER: Duration = Duration::from_secs(60);

/// How records come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tempo {
    /// So seldom that each can wait for the one before it.
    #[default]
    Quiet,
    Live,
    Backlog,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When it began.
    window: Duration,
    records: u64,
    backlog: bool,
    /// When there were last too many to be quiet.
    busy: Option<Duration>,
}

impl Pace {
    /// How so many records come that come now. `now` counts from any start.
    pub(crate) fn tempo(&mut self, now: Duration, records: usize) -> Tempo {
        let elapsed = now.saturating_sub(self.window);
        if elapsed >= WINDOW {
            let windows = elapsed.as_nanos() / WINDOW.as_nanos();
            self.backlog &= u128::from(self.records) >= u128::from(LIVE_RECORDS_MAX) * windows;
            (self.window, self.records) = (now, 0);
        }
        self.records += records as u64;
        self.backlog |= self.records >= BACKLOG_RECORDS_MIN;
        if self.records > QUIET_RECORDS_MAX {
            self.busy = Some(now);
        }
        match self.busy {
            _ if self.backlog => Tempo::Backlog,
            Some(busy) if now.saturating_sub(busy) < QUIET_AFTER => Tempo::Live,
            _ => Tempo::Quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records each millisecond → after how many milliseconds it is a backlog.
    fn turns(records: usize) -> Option<u64> {
        let mut pace = Pace::default();
        (0..1_000).find(|ms| pace.tempo(Duration::from_millis(*ms), records) == Tempo::Backlog)
    }

    #[test]
    fn a_backlog_is_seen_at_once_and_ends_when_it_has_gone() {
        assert_eq!(turns(1), None, "1,000 a second come one by one");
        assert_eq!(turns(100), Some(9), "100,000 a second");
        let mut pace = Pace::default();
        assert_eq!(pace.tempo(Duration::ZERO, 5_000), Tempo::Backlog);
        assert_eq!(pace.tempo(WINDOW, 1), Tempo::Backlog, "the window before was full");
        assert_eq!(pace.tempo(2 * WINDOW, 1), Tempo::Live);
        assert_eq!(pace.tempo(2 * WINDOW, 5_000), Tempo::Backlog);
        assert_eq!(pace.tempo(100 * WINDOW, 1), Tempo::Live, "nothing came for long");
    }

    #[test]
    fn who_writes_now_and_then_is_quiet_and_who_was_busy_is_after_a_while() {
        let mut pace = Pace::default();
        let mut tempo = |ms: u64, records| pace.tempo(Duration::from_millis(ms), records);
        assert_eq!(tempo(0, 1), Tempo::Quiet);
        assert_eq!((tempo(10_000, 2), tempo(10_050, 2)), (Tempo::Quiet, Tempo::Quiet));
        assert_eq!(tempo(10_060, 1), Tempo::Live, "five within a tenth of a second");
        assert_eq!(tempo(60_000, 1), Tempo::Live);
        assert_eq!(tempo(70_100, 1), Tempo::Quiet, "a minute later");
    }
}
