//! Reading alerts, with the facts that decide who may see them, and changing their state through the functions that
//! the alert schema offers.

use crate::{
    GatewayError,
    access::{Action, Decision, Holding, PatientContext},
    app::App,
    audit::{self, Subject},
    record::micros,
    session::Actor,
};
use deadpool_postgres::GenericClient;
use event::{Kind, Micros};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

/// Alerts on one page of the inbox.
pub const INBOX_MAX: i64 = 100;

#[derive(Clone)]
pub struct Alert {
    pub id: Uuid,
    pub rule: String,
    pub severity: String,
    pub urgency: String,
    pub state: String,
    pub headline: String,
    pub withdrawn_reason: Option<String>,
    pub source: String,
    pub patient: String,
    pub authorised_at: Option<Micros>,
    pub committed_at: Micros,
    pub raised_at: Micros,
    pub acknowledged_at: Option<Micros>,
    pub acknowledged_by: Option<String>,
    pub organisation: Option<String>,
    pub family: Option<String>,
    pub given: Option<String>,
    pub birth_date: Option<String>,
    pub nhs_number: Option<String>,
    pub person: Option<Uuid>,
    /// When the reader saw it, and whether they have yet to be told that it was withdrawn.
    pub seen_by_me: Option<Micros>,
    pub context: PatientContext,
}

impl Alert {
    pub fn subject(&self) -> Subject {
        Subject {
            organisation: self.organisation.clone(),
            source: Some(self.source.clone()),
            patient: Some(self.patient.clone()),
            person: self.person,
        }
    }

    /// The reader's team that the alert went to.
    pub fn team_of<'a>(&self, actor: &'a Actor) -> Option<&'a str> {
        actor.teams.iter().find(|team| self.context.recipients.contains(team)).map(String::as_str)
    }
}

/// Which alerts of the reader's teams.
pub enum Which {
    One(Uuid),
    States {
        states: Vec<&'static str>,
        skip: i64,
    },
    /// Withdrawn since the reader saw them, and not told of it yet.
    WithdrawnUntold,
}

fn sql(condition: &str, order: &str) -> String {
    format!(
        "select a.id::text, a.rule, a.severity, a.urgency, a.state, a.headline, a.withdrawn_reason, a.source, a.patient,
            {}, {}, {}, {}, a.acknowledged_by,
            coalesce(p.organisation, (select o.organisation from record.observation o
                where o.source = a.source and o.patient = a.patient and o.record = a.record)),
            p.family, p.given, p.birth_date::text, p.nhs_number, l.person::text,
            {},
            (select array_agg(r.team) from alert.recipient r where r.alert = a.id),
            exists (select from record.patient c where c.source = a.source and c.patient = a.patient
                and (c.confidential or c.retracted))
                or exists (select from record.observation o
                    where o.source = a.source and o.patient = a.patient and o.record = a.record and o.confidential),
            coalesce(p.objection, false) or exists (
                select from record.link m join record.patient q on q.source = m.source and q.patient = m.patient
                where m.person = l.person and m.status <> 'held' and l.status <> 'held' and q.objection)
         from alert.alert a
         left join record.patient p on p.source = a.source and p.patient = a.patient and not p.retracted
         left join record.link l on l.source = a.source and l.patient = a.patient
         left join alert.sighting s on s.alert = a.id and s.user_id = $2
         where exists (select from alert.recipient r where r.alert = a.id and r.team = any($1)) and {condition}
         order by {order}",
        micros("a.authorised_at"),
        micros("a.committed_at"),
        micros("a.raised_at"),
        micros("a.acknowledged_at"),
        micros("s.seen_at"),
    )
}

pub async fn read(client: &impl GenericClient, actor: &Actor, which: &Which) -> Result<Vec<Alert>, GatewayError> {
    let newest = format!("a.raised_at desc, a.id limit {}", INBOX_MAX + 1);
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&actor.teams, &actor.user];
    let (id, sql) = match which {
        Which::One(id) => (id.to_string(), sql("a.id = $3::text::uuid", "a.id")),
        Which::States { .. } => (String::new(), sql("a.state = any($3)", &format!("{newest} offset $4"))),
        Which::WithdrawnUntold => (
            String::new(),
            sql("a.state = 'withdrawn' and s.user_id is not null and s.told_withdrawn_at is null", &newest),
        ),
    };
    match which {
        Which::One(_) => parameters.push(&id),
        Which::States { states, skip } => parameters.extend([states as &(dyn ToSql + Sync), skip]),
        Which::WithdrawnUntold => {}
    }
    let rows = client.query(&sql, &parameters).await?;
    Ok(rows.iter().filter_map(alert).collect())
}

fn alert(row: &Row) -> Option<Alert> {
    let organisation: Option<String> = row.get(14);
    let holdings = organisation
        .iter()
        .map(|organisation| {
            let (kinds, none) = (vec![Kind::Observation], Vec::new());
            // Of the result, or of the whole patient.
            let (kinds, confidential) = if row.get(22) { (none, kinds) } else { (kinds, none) };
            Holding { organisation: organisation.clone(), kinds, confidential }
        })
        .collect();
    Some(Alert {
        id: row.get::<_, &str>(0).parse().ok()?,
        rule: row.get(1),
        severity: row.get(2),
        urgency: row.get(3),
        state: row.get(4),
        headline: row.get(5),
        withdrawn_reason: row.get(6),
        source: row.get(7),
        patient: row.get(8),
        authorised_at: row.get(9),
        committed_at: row.get(10),
        raised_at: row.get(11),
        acknowledged_at: row.get(12),
        acknowledged_by: row.get(13),
        organisation,
        family: row.get(15),
        given: row.get(16),
        birth_date: row.get(17),
        nhs_number: row.get(18),
        person: row.get::<_, Option<&str>>(19).and_then(|person| person.parse().ok()),
        seen_by_me: row.get(20),
        context: PatientContext {
            holdings,
            recipients: row.get::<_, Option<Vec<String>>>(21).unwrap_or_default(),
            objection: row.get(23),
            ..PatientContext::default()
        },
    })
}

/// Splits what may be shown from what may not, and audits both. Says whether anything was withheld.
pub async fn disclose(
    app: &App,
    client: &impl GenericClient,
    actor: &Actor,
    action: Action,
    alerts: Vec<Alert>,
) -> Result<(Vec<Alert>, bool), GatewayError> {
    let decided: Vec<(Alert, Decision)> = alerts
        .into_iter()
        .map(|alert| {
            let decision = app.decide_on(actor, action, Some(&alert.context));
            (alert, decision)
        })
        .collect();
    for allow in [true, false] {
        let of: Vec<&(Alert, Decision)> = decided.iter().filter(|(_, decision)| decision.allow == allow).collect();
        if let Some((_, decision)) = of.first() {
            let subjects: Vec<Subject> = of.iter().map(|(alert, _)| alert.subject()).collect();
            audit::write(client, actor, &audit::Entry::of(action.as_str(), decision), &subjects).await?;
        }
    }
    let withheld = decided.iter().any(|(_, decision)| !decision.allow);
    Ok((decided.into_iter().filter(|(_, decision)| decision.allow).map(|(alert, _)| alert).collect(), withheld))
}

#[derive(Clone, Copy)]
pub enum Step {
    Seen,
    Acknowledge,
}

/// Takes the step, if it is a legal one, and tells the state that the alert is in afterwards. The alert must have been
/// disclosed to the actor before. Whoever marks a withdrawn alert as seen has been told that it was withdrawn.
pub async fn take(
    client: &impl GenericClient,
    actor: &Actor,
    alert: &Alert,
    step: Step,
) -> Result<Option<String>, GatewayError> {
    let sql = match step {
        Step::Seen => "select alert.mark_seen($1::text::uuid, $2, $3)",
        Step::Acknowledge => "select alert.acknowledge($1::text::uuid, $2, $3)",
    };
    let row = client.query_one(sql, &[&alert.id.to_string(), &actor.user, &alert.team_of(actor)]).await?;
    Ok(row.get(0))
}
