//! When the store goes down: between two transactions, and only what Kafka holds the events of.

use crate::error::NormaliserError;
use boot::failpoint;
use fold::Fold;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use store::{CHECKPOINT_BYTES, Checkpoint, DiskStore, EngineError, LAYER_BYTES_MAX, SCRUB_EVERY, Stamp, Wanted};
use tokio::task::JoinHandle;

/// After the stop signal, the last checkpoint has so long.
pub const LAST_MAX: Duration = Duration::from_secs(10);
/// How often a checkpoint that goes down is looked at then.
pub const LOOK: Duration = Duration::from_millis(20);

pub struct Keeping {
    source: String,
    every: Duration,
    since: Instant,
    /// Where the last one stands.
    kept: i64,
    state: State,
    scrubbing: Option<JoinHandle<Result<u64, EngineError>>>,
    scrubbed: Option<Instant>,
}

enum State {
    Idle,
    /// Until this mark has come out: everything before this offset is acknowledged, and what a walk told.
    Waits {
        before: i64,
        mark: u64,
        checkpoint: Arc<Checkpoint>,
    },
    GoesDown {
        before: i64,
        task: JoinHandle<Result<(), EngineError>>,
    },
}

impl Keeping {
    pub fn new(source: &str, kept: i64, every: Duration) -> Self {
        Self {
            source: source.to_owned(),
            every,
            since: Instant::now(),
            kept,
            state: State::Idle,
            scrubbing: None,
            scrubbed: None,
        }
    }

    /// Is it time for a checkpoint, as soon as a transaction ends?
    pub fn is_due(&self, store: &DiskStore, offset: i64) -> bool {
        let idle = matches!(self.state, State::Idle);
        idle && (offset > self.kept || store.bytes() > 0)
            && (store.bytes() >= CHECKPOINT_BYTES || self.since.elapsed() >= self.every)
    }

    /// Freezes what there is, of which the mark is the end. Nothing is under way.
    pub fn begin(&mut self, fold: &mut Fold<DiskStore>, stamp: Stamp, mark: u64) {
        let before = stamp.point.offset;
        let checkpoint = Arc::new(fold.rest().freeze(stamp));
        self.since = Instant::now();
        failpoint::reached("checkpoint.frozen");
        self.state = State::Waits { before, mark, checkpoint };
    }

    /// Where the last checkpoint stands that is on the disk.
    pub const fn kept(&self) -> i64 {
        self.kept
    }

    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Does a checkpoint go down next?
    pub const fn is_acknowledged(&self, reached: u64) -> bool {
        matches!(self.state, State::Waits { mark, .. } if reached >= mark)
    }

    /// Sends it down once its events are acknowledged, and notes that it is there.
    pub async fn look(&mut self, store: &mut DiskStore, reached: u64) -> Result<(), NormaliserError> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Waits { before, mark, checkpoint } if reached >= mark => {
                failpoint::reached("checkpoint.acknowledged");
                let task = tokio::task::spawn_blocking(move || checkpoint.write());
                self.state = State::GoesDown { before, task };
            }
            State::GoesDown { before, task } if task.is_finished() => {
                let written = task.await.map_err(|_| NormaliserError::Background)?;
                written.inspect_err(|error| store.condemn(error)).map_err(NormaliserError::Kept)?;
                failpoint::reached("checkpoint.written");
                store.landed();
                self.kept = before;
                tracing::debug!(source = self.source, before, "the store is on the disk");
                #[expect(clippy::cast_precision_loss, reason = "a gauge of an offset")]
                metrics::gauge!("causeway_normaliser_kept_offset", "source" => self.source.clone()).set(before as f64);
            }
            state => self.state = state,
        }
        Ok(())
    }

    /// Reads all of it once a day, beside what goes on.
    pub async fn scrub(&mut self, store: &DiskStore) -> Result<(), NormaliserError> {
        if let Some(task) = self.scrubbing.take_if(|task| task.is_finished()) {
            let read = task.await.map_err(|_| NormaliserError::Background)?;
            let rows = read.inspect_err(|error| store.condemn(error)).map_err(NormaliserError::Kept)?;
            tracing::debug!(source = self.source, rows, "the store was read whole");
        }
        let due = self.scrubbed.is_none_or(|at| at.elapsed() >= SCRUB_EVERY);
        if due && self.scrubbing.is_none() {
            let scrub = store.scrub();
            self.scrubbing = Some(tokio::task::spawn_blocking(move || scrub.run()));
            self.scrubbed = Some(Instant::now());
        }
        Ok(())
    }

    /// Nothing that was made of a store that failed is told.
    pub fn check(store: &DiskStore) -> Result<(), NormaliserError> {
        store.failure().map_or(Ok(()), |error| Err(NormaliserError::Kept(error)))
    }

    /// A layer that cannot go down as a checkpoint, and is too large, goes down without one.
    pub fn bound(&self, store: &mut DiskStore) -> Result<(), NormaliserError> {
        if store.bytes() < LAYER_BYTES_MAX || !self.is_idle() {
            return Ok(());
        }
        tracing::info!(source = self.source, "more has changed than is held in memory: it goes to the disk untold");
        store.spill().map_err(NormaliserError::Kept)
    }
}

/// The store of a source, as it was left; with no stamp if it has to be filled.
pub async fn open(folder: PathBuf, wanted: &Wanted<'_>) -> Result<(DiskStore, Option<Stamp>), NormaliserError> {
    let Wanted { generation, log, begins, .. } = *wanted;
    let (source, shapes) = (wanted.source.to_owned(), wanted.shapes.to_vec());
    let open = move || store::open(&folder, &Wanted { source: &source, generation, shapes: &shapes, log, begins });
    let opened = tokio::task::spawn_blocking(open).await.map_err(|_| NormaliserError::Background)??;
    Ok((opened.store, opened.stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use change_log::LogPoint;
    use fold::store::{Said, Store, shapes};
    use std::path::Path;

    const MAPPING: &str = "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\n[[record]]\nkind = \"encounter\"\nname = \"r\"\n\
        table = \"s.a\"\nid = \"id\"\npatient = \"patient\"\n";

    async fn opened(folder: &Path, mapping: &mapping::Mapping) -> (DiskStore, Option<Stamp>) {
        let shapes = shapes(mapping);
        let wanted = Wanted { source: "gp", generation: 0, shapes: &shapes, log: (0, 100), begins: Some(1) };
        open(folder.join("gp"), &wanted).await.expect("a store")
    }

    async fn until_idle(keeping: &mut Keeping, store: &mut DiskStore, reached: u64) {
        while !keeping.is_idle() {
            keeping.look(store, reached).await.expect("it goes down");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn nothing_goes_down_that_kafka_does_not_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let mapping = Arc::new(mapping::parse("m.toml", MAPPING).expect("a mapping"));
        let (mut store, stamp) = opened(folder.path(), &mapping).await;
        assert!(stamp.is_none());
        store.say("r/1", Some(Said::Waiting));
        let mut fold = Fold::with_store(mapping.clone(), "gp", "ORG01", store);
        let mut keeping = Keeping::new("gp", 0, Duration::ZERO);
        assert!(keeping.is_due(fold.store(), 7) && keeping.is_due(fold.store(), 0), "a walk changes it too");
        let stamp = |offset| Stamp::new("gp", (0, 1), LogPoint { offset, ..LogPoint::default() });
        let first = stamp(7);
        keeping.begin(&mut fold, first, 3);
        assert!(!keeping.is_due(fold.store(), 8), "one at a time");
        for reached in [0, 2] {
            for _ in 0..20 {
                keeping.look(fold.store_mut(), reached).await.expect("it waits");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(!keeping.is_idle() && keeping.kept() == 0, "{reached}");
        }
        until_idle(&mut keeping, fold.store_mut(), 3).await;
        assert_eq!(keeping.kept(), 7);
        assert!(!keeping.is_due(fold.store(), 7), "nothing is new");
        // What comes after is not there until it is told.
        fold.store_mut().say("r/1", None);
        let second = stamp(7);
        // A walk tells more, at the same offset.
        keeping.begin(&mut fold, second, 4);
        keeping.look(fold.store_mut(), 3).await.expect("it waits");
        drop(fold);
        drop(keeping);
        let (store, stamp) = opened(folder.path(), &mapping).await;
        assert_eq!((stamp.map(|stamp| stamp.point.offset), store.said("r/1")), (Some(7), Some(Said::Waiting)));
    }
}
