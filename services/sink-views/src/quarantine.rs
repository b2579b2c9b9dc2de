//! What is in quarantine, as rows: never the values. An item that has a name is one row, and the latest of its records
//! counts, by the offset; closed, it stays as a marker, so that a replay opens nothing.

use crate::{
    ViewsError,
    plan::{Place, Plan, columns::commit_time},
};
use deadpool_postgres::Transaction;
use event::Quarantined;
use std::collections::BTreeMap;
use tokio_postgres::types::ToSql;

const ROWS: &str = "(source, position, stage, reason, source_table, patient, committed_at, topic_partition, topic_offset, \
        origin_topic, origin_partition, origin_offset, item, closed) \
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], \
        $8::int4[], $9::int8[], $10::text[], $11::int4[], $12::int8[], $13::text[], $14::bool[])";

/// Rows that an older sink, which knew no names, has written of these.
const NAMELESS: &str = "delete from record.quarantine q using unnest($1::int4[], $2::int8[]) as s (partition, \"offset\") \
    where q.item is null and q.topic_partition = s.partition and q.topic_offset = s.\"offset\"";

/// What was told before items had names closes by where it was told. What is closed by hand is one row, or that which was
/// told of the same message: of two that stand for themselves, position and reason may be the same.
const CLOSE_NAMELESS: &str = "update record.quarantine q set closed = true \
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int4[], $6::int8[], $7::int8[], $8::int8[]) \
        as s (source, position, reason, topic, partition, origin, closes, closing) \
    where q.item is null and q.topic_offset < s.closing and case when s.closes is null \
        then q.source = s.source and q.position = s.position and q.reason = s.reason \
            and q.origin_offset is not distinct from s.origin \
        else q.topic_offset = s.closes or (q.source = s.source and q.reason = s.reason and q.origin_topic = s.topic \
            and q.origin_partition = s.partition and q.origin_offset = s.origin) end";

pub async fn write(transaction: &Transaction<'_>, plan: &Plan) -> Result<(), ViewsError> {
    let mut named: BTreeMap<&str, (Place, &Quarantined)> = BTreeMap::new();
    let mut nameless = Vec::new();
    for (place, item) in &plan.quarantined {
        match &item.item {
            Some(name) => drop(named.insert(name, (*place, item))),
            None if !item.closed => nameless.push((*place, item)),
            None => {}
        }
    }
    insert(transaction, &nameless, "on conflict do nothing").await?;
    close_nameless(transaction, plan).await?;
    let named: Vec<(Place, &Quarantined)> = named.into_values().collect();
    if named.is_empty() {
        return Ok(());
    }
    let partitions: Vec<i32> = named.iter().map(|(place, _)| place.partition).collect();
    let offsets: Vec<i64> = named.iter().map(|(place, _)| place.offset).collect();
    let statement = transaction.prepare_cached(NAMELESS).await?;
    transaction.execute(&statement, &[&partitions, &offsets]).await?;
    insert(
        transaction,
        &named,
        "on conflict (item) where item is not null do update set source = excluded.source, position = excluded.position, \
            stage = excluded.stage, reason = excluded.reason, source_table = excluded.source_table, \
            patient = excluded.patient, committed_at = excluded.committed_at, topic_partition = excluded.topic_partition, \
            topic_offset = excluded.topic_offset, origin_topic = excluded.origin_topic, \
            origin_partition = excluded.origin_partition, origin_offset = excluded.origin_offset, closed = excluded.closed \
            where excluded.topic_offset > t.topic_offset",
    )
    .await
}

async fn insert(
    transaction: &Transaction<'_>,
    items: &[(Place, &Quarantined)],
    on_conflict: &str,
) -> Result<(), ViewsError> {
    if items.is_empty() {
        return Ok(());
    }
    let text =
        |pick: fn(&Quarantined) -> &str| -> Vec<String> { items.iter().map(|(_, item)| shown(pick(item))).collect() };
    let maybe = |pick: fn(&Quarantined) -> Option<&String>| -> Vec<Option<String>> {
        items.iter().map(|(_, item)| pick(item).map(|text| shown(text))).collect()
    };
    let positions: Vec<String> = items.iter().map(|(_, item)| position(item)).collect();
    let committed: Vec<_> = items.iter().map(|(_, item)| item.committed_at.map(commit_time)).collect();
    let partitions: Vec<i32> = items.iter().map(|(place, _)| place.partition).collect();
    let offsets: Vec<i64> = items.iter().map(|(place, _)| place.offset).collect();
    let origin_partitions: Vec<Option<i32>> = items.iter().map(|(_, item)| item.partition).collect();
    let origin_offsets: Vec<Option<i64>> = items.iter().map(|(_, item)| item.offset).collect();
    let closed: Vec<bool> = items.iter().map(|(_, item)| item.closed).collect();
    let parameters: [&(dyn ToSql + Sync); 14] = [
        &text(|item| &item.source),
        &positions,
        &text(|item| &item.stage),
        &text(|item| &item.reason),
        &maybe(|item| item.table.as_ref()),
        &maybe(|item| item.patient.as_ref()),
        &committed,
        &partitions,
        &offsets,
        &maybe(|item| item.topic.as_ref()),
        &origin_partitions,
        &origin_offsets,
        &maybe(|item| item.item.as_ref()),
        &closed,
    ];
    let statement =
        transaction.prepare_cached(&format!("insert into record.quarantine as t {ROWS} {on_conflict}")).await?;
    transaction.execute(&statement, &parameters).await?;
    Ok(())
}

async fn close_nameless(transaction: &Transaction<'_>, plan: &Plan) -> Result<(), ViewsError> {
    let closed: Vec<&(Place, Quarantined)> = plan.quarantined.iter().filter(|(_, item)| item.closed).collect();
    if closed.is_empty() {
        return Ok(());
    }
    let sources: Vec<String> = closed.iter().map(|(_, item)| shown(&item.source)).collect();
    let positions: Vec<String> = closed.iter().map(|(_, item)| position(item)).collect();
    let reasons: Vec<String> = closed.iter().map(|(_, item)| shown(&item.reason)).collect();
    let topics: Vec<Option<String>> = closed.iter().map(|(_, item)| item.topic.as_deref().map(shown)).collect();
    let partitions: Vec<Option<i32>> = closed.iter().map(|(_, item)| item.partition).collect();
    let origins: Vec<Option<i64>> = closed.iter().map(|(_, item)| item.offset).collect();
    let closes: Vec<Option<i64>> = closed.iter().map(|(_, item)| item.closes).collect();
    let closings: Vec<i64> = closed.iter().map(|(place, _)| place.offset).collect();
    let statement = transaction.prepare_cached(CLOSE_NAMELESS).await?;
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&sources, &positions, &reasons, &topics, &partitions, &origins, &closes, &closings];
    transaction.execute(&statement, &parameters).await?;
    Ok(())
}

/// PostgreSQL's text holds no NUL.
fn shown(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn position(item: &Quarantined) -> String {
    item.position.map_or_else(String::new, |position| position.to_string())
}
