//! The search for patients: by number or id, or by name and birth date among those whom the reader's teams look after.
//!
//! # Why
//! The database finds who may be meant. Whether they are, is looked up in what this reader may be shown of each: a name or a
//! number that only a withheld identity has finds nobody. Whoever is looked at stands in the audit, found or not.

use super::{
    Call, NHS_NUMBER_SYSTEM, Stop, action, fhir,
    find::{Answer, entries, included},
    reading::{Found, Reading},
    resources::{self, Entry, SOURCE_URI},
    search::{
        Criterion, Part, Refused, Search,
        cursor::{Cursor, Place},
        date::Range,
        value::Token,
    },
    table::Type,
};
use crate::{
    access::{Action, Decision, Recorded, Released, Why},
    app::{Problem, Shared, now},
    audit::{self, Decided, Subject},
    database,
    page::{folded, folded_sql, patient::NO_PERSON, search::subjects},
    record::{self, PERSONS_MAX, Person},
};
use axum::{http::StatusCode, response::Response};
use deadpool_postgres::Transaction;
use event::NhsNumber;
use std::collections::BTreeSet;
use tokio_postgres::Row;
use uuid::Uuid;

/// Fewer letters of a name mean nobody.
const LETTERS_MIN: usize = 2;

pub async fn search(app: &Shared, call: &Call, of: &'static Type) -> Result<Response, Stop> {
    let search = call.search(app, of)?;
    let named = Named::by(&search)?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let action = action("search", of);
    let Some(ids) = named.candidates(app, call, &transaction).await? else {
        let entry = audit::Entry::refused(&action, Why::LeftOut.as_str());
        audit::write(&transaction, &call.signed.actor, &entry, &[]).await?;
        transaction.commit().await?;
        return Err(Refused::costly("more people than one answer holds: narrow the search").into());
    };
    let looked = look(app, call, &transaction, &search, &action, &ids).await?;
    let (actor, mut told) = (&call.signed.actor, Vec::new());
    for (found, person, decision) in looked.page {
        let reading = Reading {
            app,
            transaction: &transaction,
            person: &person,
            decision: &decision,
            what: Action::ViewRecord,
            actor,
        };
        let page = [found];
        let (along, _) = included(&reading, &search.includes, &page).await?;
        told.push(decision.release(entries(page.into(), along, &search.part)).map_err(Problem::from)?);
    }
    transaction.commit().await?;
    let total = search.total.then_some(looked.answer.total);
    let links = looked.answer.links(&search);
    let sorted = |all: Vec<Vec<Entry>>| {
        let mut all: Vec<Entry> = all.into_iter().flatten().collect();
        // Matches before what comes along.
        all.sort_by_key(|entry| entry.mode != "match");
        all
    };
    let bundle = Released::all(told).map(|all| resources::bundle(&call.base(app), total, sorted(all), &links));
    Ok(fhir(StatusCode::OK, bundle))
}

/// Who was looked at: those on the page, each with the decision that stands in the audit.
struct Looked {
    page: Vec<(Found, Person, Recorded)>,
    /// Its page is empty: see above.
    answer: Answer,
}

async fn look(
    app: &Shared,
    call: &Call,
    transaction: &Transaction<'_>,
    search: &Search,
    action: &str,
    ids: &BTreeSet<Uuid>,
) -> Result<Looked, Stop> {
    let actor = &call.signed.actor;
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    let persons = record::persons(transaction, &app.site.consent, &ids, &actor.user).await?;
    let nobody: Vec<Subject> = ids
        .iter()
        .filter(|id| !persons.contains_key(id))
        .map(|id| Subject { person: Some(*id), ..Subject::default() })
        .collect();
    if !nobody.is_empty() {
        audit::write(transaction, actor, &audit::Entry::refused(action, NO_PERSON), &nobody).await?;
    } else if persons.is_empty() {
        let role = app.decide_on(actor, Action::FindPatient, None);
        let entry = audit::Entry { allow: role.allow, ..audit::Entry::refused(action, "nobody found") };
        audit::write(transaction, actor, &entry, &[]).await?;
    }
    let mut seen = Vec::new();
    for person in persons.into_values() {
        let decision = app.decide(actor, Action::ViewRecord, &person);
        let reading =
            Reading { app, transaction, person: &person, decision: &decision, what: Action::ViewRecord, actor };
        let found = reading.own();
        // In no order of ours: of several persons none is the newest.
        seen.push((search.order.place(&found.resource, &found.id, &[]), found, person, decision));
    }
    seen.sort_by(|(one, ..), (two, ..)| search.order.compare(one, two));
    let (page, answer) = paged(search, &mut seen);
    let decided = seen.iter().map(|(_, _, person, decision)| Decided {
        actor,
        action,
        decision: decision.clone(),
        subjects: subjects(person),
    });
    let recorded = audit::record_all(transaction, decided.collect()).await?;
    let all = seen.into_iter().zip(recorded);
    let on_page = all.filter(|((_, found, ..), _)| page.contains(&found.id));
    Ok(Looked { page: on_page.map(|((_, found, person, _), recorded)| (found, person, recorded)).collect(), answer })
}

/// Turns down whoever does not meet the search or is not on this page; tells who is.
fn paged(search: &Search, seen: &mut [(Place, Found, Person, Decision)]) -> (BTreeSet<String>, Answer) {
    let (now, count) = (now(), if search.part == Part::Count { 0 } else { search.count });
    let (mut page, mut answer) = (BTreeSet::new(), Answer { total: 0, page: Vec::new(), next: None });
    let mut last = None;
    for (place, found, _, decision) in seen.iter_mut().filter(|(.., decision)| decision.allow) {
        if !search.meets(&found.resource, now) {
            *decision = decision.clone().turned_down(Why::NotMatched);
            continue;
        }
        answer.total += 1;
        let before = search.cursor.as_ref().is_some_and(|after| search.order.compare(place, &after.0).is_le());
        if before || page.len() >= count {
            *decision = decision.clone().turned_down(Why::LeftOut);
            let more = !before && count > 0;
            answer.next = answer.next.take().or_else(|| last.clone().filter(|_| more).map(Cursor));
            continue;
        }
        page.insert(found.id.clone());
        last = Some(place.clone());
    }
    (page, answer)
}

/// What the database looks for.
struct Named<'a> {
    /// By `_id` and by `identifier`: each narrows what the others found.
    ids: Vec<BTreeSet<Uuid>>,
    numbers: Vec<Numbers>,
    criteria: Vec<&'a Criterion>,
}

/// Alternatives.
#[derive(Default)]
pub struct Numbers {
    nhs: Vec<NhsNumber>,
    /// Of a source: its own key for the patient.
    sources: Vec<String>,
    patients: Vec<String>,
}

impl<'a> Named<'a> {
    fn by(search: &'a Search) -> Result<Self, Stop> {
        let of = |name: &'static str| search.criteria.iter().filter(move |one| one.parameter.name == name);
        let ids = of("_id").filter_map(Criterion::tokens);
        let ids = ids.map(|all| all.iter().filter_map(|token| token.code.as_ref()?.parse().ok()).collect()).collect();
        let numbers = of("identifier").filter_map(Criterion::tokens).map(|all| Numbers::of(&all));
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        let words = search.criteria.iter().filter(|one| {
            matches!(one.parameter.name, "name" | "family" | "given") && one.texts().is_some()
                || one.parameter.name == "birthdate" && one.days().is_some()
        });
        let named = Self { ids, numbers, criteria: words.collect() };
        for text in named.criteria.iter().filter_map(|one| one.texts()).flatten() {
            if folded(text).chars().count() < LETTERS_MIN {
                return Err(Problem::Bad("a name is searched by two letters or more").into());
            }
        }
        if named.ids.is_empty() && named.numbers.is_empty() && named.criteria.is_empty() {
            return Err(Problem::Bad("search by identifier, _id, a name, or a birth date").into());
        }
        Ok(named)
    }

    /// Whoever may be meant; none where they are too many.
    async fn candidates(
        &self,
        app: &Shared,
        call: &Call,
        transaction: &Transaction<'_>,
    ) -> Result<Option<BTreeSet<Uuid>>, Stop> {
        let mut all = self.ids.clone();
        for numbers in &self.numbers {
            let Some(bearers) = numbers.bearers(transaction).await? else { return Ok(None) };
            all.push(bearers);
        }
        // A number or an id says who is meant, in a relation or not; a name does so among one's own.
        if all.is_empty() {
            let names: Vec<Vec<&str>> = self.criteria.iter().filter_map(|one| one.texts()).collect();
            let born = self.criteria.iter().find_map(|one| one.days());
            let own = among_own(app, call, transaction, &names, born.as_deref()).await?;
            let Some(own) = own else { return Ok(None) };
            all.push(own);
        }
        Ok(Some(all.into_iter().reduce(|one, two| &one & &two).unwrap_or_default()))
    }
}

/// Of the reader's own patients, whoever may bear one of each of these names, and may be born in one of these times; none
/// where they are too many.
pub async fn among_own(
    app: &Shared,
    call: &Call,
    transaction: &Transaction<'_>,
    names: &[Vec<&str>],
    born: Option<&[Range]>,
) -> Result<Option<BTreeSet<Uuid>>, Stop> {
    let words: Vec<(i32, String)> =
        (1..).zip(names).flat_map(|(n, all)| all.iter().map(move |text| (n, folded(text)))).collect();
    let (of, words): (Vec<i32>, Vec<String>) = words.into_iter().unzip();
    let groups = i32::try_from(names.len()).unwrap_or(i32::MAX);
    let seconds = |micros: i64| micros.div_euclid(1_000_000);
    let (from, until): (Vec<i64>, Vec<i64>) =
        born.into_iter().flatten().map(|range| (seconds(range.from), seconds(range.until))).unzip();
    let actor = &call.signed.actor;
    let organisations: Vec<String> = app.teams_of(actor).into_iter().map(|team| team.organisation).collect();
    let grace = i32::try_from(app.settings.encounter_grace_hours).unwrap_or(i32::MAX);
    let rows = transaction
        .query(
            &own_sql(),
            &[&organisations, &actor.teams, &grace, &groups, &of, &words, &born.is_some(), &from, &until],
        )
        .await?;
    Ok(not_too_many(&rows))
}

/// Those whom the reader's teams look after and of whom some source tells such a name, and may tell such a birth date.
fn own_sql() -> String {
    let day = |seconds: &str| format!("(to_timestamp({seconds}) at time zone 'Europe/London')::date");
    format!(
        "with mine as materialized (
            select m.person from record.patient q join record.link m using (source, patient)
            where q.registered_practice = any($1)
            union
            select m.person from record.encounter e join record.link m using (source, patient)
            where not e.retracted and e.team = any($2)
                and (e.ended_at is null or e.ended_at > now() - make_interval(hours => $3)))
         select distinct l.person::text
         from mine join record.link l using (person) join record.patient p on p.source = l.source and p.patient = l.patient
         where not p.retracted
            and not exists (select from generate_series(1, $4::int) as g(n) where not exists (
                select from unnest($5::int[], $6::text[]) as w(n, word)
                where w.n = g.n and (position(w.word in {}) > 0 or position(w.word in {}) > 0)))
            and (not $7::bool or p.birth_date is null or exists (select from unnest($8::int8[], $9::int8[]) as d(lo, hi)
                where p.birth_date >= {} and p.birth_date < {}))
         limit {}",
        folded_sql("p.family"),
        folded_sql("p.given"),
        day("d.lo"),
        day("d.hi"),
        PERSONS_MAX + 1
    )
}

impl Numbers {
    pub fn nhs(number: NhsNumber) -> Self {
        Self { nhs: vec![number], ..Self::default() }
    }

    fn of(tokens: &[&Token]) -> Result<Self, Problem> {
        let mut numbers = Self::default();
        for token in tokens {
            let code = token.code.as_deref().unwrap_or_default();
            let source = token.system.as_deref().and_then(|system| system.strip_prefix(SOURCE_URI));
            if let Some(source) = source {
                numbers.sources.push(source.to_owned());
                numbers.patients.push(code.to_owned());
                continue;
            }
            if token.system.as_deref().is_some_and(|system| system != NHS_NUMBER_SYSTEM) {
                return Err(Problem::Bad(
                    "the systems of identifiers are https://fhir.nhs.uk/Id/nhs-number and urn:causeway:source:…",
                ));
            }
            numbers.nhs.push(NhsNumber::parse(code).ok_or(Problem::Bad("that is not an NHS number"))?);
        }
        Ok(numbers)
    }

    /// Whoever bears one of them, if there are not too many.
    pub async fn bearers(&self, transaction: &Transaction<'_>) -> Result<Option<BTreeSet<Uuid>>, Stop> {
        let numbers: Vec<&str> = self.nhs.iter().map(NhsNumber::as_str).collect();
        let sql = "select distinct l.person::text from record.patient p join record.link l using (source, patient)
            where not p.retracted and (p.nhs_number = any($1)
                or (p.source, p.patient) in (select * from unnest($2::text[], $3::text[])))
            limit $4";
        let most = i64::try_from(PERSONS_MAX).unwrap_or(i64::MAX) + 1;
        Ok(not_too_many(&transaction.query(sql, &[&numbers, &self.sources, &self.patients, &most]).await?))
    }
}

fn not_too_many(rows: &[Row]) -> Option<BTreeSet<Uuid>> {
    let all = || rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect();
    (rows.len() <= PERSONS_MAX).then(all)
}
