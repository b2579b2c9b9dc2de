//! The search for patients: by NHS number or id, among those whom the reader's teams look after.

use super::{
    Asked, NHS_NUMBER_SYSTEM, Stop, fhir, links, resources,
    search::{Page, Token},
};
use crate::{
    access::{Action, Released, Why},
    app::{Problem, Shared, Signed},
    audit::{self, Decided, Subject},
    database,
    page::{patient::NO_PERSON, search::subjects},
    record::{self, PERSONS_MAX},
};
use axum::{http::StatusCode, response::Response};
use deadpool_postgres::Transaction;
use event::NhsNumber;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// As the audit calls it.
const SEARCH_PATIENT: &str = "fhir-search-patient";

pub async fn search(app: &Shared, signed: &Signed, asked: &Asked<'_>) -> Result<Response, Stop> {
    let search = asked.search(&["identifier", "_id"])?;
    let page = search.page()?;
    let named = search.all_of("_id")?;
    let mut numbers = Vec::new();
    for alternatives in search.all_of("identifier")? {
        numbers.push(nhs_numbers(&alternatives)?);
    }
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    // Each parameter narrows what the others found.
    let mut found: Option<BTreeSet<Uuid>> = None;
    let mut narrow =
        |ids: BTreeSet<Uuid>| found = Some(found.take().map_or_else(|| ids.clone(), |found| &found & &ids));
    for alternatives in &named {
        narrow(alternatives.iter().filter_map(|token| token.code.as_ref()?.parse().ok()).collect());
    }
    for numbers in &numbers {
        let Some(bearers) = bearers(&transaction, numbers).await? else {
            let entry = audit::Entry::refused(SEARCH_PATIENT, Why::LeftOut.as_str());
            audit::write(&transaction, &signed.actor, &entry, &[]).await?;
            transaction.commit().await?;
            return Err(Problem::Bad("more people than one answer holds: narrow the search").into());
        };
        narrow(bearers);
    }
    let Some(ids) = found else {
        return Err(Problem::Bad("search by identifier or _id").into());
    };
    let (found, total) = found_patients(app, signed, &transaction, &ids, &numbers, page).await?;
    transaction.commit().await?;
    let links = links(&search, "Patient", page, total);
    let bundle = Released::all(found).map(|found| resources::bundle(&asked.base(), total, found, &links));
    Ok(fhir(StatusCode::OK, bundle))
}

/// One page of those who may be shown, and how many there are. Who is refused or left out is in the audit, too.
async fn found_patients(
    app: &Shared,
    signed: &Signed,
    transaction: &Transaction<'_>,
    ids: &BTreeSet<Uuid>,
    numbers: &[Vec<NhsNumber>],
    page: Page,
) -> Result<(Vec<Released<Value>>, i64), Stop> {
    let actor = &signed.actor;
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    let persons = record::persons(transaction, &app.site.consent, &ids, &actor.user).await?;
    let (mut decided, mut total) = (Vec::new(), 0);
    for person in persons.values() {
        let decision = app.decide(actor, Action::ViewRecord, person);
        // A number that only a withheld identity has finds nobody.
        let shown = |numbers: &Vec<NhsNumber>| numbers.iter().any(|number| person.shows_number(&decision, number));
        let matched = numbers.iter().all(shown);
        let on_page = (page.offset..page.offset.saturating_add(page.count)).contains(&total);
        let decision = match (decision.allow, matched) {
            (true, false) => decision.turned_down(Why::NotMatched),
            (true, true) => {
                total += 1;
                if on_page { decision } else { decision.turned_down(Why::LeftOut) }
            }
            (false, _) => decision,
        };
        let patient = resources::patient(person, &decision);
        decided.push((patient, Decided { actor, action: SEARCH_PATIENT, decision, subjects: subjects(person) }));
    }
    let nobody: Vec<Subject> = ids
        .iter()
        .filter(|id| !persons.contains_key(id))
        .map(|id| Subject { person: Some(*id), ..Subject::default() })
        .collect();
    if !nobody.is_empty() {
        audit::write(transaction, actor, &audit::Entry::refused(SEARCH_PATIENT, NO_PERSON), &nobody).await?;
    } else if persons.is_empty() {
        let role = app.decide_on(actor, Action::FindPatient, None);
        let entry = audit::Entry { allow: role.allow, ..audit::Entry::refused(SEARCH_PATIENT, "nobody found") };
        audit::write(transaction, actor, &entry, &[]).await?;
    }
    Ok((audit::release_all(transaction, decided).await?, total))
}

fn nhs_numbers(alternatives: &[Token]) -> Result<Vec<NhsNumber>, Problem> {
    let number = |token: &Token| {
        if token.system.as_deref().is_some_and(|system| system != NHS_NUMBER_SYSTEM) {
            return Err(Problem::Bad("the only identifier system is https://fhir.nhs.uk/Id/nhs-number"));
        }
        let number = token.code.as_deref().and_then(NhsNumber::parse);
        number.ok_or(Problem::Bad("that is not an NHS number"))
    };
    alternatives.iter().map(number).collect()
}

/// The persons who bear one of these NHS numbers, if there are not too many.
async fn bearers(transaction: &Transaction<'_>, numbers: &[NhsNumber]) -> Result<Option<BTreeSet<Uuid>>, Stop> {
    let numbers: Vec<&str> = numbers.iter().map(NhsNumber::as_str).collect();
    let sql = "select distinct l.person::text from record.patient p join record.link l using (source, patient)
        where p.nhs_number = any($1) and not p.retracted limit $2";
    let most = i64::try_from(PERSONS_MAX).unwrap_or(i64::MAX);
    let rows = transaction.query(sql, &[&numbers, &(most + 1)]).await?;
    let all = || rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect();
    Ok((rows.len() <= PERSONS_MAX).then(all))
}
