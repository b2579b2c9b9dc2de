//! What clerks do: they look at pairs and at their queue, and decide. The linker does what they decided.
//!
//! # Why
//! A decision is a row about two patients that outlives every scoring; the person comes of it as of all other edges. What
//! links two verified NHS numbers needs two different people: the first one's decision waits for the second's.

use super::{parsed, patients};
use crate::error::LinkerError;
use event::SourcePatient;
use identity::{Known, linking_number, weight::Weight};
use std::time::SystemTime;
use tokio_postgres::{Client, GenericClient, Row};

/// Entries of the queue told at a time.
pub const QUEUE_MAX: i64 = 10_000;

/// What somebody decided of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    MustLink,
    CannotLink,
    /// Nothing any more: scoring decides again.
    Nothing,
}

impl Decided {
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::MustLink => Some("must"),
            Self::CannotLink => Some("cannot"),
            Self::Nothing => None,
        }
    }
}

/// A patient with what is known of it, and its person.
#[derive(Clone, Debug)]
pub struct Record {
    pub known: Known,
    pub given: Option<String>,
    pub family: Option<String>,
    pub person: Option<String>,
    pub status: Option<String>,
    pub reason: Option<String>,
}

/// Two patients that wait for a clerk.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The order in which they were first seen: what names the pair, without a patient's key.
    pub pair: (i64, i64),
    pub one: SourcePatient,
    pub other: SourcePatient,
    pub reason: String,
    pub weight: Option<Weight>,
    pub since: SystemTime,
    /// Who has said already that they are one: a second person may have to.
    pub people: Vec<String>,
}

/// One version of a link.
#[derive(Clone, Debug)]
pub struct Version {
    pub version: i32,
    pub person: String,
    pub before: Option<String>,
    pub status: String,
    pub reason: String,
    pub rule: Option<String>,
    pub weight: Option<Weight>,
    pub parameters: Option<String>,
    pub other: Option<SourcePatient>,
    pub decided_at: SystemTime,
}

/// Two patients side by side, with what is decided of them and what waits.
#[derive(Clone, Debug)]
pub struct Pair {
    pub one: Record,
    pub other: Record,
    /// Why the two wait for a clerk.
    pub waits: Option<String>,
    /// What stands of what was said of them.
    pub said: Option<Said>,
}

#[derive(Clone, Debug)]
pub struct Said {
    /// `must`, `cannot`, `merge`.
    pub verdict: String,
    /// Who said so, the first first.
    pub people: Vec<String>,
}

impl Pair {
    /// Whether two people have to say that they are one.
    pub fn needs_two(&self) -> bool {
        needs_two(&self.one.known, &self.other.known)
    }

    /// Whether this person has said already that they are one.
    pub fn is_linked_by(&self, person: &str) -> bool {
        let said = self.said.as_ref().filter(|said| said.verdict == "must");
        said.is_some_and(|said| said.people.iter().any(|known| known == person))
    }
}

/// Two verified NHS numbers are joined by two people, and by no one alone.
pub fn needs_two(one: &Known, other: &Known) -> bool {
    linking_number(one).zip(linking_number(other)).is_some_and(|(one, other)| one != other)
}

const RECORDS: &str = "l.person::text as person_id, l.status, l.reason from identity.patient p \
    left join identity.link l using (source, patient)";

pub async fn record(client: &impl GenericClient, patient: &SourcePatient) -> Result<Option<Record>, LinkerError> {
    let sql = format!("select {}, {RECORDS} where p.source = $1 and p.patient = $2", patients::COLUMNS);
    client.query_opt(&sql, &[&patient.source, &patient.id]).await?.as_ref().map(of_row).transpose()
}

fn of_row(row: &Row) -> Result<Record, LinkerError> {
    Ok(Record {
        known: patients::known(row)?,
        given: row.get("given"),
        family: row.get("family"),
        person: row.get("person_id"),
        status: row.get("status"),
        reason: row.get("reason"),
    })
}

/// Whether a linker has ever run on this database.
pub async fn is_there(client: &impl GenericClient) -> Result<bool, LinkerError> {
    Ok(client.query_one("select to_regclass('identity.queue') is not null", &[]).await?.get(0))
}

/// Two patients by the order in which they were first seen; none unless both are known and they are two.
pub async fn pair(client: &impl GenericClient, (one, other): (i64, i64)) -> Result<Option<Pair>, LinkerError> {
    let (one, other) = (one.min(other), one.max(other));
    let sql = format!("select {}, {RECORDS} where p.seen in ($1, $2) order by p.seen", patients::COLUMNS);
    let rows = client.query(&sql, &[&one, &other]).await?;
    let [first, second] = rows.as_slice() else { return Ok(None) };
    let waits = "select reason from identity.queue where one = $1 and other = $2";
    let waits = client.query_opt(waits, &[&one, &other]).await?.map(|row| row.get(0));
    let said = "select verdict, people from identity.verdict where one = $1 and other = $2";
    let said = client.query_opt(said, &[&one, &other]).await?;
    let said = said.map(|row| Said { verdict: row.get(0), people: row.get(1) });
    Ok(Some(Pair { one: of_row(first)?, other: of_row(second)?, waits, said }))
}

/// Everybody who is known, a part at a time, by `seen`: to estimate weights from.
pub async fn known_after(client: &Client, after: i64, limit: i64) -> Result<Vec<Known>, LinkerError> {
    let sql =
        format!("select {} from identity.patient p where p.seen > $1 order by p.seen limit $2", patients::COLUMNS);
    client.query(&sql, &[&after, &limit]).await?.iter().map(patients::known).collect()
}

pub async fn queue(client: &impl GenericClient, limit: i64) -> Result<Vec<Entry>, LinkerError> {
    let rows = client
        .query(
            "select a.source, a.patient, b.source, b.patient, q.reason, q.weight, q.since,
               case v.verdict when 'must' then v.people else '{}' end, q.one, q.other
             from identity.queue q join identity.patient a on a.seen = q.one join identity.patient b on b.seen = q.other
             left join identity.verdict v on v.one = q.one and v.other = q.other
             order by q.since, q.one, q.other limit $1",
            &[&limit.min(QUEUE_MAX)],
        )
        .await?;
    let entry = |row: &Row| Entry {
        one: SourcePatient { source: row.get(0), id: row.get(1) },
        other: SourcePatient { source: row.get(2), id: row.get(3) },
        reason: row.get(4),
        weight: row.get::<_, Option<i32>>(5).map(Weight),
        since: row.get(6),
        people: row.get(7),
        pair: (row.get(8), row.get(9)),
    };
    Ok(rows.iter().map(entry).collect())
}

/// What was ever linked of this patient, the first first.
pub async fn history(client: &Client, patient: &SourcePatient) -> Result<Vec<Version>, LinkerError> {
    let rows = client
        .query(
            "select version, person::text, before::text, status, reason, rule, weight, parameters, other_source,
               other_patient, decided_at
             from identity.history where source = $1 and patient = $2 order by version",
            &[&patient.source, &patient.id],
        )
        .await?;
    let version = |row: &Row| {
        let other = row.get::<_, Option<String>>(8).zip(row.get::<_, Option<String>>(9));
        Ok(Version {
            version: row.get(0),
            person: parsed(row.get(1), "person")?.to_string(),
            before: row.get(2),
            status: row.get(3),
            reason: row.get(4),
            rule: row.get(5),
            weight: row.get::<_, Option<i32>>(6).map(Weight),
            parameters: row.get(7),
            other: other.map(|(source, id)| SourcePatient { source, id }),
            decided_at: row.get(10),
        })
    };
    rows.iter().map(version).collect()
}

/// Writes what this person decided of the two, and has the linker act on it. Whoever has said the same of them by now.
pub async fn decide(
    client: &mut Client,
    (one, other): (i64, i64),
    decided: Decided,
    actor: &str,
    reason: &str,
) -> Result<Vec<String>, LinkerError> {
    let (one, other) = (one.min(other), one.max(other));
    let transaction = client.transaction().await?;
    let people = match decided.word() {
        Some(word) => {
            // The same decision by another person is a second one; another decision stands alone.
            let row = transaction
                .query_one(
                    "insert into identity.verdict as v (one, other, verdict, people, reason) values ($1, $2, $3, array[$4::text], $5)
                     on conflict (one, other) do update set verdict = excluded.verdict, reason = excluded.reason,
                       at = clock_timestamp(),
                       people = case when v.verdict <> excluded.verdict then excluded.people
                                     when $4::text = any(v.people) then v.people else v.people || $4::text end
                     returning people",
                    &[&one, &other, &word, &actor, &reason],
                )
                .await?;
            row.get(0)
        }
        None => {
            transaction.execute("delete from identity.verdict where one = $1 and other = $2", &[&one, &other]).await?;
            Vec::new()
        }
    };
    let sql = "insert into identity.unsettled (patient) values ($1), ($2)";
    transaction.execute(sql, &[&one, &other]).await?;
    transaction.commit().await?;
    Ok(people)
}

/// Writes what a source says of two of its records: that it merged them, or no longer.
pub async fn source_merge(client: &mut Client, (one, other): (i64, i64), merged: bool) -> Result<(), LinkerError> {
    let (one, other) = (one.min(other), one.max(other));
    let transaction = client.transaction().await?;
    // What a clerk decided stands.
    let sql = if merged {
        "insert into identity.verdict (one, other, verdict, people, reason) values ($1, $2, 'merge', '{source}', 'told') \
         on conflict (one, other) do nothing"
    } else {
        "delete from identity.verdict where one = $1 and other = $2 and verdict = 'merge'"
    };
    transaction.execute(sql, &[&one, &other]).await?;
    transaction.execute("insert into identity.unsettled (patient) values ($1), ($2)", &[&one, &other]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Writes what has become of a number: a successor, or none. How many patients bear it.
pub async fn renumber(
    client: &mut Client,
    number: &str,
    successor: Option<&str>,
    actor: &str,
    reason: &str,
) -> Result<u64, LinkerError> {
    let transaction = client.transaction().await?;
    transaction
        .execute(
            "insert into identity.number_standing (number, successor, actor, reason) values ($1, $2, $3, $4)
             on conflict (number) do update set successor = excluded.successor, actor = excluded.actor,
               reason = excluded.reason, at = clock_timestamp()",
            &[&number, &successor, &actor, &reason],
        )
        .await?;
    // Whoever is told under it, or under a number that leads to it.
    let bearers = transaction
        .execute(
            "with recursive back as (
               select $1::text as number
               union select n.number from identity.number_standing n join back b on n.successor = b.number)
             insert into identity.unsettled (patient)
             select p.seen from identity.patient p join back b on p.nhs_number = b.number",
            &[&number],
        )
        .await?;
    transaction.commit().await?;
    Ok(bearers)
}
