//! One patient's record: the emergency summary, results with their trend, and where everything comes from.

mod entries;
mod medicines;
mod view;

use super::{Frame, render, search::subjects};
use crate::{
    access::{Action, BREAK_GLASS_MINUTES, Decision, Recorded, Released, Why},
    alerts::matters,
    app::{Problem, Shared, Signed, now},
    audit::{self, Subject},
    database,
    record::{self, Identity, Person, clinical},
    session::Actor,
};
use axum::{
    Form,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use deadpool_postgres::Transaction;
use serde::Deserialize;
use uuid::Uuid;

pub const REASON_CHARS_MAX: usize = 300;
/// A reason says more than this.
const REASON_CHARS_MIN: usize = 5;
/// What the audit says of an id that nobody has.
pub const NO_PERSON: &str = "no such person";

/// Decides on one person's record and writes the audit rows. The caller commits.
pub async fn decide_and_audit(
    app: &Shared,
    transaction: &Transaction<'_>,
    actor: &Actor,
    person: &Person,
    action: &str,
) -> Result<Recorded, Problem> {
    let decision = app.decide(actor, Action::ViewRecord, person);
    Ok(audit::record(transaction, actor, action, decision, subjects(person)).await?)
}

/// The identity to show in the banner: verified first, then the reader's decision order.
pub fn main_identity<'a>(person: &'a Person, decision: &Decision) -> Option<&'a Identity> {
    person
        .identities
        .iter()
        .filter(|identity| identity.shown_by(decision))
        .max_by_key(|identity| (identity.nhs_number_verified, identity.family.is_some(), identity.committed_at))
}

pub async fn record(State(app): State<Shared>, signed: Signed, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    let actor = &signed.actor;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let mut persons = record::persons(&transaction, &app.site.consent, &[id], &actor.user).await?;
    let Some(person) = persons.remove(&id) else {
        let entry = audit::Entry::refused(Action::ViewRecord.as_str(), NO_PERSON);
        audit::write(&transaction, actor, &entry, &[Subject { person: Some(id), ..Subject::default() }]).await?;
        transaction.commit().await?;
        return Err(refused(&app, actor, id, Why::NoRelation));
    };
    let decision = decide_and_audit(&app, &transaction, actor, &person, Action::ViewRecord.as_str()).await?;
    if !decision.allow {
        transaction.commit().await?;
        return Err(refused(&app, actor, id, decision.why));
    }
    let clinical = clinical::read(&transaction, &person, &decision).await?;
    let open = matters::of_person(&app, &transaction, actor, id).await?;
    let held = person.held || record::held_elsewhere(&transaction, &person, &decision).await?;
    transaction.commit().await?;
    let facts = view::Facts { app: &app, person: &person, decision: &decision, clinical: &clinical, held, now: now() };
    let frame = |title: String| Frame::new(&app, actor, title, "patients");
    let page = decision.release(view::RecordPage::new(&facts, frame, actor.csrf.clone()))?;
    render(page.and(Released::all(open)).map(|(page, open)| page.with_open(&open)))
}

/// The same whether there is such a person or not: who guesses learns nothing.
fn refused(app: &Shared, actor: &Actor, person: Uuid, why: Why) -> Problem {
    let role = app.decide_on(actor, Action::BreakGlass, None);
    let why = if role.allow { why } else { role.why };
    Problem::Forbidden { why: why.as_str(), glass: role.allow.then(|| (person, actor.csrf.clone())) }
}

#[derive(Deserialize)]
pub struct GlassForm {
    csrf: String,
    reason: String,
}

/// Opens the record for thirty minutes, with a reason, on the record.
pub async fn break_glass(
    State(app): State<Shared>,
    signed: Signed,
    Path(id): Path<Uuid>,
    Form(form): Form<GlassForm>,
) -> Result<Response, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    open_glass(&app, &signed, id, &form.reason).await?;
    Ok(Redirect::to(&format!("/patients/{id}")).into_response())
}

pub async fn open_glass(app: &Shared, signed: &Signed, person: Uuid, reason: &str) -> Result<(), Problem> {
    let actor = &signed.actor;
    let reason = reason.trim();
    let length = reason.chars().count();
    let decision = app.decide_on(actor, Action::BreakGlass, None);
    let unreasoned = decision.allow && !(REASON_CHARS_MIN..=REASON_CHARS_MAX).contains(&length);
    let decision = if unreasoned { decision.turned_down(Why::NoReason) } else { decision };
    let mut client = app.pool.get().await?;
    let transaction = database::begin_change(&mut client).await?;
    let found = record::persons(&transaction, &app.site.consent, &[person], &actor.user).await?;
    let entry = audit::Entry {
        action: Action::BreakGlass.as_str(),
        allow: decision.allow,
        why: decision.why.as_str(),
        reason: decision.allow.then_some(reason),
        withheld: false,
    };
    let subjects = found.get(&person).map(subjects).unwrap_or_default();
    audit::write(&transaction, actor, &entry, &subjects).await?;
    if decision.allow && !subjects.is_empty() {
        let minutes = i32::try_from(BREAK_GLASS_MINUTES).unwrap_or(i32::MAX);
        transaction
            .execute(
                "insert into access.break_glass (id, user_id, person, reason, until_at)
                 values ($1::text::uuid, $2, $3::text::uuid, $4, now() + make_interval(mins => $5))",
                &[&Uuid::now_v7().to_string(), &actor.user, &person.to_string(), &reason, &minutes],
            )
            .await?;
    }
    transaction.commit().await?;
    if unreasoned {
        return Err(Problem::Bad("give a reason of 5 to 300 letters; it is kept with your name"));
    }
    if !decision.allow {
        return Err(Problem::forbidden(decision.why.as_str()));
    }
    if subjects.is_empty() { Err(Problem::NotFound) } else { Ok(()) }
}
