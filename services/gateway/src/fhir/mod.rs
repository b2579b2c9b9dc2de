//! FHIR R4: `Patient` and `Observation`, read and search, under the same decisions and audit as the pages.

mod capability;
pub mod resources;

use crate::{
    access::{Action, Why},
    app::{Problem, Shared, Signed},
    audit::{self, Subject},
    database,
    page::patient::decide_and_audit,
    record::{self, Person, clinical},
};
use axum::{
    Router,
    extract::{Path, Query, RawQuery, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use deadpool_postgres::Transaction;
use event::{Kind, NhsNumber};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub const NHS_NUMBER_SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";
pub const COUNT_DEFAULT: i64 = 50;
pub const COUNT_MAX: i64 = 200;
/// Further than this nobody pages.
const OFFSET_MAX: i64 = 100_000;

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/metadata", get(metadata))
        .route("/Patient", get(patients))
        .route("/Patient/{id}", get(patient))
        .route("/Observation", get(observations))
        .route("/Observation/{id}", get(observation))
        .fallback(async || Problem::NotFound)
        .layer(middleware::from_fn(problems_as_outcomes))
}

fn fhir(status: StatusCode, resource: &Value) -> Response {
    let kind = HeaderValue::from_static("application/fhir+json; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], resource.to_string()).into_response()
}

async fn problems_as_outcomes(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let outcome = match response.extensions().get::<Problem>() {
        Some(problem) => resources::outcome(problem),
        None if response.status().is_client_error() && !is_fhir(&response) => {
            resources::outcome(&Problem::Bad("malformed request"))
        }
        None => return response,
    };
    let status = response.extensions().get::<Problem>().map_or_else(|| response.status(), Problem::status);
    let mut answer = fhir(status, &outcome);
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
    fhir(StatusCode::OK, &capability::statement())
}

/// The person, decided on and audited; the transaction is committed on refusal.
async fn opened<'t>(
    app: &Shared,
    signed: &Signed,
    transaction: Transaction<'t>,
    id: Uuid,
    action: &str,
) -> Result<(Transaction<'t>, Person, crate::access::Decision), Problem> {
    let mut persons = record::persons(&transaction, &[id], &signed.actor.user).await?;
    let Some(person) = persons.remove(&id) else {
        let entry = audit::Entry { action, allow: false, why: "no such person", reason: None, withheld: false };
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
    Ok(fhir(StatusCode::OK, &resources::patient(&person, &decision)))
}

#[derive(Deserialize)]
pub struct PatientSearch {
    identifier: Option<String>,
    _id: Option<String>,
}

/// Persons by NHS number, among those whom the reader's teams look after.
#[utoipa::path(get, path = "/fhir/Patient", tag = "fhir",
    params(("identifier" = Option<String>, Query, description = "`https://fhir.nhs.uk/Id/nhs-number|9434765919`"), ("_id" = Option<String>, Query)),
    responses((status = 200, description = "Bundle; empty when nobody of the reader's teams matches"), (status = 400), (status = 401)))]
pub async fn patients(
    State(app): State<Shared>,
    signed: Signed,
    Query(search): Query<PatientSearch>,
) -> Result<Response, Problem> {
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let mut number = None;
    let ids: Vec<Uuid> = match (&search._id, &search.identifier) {
        (Some(id), _) => id.parse().into_iter().collect(),
        (None, Some(identifier)) => {
            let asked = match identifier.split_once('|') {
                Some((NHS_NUMBER_SYSTEM, asked)) => asked,
                Some(_) => return Err(Problem::Bad("the only identifier system is https://fhir.nhs.uk/Id/nhs-number")),
                None => identifier,
            };
            let asked = NhsNumber::parse(asked).ok_or(Problem::Bad("that is not an NHS number"))?;
            let sql = "select distinct l.person::text from record.patient p join record.link l using (source, patient)
                where p.nhs_number = $1 and not p.retracted limit 20";
            let number = number.insert(asked);
            let rows = transaction.query(sql, &[&number.as_str()]).await?;
            rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect()
        }
        (None, None) => return Err(Problem::Bad("search by identifier or _id")),
    };
    let persons = record::persons(&transaction, &ids, &signed.actor.user).await?;
    let mut entries = Vec::new();
    for person in persons.values() {
        let decision = decide_and_audit(&app, &transaction, &signed.actor, person, "fhir-search-patient").await?;
        // A number that only a withheld identity has finds nobody.
        let matches = |number: &NhsNumber| person.shows_number(&decision, number);
        if decision.allow && number.as_ref().is_none_or(matches) {
            entries.push(resources::patient(person, &decision));
        }
    }
    if persons.is_empty() {
        let allow = app.decide_on(&signed.actor, crate::access::Action::BreakGlass, None);
        let entry = audit::Entry {
            action: "fhir-search-patient",
            allow: allow.allow,
            why: "nobody found",
            reason: None,
            withheld: false,
        };
        audit::write(&transaction, &signed.actor, &entry, &[]).await?;
    }
    transaction.commit().await?;
    let total = entries.len() as i64;
    Ok(fhir(StatusCode::OK, &resources::bundle(total, entries, &[])))
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
    Ok(fhir(StatusCode::OK, &resources::observation(person.id, &clinical::observation(&row))))
}

#[derive(Deserialize)]
pub struct ObservationSearch {
    patient: Option<String>,
    subject: Option<String>,
    code: Option<String>,
    _count: Option<i64>,
    _offset: Option<i64>,
}

/// A person's results, newest first.
#[utoipa::path(get, path = "/fhir/Observation", tag = "fhir",
    params(("patient" = String, Query, description = "The person's uuid, or `Patient/…`"), ("code" = Option<String>, Query, description = "SNOMED CT or LOINC, as `system|code` or `code`"),
           ("_count" = Option<i64>, Query), ("_offset" = Option<i64>, Query)),
    responses((status = 200, description = "Bundle with `next` while there is more"), (status = 400), (status = 401), (status = 403), (status = 404)))]
pub async fn observations(
    State(app): State<Shared>,
    signed: Signed,
    Query(search): Query<ObservationSearch>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let reference = search.patient.as_deref().or(search.subject.as_deref()).ok_or(Problem::Bad("search by patient"))?;
    let id = reference.strip_prefix("Patient/").unwrap_or(reference);
    let id: Uuid = id.parse().map_err(|_| Problem::Bad("patient is not a person's id"))?;
    let count = search._count.unwrap_or(COUNT_DEFAULT).clamp(0, COUNT_MAX);
    let offset = search._offset.unwrap_or(0).clamp(0, OFFSET_MAX);
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) = opened(&app, &signed, transaction, id, "fhir-search-observation").await?;
    let (sources, patients) = person.names();
    let organisations = clinical::organisations(&decision, Kind::Observation);
    let code = search.code.as_deref().map(|code| code.rsplit_once('|').map_or(code, |(_, code)| code));
    let own = clinical::own(&decision);
    let condition = format!(
        "from record.observation t join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
        where not t.retracted and {} and ($5::text is null or $5 in (t.snomed, t.loinc, t.code))",
        record::released(3, 4)
    );
    let total: i64 = transaction
        .query_one(&format!("select count(*) {condition}"), &[&sources, &patients, &organisations, &own, &code])
        .await?
        .get(0);
    let sql = format!(
        "select {} {condition} order by coalesce(t.effective_at, t.authorised_at, t.committed_at) desc, t.source, t.record
         limit $6 offset $7",
        clinical::observation_columns()
    );
    let rows = transaction.query(&sql, &[&sources, &patients, &organisations, &own, &code, &count, &offset]).await?;
    // Nothing found is not evidence of absence: why there is nothing is said as the page says it.
    let absence = if total == 0 && code.is_none() {
        let coverage =
            record::coverage(&transaction, &person, &decision, &app.site.teams, &app.sources_behind()).await?;
        Some(coverage.absence(Kind::Observation, false).concept(Kind::Observation, |code| app.organisation_name(code)))
    } else {
        None
    };
    transaction.commit().await?;
    let entries = rows.iter().map(|row| resources::observation(id, &clinical::observation(row))).collect();
    let mut links = vec![("self", format!("Observation?{}", raw.unwrap_or_default()))];
    if count > 0 && offset + count < total {
        let code = code.map(|code| format!("&code={}", resources::escaped(code))).unwrap_or_default();
        links.push(("next", format!("Observation?patient={id}{code}&_count={count}&_offset={}", offset + count)));
    }
    let mut bundle = resources::bundle(total, entries, &links);
    let issue = match absence {
        Some(absence) => Some(json!({"severity": "information", "code": "informational", "details": absence})),
        // What and how much is not said.
        None if decision.limited => {
            Some(json!({"severity": "information", "code": "suppressed", "diagnostics": "the result is incomplete"}))
        }
        None => None,
    };
    if let Some(issue) = issue {
        let outcome =
            json!({"resource": {"resourceType": "OperationOutcome", "issue": [issue]}, "search": {"mode": "outcome"}});
        if let Some(entries) = bundle["entry"].as_array_mut() {
            entries.push(outcome);
        }
    }
    Ok(fhir(StatusCode::OK, &bundle))
}
