//! What a FHIR search asks, as R4 has it (<https://hl7.org/fhir/R4/search.html>): a comma is OR, a parameter said again is
//! AND, a modifier changes what a parameter means.
//!
//! # Why
//! A parameter that is passed over in silence gives the answer to another question: all results instead of those of one
//! code. So what is not understood is refused, unless the client asks for leniency; then it is left out of `self`, which
//! says what was answered. A modifier changes what a parameter means: it is refused whatever the client asks.
//!
//! A search is met by what a resource shows, and by nothing else: nobody finds a record by what is kept from them.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod criterion;
pub mod cursor;
pub mod date;
mod include;
mod part;
pub mod query;
#[cfg(test)]
mod tests;
pub mod value;

pub use criterion::Criterion;
pub use include::{Include, Includes};
pub use part::Part;
pub use query::{Parameter, parameters, takes_json};

use super::{
    resources::person_of,
    table::{By, Made, RESULT, SCOPE, Type},
};
use crate::access::AboutNobody;
use axum::http::StatusCode;
use cursor::{Cursor, Order};
use event::Micros;
use query::{shown, unescaped};
use serde_json::Value;
use uuid::Uuid;

pub const COUNT_DEFAULT: usize = 50;
pub const COUNT_MAX: usize = 200;

/// Why there is no answer: a status, and an `OperationOutcome`'s issue type and diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: StatusCode,
    pub code: &'static str,
    pub words: String,
}

/// Words of ours, and names that the client sent.
impl AboutNobody for &Refused {}

impl Refused {
    pub fn invalid(words: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "invalid", words: words.into() }
    }

    pub fn unsupported(words: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "not-supported", words: words.into() }
    }

    pub fn costly(words: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "too-costly", words: words.into() }
    }
}

/// How a value compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    /// Starts after, ends before.
    Sa,
    Eb,
    Ap,
}

impl Prefix {
    /// And what it stands before.
    pub fn of(text: &str) -> (Self, &str) {
        let known = [
            ("eq", Self::Eq),
            ("ne", Self::Ne),
            ("gt", Self::Gt),
            ("lt", Self::Lt),
            ("ge", Self::Ge),
            ("le", Self::Le),
            ("sa", Self::Sa),
            ("eb", Self::Eb),
            ("ap", Self::Ap),
        ];
        let found = known.into_iter().find_map(|(word, prefix)| Some((prefix, text.strip_prefix(word)?)));
        found.unwrap_or((Self::Eq, text))
    }
}

/// A search whose every parameter is one that is answered.
#[derive(Clone, Debug)]
pub struct Search {
    of: &'static Type,
    taken: Vec<Parameter>,
    pub criteria: Vec<Criterion>,
    pub order: Order,
    pub count: usize,
    pub cursor: Option<Cursor>,
    pub includes: Includes,
    pub part: Part,
    /// Whether the client wants to know how many there are in all.
    pub total: bool,
    /// Where the server is: of absolute references.
    base: String,
}

impl Search {
    /// Takes what the table has; refuses the rest, or leaves it out where the client is `lenient`.
    pub fn new(parameters: Vec<Parameter>, of: &'static Type, lenient: bool, base: &str) -> Result<Self, Refused> {
        let mut taken = Vec::new();
        for parameter in parameters {
            let name = parameter.name.as_str();
            if matches!(name, "_format" | "_pretty") {
                continue;
            }
            if of.parameter(name).is_none() && !RESULT.contains(&name) {
                if lenient {
                    continue;
                }
                return Err(Refused::unsupported(format!("the search parameter `{}` is not supported", shown(name))));
            }
            if parameter.value.is_empty() {
                return Err(Refused::invalid(format!("the search parameter `{}` is empty", shown(name))));
            }
            taken.push(parameter);
        }
        let mut search = Self {
            of,
            criteria: Vec::new(),
            order: Order::default(),
            count: COUNT_DEFAULT,
            cursor: None,
            includes: Includes::default(),
            part: Part::default(),
            total: true,
            base: base.to_owned(),
            taken,
        };
        search.read()?;
        Ok(search)
    }

    fn read(&mut self) -> Result<(), Refused> {
        for parameter in &self.taken {
            if let Some(known) = self.of.parameter(&parameter.name) {
                self.criteria.push(Criterion::parse(self.of, known, parameter, &self.base)?);
            } else if let Some(modifier) = &parameter.modifier {
                let (name, modifier) = (shown(&parameter.name), shown(modifier));
                return Err(Refused::unsupported(format!("the modifier `{name}:{modifier}` is not supported")));
            }
        }
        if let Some(count) = self.once("_count")? {
            let count: usize = count.parse().map_err(|_| Refused::invalid("_count is no number"))?;
            self.count = count.min(COUNT_MAX);
        }
        self.total = match self.once("_total")? {
            None | Some("accurate" | "estimate") => true,
            Some("none") => false,
            Some(_) => return Err(Refused::invalid("_total is none, estimate or accurate")),
        };
        self.order = Order::parse(self.of, self.once("_sort")?)?;
        self.part = Part::parse(self.of, self.once("_summary")?, self.once("_elements")?)?;
        self.includes =
            Includes::parse(self.of, self.values("_include").collect(), self.values("_revinclude").collect())?;
        let cursor = self.once("_cursor")?.map(|text| Cursor::parse(text, &self.question(), &self.order));
        self.cursor = cursor.transpose()?;
        Ok(())
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.taken.iter().filter(move |one| one.name == name).map(|one| one.value.as_str())
    }

    fn once<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Refused> {
        let mut values = self.values(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(Refused::invalid(format!("{name} is said twice")));
        }
        Ok(value)
    }

    /// The one person that the search is about. Access is decided for one at a time.
    pub fn person(&self) -> Result<Option<Uuid>, Refused> {
        let mut found = None;
        let scoped = self.taken.iter().filter(|one| SCOPE.contains(&one.name.as_str()) || one.name == "_id");
        for parameter in scoped.filter(|one| matches!(one.modifier.as_deref(), None | Some("Patient"))) {
            for reference in query::split(&parameter.value, ',') {
                let reference = unescaped(&reference);
                let id = self.id_of(&reference);
                let id = id.parse().ok().or_else(|| person_of(id));
                let id = id.ok_or_else(|| Refused::invalid(format!("{} is no id of ours", parameter.name)))?;
                if found.is_some_and(|found| found != id) {
                    return Err(Refused::invalid("one patient at a time"));
                }
                found = Some(id);
            }
        }
        Ok(found)
    }

    fn id_of<'a>(&self, reference: &'a str) -> &'a str {
        let own = reference.strip_prefix(&self.base).map_or(reference, |rest| rest.trim_start_matches('/'));
        match own.split_once('/') {
            Some((kind, id)) if super::table::named(kind).is_some() => id,
            _ => own,
        }
    }

    /// Whether nothing is asked for but whose it is: then nothing found is an empty list.
    pub fn is_whole_list(&self) -> bool {
        self.criteria.iter().all(|one| SCOPE.contains(&one.parameter.name))
    }

    /// The digests of the ids that are asked for, where any are.
    pub fn digests(&self) -> Option<Vec<String>> {
        // What comes from one record bears the digest of what it tells of.
        let own = |name: &str| name == "_id" || (self.of.made == Made::Provenance && name == "target");
        let one = self.taken.iter().find(|one| own(&one.name) && one.modifier.is_none())?;
        let all = query::split(&one.value, ',');
        let digests = all.iter().map(|id| Some(unescaped(id).split_once('.')?.1.to_owned()));
        digests.collect::<Option<Vec<_>>>().filter(|_| all.len() <= query::TOKENS_MAX)
    }

    /// Codes of which a resource that is found has one; none where the search does not say.
    pub fn codes(&self) -> Option<Vec<String>> {
        if matches!(self.of.made, Made::Lists | Made::Provenance | Made::Accesses | Made::Patient) {
            return None;
        }
        self.criteria.iter().filter(|one| is_main_code(one)).find_map(Criterion::codes)
    }

    pub fn meets(&self, resource: &Value, now: Micros) -> bool {
        self.criteria.iter().all(|one| one.meets(resource, now))
    }

    /// What is asked, without where in the answer.
    fn question(&self) -> String {
        let paging = ["_count", "_cursor", "_total"];
        let all = self.taken.iter().filter(|one| !paging.contains(&one.name.as_str())).map(Parameter::link);
        format!("{}?{}", self.of.name, all.collect::<Vec<_>>().join("&"))
    }

    /// The link to what was answered, or to what comes after `cursor`.
    pub fn link(&self, cursor: Option<&Cursor>) -> String {
        let paging = ["_count", "_cursor"];
        let all = self.taken.iter().filter(|one| !paging.contains(&one.name.as_str())).map(Parameter::link);
        let mut query: Vec<String> = all.collect();
        query.push(format!("_count={}", self.count));
        query.extend(cursor.map(|cursor| format!("_cursor={}", cursor.text(&self.question()))));
        format!("{}/{}?{}", self.base, self.of.name, query.join("&"))
    }
}

/// The code that a record bears itself.
fn is_main_code(criterion: &Criterion) -> bool {
    let parameter = criterion.parameter;
    matches!(parameter.by, By::Token(_))
        && matches!(parameter.at, ["code" | "medicationCodeableConcept" | "vaccineCode" | "type"])
        && matches!(parameter.name, "code" | "combo-code" | "vaccine-code")
}
