//! Working out who is one person, of all that could join to what has changed, and writing what comes of it.

use super::patients;
use crate::error::LinkerError;
use event::LinkStatus;
use identity::{
    Decision, Known,
    partition::{Judged, Pair, Settled, Settlement, Verdict, Waiting, settle as partition},
    reason,
    score::{Band, Scored, stop},
    weight::Weight,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Row, Transaction};

/// More patients than these hang together by nothing but mistakes.
pub const TOGETHER_MAX: usize = 100_000;

/// Settles these, and whoever could be one person with any of them. The number of links that changed.
///
/// Of those that hang together with too many nothing is decided: who has a link keeps it, who has none is held, and
/// everybody else is settled.
pub async fn settle(
    transaction: &Transaction<'_>,
    touched: BTreeSet<i64>,
    decided_at: i64,
    parameters: &str,
) -> Result<usize, LinkerError> {
    let everybody = match together(transaction, touched.clone()).await? {
        Together::All(all) => return settle_all(transaction, all, decided_at, parameters).await,
        Together::TooMany(_) => touched,
    };
    let (mut changed, mut settled, mut too_many) = (0, BTreeSet::new(), BTreeSet::new());
    let mut undecided = Vec::new();
    for one in everybody {
        if settled.contains(&one) {
            continue;
        }
        let known = too_many.contains(&one);
        match if known { None } else { Some(together(transaction, BTreeSet::from([one])).await?) } {
            Some(Together::All(all)) => {
                settled.extend(all.iter().copied());
                changed += settle_all(transaction, all, decided_at, parameters).await?;
            }
            Some(Together::TooMany(some)) => {
                too_many.extend(some);
                undecided.push(one);
            }
            None => undecided.push(one),
        }
    }
    metrics::counter!("causeway_linker_undecided_total").increment(undecided.len() as u64);
    tracing::warn!(
        patients = undecided.len(),
        "hang together with more than {TOGETHER_MAX} others, and are left as they are: raise bands.link of the weights, or \
         mend the source that gives so many one number"
    );
    Ok(changed + hold(transaction, &undecided, decided_at, parameters).await?)
}

/// Who has no link yet is somebody, and held.
async fn hold(
    transaction: &Transaction<'_>,
    seen: &[i64],
    decided_at: i64,
    parameters: &str,
) -> Result<usize, LinkerError> {
    let sql = "select seen from identity.patient p where seen = any($1) and not exists \
               (select from identity.link l where (l.source, l.patient) = (p.source, p.patient))";
    let new: Vec<i64> = transaction.query(sql, &[&seen]).await?.iter().map(|row| row.get(0)).collect();
    let members: Vec<Known> = patients::of_seen(transaction, &new).await?.into_values().collect();
    let held = |known: &Known| Settled {
        decision: Decision { person: known.own, status: LinkStatus::Held, reason: reason::TOO_MANY_TOGETHER },
        evidence: None,
    };
    let settlement = Settlement { settled: members.iter().map(held).collect(), waiting: Vec::new() };
    links(transaction, &members, &settlement, decided_at, parameters).await
}

async fn settle_all(
    transaction: &Transaction<'_>,
    all: BTreeSet<i64>,
    decided_at: i64,
    parameters: &str,
) -> Result<usize, LinkerError> {
    if all.is_empty() {
        return Ok(0);
    }
    let seen: Vec<i64> = all.into_iter().collect();
    let known = patients::of_seen(transaction, &seen).await?;
    let places: BTreeMap<i64, usize> = known.keys().enumerate().map(|(at, seen)| (*seen, at)).collect();
    let members: Vec<Known> = known.into_values().collect();
    let verdicts = transaction
        .query(
            "select one, other, verdict, cardinality(people) from identity.verdict where one = any($1) or other = any($1)",
            &[&seen],
        )
        .await?;
    let apart: BTreeSet<(i64, i64)> =
        verdicts.iter().filter(|row| row.get::<_, &str>(2) == "cannot").map(|row| (row.get(0), row.get(1))).collect();
    let judged: Vec<Judged> = verdicts.iter().filter_map(|row| judged(row, &places)).collect();
    let rows = transaction
        .query(
            "select one, other, weight, band, stop from identity.pair where one = any($1) or other = any($1)",
            &[&seen],
        )
        .await?;
    let (mut pairs, mut outside) = (Vec::new(), Vec::new());
    for row in &rows {
        let key: (i64, i64) = (row.get(0), row.get(1));
        let scored = stored(row)?;
        let (one, other) = (places.get(&key.0).copied(), places.get(&key.1).copied());
        match (one.or(other), one.and(other)) {
            (Some(_), Some(other)) => pairs.push(Pair { one: places[&key.0], other: Some(other), scored }),
            (Some(inside), None) if !apart.contains(&key) => {
                outside.push((key, scored.stop.unwrap_or(stop::BETWEEN), scored.weight));
                pairs.push(Pair { one: inside, other: None, scored });
            }
            _ => {}
        }
    }
    let settlement = partition(&members, &judged, &pairs);
    queue(transaction, &seen, &members, &settlement.waiting, &outside, decided_at).await?;
    links(transaction, &members, &settlement, decided_at, parameters).await
}

fn judged(row: &Row, places: &BTreeMap<i64, usize>) -> Option<Judged> {
    let verdict = match row.get(2) {
        "must" => Verdict::Must { people: u8::try_from(row.get::<_, i32>(3)).unwrap_or(u8::MAX) },
        "merge" => Verdict::SourceMerge,
        _ => Verdict::Cannot,
    };
    Some(Judged { one: *places.get(&row.get(0))?, other: *places.get(&row.get(1))?, verdict })
}

fn stored(row: &Row) -> Result<Scored, LinkerError> {
    let stop = match row.get::<_, Option<&str>>(4) {
        Some(text) => Some(stop::stored(text).ok_or(LinkerError::Stored("stop"))?),
        None => None,
    };
    let band = if row.get::<_, &str>(3) == "link" { Band::Link } else { Band::Clerical };
    Ok(Scored { levels: identity::compare::Levels::default(), weight: Weight(row.get(2)), band, stop })
}

/// By each number once: a source that gives thousands one number would make millions of pairs.
const NEIGHBOURS: &str = "select b.seen
      from (select distinct number_now from identity.patient where seen = any($1) and verified and not withdrawn) as a
      join identity.patient b on b.number_now = a.number_now
      where b.verified and not b.withdrawn
    union select other from identity.pair where one = any($1) and band = 'link'
    union select one from identity.pair where other = any($1) and band = 'link'
    union select other from identity.verdict where one = any($1) and verdict <> 'cannot'
    union select one from identity.verdict where other = any($1) and verdict <> 'cannot'";

/// Who hangs together.
enum Together {
    All(BTreeSet<i64>),
    /// Some of them, more than `TOGETHER_MAX`.
    TooMany(BTreeSet<i64>),
}

/// All that anything could join to these, step by step.
async fn together(transaction: &Transaction<'_>, touched: BTreeSet<i64>) -> Result<Together, LinkerError> {
    let mut frontier: Vec<i64> = touched.iter().copied().collect();
    let mut all = touched;
    let statement = transaction.prepare(NEIGHBOURS).await?;
    while !frontier.is_empty() {
        let rows = transaction.query(&statement, &[&frontier]).await?;
        frontier = rows.iter().map(|row| row.get(0)).filter(|seen| all.insert(*seen)).collect();
        if all.len() > TOGETHER_MAX {
            return Ok(Together::TooMany(all));
        }
    }
    Ok(Together::All(all))
}

/// Brings the clerks' queue up to what waits of these.
async fn queue(
    transaction: &Transaction<'_>,
    seen: &[i64],
    members: &[Known],
    waiting: &[Waiting],
    outside: &[((i64, i64), &'static str, Weight)],
    decided_at: i64,
) -> Result<(), LinkerError> {
    let (mut one, mut other, mut reason, mut weight) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for waiting in waiting {
        let (first, second) = (members[waiting.one].seen, members[waiting.other].seen);
        one.push(first.min(second));
        other.push(first.max(second));
        reason.push(waiting.reason);
        weight.push(waiting.weight.map(|weight| weight.0));
    }
    for (key, why, bits) in outside {
        one.push(key.0);
        other.push(key.1);
        reason.push(*why);
        weight.push(Some(bits.0));
    }
    transaction
        .execute(
            "delete from identity.queue q where (q.one = any($1) or q.other = any($1)) and not exists
               (select from unnest($2::int8[], $3::int8[]) as s (one, other) where s.one = q.one and s.other = q.other)",
            &[&seen, &one, &other],
        )
        .await?;
    transaction
        .execute(
            "insert into identity.queue as q (one, other, reason, weight, since)
             select s.one, s.other, s.reason, s.weight, $5::timestamptz
             from unnest($1::int8[], $2::int8[], $3::text[], $4::int4[]) as s (one, other, reason, weight)
             on conflict (one, other) do update set reason = excluded.reason, weight = excluded.weight
             where (q.reason, q.weight) is distinct from (excluded.reason, excluded.weight)",
            &[&one, &other, &reason, &weight, &super::instant(decided_at)],
        )
        .await?;
    Ok(())
}

const LINKS: &str = "with told as materialized (
      select s.source, s.patient, s.person::uuid as person, s.status, s.reason, s.rule, s.weight, s.parameters, s.other_source,
        s.other_patient, s.nth
      from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int4[], $8::text[], $9::text[],
        $10::text[]) with ordinality
        as s (source, patient, person, status, reason, rule, weight, parameters, other_source, other_patient, nth)),
    before as materialized (select l.source, l.patient, l.person from identity.link l join told using (source, patient)),
    changed as (
      insert into identity.link as l (source, patient, person, version, status, reason, rule, weight, parameters, other_source,
        other_patient, decided_at)
      select source, patient, person, 1, status, reason, rule, weight, parameters, other_source, other_patient, $11::timestamptz
      from told order by nth
      on conflict (source, patient) do update set person = excluded.person, version = l.version + 1, status = excluded.status,
        reason = excluded.reason, rule = excluded.rule, weight = excluded.weight, parameters = excluded.parameters,
        other_source = excluded.other_source, other_patient = excluded.other_patient, decided_at = excluded.decided_at
      where (l.person, l.status, l.reason, l.rule, l.weight, l.parameters, l.other_source, l.other_patient) is distinct from
        (excluded.person, excluded.status, excluded.reason, excluded.rule, excluded.weight, excluded.parameters,
         excluded.other_source, excluded.other_patient)
      returning *),
    kept as (
      insert into identity.history (source, patient, version, person, before, status, reason, rule, weight, parameters,
        other_source, other_patient, decided_at)
      select c.source, c.patient, c.version, c.person, b.person, c.status, c.reason, c.rule, c.weight, c.parameters,
        c.other_source, c.other_patient, c.decided_at
      from changed c left join before b using (source, patient))
    insert into identity.outbox (source, patient, person, version, status, reason, rule, weight, parameters, other_source,
      other_patient, decided_at)
    select c.source, c.patient, c.person, c.version, c.status, c.reason, c.rule, c.weight, c.parameters, c.other_source,
      c.other_patient, c.decided_at
    from changed c join told using (source, patient) order by told.nth";

/// Writes the next version of every link that says something else; its history, and its outbox row.
async fn links(
    transaction: &Transaction<'_>,
    members: &[Known],
    settlement: &Settlement,
    decided_at: i64,
    version: &str,
) -> Result<usize, LinkerError> {
    let sources: Vec<&str> = members.iter().map(|member| member.source.as_str()).collect();
    let patients: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
    let settled = || settlement.settled.iter();
    let persons: Vec<String> = settled().map(|settled| settled.decision.person.to_string()).collect();
    let statuses: Vec<&str> = settled().map(|settled| settled.decision.status.as_str()).collect();
    let reasons: Vec<&str> = settled().map(|settled| settled.decision.reason).collect();
    let rules: Vec<Option<&str>> = settled().map(|settled| Some(settled.evidence?.rule.as_str())).collect();
    let weights: Vec<Option<i32>> = settled().map(|settled| Some(settled.evidence?.weight?.0)).collect();
    let parameters: Vec<Option<&str>> = weights.iter().map(|weight| weight.map(|_| version)).collect();
    let other = |key: fn(&Known) -> &str| -> Vec<Option<&str>> {
        settled().map(|settled| Some(key(&members[settled.evidence?.with]))).collect()
    };
    let changed = transaction
        .execute(
            LINKS,
            &[
                &sources,
                &patients,
                &persons,
                &statuses,
                &reasons,
                &rules,
                &weights,
                &parameters,
                &other(|known| &known.source),
                &other(|known| &known.id),
                &super::instant(decided_at),
            ],
        )
        .await?;
    Ok(usize::try_from(changed).unwrap_or(usize::MAX))
}
