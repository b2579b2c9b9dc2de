//! Finding a patient: by NHS number or name, among those that the reader's teams look after.
//!
//! The search is a POST, so that no NHS number or name ends up in an address, a log or a history.

use super::{Frame, format, patient::REASON_CHARS_MAX, render};
use crate::{
    access::Action,
    app::{Problem, Shared, Signed, now},
    audit::{self, Subject},
    database,
    record::{self, Person},
};
use askama::Template;
use axum::{
    Form,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use deadpool_postgres::GenericClient;
use event::NhsNumber;
use serde::Deserialize;
use uuid::Uuid;

/// Patients shown.
const FOUND_MAX: usize = 50;
const QUERY_CHARS_MAX: usize = 100;
const NAME_CHARS_MIN: usize = 2;

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
pub struct GlassForm {
    csrf: String,
    nhs_number: String,
    reason: String,
}

pub async fn form(State(app): State<Shared>, signed: Signed) -> Result<Response, Problem> {
    let decision = app.decide_on(&signed.actor, Action::BreakGlass, None);
    if !decision.allow {
        let client = app.pool.get().await?;
        let entry = audit::Entry::of(Action::FindPatient.as_str(), &decision);
        audit::write(&client, &signed.actor, &entry, &[]).await?;
        return Err(Problem::forbidden(decision.why.as_str()));
    }
    page(&app, &signed, String::new(), None, None)
}

fn page(
    app: &Shared,
    signed: &Signed,
    query: String,
    found: Option<(Vec<Found>, bool)>,
    error: Option<&'static str>,
) -> Result<Response, Problem> {
    let number = NhsNumber::parse(&query);
    let searched = found.is_some();
    let (found, more) = found.unwrap_or_default();
    render(&SearchPage {
        frame: Frame::new(app, &signed.actor, if error.is_some() { "Error: Patients" } else { "Patients" }, "patients"),
        csrf: signed.actor.csrf.clone(),
        glass: number.filter(|_| searched && found.is_empty()).map(|number| number.as_str().to_owned()),
        query,
        searched,
        error,
        found,
        more,
        reason_max: REASON_CHARS_MAX,
    })
}

pub async fn search(State(app): State<Shared>, signed: Signed, Form(asked): Form<Asked>) -> Result<Response, Problem> {
    signed.check_csrf(Some(&asked.csrf))?;
    let query = asked.query.trim().to_owned();
    if query.chars().count() < NAME_CHARS_MIN || query.chars().count() > QUERY_CHARS_MAX {
        return page(&app, &signed, query, None, Some("Enter an NHS number, or at least 2 letters of a name"));
    }
    let actor = &signed.actor;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let ids = candidates(&transaction, &app, &signed, &query).await?;
    let more = ids.len() > FOUND_MAX;
    let persons = record::persons(&transaction, &ids[..ids.len().min(FOUND_MAX)], &actor.user).await?;
    let (mut found, mut subjects) = (Vec::new(), Vec::new());
    let mut refused = None;
    for person in persons.values() {
        let decision = app.decide(actor, Action::FindPatient, person);
        if decision.allow {
            subjects.extend(self::subjects(person));
            found.push(found_of(&app, person, &decision));
        } else {
            refused = Some(decision);
        }
    }
    found.sort_by(|one, two| one.name.cmp(&two.name));
    let why = if subjects.is_empty() { "nobody found" } else { "relation to the user's teams" };
    let role_allows = app.decide_on(actor, Action::BreakGlass, None);
    let entry = audit::Entry {
        action: Action::FindPatient.as_str(),
        allow: role_allows.allow,
        why: if role_allows.allow { why } else { role_allows.why.as_str() },
        reason: None,
        withheld: refused.is_some(),
    };
    audit::write(&transaction, actor, &entry, &subjects).await?;
    transaction.commit().await?;
    if !role_allows.allow {
        return Err(Problem::forbidden(role_allows.why.as_str()));
    }
    page(&app, &signed, query, Some((found, more)), None)
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
    query: &str,
) -> Result<Vec<Uuid>, Problem> {
    let organisations: Vec<String> = app.teams_of(&signed.actor).into_iter().map(|team| team.organisation).collect();
    let number = NhsNumber::parse(query).map(|number| number.as_str().to_owned());
    let mut words: Vec<String> = query.split([' ', ',']).filter(|word| !word.is_empty()).map(like).collect();
    words.truncate(4);
    let sql = format!(
        "select distinct l.person::text from record.patient p join record.link l using (source, patient)
         where not p.retracted
            and (case when $1::text is not null then p.nhs_number = $1
                else (select bool_and(coalesce(p.family, '') ilike w or coalesce(p.given, '') ilike w) from unnest($2::text[]) as w) end)
            and exists (
                select from record.link m left join record.patient q on q.source = m.source and q.patient = m.patient
                where m.person = l.person and (q.registered_practice = any($3) or exists (
                    select from record.encounter e where e.source = m.source and e.patient = m.patient
                        and not e.retracted and e.team = any($4)
                        and (e.ended_at is null or e.ended_at > now() - make_interval(hours => $5)))))
         limit {}",
        FOUND_MAX + 1
    );
    let grace = i32::try_from(app.settings.encounter_grace_hours).unwrap_or(i32::MAX);
    let rows = client.query(&sql, &[&number, &words, &organisations, &signed.actor.teams, &grace]).await?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect())
}

/// The start of a name; the wildcards of LIKE mean themselves.
fn like(word: &str) -> String {
    let mut pattern = String::with_capacity(word.len() + 1);
    for c in word.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
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

/// Opens the record of whoever has this NHS number, for thirty minutes, with a reason.
pub async fn break_glass(
    State(app): State<Shared>,
    signed: Signed,
    Form(form): Form<GlassForm>,
) -> Result<Response, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    let number = NhsNumber::parse(&form.nhs_number).ok_or(Problem::Bad("that is not an NHS number"))?;
    let client = app.pool.get().await?;
    let sql =
        "select distinct l.person::text, l.status from record.patient p join record.link l using (source, patient)
        where p.nhs_number = $1 and not p.retracted order by l.status desc limit 2";
    let found = client.query(sql, &[&number.as_str()]).await?;
    drop(client);
    let person = found.first().and_then(|row| row.get::<_, &str>(0).parse::<Uuid>().ok()).ok_or(Problem::NotFound)?;
    super::patient::open_glass(&app, &signed, person, &form.reason).await?;
    Ok(Redirect::to(&format!("/patients/{person}")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_themselves() {
        for (word, want) in [("sha", "sha%"), ("100%", "100\\%%"), ("a_b\\", "a\\_b\\\\%")] {
            assert_eq!(like(word), want);
        }
    }
}
