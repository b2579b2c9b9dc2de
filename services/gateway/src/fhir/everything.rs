//! `Patient/{id}/$everything`: all that may be shown of one person, page by page.

use super::{
    Call, Stop, fhir,
    find::{entries, notes},
    opened,
    reading::{Found, Reading},
    resources,
    search::{
        COUNT_DEFAULT, COUNT_MAX, Parameter, Part, Refused,
        cursor::{Cursor, Order},
        date, parameters,
    },
    table::{self, Made, TYPES, Type},
};
use crate::{
    access::Action,
    app::{App, Problem, Shared},
    database,
    record::rows::Narrow,
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use event::Micros;
use uuid::Uuid;

/// What the operation is asked.
struct Asked {
    id: Uuid,
    taken: Vec<Parameter>,
    types: Vec<&'static Type>,
    /// Of when it was so.
    start: Option<Micros>,
    end: Option<Micros>,
    /// Of when it became known.
    since: Option<Micros>,
    count: usize,
    cursor: Option<Cursor>,
}

pub async fn get(State(app): State<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, Stop> {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let asked = Asked::parse(id, &call)?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let (transaction, person, decision) =
        opened(&app, &call.signed, transaction, id, (Action::ViewRecord, "fhir-everything-patient")).await?;
    let reading = Reading {
        app: &app,
        transaction: &transaction,
        person: &person,
        decision: &decision,
        what: Action::ViewRecord,
        actor: &call.signed.actor,
    };
    let (mut placed, mut cut) = (Vec::new(), false);
    for (rank, of) in (0_i64..).zip(&asked.types) {
        let read = reading.of(of, Narrow::default()).await?;
        cut |= read.cut;
        let met = read.found.into_iter().filter(|found| asked.wants(found));
        // Type by type, and within one the newest first.
        placed.extend(met.map(|found| {
            let keys = [Some(-rank), found.at, Some(found.committed_at)];
            (Order::default().place(&found.resource, &found.id, &keys), found)
        }));
    }
    let patient = table::named("Patient").ok_or(Problem::NotFound)?;
    let notes = notes(&reading, patient, false, cut).await?;
    transaction.commit().await?;
    let order = Order::default();
    placed.sort_by(|(one, _), (two, _)| order.compare(one, two));
    let total = placed.len();
    if let Some(Cursor(after)) = &asked.cursor {
        placed.retain(|(place, _)| order.compare(place, after).is_gt());
    }
    let more = placed.len() > asked.count && asked.count > 0;
    placed.truncate(asked.count);
    let mut links = vec![("self", asked.link(&app, &call, asked.cursor.as_ref()))];
    if let Some((place, _)) = placed.last().filter(|_| more) {
        links.push(("next", asked.link(&app, &call, Some(&Cursor(place.clone())))));
    }
    let page = placed.into_iter().map(|(_, found)| found).collect();
    let entries = entries(page, Vec::new(), &Part::Whole);
    let mut bundle = resources::bundle(&call.base(&app), Some(total), entries, &links);
    for (code, what) in notes {
        resources::note(&mut bundle, code, what);
    }
    Ok(fhir(StatusCode::OK, decision.release(bundle).map_err(Problem::from)?))
}

impl Asked {
    fn parse(id: Uuid, call: &Call) -> Result<Self, Refused> {
        let known = ["start", "end", "_since", "_type", "_count", "_cursor"];
        let (mut types, mut times, mut count, mut cursor) = (Vec::new(), [None; 3], COUNT_DEFAULT, None);
        let mut taken: Vec<Parameter> = Vec::new();
        for one in parameters(&call.query)? {
            if matches!(one.name.as_str(), "_format" | "_pretty") {
                continue;
            }
            if !known.contains(&one.name.as_str()) || one.modifier.is_some() {
                if call.is_lenient() && one.modifier.is_none() {
                    continue;
                }
                return Err(Refused::unsupported("the parameters are start, end, _since, _type and _count"));
            }
            if taken.iter().any(|other| other.name == one.name) {
                return Err(Refused::invalid(format!("{} is said twice", one.name)));
            }
            let range = || date::range(&one.value).ok_or_else(|| Refused::invalid("that is no date"));
            match one.name.as_str() {
                "start" => times[0] = Some(range()?.from),
                "end" => times[1] = Some(range()?.until),
                "_since" => times[2] = Some(range()?.from),
                "_count" => {
                    let told: usize = one.value.parse().map_err(|_| Refused::invalid("_count is no number"))?;
                    count = told.min(COUNT_MAX);
                }
                "_cursor" => cursor = Some(one.value.clone()),
                _ => {
                    for name in one.value.split(',') {
                        let of = table::named(name).filter(|of| of.made != Made::Accesses);
                        types.push(of.ok_or_else(|| Refused::unsupported("_type names a type that is not served"))?);
                    }
                }
            }
            taken.push(one);
        }
        if types.is_empty() {
            // Where each comes from is asked for by name: it is as much again.
            types = TYPES.iter().filter(|of| !matches!(of.made, Made::Provenance | Made::Accesses)).collect();
        }
        let [start, end, since] = times;
        let mut asked = Self { id, taken, types, start, end, since, count, cursor: None };
        let cursor = cursor.map(|text| Cursor::parse(&text, &asked.question(), &Order::default()));
        asked.cursor = cursor.transpose()?;
        Ok(asked)
    }

    /// What nobody dated may be of any time.
    fn wants(&self, found: &Found) -> bool {
        let within =
            found.at.is_none_or(|at| self.start.is_none_or(|start| at >= start) && self.end.is_none_or(|end| at < end));
        within && self.since.is_none_or(|since| found.committed_at >= since)
    }

    fn parameters(&self) -> impl Iterator<Item = String> {
        let paging = ["_count", "_cursor"];
        self.taken.iter().filter(move |one| !paging.contains(&one.name.as_str())).map(Parameter::link)
    }

    fn question(&self) -> String {
        format!("Patient/{}/$everything?{}", self.id, self.parameters().collect::<Vec<_>>().join("&"))
    }

    fn link(&self, app: &App, call: &Call, cursor: Option<&Cursor>) -> String {
        let mut query: Vec<String> = self.parameters().collect();
        query.push(format!("_count={}", self.count));
        query.extend(cursor.map(|cursor| format!("_cursor={}", cursor.text(&self.question()))));
        format!("{}/Patient/{}/$everything?{}", call.base(app), self.id, query.join("&"))
    }
}
