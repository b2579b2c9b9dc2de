//! What sources say of their patients.

use crate::error::LinkerError;
use event::{Action, Body, PatientEvent, SourcePatient};
use identity::{Known, names::Name, standing::Standings};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

/// What `known` reads, of `identity.patient p`.
pub const COLUMNS: &str = "p.source, p.patient, p.seen, p.own::text as own_id, p.number_now, p.verified, \
    p.birth_date - date '1970-01-01' as birth_day, p.withdrawn, p.given, p.family, p.gender, p.postcode, p.confidential";
/// Days since 1970-01-01: birth dates beyond are none.
const DAYS: std::ops::RangeInclusive<i32> = -700_000..=3_000_000;

/// What a batch of events changed.
#[derive(Debug, Default)]
pub struct Taken {
    /// By `seen`.
    pub changed: Vec<i64>,
    /// Numbers that some of them bore before.
    pub numbers: BTreeSet<String>,
}

/// Order between events of a record.
type Place = (i64, String, i32);

struct Stored {
    place: Place,
    described: bool,
    number: Option<String>,
}

/// Stores what the events say that is not known already: of each patient the last.
pub async fn take_in(
    transaction: &Transaction<'_>,
    events: &[PatientEvent],
    weighed: &str,
) -> Result<Taken, LinkerError> {
    let stored = stored(transaction, events).await?;
    let mut latest: Vec<&PatientEvent> = Vec::new();
    let mut at: HashMap<&SourcePatient, usize> = HashMap::new();
    for event in events {
        let key = &event.patient;
        let told = place(event);
        if let Some(at) = at.get(key).copied() {
            if place(latest[at]) < told {
                latest[at] = event;
            }
        // What was taken before all of this was kept is taken once more.
        } else if stored.get(key).is_none_or(|known| told > known.place || told == known.place && !known.described) {
            at.insert(key, latest.len());
            latest.push(event);
        }
    }
    if latest.is_empty() {
        return Ok(Taken::default());
    }
    let told = latest.iter().filter_map(|event| Some(demographics(event)?.nhs_number.as_ref()?.as_str().to_owned()));
    let standings = standings(transaction, &told.collect()).await?;
    let numbers = latest.iter().filter_map(|event| stored.get(&event.patient)?.number.clone());
    Ok(Taken { numbers: numbers.collect(), changed: write(transaction, &latest, &standings, weighed).await? })
}

fn place(event: &PatientEvent) -> Place {
    let revision = i32::try_from(event.revision).unwrap_or(i32::MAX);
    (i64::from(event.generation), event.position.to_string(), revision)
}

async fn stored(
    transaction: &Transaction<'_>,
    events: &[PatientEvent],
) -> Result<HashMap<SourcePatient, Stored>, LinkerError> {
    let keys: BTreeSet<(&str, &str)> =
        events.iter().map(|event| (event.patient.source.as_str(), event.patient.id.as_str())).collect();
    let (sources, patients): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    let rows = transaction
        .query(
            "select p.source, p.patient, p.generation, p.position, p.revision, p.described,
               case when p.verified and not p.withdrawn then p.number_now end
             from identity.patient p join unnest($1::text[], $2::text[]) as s (source, patient) using (source, patient)",
            &[&sources, &patients],
        )
        .await?;
    let entry = |row: &Row| {
        let place = (row.get(2), row.get(3), row.get(4));
        let patient = SourcePatient { source: row.get(0), id: row.get(1) };
        (patient, Stored { place, described: row.get(5), number: row.get(6) })
    };
    Ok(rows.iter().map(entry).collect())
}

/// What stands of these numbers now, and of their successors.
pub async fn standings(transaction: &Transaction<'_>, numbers: &Vec<String>) -> Result<Standings, LinkerError> {
    let rows = transaction
        .query(
            "with recursive chain as (
               select number, successor from identity.number_standing where number = any($1)
               union
               select n.number, n.successor from identity.number_standing n join chain c on n.number = c.successor)
             select number, successor from chain",
            &[numbers],
        )
        .await?;
    Ok(Standings::new(rows.iter().map(|row| (row.get(0), row.get(1)))))
}

fn demographics(event: &PatientEvent) -> Option<&event::Demographics> {
    match &event.body {
        Body::Demographics(demographics) if event.action != Action::Retracted => Some(demographics),
        _ => None,
    }
}

/// PostgreSQL's text holds no NUL.
fn storable(text: Option<&String>) -> Option<String> {
    text.map(|text| text.replace('\0', ""))
}

const WRITE: &str =
    "insert into identity.patient (source, patient, own, position, revision, generation, nhs_number, number_now, verified,
       birth_date, withdrawn, given, family, gender, postcode, confidential, described, weighed)
     select s.source, s.patient, s.own::uuid, s.position, s.revision, s.generation, s.nhs_number, s.number_now, s.verified,
       date '1970-01-01' + s.birth, s.withdrawn, s.given, s.family, s.gender, s.postcode, s.confidential, true, $17::text
     from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int4[], $6::int8[], $7::text[], $8::text[], $9::bool[],
       $10::int4[], $11::bool[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bool[]) with ordinality
       as s (source, patient, own, position, revision, generation, nhs_number, number_now, verified, birth, withdrawn, given,
             family, gender, postcode, confidential, nth)
     order by s.nth
     on conflict (source, patient) do update set position = excluded.position, revision = excluded.revision,
       generation = excluded.generation, nhs_number = excluded.nhs_number, number_now = excluded.number_now,
       verified = excluded.verified, birth_date = excluded.birth_date, withdrawn = excluded.withdrawn,
       given = excluded.given, family = excluded.family, gender = excluded.gender, postcode = excluded.postcode,
       confidential = excluded.confidential, described = true, weighed = excluded.weighed
     returning seen";

/// In the order in which they were told, which is the order of first sight.
async fn write(
    transaction: &Transaction<'_>,
    events: &[&PatientEvent],
    standings: &Standings,
    weighed: &str,
) -> Result<Vec<i64>, LinkerError> {
    let told: Vec<Option<&event::Demographics>> = events.iter().map(|event| demographics(event)).collect();
    let text = |field: fn(&event::Demographics) -> Option<&String>| -> Vec<Option<String>> {
        told.iter().map(|told| storable(told.and_then(field))).collect()
    };
    let sources: Vec<&str> = events.iter().map(|event| event.patient.source.as_str()).collect();
    let patients: Vec<&str> = events.iter().map(|event| event.patient.id.as_str()).collect();
    let own: Vec<String> = events.iter().map(|_| Uuid::new_v4().to_string()).collect();
    let (mut generations, mut positions, mut revisions) = (Vec::new(), Vec::new(), Vec::new());
    for (generation, position, revision) in events.iter().map(|event| place(event)) {
        generations.push(generation);
        positions.push(position);
        revisions.push(revision);
    }
    let numbers: Vec<Option<&str>> =
        told.iter().map(|told| told.and_then(|d| d.nhs_number.as_ref()).map(event::NhsNumber::as_str)).collect();
    let now: Vec<Option<String>> = numbers.iter().map(|number| standings.current((*number)?)).collect();
    let verified: Vec<bool> = told.iter().map(|told| told.is_some_and(|d| d.nhs_number_verified)).collect();
    let births: Vec<Option<i32>> =
        told.iter().map(|told| told.and_then(|d| d.birth_date).filter(|date| DAYS.contains(date))).collect();
    let withdrawn: Vec<bool> = told.iter().map(Option::is_none).collect();
    let confidential: Vec<bool> = events.iter().map(|event| event.confidential).collect();
    let rows = transaction
        .query(
            WRITE,
            &[
                &sources,
                &patients,
                &own,
                &positions,
                &revisions,
                &generations,
                &numbers,
                &now,
                &verified,
                &births,
                &withdrawn,
                &text(|d| d.given.as_ref()),
                &text(|d| d.family.as_ref()),
                &text(|d| d.gender.as_ref()),
                &text(|d| d.postcode.as_ref()),
                &confidential,
                &weighed,
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Works out anew which number stands for each of these; those for whom another does, and what they bore before.
pub async fn renumber(transaction: &Transaction<'_>, seen: &[i64]) -> Result<Taken, LinkerError> {
    let rows = transaction
        .query("select seen, nhs_number, number_now from identity.patient where seen = any($1)", &[&seen])
        .await?;
    let told: Vec<String> = rows.iter().filter_map(|row| row.get(1)).collect();
    let standings = standings(transaction, &told).await?;
    let mut taken = Taken::default();
    let mut now: Vec<Option<String>> = Vec::new();
    for row in &rows {
        let (number, before): (Option<String>, Option<String>) = (row.get(1), row.get(2));
        let current = number.and_then(|number| standings.current(&number));
        if current != before {
            taken.changed.push(row.get(0));
            taken.numbers.extend(before);
            now.push(current);
        }
    }
    let sql = "update identity.patient p set number_now = s.now from unnest($1::int8[], $2::text[]) as s (seen, now) \
               where p.seen = s.seen";
    transaction.execute(sql, &[&taken.changed, &now]).await?;
    Ok(taken)
}

/// Whoever can be linked by one of these numbers.
pub async fn bearers(transaction: &Transaction<'_>, numbers: &BTreeSet<String>) -> Result<Vec<i64>, LinkerError> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<&String> = numbers.iter().collect();
    let sql = "select seen from identity.patient where number_now = any($1) and verified and not withdrawn";
    Ok(transaction.query(sql, &[&numbers]).await?.iter().map(|row| row.get(0)).collect())
}

pub async fn of_seen(transaction: &Transaction<'_>, seen: &[i64]) -> Result<BTreeMap<i64, Known>, LinkerError> {
    let sql = format!("select {COLUMNS} from identity.patient p where p.seen = any($1)");
    let rows = transaction.query(&sql, &[&seen]).await?;
    rows.iter().map(|row| Ok((row.get("seen"), known(row)?))).collect()
}

pub fn known(row: &Row) -> Result<Known, LinkerError> {
    Ok(Known {
        source: row.get("source"),
        id: row.get("patient"),
        seen: row.get("seen"),
        own: super::uuid(row, "own_id")?,
        nhs_number: row.get("number_now"),
        verified: row.get("verified"),
        birth_date: row.get("birth_day"),
        name: Name::new(row.get("given"), row.get("family")),
        gender: row.get("gender"),
        postcode: row.get("postcode"),
        confidential: row.get("confidential"),
        withdrawn: row.get("withdrawn"),
    })
}
