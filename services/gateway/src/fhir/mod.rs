//! FHIR R4: the record as resources, read and searched under the same decisions and audit as the pages.

mod accesses;
mod capability;
mod clinical;
mod detail;
mod entries;
mod everything;
mod find;
mod interpreted;
mod lists;
mod matching;
pub mod openapi;
mod patients;
mod provenance;
mod read;
mod reading;
pub mod resources;
pub mod search;
mod shape;
mod summary;
mod supply;
mod table;
#[cfg(test)]
mod table_tests;

use crate::{
    GatewayError,
    access::{Action, Recorded, Released, Why},
    app::{App, OverTls, Problem, Shared, Signed},
    audit::{self, Subject},
    input,
    page::{patient::NO_PERSON, search::subjects},
    record::{self, Person},
};
use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use deadpool_postgres::Transaction;
use search::{Parameter, Refused, Search};
use serde_json::Value;
use sha2::{Digest, Sha256};
use table::{Made, Type};
use uuid::Uuid;

pub const NHS_NUMBER_SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";
/// Where FHIR is, on this server.
const PATH: &str = "/fhir";
const FORM: &str = "application/x-www-form-urlencoded";

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/metadata", get(metadata))
        .route("/Patient/$match", post(matching::post))
        .route("/Patient/{id}/$everything", get(everything::get))
        .route("/Patient/{id}/$summary", get(summary::get))
        .route("/Observation/$lastn", get(find::last))
        .route("/{type}", get(searched))
        .route("/{type}/_search", post(searched_by_form))
        .route("/{type}/{id}", get(read::get))
        .fallback(async || Problem::NotFound)
        .layer(middleware::from_fn(input::check))
        .layer(middleware::from_fn(problems_as_outcomes))
}

/// Why there is no answer.
pub enum Stop {
    Problem(Problem),
    Refused(Refused),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<GatewayError> for Stop {
    fn from(error: GatewayError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<tokio_postgres::Error> for Stop {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Problem(error.into())
    }
}

impl From<deadpool_postgres::PoolError> for Stop {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Refused(refused) => fhir(refused.status, resources::refused(&refused)),
        }
    }
}

/// Who asks, and what: in the address, in a form, in headers.
pub struct Call {
    signed: Signed,
    headers: HeaderMap,
    over_tls: OverTls,
    query: String,
}

impl FromRequestParts<Shared> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let signed = Signed::from_request_parts(parts, app).await?;
        let over_tls = parts.extensions.get::<OverTls>().copied().unwrap_or(OverTls(false));
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(Self { signed, headers: parts.headers.clone(), over_tls, query })
    }
}

impl Call {
    /// The parameters of a form that was posted to `_search` are those of the address and of the form.
    fn and_form(self, form: &str) -> Result<Self, Refused> {
        if !self.is_of(&[FORM]) {
            return Err(unsupported_media(FORM));
        }
        let query = format!("{}&{form}", self.query);
        Ok(Self { query, ..self })
    }

    fn is_of(&self, kinds: &[&str]) -> bool {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kinds.contains(&kind.as_str())
    }

    fn search(&self, app: &App, of: &'static Type) -> Result<Search, Refused> {
        self.search_for(app, of, search::parameters(&self.query)?)
    }

    fn search_for(&self, app: &App, of: &'static Type, all: Vec<Parameter>) -> Result<Search, Refused> {
        Search::new(all, of, self.is_lenient(), &self.base(app))
    }

    fn is_lenient(&self) -> bool {
        let prefer = self.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        prefer.flat_map(|line| line.split([',', ';'])).any(|one| one.trim() == "handling=lenient")
    }

    /// The absolute address of FHIR on this server, as the client knows it.
    fn base(&self, app: &App) -> String {
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let plain = |host: &&str| host.chars().all(|c| c.is_ascii_alphanumeric() || ".:-_[]".contains(c));
        let host = host.filter(plain).map_or_else(|| app.settings.listen.to_string(), str::to_owned);
        format!("{}://{host}{PATH}", if app.settings.secure(self.over_tls) { "https" } else { "http" })
    }
}

fn unsupported_media(wanted: &str) -> Refused {
    let words = format!("send {wanted}");
    Refused { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, code: "not-supported", words }
}

/// The door of FHIR. An answer's version is that of its resource, or what it says.
fn fhir(status: StatusCode, resource: Released<Value>) -> Response {
    let kind = HeaderValue::from_static("application/fhir+json; charset=utf-8");
    resource.send(|resource| {
        let text = resource.to_string();
        let tag = etag(&resource, &text);
        let modified = resource["meta"]["lastUpdated"].as_str().and_then(http_date);
        let mut response = (status, [(header::CONTENT_TYPE, kind)], text).into_response();
        if status == StatusCode::OK {
            response.headers_mut().extend(tag.map(|tag| (header::ETAG, tag)));
            response.headers_mut().extend(modified.map(|at| (header::LAST_MODIFIED, at)));
        }
        response
    })
}

fn etag(resource: &Value, text: &str) -> Option<HeaderValue> {
    let version = resource["meta"]["versionId"].as_str().map(str::to_owned);
    let digest = || Sha256::digest(text.as_bytes()).iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("W/\"{}\"", version.unwrap_or_else(digest))).ok()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn http_date(instant: &str) -> Option<HeaderValue> {
    let at: jiff::Timestamp = instant.parse().ok()?;
    HeaderValue::from_str(&at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

/// Whether the client has what would be sent: the weak comparison of RFC 9110, 13.1.2.
fn has_it(asked: &HeaderMap, answer: &HeaderMap) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Some(tag) = answer.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(bare) else { return false };
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    known.flat_map(|line| line.split(',')).any(|one| one.trim() == "*" || bare(one) == tag)
}

async fn problems_as_outcomes(request: Request, next: Next) -> Response {
    let format = search::parameters(request.uri().query().unwrap_or_default())
        .ok()
        .and_then(|all| all.into_iter().find(|one| one.name == "_format"))
        .map(|format| format.value);
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if !search::takes_json(format.as_deref(), accept) {
        let words = "only application/fhir+json is written".into();
        let refused = Refused { status: StatusCode::NOT_ACCEPTABLE, code: "not-supported", words };
        return Stop::from(refused).into_response();
    }
    let (method, asked) = (request.method().clone(), request.headers().clone());
    let mut response = next.run(request).await;
    if method == Method::GET && response.status() == StatusCode::OK && has_it(&asked, response.headers()) {
        let (mut parts, _) = response.into_parts();
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return (parts, ()).into_response();
    }
    let outcome = match response.extensions().get::<Problem>() {
        Some(problem) => resources::outcome(problem),
        None if response.status().is_client_error() && !is_fhir(&response) => not_ours(response.status()),
        None => return response,
    };
    let problem = response.extensions_mut().remove::<Problem>();
    let status = problem.as_ref().map_or_else(|| response.status(), Problem::status);
    let mut answer = fhir(status, outcome);
    let allowed = response.headers_mut().remove(header::ALLOW);
    answer.headers_mut().extend(allowed.map(|methods| (header::ALLOW, methods)));
    if let Some(problem) = problem {
        problem.hint(answer.headers_mut());
    }
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// What was refused before any of us looked at it.
fn not_ours(status: StatusCode) -> Released<Value> {
    let (code, words) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("not-supported", "that cannot be done with what is there"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-long", "the request is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("not-supported", "what was sent is of another kind"),
        _ => ("invalid", "malformed request"),
    };
    resources::refused(&Refused { status, code, words: words.into() })
}

fn is_fhir(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/fhir"))
}

/// What the server can do.
async fn metadata() -> Response {
    fhir(StatusCode::OK, capability::statement())
}

/// The person, decided on and audited; the transaction is committed on refusal.
async fn opened<'t>(
    app: &Shared,
    signed: &Signed,
    transaction: Transaction<'t>,
    id: Uuid,
    (what, action): (Action, &str),
) -> Result<(Transaction<'t>, Person, Recorded), Problem> {
    let mut persons = record::persons(&transaction, &app.site.consent, &[id], &signed.actor.user).await?;
    let Some(person) = persons.remove(&id) else {
        let entry = audit::Entry::refused(action, NO_PERSON);
        audit::write(&transaction, &signed.actor, &entry, &[Subject { person: Some(id), ..Subject::default() }])
            .await?;
        transaction.commit().await?;
        // As of a person without a relation: who guesses learns nothing.
        let role = app.decide_on(&signed.actor, Action::BreakGlass, None);
        return Err(Problem::forbidden(if role.allow { Why::NoRelation.as_str() } else { role.why.as_str() }));
    };
    let decision = app.decide(&signed.actor, what, &person);
    let decision = audit::record(&transaction, &signed.actor, action, decision, subjects(&person)).await?;
    if !decision.allow {
        transaction.commit().await?;
        return Err(Problem::forbidden(decision.why.as_str()));
    }
    Ok((transaction, person, decision))
}

/// What is decided on before a resource of the type is read.
fn what(of: &Type) -> Action {
    if of.made == Made::Accesses { Action::ViewAccesses } else { Action::ViewRecord }
}

/// As the audit calls it.
fn action(what: &str, of: &Type) -> String {
    format!("fhir-{what}-{}", of.name.to_lowercase())
}

async fn searched(State(app): State<Shared>, Path(of): Path<String>, call: Call) -> Result<Response, Stop> {
    let of = table::named(&of).ok_or(Problem::NotFound)?;
    if of.is_of_a_person() { find::search(&app, &call, of).await } else { patients::search(&app, &call, of).await }
}

/// The same, by a form.
async fn searched_by_form(
    State(app): State<Shared>,
    Path(of): Path<String>,
    call: Call,
    form: String,
) -> Result<Response, Stop> {
    searched(State(app), Path(of), call.and_form(&form)?).await
}
