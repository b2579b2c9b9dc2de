//! When a session takes its store down, and how it ends.

use super::{Forgotten, Session};
use crate::{
    error::NormaliserError,
    keeping::{self, Keeping},
};
use change_log::{LogPoint, signal::Generation};
use store::Stamp;

impl Session<'_> {
    /// Takes the store down when it is time, and nothing of it waits to be told.
    pub(super) async fn keep(&mut self) -> Result<(), NormaliserError> {
        Keeping::check(self.fold.store())?;
        self.keeping.scrub(self.fold.store()).await?;
        self.look().await?;
        match self.between {
            Some(point) if self.keeping.is_due(self.fold.store(), point.offset) => self.checkpoint(point).await,
            _ => self.keeping.bound(self.fold.store_mut()),
        }
    }

    /// What is quiet, or waits for what the log has lost, is known to this run alone: a start would have to begin anew. And
    /// what an earlier run told is looked for behind the last stamp.
    pub(super) fn may_keep(&self) -> bool {
        let knows_what_was_told = matches!(self.forgotten, Forgotten::Nothing) && !self.fold.has_orphans();
        !self.fold.is_quiet() && self.missing.is_none() && knows_what_was_told
    }

    async fn checkpoint(&mut self, point: LogPoint) -> Result<(), NormaliserError> {
        if !self.may_keep() {
            return self.keeping.bound(self.fold.store_mut());
        }
        let Generation { number, revision, .. } = self.generation;
        let mut stamp = Stamp::new(&self.context.source.name, (number, revision), point);
        stamp.log = self.begins;
        stamp.known = self.known;
        stamp.tails = self.publisher.tails().clone();
        stamp.owned = self.owned.clone();
        stamp.left_out = self.left_out.behind();
        let mark = self.publisher.mark(point.offset).await?;
        self.keeping.begin(&mut self.fold, stamp, mark);
        Ok(())
    }

    /// Leaves things so that the next start has little to read. What cannot be done in time is found on the topics.
    pub(super) async fn end(&mut self) -> Result<(), NormaliserError> {
        if !self.context.is_owner().await {
            return Ok(());
        }
        let last = async {
            while !self.keeping.is_idle() {
                self.go_down().await?;
            }
            let dirty = self.fold.store().bytes() > 0;
            if let Some(point) = self.between.filter(|point| dirty || point.offset > self.keeping.kept()) {
                self.checkpoint(point).await?;
            }
            while !self.keeping.is_idle() {
                self.go_down().await?;
            }
            Ok::<_, NormaliserError>(())
        };
        if let Ok(kept) = tokio::time::timeout(keeping::LAST_MAX, last).await {
            kept?;
        }
        self.commit()?;
        self.commits.end().await;
        Ok(())
    }

    async fn go_down(&mut self) -> Result<(), NormaliserError> {
        tokio::select! {
            reaped = self.publisher.reap() => reaped?,
            () = tokio::time::sleep(keeping::LOOK) => {}
        }
        self.look().await
    }

    /// What is acknowledged is void behind a newer owner's records: who was frozen meanwhile keeps nothing of it.
    async fn look(&mut self) -> Result<(), NormaliserError> {
        if self.keeping.is_acknowledged(self.publisher.reached) && !self.context.is_owner().await {
            return Ok(());
        }
        self.keeping.look(self.fold.store_mut(), self.publisher.reached).await
    }
}
