//! One task for each source: read its log, fold, publish, and then move the offset.

mod generation;
mod keep;
mod opening;
mod owning;
mod walk;

use crate::{
    commit::Commits,
    error::NormaliserError,
    inherited::Inherited,
    keeping::Keeping,
    left_out::LeftOut,
    missing::Missing,
    progress::Progress,
    publish::{Publisher, Settling},
    replays::Counting,
    settings::{Settings, SourceSettings},
    tell,
    telling::Telling,
    walk_rate::WalkRate,
};
use boot::{
    Stop,
    health::{Health, Part},
    restart::in_one_line,
    supervisor::supervise,
    turns::in_turn,
};
use change_log::{
    Control, ControlBody, Item, KafkaSettings, Lease, LogPoint, LogReader, ReadError, Registry, Rejected,
    owners::Owned, signal::Generation, topics::changes_topic,
};
use event::Quarantined;
use fold::{Fold, Output};
use mapping::Mapping;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use store::{DiskStore, Tails};
use tokio::sync::OnceCell;

/// What it does for a source, as its part is called.
pub const WORK: &str = "normaliser";
/// Outputs made before they are sent.
const OUTPUTS_MAX: usize = 2_000;
/// How often the offset moves while there is traffic.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
const LAG_EVERY: Duration = Duration::from_secs(5);
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Between two pages of a walk, while the log tells nothing.
const WALK_AFTER: Duration = Duration::from_millis(1);

/// Runs every source until the stop signal. What ends one source ends that source alone.
pub async fn run(
    settings: Settings,
    sources: Vec<SourceSettings>,
    kafka: KafkaSettings,
    registry: Registry,
    health: Health,
    stop: Stop,
) -> Result<(), NormaliserError> {
    let mut tasks = tokio::task::JoinSet::new();
    for source in sources {
        let part = health.part_of(&source.name, WORK);
        tasks.spawn(run_source(settings.clone(), source, kafka.clone(), registry.clone(), part, None, stop.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|_| NormaliserError::Background)?;
    }
    Ok(())
}

/// Runs one source until the stop signal, whatever becomes of it; the part tells.
pub async fn run_source(
    settings: Settings,
    source: SourceSettings,
    kafka: KafkaSettings,
    registry: Registry,
    part: Part,
    lease: Option<Lease>,
    stop: Stop,
) {
    // The first that has no mistakes is used until the source is stopped: an attempt tells what the one before it told.
    let (mapping, settling, failed) = (OnceCell::new(), Settling::default(), AtomicBool::new(false));
    let attempt = || async {
        let load = || async {
            let mapping = mapping::load(&source.mapping)?;
            let (lab, release) = (settings.lab.clone(), settings.release.clone());
            Ok::<_, NormaliserError>(Arc::new(Mapping { lab, release, ..mapping }))
        };
        let context = Context {
            settings: settings.clone(),
            source: source.clone(),
            mapping: Arc::clone(mapping.get_or_try_init(load).await?),
            kafka: kafka.clone(),
            registry: registry.clone(),
            part: part.clone(),
            stop: stop.clone(),
            settling: settling.clone(),
            lease: lease.clone(),
        };
        let again = failed.load(Ordering::Relaxed);
        let ended = in_turn(&part, again, attempt(&context)).await;
        failed.store(ended.is_err(), Ordering::Relaxed);
        ended
    };
    supervise(&part, &stop, NormaliserError::worth_retrying, attempt).await;
}

struct Context {
    settings: Settings,
    source: SourceSettings,
    mapping: Arc<Mapping>,
    kafka: KafkaSettings,
    registry: Registry,
    part: Part,
    stop: Stop,
    settling: Settling,
    /// Other processes may work for the source, too: this one does as long as it holds the lease.
    lease: Option<Lease>,
}

/// One run of one source, from opening its log until something ends it.
async fn attempt(context: &Context) -> Result<(), NormaliserError> {
    let opening = async {
        context.settling.settled().await;
        opening::open(context).await
    };
    let opened = tokio::select! {
        opened = opening => opened?,
        () = context.stop.cancelled() => return Ok(()),
    };
    let (reader, end) = (opened.reader, opened.end);
    opened.session.follow(reader, end).await
}

struct Session<'a> {
    context: &'a Context,
    generation: Generation,
    progress: Progress,
    publisher: Publisher,
    fold: Fold<DiskStore>,
    keeping: Keeping,
    /// Where the log was read up to, if nothing of a transaction was open there.
    between: Option<LogPoint>,
    /// A transaction is not over: a large one is settled in pieces.
    within: bool,
    telling: Telling,
    /// Outputs of the log before this offset were told by an earlier run.
    told_before: i64,
    /// Entries applied since the last settlement.
    unsettled: usize,
    commits: Commits,
    /// The epoch of the log's first record.
    begins: Option<u32>,
    /// What was told before is not in the store: it is looked for on the topics when the quiet ends.
    forgotten: Forgotten,
    /// What the log says before this offset was told by earlier generations.
    told_earlier: i64,
    /// Nobody has to wait for the walk to be up to date: earlier generations told what it tells.
    known: bool,
    /// What the log has lost, and what of that has not been read again.
    missing: Option<Missing>,
    left_out: LeftOut,
    counting: Counting,
    /// How fast a walk may go, counted from when this run began.
    walk_rate: (WalkRate, Instant),
    /// What stands in quarantine, while a walk looks at what does.
    inherited: Option<Inherited>,
    /// Who this run is to those who read what it tells, where several processes may tell it.
    owned: Owned,
}

/// Where what was told stands that the store does not hold.
enum Forgotten {
    Nothing,
    /// On the topic after these ends, before which this owner told.
    After(Tails, Owned),
    All,
}

impl Session<'_> {
    async fn follow(mut self, mut reader: LogReader, end: i64) -> Result<(), NormaliserError> {
        let name = self.context.source.name.clone();
        let mut caught_up = false;
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        let mut lag = tokio::time::interval(LAG_EVERY);
        if !self.fold.is_quiet() {
            self.remember().await?;
        }
        self.end_quiet(reader.point().offset).await?;
        loop {
            if !caught_up && reader.point().offset >= end {
                caught_up = true;
                tracing::info!(source = name, rows = self.fold.rows(), "has folded the log and follows it");
                self.say_ready();
            }
            let counts = self.counting.is_due() && caught_up;
            tokio::select! {
                biased;
                () = self.context.stop.cancelled() => return self.end().await,
                reaped = self.publisher.reap() => reaped?,
                _ = commit.tick() => {
                    self.commit()?;
                    self.keep().await?;
                    reader.end_between(self.may_keep() && self.keeping.is_due(self.fold.store(), reader.point().offset));
                    self.telling.say(self.publisher.durable);
                }
                _ = lag.tick() => {
                    tell::lag(&self.context.kafka, &name, reader.point().offset, self.fold.reached().1);
                    if caught_up {
                        self.ask_for_what_is_missing().await;
                    }
                    if self.counting.is_replayed(self.generation.replay) {
                        self.end().await?;
                        return Err(NormaliserError::Replayed);
                    }
                }
                batch = reader.read() => match batch {
                    Ok(batch) => {
                        metrics::counter!("causeway_normaliser_changes_total", "source" => name.clone())
                            .increment(batch.items.len() as u64);
                        for item in batch.items {
                            self.end_quiet(offset_of(&item)).await?;
                            self.take(item).await?;
                        }
                        self.end_quiet(reader.point().offset).await?;
                        self.walk(reader.point().offset).await?;
                        self.count().await;
                        self.between = (self.unsettled == 0 && !self.within).then(|| reader.point());
                        self.keep().await?;
                        // After the items: a snapshot's end among them may have been what was missing.
                        if caught_up {
                            self.say_ready();
                        }
                    }
                    // The fold stands; only the reading has to wait.
                    Err(error) if error.worth_retrying() => {
                        self.read_again(&error);
                        tokio::time::sleep(READ_AGAIN_AFTER).await;
                    }
                    Err(error) => return Err(self.gone(error, reader.point().offset).await),
                },
                // Nothing comes just now.
                () = tokio::time::sleep(WALK_AFTER), if self.can_walk() || counts => {
                    self.walk(reader.point().offset).await?;
                    self.count().await;
                    if caught_up {
                        self.say_ready();
                    }
                }
            }
        }
    }

    /// What is wrong with the log that cannot be read on from this offset.
    async fn gone(&self, error: ReadError, read: i64) -> NormaliserError {
        let gone = matches!(error, ReadError::Expired { .. } | ReadError::Hole { .. });
        if gone && self.context.is_begun_anew(&self.generation, read).await {
            return NormaliserError::LogBegunAnew;
        }
        error.into()
    }

    fn commit(&mut self) -> Result<(), NormaliserError> {
        let Self { context, generation, progress, publisher, commits, owned, .. } = self;
        let anew = || Ok(Progress::open(&context.kafka, &context.source.name, generation)?.of(owned.clone()));
        commits.look(progress, publisher.durable, publisher.tails(), anew)
    }

    /// Where the log has lost rows, they are read again.
    async fn ask_for_what_is_missing(&mut self) {
        if let Some(missing) = &mut self.missing {
            missing.ask(&self.context.kafka, &self.context.source.name, self.generation.number).await;
            self.say_ready();
        }
    }

    /// Unless an operator has to see to the log first.
    fn say_ready(&mut self) {
        match (&self.missing, self.left_out.why().or_else(|| self.fold.walk_stands())) {
            (None, None) => self.context.part.ready(),
            (None, Some(why)) => self.context.part.ready_but(why),
            (Some(missing), _) => self.context.part.not_ready(missing.what_to_do(&self.context.source.name)),
        }
    }

    /// The reader's watch holds the part for as long as Kafka is away, or its client hangs.
    fn read_again(&self, error: &ReadError) {
        let told = in_one_line(error);
        match error {
            ReadError::Kafka { .. } | ReadError::Stalled(_) => {
                tracing::warn!(source = self.context.source.name, error = told, "reads again");
            }
            _ => self.context.part.not_ready(told),
        }
    }

    async fn take(&mut self, item: Item) -> Result<(), NormaliserError> {
        match item {
            Item::Entry(entry) => {
                self.begins.get_or_insert(entry.position.epoch);
                if self.fold.due_before(&entry) {
                    self.settle(entry.offset).await?;
                }
                let snapshot = matches!(entry.change, change::Change::Snapshot { .. });
                self.within = !snapshot && entry.commit_end.is_none();
                self.unsettled += 1;
                if self.fold.apply(&entry) {
                    self.settle(entry.offset + 1).await?;
                    if !snapshot {
                        self.reached(entry.offset + 1, entry.committed_at);
                    }
                }
                Ok(())
            }
            Item::Control(control) => self.control(&control).await,
            Item::Rejected(rejected) => self.rejected(rejected).await,
        }
    }

    async fn control(&mut self, control: &Control) -> Result<(), NormaliserError> {
        match &control.body {
            ControlBody::SnapshotBegin(it) => {
                self.missing.iter_mut().for_each(|missing| missing.begin(it));
                if let Some(position) = control.position {
                    self.fold.begin_snapshot(&it.snapshot, &it.tables, position);
                }
            }
            ControlBody::SnapshotChunk(it) => {
                self.fold.hear(it.at);
                self.settle(control.offset + 1).await?;
            }
            ControlBody::SnapshotEnd(it) => {
                if let Some(position) = control.position {
                    let at = (position, control.offset);
                    self.fold.end_snapshot(&it.snapshot, &it.tables, it.partial, at, it.at);
                }
                drop(self.missing.take_if(|missing| missing.end(it)));
                if !it.partial {
                    self.left_out.read(&it.tables);
                }
                self.settle(control.offset + 1).await?;
            }
            // Nothing of a transaction is open between transactions.
            ControlBody::Progress(it) if self.unsettled == 0 => {
                self.fold.hear(it.at);
                self.settle(control.offset + 1).await?;
                self.reached(control.offset + 1, it.at);
            }
            ControlBody::Progress(_) | ControlBody::Session(_) => {}
        }
        Ok(())
    }

    /// Everything before the offset is settled; an earlier run has said so of what it told. What waits for a table that is
    /// being read, or is left out, is not told yet.
    fn reached(&mut self, offset: i64, at: i64) {
        let level = !self.fold.is_quiet() && (self.known || !self.fold.walks()) && !self.fold.holds_back();
        if offset > self.told_before && level && self.left_out.why().is_none() {
            self.telling.settled(offset, at);
        }
    }

    /// A message that cannot be read goes to quarantine as it is. If it was a transaction's last, the rest of it
    /// is settled.
    async fn rejected(&mut self, rejected: Rejected) -> Result<(), NormaliserError> {
        let source = &self.context.source.name;
        let item = Quarantined {
            source: source.clone(),
            position: rejected.position,
            stage: "normaliser".into(),
            reason: "unreadable message".into(),
            detail: rejected.reason,
            key: rejected.key,
            topic: Some(changes_topic(source)),
            partition: Some(0),
            offset: Some(rejected.offset),
            original: rejected.value,
            ..Quarantined::default()
        };
        if rejected.offset >= self.told_before.max(self.told_earlier) {
            self.send(&Output::Quarantined(Box::new(item))).await?;
        }
        if rejected.commit_end.is_some() {
            self.within = false;
            self.settle(rejected.offset + 1).await?;
        }
        Ok(())
    }

    /// Sends what the log says before this offset, unless an earlier run has.
    async fn settle(&mut self, before: i64) -> Result<(), NormaliserError> {
        self.say(before).await?;
        self.mark(before).await
    }

    async fn say(&mut self, before: i64) -> Result<(), NormaliserError> {
        loop {
            let outputs = self.fold.settle(OUTPUTS_MAX);
            Keeping::check(self.fold.store())?;
            if outputs.is_empty() {
                if self.fold.settled() {
                    break;
                }
                continue;
            }
            for output in outputs {
                self.tell(output, before).await?;
            }
        }
        self.unsettled = 0;
        Ok(())
    }

    /// While it is quiet, nothing is told.
    async fn mark(&mut self, before: i64) -> Result<(), NormaliserError> {
        if !self.fold.is_quiet() {
            self.publisher.mark(before).await?;
        }
        Ok(())
    }

    /// Unless an earlier run has.
    async fn tell(&mut self, output: Output, before: i64) -> Result<(), NormaliserError> {
        let nameless = matches!(&output, Output::Quarantined(item) if item.item.is_none());
        let told_before = if nameless { self.told_before.max(self.told_earlier) } else { self.told_before };
        if before > told_before { self.send(&output).await } else { Ok(()) }
    }

    async fn send(&mut self, output: &Output) -> Result<(), NormaliserError> {
        if self.inherited.as_mut().is_some_and(|inherited| inherited.stands(output)) {
            return Ok(());
        }
        tell::output(&self.context.source.name, output);
        self.publisher.send(output).await
    }
}

const fn offset_of(item: &Item) -> i64 {
    match item {
        Item::Entry(entry) => entry.offset,
        Item::Control(control) => control.offset,
        Item::Rejected(rejected) => rejected.offset,
    }
}
