//! How busy the source's database is, and whether snapshots must wait for that. Decided without IO.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

/// Under this part of the limit again, snapshots go on.
const WELL_BELOW: f64 = 0.8;

/// Follows `pg_stat_database.active_time`, which every role may read: how long the sessions of the database have been
/// running statements, all together (PostgreSQL, "The Cumulative Statistics System").
#[derive(Debug, Default)]
pub(crate) struct Load {
    last: Option<(Duration, f64)>,
    over: bool,
}

impl Load {
    /// Takes in the counter's milliseconds, at a time since any fixed one. How many sessions were running statements on
    /// average since the last look, and whether that is more than the limit.
    pub(crate) fn see(&mut self, at: Duration, active_ms: f64, sessions_max: u16) -> (f64, bool) {
        let last = self.last.replace((at, active_ms));
        let sessions = last.map_or(0.0, |(then, before)| {
            let elapsed_ms = at.saturating_sub(then).as_secs_f64() * 1_000.0;
            // The counter starts over when the server's statistics are reset.
            if elapsed_ms > 0.0 { ((active_ms - before) / elapsed_ms).max(0.0) } else { 0.0 }
        });
        let limit = f64::from(sessions_max) * if self.over { WELL_BELOW } else { 1.0 };
        self.over = sessions_max > 0 && sessions > limit;
        (sessions, self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_of_the_time_between_two_looks_counts() {
        let mut load = Load::default();
        let mut see = |at, active_ms, limit| load.see(Duration::from_secs(at), active_ms, limit);
        assert_eq!(see(0, 5_000_000.0, 4), (0.0, false), "one look is no rate");
        assert_eq!(see(10, 5_050_000.0, 4), (5.0, true));
        assert_eq!(see(20, 5_085_000.0, 4), (3.5, true), "not well below yet");
        assert_eq!(see(30, 5_115_000.0, 4), (3.0, false));
        assert_eq!(see(40, 5_150_000.0, 4), (3.5, false));
        assert_eq!(see(50, 100.0, 4), (0.0, false), "statistics were reset");
        assert_eq!(see(60, 900_100.0, 0), (90.0, false), "no limit");
    }
}
