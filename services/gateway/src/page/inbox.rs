//! The alert inbox: one card for each matter, the most dangerous first; answered by each team for itself, or withdrawn.

pub mod answer;
mod view;

pub use view::Card;

use super::{Frame, format, render};
use crate::{
    access::{Action, PatientContext, Recorded, Released},
    alerts::{
        self, Alert, Which,
        matters::{self, Filter, Page},
        steps,
    },
    api,
    app::{Problem, Shared, Signed, now},
    audit, database,
    session::Actor,
};
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use deadpool_postgres::GenericClient;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The lists, with their names.
const FILTERS: [(&str, &str, Filter); 5] = [
    ("open", "Open", Filter::Open),
    ("new", "New", Filter::New),
    ("seen", "Seen", Filter::Seen),
    ("acknowledged", "Acknowledged", Filter::Acknowledged),
    ("withdrawn", "Withdrawn", Filter::Withdrawn),
];

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    state: String,
    #[serde(default)]
    page: usize,
}

impl Asked {
    fn filter(&self) -> (&'static str, &'static str, Filter) {
        FILTERS.into_iter().find(|(key, ..)| *key == self.state).unwrap_or(FILTERS[0])
    }
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    frame: Frame,
    csrf: String,
    filters: Vec<(&'static str, &'static str, bool)>,
    filter: &'static str,
    filter_name: &'static str,
    by_danger: bool,
    cards: Vec<Card>,
    withdrawn: Vec<Withdrawn>,
    answers: Vec<Answered>,
    count: usize,
    newer: Option<usize>,
    older: Option<usize>,
    /// There are more matters than are looked at.
    most: Option<usize>,
    /// The live stream goes on after this.
    head: String,
}

/// An alert that was withdrawn since its reader saw it.
struct Withdrawn {
    id: String,
    name: String,
    headline: String,
    reason: Option<String>,
}

impl Withdrawn {
    fn of(alert: &Alert) -> Self {
        Self {
            id: alert.id.to_string(),
            name: format::name(alert.family.as_deref(), alert.given.as_deref()),
            headline: alert.headline.clone(),
            reason: alert.withdrawn_reason.clone(),
        }
    }
}

/// What the data team has answered to this reader.
struct Answered {
    id: i64,
    what: &'static str,
    note: Option<String>,
    asked: String,
    answer: String,
}

impl Answered {
    fn of(answer: steps::DataAnswer) -> Self {
        let what = steps::FEEDBACK.into_iter().find(|(kind, _)| *kind == answer.kind);
        Self {
            id: answer.id,
            what: what.map_or("Something else", |(_, words)| words),
            note: answer.note,
            asked: format::when(answer.asked_at),
            answer: answer.answer,
        }
    }
}

#[derive(Template)]
#[template(path = "card.html")]
struct CardPage {
    csrf: String,
    card: Card,
}

#[derive(Template)]
#[template(path = "hand_over.html")]
struct HandOverPage {
    frame: Frame,
    teams: String,
    at: String,
    cards: Vec<Card>,
    most: Option<usize>,
}

/// Opening the list, decided and audited.
async fn opened(
    app: &Shared,
    client: &impl GenericClient,
    actor: &Actor,
    action: &str,
) -> Result<Result<Recorded, Problem>, Problem> {
    let decision = app.decide_on(actor, Action::ViewAlerts, None);
    let decision = audit::record(client, actor, action, decision, Vec::new()).await?;
    let why = decision.why;
    Ok(if decision.allow { Ok(decision) } else { Err(Problem::forbidden(why.as_str())) })
}

/// The cards of a page, with what was done about each; what interrupts on them has been on this reader's screen.
async fn cards(
    app: &Shared,
    client: &impl GenericClient,
    actor: &Actor,
    matters: Vec<Released<Vec<Alert>>>,
) -> Result<Released<Vec<Card>>, Problem> {
    let all = || matters.iter().flat_map(|matter| matter.iter());
    let taken = steps::taken(app, client, actor, all()).await?;
    let told: Vec<Uuid> = all().filter(|alert| alert.is_open() && alert.interrupts()).map(|alert| alert.id).collect();
    steps::delivered(client, actor, &told).await?;
    Ok(Released::all(matters)
        .map(|matters| matters.iter().filter_map(|matter| Card::new(app, actor, matter, &taken)).collect()))
}

pub async fn inbox(State(app): State<Shared>, signed: Signed, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let actor = &signed.actor;
    let (key, filter_name, filter) = asked.filter();
    // Before the rows are read: what is raised in between comes over the stream.
    let head = app.live.head().map(|head| head.to_string()).unwrap_or_default();
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let decision = match opened(&app, &transaction, actor, "open-inbox").await? {
        Ok(decision) => decision,
        Err(refused) => {
            transaction.commit().await?;
            return Err(refused);
        }
    };
    let page = asked.page.min(matters::MATTERS_MAX / matters::PAGE_MATTERS);
    let Page { matters, pages, count, capped } =
        matters::page(&app, &transaction, actor, filter, (matters::PAGE_MATTERS, page)).await?;
    let untold = matters::page(&app, &transaction, actor, Filter::Untold, (matters::PAGE_MATTERS, 0)).await?.matters;
    let cards = cards(&app, &transaction, actor, matters).await?;
    let answers = steps::data_answers(&transaction, actor).await?;
    let answers = decision.release(answers).map_err(Problem::from)?;
    transaction.commit().await?;
    let title = if filter == Filter::Open { format!("Alerts ({count} open)") } else { "Alerts".to_owned() };
    render(cards.and(Released::all(untold)).and(answers).map(|((cards, untold), answers)| InboxPage {
        frame: Frame::new(&app, actor, title, "inbox"),
        csrf: actor.csrf.clone(),
        filters: FILTERS.map(|(one, name, _)| (one, name, one == key)).to_vec(),
        filter: key,
        filter_name,
        by_danger: !matches!(filter, Filter::Acknowledged | Filter::Withdrawn),
        cards,
        withdrawn: untold.iter().flatten().filter(|alert| alert.untold).map(Withdrawn::of).collect(),
        answers: answers.into_iter().map(Answered::of).collect(),
        count,
        newer: page.checked_sub(1),
        older: (page + 1 < pages).then_some(page + 1),
        most: capped.then_some(matters::MATTERS_MAX),
        head,
    }))
}

/// For whoever comes next: what is open, and what was answered lately, to be printed.
pub async fn hand_over(State(app): State<Shared>, signed: Signed) -> Result<Response, Problem> {
    let actor = &signed.actor;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    if let Err(refused) = opened(&app, &transaction, actor, "open-hand-over").await? {
        transaction.commit().await?;
        return Err(refused);
    }
    let all = (matters::MATTERS_MAX, 0);
    let Page { matters, capped, .. } = matters::page(&app, &transaction, actor, Filter::HandOver, all).await?;
    let cards = cards(&app, &transaction, actor, matters).await?;
    transaction.commit().await?;
    let teams: Vec<String> = app.teams_of(actor).into_iter().map(|team| team.name).collect();
    render(cards.map(|cards| HandOverPage {
        frame: Frame::new(&app, actor, "Hand-over", "inbox"),
        teams: teams.join(", "),
        at: format::when(now()),
        cards,
        most: capped.then_some(matters::MATTERS_MAX),
    }))
}

/// One matter for this reader, disclosed and audited; none if there is nothing of it for them.
async fn disclosed(
    app: &Shared,
    client: &impl GenericClient,
    actor: &Actor,
    id: Uuid,
    action: Action,
) -> Result<Option<Released<Vec<Alert>>>, Problem> {
    match matters::one(app, client, actor, action, id).await? {
        Some(found) if !found.is_empty() => Ok(Some(found)),
        Some(_) => Ok(None),
        None => {
            not_theirs(app, client, actor, action, &Which::Matters(vec![id])).await?;
            Ok(None)
        }
    }
}

/// Also for an alert of other teams: the refusal does not say whether there is one, the audit does.
async fn not_theirs(
    app: &Shared,
    client: &impl GenericClient,
    actor: &Actor,
    action: Action,
    which: &Which,
) -> Result<(), Problem> {
    let decision = app.decide_on(actor, action, Some(&PatientContext::default()));
    let subjects = alerts::subjects(client, which).await?.into_values().collect();
    audit::record(client, actor, action.as_str(), decision, subjects).await?;
    Ok(())
}

/// The card of one matter, for the page to put in: also one that has left the list, so that what a colleague has done
/// stands where the reader saw it.
pub async fn card(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let actor = &signed.actor;
    let (_, _, filter) = asked.filter();
    // Open pages ask for it, many at once.
    let mut client = app.streams.get().await?;
    let transaction = database::begin(&mut client).await?;
    let matter = disclosed(&app, &transaction, actor, id, Action::ViewAlerts).await?;
    let Some(matter) = matter else {
        transaction.commit().await?;
        return Err(Problem::NotFound);
    };
    let in_list = matter.iter().any(|alert| filter.holds(alert));
    let cards = cards(&app, &transaction, actor, vec![matter]).await?;
    transaction.commit().await?;
    let csrf = actor.csrf.clone();
    let page = cards.try_map(|mut cards| cards.pop().ok_or(Problem::NotFound))?;
    let mut answer = render(page.map(|card| CardPage { csrf, card }))?;
    let place = axum::http::HeaderValue::from_static(if in_list { "yes" } else { "no" });
    answer.headers_mut().insert("x-in-list", place);
    Ok(answer)
}

/// A matter with its findings, and the version to answer it by.
#[utoipa::path(get, path = "/matters/{matter}", tag = "alerts", params(("matter" = String, Path, description = "The matter's id, as the stream tells it")),
    responses((status = 200, description = "Its findings, and `shown`: what an answer has to name"), (status = 401), (status = 404, description = "No such matter of your teams")))]
pub async fn matter_api(State(app): State<Shared>, signed: Signed, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let matter = disclosed(&app, &transaction, &signed.actor, id, Action::ViewAlerts).await?;
    transaction.commit().await?;
    let matter = matter.ok_or(Problem::NotFound)?;
    Ok(api::json(matter.map(|alerts| told(id, &alerts))))
}

fn told(matter: Uuid, alerts: &[Alert]) -> Value {
    let finding = |alert: &Alert| {
        json!({
            "alert": alert.id.to_string(),
            "state": alert.state,
            "severity": alert.severity,
            "urgency": alert.urgency,
            "interrupts": alert.interrupts(),
            "rule": alert.rule,
            "headline": alert.headline,
            "withdrawn_reason": alert.withdrawn_reason,
            "taken_at": alert.taken_at.map(format::machine),
            "raised_at": format::machine(alert.raised_at),
        })
    };
    json!({
        "matter": matter.to_string(),
        "shown": matters::shown(alerts),
        "findings": alerts.iter().map(finding).collect::<Vec<_>>(),
    })
}
