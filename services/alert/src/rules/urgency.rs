//! Whether a result is still news: design, idea 7.

use crate::limits::Limits;
use event::Micros;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// New, and inside the window. Interrupts.
    Paged,
    /// Inside the window, but its source knew it some time ago. Interrupts too, and says that it is late.
    Late,
    /// Shown, never interrupts: read at go-live, without a time of its own, or overtaken.
    Listed,
}

impl Urgency {
    pub const ALL: [Self; 3] = [Self::Paged, Self::Late, Self::Listed];

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
    /// Read by a snapshot.
    pub snapshot: bool,
    /// By a snapshot that was not its table's first: nothing goes live.
    pub reread: bool,
}

impl Times {
    /// Authorised, else entered. A time ahead of the commit, beyond the tolerance, is a mistake.
    pub fn own(&self, limits: &Limits) -> Option<Micros> {
        let tolerance = Micros::from(limits.future_tolerance_minutes) * MINUTE;
        let latest = self.committed_at.saturating_add(tolerance);
        [self.authorised_at, self.entered_at].into_iter().flatten().find(|told| *told <= latest)
    }

    /// A snapshot's commit says when it was read, not when the result came about.
    pub fn undated(&self, limits: &Limits) -> bool {
        self.snapshot && self.own(limits).is_none()
    }

    const fn go_live(&self) -> bool {
        self.snapshot && !self.reread
    }
}

/// When an alert's grounds were there, and when we learn of them.
#[derive(Clone, Copy, Debug)]
pub struct Learned {
    /// When all that the alert rests on had been committed.
    pub known_at: Micros,
    /// Now, to whoever judges.
    pub at: Micros,
    /// A later valid result of the analyte, in a good specimen, asks for nothing.
    pub overtaken: bool,
}

/// Whether what makes it graver was known in the window after the result was.
pub fn in_time(times: &Times, known_at: Micros, limits: &Limits) -> bool {
    let reported = times.own(limits).unwrap_or(times.committed_at);
    known_at.saturating_sub(reported) <= Micros::from(limits.window_hours) * 60 * MINUTE
}

/// None when it is too old to be told.
pub fn of(times: &Times, learned: &Learned, limits: &Limits) -> Option<Urgency> {
    if times.undated(limits) {
        return Some(Urgency::Listed);
    }
    let minutes = |minutes: u32| Micros::from(minutes) * MINUTE;
    let (window, catch_up) =
        (minutes(limits.window_hours.saturating_mul(60)), minutes(limits.catch_up_hours.saturating_mul(60)));
    let reported = times.own(limits).unwrap_or(times.committed_at);
    let known_at = learned.known_at.max(times.committed_at);
    let age_when_known = known_at.saturating_sub(reported);
    let age = learned.at.max(known_at).saturating_sub(reported);
    if age_when_known > window || age > catch_up {
        None
    } else if times.go_live() || age > window {
        Some(Urgency::Listed)
    } else if age > minutes(limits.late_after_minutes) {
        Some(if learned.overtaken { Urgency::Listed } else { Urgency::Late })
    } else {
        Some(Urgency::Paged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Urgency::{Late, Listed, Paged};

    const NOW: Micros = 1_700_000_000_000_000;
    const WINDOW: i64 = 72 * 60;
    const CATCH_UP: i64 = 336 * 60;
    const LATE: i64 = 120;

    fn limits() -> Limits {
        Limits::parse(include_str!("../../../../site/alerts.toml")).expect("good")
    }

    /// By what path a row came.
    #[derive(Clone, Copy, Debug)]
    enum Path {
        Streamed,
        /// A table's first snapshot.
        GoLive,
        /// A lost slot, a paused table, a table that was rewritten.
        Reread,
    }

    fn times(path: Path, authorised: Option<i64>, entered: Option<i64>) -> Times {
        let before = |minutes: i64| NOW - minutes * MINUTE;
        Times {
            committed_at: NOW,
            authorised_at: authorised.map(before),
            entered_at: entered.map(before),
            snapshot: !matches!(path, Path::Streamed),
            reread: matches!(path, Path::Reread),
        }
    }

    const AT_ONCE: Learned = Learned { known_at: NOW, at: NOW, overtaken: false };

    /// Minutes before the commit.
    #[track_caller]
    fn check(path: Path, authorised: Option<i64>, entered: Option<i64>, want: Option<Urgency>) {
        let told = of(&times(path, authorised, entered), &AT_ONCE, &limits());
        assert_eq!(told, want, "authorised {authorised:?}, entered {entered:?}, {path:?}");
    }

    #[test]
    fn at_and_beside_every_boundary_whatever_the_path() {
        for (minutes, streamed, go_live) in [
            (0, Some(Paged), Some(Listed)),
            (LATE - 1, Some(Paged), Some(Listed)),
            (LATE, Some(Paged), Some(Listed)),
            (LATE + 1, Some(Late), Some(Listed)),
            (WINDOW - 1, Some(Late), Some(Listed)),
            (WINDOW, Some(Late), Some(Listed)),
            (WINDOW + 1, None, None),
            (CATCH_UP, None, None),
        ] {
            for (authorised, entered) in [(Some(minutes), None), (None, Some(minutes)), (Some(minutes), Some(90_000))] {
                check(Path::Streamed, authorised, entered, streamed);
                // First seen by a later snapshot is first seen, as if it had been streamed.
                check(Path::Reread, authorised, entered, streamed);
                check(Path::GoLive, authorised, entered, go_live);
            }
        }
    }

    #[test]
    fn without_a_time_of_its_own_the_commit_counts_but_not_a_snapshots() {
        check(Path::Streamed, None, None, Some(Paged));
        check(Path::GoLive, None, None, Some(Listed));
        check(Path::Reread, None, None, Some(Listed));
        assert!(times(Path::Reread, None, None).undated(&limits()));
        assert!(!times(Path::Streamed, None, None).undated(&limits()));
    }

    #[test]
    fn a_time_to_come_is_no_time() {
        // Within the tolerance of a quarter of an hour it counts.
        check(Path::Streamed, Some(-15), None, Some(Paged));
        check(Path::Reread, Some(-15), None, Some(Paged));
        for ahead in [-16, -100_000, -1_000_000_000] {
            check(Path::Streamed, Some(ahead), None, Some(Paged));
            check(Path::Streamed, Some(ahead), Some(LATE + 1), Some(Late));
            check(Path::Reread, Some(ahead), None, Some(Listed));
            check(Path::Reread, Some(ahead), Some(5), Some(Paged));
        }
    }

    #[test]
    fn what_is_late_is_listed_only_if_it_was_overtaken() {
        let overtaken = Learned { overtaken: true, ..AT_ONCE };
        for path in [Path::Streamed, Path::Reread] {
            for (minutes, want) in [(LATE, Paged), (LATE + 1, Listed), (WINDOW, Listed)] {
                assert_eq!(
                    of(&times(path, Some(minutes), None), &overtaken, &limits()),
                    Some(want),
                    "{path:?} {minutes}"
                );
            }
        }
    }

    #[test]
    fn what_is_known_only_later_ages_meanwhile() {
        let told = |minutes: i64| {
            let learned = Learned { known_at: NOW + minutes * MINUTE, at: NOW, overtaken: false };
            of(&times(Path::Streamed, Some(0), None), &learned, &limits())
        };
        assert_eq!(told(LATE), Some(Paged));
        assert_eq!(told(LATE + 1), Some(Late));
        assert_eq!(told(WINDOW), Some(Late));
        assert_eq!(told(WINDOW + 1), None);
    }

    /// Committed at once, and learned only now: after an outage, or because its unit or code came to be understood.
    #[test]
    fn what_is_first_understood_later_interrupts_within_the_window_and_is_listed_for_a_while_after() {
        let told = |minutes: i64| {
            let learned = Learned { at: NOW + minutes * MINUTE, ..AT_ONCE };
            of(&times(Path::Streamed, Some(0), None), &learned, &limits())
        };
        for (minutes, want) in [
            (LATE, Some(Paged)),
            (LATE + 1, Some(Late)),
            (WINDOW, Some(Late)),
            (WINDOW + 1, Some(Listed)),
            (CATCH_UP, Some(Listed)),
            (CATCH_UP + 1, None),
            (-5, Some(Paged)),
        ] {
            assert_eq!(told(minutes), want, "{minutes}");
        }
    }
}
