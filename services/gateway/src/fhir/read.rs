//! One resource, by its id.

use super::{Call, Stop, action, fhir, opened, reading::Reading, resources::person_of, table, what};
use crate::{
    app::{Problem, Shared},
    database,
    record::rows::Narrow,
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use uuid::Uuid;

pub async fn get(
    State(app): State<Shared>,
    Path((of, id)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Stop> {
    let of = table::named(&of).ok_or(Problem::NotFound)?;
    let person: Option<Uuid> = if of.is_of_a_person() { person_of(&id) } else { id.parse().ok() };
    let person = person.ok_or(Problem::NotFound)?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) =
        opened(&app, &call.signed, transaction, person, (what(of), &action("read", of))).await?;
    let reading = Reading {
        app: &app,
        transaction: &transaction,
        person: &person,
        decision: &decision,
        what: what(of),
        actor: &call.signed.actor,
    };
    let digest = id.split_once('.').map(|(_, digest)| [digest.to_owned()]);
    let narrow = Narrow { digests: digest.as_ref().map(|one| &one[..]), codes: None };
    let read = reading.of(of, narrow).await?;
    transaction.commit().await?;
    let found = read.found.into_iter().find(|found| found.id == id).ok_or(Problem::NotFound)?;
    Ok(fhir(StatusCode::OK, decision.release(found.resource).map_err(Problem::from)?))
}
