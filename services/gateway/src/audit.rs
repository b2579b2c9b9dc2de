//! Every read and every refusal, written in the reader's own transaction before the answer leaves.

use crate::{GatewayError, access::Decision, session::Actor};
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
    pub fn of(action: &'a str, decision: &'a Decision) -> Self {
        Self {
            action,
            allow: decision.allow,
            why: decision.why.as_str(),
            reason: decision.glass.as_ref().map(|grant| grant.reason.as_str()),
            withheld: !decision.withheld.is_empty(),
        }
    }
}

const INSERT: &str = "with entry as (
    insert into access.audit (request_id, actor, role, action, decision, why, reason, withheld, organisation, source, patient, person)
    select $1, $2, $3, $4, $5, $6, $7, $8, s.organisation, s.source, s.patient, s.person::uuid
    from unnest($9::text[], $10::text[], $11::text[], $12::text[]) as s(organisation, source, patient, person)
    returning id)
    insert into access.outbox (audit) select id from entry order by id";

/// One row for each subject; one without a patient when there is none.
pub async fn write(
    client: &impl GenericClient,
    actor: &Actor,
    entry: &Entry<'_>,
    subjects: &[Subject],
) -> Result<(), GatewayError> {
    let nobody = [Subject::default()];
    let subjects = if subjects.is_empty() { &nobody } else { subjects };
    let organisations: Vec<Option<&str>> = subjects.iter().map(|s| s.organisation.as_deref()).collect();
    let sources: Vec<Option<&str>> = subjects.iter().map(|s| s.source.as_deref()).collect();
    let patients: Vec<Option<&str>> = subjects.iter().map(|s| s.patient.as_deref()).collect();
    let persons: Vec<Option<String>> = subjects.iter().map(|s| s.person.map(|person| person.to_string())).collect();
    let decision = if entry.allow { "allow" } else { "refuse" };
    client
        .execute(
            INSERT,
            &[
                &actor.request_id,
                &actor.user,
                &actor.role_name(),
                &entry.action,
                &decision,
                &entry.why,
                &entry.reason,
                &entry.withheld,
                &organisations,
                &sources,
                &patients,
                &persons,
            ],
        )
        .await?;
    metrics::counter!("causeway_gateway_access_decisions_total", "action" => entry.action.to_owned(), "decision" => decision)
        .increment(subjects.len() as u64);
    Ok(())
}
