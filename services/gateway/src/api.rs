//! JSON for scripts: sessions, problems, and the OpenAPI document.

use crate::{
    access::Released,
    app::{Problem, RequestId, Shared, Signed},
    fhir::openapi::Fhir,
    input,
    page::{inbox, sign_in},
    session, sse,
};
use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, Request, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::SocketAddr;
use utoipa::{OpenApi, ToSchema};

#[derive(Deserialize, ToSchema)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

#[derive(Serialize, ToSchema)]
pub struct Session {
    /// For `Authorization: Bearer …`.
    pub token: String,
    pub token_type: &'static str,
    /// Seconds until it ends in any case; it ends sooner when it is not used.
    pub expires_in: i64,
    pub idle_timeout: i64,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Causeway gateway", description = "Records, alerts and FHIR R4 of a region. Every read and every refusal is audited.", version = "1"),
    paths(
        open_session, close_session, inbox::answer::see_alert_api, inbox::matter_api, inbox::answer::see_api,
        inbox::answer::answer_api, sse::stream::events
    ),
    components(schemas(Credentials, Session, inbox::answer::Said)),
    modifiers(&Bearer, &Fhir)
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::new(crate::app::COOKIE));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
        document.security = Some(
            ["token", "cookie"]
                .map(|name| utoipa::openapi::security::SecurityRequirement::new(name, Vec::<String>::new()))
                .into(),
        );
    }
}

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/session", axum::routing::post(open_session).delete(close_session))
        .route("/events", get(sse::stream::events))
        .route("/openapi.json", get(async || Json(Document::openapi())))
        .layer(middleware::from_fn(input::check))
        .layer(middleware::from_fn(problems_as_json))
}

/// Opens a session for a script.
#[utoipa::path(post, path = "/session", tag = "session", request_body = Credentials,
    responses((status = 201, description = "A token", body = Session), (status = 401, description = "Wrong user or password"), (status = 429, description = "Too many attempts")),
    security(()))]
async fn open_session(
    State(app): State<Shared>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Extension(RequestId(id)): Extension<RequestId>,
    headers: HeaderMap,
    credentials: Result<Json<Credentials>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(credentials) = credentials.map_err(|_| Problem::Bad("send {\"user\": …, \"password\": …} as JSON"))?;
    let credentials = sign_in::Credentials { user: credentials.user, password: credentials.password };
    let token = sign_in::open(&app, &credentials, app.client_address(address, &headers), &id).await??;
    let session = Session {
        token,
        token_type: "Bearer",
        expires_in: i64::from(session::ABSOLUTE_HOURS) * 3600,
        idle_timeout: i64::from(session::IDLE_MINUTES) * 60,
    };
    Ok((StatusCode::CREATED, Json(session)).into_response())
}

/// Ends the session.
#[utoipa::path(delete, path = "/session", tag = "session", responses((status = 204, description = "Ended"), (status = 401)))]
async fn close_session(State(app): State<Shared>, signed: Signed) -> Result<StatusCode, Problem> {
    signed.check_csrf(None)?;
    session::close(&app.pool, &signed.actor.token_hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The door of JSON.
pub fn json(value: Released<Value>) -> Response {
    value.send(|value| Json(value).into_response())
}

pub fn problem(problem: &Problem) -> Response {
    let mut response = json(Released::about_nobody(problem).map(|problem| json!({"error": problem.words()})));
    *response.status_mut() = problem.status();
    problem.hint(response.headers_mut());
    if matches!(problem, Problem::NotSignedIn) {
        let challenge = axum::http::HeaderValue::from_static("Bearer");
        response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, challenge);
    }
    response
}

async fn problems_as_json(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(found) => problem(found),
        None => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_door() {
        let document = serde_json::to_value(Document::openapi()).expect("a document");
        for path in [
            "/session",
            "/events",
            "/matters/{matter}/answer",
            "/fhir/metadata",
            "/fhir/Patient/{id}",
            "/fhir/Observation",
            "/fhir/Observation/_search",
            "/fhir/Patient/{id}/$everything",
        ] {
            assert!(document["paths"].get(path).is_some(), "{path}");
        }
    }
}
