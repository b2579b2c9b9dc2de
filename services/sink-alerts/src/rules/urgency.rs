//! Whether a result is still news: design, idea 7.

use crate::limits::Limits;
use event::Micros;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// New, and inside the window.
    Paged,
    /// Inside the window, but authorised some time ago.
    Late,
    /// Read by a snapshot: shown, never paged.
    Listed,
}

impl Urgency {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paged => "paged",
            Self::Late => "late",
            Self::Listed => "listed",
        }
    }
}

const MINUTE: Micros = 60_000_000;

/// The times of a result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub committed_at: Micros,
    pub entered_at: Option<Micros>,
    pub authorised_at: Option<Micros>,
    pub snapshot: bool,
}

impl Times {
    /// Authorised, else entered, else committed. A time ahead of the commit, beyond the tolerance, is a mistake.
    fn reported_at(&self, limits: &Limits) -> Micros {
        let tolerance = Micros::from(limits.future_tolerance_minutes) * MINUTE;
        let told = self.authorised_at.or(self.entered_at).unwrap_or(self.committed_at);
        if told > self.committed_at.saturating_add(tolerance) { self.committed_at } else { told }
    }
}

/// None when it is older than the window. `known_at`: when all that the alert rests on had been committed.
pub fn of(times: &Times, known_at: Micros, limits: &Limits) -> Option<Urgency> {
    let age = known_at.saturating_sub(times.reported_at(limits));
    let minutes = |minutes: u32| Micros::from(minutes) * MINUTE;
    if age > minutes(limits.window_hours.saturating_mul(60)) {
        None
    } else if times.snapshot {
        Some(Urgency::Listed)
    } else if age > minutes(limits.late_after_minutes) {
        Some(Urgency::Late)
    } else {
        Some(Urgency::Paged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 1_700_000_000_000_000;

    /// Minutes before the commit.
    #[track_caller]
    fn check(authorised: Option<i64>, entered: Option<i64>, snapshot: bool, want: Option<Urgency>) {
        let limits = Limits::parse(include_str!("../../../../site/alerts.toml")).expect("good");
        let before = |minutes: i64| NOW - minutes * MINUTE;
        let times = Times {
            committed_at: NOW,
            authorised_at: authorised.map(before),
            entered_at: entered.map(before),
            snapshot,
        };
        assert_eq!(of(&times, NOW, &limits), want, "authorised {authorised:?}, entered {entered:?}, {snapshot}");
    }

    #[test]
    fn the_window_decides() {
        check(Some(0), None, false, Some(Urgency::Paged));
        check(Some(120), None, false, Some(Urgency::Paged));
        check(Some(121), None, false, Some(Urgency::Late));
        check(Some(72 * 60), None, false, Some(Urgency::Late));
        check(Some(72 * 60 + 1), None, false, None);
        check(Some(0), None, true, Some(Urgency::Listed));
        check(Some(72 * 60), None, true, Some(Urgency::Listed));
        check(Some(72 * 60 + 1), None, true, None);
    }

    #[test]
    fn without_an_authorised_time_the_entered_one_counts_and_then_the_commit() {
        check(None, Some(121), false, Some(Urgency::Late));
        check(Some(5), Some(72 * 60 + 1), false, Some(Urgency::Paged));
        check(None, None, false, Some(Urgency::Paged));
    }

    #[test]
    fn a_time_to_come_is_no_time() {
        check(Some(-15), None, false, Some(Urgency::Paged));
        check(Some(-100_000), None, false, Some(Urgency::Paged));
        check(Some(-1_000_000_000), None, false, Some(Urgency::Paged));
    }

    #[test]
    fn what_is_known_only_later_ages_meanwhile() {
        let limits = Limits::parse(include_str!("../../../../site/alerts.toml")).expect("good");
        let times = Times { committed_at: NOW, authorised_at: Some(NOW), ..Times::default() };
        assert_eq!(of(&times, NOW + 200 * MINUTE, &limits), Some(Urgency::Late));
        assert_eq!(of(&times, NOW + 80 * 60 * MINUTE, &limits), None);
    }
}
