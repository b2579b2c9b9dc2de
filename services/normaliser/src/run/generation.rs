//! Which generation a run tells: fixed before it is used, and told only when every sink reads by its order.

use super::Context;
use crate::{
    error::NormaliserError,
    progress::{Progress, Stand},
};
use change_log::{
    members,
    signal::{
        Generation, Meaning,
        lives::{self, LogNow},
        replay,
    },
};
use std::time::Duration;

/// While a sink does not read generations, its group is looked at this often.
const MEMBERS_AGAIN: Duration = Duration::from_secs(2);

impl Context {
    /// The generation that this run tells, and how far it is told.
    pub(super) async fn generation(&self) -> Result<(Generation, Progress, Stand), NormaliserError> {
        let (source, revision) = (&self.source.name, self.mapping.revision);
        let replay = replay::read(&self.kafka, source).await?.number;
        let meaning = Meaning { revision, digest: self.digest(), replay };
        let before = Generation { revision, ..Generation::default() };
        let told = Progress::open(&self.kafka, source, &before)?.load().await?.offset > 0;
        let mut lost = false;
        loop {
            let log = LogNow::look(&self.kafka, source).await?;
            let generation = lives::generation(&self.kafka, source, meaning, log, told, lost).await?;
            let progress = Progress::open(&self.kafka, source, &generation)?;
            let stand = progress.load().await?;
            // More was told of it than it holds: it is another.
            lost = stand.offset > log.high;
            if !lost {
                self.read_by_all(&generation).await?;
                return Ok((generation, progress, stand));
            }
            tracing::warn!(source, told = stand.offset, high = log.high, "the log was lost: a new generation begins");
        }
    }

    /// Of the mapping, and of the tables that it is read with. Never 0.
    fn digest(&self) -> u64 {
        let release =
            self.mapping.release.as_ref().map_or(0, |release| xxhash_rust::xxh3::xxh3_64(release.id().as_bytes()));
        let lab = self.mapping.lab.digest();
        self.mapping.digest.rotate_left(1).wrapping_add(lab).wrapping_add(release).max(1)
    }

    /// How far the log was told in an earlier generation.
    pub(super) async fn told_by(&self, number: u32, revision: u32) -> Result<i64, NormaliserError> {
        let earlier = Generation { number, revision, ..Generation::default() };
        Ok(Progress::open(&self.kafka, &self.source.name, &earlier)?.load().await?.offset)
    }

    /// Waits as long as a sink would not understand what this generation tells.
    async fn read_by_all(&self, generation: &Generation) -> Result<(), NormaliserError> {
        if generation.number == 0 {
            return Ok(());
        }
        let old = self.mapping.records.iter().all(|record| record.kind.is_of_version_1());
        let (order, what) = if old {
            (members::GENERATIONS, "generations, and would ignore corrections")
        } else {
            (members::KINDS, "every kind of record that the mapping makes, and would put them into quarantine")
        };
        let mut told = 0;
        loop {
            let behind =
                members::behind(&self.kafka, order).await.map_err(NormaliserError::kafka("ask who reads events"))?;
            if behind == 0 {
                return Ok(());
            }
            let why = format!(
                "waits: {behind} of the sinks' processes (consumer group `{}`) are of a version that does not read {what}: \
                 stop or upgrade them",
                self.kafka.topic(members::SINKS)
            );
            if behind != told {
                tracing::warn!(source = self.source.name, why);
            }
            told = behind;
            self.part.not_ready(why);
            tokio::time::sleep(MEMBERS_AGAIN).await;
        }
    }

    /// Whether the log is another than the one that this generation began with.
    pub(super) async fn is_begun_anew(&self, generation: &Generation, read: i64) -> bool {
        let Ok(log) = LogNow::look(&self.kafka, &self.source.name).await else { return false };
        log.low == 0 && (log.high < read || (generation.log.is_some() && log.begins != generation.log))
    }
}
