//! FHIR R4: `Patient` and `Observation`, read and search, under the same decisions and audit as the pages.

mod capability;
mod detail;
mod interpreted;
mod patients;
pub mod resources;
pub mod search;

use crate::{
    GatewayError,
    access::{Action, Recorded, Released, Why},
    app::{App, OverTls, Problem, Shared, Signed},
    audit::{self, Subject},
    database, input,
    page::patient::{NO_PERSON, decide_and_audit},
    record::{self, Person, clinical, judged},
};
use axum::{
    Extension, Router,
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use deadpool_postgres::Transaction;
use event::Kind;
use search::{Page, Refused, Search, Token};
use serde_json::{Value, json};
use uuid::Uuid;

pub const NHS_NUMBER_SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";
/// Where FHIR is, on this server.
const PATH: &str = "/fhir";

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/metadata", get(metadata))
        .route("/Patient", get(patients))
        .route("/Patient/_search", post(patients_posted))
        .route("/Patient/{id}", get(patient))
        .route("/Observation", get(observations))
        .route("/Observation/_search", post(observations_posted))
        .route("/Observation/{id}", get(observation))
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
            Self::Refused(refused) => fhir(StatusCode::BAD_REQUEST, resources::refused(&refused)),
        }
    }
}

/// A search as a client sent it, in its address and in a form.
struct Asked<'a> {
    app: &'a App,
    headers: &'a HeaderMap,
    over_tls: OverTls,
    query: String,
}

impl Asked<'_> {
    fn search(&self, supported: &[&str]) -> Result<Search, Refused> {
        let prefer = self.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let lenient = prefer.flat_map(|line| line.split([',', ';'])).any(|one| one.trim() == "handling=lenient");
        Search::new(search::parameters(&self.query)?, supported, lenient, &self.base())
    }

    /// The absolute address of FHIR on this server, as the client knows it.
    fn base(&self) -> String {
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let plain = |host: &&str| host.chars().all(|c| c.is_ascii_alphanumeric() || ".:-_[]".contains(c));
        let host = host.filter(plain).map_or_else(|| self.app.settings.listen.to_string(), str::to_owned);
        format!("{}://{host}{PATH}", if self.app.settings.secure(self.over_tls) { "https" } else { "http" })
    }
}

/// The parameters of a form that was posted to `_search` are those of the address and of the form.
fn posted(raw: Option<String>, headers: &HeaderMap, form: &str) -> Result<String, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::Bad("a search is posted as application/x-www-form-urlencoded"));
    }
    Ok(format!("{}&{form}", raw.unwrap_or_default()))
}

/// The door of FHIR.
fn fhir(status: StatusCode, resource: Released<Value>) -> Response {
    let kind = HeaderValue::from_static("application/fhir+json; charset=utf-8");
    resource.send(|resource| (status, [(header::CONTENT_TYPE, kind)], resource.to_string()).into_response())
}

async fn problems_as_outcomes(request: Request, next: Next) -> Response {
    let format = search::parameters(request.uri().query().unwrap_or_default())
        .ok()
        .and_then(|all| all.into_iter().find(|one| one.name == "_format"))
        .map(|format| format.value);
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if !search::takes_json(format.as_deref(), accept) {
        let refused = Refused { code: "not-supported", words: "only application/fhir+json is written".into() };
        return fhir(StatusCode::NOT_ACCEPTABLE, resources::refused(&refused));
    }
    let response = next.run(request).await;
    let outcome = match response.extensions().get::<Problem>() {
        Some(problem) => resources::outcome(problem),
        None if response.status().is_client_error() && !is_fhir(&response) => {
            resources::outcome(&Problem::Bad("malformed request"))
        }
        None => return response,
    };
    let status = response.extensions().get::<Problem>().map_or_else(|| response.status(), Problem::status);
    let mut answer = fhir(status, outcome);
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

fn is_fhir(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/fhir"))
}

/// What the server can do.
#[utoipa::path(get, path = "/fhir/metadata", tag = "fhir", responses((status = 200, description = "CapabilityStatement")), security(()))]
pub async fn metadata() -> Response {
    fhir(StatusCode::OK, capability::statement())
}

/// The person, decided on and audited; the transaction is committed on refusal.
async fn opened<'t>(
    app: &Shared,
    signed: &Signed,
    transaction: Transaction<'t>,
    id: Uuid,
    action: &str,
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
    let decision = decide_and_audit(app, &transaction, &signed.actor, &person, action).await?;
    if !decision.allow {
        transaction.commit().await?;
        return Err(Problem::forbidden(decision.why.as_str()));
    }
    Ok((transaction, person, decision))
}

/// One person.
#[utoipa::path(get, path = "/fhir/Patient/{id}", tag = "fhir", params(("id" = String, Path, description = "The person's uuid")),
    responses((status = 200, description = "Patient"), (status = 401), (status = 403, description = "No relation to the patient"), (status = 404)))]
pub async fn patient(State(app): State<Shared>, signed: Signed, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) = opened(&app, &signed, transaction, id, "fhir-read-patient").await?;
    transaction.commit().await?;
    Ok(fhir(StatusCode::OK, decision.release(resources::patient(&person, &decision)).map_err(Problem::from)?))
}

/// Persons by NHS number, among those whom the reader's teams look after.
#[utoipa::path(get, path = "/fhir/Patient", tag = "fhir",
    params(("identifier" = Option<String>, Query, description = "`https://fhir.nhs.uk/Id/nhs-number|9434765919`; a comma is OR"), ("_id" = Option<String>, Query),
           ("_count" = Option<i64>, Query), ("_offset" = Option<i64>, Query)),
    responses((status = 200, description = "Bundle; empty when nobody of the reader's teams matches"), (status = 400), (status = 401), (status = 406)))]
pub async fn patients(
    State(app): State<Shared>,
    signed: Signed,
    Extension(over_tls): Extension<OverTls>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Stop> {
    patients::search(&app, &signed, &Asked { app: &app, headers: &headers, over_tls, query: raw.unwrap_or_default() })
        .await
}

/// The same, by a form.
#[utoipa::path(post, path = "/fhir/Patient/_search", tag = "fhir",
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "Bundle"), (status = 400), (status = 401), (status = 406)))]
pub async fn patients_posted(
    State(app): State<Shared>,
    signed: Signed,
    Extension(over_tls): Extension<OverTls>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
    form: String,
) -> Result<Response, Stop> {
    let query = posted(raw, &headers, &form)?;
    patients::search(&app, &signed, &Asked { app: &app, headers: &headers, over_tls, query }).await
}

/// `self` says what was answered; `next` is there while there is more.
fn links(search: &Search, resource: &str, page: Page, total: i64) -> Vec<(&'static str, String)> {
    let mut links = vec![("self", search.link(resource, page))];
    let next = Page { offset: page.offset + page.count, ..page };
    if page.count > 0 && next.offset < total {
        links.push(("next", search.link(resource, next)));
    }
    links
}

/// One result.
#[utoipa::path(get, path = "/fhir/Observation/{id}", tag = "fhir", params(("id" = String, Path)),
    responses((status = 200, description = "Observation"), (status = 401), (status = 403), (status = 404)))]
pub async fn observation(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let person = resources::person_of(&id).ok_or(Problem::NotFound)?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) = opened(&app, &signed, transaction, person, "fhir-read-observation").await?;
    let (sources, patients) = person.names();
    let organisations = clinical::organisations(&decision, Kind::Observation);
    let (own, released) = (clinical::own(&decision), record::released(3, 4));
    // The id's second half is a digest, and a person has few thousand results: the keys alone are looked through.
    let keys = transaction
        .query(
            &format!(
                "select t.source, t.patient, t.record from record.observation t
                 join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
                 where not t.retracted and {released}"
            ),
            &[&sources, &patients, &organisations, &own],
        )
        .await?;
    let key = keys
        .iter()
        .map(|row| (row.get::<_, &str>(0), row.get::<_, &str>(1), row.get::<_, &str>(2)))
        .find(|(source, patient, record)| resources::observation_id(person.id, source, patient, record) == id);
    let row = match key {
        Some((source, patient, record)) => {
            let sql = format!(
                "select {} from record.observation t where source = $1 and patient = $2 and record = $3",
                clinical::observation_columns()
            );
            transaction.query_opt(&sql, &[&source, &patient, &record]).await?
        }
        None => None,
    };
    transaction.commit().await?;
    let row = row.ok_or(Problem::NotFound)?;
    let who = judged::who(&person, &decision);
    let row = clinical::observation(&row);
    let resource = interpreted::observation(person.id, &row, who, &app.site);
    Ok(fhir(StatusCode::OK, decision.release(resource)?))
}

/// A person's results, newest first.
#[utoipa::path(get, path = "/fhir/Observation", tag = "fhir",
    params(("patient" = String, Query, description = "The person's uuid, `Patient/…`, or that as an absolute address; also as `subject`"),
           ("code" = Option<String>, Query, description = "`system|code`, `code`, `system|` or `|code`; a comma is OR, said again is AND"),
           ("_count" = Option<i64>, Query), ("_offset" = Option<i64>, Query),
           ("Prefer" = Option<String>, Header, description = "`handling=lenient`: leave out parameters that are not supported, in `self` too")),
    responses((status = 200, description = "Bundle with `next` while there is more"), (status = 400, description = "A parameter or modifier that is not supported, or malformed"),
              (status = 401), (status = 403), (status = 404), (status = 406)))]
pub async fn observations(
    State(app): State<Shared>,
    signed: Signed,
    Extension(over_tls): Extension<OverTls>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Stop> {
    search_observations(
        &app,
        &signed,
        &Asked { app: &app, headers: &headers, over_tls, query: raw.unwrap_or_default() },
    )
    .await
}

/// The same, by a form.
#[utoipa::path(post, path = "/fhir/Observation/_search", tag = "fhir",
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "Bundle"), (status = 400), (status = 401), (status = 403), (status = 404), (status = 406)))]
pub async fn observations_posted(
    State(app): State<Shared>,
    signed: Signed,
    Extension(over_tls): Extension<OverTls>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
    form: String,
) -> Result<Response, Stop> {
    let query = posted(raw, &headers, &form)?;
    search_observations(&app, &signed, &Asked { app: &app, headers: &headers, over_tls, query }).await
}

/// Every parameter `code` ($5 of them) is met by one of its alternatives; a coding is matched with its own system.
const CODED: &str = "not exists (select from generate_series(1, $5::int) as p(n) where not exists (
        select from unnest($6::int[], $7::text[], $8::text[]) as w(n, system, code)
        join (values ($9::text, t.snomed), ($10::text, t.loinc), (coalesce(t.code_system, ''), t.code)) as c(system, code)
          on c.code is not null and (w.system is null or w.system = c.system) and (w.code is null or w.code = c.code)
        where w.n = p.n))";

async fn search_observations(app: &Shared, signed: &Signed, asked: &Asked<'_>) -> Result<Response, Stop> {
    let search = asked.search(&["patient", "subject", "code"])?;
    let (page, id) = (search.page()?, search.patient()?);
    let id = id.ok_or(Problem::Bad("search by patient"))?;
    let wanted = search.all_of("code")?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) = opened(app, signed, transaction, id, "fhir-search-observation").await?;
    let (sources, patients) = person.names();
    let (organisations, own) = (clinical::organisations(&decision, Kind::Observation), clinical::own(&decision));
    let tokens: Vec<(i32, &Token)> =
        (1..).zip(&wanted).flat_map(|(group, tokens)| tokens.iter().map(move |token| (group, token))).collect();
    let groups = i32::try_from(wanted.len()).unwrap_or(i32::MAX);
    let of: Vec<i32> = tokens.iter().map(|(group, _)| *group).collect();
    let systems: Vec<Option<&str>> = tokens.iter().map(|(_, token)| token.system.as_deref()).collect();
    let codes: Vec<Option<&str>> = tokens.iter().map(|(_, token)| token.code.as_deref()).collect();
    let condition = format!(
        "from record.observation t join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
         where not t.retracted and {} and {CODED}",
        record::released(3, 4)
    );
    let mut parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![
        &sources,
        &patients,
        &organisations,
        &own,
        &groups,
        &of,
        &systems,
        &codes,
        &resources::SNOMED,
        &resources::LOINC,
    ];
    let total: i64 = transaction.query_one(&format!("select count(*) {condition}"), &parameters).await?.get(0);
    let sql = format!(
        "select {} {condition} order by {} limit $11 offset $12",
        clinical::observation_columns(),
        clinical::NEWEST
    );
    parameters.extend([&page.count as &(dyn tokio_postgres::types::ToSql + Sync), &page.offset]);
    let rows = transaction.query(&sql, &parameters).await?;
    let held = person.held || record::held_elsewhere(&transaction, &person, &decision).await?;
    // Nothing found is not evidence of absence: why there is nothing is said as the page says it.
    let absence = if total == 0 && wanted.is_empty() {
        let late = app.sources_behind();
        let coverage = record::coverage(&transaction, &person, &decision, &app.site.teams, &late).await?;
        Some(coverage.absence(Kind::Observation, false).concept(Kind::Observation, |code| app.organisation_name(code)))
    } else {
        None
    };
    transaction.commit().await?;
    let who = judged::who(&person, &decision);
    let entry = |row| interpreted::observation(id, &clinical::observation(row), who, &app.site);
    let entries = rows.iter().map(entry).collect();
    let mut bundle = resources::bundle(&asked.base(), total, entries, &links(&search, "Observation", page, total));
    // What and how much is not said.
    match absence {
        Some(absence) => resources::note(&mut bundle, "informational", json!({"details": absence})),
        None if decision.limited => {
            resources::note(&mut bundle, "suppressed", json!({"diagnostics": "the result is incomplete"}));
        }
        None => {}
    }
    if held {
        resources::note(&mut bundle, "informational", json!({"diagnostics": "another record is held, not shown"}));
    }
    if let Some(sources) = app.behind() {
        let words = format!("new results may be missing from {sources}");
        resources::note(&mut bundle, "incomplete", json!({"diagnostics": words}));
    }
    Ok(fhir(StatusCode::OK, decision.release(bundle).map_err(Problem::from)?))
}
