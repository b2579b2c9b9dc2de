//! The pages: HTML that reads and acknowledges without JavaScript.

pub mod format;
mod identity;
pub mod inbox;
pub mod patient;
pub mod search;
pub mod sign_in;
pub mod status;
pub mod units;

pub(crate) use search::query::{folded, folded_sql};

use crate::{
    access::{AboutNobody, Action, Released},
    app::{Problem, Shared},
    input,
    session::Actor,
};
use askama::Template;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use inbox::answer;

/// What every page carries around its content.
pub struct Frame {
    pub title: String,
    pub user: Option<Viewer>,
    /// The current place in the navigation.
    pub place: &'static str,
    /// The sources whose newest changes may be missing, in words.
    pub behind: Option<String>,
}

pub struct Viewer {
    pub name: String,
    pub teams: String,
    pub csrf: String,
    /// Which places there are for them.
    pub alerts: bool,
    pub patients: bool,
    pub status: bool,
    pub identity: bool,
}

impl Frame {
    pub fn new(app: &Shared, actor: &Actor, title: impl Into<String>, place: &'static str) -> Self {
        let teams: Vec<String> = app.teams_of(actor).into_iter().map(|team| team.name).collect();
        let user = Viewer {
            name: actor.name.clone(),
            teams: teams.join(", "),
            csrf: actor.csrf.clone(),
            alerts: app.decide_on(actor, Action::ViewAlerts, None).allow,
            patients: app.decide_on(actor, Action::FindPatient, None).allow,
            status: app.decide_on(actor, Action::ViewStatus, None).allow,
            identity: app.decide_on(actor, Action::LinkPatients, None).allow,
        };
        Self { title: title.into(), user: Some(user), place, behind: app.behind() }
    }

    pub fn for_nobody(title: impl Into<String>) -> Self {
        Self { title: title.into(), user: None, place: "", behind: None }
    }
}

/// The door of the pages.
pub fn render(page: Released<impl Template>) -> Result<Response, Problem> {
    page.send(|template| match template.render() {
        Ok(html) => Ok(Html(html).into_response()),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            Err(Problem::Failed)
        }
    })
}

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/inbox", get(inbox::inbox))
        .route("/inbox/hand-over", get(inbox::hand_over))
        .route("/inbox/{matter}", get(inbox::card))
        .route("/matters/{matter}", get(inbox::matter_api))
        .route("/matters/{matter}/seen", post(answer::see_form).put(answer::see_api))
        .route("/matters/{matter}/answer", post(answer::answer_form).put(answer::answer_api))
        .route("/matters/{matter}/reopen", post(answer::reopen_form))
        .route("/matters/{matter}/feedback", post(answer::feedback_form))
        .route("/feedback/{feedback}/read", post(answer::read_answer_form))
        .route("/alerts/{alert}/seen", post(answer::see_alert_form).put(answer::see_alert_api))
        .route("/patients", get(search::form).post(search::search))
        .route("/patients/{person}", get(patient::record))
        .route("/patients/{person}/break-glass", post(patient::break_glass))
        .route("/break-glass", post(search::break_glass))
        .route("/status", get(status::status))
        .route("/identity", get(identity::queue))
        .route("/identity/{one}/{other}", get(identity::pair).post(identity::decide))
        .route("/assets/style.css", get(|| asset("text/css; charset=utf-8", include_str!("../../assets/style.css"))))
        .route("/assets/live.js", get(|| asset("text/javascript; charset=utf-8", include_str!("../../assets/live.js"))))
        .route(
            "/assets/live-worker.js",
            get(|| asset("text/javascript; charset=utf-8", include_str!("../../assets/live-worker.js"))),
        )
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", include_str!("../../assets/icon.svg"))))
        .fallback(async || Problem::NotFound)
        .layer(middleware::from_fn(input::check))
        .layer(middleware::from_fn(problems_as_pages))
}

async fn home(State(app): State<Shared>, signed: crate::app::Signed) -> Redirect {
    let may = |action| app.decide_on(&signed.actor, action, None).allow;
    let place = match () {
        () if may(Action::ViewStatus) => "/status",
        () if may(Action::LinkPatients) => "/identity",
        () if may(Action::FindPatient) && !may(Action::ViewAlerts) => "/patients",
        () => "/inbox",
    };
    Redirect::to(place)
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    words: &'static str,
    glass: Option<(String, String)>,
    reason_max: usize,
}

impl AboutNobody for ProblemPage {}

/// Problems leave as pages; who is not signed in is shown the way. Scripts that ask for JSON get JSON.
async fn problems_as_pages(request: Request, next: Next) -> Response {
    let html = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_none_or(|accept| !accept.contains("application/json"));
    let read = request.method().is_safe();
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>().cloned() else { return response };
    if !html {
        return crate::api::problem(&problem);
    }
    if matches!(problem, Problem::NotSignedIn) && read {
        return Redirect::to("/sign-in").into_response();
    }
    let title = match &problem {
        Problem::NotSignedIn => "Sign in first",
        Problem::Forbidden { .. } => "You cannot see this",
        Problem::NotFound => "Page not found",
        Problem::Conflict(_) => "It has changed",
        Problem::Bad(_) | Problem::TooSlow | Problem::TooLarge => "That did not work",
        Problem::Throttled(_) | Problem::Busy | Problem::Failed => "Sorry, there is a problem",
    };
    let glass = match &problem {
        Problem::Forbidden { glass: Some((person, csrf)), .. } => Some((person.to_string(), csrf.clone())),
        _ => None,
    };
    let page = ProblemPage {
        frame: Frame::for_nobody(title),
        words: problem.words(),
        glass,
        reason_max: patient::REASON_CHARS_MAX,
    };
    let mut response = match render(Released::about_nobody(page)) {
        Ok(response) => response,
        Err(problem) => return problem.into_response(),
    };
    *response.status_mut() = problem.status();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
