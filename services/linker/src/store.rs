//! The linker's tables. Every change of facts and links is one transaction, with its outbox rows.

mod blocks;
pub mod clerk;
mod patients;
mod settle;

use crate::error::LinkerError;
pub use blocks::number as block_number;
use event::{Link, LinkEvidence, LinkStatus, PatientEvent, SourcePatient};
use identity::{names, parameters::Parameters};
pub use settle::TOGETHER_MAX;
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};
use tokio_postgres::{Client, Error, Row, Transaction};
use uuid::Uuid;

refinery::embed_migrations!("migrations");

/// Only the linker that holds this lock writes.
pub const WRITER_LOCK: i64 = 0x6361_7573_6c69_6e6b;
/// Rows of the outbox read at a time.
pub const OUTBOX_ROWS_MAX: i64 = 1_000;
/// Decisions taken at a time.
pub const DECISIONS_MAX: i64 = 1_000;
/// Patients weighed anew at a time.
pub const WEIGHED_MAX: i64 = 1_000;

pub async fn migrate(client: &mut Client) -> Result<(), refinery::Error> {
    migrations::runner().set_migration_table_name("identity_migrations").run_async(client).await.map(drop)
}

/// True when this connection is the writer now.
pub async fn become_writer(client: &Client) -> Result<bool, Error> {
    Ok(client.query_one("select pg_try_advisory_lock($1)", &[&WRITER_LOCK]).await?.get(0))
}

/// Takes events as `take` does, all but those that the database refuses for what they say. How many links changed, and the
/// places of the events that are refused. Each is taken before what follows it.
///
/// # Why
/// One event that can never be taken (a patient's key longer than an index holds) would be tried for ever, and nobody behind
/// it would be linked. So a batch that is refused is halved until the event is alone.
pub async fn take_each(
    client: &mut Client,
    events: &[PatientEvent],
    weights: Option<&Parameters>,
) -> Result<(usize, Vec<usize>), LinkerError> {
    let (mut changed, mut refused) = (0, Vec::new());
    // Halves of what was refused, the first half on top.
    let mut stack = vec![(0, events.len())];
    while let Some((start, end)) = stack.pop() {
        match take(client, &events[start..end], weights).await {
            Ok(links) => changed += links,
            Err(error) if error.is_about_the_data() && end - start == 1 => {
                tracing::warn!(%error, "the database refuses an event for what it says");
                refused.push(start);
            }
            Err(error) if error.is_about_the_data() => {
                let middle = start + (end - start) / 2;
                stack.extend([(middle, end), (start, middle)]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((changed, refused))
}

/// Takes demographics events, and changes every link that they decide anew. The number of those.
pub async fn take(
    client: &mut Client,
    events: &[PatientEvent],
    weights: Option<&Parameters>,
) -> Result<usize, LinkerError> {
    let transaction = client.transaction().await?;
    let taken = patients::take_in(&transaction, events, &weighed_by(weights)).await?;
    let decided_at = events.iter().map(|event| event.committed_at).max().unwrap_or_default();
    let changed = follow(&transaction, taken, BTreeSet::new(), decided_at, weights).await?;
    transaction.commit().await?;
    Ok(changed)
}

/// Settles those about whom somebody has decided something since. None where nobody has.
pub async fn take_decisions(client: &mut Client, weights: Option<&Parameters>) -> Result<Option<usize>, LinkerError> {
    let transaction = client.transaction().await?;
    let rows = transaction
        .query(
            "delete from identity.unsettled where id in (select id from identity.unsettled order by id limit $1)
             returning patient, at",
            &[&DECISIONS_MAX],
        )
        .await?;
    let Some(at) = rows.iter().map(|row| row.get::<_, SystemTime>(1)).max() else { return Ok(None) };
    let touched: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let seen: Vec<i64> = touched.iter().copied().collect();
    let taken = patients::renumber(&transaction, &seen).await?;
    let changed = follow(&transaction, taken, touched, micros(at), weights).await?;
    transaction.commit().await?;
    Ok(Some(changed))
}

/// Weighs the next patients after this one that were weighed by another version of the weights: the last of them, and how many
/// links changed. None where there are no more.
pub async fn weigh_anew(
    client: &mut Client,
    after: i64,
    now: i64,
    weights: Option<&Parameters>,
) -> Result<Option<(i64, usize)>, LinkerError> {
    let transaction = client.transaction().await?;
    let rows = transaction
        .query(
            "update identity.patient set weighed = $2 where seen in
               (select seen from identity.patient where seen > $1 and weighed is distinct from $2 order by seen limit $3)
             returning seen",
            &[&after, &weighed_by(weights), &WEIGHED_MAX],
        )
        .await?;
    let changed: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let Some(last) = changed.iter().copied().max() else { return Ok(None) };
    let taken = patients::Taken { changed, ..patients::Taken::default() };
    let links = follow(&transaction, taken, BTreeSet::new(), now, weights).await?;
    transaction.commit().await?;
    Ok(Some((last, links)))
}

async fn follow(
    transaction: &Transaction<'_>,
    taken: patients::Taken,
    mut touched: BTreeSet<i64>,
    decided_at: i64,
    weights: Option<&Parameters>,
) -> Result<usize, LinkerError> {
    if !taken.changed.is_empty() {
        touched.extend(blocks::pair(transaction, &taken.changed, weights).await?);
    }
    touched.extend(patients::bearers(transaction, &taken.numbers).await?);
    settle::settle(transaction, touched, decided_at, version(weights)).await
}

/// What a patient was weighed by: with other weights, and once names are compared in another way, it is weighed anew.
fn weighed_by(weights: Option<&Parameters>) -> String {
    weights.map_or_else(String::new, |weights| format!("{} names-{}", weights.version, names::REVISION))
}

/// Empty where nobody is linked by weight.
fn version(weights: Option<&Parameters>) -> &str {
    weights.map_or("", |weights| &weights.version)
}

/// The server's own text of a uuid. A person that nobody can name is no person: all such would be one.
fn uuid(row: &Row, column: &'static str) -> Result<Uuid, LinkerError> {
    parsed(row.get(column), column)
}

fn parsed(text: &str, column: &'static str) -> Result<Uuid, LinkerError> {
    text.parse().ok().filter(|id: &Uuid| !id.is_nil()).ok_or(LinkerError::Stored(column))
}

/// The oldest links that are still to be published.
pub async fn outbox(client: &Client) -> Result<Vec<(i64, Link)>, LinkerError> {
    let rows = client
        .query("select *, person::text as person_id from identity.outbox order by id limit $1", &[&OUTBOX_ROWS_MAX])
        .await?;
    let entry = |row: &Row| {
        let status = match row.get("status") {
            "linked" => LinkStatus::Linked,
            "held" => LinkStatus::Held,
            "alone" => LinkStatus::Alone,
            _ => return Err(LinkerError::Stored("status")),
        };
        let link = Link {
            patient: SourcePatient { source: row.get("source"), id: row.get("patient") },
            person: uuid(row, "person_id")?,
            version: row.get::<_, i32>("version").cast_unsigned(),
            status,
            reason: row.get("reason"),
            decided_at: micros(row.get("decided_at")),
            evidence: evidence(row),
        };
        Ok((row.get("id"), link))
    };
    rows.iter().map(entry).collect()
}

fn evidence(row: &Row) -> Option<LinkEvidence> {
    Some(LinkEvidence {
        rule: row.get::<_, Option<String>>("rule")?,
        other: SourcePatient {
            source: row.get::<_, Option<String>>("other_source")?,
            id: row.get::<_, Option<String>>("other_patient")?,
        },
        weight: row.get("weight"),
        parameters: row.get("parameters"),
    })
}

/// Forgets what is published.
pub async fn published(client: &Client, upto: i64) -> Result<(), Error> {
    client.execute("delete from identity.outbox where id <= $1", &[&upto]).await.map(drop)
}

fn instant(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    if micros >= 0 { SystemTime::UNIX_EPOCH + span } else { SystemTime::UNIX_EPOCH - span }
}

pub(crate) fn micros(at: SystemTime) -> i64 {
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(span) => i64::try_from(span.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_person_is_an_error_and_not_the_nil_person() {
        let good = "0197f2a0-0000-7000-8000-000000000001";
        assert_eq!(parsed(good, "person_id").expect("a uuid").to_string(), good);
        for bad in ["", "somebody", "00000000-0000-0000-0000-000000000000"] {
            let told = parsed(bad, "person_id").expect_err(bad).to_string();
            assert_eq!(told, "the identity database holds what nobody can read in `person_id`");
        }
    }
}
