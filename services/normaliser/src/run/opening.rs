//! Opens what a run of one source needs: its generation, its store, its log, and what was told by earlier runs.

use super::{Context, Session};
use crate::{
    commit::Commits,
    error::NormaliserError,
    keeping::{self, Keeping},
    left_out::LeftOut,
    missing::Missing,
    publish::{Publisher, Schemas},
    telling::Telling,
};
use change_log::{
    Kept, LogPoint, LogReader, TopicSpec,
    signal::{self, Generation},
    topics::{EVENTS, LINKS, QUARANTINE, changes_topic, ensure},
};
use event::avro;
use fold::{Fold, retell::Stretch, store::shapes};
use std::{collections::BTreeSet, time::Duration};
use store::Stamp;

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
    let unread = NormaliserError::kafka("ask where the log ends");
    let log = kafka.watermarks(&kafka.topic(&changes_topic(&source.name)), 0).await.map_err(unread)?;
    let Generation { number, revision, upto, .. } = generation;
    let wanted = Stamp::new(&source.name, (number, revision), LogPoint::default(), &shapes(mapping));
    let (store, stamp) = keeping::open(context.settings.state.join(&source.name), wanted, log).await?;
    let (start, end) = log;
    let missing = match stamp {
        Some(_) => None,
        None => Missing::of(registry, &source.name, mapping, start, stand.offset).await?,
    };
    let point = stamp.as_ref().map_or(LogPoint { offset: start, ..LogPoint::default() }, |stamp| stamp.point);
    // A stamp is written when all before it is acknowledged.
    let kept = stamp.as_ref().map_or(0, |stamp| stamp.point.offset);
    let told_before = stand.offset.max(kept);
    let mut reader = LogReader::resume(kafka, registry, &source.name, point)?;
    reader.tell(&context.part);
    let from = point.offset;
    tracing::info!(source = source.name, number, revision, upto, from, told_before, end, "folds the log");
    let told_by = (&context.part, &context.settling);
    let publisher = Publisher::new(kafka, &schemas, stand.tails, stand.already, told_by)?;
    let aside = signal::aside::follow(kafka, &source.name).await?;
    let behind = stamp.as_ref().map_or(&[][..], |stamp| &stamp.left_out);
    let left_out = LeftOut::new(aside, mapping, behind);
    let fold = Fold::with_store(mapping.clone(), &source.name, &source.organisation, store);
    let fold = fold.of_generation(number, generation.log_before);
    let fold = if stamp.is_some() { fold.resume() } else { fold };
    let telling = Telling::new(publisher.producer(), kafka, &source.name, &source.organisation);
    let lost = missing.is_some();
    if lost {
        // What stood there is not known any more: what was told is compared with how things stand afterwards.
        generation.upto = upto.max(told_before);
    }
    // An earlier run may be through with it.
    let quiet = (lost || number > 0 && told_before < upto).then(Stretch::default);
    let all = mapping.tables.iter().enumerate();
    let unread: BTreeSet<usize> = match &stamp {
        Some(stamp) => {
            all.filter(|(_, table)| stamp.unread.contains(&table.id.to_string())).map(|(at, _)| at).collect()
        }
        None if lost || number > 0 => all.map(|(at, _)| at).collect(),
        None => BTreeSet::new(),
    };
    let session = Session {
        context,
        generation,
        progress,
        publisher,
        fold,
        keeping: Keeping::new(&source.name, kept, Duration::from_secs(context.settings.checkpoint_s.into())),
        between: None,
        within: false,
        telling,
        told_before,
        unsettled: 0,
        commits: Commits::new(told_before),
        quiet,
        unread,
        aged: lost || stamp.is_some_and(|stamp| stamp.aged),
        missing,
        left_out,
        inherited: None,
    };
    Ok(Opened { session, reader, end })
}
