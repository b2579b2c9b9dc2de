//! One task for each source: read its log, fold, publish, and then move the offset.

mod generation;
mod keep;
mod opening;

use crate::{
    commit::Commits,
    error::NormaliserError,
    inherited::Inherited,
    keeping::Keeping,
    left_out::LeftOut,
    missing::Missing,
    progress::Progress,
    publish::{Publisher, Settling},
    settings::{Settings, SourceSettings},
    tell,
    telling::Telling,
};
use boot::{
    Stop,
    health::{Health, Part},
    restart::in_one_line,
    supervisor::supervise,
    turns::in_turn,
};
use change_log::{
    Control, ControlBody, Item, KafkaSettings, LogPoint, LogReader, ReadError, Registry, Rejected, signal::Generation,
    topics::changes_topic,
};
use event::Quarantined;
use fold::{
    Fold, Output, Stands,
    retell::{At, Held, Stretch},
};
use mapping::Mapping;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::DiskStore;
use tokio::sync::OnceCell;

/// What it does for a source, as its part is called.
pub const WORK: &str = "normaliser";
/// Outputs made before they are sent.
const OUTPUTS_MAX: usize = 2_000;
/// How often the offset moves while there is traffic.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
const LAG_EVERY: Duration = Duration::from_secs(5);
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

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
        tasks.spawn(run_source(settings.clone(), source, kafka.clone(), registry.clone(), part, stop.clone()));
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
    stop: Stop,
) {
    // The first that has no mistakes is used until the source is stopped: an attempt tells what the one before it told.
    let (mapping, settling, failed) = (OnceCell::new(), Settling::default(), AtomicBool::new(false));
    let attempt = || async {
        let load = || async { Ok::<_, NormaliserError>(Arc::new(mapping::load(&source.mapping)?)) };
        let context = Context {
            settings: settings.clone(),
            source: source.clone(),
            mapping: Arc::clone(mapping.get_or_try_init(load).await?),
            kafka: kafka.clone(),
            registry: registry.clone(),
            part: part.clone(),
            stop: stop.clone(),
            settling: settling.clone(),
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
    /// What the log says before this generation began to be told, until then: see [`crate::retell`].
    quiet: Option<Stretch>,
    /// Tables that no snapshot has shown whole: what earlier generations told of them may be gone.
    unread: BTreeSet<usize>,
    /// What the log has lost, and what of that has not been read again.
    aged: bool,
    missing: Option<Missing>,
    left_out: LeftOut,
    /// What earlier generations left in quarantine, until it is known how it stands.
    inherited: Option<Inherited>,
}

impl Session<'_> {
    async fn follow(mut self, mut reader: LogReader, end: i64) -> Result<(), NormaliserError> {
        let name = self.context.source.name.clone();
        let mut caught_up = false;
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        let mut lag = tokio::time::interval(LAG_EVERY);
        loop {
            if !caught_up && reader.point().offset >= end {
                caught_up = true;
                tracing::info!(source = name, rows = self.fold.rows(), "has folded the log and follows it");
                self.say_ready();
            }
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
                }
                batch = reader.read() => match batch {
                    Ok(batch) => {
                        metrics::counter!("causeway_normaliser_changes_total", "source" => name.clone())
                            .increment(batch.items.len() as u64);
                        for item in batch.items {
                            self.begin_telling(offset_of(&item)).await?;
                            self.take(item).await?;
                        }
                        self.begin_telling(reader.point().offset).await?;
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
                    Err(error) => {
                        let read = reader.point().offset;
                        let gone = matches!(error, ReadError::Expired { .. } | ReadError::Hole { .. });
                        if gone && self.context.is_begun_anew(&self.generation, read).await {
                            return Err(NormaliserError::LogBegunAnew);
                        }
                        return Err(error.into());
                    }
                },
            }
        }
    }

    fn commit(&mut self) -> Result<(), NormaliserError> {
        let Self { context, generation, progress, publisher, commits, .. } = self;
        let anew = || Progress::open(&context.kafka, &context.source.name, generation);
        commits.look(progress, publisher.durable, &publisher.tails, anew)
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
        match (&self.missing, self.left_out.why()) {
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
                self.say(control.offset + 1).await?;
                self.take_back(control.offset + 1).await?;
                self.mark(control.offset + 1).await?;
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

    /// Where the log ended when this generation was fixed: what differs from what was told before is told, and what is
    /// no more is taken back. `before`: everything in front of this offset is folded.
    async fn begin_telling(&mut self, before: i64) -> Result<(), NormaliserError> {
        if self.unsettled > 0 || before < self.generation.upto || self.missing.is_some() {
            return Ok(());
        }
        let Some(mut stretch) = self.quiet.take() else { return Ok(()) };
        let items = stretch.items();
        let held = self.held().await?;
        let told = stretch.told(&held);
        tracing::info!(source = self.context.source.name, events = told.len(), "tells what differs from before");
        for event in told {
            self.send(&Output::Event(Box::new(event))).await?;
        }
        let inherited = self.inherited().await?;
        let untold = inherited.untold(items);
        self.inherited = Some(inherited);
        for item in untold {
            self.send(&Output::Quarantined(Box::new(item))).await?;
        }
        self.take_back(before).await?;
        self.mark(before).await
    }

    /// What is in quarantine from before, as the topic has it.
    async fn inherited(&mut self) -> Result<Inherited, NormaliserError> {
        match self.inherited.take() {
            Some(inherited) => Ok(inherited),
            None => Ok(Inherited::of(self.progress.open_items(&self.context.registry).await?)),
        }
    }

    /// What was told before: of an aged log by this generation, too.
    async fn held(&self) -> Result<Held, NormaliserError> {
        let below = self.generation.number.saturating_add(u32::from(self.aged));
        self.progress.held(&self.context.registry, below).await
    }

    /// Takes back what earlier generations told of tables that have been read whole by now, and that is no more.
    async fn take_back(&mut self, before: i64) -> Result<(), NormaliserError> {
        let shown: BTreeSet<usize> = self.unread.iter().copied().filter(|table| self.fold.shown(*table)).collect();
        if self.quiet.is_some() || shown.is_empty() {
            return Ok(());
        }
        self.unread.retain(|table| !shown.contains(table));
        if before <= self.told_before {
            return Ok(());
        }
        let mut inherited = self.inherited().await?;
        let over = inherited.over(&self.context.mapping, &self.unread, self.fold.open_items().iter());
        self.inherited = Some(inherited);
        for item in over {
            self.send(&Output::Quarantined(Box::new(item))).await?;
        }
        let source = &self.context.source.name;
        let Generation { number, revision, .. } = self.generation;
        let held = self.held().await?;
        let (position, committed_at) = self.fold.reached();
        let at = At { generation: number, revision, position, committed_at };
        let gone = held.gone(source, at, |patient, record| self.fold.stands(patient, record));
        if !gone.is_empty() {
            tracing::info!(source, events = gone.len(), "takes back what earlier generations told and is no more");
        }
        for event in gone {
            self.send(&Output::Event(Box::new(event))).await?;
        }
        // What waits is looked at again when the next snapshot is over.
        if held.any(|patient, record| self.fold.stands(patient, record) == Stands::Waits) {
            self.unread.extend(shown);
        }
        Ok(())
    }

    /// Everything before the offset is settled; an earlier run has said so of what it told. What waits for a table that is
    /// being read, or is left out, is not told yet.
    fn reached(&mut self, offset: i64, at: i64) {
        if offset > self.told_before && !self.fold.holds_back() && self.left_out.why().is_none() {
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
        if rejected.offset >= self.told_before {
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
        if self.quiet.is_some() { Ok(()) } else { self.publisher.mark(before).await }
    }

    /// Unless it is quiet, or an earlier run has.
    async fn tell(&mut self, output: Output, before: i64) -> Result<(), NormaliserError> {
        let told = before <= self.told_before;
        match (&mut self.quiet, output) {
            (Some(stretch), Output::Event(event)) => stretch.take(*event),
            (Some(stretch), Output::Quarantined(item)) => stretch.take_item(*item),
            (_, output) if !told => return self.send(&output).await,
            _ => {}
        }
        Ok(())
    }

    async fn send(&mut self, output: &Output) -> Result<(), NormaliserError> {
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
