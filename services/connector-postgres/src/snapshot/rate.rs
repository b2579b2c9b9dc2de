//! Rows a second at most. What was not used while nothing was read is not made up for later.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// What was told beyond what the time allowed, in rows.
    debt: f64,
    at: Duration,
}

impl Rate {
    /// So many rows were told.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn spend(&mut self, rows: u64) {
        self.debt += rows as f64;
    }

    /// Whether to wait, at a time since any fixed one, under a limit of so many rows a second; 0 is none.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn waits(&mut self, now: Duration, rows_per_s_max: u64) -> bool {
        let allowed = rows_per_s_max as f64 * now.saturating_sub(self.at).as_secs_f64();
        (self.at, self.debt) = (now, (self.debt - allowed).max(0.0));
        rows_per_s_max > 0 && self.debt > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks of 100 rows, asked for each millisecond of so many seconds: rows.
    fn read(rate: &mut Rate, from: u64, seconds: u64, limit: u64) -> u64 {
        let mut rows = 0;
        for ms in from * 1_000..(from + seconds) * 1_000 {
            if !rate.waits(Duration::from_millis(ms), limit) {
                rate.spend(100);
                rows += 100;
            }
        }
        rows
    }

    #[test]
    fn the_limit_holds_and_a_pause_saves_nothing_up() {
        let mut rate = Rate::default();
        assert_eq!(read(&mut rate, 0, 10, 1_000), 10_000);
        assert_eq!(read(&mut rate, 3_600, 10, 1_000), 10_000);
        assert_eq!(read(&mut rate, 7_200, 1, 0), 100_000, "no limit");
    }
}
