//! Opens what a run of one source needs: its generation, its store, its log, and what was told by earlier runs.

use super::{Context, Forgotten, Session};
use crate::{
    commit::Commits,
    error::NormaliserError,
    keeping::{self, Keeping},
    left_out::LeftOut,
    missing::Missing,
    publish::{Publisher, Schemas},
    replays::Counting,
    telling::Telling,
    walk_rate::WalkRate,
};
use change_log::{
    Kept, LogPoint, LogReader, TopicSpec,
    owners::Owned,
    signal::{self, Generation, lives::LogNow},
    topics::{EVENTS, LINKS, QUARANTINE, ensure},
};
use event::avro;
use fold::{Fold, store::shapes};
use std::time::Instant;
use store::{DiskStore, Stamp, Tails, Wanted};

pub(super) struct Opened<'a> {
    pub session: Session<'a>,
    pub reader: LogReader,
    /// Where the log ended.
    pub end: i64,
}

async fn schemas(context: &Context) -> Result<Schemas, NormaliserError> {
    let Context { source, kafka, registry, .. } = context;
    let specs = [
        TopicSpec::changes(&source.name),
        TopicSpec::new(EVENTS, context.settings.events_partitions, Kept::Forever),
        TopicSpec::new(LINKS, 1, Kept::Compacted),
        TopicSpec::new(QUARANTINE, 1, Kept::Forever),
        signal::topic(),
        change_log::told::topic(),
    ];
    ensure(kafka, &specs).await?;
    let subject = |topic: &str| format!("{}-value", kafka.topic(topic));
    Ok(Schemas {
        events: registry.register(&subject(EVENTS), avro::SCHEMA).await?,
        quarantine: registry.register(&subject(QUARANTINE), avro::QUARANTINED_SCHEMA).await?,
    })
}

/// What was told before this run, and where that is known.
struct Before {
    /// The store is an earlier generation's.
    renewed: bool,
    forgotten: Forgotten,
    /// What the log says before this offset was told by an earlier generation.
    told_earlier: i64,
    /// What it says before this one was told by this generation, as far as the store knows.
    kept: i64,
    /// Where the topics ended when the store went down, if what was told after that counts.
    tails: Option<(Tails, Owned)>,
}

impl Before {
    async fn of(
        context: &Context,
        generation: &Generation,
        fold: &Fold<DiskStore>,
        stamp: Option<&Stamp>,
        lost: bool,
    ) -> Result<Self, NormaliserError> {
        let Some(stamp) = stamp else {
            let forgotten = if lost || generation.number > 0 { Forgotten::All } else { Forgotten::Nothing };
            return Ok(Self { renewed: false, forgotten, told_earlier: 0, kept: 0, tails: None });
        };
        let kept = stamp.point.offset;
        let told = || (stamp.tails.clone(), stamp.owned.clone());
        let after = || (Forgotten::After(stamp.tails.clone(), stamp.owned.clone()), Some(told()));
        if stamp.generation < generation.number {
            // What stands there is in another's words.
            let told = context.told_by(stamp.generation, stamp.revision).await?;
            let (forgotten, tails) = after();
            return Ok(Self { renewed: true, forgotten, told_earlier: told.max(kept), kept: 0, tails });
        }
        // What a walk told is named by no offset.
        let (forgotten, tails) = if fold.walks() { after() } else { (Forgotten::Nothing, None) };
        Ok(Self { renewed: false, forgotten, told_earlier: 0, kept, tails })
    }
}

/// `resumes`: with what stands in the store.
fn fold(context: &Context, generation: &Generation, store: DiskStore, resumes: bool) -> Fold<DiskStore> {
    let source = &context.source;
    let fold = Fold::with_store(context.mapping.clone(), &source.name, &source.organisation, store);
    let fold = fold.of_generation(generation.number, generation.log_before);
    if resumes { fold.resume() } else { fold }
}

pub(super) async fn open(context: &Context) -> Result<Opened<'_>, NormaliserError> {
    let Context { source, kafka, registry, mapping, .. } = context;
    let schemas = schemas(context).await?;
    let (owned, mut generation, progress, stand) = context.standing().await?;
    let log = LogNow::look(kafka, &source.name).await?;
    let (start, end) = (log.low, log.high);
    let wanted = Wanted {
        source: &source.name,
        generation: generation.number,
        shapes: &shapes(mapping),
        log: (start, end),
        begins: log.begins,
    };
    let (store, stamp) = keeping::open(context.settings.state.join(&source.name), &wanted).await?;
    let missing = match stamp {
        Some(_) => None,
        None => Missing::of(registry, &source.name, mapping, start, stand.offset).await?,
    };
    let point = stamp.as_ref().map_or(LogPoint { offset: start, ..LogPoint::default() }, |stamp| stamp.point);
    let mut fold = fold(context, &generation, store, stamp.is_some());
    let before = Before::of(context, &generation, &fold, stamp.as_ref(), missing.is_some()).await?;
    let Before { renewed, forgotten, mut told_earlier, kept, tails } = before;
    // Where the topics are known to have ended.
    let (tails, told_by_whom) = tails.unwrap_or((stand.tails, stand.owned));
    let already = progress.already(&tails, &told_by_whom).await?;
    // A stamp is written when all before it is acknowledged.
    let told_before = stand.offset.max(kept);
    if matches!(forgotten, Forgotten::All) || renewed {
        // Rows that are older than what was told are not compared with it.
        generation.upto = generation.upto.max(told_before);
        if stamp.is_none() {
            told_earlier = told_before;
        }
        fold.be_quiet();
    }
    let known = renewed || stamp.as_ref().is_some_and(|stamp| stamp.known);
    let mut reader = LogReader::resume(kafka, registry, &source.name, point)?;
    reader.tell(&context.part);
    let (from, upto) = (point.offset, generation.upto);
    let Generation { number, revision, .. } = generation;
    tracing::info!(source = source.name, number, revision, upto, from, told_before, end, "folds the log");
    let told_by = (&context.part, &context.settling);
    let publisher = Publisher::new(kafka, &schemas, (tails, already), context.owner(), told_by)?;
    let aside = signal::aside::follow(kafka, &source.name).await?;
    let behind = stamp.as_ref().map_or(&[][..], |stamp| &stamp.left_out);
    let left_out = LeftOut::new(aside, mapping, behind);
    let telling = Telling::new(publisher.producer(), kafka, &source.name, &source.organisation);
    let session = Session {
        context,
        generation,
        progress,
        publisher,
        fold,
        keeping: Keeping::new(&source.name, kept, context.settings.checkpoint_every()),
        between: stamp.is_some().then_some(point),
        within: false,
        telling,
        told_before,
        unsettled: 0,
        commits: Commits::new(told_before),
        begins: log.begins,
        forgotten,
        told_earlier,
        known,
        missing,
        left_out,
        counting: Counting::follow(kafka, &source.name).await?,
        walk_rate: (WalkRate::new(context.settings.walk_rows_per_s), Instant::now()),
        inherited: None,
        owned,
    };
    Ok(Opened { session, reader, end })
}
