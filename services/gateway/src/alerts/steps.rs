//! What readers do with an alert: see it, answer it, open it again, say that it is wrong. Only through the functions that
//! the alert schema offers, each of which keeps who did what and when.

use super::Alert;
use crate::{
    GatewayError,
    app::{App, now},
    record::micros,
    session::Actor,
};
use deadpool_postgres::GenericClient;
use event::Micros;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Of a note to an answer, or of what is said to be wrong.
pub const NOTE_CHARS_MAX: usize = 500;
/// Steps of one alert that are shown: it cannot be answered so often without somebody who is at odds with it.
const STEPS_MAX: i64 = 50;

/// What a team has done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acted,
    /// It was handed over to them, and they have taken it.
    Accepted,
    AlreadyKnown,
    HandedOver,
    NotUseful,
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::Acted, Self::Accepted, Self::AlreadyKnown, Self::HandedOver, Self::NotUseful];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acted => "acted",
            Self::Accepted => "accepted",
            Self::AlreadyKnown => "already-known",
            Self::HandedOver => "handed-over",
            Self::NotUseful => "not-useful",
        }
    }

    /// Said of a team: by whom follows.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Acted => "Acted on",
            Self::Accepted => "Accepted",
            Self::AlreadyKnown => "Said to be known already",
            Self::HandedOver => "Handed over",
            Self::NotUseful => "Said not to be useful",
        }
    }
}

/// An answer, checked.
pub struct Answer {
    pub outcome: Outcome,
    pub note: Option<String>,
    /// Handed over to this team.
    pub to: Option<String>,
}

/// Whoever marks a withdrawn alert as seen has been told that it was withdrawn. Tells the state that it is in afterwards.
pub async fn see(client: &impl GenericClient, actor: &Actor, alert: &Alert) -> Result<Option<String>, GatewayError> {
    let team = alert.teams_of(actor).first().copied();
    let sql = "select alert.mark_seen($1::text::uuid, $2, $3)";
    Ok(client.query_one(sql, &[&alert.id.to_string(), &actor.user, &team]).await?.get(0))
}

pub async fn answer(
    client: &impl GenericClient,
    actor: &Actor,
    alert: &Alert,
    answer: &Answer,
) -> Result<Option<String>, GatewayError> {
    let (id, teams, outcome) = (alert.id.to_string(), alert.teams_of(actor), answer.outcome.as_str());
    let sql = "select alert.answer($1::text::uuid, $2, $3, $4, $5, $6)";
    let row = client.query_one(sql, &[&id, &actor.user, &teams, &outcome, &answer.note, &answer.to]).await?;
    metrics::counter!("causeway_alerts_answered_total", "rule" => alert.rule.clone(), "outcome" => outcome)
        .increment(1);
    metrics::histogram!("causeway_alerts_answer_seconds", "rule" => alert.rule.clone())
        .record((now() - alert.raised_at) as f64 / 1e6);
    Ok(row.get(0))
}

pub async fn reopen(
    client: &impl GenericClient,
    actor: &Actor,
    alert: &Alert,
    note: Option<&str>,
) -> Result<Option<String>, GatewayError> {
    let (id, teams) = (alert.id.to_string(), alert.teams_of(actor));
    let sql = "select alert.reopen($1::text::uuid, $2, $3, $4)";
    Ok(client.query_one(sql, &[&id, &actor.user, &teams, &note]).await?.get(0))
}

/// What may be said to be wrong.
pub const FEEDBACK: [(&str, &str); 5] = [
    ("wrong-code", "It is another test"),
    ("wrong-value", "The value or unit is wrong"),
    ("wrong-patient", "It is another patient's"),
    ("not-useful", "It is right, and not useful"),
    ("other", "Something else"),
];

pub async fn give_feedback(
    client: &impl GenericClient,
    actor: &Actor,
    alert: &Alert,
    kind: &str,
    note: Option<&str>,
) -> Result<(), GatewayError> {
    let (id, team) = (alert.id.to_string(), alert.teams_of(actor).first().copied());
    let sql = "select alert.give_feedback($1::text::uuid, $2, $3, $4, $5)";
    client.query_one(sql, &[&id, &actor.user, &team, &kind, &note]).await?;
    metrics::counter!("causeway_alerts_feedback_total", "rule" => alert.rule.clone(), "kind" => kind.to_owned())
        .increment(1);
    Ok(())
}

/// What the data team has answered to this reader, who has not read it yet.
pub struct DataAnswer {
    pub id: i64,
    pub kind: String,
    pub note: Option<String>,
    pub asked_at: Micros,
    pub answer: String,
}

/// Of one reader, at once.
const ANSWERS_MAX: i64 = 50;

pub async fn data_answers(client: &impl GenericClient, actor: &Actor) -> Result<Vec<DataAnswer>, GatewayError> {
    let sql = format!(
        "select f.id, f.kind, f.note, {}, f.answer from alert.feedback f
         where f.actor = $1 and f.answer is not null and f.read_at is null order by f.id limit {ANSWERS_MAX}",
        micros("f.at")
    );
    let rows = client.query(&sql, &[&actor.user]).await?;
    let answer = |row: &tokio_postgres::Row| DataAnswer {
        id: row.get(0),
        kind: row.get(1),
        note: row.get(2),
        asked_at: row.get(3),
        answer: row.get(4),
    };
    Ok(rows.iter().map(answer).collect())
}

/// Whether there was such an answer to this reader.
pub async fn read_answer(client: &impl GenericClient, actor: &Actor, id: i64) -> Result<bool, GatewayError> {
    Ok(client.query_one("select alert.read_answer($1, $2)", &[&id, &actor.user]).await?.get(0))
}

/// These stand on the reader's screen.
pub async fn delivered(client: &impl GenericClient, actor: &Actor, alerts: &[Uuid]) -> Result<(), GatewayError> {
    if alerts.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = alerts.iter().map(Uuid::to_string).collect();
    let users = vec![actor.user.as_str(); ids.len()];
    client.execute("select alert.mark_delivered($1::text[]::uuid[], $2)", &[&ids, &users]).await?;
    Ok(())
}

/// A step that was taken, as its reader may be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: Micros,
    pub what: String,
    /// The name of whoever took it; none: Causeway itself, or somebody who is not known here any more.
    pub by: Option<String>,
    pub team: Option<String>,
    pub outcome: Option<Outcome>,
    pub to: Option<String>,
    pub note: Option<String>,
}

/// What was done about these alerts, in order. Of teams of the result's own organisation and of the reader's: that others
/// have it too would tell where else the patient is known. Notes stay with the organisation that they were written in.
pub async fn taken(
    app: &App,
    client: &impl GenericClient,
    actor: &Actor,
    alerts: impl Iterator<Item = &Alert>,
) -> Result<BTreeMap<Uuid, Vec<Step>>, GatewayError> {
    let holders: BTreeMap<Uuid, Option<String>> =
        alerts.map(|alert| (alert.id, alert.context.holdings.first().map(|it| it.organisation.clone()))).collect();
    let ids: Vec<String> = holders.keys().map(Uuid::to_string).collect();
    let sql = format!(
        "select s.alert::text, {}, s.what, u.name, s.team, s.outcome, s.to_team, s.note
         from (select s.*, row_number() over (partition by s.alert order by s.id desc) as nth from alert.step s
             where s.alert = any($1::text[]::uuid[])) s
         left join access.user u on u.id = s.actor where s.nth <= {STEPS_MAX} order by s.id",
        micros("s.at")
    );
    let own: Vec<String> = app.teams_of(actor).into_iter().map(|team| team.organisation).collect();
    let mut taken: BTreeMap<Uuid, Vec<Step>> = BTreeMap::new();
    for row in client.query(&sql, &[&ids]).await? {
        let Ok(alert) = row.get::<_, &str>(0).parse::<Uuid>() else { continue };
        let step = Step {
            at: row.get(1),
            what: row.get(2),
            by: row.get(3),
            team: row.get(4),
            outcome: row.get::<_, Option<&str>>(5).and_then(Outcome::parse),
            to: row.get(6),
            note: row.get(7),
        };
        let organisation = step.team.as_ref().or(step.to.as_ref()).and_then(|team| app.site.teams.get(team));
        let Some(organisation) = organisation.map(|team| &team.organisation) else { continue };
        let theirs = holders.get(&alert).is_some_and(|holder| holder.as_ref() == Some(organisation));
        let ours = own.contains(organisation);
        if ours || theirs {
            let note = step.note.filter(|_| ours);
            taken.entry(alert).or_default().push(Step { note, ..step });
        }
    }
    Ok(taken)
}
