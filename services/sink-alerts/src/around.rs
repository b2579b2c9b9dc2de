//! What the record holds around a person besides results and conditions: encounters and medicines.

use crate::read::{Patient, unzip};
use alert::{
    Facts, Limits,
    facts::{MEDICINES_MAX, Medicine, STAYS_MAX, Stay},
    rules,
};
use deadpool_postgres::Transaction;
use event::Micros;
use medicine::{Ingredient, Product};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

const HOUR: Micros = 3_600_000_000;

/// Of each linked source patient the last that were told and have not ended long ago, and one more of each holder, so that
/// it is known that its source tells of encounters.
const STAYS: &str = "select g.source, g.patient, e.class, e.source, e.organisation, \
        e.confidential or coalesce(p.confidential or p.retracted, false), \
        (extract(epoch from e.started_at) * 1000000)::int8, (extract(epoch from e.ended_at) * 1000000)::int8, \
        (extract(epoch from greatest(e.committed_at, g.linked_at)) * 1000000)::int8 \
    from alert.linked($1, $2) g \
    cross join lateral ( \
        (select e.* from record.encounter e where e.source = g.via_source and e.patient = g.via_patient \
            and not e.retracted and not coalesce(e.referral, false) \
            and (e.ended_at is null or e.ended_at >= to_timestamp($3::int8 / 1000000)) \
            order by e.committed_at desc, e.record limit $4) \
        union all \
        (select distinct on (e.organisation, e.confidential) e.* from record.encounter e \
            where e.source = g.via_source and e.patient = g.via_patient and not e.retracted \
            and not coalesce(e.referral, false) and e.ended_at < to_timestamp($3::int8 / 1000000) \
            order by e.organisation, e.confidential, e.record)) e \
    left join record.patient p on p.source = e.source and p.patient = e.patient \
    order by g.source, g.patient, 9, e.source, e.record";

pub async fn stays(
    transaction: &Transaction<'_>,
    facts: &mut BTreeMap<Patient, Facts>,
    limits: &Limits,
) -> Result<(), Error> {
    let wanting = facts.iter().filter(|(_, around)| rules::wants_stays(around, limits));
    let (sources, ids) = unzip(wanting.map(|(patient, _)| patient));
    if sources.is_empty() {
        return Ok(());
    }
    let now = facts.values().map(|around| around.now).min().unwrap_or_default();
    let since = now.saturating_sub(Micros::from(limits.catch_up_hours) * HOUR);
    let statement = transaction.prepare_cached(STAYS).await?;
    for row in transaction.query(&statement, &[&sources, &ids, &since, &STAYS_MAX]).await? {
        let stay = Stay {
            class: row.get::<_, Option<String>>(2).unwrap_or_default(),
            source: row.get(3),
            organisation: row.get(4),
            confidential: row.get(5),
            started_at: row.get(6),
            ended_at: row.get(7),
            known_at: row.get(8),
        };
        if let Some(facts) = facts.get_mut(&(row.get(0), row.get(1))) {
            facts.stays.push(stay);
        }
    }
    Ok(())
}

/// Of each linked source patient the last that were told and did not end long ago.
const MEDICINES: &str = "select g.source, g.patient, m.code_text, m.code_system, m.code, m.snomed, m.status, \
        coalesce(m.active, false), m.source, m.organisation, m.confidential or coalesce(p.confidential or p.retracted, false), \
        (extract(epoch from m.started_at) * 1000000)::int8, (extract(epoch from m.ended_at) * 1000000)::int8, \
        (extract(epoch from greatest(m.committed_at, g.linked_at)) * 1000000)::int8 \
    from alert.linked($1, $2) g \
    cross join lateral ( \
        select m.* from record.medication m where m.source = g.via_source and m.patient = g.via_patient \
            and not m.retracted and (coalesce(m.active, false) or m.ended_at >= to_timestamp($3::int8 / 1000000)) \
            order by m.committed_at desc, m.record limit $4) m \
    left join record.patient p on p.source = m.source and p.patient = m.patient \
    order by g.source, g.patient, 14, m.source, m.record";

/// Those of patients with a result that a pair speaks of. A product of which no ingredient is known bears on nothing.
pub async fn medicines(
    transaction: &Transaction<'_>,
    facts: &mut BTreeMap<Patient, Facts>,
    patients: &BTreeSet<Patient>,
    limits: &Limits,
) -> Result<(), Error> {
    let (sources, ids) = unzip(patients);
    if sources.is_empty() {
        return Ok(());
    }
    let now = facts.values().map(|around| around.now).min().unwrap_or_default();
    let since = now.saturating_sub(Micros::from(limits.catch_up_hours) * HOUR);
    let statement = transaction.prepare_cached(MEDICINES).await?;
    for row in transaction.query(&statement, &[&sources, &ids, &since, &MEDICINES_MAX]).await? {
        let Some(facts) = facts.get_mut(&(row.get(0), row.get(1))) else { continue };
        let text = row.get::<_, Option<&str>>(2).unwrap_or_default();
        let ingredients = limits.ingredients.all_of(&Product::new(text, row.get(5), row.get(3), row.get(4)));
        if ingredients.is_empty() {
            continue;
        }
        facts.medicines.push(Medicine {
            text: text.to_owned(),
            ingredients: ingredients.into_iter().map(Ingredient::names).collect(),
            source: row.get(8),
            organisation: row.get(9),
            confidential: row.get(10),
            taking: medicine::taking(row.get(6), row.get(7), row.get(12), now),
            started_at: row.get(11),
            ended_at: row.get(12),
            known_at: row.get(13),
        });
    }
    Ok(())
}
