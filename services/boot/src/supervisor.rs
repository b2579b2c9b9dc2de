//! Runs the work of one source, whatever becomes of it: what ends one source's work ends nothing else.
//!
//! # Why
//! A process serves hundreds of sources. Settings that are wrong, a certificate that cannot be read, a slot that was
//! dropped, a mistake of ours that panics: each is one source's trouble. So whatever an attempt ends with ends here. What
//! waiting may mend is tried again with a capped back-off, what an operator has to mend is looked at again now and then,
//! and the part says which of the two it is, since when and why.

use crate::{
    Stop,
    health::Part,
    panics,
    restart::{OPERATOR_AGAIN, OPERATOR_AGAIN_MAX, STEADY_AFTER, in_one_line, retried},
};
use std::time::{Duration, Instant};

const ASKED: &str = "it was asked to stop";

/// How long what needs an operator waits until it is looked at again: at first, and at most.
#[derive(Clone, Copy)]
struct Patience {
    first: Duration,
    max: Duration,
}

/// Runs `attempt` until the stop signal comes, or it ends well.
pub async fn supervise<E, F, Fut>(part: &Part, stop: &Stop, worth_retrying: impl Fn(&E) -> bool, attempt: F)
where
    E: std::error::Error,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let patience = Patience { first: OPERATOR_AGAIN, max: OPERATOR_AGAIN_MAX };
    patiently(patience, part, stop, worth_retrying, attempt).await;
}

async fn patiently<E, F, Fut>(
    patience: Patience,
    part: &Part,
    stop: &Stop,
    worth_retrying: impl Fn(&E) -> bool,
    mut attempt: F,
) where
    E: std::error::Error,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let mut again = patience.first;
    let mut told: Option<String> = None;
    loop {
        let began = Instant::now();
        let why = match panics::caught(retried(part, stop, &worth_retrying, &mut attempt)).await {
            Ok(Ok(())) => return part.stopped(ASKED),
            Ok(Err(error)) => in_one_line(&error),
            Err(panicked) => panicked.to_string(),
        };
        if began.elapsed() > STEADY_AFTER {
            (told, again) = (None, patience.first);
        }
        if told.as_ref() != Some(&why) {
            tracing::error!(part = part.name(), why, "stopped: this needs an operator; everything else goes on");
        }
        part.needs_operator(why.clone());
        told = Some(why);
        tokio::select! {
            () = stop.cancelled() => return part.stopped(ASKED),
            () = tokio::time::sleep(again) => again = (2 * again).min(patience.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Health, State};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    #[derive(Debug, thiserror::Error)]
    enum Trouble {
        #[error("the server is away")]
        Away,
        #[error("the mapping has mistakes")]
        Wrong,
    }

    const NAME: &str = "9990000018";
    const SHORT: Patience = Patience { first: Duration::from_millis(500), max: Duration::from_secs(1) };

    /// Supervises what ends as told, one after the other, and then goes on; how the part stood after each.
    fn supervised(
        health: &Health,
        source: &str,
        patience: Patience,
        ends: &'static [&'static str],
    ) -> (Stop, Arc<AtomicUsize>) {
        let (part, stop, attempts) = (health.part_of(source, "connector"), Stop::new(), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), Arc::clone(&attempts));
        tokio::spawn(async move {
            let attempt = || async {
                match ends.get(counted.fetch_add(1, Ordering::SeqCst)) {
                    Some(&"away") => Err(Trouble::Away),
                    Some(&"wrong") => Err(Trouble::Wrong),
                    Some(_) => panic!("patient {NAME}"),
                    None => {
                        part.ready();
                        stopped.cancelled().await;
                        Ok(())
                    }
                }
            };
            patiently(patience, &part, &stopped, |trouble| matches!(trouble, Trouble::Away), attempt).await;
        });
        (stop, attempts)
    }

    async fn until(health: &Health, source: &str, state: State) -> Option<String> {
        for _ in 0..2_000 {
            let standing = health.sources()[source]["connector"].clone();
            if standing.state == state {
                return standing.why;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{source} never came to {state:?}: {:?}", health.sources());
    }

    #[tokio::test]
    async fn one_sources_trouble_stops_that_source_alone() {
        let health = Health::new();
        let (stop, _) = supervised(&health, "well", SHORT, &[]);
        let (_, wrong) = supervised(&health, "wrong", SHORT, &["wrong"]);
        let (_, bug) = supervised(&health, "bug", SHORT, &["panic"]);
        let (_, away) = supervised(&health, "away", SHORT, &["away", "away"]);
        assert_eq!(until(&health, "well", State::Running).await, None);
        let why = until(&health, "wrong", State::WaitingForOperator).await;
        assert_eq!(why.as_deref(), Some("the mapping has mistakes"));
        let why = until(&health, "bug", State::WaitingForOperator).await.unwrap_or_default();
        assert!(why.starts_with("a defect of Causeway: it panicked at ") && !why.contains(NAME), "{why}");
        assert_eq!((wrong.load(Ordering::SeqCst), bug.load(Ordering::SeqCst)), (1, 1));
        assert_eq!(until(&health, "away", State::Running).await, None, "waiting mended it");
        assert_eq!(away.load(Ordering::SeqCst), 3);
        assert_eq!(until(&health, "wrong", State::Running).await, None, "an operator mended it: it is looked at again");
        assert_eq!(until(&health, "bug", State::Running).await, None);
        stop.cancel();
        until(&health, "well", State::Stopped).await;
        assert!(health.ready(), "and the others run");
    }

    #[tokio::test]
    async fn what_an_operator_does_not_mend_comes_back_later_each_time() {
        let health = Health::new();
        let patience = Patience { first: Duration::from_millis(10), max: Duration::from_millis(160) };
        let (stop, attempts) = supervised(&health, "bug", patience, &["panic"; 500]);
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let attempts = attempts.load(Ordering::SeqCst);
        assert!((4..=12).contains(&attempts), "{attempts} attempts in a second");
        stop.cancel();
        until(&health, "bug", State::Stopped).await;
    }
}
