//! How often somebody may try to sign in, and how long they wait.
//!
//! # Why
//! A fixed window gives whoever guesses as many tries in each; a wait that doubles gives them fewer and fewer, and costs
//! whoever only mistypes a minute. It doubles for an account from one address: it is theirs alone. An address or an
//! account as a whole is shared by those who do no wrong, a ward behind one address, so there a window stays.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use event::Micros;

const MINUTE: Micros = 60 * 1_000_000;
/// The first wait; each further failure doubles it…
const WAIT_FIRST: Micros = MINUTE;
/// …up to this.
const WAIT_MAX: Micros = 60 * MINUTE;
/// So long after the last failure, an account's failures from one address are forgotten.
const PAIR_FORGOTTEN_AFTER: Micros = 24 * 60 * MINUTE;
/// Failures of an address, or of an account, are counted for so long.
const WINDOW: Micros = 15 * MINUTE;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// An account from one address: after so many failures the next attempt waits.
    Doubling(i32),
    /// Whatever is shared: so many failures in a window.
    Window(i32),
}

/// Attempts that have failed, as far as is known: one counts as failed until it has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    pub failures: i32,
    /// When it is forgotten.
    pub window_ends_at: Micros,
    pub closed_until: Micros,
}

/// Counts one more attempt. `Err`: nothing is to be checked before this time.
pub fn attempt(before: Tried, limit: Limit, now: Micros) -> (Tried, Result<(), Micros>) {
    let window = match limit {
        Limit::Doubling(_) => PAIR_FORGOTTEN_AFTER,
        Limit::Window(_) => WINDOW,
    };
    let fresh = Tried { failures: 0, window_ends_at: now + window, closed_until: Micros::MIN };
    let before = if before.window_ends_at <= now { fresh } else { before };
    if before.closed_until > now {
        return (before, Err(before.closed_until));
    }
    let failures = before.failures.saturating_add(1);
    match limit {
        Limit::Doubling(max) => {
            let doublings = u32::try_from(failures - max).ok();
            let wait = doublings.map(|doublings| WAIT_MAX.min(WAIT_FIRST << doublings.min(30)));
            let closed_until = wait.map_or(Micros::MIN, |wait| now + wait);
            (Tried { failures, window_ends_at: now + window, closed_until }, Ok(()))
        }
        Limit::Window(max) if failures > max => (Tried { failures, ..before }, Err(before.window_ends_at)),
        Limit::Window(_) => (Tried { failures, ..before }, Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Tried = Tried { failures: 0, window_ends_at: 0, closed_until: Micros::MIN };

    /// Fails as soon as it may, so often; the waits between, in minutes.
    fn waits(limit: Limit, attempts: usize) -> Vec<Micros> {
        let (mut tried, mut now, mut waits) = (NOBODY, 1_000 * MINUTE, Vec::new());
        for _ in 0..attempts {
            let began = now;
            loop {
                let (after, may) = attempt(tried, limit, now);
                tried = after;
                match may {
                    Ok(()) => break,
                    Err(until) => now = until,
                }
            }
            waits.push((now - began) / MINUTE);
        }
        waits
    }

    #[test]
    fn the_wait_doubles() {
        assert_eq!(waits(Limit::Doubling(3), 12), [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(waits(Limit::Window(3), 8), [0, 0, 0, 15, 0, 0, 15, 0]);
    }

    #[test]
    fn asking_while_it_is_closed_changes_nothing() {
        let now = 1_000 * MINUTE;
        let (closed, may) = attempt(Tried { failures: 3, window_ends_at: now + 1, ..NOBODY }, Limit::Doubling(3), now);
        assert_eq!((closed.failures, closed.closed_until, may), (4, now + 2 * MINUTE, Ok(())));
        let until = now + 2 * MINUTE;
        assert_eq!(attempt(closed, Limit::Doubling(3), until - 1), (closed, Err(until)));
        let (next, may) = attempt(closed, Limit::Doubling(3), until);
        assert_eq!((next.failures, next.closed_until, may), (5, until + 4 * MINUTE, Ok(())));
    }

    #[test]
    fn a_day_later_it_is_forgotten() {
        let now = 1_000 * MINUTE;
        let closed = Tried { failures: 300, window_ends_at: now, closed_until: now - 1 };
        let (tried, may) = attempt(closed, Limit::Doubling(3), now);
        assert_eq!((tried.failures, tried.closed_until, may), (1, Micros::MIN, Ok(())));
        // However often.
        let often = Tried { failures: i32::MAX, window_ends_at: now + 1, ..NOBODY };
        assert_eq!(attempt(often, Limit::Doubling(3), now).0.closed_until, now + WAIT_MAX);
    }
}
