//! What a row says that has no column of its own, by the names of the event's schema.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::page::format;
use event::{Fields, Kind, Participant, Shape, datum::Record as _};
use serde_json::{Map, Value};

/// Read from the column `more`.
#[derive(Clone, Debug, Default)]
pub struct More(Map<String, Value>);

/// One code of a thing, and how it came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding<'a> {
    pub system: &'a str,
    pub version: Option<&'a str>,
    pub code: &'a str,
    pub display: Option<&'a str>,
    pub origin: &'a str,
}

impl More {
    pub fn of(column: Option<Value>) -> Self {
        match column {
            Some(Value::Object(fields)) => Self(fields),
            _ => Self::default(),
        }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// The entries of a list.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &Map<String, Value>> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
    }

    pub fn one(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name)?.as_object()
    }

    /// None of rows from before codes were told one by one.
    pub fn codings(&self) -> Vec<Coding<'_>> {
        let coding = |of| {
            let text = |name| text(of, name);
            Some(Coding {
                system: text("system")?,
                version: text("version"),
                code: text("code")?,
                display: text("display"),
                origin: text("origin").unwrap_or_default(),
            })
        };
        self.list("codings").filter_map(coding).collect()
    }

    /// Everything of the kind's table that is here, in its order and in words, but these; then who and where.
    pub fn words(&self, kind: Kind, but: &[&str]) -> Vec<String> {
        let mut words = told(&self.0, kind.fields(), but);
        let participants = self.list("participants").map(|of| told(of, Participant::FIELDS, &["role", "identifier"]));
        let roles = self.list("participants").map(|of| text(of, "role").unwrap_or("with"));
        let who = roles.zip(participants).filter(|(_, told)| !told.is_empty());
        words.extend(who.map(|(role, told)| format!("{role}: {}", values(&told))));
        words.extend(self.text("location").map(|place| format!("location: {place}")));
        words
    }
}

pub fn text<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    of.get(name)?.as_str().filter(|text| !text.trim().is_empty())
}

/// `route: oral`, field by field.
fn told(of: &Map<String, Value>, fields: Fields, but: &[&str]) -> Vec<String> {
    let field = |(name, shape): &(&'static str, Shape)| {
        if but.contains(name) {
            return None;
        }
        let told = match (of.get(*name)?, shape) {
            (Value::String(text), Shape::Time) => {
                text.parse::<jiff::Timestamp>().ok().map(|at| format::when(at.as_microsecond()))?
            }
            (Value::String(text), _) => text.clone(),
            (Value::Bool(true), _) => "yes".to_owned(),
            (Value::Object(inner), Shape::One(fields)) => self::told(inner, fields, &[]).join(", "),
            (Value::Array(entries), Shape::Many(fields)) => {
                let entries = entries.iter().filter_map(Value::as_object);
                entries.map(|entry| self::told(entry, fields, &[]).join(", ")).collect::<Vec<_>>().join("; ")
            }
            _ => return None,
        };
        (!told.trim().is_empty()).then(|| format!("{}: {told}", name.replace('_', " ")))
    };
    fields.iter().filter_map(field).collect()
}

/// Without the names: of a person, they say themselves.
fn values(told: &[String]) -> String {
    told.iter().map(|one| one.split_once(": ").map_or(one.as_str(), |(_, value)| value)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_column_is_said_in_the_order_of_its_table() {
        let more = More::of(Some(json!({
            "location": "Ward 7",
            "participants": [{"role": "recorder", "name": "Dr A. Smith", "job": "GP", "identifier": "77"}, {"role": "author"}],
            "route": "oral", "form": "tablet", "dose_amount": "5", "codings": [{"system": "s", "code": "c", "origin": "mapped"}],
            "made_by": {"mapping": "emis 4"}, "unknown": "not shown", "reason": " ",
        })));
        assert_eq!(
            more.words(Kind::Medication, &["dose_amount"]),
            ["route: oral", "form: tablet", "recorder: Dr A. Smith, GP", "location: Ward 7"]
        );
        let coding = Coding { system: "s", version: None, code: "c", display: None, origin: "mapped" };
        assert_eq!(more.codings(), [coding]);
        let times = More::of(Some(json!({"started_at": "2026-01-02T09:30:00Z", "ended_at": "soon", "status": "done"})));
        assert_eq!(times.words(Kind::Procedure, &[]), ["status: done", "started at: 2 Jan 2026, 09:30"]);
        assert!(
            More::of(None).words(Kind::Procedure, &[]).is_empty() && More::of(Some(json!([]))).codings().is_empty()
        );
    }
}
