//! Who this run is, where several processes may work for a source, and which commit of an earlier owner it believes.
//!
//! # Why
//! An owner that was frozen and wakes up commits what its broker has taken, although that is void: how far it got then says
//! nothing. A commit is believed if it is this owner's own, or if it is of the owner right before it and speaks of nothing
//! behind this owner's first records. Else what was told is read from the topics: slow, never wrong.

use super::Context;
use crate::{
    error::NormaliserError,
    progress::{Progress, Stand},
};
use change_log::{
    Lease,
    owners::{self, Owned},
    signal::Generation,
    topics::{EVENTS, QUARANTINE},
};

impl Context {
    /// Who this run is, what it tells, and how far that was told.
    pub(super) async fn standing(&self) -> Result<(Owned, Generation, Progress, Stand), NormaliserError> {
        // Before anything is looked at: what earlier owners write from here on is void.
        let owned = self.own().await?;
        let (generation, progress, stand) = self.generation().await?;
        let (progress, stand) = self.believed(&owned, progress, stand).await?;
        Ok((owned, generation, progress, stand))
    }

    /// As what is told bears it, if there may be other owners.
    pub(super) fn owner(&self) -> Option<String> {
        self.lease.as_ref().map(|lease| owners::owner(&self.source.name, lease.epoch()))
    }

    /// Does this run work for the source still? Where there are no other owners it does.
    pub(super) async fn is_owner(&self) -> bool {
        match &self.lease {
            Some(lease) => lease.holds().await,
            None => true,
        }
    }

    /// Opens the topics of what is told, if there may be other owners.
    async fn own(&self) -> Result<Owned, NormaliserError> {
        let Some(lease) = &self.lease else { return Ok(Owned::default()) };
        let opened = lease.open(&self.kafka, &[EVENTS, QUARANTINE], &self.source.name).await;
        opened.cloned().map_err(NormaliserError::kafka("open the topics of events as their owner"))
    }

    /// What is believed of where the last run stood. It is committed as this owner's own, so that whoever comes next need
    /// not ask who came before.
    async fn believed(
        &self,
        owned: &Owned,
        progress: Progress,
        stand: Stand,
    ) -> Result<(Progress, Stand), NormaliserError> {
        let progress = progress.of(owned.clone());
        let Some(lease) = &self.lease else { return Ok((progress, stand)) };
        if stand.owned.by == owned.by {
            return Ok((progress, stand));
        }
        if stand.owned.by > owned.by {
            return Err(NormaliserError::Elsewhere);
        }
        let stand = if is_believed(lease, owned, &stand) {
            stand
        } else {
            tracing::warn!(
                source = self.source.name,
                "an earlier owner went on after its source had been placed elsewhere: what was told is read from the topics"
            );
            Stand::default()
        };
        progress.commit(stand.offset, &stand.tails).await?;
        Ok((progress, stand))
    }
}

fn is_believed(lease: &Lease, owned: &Owned, stand: &Stand) -> bool {
    let before = match stand.owned.by {
        // Before processes shared their work; or nothing was told.
        0 => true,
        by => lease.before() == Some(by),
    };
    before && owned.comes_after(&stand.tails)
}

#[cfg(test)]
mod tests {
    use super::*;
    use change_log::owners::Offsets;

    #[test]
    fn what_a_frozen_owner_commits_later_is_not_believed() {
        let offsets = |at: i64| Offsets::from([(EVENTS.to_owned(), [(0, at)].into())]);
        let lease = Lease::new((9, Some(8)), "m".into(), || true);
        let owned = Owned { by: 9, opened: offsets(100) };
        let believed = |by, end| {
            let stand = Stand { offset: 7, tails: offsets(end), owned: Owned { by, opened: offsets(1) } };
            is_believed(&lease, &owned, &stand)
        };
        assert!(believed(8, 100) && believed(0, 60));
        assert!(!believed(8, 101), "it speaks of what is void");
        assert!(!believed(7, 60), "another owner came between");
    }
}
