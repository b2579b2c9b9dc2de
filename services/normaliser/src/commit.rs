//! The offset on its way to Kafka: one commit at a time, beside the loop, which does not wait for it.

use crate::{error::NormaliserError, progress::Progress};
use boot::restart::in_one_line;
use change_log::{STALLED_AFTER, watch::let_go};
use futures_util::FutureExt;
use std::time::Duration;
use store::Tails;
use tokio::{task::JoinHandle, time::Instant};

/// After the stop signal, the last offset has so long to be committed.
const LAST_MAX: Duration = Duration::from_secs(5);

pub struct Commits {
    committed: i64,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    offset: i64,
    since: Instant,
    task: JoinHandle<Result<(), NormaliserError>>,
}

impl Commits {
    pub const fn new(committed: i64) -> Self {
        Self { committed, under_way: None }
    }

    /// Commits what has become durable. A commit that fails is tried again with the next one: until then a restart finds
    /// more to compare. A client that does not come back is replaced: a late commit of its moves the offset back at worst.
    pub fn look(
        &mut self,
        progress: &mut Progress,
        durable: Option<i64>,
        tails: &Tails,
        anew: impl FnOnce() -> Result<Progress, NormaliserError>,
    ) -> Result<(), NormaliserError> {
        if let Some(UnderWay { offset, since, task }) = &mut self.under_way {
            match task.now_or_never() {
                Some(Ok(Ok(()))) => self.committed = *offset,
                Some(Ok(Err(error))) => tracing::warn!(error = in_one_line(&error), "could not commit"),
                Some(Err(_)) => tracing::warn!("could not commit: a background task ended early"),
                None if since.elapsed() < STALLED_AFTER => return Ok(()),
                None => {
                    tracing::warn!("a commit hangs; its client is made anew");
                    let_go(std::mem::replace(progress, anew()?));
                }
            }
            self.under_way = None;
        }
        let Some(offset) = durable.filter(|durable| *durable > self.committed) else { return Ok(()) };
        let (progress, tails) = (progress.clone(), tails.clone());
        let task = tokio::spawn(async move { progress.commit(offset, &tails).await });
        self.under_way = Some(UnderWay { offset, since: Instant::now(), task });
        Ok(())
    }

    /// Waits for what is under way. What is not committed in time is found on the topics at the next start.
    pub async fn end(&mut self) {
        if let Some(UnderWay { task, .. }) = self.under_way.take() {
            let _ = tokio::time::timeout(LAST_MAX, task).await;
        }
    }
}
