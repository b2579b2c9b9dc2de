//! The alert inbox: new → seen → acknowledged, or withdrawn.

use super::{Frame, format, render};
use crate::{
    access::{Action, PatientContext, Released},
    alerts::{self, Alert, Step, Which},
    api,
    app::{Problem, Shared, Signed, now},
    audit, database,
    page::sign_in::Csrf,
    session::Actor,
};
use alert::Rule;
use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The filters, with the states each shows.
const FILTERS: [(&str, &str, &[&str]); 5] = [
    ("open", "Open", &["new", "seen"]),
    ("new", "New", &["new"]),
    ("seen", "Seen", &["seen"]),
    ("acknowledged", "Acknowledged", &["acknowledged"]),
    ("withdrawn", "Withdrawn", &["withdrawn"]),
];
/// Pages that can be leafed back.
const PAGES_MAX: i64 = 100;

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    state: String,
    #[serde(default)]
    page: i64,
}

impl Asked {
    fn filter(&self) -> (&'static str, &'static str, &'static [&'static str]) {
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
    alerts: Vec<View>,
    withdrawn: Vec<View>,
    newer: Option<i64>,
    older: Option<i64>,
    /// The live stream goes on after this.
    head: String,
}

#[derive(Template)]
#[template(path = "alert_row.html")]
struct RowPage {
    csrf: String,
    alert: View,
}

/// One alert as the page shows it.
pub struct View {
    pub id: String,
    pub state: &'static str,
    pub state_key: String,
    pub severity: &'static str,
    pub severity_key: String,
    pub urgency: &'static str,
    pub urgency_key: String,
    pub rule: &'static str,
    pub headline: String,
    pub name: String,
    pub born: Option<String>,
    pub nhs: Option<String>,
    pub link: Option<String>,
    pub from: String,
    /// Why the reader's team has it, where that is not to be expected.
    pub why: Option<&'static str>,
    pub resulted: Option<(String, String)>,
    pub raised: (String, String, String),
    pub withdrawn_reason: Option<String>,
    pub acknowledged: Option<String>,
    pub seen_by_me: Option<String>,
    pub can_see: bool,
    pub can_acknowledge: bool,
}

pub fn rule_words(rule: &str) -> &'static str {
    Rule::parse(rule).map_or("Alert", |rule| rule.card().words)
}

/// Nobody else of whoever answers for the result receives it.
fn why_words(why: Option<&str>) -> Option<&'static str> {
    match why? {
        "no team is known for the result" => {
            Some("Nobody is known to look after this result. It came to you as the site's catch-all.")
        }
        "its database holds the result" => {
            Some("The organisation of this result has no team here. Its database is yours.")
        }
        "holds the result" => Some("No other team of yours is known to look after this patient."),
        _ => None,
    }
}

impl View {
    pub fn new(app: &Shared, alert: &Alert) -> Self {
        let now = now();
        let (state, can_see, can_acknowledge) = match alert.state.as_str() {
            "new" => ("New", true, true),
            "seen" => ("Seen", alert.seen_by_me.is_none(), true),
            "acknowledged" => ("Acknowledged", false, false),
            _ => ("Withdrawn", false, false),
        };
        let born = alert.birth_date.as_ref().map(|birth| {
            let age = format::age(birth, format::today(now)).map(|age| format!(" ({age} years)")).unwrap_or_default();
            format!("{}{age}", format::date(birth))
        });
        Self {
            id: alert.id.to_string(),
            state,
            state_key: alert.state.clone(),
            severity: if alert.severity == "critical" { "Critical" } else { "Warning" },
            severity_key: alert.severity.clone(),
            urgency: match alert.urgency.as_str() {
                "paged" => "Live",
                "late" => "Late result",
                _ => "Listed: does not interrupt",
            },
            urgency_key: alert.urgency.clone(),
            rule: rule_words(&alert.rule),
            headline: alert.headline.clone(),
            name: format::name(alert.family.as_deref(), alert.given.as_deref()),
            born,
            nhs: alert.nhs_number.as_deref().map(format::nhs_number),
            link: alert.person.map(|person| format!("/patients/{person}")),
            from: alert
                .organisation
                .as_deref()
                .map_or_else(|| alert.source.clone(), |code| app.organisation_name(code)),
            why: why_words(alert.why.as_deref()),
            resulted: alert.authorised_at.map(|at| (format::machine(at), format::when(at))),
            raised: (
                format::machine(alert.raised_at),
                format::when(alert.raised_at),
                format::ago(alert.raised_at, now),
            ),
            withdrawn_reason: alert.withdrawn_reason.clone(),
            acknowledged: alert.acknowledged_at.map(|at| {
                let by = alert.acknowledged_by.as_deref().unwrap_or("somebody who is not known here any more");
                let team = alert.acknowledged_team.as_deref().map(|id| format!(", {}", app.team_name(id)));
                format!("by {by}{}, {}", team.unwrap_or_default(), format::when(at))
            }),
            seen_by_me: alert.seen_by_me.map(format::when),
            can_see,
            can_acknowledge,
        }
    }
}

pub async fn inbox(State(app): State<Shared>, signed: Signed, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let actor = &signed.actor;
    let (filter, filter_name, states) = asked.filter();
    let page = asked.page.clamp(0, PAGES_MAX);
    // Before the rows are read: what is raised in between comes over the stream.
    let head = app.live.head().map(|head| head.to_string()).unwrap_or_default();
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let decision = app.decide_on(actor, Action::ViewAlerts, None);
    let decision = audit::record(&transaction, actor, "open-inbox", decision, Vec::new()).await?;
    if !decision.allow {
        transaction.commit().await?;
        return Err(Problem::forbidden(decision.why.as_str()));
    }
    let of_states = |skip| Which::States { states: states.to_vec(), skip };
    let (rows, more) = alerts::page(&app, &transaction, actor, of_states, page).await?;
    let (untold, _) = alerts::page(&app, &transaction, actor, |skip| Which::WithdrawnUntold { skip }, 0).await?;
    transaction.commit().await?;
    let views = |alerts: Vec<Alert>| alerts.iter().map(|alert| View::new(&app, alert)).collect();
    render(Released::all(rows).and(Released::all(untold)).map(|(rows, untold)| InboxPage {
        frame: Frame::new(&app, actor, "Alerts", "inbox"),
        csrf: actor.csrf.clone(),
        filters: FILTERS.map(|(key, name, _)| (key, name, key == filter)).to_vec(),
        filter,
        filter_name,
        alerts: views(rows),
        withdrawn: views(untold),
        newer: (page > 0).then(|| page - 1),
        older: more.then_some(page + 1),
        head,
    }))
}

/// One alert, disclosed and audited.
async fn disclosed(
    app: &Shared,
    client: &impl deadpool_postgres::GenericClient,
    actor: &Actor,
    id: Uuid,
    action: Action,
) -> Result<Option<Released<Alert>>, Problem> {
    let found = alerts::read(client, actor, &Which::These(vec![id])).await?;
    if found.is_empty() {
        // Also for an alert of other teams: the refusal does not say whether there is one, the audit does.
        let decision = app.decide_on(actor, action, Some(&PatientContext::default()));
        let subjects = alerts::subjects(client, &[id]).await?.into_values().collect();
        audit::record(client, actor, action.as_str(), decision, subjects).await?;
    }
    Ok(alerts::disclose(app, client, actor, action, found).await?.pop())
}

/// The row of one alert, for the page to put in; empty when the filter does not show it.
pub async fn row(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let actor = &signed.actor;
    let (_, _, states) = asked.filter();
    // Open pages ask for it, many at once.
    let mut client = app.streams.get().await?;
    let transaction = database::begin(&mut client).await?;
    let alert = disclosed(&app, &transaction, actor, id, Action::ViewAlerts).await?;
    transaction.commit().await?;
    match alert {
        None => Err(Problem::NotFound),
        Some(alert) if !states.contains(&alert.state.as_str()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(alert) => render(alert.map(|alert| RowPage { csrf: actor.csrf.clone(), alert: View::new(&app, &alert) })),
    }
}

/// The alert and the state that it is in afterwards.
async fn step(app: &Shared, signed: &Signed, id: Uuid, step: Step) -> Result<Released<Value>, Problem> {
    let mut client = app.pool.get().await?;
    let transaction = database::begin_change(&mut client).await?;
    let alert = disclosed(app, &transaction, &signed.actor, id, Action::HandleAlert).await?;
    let state = match alert {
        Some(alert) => {
            let state = alerts::take(&transaction, &signed.actor, &alert, step).await?;
            state.map(|state| alert.map(|alert| json!({"alert": alert.id.to_string(), "state": state})))
        }
        None => None,
    };
    transaction.commit().await?;
    state.ok_or(Problem::NotFound)
}

pub async fn seen(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Form(form): Form<Csrf>,
) -> Result<Redirect, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    drop(step(&app, &signed, id, Step::Seen).await?);
    Ok(Redirect::to("/inbox"))
}

pub async fn acknowledge(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Form(form): Form<Csrf>,
) -> Result<Redirect, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    drop(step(&app, &signed, id, Step::Acknowledge).await?);
    Ok(Redirect::to("/inbox"))
}

/// The alert has been looked at.
#[utoipa::path(put, path = "/alerts/{alert}/seen", tag = "alerts", params(("alert" = String, Path, description = "The alert's id")),
    responses((status = 200, description = "The state that the alert is in now"), (status = 401), (status = 404, description = "No such alert of your teams")))]
pub async fn seen_api(State(app): State<Shared>, signed: Signed, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    signed.check_csrf(None)?;
    Ok(api::json(step(&app, &signed, id, Step::Seen).await?))
}

/// Somebody has taken the alert on.
#[utoipa::path(put, path = "/alerts/{alert}/acknowledge", tag = "alerts", params(("alert" = String, Path, description = "The alert's id")),
    responses((status = 200, description = "The state that the alert is in now"), (status = 401), (status = 404, description = "No such alert of your teams")))]
pub async fn acknowledge_api(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    signed.check_csrf(None)?;
    Ok(api::json(step(&app, &signed, id, Step::Acknowledge).await?))
}
