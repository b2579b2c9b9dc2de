//! The linker's tables. Every change of facts and links is one transaction, with its outbox rows.

use crate::error::LinkerError;
use event::{Action, Body, Link, LinkStatus, PatientEvent, SourcePatient};
use identity::{Decision, Known, decide_alone, decide_group, linking_number, names::Name};
use std::time::{Duration, SystemTime};
use tokio_postgres::{Client, Error, Row, Transaction};
use uuid::Uuid;

refinery::embed_migrations!("migrations");

/// Only the linker that holds this lock writes.
pub const WRITER_LOCK: i64 = 0x6361_7573_6c69_6e6b;
/// Rows of the outbox read at a time.
pub const OUTBOX_ROWS_MAX: i64 = 1_000;

pub async fn migrate(client: &mut Client) -> Result<(), refinery::Error> {
    migrations::runner().set_migration_table_name("identity_migrations").run_async(client).await.map(drop)
}

/// True when this connection is the writer now.
pub async fn become_writer(client: &Client) -> Result<bool, Error> {
    Ok(client.query_one("select pg_try_advisory_lock($1)", &[&WRITER_LOCK]).await?.get(0))
}

/// Takes demographics events in their order, and changes every link that they decide anew.
pub async fn take(client: &mut Client, events: &[PatientEvent]) -> Result<usize, LinkerError> {
    let transaction = client.transaction().await?;
    let mut changed = 0;
    for event in events {
        let Some((before, after)) = know(&transaction, event).await? else { continue };
        let mut numbers: Vec<&str> =
            [before.as_ref(), Some(&after)].into_iter().flatten().filter_map(linking_number).collect();
        numbers.dedup();
        for number in numbers {
            let group = group(&transaction, number).await?;
            let known: Vec<Known> = group.iter().map(|(_, known)| known.clone()).collect();
            for ((patient, _), decision) in group.iter().zip(decide_group(&known)) {
                changed += usize::from(link(&transaction, patient, &decision, event.committed_at).await?);
            }
        }
        if linking_number(&after).is_none() {
            let decision = decide_alone(&after);
            changed += usize::from(link(&transaction, &event.patient, &decision, event.committed_at).await?);
        }
    }
    transaction.commit().await?;
    Ok(changed)
}

/// Stores what the event says, unless it is known already: before and after.
async fn know(
    transaction: &Transaction<'_>,
    event: &PatientEvent,
) -> Result<Option<(Option<Known>, Known)>, LinkerError> {
    let (source, patient) = (&event.patient.source, &event.patient.id);
    let position = event.position.to_string();
    let revision = i32::try_from(event.revision).unwrap_or(i32::MAX);
    let generation = i64::from(event.generation);
    let row = transaction
        .query_opt("select *, own::text as own_id, birth_date - date '1970-01-01' as birth_day from identity.patient where source = $1 and patient = $2", &[source, patient])
        .await?;
    let before = row.as_ref().map(known).transpose()?;
    if row.as_ref().is_some_and(|row| {
        let place = (row.get::<_, i64>("generation"), row.get::<_, String>("position"), row.get::<_, i32>("revision"));
        let told = (generation, position.clone(), revision);
        // What was taken before names were is taken once more.
        place > told || (place == told && row.get("described"))
    }) {
        return Ok(None);
    }
    let demographics = match &event.body {
        Body::Demographics(demographics) if event.action != Action::Retracted => Some(demographics),
        _ => None,
    };
    let nhs_number = demographics.and_then(|d| d.nhs_number.as_ref()).map(event::NhsNumber::as_str);
    let row = transaction
        .query_one(
            "insert into identity.patient (source, patient, own, position, revision, nhs_number, verified, birth_date, withdrawn,
               generation, given, family, gender, described)
             values ($1, $2, $3::text::uuid, $4, $5, $6, $7, date '1970-01-01' + $8::int, $9, $10, $11, $12, $13, true)
             on conflict (source, patient) do update set position = excluded.position, revision = excluded.revision,
               nhs_number = excluded.nhs_number, verified = excluded.verified, birth_date = excluded.birth_date,
               withdrawn = excluded.withdrawn, generation = excluded.generation, given = excluded.given,
               family = excluded.family, gender = excluded.gender, described = true
             returning *, own::text as own_id, birth_date - date '1970-01-01' as birth_day",
            &[
                source,
                patient,
                &Uuid::new_v4().to_string(),
                &position,
                &revision,
                &nhs_number,
                &demographics.is_some_and(|d| d.nhs_number_verified),
                &demographics.and_then(|d| d.birth_date),
                &demographics.is_none(),
                &generation,
                &demographics.and_then(|d| storable(d.given.as_ref())),
                &demographics.and_then(|d| storable(d.family.as_ref())),
                &demographics.and_then(|d| storable(d.gender.as_ref())),
            ],
        )
        .await?;
    Ok(Some((before, known(&row)?)))
}

/// PostgreSQL's text holds no NUL.
fn storable(text: Option<&String>) -> Option<String> {
    text.map(|text| text.replace('\0', ""))
}

fn known(row: &Row) -> Result<Known, LinkerError> {
    Ok(Known {
        source: row.get("source"),
        id: row.get("patient"),
        seen: row.get("seen"),
        own: uuid(row, "own_id")?,
        nhs_number: row.get("nhs_number"),
        verified: row.get("verified"),
        birth_date: row.get("birth_day"),
        name: Name::new(row.get("given"), row.get("family")),
        gender: row.get("gender"),
        withdrawn: row.get("withdrawn"),
        ..Known::default()
    })
}

/// The server's own text of a uuid. A person that nobody can name is no person: all such would be one.
fn uuid(row: &Row, column: &'static str) -> Result<Uuid, LinkerError> {
    parsed(row.get(column), column)
}

fn parsed(text: &str, column: &'static str) -> Result<Uuid, LinkerError> {
    text.parse().ok().filter(|id: &Uuid| !id.is_nil()).ok_or(LinkerError::Stored(column))
}

async fn group(transaction: &Transaction<'_>, number: &str) -> Result<Vec<(SourcePatient, Known)>, LinkerError> {
    let rows = transaction
        .query(
            "select *, own::text as own_id, birth_date - date '1970-01-01' as birth_day from identity.patient
             where nhs_number = $1 and verified and not withdrawn order by seen",
            &[&number],
        )
        .await?;
    let entry = |row: &Row| Ok((SourcePatient { source: row.get("source"), id: row.get("patient") }, known(row)?));
    rows.iter().map(entry).collect()
}

/// Writes the next version of a link if it says something else; and its outbox row.
async fn link(
    transaction: &Transaction<'_>,
    patient: &SourcePatient,
    decision: &Decision,
    decided_at: i64,
) -> Result<bool, Error> {
    let changed = transaction
        .execute(
            "with changed as (
               insert into identity.link as l (source, patient, person, version, status, reason, decided_at)
               values ($1, $2, $3::text::uuid, 1, $4, $5, $6)
               on conflict (source, patient) do update set person = excluded.person, version = l.version + 1,
                 status = excluded.status, reason = excluded.reason, decided_at = excluded.decided_at
               where (l.person, l.status, l.reason) is distinct from (excluded.person, excluded.status, excluded.reason)
               returning *)
             insert into identity.outbox (source, patient, person, version, status, reason, decided_at)
             select source, patient, person, version, status, reason, decided_at from changed",
            &[
                &patient.source,
                &patient.id,
                &decision.person.to_string(),
                &decision.status.as_str(),
                &decision.reason,
                &instant(decided_at),
            ],
        )
        .await?;
    Ok(changed > 0)
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
        };
        Ok((row.get("id"), link))
    };
    rows.iter().map(entry).collect()
}

/// Forgets what is published.
pub async fn published(client: &Client, upto: i64) -> Result<(), Error> {
    client.execute("delete from identity.outbox where id <= $1", &[&upto]).await.map(drop)
}

fn instant(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    if micros >= 0 { SystemTime::UNIX_EPOCH + span } else { SystemTime::UNIX_EPOCH - span }
}

fn micros(at: SystemTime) -> i64 {
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
