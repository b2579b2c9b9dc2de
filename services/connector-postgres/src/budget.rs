//! How much WAL the slot keeps, how fast that grows, and when it is too much. Decided without IO.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::settings::WhenOver;
use serde::Serialize;
use std::{collections::VecDeque, time::Duration};

/// Growth is judged over this time: a checkpoint or a large transaction moves the slot in steps.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Looks within it.
const SAMPLES_MAX: usize = 64;
/// Without a budget of its own, a source uses this part of what the server keeps for a slot.
const PART_OF_LIMIT: f64 = 0.8;
/// Under this part of the budget again, all is well again.
const WELL_BELOW: f64 = 0.9;
/// Tables that were left out are read anew under this part of it: that costs something, too.
const FAR_BELOW: f64 = 0.5;

/// What the server says of the slot at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// WAL between where the slot must start again and the server's end.
    pub(crate) retained: u64,
    /// What may still be written before the slot is lost; none without a limit.
    pub(crate) safe: Option<u64>,
    /// `max_slot_wal_keep_size`; none without a limit.
    pub(crate) limit: Option<u64>,
    /// `reserved`, `extended`, `unreserved`, `lost`.
    pub(crate) wal_status: String,
    pub(crate) active: bool,
}

/// The same for whoever shows it, with what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SlotView {
    pub wal_status: String,
    pub active: bool,
    pub retained_bytes: u64,
    /// Over the last minute; negative while it shrinks.
    pub growth_bytes_per_s: f64,
    pub safe_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    /// Until the server gives the slot up, if it goes on like this.
    pub forecast_s: Option<f64>,
    pub budget_bytes: Option<u64>,
    pub over_budget: bool,
    /// Snapshots wait until the slot keeps less.
    pub throttled: bool,
    /// Tables that may be are left out until it keeps far less.
    pub pauses_tables: bool,
}

/// Follows one slot.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    samples: VecDeque<(Duration, u64)>,
    over: bool,
    pausing: bool,
}

impl Budget {
    /// Takes in a look at the slot, at a time since any fixed one.
    pub(crate) fn see(&mut self, at: Duration, look: &Look, own: Option<u64>, when_over: WhenOver) -> SlotView {
        let too_old = |seen: &(Duration, u64)| at.saturating_sub(seen.0) > WINDOW;
        while self.samples.len() >= SAMPLES_MAX || self.samples.front().is_some_and(too_old) {
            self.samples.pop_front();
        }
        self.samples.push_back((at, look.retained));
        let growth = self.growth();
        let budget = own.or_else(|| look.limit.map(|limit| part(limit, PART_OF_LIMIT)));
        self.over =
            budget.is_some_and(|budget| look.retained > if self.over { part(budget, WELL_BELOW) } else { budget });
        let still = |budget| look.retained > part(budget, FAR_BELOW);
        self.pausing = when_over == WhenOver::PauseTables && (self.over || (self.pausing && budget.is_some_and(still)));
        SlotView {
            wal_status: look.wal_status.clone(),
            active: look.active,
            retained_bytes: look.retained,
            growth_bytes_per_s: growth,
            safe_bytes: look.safe,
            limit_bytes: look.limit,
            forecast_s: look.safe.and_then(|safe| forecast(safe, growth)),
            budget_bytes: budget,
            over_budget: self.over,
            throttled: self.over && when_over != WhenOver::Warn,
            pauses_tables: self.pausing,
        }
    }

    fn growth(&self) -> f64 {
        let (Some((first, before)), Some((last, after))) = (self.samples.front(), self.samples.back()) else {
            return 0.0;
        };
        let seconds = last.saturating_sub(*first).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let grown = *after as f64 - *before as f64;
        if seconds > 0.0 { grown / seconds } else { 0.0 }
    }
}

/// Seconds until so many bytes are used up; none while nothing grows.
fn forecast(safe: u64, growth: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a forecast")]
    let safe = safe as f64;
    (growth >= 1.0).then(|| safe / growth)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a size; nobody counts its last bytes"
)]
fn part(bytes: u64, of: f64) -> u64 {
    (bytes as f64 * of) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1024 * 1024;

    fn look(retained: u64, safe: Option<u64>) -> Look {
        Look { retained, safe, limit: safe.map(|safe| safe + retained), wal_status: "reserved".into(), active: true }
    }

    fn seconds(at: u64) -> Duration {
        Duration::from_secs(at)
    }

    #[test]
    fn the_forecast_is_what_is_left_at_the_growth_of_the_last_minute() {
        let mut budget = Budget::default();
        let mut see = |at, retained, safe| budget.see(seconds(at), &look(retained, safe), None, WhenOver::Warn);
        assert_eq!(see(0, 10 * MB, Some(100 * MB)).forecast_s, None, "one look is no trend");
        assert_eq!(see(10, 20 * MB, Some(90 * MB)).forecast_s, Some(90.0));
        assert_eq!(see(20, 5 * MB, Some(90 * MB)).forecast_s, None, "it shrinks");
        // The first looks are too old to count.
        let view = see(85, 5 * MB, Some(90 * MB));
        assert_eq!((view.growth_bytes_per_s, view.forecast_s), (0.0, None));
        assert_eq!(see(86, 6 * MB, None).forecast_s, None, "no limit, no end");
    }

    #[test]
    fn a_budget_is_left_and_kept_with_some_distance() {
        let mut budget = Budget::default();
        let mut see = |at, retained| budget.see(seconds(at), &look(retained, None), Some(100 * MB), WhenOver::Throttle);
        assert!(!see(0, 100 * MB).throttled);
        let view = see(1, 101 * MB);
        assert!(view.over_budget && view.throttled);
        assert!(see(2, 95 * MB).throttled, "not well below yet");
        assert!(!see(3, 89 * MB).throttled);
        assert!(!see(4, 95 * MB).throttled);
        let warned = Budget::default().see(seconds(0), &look(101 * MB, None), Some(100 * MB), WhenOver::Warn);
        assert!(warned.over_budget && !warned.throttled);
    }

    #[test]
    fn tables_are_left_out_until_the_slot_keeps_half_of_its_budget() {
        let mut budget = Budget::default();
        let mut see =
            |at, retained| budget.see(seconds(at), &look(retained, None), Some(100 * MB), WhenOver::PauseTables);
        assert!(!see(0, 100 * MB).pauses_tables);
        let view = see(1, 101 * MB);
        assert!(view.throttled && view.pauses_tables);
        let view = see(2, 51 * MB);
        assert!(!view.throttled && view.pauses_tables, "snapshots go on before");
        assert!(!see(3, 50 * MB).pauses_tables && !see(4, 99 * MB).pauses_tables);
    }

    #[test]
    fn without_a_budget_most_of_the_servers_limit_is_one() {
        let view = Budget::default().see(seconds(0), &look(90 * MB, Some(10 * MB)), None, WhenOver::Warn);
        assert_eq!((view.budget_bytes, view.over_budget), (Some(80 * MB), true));
        let view = Budget::default().see(seconds(0), &look(90 * MB, None), None, WhenOver::Warn);
        assert_eq!((view.budget_bytes, view.over_budget), (None, false));
    }
}
