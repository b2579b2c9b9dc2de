//! Every read and every refusal, written in the reader's own transaction before the answer leaves.
//!
//! # Why
//! A decision lets nothing out until it stands here: [`record_all`] takes decisions and gives back what can release.

use crate::{
    GatewayError,
    access::{Decision, Recorded, Released},
    session::Actor,
};
use deadpool_postgres::GenericClient;
use uuid::Uuid;

/// Whose record it is about; all parts unknown for a search or the status page.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub organisation: Option<String>,
    pub source: Option<String>,
    pub patient: Option<String>,
    pub person: Option<Uuid>,
}

/// One row of `access.audit`.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub action: &'a str,
    pub allow: bool,
    pub why: &'a str,
    pub reason: Option<&'a str>,
    pub withheld: bool,
}

impl<'a> Entry<'a> {
    fn of(action: &'a str, decision: &'a Decision) -> Self {
        Self {
            action,
            allow: decision.allow,
            why: decision.why.as_str(),
            reason: decision.glass.as_ref().map(|grant| grant.reason.as_str()),
            withheld: !decision.withheld.is_empty(),
        }
    }

    /// Refused without a decision: there is nobody to decide about.
    pub const fn refused(action: &'a str, why: &'a str) -> Self {
        Self { action, allow: false, why, reason: None, withheld: false }
    }

    const fn decision(&self) -> &'static str {
        if self.allow { "allow" } else { "refuse" }
    }
}

/// What was decided for one reader, of one patient: a row for each of the patient's sources.
pub struct Decided<'a> {
    pub actor: &'a Actor,
    pub action: &'a str,
    pub decision: Decision,
    pub subjects: Vec<Subject>,
}

/// Writes what was decided, for one or several readers, in one statement. What leaves is released by what comes back, in
/// the same order.
pub async fn record_all(client: &impl GenericClient, decided: Vec<Decided<'_>>) -> Result<Vec<Recorded>, GatewayError> {
    let nobody = [Subject::default()];
    let rows = decided.iter().flat_map(|decided| {
        let subjects = if decided.subjects.is_empty() { &nobody[..] } else { &decided.subjects };
        let entry = Entry::of(decided.action, &decided.decision);
        subjects.iter().map(move |subject| Row { actor: decided.actor, entry: entry.clone(), subject: subject.clone() })
    });
    write_rows(client, &rows.collect::<Vec<_>>()).await?;
    Ok(decided.into_iter().map(|decided| decided.decision.recorded()).collect())
}

/// One decision. See [`record_all`].
pub async fn record(
    client: &impl GenericClient,
    actor: &Actor,
    action: &str,
    decision: Decision,
    subjects: Vec<Subject>,
) -> Result<Recorded, GatewayError> {
    let rows: Vec<Row<'_>> = if subjects.is_empty() { vec![Subject::default()] } else { subjects }
        .into_iter()
        .map(|subject| Row { actor, entry: Entry::of(action, &decision), subject })
        .collect();
    write_rows(client, &rows).await?;
    drop(rows);
    Ok(decision.recorded())
}

/// Writes what was decided of each, and releases what may leave of them.
pub async fn release_all<T>(
    client: &impl GenericClient,
    decided: Vec<(T, Decided<'_>)>,
) -> Result<Vec<Released<T>>, GatewayError> {
    let (each, decided): (Vec<T>, Vec<Decided<'_>>) = decided.into_iter().unzip();
    let recorded = record_all(client, decided).await?;
    Ok(each.into_iter().zip(recorded).filter_map(|(content, recorded)| recorded.release(content).ok()).collect())
}

/// What one reader was shown or refused, of one subject.
struct Row<'a> {
    actor: &'a Actor,
    entry: Entry<'a>,
    subject: Subject,
}

const INSERT: &str = "with entry as (
    insert into access.audit (request_id, actor, role, action, decision, why, reason, withheld, organisation, source, patient, person)
    select request_id, actor, role, action, decision, why, reason, withheld, organisation, source, patient, person::uuid
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[], $9::text[],
        $10::text[], $11::text[], $12::text[])
        as s(request_id, actor, role, action, decision, why, reason, withheld, organisation, source, patient, person)
    returning id)
    insert into access.outbox (audit) select id from entry order by id";

/// One row for each subject; one without a patient when there is none. For what no decision was made about.
pub async fn write(
    client: &impl GenericClient,
    actor: &Actor,
    entry: &Entry<'_>,
    subjects: &[Subject],
) -> Result<(), GatewayError> {
    let nobody = [Subject::default()];
    let subjects = if subjects.is_empty() { &nobody } else { subjects };
    let row = |subject: &Subject| Row { actor, entry: entry.clone(), subject: subject.clone() };
    write_rows(client, &subjects.iter().map(row).collect::<Vec<_>>()).await
}

/// Rows of one or several readers, in one statement.
async fn write_rows(client: &impl GenericClient, rows: &[Row<'_>]) -> Result<(), GatewayError> {
    if rows.is_empty() {
        return Ok(());
    }
    let persons: Vec<Option<String>> = rows.iter().map(|row| row.subject.person.map(|id| id.to_string())).collect();
    let of = |column: for<'r> fn(&'r Row<'r>) -> &'r str| -> Vec<&str> { rows.iter().map(column).collect() };
    let maybe =
        |column: for<'r> fn(&'r Row<'r>) -> Option<&'r str>| -> Vec<Option<&str>> { rows.iter().map(column).collect() };
    let withheld: Vec<bool> = rows.iter().map(|row| row.entry.withheld).collect();
    client
        .execute(
            INSERT,
            &[
                &of(|row| &row.actor.request_id),
                &of(|row| &row.actor.user),
                &of(|row| row.actor.role_name()),
                &of(|row| row.entry.action),
                &of(|row| row.entry.decision()),
                &of(|row| row.entry.why),
                &maybe(|row| row.entry.reason),
                &withheld,
                &maybe(|row| row.subject.organisation.as_deref()),
                &maybe(|row| row.subject.source.as_deref()),
                &maybe(|row| row.subject.patient.as_deref()),
                &persons,
            ],
        )
        .await?;
    for row in rows {
        let (action, decision) = (row.entry.action.to_owned(), row.entry.decision());
        metrics::counter!("causeway_gateway_access_decisions_total", "action" => action, "decision" => decision)
            .increment(1);
    }
    Ok(())
}
