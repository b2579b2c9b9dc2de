//! Finding a patient: by NHS number or name, among those that the reader's teams look after.
//!
//! The search is a POST, so that no NHS number or name ends up in an address, a log or a history; its answer has an address
//! of its own with an id, so that going back to it sends nothing again. Who is refused, a number
//! that nobody has and every attempt to break the glass are in the audit.

pub(crate) mod query;

use super::{Frame, format, patient::REASON_CHARS_MAX, render};
use crate::{
    access::{Action, Grant, Released, Why},
    app::{Problem, Shared, Signed, now},
    audit::{self, Decided, Subject},
    database,
    record::{self, Identity, Person},
};
use askama::Template;
use axum::{
    Form,
    extract::{Query as Parameters, State},
    response::{IntoResponse, Redirect, Response},
};
use deadpool_postgres::GenericClient;
use event::NhsNumber;
use query::Query;
use serde::Deserialize;
use uuid::Uuid;

/// Patients shown.
const FOUND_MAX: usize = 50;
/// How long one can go back to what was found.
const SEARCH_MINUTES: i32 = 30;

#[derive(Template)]
#[template(path = "patients.html")]
struct SearchPage {
    frame: Frame,
    csrf: String,
    query: String,
    searched: bool,
    error: Option<&'static str>,
    found: Vec<Found>,
    more: bool,
    /// A whole NHS number was asked for, so the glass can be broken for it.
    glass: Option<String>,
    reason_max: usize,
}

struct Found {
    link: String,
    name: String,
    born: String,
    nhs: String,
    practice: String,
    why: &'static str,
}

#[derive(Deserialize)]
pub struct Asked {
    csrf: String,
    query: String,
}

#[derive(Deserialize)]
pub struct Again {
    search: Option<Uuid>,
}

#[derive(Deserialize)]
pub struct GlassForm {
    csrf: String,
    nhs_number: String,
    reason: String,
}

pub async fn form(
    State(app): State<Shared>,
    signed: Signed,
    Parameters(again): Parameters<Again>,
) -> Result<Response, Problem> {
    may_search(&app, &signed).await?;
    let Some(id) = again.search else { return page(&app, &signed, String::new(), None, None) };
    let client = app.pool.get().await?;
    let sql = "select query from access.search
        where id = $1::text::uuid and user_id = $2 and at > now() - make_interval(mins => $3)";
    let kept = client.query_opt(sql, &[&id.to_string(), &signed.actor.user, &SEARCH_MINUTES]).await?;
    drop(client);
    let text: String = kept.map(|row| row.get(0)).unwrap_or_default();
    match query::parse(&text) {
        Ok(query) => answer(&app, &signed, text, &query).await,
        // Too long ago, or somebody else's: the empty form.
        Err(_) => page(&app, &signed, String::new(), None, None),
    }
}

async fn may_search(app: &Shared, signed: &Signed) -> Result<(), Problem> {
    let decision = app.decide_on(&signed.actor, Action::FindPatient, None);
    if decision.allow {
        return Ok(());
    }
    let client = app.pool.get().await?;
    let decision = audit::record(&client, &signed.actor, Action::FindPatient.as_str(), decision, Vec::new()).await?;
    Err(decision.why.into())
}

fn page(
    app: &Shared,
    signed: &Signed,
    query: String,
    found: Option<(Released<Vec<Found>>, bool)>,
    error: Option<&'static str>,
) -> Result<Response, Problem> {
    let number = match query::parse(&query) {
        Ok(Query::Number(number)) => Some(number),
        Ok(Query::Name(_)) | Err(_) => None,
    };
    let searched = found.is_some();
    let (found, more) = found.unwrap_or_else(|| (Released::all([]), false));
    render(found.map(|found| SearchPage {
        frame: Frame::new(app, &signed.actor, if error.is_some() { "Error: Patients" } else { "Patients" }, "patients"),
        csrf: signed.actor.csrf.clone(),
        glass: number.filter(|_| searched && found.is_empty()).map(|number| number.as_str().to_owned()),
        query,
        searched,
        error,
        found,
        more,
        reason_max: REASON_CHARS_MAX,
    }))
}

pub async fn search(State(app): State<Shared>, signed: Signed, Form(asked): Form<Asked>) -> Result<Response, Problem> {
    signed.check_csrf(Some(&asked.csrf))?;
    let text = asked.query.trim().to_owned();
    if let Err(told) = query::parse(&text) {
        return page(&app, &signed, text, None, Some(told));
    }
    may_search(&app, &signed).await?;
    let id = Uuid::now_v7().to_string();
    let client = app.pool.get().await?;
    let old = "delete from access.search where at < now() - make_interval(mins => $1)";
    client.execute(old, &[&SEARCH_MINUTES]).await?;
    let keep = "insert into access.search (id, user_id, query) values ($1::text::uuid, $2, $3)";
    client.execute(keep, &[&id, &signed.actor.user, &text]).await?;
    Ok(Redirect::to(&format!("/patients?search={id}")).into_response())
}

async fn answer(app: &Shared, signed: &Signed, text: String, query: &Query) -> Result<Response, Problem> {
    let actor = &signed.actor;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let ids = candidates(&transaction, app, signed, query).await?;
    let cut = ids.len() >= record::PERSONS_MAX;
    let persons = record::persons(&transaction, &app.site.consent, &ids, &actor.user).await?;
    let mut decided: Vec<(Found, Decided<'_>)> = Vec::new();
    for person in persons.values() {
        let decision = app.decide(actor, Action::FindPatient, person);
        let matches = |identity: &Identity| {
            identity.shown_by(&decision)
                && query.matches(identity.nhs_number.as_deref(), identity.family.as_deref(), identity.given.as_deref())
        };
        // By what may be shown of them: a name or a number that only a withheld identity has finds nobody.
        let matched = person.identities.iter().any(matches);
        let decision = if decision.allow && !matched { decision.turned_down(Why::NotMatched) } else { decision };
        let found = found_of(app, person, &decision);
        let (action, subjects) = (Action::FindPatient.as_str(), self::subjects(person));
        decided.push((found, Decided { actor, action, decision, subjects }));
    }
    decided.sort_by(|(one, of_one), (two, of_two)| {
        (!of_one.decision.allow, &one.name).cmp(&(!of_two.decision.allow, &two.name))
    });
    let matched = decided.iter().filter(|(_, of)| of.decision.allow).count();
    for (_, left_out) in decided.iter_mut().take(matched).skip(FOUND_MAX) {
        left_out.decision = left_out.decision.clone().turned_down(Why::LeftOut);
    }
    if matched == 0 {
        let why = "nobody found";
        let entry =
            audit::Entry { action: Action::FindPatient.as_str(), allow: true, why, reason: None, withheld: false };
        audit::write(&transaction, actor, &entry, &[]).await?;
    }
    let found = audit::release_all(&transaction, decided).await?;
    transaction.commit().await?;
    let more = cut || matched > FOUND_MAX;
    page(app, signed, text, Some((Released::all(found), more)), None)
}

pub fn subjects(person: &Person) -> Vec<Subject> {
    person
        .sources
        .iter()
        .map(|(source, patient)| Subject {
            organisation: person
                .identities
                .iter()
                .find(|identity| identity.source == *source && identity.patient == *patient)
                .map(|identity| identity.organisation.clone()),
            source: Some(source.clone()),
            patient: Some(patient.clone()),
            person: Some(person.id),
        })
        .collect()
}

/// Persons who match and have some relation to the reader's teams; the decision itself is made for each of them after.
async fn candidates(
    client: &impl GenericClient,
    app: &Shared,
    signed: &Signed,
    query: &Query,
) -> Result<Vec<Uuid>, Problem> {
    let organisations: Vec<String> = app.teams_of(&signed.actor).into_iter().map(|team| team.organisation).collect();
    let (number, words): (Option<&str>, &[String]) = match query {
        Query::Number(number) => (Some(number.as_str()), &[]),
        Query::Name(words) => (None, words),
    };
    // More than what matches: the words may stand anywhere in the folded name. First whom the teams look after, for
    // names are folded one by one.
    let sql = format!(
        "with mine as materialized (
            select m.person from record.patient q join record.link m using (source, patient)
            where q.registered_practice = any($3)
            union
            select m.person from record.encounter e join record.link m using (source, patient)
            where not e.retracted and e.team = any($4)
                and (e.ended_at is null or e.ended_at > now() - make_interval(hours => $5)))
         select distinct l.person::text
         from mine join record.link l using (person) join record.patient p on p.source = l.source and p.patient = l.patient
         where not p.retracted
            and (case when $1::text is not null then p.nhs_number = $1
                else (select bool_and(position(w in {}) > 0 or position(w in {}) > 0) from unnest($2::text[]) as w) end)
         limit {}",
        query::folded_sql("p.family"),
        query::folded_sql("p.given"),
        record::PERSONS_MAX
    );
    let grace = i32::try_from(app.settings.encounter_grace_hours).unwrap_or(i32::MAX);
    let rows = client.query(&sql, &[&number, &words, &organisations, &signed.actor.teams, &grace]).await?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect())
}

fn found_of(app: &Shared, person: &Person, decision: &crate::access::Decision) -> Found {
    let identity = super::patient::main_identity(person, decision);
    let text = |value: Option<String>| value.unwrap_or_else(|| "not known".into());
    Found {
        link: format!("/patients/{}", person.id),
        name: identity.map_or_else(
            || "Name not shown".into(),
            |identity| format::name(identity.family.as_deref(), identity.given.as_deref()),
        ),
        born: text(identity.and_then(|identity| identity.birth_date.as_deref()).map(|birth| {
            let age = format::age(birth, format::today(now())).map(|age| format!(" ({age} years)")).unwrap_or_default();
            format!("{}{age}", format::date(birth))
        })),
        nhs: text(identity.and_then(|identity| identity.nhs_number.as_deref()).map(format::nhs_number)),
        practice: text(
            identity
                .and_then(|identity| identity.registered_practice.as_deref())
                .map(|code| app.organisation_name(code)),
        ),
        why: decision.why.as_str(),
    }
}

/// Opens the record of whoever has this NHS number, for thirty minutes, with a reason. A number that nobody has, and one
/// that only a record has which no glass opens, are answered alike.
pub async fn break_glass(
    State(app): State<Shared>,
    signed: Signed,
    Form(form): Form<GlassForm>,
) -> Result<Response, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    let actor = &signed.actor;
    let role = app.decide_on(actor, Action::BreakGlass, None);
    let number = NhsNumber::parse(&form.nhs_number).ok_or(Problem::Bad("that is not an NHS number"))?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let sql =
        "select distinct l.person::text, l.status from record.patient p join record.link l using (source, patient)
        where p.nhs_number = $1 and not p.retracted order by l.status desc limit 20";
    let rows = transaction.query(sql, &[&number.as_str()]).await?;
    let ids: Vec<Uuid> = rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect();
    let mut persons = record::persons(&transaction, &app.site.consent, &ids, &actor.user).await?;
    let opened = ids.into_iter().find(|id| {
        persons.get_mut(id).is_some_and(|person| {
            person.grants.push(Grant { reason: String::new(), from: i64::MIN, until: i64::MAX });
            person.shows_number(&app.decide(actor, Action::ViewRecord, person), &number)
        })
    });
    let Some(person) = opened.filter(|_| role.allow) else {
        // The audit tells them apart; the answer does not.
        let subjects: Vec<Subject> = persons.values().flat_map(subjects).collect();
        let nobody = if subjects.is_empty() { "nobody has this number" } else { Why::NotMatched.as_str() };
        let entry = audit::Entry {
            reason: Some(form.reason.trim()).filter(|reason| reason.chars().count() <= REASON_CHARS_MAX),
            ..audit::Entry::refused(Action::BreakGlass.as_str(), if role.allow { nobody } else { role.why.as_str() })
        };
        audit::write(&transaction, actor, &entry, &subjects).await?;
        transaction.commit().await?;
        return Err(if role.allow { Problem::NotFound } else { role.why.into() });
    };
    drop(transaction);
    drop(client);
    super::patient::open_glass(&app, &signed, person, &form.reason).await?;
    Ok(Redirect::to(&format!("/patients/{person}")).into_response())
}
