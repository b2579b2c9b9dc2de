//! Running a part again after an error that is worth retrying.

use crate::{Stop, health::Part};
use std::time::Duration;

pub const BACKOFF_FIRST: Duration = Duration::from_millis(200);
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// What needed an operator is tried again after this time, later each time, …
pub const OPERATOR_AGAIN: Duration = Duration::from_secs(30);
/// … and at the latest after this.
pub const OPERATOR_AGAIN_MAX: Duration = Duration::from_secs(300);
/// A part that ran this long before it failed starts again with the first backoff.
pub(crate) const STEADY_AFTER: Duration = Duration::from_secs(30);

/// Runs `attempt` until it ends well, the stop signal comes, or an error is not worth retrying.
pub async fn until_stopped<E, F, Fut>(
    part: &Part,
    stop: &Stop,
    worth_retrying: impl Fn(&E) -> bool,
    attempt: F,
) -> Result<(), E>
where
    E: std::error::Error,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let ended = retried(part, stop, worth_retrying, attempt).await;
    ended.inspect_err(|error| tracing::error!(error = in_one_line(error), "stopped: this needs an operator"))
}

/// The same, for who says what an operator has to know.
pub async fn retried<E, F, Fut>(
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
        if stop.is_cancelled() {
            return Ok(());
        }
        let told = in_one_line(&error);
        if !worth_retrying(&error) {
            part.needs_operator(told);
            return Err(error);
        }
        part.not_ready(told.clone());
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
