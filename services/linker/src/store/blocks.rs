//! The blocking index, and the pairs that come of it.
//!
//! # Why
//! A pair is made by what both records say and by how large their blocks are, never by who came first. So when a block grows
//! beyond its maximum, or shrinks back, the pairs of all its members are made anew: at most as many as a block and a batch hold.

use super::patients;
use crate::error::LinkerError;
use identity::{
    Known,
    block::{BLOCK_MAX, keys},
    parameters::Parameters,
    score::{Band, Scored, score},
    whole::is_weighed,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tokio_postgres::Transaction;
use xxhash_rust::xxh3::xxh3_64;

/// One more than a block may hold: enough to know that it is too large.
const LOOKED_AT: i64 = BLOCK_MAX as i64 + 1;

/// Makes the pairs of these patients anew. All whose pairs have changed, or may have.
pub async fn pair(
    transaction: &Transaction<'_>,
    changed: &[i64],
    parameters: Option<&Parameters>,
) -> Result<BTreeSet<i64>, LinkerError> {
    let known = patients::of_seen(transaction, changed).await?;
    let crossed = index(transaction, &known, parameters.is_some()).await?;
    let mut touched: BTreeSet<i64> = changed.iter().chain(&crossed).copied().collect();
    let seen: Vec<i64> = touched.iter().copied().collect();
    let scored = match parameters {
        Some(parameters) => scored(transaction, &seen, known, parameters).await?,
        None => Vec::new(),
    };
    let gone = transaction
        .query("delete from identity.pair where one = any($1) or other = any($1) returning one, other", &[&seen])
        .await?;
    touched.extend(gone.iter().flat_map(|row| [row.get::<_, i64>(0), row.get(1)]));
    touched.extend(scored.iter().flat_map(|(one, other, _)| [*one, *other]));
    if let Some(parameters) = parameters {
        write(transaction, &scored, parameters).await?;
    }
    Ok(touched)
}

/// Which block, whatever it is called: two keys that happen to be one number only make more pairs to compare.
pub fn number(key: &(identity::block::Block, String)) -> i64 {
    let text = format!("{}\0{}", key.0.as_str(), key.1);
    xxh3_64(text.as_bytes()).cast_signed()
}

/// Brings the index up to what is known of these. The members of blocks that became too large by it, or are no longer.
async fn index(
    transaction: &Transaction<'_>,
    known: &BTreeMap<i64, Known>,
    weighed: bool,
) -> Result<Vec<i64>, LinkerError> {
    let seen: Vec<i64> = known.keys().copied().collect();
    let rows = transaction.query("select key, patient from identity.block where patient = any($1)", &[&seen]).await?;
    let before: BTreeSet<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let after: BTreeSet<(i64, i64)> = known
        .iter()
        .filter(|_| weighed)
        .flat_map(|(seen, known)| keys(known).map(|key| (number(&key), *seen)))
        .collect();
    let (gone, new): (Vec<_>, Vec<_>) =
        (before.difference(&after).copied().collect(), after.difference(&before).copied().collect());
    let affected: BTreeSet<i64> = gone.iter().chain(&new).map(|(key, _)| *key).collect();
    let affected: Vec<i64> = affected.into_iter().collect();
    let full_before = full(transaction, &affected).await?;
    let change = |entries: &[(i64, i64)]| -> (Vec<i64>, Vec<i64>) { entries.iter().copied().unzip() };
    let (gone_keys, gone_patients) = change(&gone);
    let (new_keys, new_patients) = change(&new);
    transaction
        .execute(
            "delete from identity.block b using unnest($1::int8[], $2::int8[]) as s (key, patient)
             where b.key = s.key and b.patient = s.patient",
            &[&gone_keys, &gone_patients],
        )
        .await?;
    transaction
        .execute(
            "insert into identity.block (key, patient) select * from unnest($1::int8[], $2::int8[])",
            &[&new_keys, &new_patients],
        )
        .await?;
    let full_after = full(transaction, &affected).await?;
    let crossed: Vec<i64> = full_before.symmetric_difference(&full_after).copied().collect();
    metrics::counter!("causeway_linker_blocks_overflowed_total")
        .increment(full_after.difference(&full_before).count() as u64);
    let rows = transaction.query("select patient from identity.block where key = any($1)", &[&crossed]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Those of these blocks that hold too many.
async fn full(transaction: &Transaction<'_>, keys: &[i64]) -> Result<BTreeSet<i64>, LinkerError> {
    let sql = "select k.key from unnest($1::int8[]) as k (key) where \
               (select count(*) from (select from identity.block b where b.key = k.key limit $2) as looked) >= $2";
    Ok(transaction.query(sql, &[&keys, &LOOKED_AT]).await?.iter().map(|row| row.get(0)).collect())
}

/// The pairs of these patients that weigh enough for a link or a clerk.
async fn scored(
    transaction: &Transaction<'_>,
    seen: &[i64],
    mut known: BTreeMap<i64, Known>,
    parameters: &Parameters,
) -> Result<Vec<(i64, i64, Scored)>, LinkerError> {
    let rows = transaction
        .query(
            "select k.key, m.patient from (select distinct key from identity.block where patient = any($1)) as k
             cross join lateral (select patient from identity.block b where b.key = k.key limit $2) as m",
            &[&seen, &LOOKED_AT],
        )
        .await?;
    let mut blocks: HashMap<i64, Vec<i64>> = HashMap::new();
    for row in &rows {
        blocks.entry(row.get(0)).or_default().push(row.get(1));
    }
    let ours: HashSet<i64> = seen.iter().copied().collect();
    let mut candidates: Vec<(i64, i64)> = Vec::new();
    for members in blocks.values().filter(|members| members.len() <= BLOCK_MAX) {
        for one in members.iter().filter(|member| ours.contains(member)) {
            let others = members.iter().filter(|other| *other != one);
            candidates.extend(others.map(|other| ((*one).min(*other), (*one).max(*other))));
        }
    }
    candidates.sort_unstable();
    candidates.dedup();
    let missing: BTreeSet<i64> =
        candidates.iter().flat_map(|(one, other)| [*one, *other]).filter(|seen| !known.contains_key(seen)).collect();
    let missing: Vec<i64> = missing.into_iter().collect();
    known.extend(patients::of_seen(transaction, &missing).await?);
    let scored = candidates.into_iter().filter_map(|(one, other)| {
        let (first, second) = (known.get(&one)?, known.get(&other)?);
        let scored = is_weighed(first, second).then(|| score(first, second, parameters))?;
        (scored.band != Band::None).then_some((one, other, scored))
    });
    Ok(scored.collect())
}

async fn write(
    transaction: &Transaction<'_>,
    scored: &[(i64, i64, Scored)],
    parameters: &Parameters,
) -> Result<(), LinkerError> {
    let (mut one, mut other, mut weight, mut levels, mut band, mut stop) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (first, second, scored) in scored {
        one.push(*first);
        other.push(*second);
        weight.push(scored.weight.0);
        levels.push(scored.levels.to_string());
        band.push(if scored.band == Band::Link { "link" } else { "clerical" });
        stop.push(scored.stop);
    }
    transaction
        .execute(
            "insert into identity.pair (one, other, weight, levels, band, stop, parameters)
             select *, $7::text from unnest($1::int8[], $2::int8[], $3::int4[], $4::text[], $5::text[], $6::text[])",
            &[&one, &other, &weight, &levels, &band, &stop, &parameters.version],
        )
        .await?;
    Ok(())
}
