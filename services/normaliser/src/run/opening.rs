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
};
use change_log::{
    Kept, LogPoint, LogReader, TopicSpec,
    signal::{self, Generation, lives::LogNow},
    topics::{EVENTS, LINKS, QUARANTINE, ensure},
};
use event::avro;
use fold::{Fold, store::shapes};
use std::time::Duration;
use store::Wanted;

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

pub(super) async fn open(context: &Context) -> Result<Opened<'_>, NormaliserError> {
    let Context { source, kafka, registry, mapping, .. } = context;
    let schemas = schemas(context).await?;
    let (mut generation, progress, stand) = context.generation().await?;
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
    let mut fold = Fold::with_store(mapping.clone(), &source.name, &source.organisation, store)
        .of_generation(generation.number, generation.log_before);
    if stamp.is_some() {
        fold = fold.resume();
    }
    let lost = missing.is_some();
    let renewed = stamp.as_ref().filter(|stamp| stamp.generation < generation.number);
    let (mut told_earlier, mut kept) = (0, stamp.as_ref().map_or(0, |stamp| stamp.point.offset));
    // Where the topics are known to have ended.
    let mut tails = stand.tails;
    let forgotten = match (&stamp, renewed) {
        (_, Some(stamp)) => {
            // What stands there is in another's words.
            told_earlier = context.told_by(stamp.generation, stamp.revision).await?.max(stamp.point.offset);
            kept = 0;
            tails.clone_from(&stamp.tails);
            Forgotten::After(stamp.tails.clone())
        }
        (Some(stamp), None) => {
            // What a walk told is named by no offset.
            if fold.walks() {
                tails.clone_from(&stamp.tails);
                Forgotten::After(stamp.tails.clone())
            } else {
                Forgotten::Nothing
            }
        }
        (None, _) if lost || generation.number > 0 => Forgotten::All,
        (None, _) => Forgotten::Nothing,
    };
    let already = progress.already(&tails).await?;
    // A stamp is written when all before it is acknowledged.
    let told_before = stand.offset.max(kept);
    if matches!(forgotten, Forgotten::All) || renewed.is_some() {
        // Rows that are older than what was told are not compared with it.
        generation.upto = generation.upto.max(told_before);
        if stamp.is_none() {
            told_earlier = told_before;
        }
        fold.be_quiet();
    }
    let known = renewed.is_some() || stamp.as_ref().is_some_and(|stamp| stamp.known);
    let mut reader = LogReader::resume(kafka, registry, &source.name, point)?;
    reader.tell(&context.part);
    let (from, upto) = (point.offset, generation.upto);
    let Generation { number, revision, .. } = generation;
    tracing::info!(source = source.name, number, revision, upto, from, told_before, end, "folds the log");
    let told_by = (&context.part, &context.settling);
    let publisher = Publisher::new(kafka, &schemas, tails, already, told_by)?;
    let aside = signal::aside::follow(kafka, &source.name).await?;
    let behind = stamp.as_ref().map_or(&[][..], |stamp| &stamp.left_out);
    let left_out = LeftOut::new(aside, mapping, behind);
    let telling = Telling::new(publisher.producer(), kafka, &source.name, &source.organisation);
    let every = Duration::from_secs(context.settings.checkpoint_s.into());
    let session = Session {
        context,
        generation,
        progress,
        publisher,
        fold,
        keeping: Keeping::new(&source.name, kept, every),
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
        inherited: None,
    };
    Ok(Opened { session, reader, end })
}
