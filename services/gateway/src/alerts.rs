//! Reading alerts, with the facts that decide who may see them, and changing their state through the functions that
//! the alert schema offers.

mod facts;
pub mod matters;
mod reader;
pub mod steps;

use crate::{
    GatewayError,
    access::{Action, Decision, Holding, PatientContext, Released, Why, consent::standing},
    app::{App, now},
    audit::{self, Decided, Subject},
    record::{consent, micros},
    session::Actor,
};
use alert::Urgency;
use deadpool_postgres::GenericClient;
use event::{Kind, Micros, Precision};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;
use uuid::Uuid;

/// Alerts that are read at once.
const ALERTS_MAX: i64 = 20_000;

#[derive(Clone)]
pub struct Alert {
    pub id: Uuid,
    /// What is one with it: the alerts of its specimen.
    pub matter: Uuid,
    pub rule: String,
    pub severity: String,
    pub urgency: String,
    /// To the reader's teams: one that they have answered is acknowledged, whatever others have done.
    pub state: String,
    pub headline: String,
    pub withdrawn_reason: Option<String>,
    pub source: String,
    pub patient: String,
    pub record: String,
    pub version: String,
    /// What it was told from, as JSON, where that is more than the result.
    pub detail: Option<String>,
    /// Why the reader's team receives it.
    pub why: Option<String>,
    pub authorised_at: Option<Micros>,
    pub committed_at: Micros,
    pub raised_at: Micros,
    /// When the sample was taken, as exactly as is known.
    pub taken_at: Option<Micros>,
    pub taken_precision: Option<Precision>,
    pub organisation: Option<String>,
    pub family: Option<String>,
    pub given: Option<String>,
    pub birth_date: Option<String>,
    pub nhs_number: Option<String>,
    pub person: Option<Uuid>,
    /// When the reader saw it…
    pub seen_by_me: Option<Micros>,
    /// …and whether it stood on their screen, and they have yet to be told that it was withdrawn.
    pub untold: bool,
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

    /// The reader's teams that the alert went to.
    pub fn teams_of<'a>(&self, actor: &'a Actor) -> Vec<&'a str> {
        actor.teams.iter().filter(|team| self.context.recipients.contains(team)).map(String::as_str).collect()
    }

    /// A team of the reader's has yet to answer it.
    pub fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "new" | "seen")
    }

    pub fn interrupts(&self) -> bool {
        self.urgency != Urgency::Listed.as_str()
    }
}

/// Which alerts of the reader's teams.
pub enum Which {
    These(Vec<Uuid>),
    /// All of these matters: also those that the reader's teams have answered, and those that were withdrawn.
    Matters(Vec<Uuid>),
}

/// What the state of an alert is to the teams `$1`.
const STATE: &str = "case when a.state = 'withdrawn' then 'withdrawn'
        when not exists (select from alert.recipient r
            where r.alert = a.id and r.team = any($1) and r.answered_at is null) then 'acknowledged'
        when a.state = 'new' then 'new' else 'seen' end";

fn sql(column: &str) -> String {
    format!(
        "select a.id::text, a.rule, a.severity, a.urgency, {STATE}, a.headline, a.withdrawn_reason, a.source, a.patient,
            {}, {}, {}, {},
            o.effective_precision,
            coalesce(o.organisation, p.organisation),
            p.family, p.given, coalesce(p.birth_date::text, p.birth_partial), p.nhs_number, l.person::text,
            {},
            (select array_agg(r.team) from alert.recipient r where r.alert = a.id),
            coalesce(o.confidential, false) or exists (select from record.patient c
                where c.source = a.source and c.patient = a.patient and (c.confidential or c.retracted)),
            coalesce(p.objection, false) or exists (
                select from record.link m join record.patient q on q.source = m.source and q.patient = m.patient
                where m.person = l.person and m.status <> 'held' and l.status <> 'held' and q.objection),
            a.record, a.version, case when a.rule <> all ('{{critical-limit,source-critical,unchecked}}') then a.detail::text end,
            (select min(r.why) from alert.recipient r where r.alert = a.id and r.team = any($1)),
            a.matter::text,
            a.state = 'withdrawn' and s.told_withdrawn_at is null and (s.user_id is not null
                or exists (select from alert.delivery d where d.alert = a.id and d.user_id = $2))
         from alert.alert a
         left join record.observation o on o.source = a.source and o.patient = a.patient and o.record = a.record
         left join record.patient p on p.source = a.source and p.patient = a.patient and not p.retracted
         left join record.link l on l.source = a.source and l.patient = a.patient
         left join alert.sighting s on s.alert = a.id and s.user_id = $2
         where exists (select from alert.recipient r where r.alert = a.id and r.team = any($1))
            and a.{column} = any($3::text[]::uuid[])
         order by a.raised_at desc, a.id limit {ALERTS_MAX}",
        micros("a.authorised_at"),
        micros("a.committed_at"),
        micros("a.raised_at"),
        micros("o.effective_at"),
        micros("s.seen_at"),
    )
}

pub async fn read(client: &impl GenericClient, actor: &Actor, which: &Which) -> Result<Vec<Alert>, GatewayError> {
    let (column, ids) = match which {
        Which::These(ids) => ("id", ids),
        Which::Matters(ids) => ("matter", ids),
    };
    let named: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let rows = client.query(&sql(column), &[&actor.teams, &actor.user, &named]).await?;
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
        matter: row.get::<_, &str>(28).parse().ok()?,
        rule: row.get(1),
        severity: row.get(2),
        urgency: row.get(3),
        state: row.get(4),
        headline: row.get(5),
        withdrawn_reason: row.get(6),
        source: row.get(7),
        patient: row.get(8),
        record: row.get(24),
        version: row.get(25),
        detail: row.get(26),
        why: row.get(27),
        authorised_at: row.get(9),
        committed_at: row.get(10),
        raised_at: row.get(11),
        taken_at: row.get(12),
        taken_precision: row.get::<_, Option<&str>>(13).and_then(Precision::parse),
        organisation,
        family: row.get(15),
        given: row.get(16),
        birth_date: row.get(17),
        nhs_number: row.get(18),
        person: row.get::<_, Option<&str>>(19).and_then(|person| person.parse().ok()),
        seen_by_me: row.get(20),
        untold: row.get(29),
        context: PatientContext {
            holdings,
            recipients: row.get::<_, Option<Vec<String>>>(21).unwrap_or_default(),
            objection: row.get(23),
            ..PatientContext::default()
        },
    })
}

/// An alert, as its reader may be told of it, and what was decided.
pub type Sifted = (Alert, Decision);

/// Decides on each; those that may be told become what their reader may be told of them.
pub async fn sift(
    app: &App,
    client: &impl GenericClient,
    actor: &Actor,
    action: Action,
    alerts: Vec<Alert>,
) -> Result<Vec<Sifted>, GatewayError> {
    let mut alerts = alerts;
    hear(app, client, &mut alerts).await?;
    let decided = alerts.into_iter().map(|mut alert| {
        answer_for(app, &mut alert);
        let decision = app.decide_on(actor, action, Some(&alert.context));
        (alert, decision)
    });
    let decided: Vec<Sifted> = decided.collect();
    let readable: Vec<&Alert> = decided.iter().filter(|(_, decision)| decision.allow).map(|(alert, _)| alert).collect();
    let facts = facts::read(client, &readable, &app.site).await?;
    let told = decided.into_iter().map(|(alert, decision)| {
        if !decision.allow {
            return (alert, decision);
        }
        let shows = |organisation: &str, kind: Kind, confidential: bool| {
            let kinds = vec![kind];
            let holding = Holding { organisation: organisation.to_owned(), kinds, ..Holding::default() };
            let context = PatientContext { holdings: vec![holding], ..alert.context.clone() };
            app.decide_on(actor, action, Some(&context)).shows(organisation, kind, confidential)
        };
        match reader::told(alert.clone(), &facts, &app.site.limits, shows) {
            Some(told) => (told, decision),
            // All that it tells rests on what is withheld.
            None => (alert, decision.turned_down(Why::NoAgreement)),
        }
    });
    Ok(told.collect())
}

/// What the audit says of it.
pub fn decided<'a>(actor: &'a Actor, action: Action, alert: &Alert, decision: Decision) -> Decided<'a> {
    Decided { actor, action: action.as_str(), decision, subjects: vec![alert.subject()] }
}

/// What patients have said of sharing, at whatever source of theirs.
async fn hear(app: &App, client: &impl GenericClient, alerts: &mut [Alert]) -> Result<(), GatewayError> {
    let keys = |of: &[Alert]| -> Vec<(String, String)> {
        of.iter().map(|alert| (alert.source.clone(), alert.patient.clone())).collect()
    };
    fn names(keys: &[(String, String)]) -> (Vec<&str>, Vec<&str>) {
        keys.iter().map(|(source, patient)| (source.as_str(), patient.as_str())).unzip()
    }
    let mut keys = keys(&*alerts);
    let linked = consent::linked(client, &names(&keys).0, &names(&keys).1).await?;
    keys.extend(linked.iter().map(|[_, other]| other.clone()));
    let said = consent::read(client, &app.site.consent, &names(&keys).0, &names(&keys).1).await?;
    if said.is_empty() {
        return Ok(());
    }
    for alert in alerts {
        let own = (alert.source.clone(), alert.patient.clone());
        let others = linked.iter().filter(|[one, _]| *one == own).map(|[_, other]| other);
        let each: BTreeSet<&(String, String)> = others.chain([&own]).collect();
        let all: Vec<_> = each.into_iter().filter_map(|key| said.get(key)).flatten().copied().collect();
        alert.context.objection |= standing(&all, now()).objection;
    }
    Ok(())
}

/// A result of an organisation that has no team here (a hub, a practice that closed) is answered for as it was routed.
fn answer_for(app: &App, alert: &mut Alert) {
    let source = app.site.organisations.of(&alert.source);
    for holding in &mut alert.context.holdings {
        let answering = alert::routing::answers(&holding.organisation, source.as_deref(), &app.site.teams).0;
        holding.organisation = answering.unwrap_or(&holding.organisation).to_owned();
    }
}

/// What of these alerts may be told to this reader, and as what. Both what is told and what is not is in the audit;
/// the reader learns nothing of what is not.
pub async fn disclose(
    app: &App,
    client: &impl GenericClient,
    actor: &Actor,
    action: Action,
    alerts: Vec<Alert>,
) -> Result<Vec<Released<Alert>>, GatewayError> {
    let sifted = sift(app, client, actor, action, alerts).await?;
    release(client, actor, action, sifted).await
}

async fn release(
    client: &impl GenericClient,
    actor: &Actor,
    action: Action,
    sifted: Vec<Sifted>,
) -> Result<Vec<Released<Alert>>, GatewayError> {
    let decided = sifted.into_iter().map(|(alert, decision)| {
        let decided = decided(actor, action, &alert, decision);
        (alert, decided)
    });
    audit::release_all(client, decided.collect()).await
}

/// Whom these alerts are about, whoever asks: for the audit of who is refused them.
pub async fn subjects(client: &impl GenericClient, which: &Which) -> Result<BTreeMap<Uuid, Subject>, GatewayError> {
    let (column, ids) = match which {
        Which::These(ids) => ("id", ids),
        Which::Matters(ids) => ("matter", ids),
    };
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let sql = format!(
        "select a.id::text, a.source, a.patient, p.organisation, l.person::text from alert.alert a
        left join record.patient p on p.source = a.source and p.patient = a.patient
        left join record.link l on l.source = a.source and l.patient = a.patient
        where a.{column} = any($1::text[]::uuid[]) limit {ALERTS_MAX}"
    );
    let rows = client.query(&sql, &[&ids]).await?;
    let subject = |row: &Row| {
        let person = row.get::<_, Option<&str>>(4).and_then(|person| person.parse().ok());
        Subject { source: row.get(1), patient: row.get(2), organisation: row.get(3), person }
    };
    Ok(rows.iter().filter_map(|row| Some((row.get::<_, &str>(0).parse().ok()?, subject(row)))).collect())
}
