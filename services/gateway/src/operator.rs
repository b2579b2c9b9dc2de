//! The audit of what an operator does outside the gateway: looks at values in the quarantine, and closes its items.

use crate::{
    GatewayError,
    access::{self, Action, Channel, Purpose, Recorded, Role, Why},
    app::now,
    database,
};
use deadpool_postgres::{GenericClient, Pool};
use event::SourcePatient;

/// One look at an item's values.
#[derive(Debug)]
pub struct QuarantineLook<'a> {
    pub actor: &'a str,
    pub source: &'a str,
    pub patient: Option<&'a str>,
    pub offset: i64,
    /// Why the values were needed, in the operator's words.
    pub reason: &'a str,
}

/// Decides on the look and writes it; what comes back releases the values.
pub async fn quarantine_look(pool: &Pool, look: &QuarantineLook<'_>) -> Result<Recorded, GatewayError> {
    database::migrate(pool).await?;
    let client = pool.get().await?;
    let what = Look {
        request: format!("quarantine@{}", look.offset),
        actor: look.actor,
        action: "view-quarantine-values",
        reason: look.reason,
        source: look.source,
        patient: look.patient,
    };
    what.decide(&client).await
}

/// A look at values, by the command line.
pub(crate) struct Look<'a> {
    pub(crate) request: String,
    pub(crate) actor: &'a str,
    pub(crate) action: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) source: &'a str,
    pub(crate) patient: Option<&'a str>,
}

const INSERT: &str = "with entry as (
    insert into access.audit (request_id, actor, role, action, decision, why, reason, source, patient)
    values ($1, $2, 'operator', $3, $4, $5, $6, $7, $8)
    returning id)
    insert into access.outbox (audit) select id from entry";

impl Look<'_> {
    /// Whoever may run the command line runs the machinery.
    pub(crate) async fn decide(&self, client: &impl GenericClient) -> Result<Recorded, GatewayError> {
        let decision = access::decide(&access::Request {
            roles: &[Role::DataEngineer],
            teams: &[],
            action: Action::ViewQuarantined,
            channel: Channel::Cli,
            purpose: Purpose::DirectCare,
            patient: None,
            themselves: false,
            agreements: &[],
            grants: &[],
            encounter_grace_hours: 0,
            now: now(),
        });
        let decision = if self.reason.trim().is_empty() { decision.turned_down(Why::NoReason) } else { decision };
        let (verdict, why) = (if decision.allow { "allow" } else { "refuse" }, decision.why.as_str());
        let Self { request, actor, action, reason, source, patient } = self;
        client.execute(INSERT, &[request, actor, action, &verdict, &why, reason, source, patient]).await?;
        Ok(decision.recorded())
    }
}

/// One item that is closed by hand.
#[derive(Debug)]
pub struct QuarantineClosing<'a> {
    pub source: &'a str,
    pub patient: Option<&'a str>,
    pub offset: i64,
}

const INSERT_CLOSINGS: &str = "with entry as (
    insert into access.audit (request_id, actor, role, action, decision, why, reason, source, patient)
    select 'quarantine@' || s.at, $1, 'operator', $2, 'allow', 'asked on the command line', $3, s.source, s.patient
    from unnest($4::text[], $5::text[], $6::int8[]) as s (source, patient, at) order by s.at
    returning id)
    insert into access.outbox (audit) select id from entry order by id";

/// Writes who closes these items as what (`resolved`, `dropped`), and why: all of them or none. The caller closes
/// nothing unless this has succeeded.
pub async fn quarantine_closings(
    pool: &Pool,
    actor: &str,
    closed_as: &str,
    reason: &str,
    items: &[QuarantineClosing<'_>],
) -> Result<(), GatewayError> {
    database::migrate(pool).await?;
    let client = pool.get().await?;
    let action = format!("quarantine-item-{closed_as}");
    let sources: Vec<&str> = items.iter().map(|item| item.source).collect();
    let patients: Vec<Option<&str>> = items.iter().map(|item| item.patient).collect();
    let offsets: Vec<i64> = items.iter().map(|item| item.offset).collect();
    client.execute(INSERT_CLOSINGS, &[&actor, &action, &reason, &sources, &patients, &offsets]).await?;
    Ok(())
}

/// A look at, or a decision about, who is one person.
#[derive(Debug)]
pub struct IdentityAct<'a> {
    pub actor: &'a str,
    /// `link-patients`, `view-link-queue`.
    pub action: &'a str,
    /// Why, in the operator's words.
    pub reason: &'a str,
    pub patients: &'a [&'a SourcePatient],
    /// Why it is refused.
    pub refused: Option<&'a str>,
}

const INSERT_IDENTITY: &str = "with entry as (
    insert into access.audit (request_id, actor, role, action, decision, why, reason, source, patient)
    select 'identity@' || gen_random_uuid(), $1, 'operator', $2, case when $6::text is null then 'allow' else 'refuse' end,
      coalesce($6::text, 'asked on the command line'), $3, s.source, s.patient
    from unnest($4::text[], $5::text[]) as s (source, patient)
    returning id)
    insert into access.outbox (audit) select id from entry order by id";

/// Writes the act, or that it is refused, an entry for each patient. The caller does nothing unless this has succeeded.
pub async fn identity_act(pool: &Pool, act: &IdentityAct<'_>) -> Result<(), GatewayError> {
    database::migrate(pool).await?;
    let client = pool.get().await?;
    let (mut sources, mut patients): (Vec<Option<&str>>, Vec<Option<&str>>) =
        act.patients.iter().map(|patient| (Some(patient.source.as_str()), Some(patient.id.as_str()))).unzip();
    if patients.is_empty() {
        (sources, patients) = (vec![None], vec![None]);
    }
    client.execute(INSERT_IDENTITY, &[&act.actor, &act.action, &act.reason, &sources, &patients, &act.refused]).await?;
    Ok(())
}
