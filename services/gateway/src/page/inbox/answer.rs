//! What readers do with a matter, by a form or by a script. An answer names the version that was on their screen, and
//! covers what was shown there and nothing else: what has come since is not answered.

use super::{disclosed, not_theirs, view};
use crate::{
    access::{Action, Released},
    alerts::{
        self, Alert, Which, matters,
        steps::{self, Answer, NOTE_CHARS_MAX, Outcome},
    },
    api,
    app::{Problem, Shared, Signed},
    database,
    page::sign_in::Csrf,
};
use axum::{
    Form, Json,
    extract::{Path, State, rejection::JsonRejection},
    response::{Redirect, Response},
};
use deadpool_postgres::GenericClient;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// What is said in answer to a matter.
#[derive(Deserialize, ToSchema)]
pub struct Said {
    /// `shown` of the matter as it was read: of another version nothing is answered.
    #[serde(default)]
    pub shown: String,
    /// acted, accepted, already-known, handed-over or not-useful.
    #[serde(default)]
    pub outcome: String,
    /// Why it is not useful, or what else the next reader should know.
    #[serde(default)]
    pub note: String,
    /// The team that it is handed over to.
    #[serde(default)]
    pub to: String,
}

#[derive(Deserialize)]
pub struct AnswerForm {
    csrf: String,
    #[serde(flatten)]
    said: Said,
}

const CHANGED: Problem = Problem::Conflict(
    "This has changed since it was shown to you. Nothing was answered: load the page again and look at what is new",
);

fn note(text: &str) -> Result<Option<String>, Problem> {
    let text = text.trim();
    if text.chars().count() > NOTE_CHARS_MAX {
        return Err(Problem::Bad("the note is longer than 500 characters"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

impl Said {
    /// What is wrong with it is told before anything is read.
    fn check(&self) -> Result<Answer, Problem> {
        let outcome = Outcome::parse(&self.outcome)
            .ok_or(Problem::Bad("say what was done: acted, accepted, already-known, handed-over or not-useful"))?;
        let note = note(&self.note)?;
        let to = Some(self.to.trim().to_owned()).filter(|team| !team.is_empty() && outcome == Outcome::HandedOver);
        match outcome {
            Outcome::NotUseful if note.is_none() => Err(Problem::Bad("say in the note why it is not useful")),
            Outcome::HandedOver if to.is_none() => Err(Problem::Bad("say which team it is handed over to")),
            _ => Ok(Answer { outcome, note, to }),
        }
    }
}

/// What is done to each alert of a matter, in one transaction.
enum Deed<'a> {
    See,
    Answer(&'a Answer, &'a str),
    Reopen(Option<String>),
    Feedback(&'a str, Option<String>),
}

async fn on_matter(app: &Shared, signed: &Signed, id: Uuid, deed: Deed<'_>) -> Result<Released<Value>, Problem> {
    let mut client = app.pool.get().await?;
    let transaction = database::begin_change(&mut client).await?;
    let matter = disclosed(app, &transaction, &signed.actor, id, Action::HandleAlert).await?;
    let done = match matter {
        Some(matter) => {
            let states = on_each(app, &transaction, signed, &matter, deed).await;
            states.map(|states| matter.map(|_| json!({"matter": id.to_string(), "states": states})))
        }
        None => Err(Problem::NotFound),
    };
    // What was decided stands in the audit, whatever became of it.
    transaction.commit().await?;
    done
}

async fn on_each(
    app: &Shared,
    client: &impl GenericClient,
    signed: &Signed,
    matter: &[Alert],
    deed: Deed<'_>,
) -> Result<Vec<String>, Problem> {
    let actor = &signed.actor;
    if let Deed::Answer(answer, shown) = &deed {
        if matters::shown(matter) != *shown {
            return Err(CHANGED);
        }
        let near =
            |to: &String| matter.iter().all(|it| view::targets(app, actor, it).iter().any(|team| team.id == *to));
        if answer.to.as_ref().is_some_and(|to| !near(to)) {
            return Err(Problem::Bad("that team cannot be given it: choose one of the list"));
        }
    }
    let mut states = Vec::new();
    for alert in matter {
        let state = match &deed {
            Deed::See if alert.is_open() => steps::see(client, actor, alert).await?,
            Deed::Answer(answer, _) if alert.is_open() => steps::answer(client, actor, alert, answer).await?,
            Deed::Reopen(note) if alert.state == "acknowledged" => {
                steps::reopen(client, actor, alert, note.as_deref()).await?
            }
            Deed::Feedback(kind, note) if alert.state != "withdrawn" => {
                steps::give_feedback(client, actor, alert, kind, note.as_deref()).await?;
                None
            }
            _ => None,
        };
        states.extend(state);
    }
    Ok(states)
}

const INBOX: &str = "/inbox";

/// What a form asks for; its answer is the inbox again.
async fn by_form(app: &Shared, signed: &Signed, csrf: &str, id: Uuid, deed: Deed<'_>) -> Result<Redirect, Problem> {
    signed.check_csrf(Some(csrf))?;
    drop(on_matter(app, signed, id, deed).await?);
    Ok(Redirect::to(INBOX))
}

pub async fn see_form(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Form(form): Form<Csrf>,
) -> Result<Redirect, Problem> {
    by_form(&app, &signed, &form.csrf, id, Deed::See).await
}

/// The matter has been looked at.
#[utoipa::path(put, path = "/matters/{matter}/seen", tag = "alerts", params(("matter" = String, Path, description = "The matter's id")),
    responses((status = 200, description = "The states that its alerts are in now"), (status = 401), (status = 404, description = "No such matter of your teams")))]
pub async fn see_api(State(app): State<Shared>, signed: Signed, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    signed.check_csrf(None)?;
    Ok(api::json(on_matter(&app, &signed, id, Deed::See).await?))
}

pub async fn answer_form(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Form(form): Form<AnswerForm>,
) -> Result<Redirect, Problem> {
    let answer = form.said.check()?;
    by_form(&app, &signed, &form.csrf, id, Deed::Answer(&answer, &form.said.shown)).await
}

/// What your teams have done about the matter, as it was shown to you.
#[utoipa::path(put, path = "/matters/{matter}/answer", tag = "alerts", request_body = Said, params(("matter" = String, Path, description = "The matter's id")),
    responses((status = 200, description = "The states that its alerts are in now"), (status = 400, description = "Not an answer"), (status = 401), (status = 404, description = "No such matter of your teams"), (status = 409, description = "It has changed since it was read: nothing was answered")))]
pub async fn answer_api(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<Response, Problem> {
    signed.check_csrf(None)?;
    let said = said.map_err(|_| Problem::Bad("send {\"shown\": …, \"outcome\": …} as JSON"))?.0;
    let answer = said.check()?;
    Ok(api::json(on_matter(&app, &signed, id, Deed::Answer(&answer, &said.shown)).await?))
}

#[derive(Deserialize)]
pub struct Noted {
    csrf: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    kind: String,
}

pub async fn reopen_form(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Form(form): Form<Noted>,
) -> Result<Redirect, Problem> {
    by_form(&app, &signed, &form.csrf, id, Deed::Reopen(note(&form.note)?)).await
}

pub async fn feedback_form(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Form(form): Form<Noted>,
) -> Result<Redirect, Problem> {
    if !steps::FEEDBACK.iter().any(|(kind, _)| *kind == form.kind) {
        return Err(Problem::Bad("say what is wrong: choose one of the list"));
    }
    let deed = Deed::Feedback(&form.kind, note(&form.note)?);
    by_form(&app, &signed, &form.csrf, id, deed).await
}

/// The data team's answer has been read.
pub async fn read_answer_form(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<i64>,
    Form(form): Form<Csrf>,
) -> Result<Redirect, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    let client = app.pool.get().await?;
    if steps::read_answer(&client, &signed.actor, id).await? { Ok(Redirect::to(INBOX)) } else { Err(Problem::NotFound) }
}

/// One alert: that it was withdrawn has been read, or a script has shown it.
async fn on_alert(app: &Shared, signed: &Signed, id: Uuid) -> Result<Released<Value>, Problem> {
    let actor = &signed.actor;
    let mut client = app.pool.get().await?;
    let transaction = database::begin_change(&mut client).await?;
    let found = alerts::read(&transaction, actor, &Which::These(vec![id])).await?;
    if found.is_empty() {
        not_theirs(app, &transaction, actor, Action::HandleAlert, &Which::These(vec![id])).await?;
    }
    let alert = alerts::disclose(app, &transaction, actor, Action::HandleAlert, found).await?.pop();
    let state = match &alert {
        Some(alert) => steps::see(&transaction, actor, alert).await?,
        None => None,
    };
    transaction.commit().await?;
    let (alert, state) = alert.zip(state).ok_or(Problem::NotFound)?;
    Ok(alert.map(|alert| json!({"alert": alert.id.to_string(), "state": state})))
}

pub async fn see_alert_form(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Form(form): Form<Csrf>,
) -> Result<Redirect, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    drop(on_alert(&app, &signed, id).await?);
    Ok(Redirect::to(INBOX))
}

/// One alert has been looked at; of one that was withdrawn, that this has been read.
#[utoipa::path(put, path = "/alerts/{alert}/seen", tag = "alerts", params(("alert" = String, Path, description = "The alert's id")),
    responses((status = 200, description = "The state that the alert is in now"), (status = 401), (status = 404, description = "No such alert of your teams")))]
pub async fn see_alert_api(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    signed.check_csrf(None)?;
    Ok(api::json(on_alert(&app, &signed, id).await?))
}
