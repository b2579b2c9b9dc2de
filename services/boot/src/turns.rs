//! Starts take turns: so many at a time, however many sources a process works for.
//!
//! # Why
//! To start, a source asks its database, Kafka and the registry for a lot at once, and hundreds that start together
//! bring down what they ask, time out, and begin again together. Who was well before it began anew does not wait behind
//! those that fail again and again: these take turns of their own.

use crate::health::{Part, State};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Starts at a time, and as many that are tried again.
pub const STARTS_AT_ONCE: usize = 16;
/// A start that takes longer goes on, and lets the next one begin.
pub const TURN_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

static FIRST: Semaphore = Semaphore::const_new(STARTS_AT_ONCE);
static AGAIN: Semaphore = Semaphore::const_new(STARTS_AT_ONCE);

/// Runs the work once it is its turn, which it has until the part has come through its start. `again`: the last time it
/// failed.
pub async fn in_turn<F: Future>(part: &Part, again: bool, work: F) -> F::Output {
    // Never closed: without a permit it would only not wait.
    let turn = if again { AGAIN.acquire() } else { FIRST.acquire() }.await;
    let over = async {
        let starting = async {
            while part.state() == State::Starting {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(TURN_MAX, starting).await;
        drop(turn);
        std::future::pending().await
    };
    tokio::select! {
        done = work => done,
        never = over => never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn so_many_start_at_a_time_and_who_is_through_lets_the_next_begin() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let health = Health::new();
        let parts: Vec<Part> = (0..2 * STARTS_AT_ONCE).map(|n| health.part(&n.to_string())).collect();
        for part in parts.clone() {
            tokio::spawn(async move {
                in_turn(&part, false, async {
                    BEGUN.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                })
                .await;
            });
        }
        let until = async |count: usize| {
            while BEGUN.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(4 * LOOK).await;
            assert_eq!(BEGUN.load(Ordering::SeqCst), count);
        };
        until(STARTS_AT_ONCE).await;
        parts[0].ready();
        parts[1].needs_operator("no mapping");
        until(STARTS_AT_ONCE + 2).await;
        assert_eq!(in_turn(&health.part("again"), true, async { 7 }).await, 7, "who failed waits for nobody else");
    }
}
