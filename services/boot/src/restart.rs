//! Running a part again after an error that is worth retrying.

use crate::{Stop, health::Part};
use std::time::Duration;

pub const BACKOFF_FIRST: Duration = Duration::from_millis(200);
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// What needed an operator is tried again after this time.
pub const OPERATOR_AGAIN: Duration = Duration::from_secs(30);
/// A part that ran this long before it failed starts again with the first backoff.
const STEADY_AFTER: Duration = Duration::from_secs(30);

/// Runs `attempt` until it ends well, the stop signal comes, or an error is not worth retrying.
pub async fn until_stopped<E, F, Fut>(
    part: &Part,
    stop: &Stop,
    worth_retrying: impl Fn(&E) -> bool,
    mut attempt: F,
) -> Result<(), E>
where
    E: std::error::Error,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let mut backoff = BACKOFF_FIRST;
    loop {
        let started = tokio::time::Instant::now();
        let Err(error) = attempt().await else {
            return Ok(());
        };
        let told = in_one_line(&error);
        part.not_ready(told.clone());
        if stop.is_cancelled() {
            return Ok(());
        }
        if !worth_retrying(&error) {
            tracing::error!(error = told, "stopped: this needs an operator");
            return Err(error);
        }
        if started.elapsed() > STEADY_AFTER {
            backoff = BACKOFF_FIRST;
        }
        tracing::warn!(
            error = told,
            retry_in_ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX),
            "will retry"
        );
        metrics::counter!("causeway_restarts_total").increment(1);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF_MAX),
        }
    }
}

/// As [`until_stopped`], and what needs an operator is tried again now and then, because it may have been mended: the
/// part stays not ready and says why, and whatever else runs in the process goes on.
pub async fn alone<E, F, Fut>(part: &Part, stop: &Stop, worth_retrying: impl Fn(&E) -> bool, mut attempt: F)
where
    E: std::error::Error,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    while until_stopped(part, stop, &worth_retrying, &mut attempt).await.is_err() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(OPERATOR_AGAIN) => {}
        }
    }
}

/// An error with its sources, on one line.
pub fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
