//! Searches among the resources of one person.

use super::{
    Call, Stop, action, fhir, opened, provenance,
    reading::{Found, Reading},
    resources::{self, Entry},
    search::{Include, Includes, Part, Search, cursor::Cursor, value},
    table::{self, Made, Type},
    what,
};
use crate::{
    app::{Problem, Shared, now},
    database,
    record::{self, rows::Narrow},
};
use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Resources that come along with one page.
pub const INCLUDED_MAX: usize = 1_000;
/// Of `$lastn`: results of each test, and in all.
const LAST_EACH_MAX: usize = 100;
const LAST_MAX: usize = 1_000;

/// One page of an answer.
pub struct Answer {
    pub total: usize,
    pub page: Vec<Found>,
    pub next: Option<Cursor>,
}

impl Answer {
    /// What meets the search, from where its cursor says.
    pub fn of(search: &Search, found: Vec<Found>) -> Self {
        let now = now();
        let met = found.into_iter().filter(|found| search.meets(&found.resource, now));
        let mut placed: Vec<_> = met.map(|found| (found.place(search), found)).collect();
        placed.sort_by(|(one, _), (two, _)| search.order.compare(one, two));
        let total = placed.len();
        if let Some(Cursor(after)) = &search.cursor {
            placed.retain(|(place, _)| search.order.compare(place, after).is_gt());
        }
        let count = if search.part == Part::Count { 0 } else { search.count };
        let more = placed.len() > count && count > 0;
        placed.truncate(count);
        let last = placed.last().filter(|_| more).map(|(place, _)| Cursor(place.clone()));
        Self { total, page: placed.into_iter().map(|(_, found)| found).collect(), next: last }
    }

    /// `self` says what was answered; `next` is there while there is more.
    pub fn links(&self, search: &Search) -> Vec<(&'static str, String)> {
        let own = ("self", search.link(search.cursor.as_ref()));
        [own].into_iter().chain(self.next.as_ref().map(|next| ("next", search.link(Some(next))))).collect()
    }
}

pub async fn search(app: &Shared, call: &Call, of: &'static Type) -> Result<Response, Stop> {
    let search = call.search(app, of)?;
    let id = search.person()?.ok_or(Problem::Bad("search by patient"))?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) =
        opened(app, &call.signed, transaction, id, (what(of), &action("search", of))).await?;
    let reading = Reading {
        app,
        transaction: &transaction,
        person: &person,
        decision: &decision,
        what: what(of),
        actor: &call.signed.actor,
    };
    let (digests, codes) = (search.digests(), search.codes());
    let read = reading.of(of, Narrow { digests: digests.as_deref(), codes: codes.as_deref() }).await?;
    let answer = Answer::of(&search, read.found);
    let (included, cut) = included(&reading, &search.includes, &answer.page).await?;
    let empty = answer.total == 0 && search.is_whole_list();
    let notes = notes(&reading, of, empty, read.cut || cut).await?;
    transaction.commit().await?;
    let links = answer.links(&search);
    let total = search.total.then_some(answer.total);
    let entries = entries(answer.page, included, &search.part);
    let mut bundle = resources::bundle(&call.base(app), total, entries, &links);
    for (code, what) in notes {
        resources::note(&mut bundle, code, what);
    }
    Ok(fhir(StatusCode::OK, decision.release(bundle).map_err(Problem::from)?))
}

/// As they are written in a bundle.
pub fn entries(page: Vec<Found>, included: Vec<Found>, part: &Part) -> Vec<Entry> {
    let matches = page.into_iter().map(|found| Entry { resource: part.of(found.resource), mode: "match" });
    // `_elements` names those of what was searched for.
    let whole = matches!(part, Part::Elements(_));
    let beside = included
        .into_iter()
        .map(|found| Entry { resource: if whole { found.resource } else { part.of(found.resource) }, mode: "include" });
    matches.chain(beside).collect()
}

/// What the answer lacks, in words that do not say what it is.
pub async fn notes(
    reading: &Reading<'_>,
    of: &Type,
    empty: bool,
    cut: bool,
) -> Result<Vec<(&'static str, Value)>, Stop> {
    let mut notes = Vec::new();
    let held =
        reading.person.held || record::held_elsewhere(reading.transaction, reading.person, reading.decision).await?;
    // Nothing found is not evidence of absence: why there is nothing is said as the page says it.
    match of.kind().filter(|_| empty) {
        Some(kind) => {
            let coverage = super::lists::coverage(reading).await?;
            let why = super::lists::empty_reason(reading, kind, false, &coverage);
            notes.push(("informational", json!({"details": why})));
        }
        None if reading.decision.limited => {
            notes.push(("suppressed", json!({"diagnostics": "the result is incomplete"})));
        }
        None => {}
    }
    if held {
        notes.push(("informational", json!({"diagnostics": "another record is held, not shown"})));
    }
    if let Some(sources) = reading.app.behind() {
        notes.push(("incomplete", json!({"diagnostics": format!("new results may be missing from {sources}")})));
    }
    if cut {
        notes.push(("too-costly", json!({"diagnostics": "there is more than one answer looks at: narrow the search"})));
    }
    Ok(notes)
}

/// What comes along with a page, and whether some of it does not.
pub async fn included(reading: &Reading<'_>, includes: &Includes, page: &[Found]) -> Result<(Vec<Found>, bool), Stop> {
    let names: BTreeSet<String> = page.iter().map(Found::name).collect();
    let mut along: BTreeMap<String, Found> = BTreeMap::new();
    for (of, wanted) in referenced(&includes.forward, page) {
        let digests: Vec<String> = wanted.iter().filter_map(|id| Some(id.split_once('.')?.1.to_owned())).collect();
        let narrow = Narrow { digests: (of.made != Made::Patient).then_some(&digests[..]), codes: None };
        let read = reading.of(of, narrow).await?;
        along.extend(read.found.into_iter().filter(|found| wanted.contains(&found.id)).map(|it| (it.name(), it)));
    }
    for include in &includes.reverse {
        for found in naming(reading, include, page, &names).await? {
            along.insert(found.name(), found);
        }
    }
    along.retain(|name, _| !names.contains(name));
    let cut = along.len() > INCLUDED_MAX;
    Ok((along.into_values().take(INCLUDED_MAX).collect(), cut))
}

/// Ids by type, of what the page's references name.
fn referenced(includes: &[Include], page: &[Found]) -> Vec<(&'static Type, BTreeSet<String>)> {
    let mut wanted: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for include in includes {
        for (kind, id) in page.iter().flat_map(|found| names_at(include, found)) {
            let of = table::named(&kind).filter(|of| include.may_name(of.name));
            if let Some(of) = of {
                wanted.entry(of.name).or_default().insert(id);
            }
        }
    }
    wanted.into_iter().filter_map(|(name, ids)| Some((table::named(name)?, ids))).collect()
}

/// Type and id of each reference at the include's element.
fn names_at(include: &Include, found: &Found) -> Vec<(String, String)> {
    let references = include.parameter.at.iter().flat_map(|path| value::at(&found.resource, path));
    let names = references.filter_map(|one| one["reference"].as_str()?.split_once('/'));
    names.map(|(kind, id)| (kind.to_owned(), id.to_owned())).collect()
}

/// What names something on the page.
async fn naming(
    reading: &Reading<'_>,
    include: &Include,
    page: &[Found],
    names: &BTreeSet<String>,
) -> Result<Vec<Found>, Stop> {
    if include.from.made == Made::Provenance {
        let own = page.iter().any(|found| found.resource["resourceType"] == "Patient");
        let of_patient = if own { provenance::of_patient(reading) } else { Vec::new() };
        let each = page.iter().filter_map(|found| provenance::of_one(reading.person.id, found));
        return Ok(each.chain(of_patient).collect());
    }
    let read = reading.of(include.from, Narrow::default()).await?;
    let names_one = |found: &Found| {
        let mut told = names_at(include, found).into_iter();
        told.any(|(kind, id)| include.may_name(&kind) && names.contains(&format!("{kind}/{id}")))
    };
    Ok(read.found.into_iter().filter(names_one).collect())
}

/// The newest results of each test.
pub async fn last(State(app): State<Shared>, call: Call) -> Result<Response, Stop> {
    let of = table::named("Observation").ok_or(Problem::NotFound)?;
    let mut parameters = super::search::parameters(&call.query)?;
    let each = match parameters.iter().position(|one| one.name == "max") {
        Some(at) => parameters.remove(at).value.parse().ok().filter(|max| *max > 0),
        None => Some(1),
    };
    let each = each.ok_or(Problem::Bad("max is a number, from 1"))?.min(LAST_EACH_MAX);
    let search = call.search_for(&app, of, parameters)?;
    let id = search.person()?.ok_or(Problem::Bad("search by patient"))?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) =
        opened(&app, &call.signed, transaction, id, (what(of), "fhir-lastn-observation")).await?;
    let reading = Reading {
        app: &app,
        transaction: &transaction,
        person: &person,
        decision: &decision,
        what: what(of),
        actor: &call.signed.actor,
    };
    let codes = search.codes();
    let read = reading.of(of, Narrow { digests: None, codes: codes.as_deref() }).await?;
    let empty = read.found.is_empty() && search.is_whole_list();
    let notes = notes(&reading, of, empty, read.cut).await?;
    transaction.commit().await?;
    let newest = newest_of_each(&search, read.found, each);
    let link = search.link(None).replacen("/Observation?", "/Observation/$lastn?", 1);
    let entries = entries(newest, Vec::new(), &search.part);
    let links = [("self", format!("{link}&max={each}"))];
    let mut bundle = resources::bundle(&call.base(&app), Some(entries.len()), entries, &links);
    for (code, what) in notes {
        resources::note(&mut bundle, code, what);
    }
    Ok(fhir(StatusCode::OK, decision.release(bundle).map_err(Problem::from)?))
}

fn newest_of_each(search: &Search, found: Vec<Found>, each: usize) -> Vec<Found> {
    let now = now();
    let mut met: Vec<_> = found
        .into_iter()
        .filter(|found| search.meets(&found.resource, now))
        .map(|found| (found.place(search), found))
        .collect();
    met.sort_by(|(one, _), (two, _)| search.order.compare(one, two));
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    met.into_iter()
        .map(|(_, found)| found)
        .filter(|found| {
            let told = told.entry(test_of(&found.resource)).or_default();
            *told += 1;
            *told <= each
        })
        .take(LAST_MAX)
        .collect()
}

/// Which test a result is of: by its code in one of the systems that all sources share, else by its words.
pub fn test_of(resource: &Value) -> String {
    let codings = || resource["code"]["coding"].as_array().into_iter().flatten();
    let code = |system: &str| codings().find(|coding| coding["system"] == system).map(|coding| &coding["code"]);
    match code(resources::LOINC).or_else(|| code(resources::SNOMED)) {
        Some(code) => code.to_string(),
        None => resource["code"]["text"].as_str().unwrap_or_default().to_lowercase(),
    }
}
