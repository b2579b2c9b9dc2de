//! One task for each source: read its log, fold, publish, and then move the offset.

use crate::{
    error::NormaliserError,
    fold::{Fold, Output},
    mapping::{self, Mapping},
    progress::Progress,
    publish::{EVENTS_TOPIC, LINKS_TOPIC, Publisher, QUARANTINE_TOPIC, Schemas},
    settings::{Settings, SourceSettings},
    telling::Telling,
};
use boot::{
    Stop,
    health::Health,
    restart::{in_one_line, until_stopped},
};
use change_log::{
    Control, ControlBody, Item, KafkaSettings, Kept, LogReader, Registry, Rejected, TopicSpec,
    topics::{changes_topic, ensure},
};
use event::{Quarantined, avro};
use std::{sync::Arc, time::Duration};

/// Outputs made before they are sent.
const OUTPUTS_MAX: usize = 2_000;
/// How often the offset moves while there is traffic.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
const LAG_EVERY: Duration = Duration::from_secs(5);
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Runs every source until the stop signal; the first error that needs an operator ends all.
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
        let part = health.part(&format!("normaliser-{}", source.name));
        let mapping = Arc::new(mapping::load(&source.mapping)?);
        let context = Context {
            settings: settings.clone(),
            source,
            mapping,
            kafka: kafka.clone(),
            registry: registry.clone(),
            part: part.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(async move {
            until_stopped(&part, &context.stop, NormaliserError::worth_retrying, || attempt(&context)).await
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended.unwrap_or(Err(NormaliserError::Background)) {
            stop.cancel();
            return Err(error);
        }
    }
    Ok(())
}

struct Context {
    settings: Settings,
    source: SourceSettings,
    mapping: Arc<Mapping>,
    kafka: KafkaSettings,
    registry: Registry,
    part: boot::health::Part,
    stop: Stop,
}

/// One run of one source, from opening its log until something ends it.
async fn attempt(context: &Context) -> Result<(), NormaliserError> {
    let Context { source, kafka, registry, stop, .. } = context;
    let opened = async {
        let specs = [
            TopicSpec::changes(&source.name),
            TopicSpec::new(EVENTS_TOPIC, context.settings.events_partitions, Kept::Forever),
            TopicSpec::new(LINKS_TOPIC, 1, Kept::Compacted),
            TopicSpec::new(QUARANTINE_TOPIC, 1, Kept::Forever),
            change_log::told::topic(),
        ];
        ensure(kafka, &specs).await?;
        let schemas = Schemas {
            events: registry.register(&format!("{}-value", kafka.topic(EVENTS_TOPIC)), avro::SCHEMA).await?,
            quarantine: registry
                .register(&format!("{}-value", kafka.topic(QUARANTINE_TOPIC)), avro::QUARANTINED_SCHEMA)
                .await?,
        };
        let progress = Progress::open(kafka, &source.name, context.mapping.revision)?;
        let stand = progress.load().await?;
        let reader = LogReader::open(kafka, registry, &source.name, 0)?;
        let (_, end) = reader.watermarks().await?;
        let publisher = Publisher::new(kafka, &schemas, stand.tails, stand.already)?;
        Ok::<_, NormaliserError>((progress, reader, publisher, stand.offset, end))
    };
    let (progress, reader, publisher, told_before, end) = tokio::select! {
        opened = opened => opened?,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(source = source.name, told_before, end, "folds the log from its start");
    let fold = Fold::new(context.mapping.clone(), &source.name, &source.organisation);
    let telling = Telling::new(publisher.producer(), kafka, &source.name, &source.organisation);
    let mut session =
        Session { context, progress, publisher, fold, telling, told_before, unsettled: 0, committed: told_before };
    session.follow(reader, end).await
}

struct Session<'a> {
    context: &'a Context,
    progress: Progress,
    publisher: Publisher,
    fold: Fold,
    telling: Telling,
    /// Outputs of the log before this offset were told by an earlier run.
    told_before: i64,
    /// Entries applied since the last settlement.
    unsettled: usize,
    committed: i64,
}

impl Session<'_> {
    async fn follow(&mut self, mut reader: LogReader, end: i64) -> Result<(), NormaliserError> {
        let name = self.context.source.name.clone();
        let mut caught_up = false;
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        let mut lag = tokio::time::interval(LAG_EVERY);
        loop {
            if !caught_up && reader.point().offset >= end {
                caught_up = true;
                tracing::info!(source = name, rows = self.fold.rows(), "has folded the log and follows it");
                self.context.part.ready();
            }
            tokio::select! {
                biased;
                () = self.context.stop.cancelled() => {
                    self.commit().await;
                    return Ok(());
                }
                reaped = self.publisher.reap(), if !self.publisher.idle() => reaped?,
                _ = commit.tick() => {
                    self.commit().await;
                    self.telling.say(self.publisher.durable);
                }
                _ = lag.tick() => measure(&reader, &name).await,
                batch = reader.read() => match batch {
                    Ok(batch) => {
                        if caught_up {
                            self.context.part.ready();
                        }
                        metrics::counter!("causeway_normaliser_changes_total", "source" => name.clone())
                            .increment(batch.items.len() as u64);
                        for item in batch.items {
                            self.take(item).await?;
                        }
                    }
                    // The fold stands; only the reading has to wait.
                    Err(error) if error.worth_retrying() => {
                        self.context.part.not_ready(in_one_line(&error));
                        tokio::time::sleep(READ_AGAIN_AFTER).await;
                    }
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }

    /// A commit that fails is tried again with the next one: until then a restart finds more to compare.
    async fn commit(&mut self) {
        let Some(durable) = self.publisher.durable.filter(|durable| *durable > self.committed) else { return };
        match self.progress.commit(durable, &self.publisher.tails).await {
            Ok(()) => self.committed = durable,
            Err(error) => tracing::warn!(error = in_one_line(&error), "could not commit"),
        }
    }

    async fn take(&mut self, item: Item) -> Result<(), NormaliserError> {
        match item {
            Item::Entry(entry) => {
                if self.fold.due_before(&entry) {
                    self.settle(entry.offset).await?;
                }
                self.unsettled += 1;
                if self.fold.apply(&entry) {
                    self.settle(entry.offset + 1).await?;
                    if !matches!(entry.change, change::Change::Snapshot { .. }) {
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
            // One of some rows says nothing of the others.
            ControlBody::SnapshotBegin(snapshot) if !snapshot.partial => self.fold.begin_snapshot(&snapshot.tables),
            ControlBody::SnapshotEnd(snapshot) => {
                if let Some(position) = control.position.filter(|_| !snapshot.partial) {
                    self.fold.end_snapshot(&snapshot.tables, position, control.offset, snapshot.at);
                }
                self.settle(control.offset + 1).await?;
            }
            // Nothing of a transaction is open between transactions.
            ControlBody::Progress(progress) if self.unsettled == 0 => {
                self.publisher.mark(control.offset + 1).await?;
                self.reached(control.offset + 1, progress.at);
            }
            ControlBody::Progress(_)
            | ControlBody::Session(_)
            | ControlBody::SnapshotBegin(_)
            | ControlBody::SnapshotChunk(_) => {}
        }
        Ok(())
    }

    /// Everything before the offset is settled; an earlier run has said so of what it told.
    fn reached(&mut self, offset: i64, at: i64) {
        if offset > self.told_before {
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
            self.settle(rejected.offset + 1).await?;
        }
        Ok(())
    }

    /// Sends what the log says before this offset, unless an earlier run has.
    async fn settle(&mut self, before: i64) -> Result<(), NormaliserError> {
        loop {
            let outputs = self.fold.settle(OUTPUTS_MAX);
            if outputs.is_empty() {
                if self.fold.settled() {
                    break;
                }
                continue;
            }
            if before > self.told_before {
                for output in &outputs {
                    self.send(output).await?;
                }
            }
        }
        self.unsettled = 0;
        self.publisher.mark(before).await
    }

    async fn send(&mut self, output: &Output) -> Result<(), NormaliserError> {
        let source = self.context.source.name.clone();
        match output {
            Output::Event(event) => {
                let (kind, action) = (event.body.kind().as_str(), event.action.as_str());
                let trace_id = event.traceparent.as_deref().and_then(boot::logs::trace_id);
                tracing::debug!(source, kind, action, position = %event.position, trace_id, "an event");
                metrics::counter!("causeway_normaliser_events_total", "source" => source, "kind" => kind, "action" => action)
                    .increment(1);
            }
            Output::Quarantined(item) => {
                tracing::warn!(source, reason = item.reason, detail = item.detail, "quarantined");
                metrics::counter!("causeway_quarantined_total", "source" => source, "stage" => "normaliser", "reason" => item.reason.clone())
                    .increment(1);
            }
        }
        self.publisher.send(output).await
    }
}

async fn measure(reader: &LogReader, source: &str) {
    let Ok((_, high)) = reader.watermarks().await else { return };
    #[expect(clippy::cast_precision_loss, reason = "a gauge of a count")]
    let behind = (high - reader.point().offset).max(0) as f64;
    metrics::gauge!("causeway_normaliser_lag_records", "source" => source.to_owned()).set(behind);
}
