//! What every handler shares: the state, the signed-in reader, problems and their answers.

use crate::{
    GatewayError, Settings, Site,
    access::{self, AboutNobody, Action, Channel, Decision, Grant, PatientContext, Purpose, Team, Why},
    address,
    freshness::{self, Sources},
    page::format,
    record::Person,
    session::{self, Actor},
    sse::{Live, disclose::Desk},
};
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use deadpool_postgres::Pool;
use event::Micros;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use uuid::Uuid;

pub const COOKIE: &str = "causeway_session";
pub const CSRF_HEADER: &str = "x-csrf-token";

pub struct App {
    /// For pages and FHIR…
    pub pool: Pool,
    /// …and for what open pages ask by themselves, however many they are.
    pub streams: Pool,
    pub site: Site,
    pub settings: Settings,
    pub live: Live,
    pub desk: Desk,
    pub sources: Sources,
    pub stop: boot::Stop,
}

pub type Shared = Arc<App>;

impl App {
    pub fn teams_of(&self, actor: &Actor) -> Vec<Team> {
        self.site.teams.iter().filter(|team| actor.teams.contains(&team.id)).cloned().collect()
    }

    pub fn decide(&self, actor: &Actor, action: Action, person: &Person) -> Decision {
        self.decide_with(actor, action, Some(&person.context), &person.grants)
    }

    /// For what is not about one person's record: an alert, the inbox, the status page, a glass to break.
    pub fn decide_on(&self, actor: &Actor, action: Action, context: Option<&PatientContext>) -> Decision {
        self.decide_with(actor, action, context, &[])
    }

    /// With the agreements as they are now.
    fn decide_with(
        &self,
        actor: &Actor,
        action: Action,
        patient: Option<&PatientContext>,
        grants: &[Grant],
    ) -> Decision {
        access::decide(&access::Request {
            roles: actor.roles(),
            teams: &self.teams_of(actor),
            action,
            channel: actor.channel,
            purpose: Purpose::DirectCare,
            patient,
            // No account is a patient's yet.
            themselves: false,
            agreements: &self.site.agreements.now(),
            grants,
            encounter_grace_hours: self.settings.encounter_grace_hours,
            now: now(),
        })
    }

    /// The sources whose newest changes may be missing…
    pub fn sources_behind(&self) -> Vec<freshness::Behind> {
        self.sources.behind(now(), self.settings.behind_after())
    }

    /// …in words.
    pub fn behind(&self) -> Option<String> {
        let name = |behind: &freshness::Behind| match &behind.organisation {
            Some(code) => format!("{}, {}", self.organisation_name(code), behind.source),
            None => behind.source.clone(),
        };
        freshness::words(&self.sources_behind(), name, format::when)
    }

    /// Where a request came from, behind the site's own proxies.
    pub fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
        let forwarded: Vec<&str> = forwarded.collect();
        address::client(peer.ip(), &forwarded, &self.settings.trusted_proxies)
    }

    /// Whether the client speaks TLS, with the gateway or with the site's own proxy.
    fn over_tls(&self, peer: SocketAddr, headers: &HeaderMap) -> bool {
        let said = headers.get_all("x-forwarded-proto").iter().filter_map(|line| line.to_str().ok());
        let said: Vec<&str> = said.collect();
        self.settings.tls.is_some() || address::over_tls(peer.ip(), &said, &self.settings.trusted_proxies)
    }

    /// Whether the newest changes of this source may be missing.
    pub fn is_behind(&self, source: &str) -> bool {
        self.sources_behind().iter().any(|behind| behind.source == source)
    }

    pub fn team_name<'a>(&'a self, id: &'a str) -> &'a str {
        self.site.teams.iter().find(|team| team.id == id).map_or(id, |team| &team.name)
    }

    /// See [`event::teams::Teams::organisation_name`].
    pub fn organisation_name(&self, code: &str) -> String {
        self.site.teams.organisation_name(code)
    }
}

pub fn now() -> Micros {
    jiff::Timestamp::now().as_microsecond()
}

/// Why there is no answer. Rendered by the door it leaves through: a page, JSON, or an OperationOutcome.
#[derive(Clone, Debug)]
pub enum Problem {
    NotSignedIn,
    /// `glass`: the person whose record could be opened by breaking the glass, and the form's CSRF token.
    Forbidden {
        why: &'static str,
        glass: Option<(Uuid, String)>,
    },
    NotFound,
    Bad(&'static str),
    /// It is not what the client thinks it is any more.
    Conflict(&'static str),
    /// The request has not arrived whole in time, or is larger than any of ours.
    TooSlow,
    TooLarge,
    /// For so many seconds.
    Throttled(u32),
    Busy,
    Failed,
}

impl Problem {
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotSignedIn => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub const fn words(&self) -> &'static str {
        match self {
            Self::NotSignedIn => "sign in first",
            Self::Forbidden { why, .. } => why,
            Self::NotFound => "there is nothing here",
            Self::Bad(what) | Self::Conflict(what) => what,
            Self::TooSlow => "the request did not arrive in time",
            Self::TooLarge => "the request is too large",
            Self::Throttled(_) => "too many attempts; wait before you try again",
            Self::Busy => "the service is busy; try again in a moment",
            Self::Failed => "the service could not answer; try again in a moment",
        }
    }

    /// How long to wait, where that is known.
    pub fn hint(&self, headers: &mut HeaderMap) {
        if let Self::Throttled(seconds) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
    }

    pub const fn forbidden(why: &'static str) -> Self {
        Self::Forbidden { why, glass: None }
    }
}

impl From<GatewayError> for Problem {
    fn from(error: GatewayError) -> Self {
        tracing::error!(%error, "a request failed");
        match &error {
            GatewayError::Pool(_) => Self::Busy,
            GatewayError::Database(failure) if failure.passes() => Self::Busy,
            _ => Self::Failed,
        }
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        GatewayError::from(error).into()
    }
}

impl From<linker::LinkerError> for Problem {
    fn from(error: linker::LinkerError) -> Self {
        GatewayError::from(error).into()
    }
}

impl From<deadpool_postgres::PoolError> for Problem {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        GatewayError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.words()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What a reader is told when there is no answer: words of ours, and the person that they named themselves.
impl AboutNobody for &Problem {}

impl From<Why> for Problem {
    fn from(why: Why) -> Self {
        Self::forbidden(why.as_str())
    }
}

/// Of one request; told in `X-Request-Id` and in the audit.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Whether this request came over TLS: to us, or to the site's proxy.
#[derive(Clone, Copy, Debug)]
pub struct OverTls(pub bool);

/// The signed-in reader of this request.
pub struct Signed {
    pub actor: Actor,
    /// A token in `Authorization` is no browser's own doing: no CSRF token is asked for.
    bearer: bool,
    csrf_header: Option<String>,
}

impl Signed {
    /// Refuses a change whose form or header does not carry the session's CSRF token.
    pub fn check_csrf(&self, form: Option<&str>) -> Result<(), Problem> {
        let token = form.or(self.csrf_header.as_deref()).unwrap_or_default();
        if self.bearer || session::same_token(token, &self.actor.csrf) {
            return Ok(());
        }
        Err(Problem::forbidden("the form is out of date; load the page again"))
    }
}

impl FromRequestParts<Shared> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let (token, bearer) = token(parts).ok_or(Problem::NotSignedIn)?;
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let touch = !by_itself(&parts.method, parts.uri.path());
        let client = if touch { app.pool.get().await? } else { app.streams.get().await? };
        let actor = session::actor(&client, &session::hash_token(&token), &request_id, touch).await?;
        let channel = parts.extensions.get::<Channel>().copied().unwrap_or(Channel::Page);
        let csrf_header = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let actor = actor.map(|actor| Actor { channel, ..actor }).ok_or(Problem::NotSignedIn)?;
        Ok(Self { actor, bearer, csrf_header })
    }
}

/// Which door an address is of.
fn door(path: &str) -> Channel {
    match path.split('/').nth(1) {
        Some("fhir") => Channel::Fhir,
        Some("events") => Channel::Stream,
        _ => Channel::Page,
    }
}

/// What an open page asks without its reader: the stream and the rows that it names. It keeps no session alive.
fn by_itself(method: &Method, path: &str) -> bool {
    *method == Method::GET && (path == "/events" || path.starts_with("/inbox/"))
}

/// The session's token and whether it came as a bearer token.
fn token(parts: &Parts) -> Option<(String, bool)> {
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(bearer) = header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")) {
        return Some((bearer.trim().to_owned(), true));
    }
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| (value.to_owned(), false))
}

/// The cookie that holds a session; an empty token takes it away.
pub fn cookie(token: &str, secure: bool) -> String {
    let age = if token.is_empty() { 0 } else { i64::from(session::ABSOLUTE_HOURS) * 3600 };
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
];

/// How long a client waits before it asks a gateway again that has no connection to its database.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
/// A browser that has met the gateway over TLS goes there in no other way for a year.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Gives the request its id, refuses changes asked for by other sites, and puts the security headers on the answer.
pub async fn guard(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = Uuid::now_v7().to_string();
    let over_tls = app.over_tls(peer, request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(OverTls(over_tls));
    let door = door(request.uri().path());
    request.extensions_mut().insert(door);
    let site = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let foreign = !request.method().is_safe() && site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let mut response = if foreign {
        Problem::forbidden("another site asked for this").into_response()
    } else {
        next.run(request).await
    };
    let busy = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if over_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if busy {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readers_keep_a_session_alive() {
        for (method, path, alone) in [
            (Method::GET, "/events", true),
            (Method::GET, "/inbox/0197f2a0-0000-7000-8000-0000000000a1", true),
            (Method::GET, "/inbox", false),
            (Method::GET, "/patients", false),
            (Method::POST, "/alerts/0197f2a0-0000-7000-8000-0000000000a1/seen", false),
        ] {
            assert_eq!(by_itself(&method, path), alone, "{method} {path}");
        }
    }

    #[test]
    fn each_address_is_of_one_door() {
        for (path, channel) in [
            ("/fhir/Patient/1", Channel::Fhir),
            ("/fhir", Channel::Fhir),
            ("/events", Channel::Stream),
            ("/fhirs", Channel::Page),
            ("/inbox/fhir", Channel::Page),
            ("/", Channel::Page),
        ] {
            assert_eq!(door(path), channel, "{path}");
        }
    }
}
