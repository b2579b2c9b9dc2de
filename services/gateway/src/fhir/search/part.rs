//! Which part of each resource is written: `_summary` and `_elements`.
//!
//! # Why
//! What says how the rest is to be read stays in whatever part is asked for: a status, why a value is absent, why a list is
//! empty. A resource that was cut says so.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{Refused, query::shown};
use crate::fhir::table::{self, Type};
use serde_json::{Map, Value, json};

const ELEMENTS_MAX: usize = 50;
const ALWAYS: [&str; 4] = ["resourceType", "id", "meta", "implicitRules"];
const SUBSETTED: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    #[default]
    Whole,
    Summary,
    /// Narrative, which is written for documents only, and what cannot be left out.
    Text,
    /// Everything but narrative.
    Data,
    /// How many there are.
    Count,
    Elements(Vec<String>),
}

impl Part {
    pub fn parse(of: &Type, summary: Option<&str>, elements: Option<&str>) -> Result<Self, Refused> {
        let summary = match summary {
            None | Some("false") => Self::Whole,
            Some("true") => Self::Summary,
            Some("text") => Self::Text,
            Some("data") => Self::Data,
            Some("count") => Self::Count,
            Some(_) => return Err(Refused::invalid("_summary is true, text, data, count or false")),
        };
        let Some(elements) = elements else { return Ok(summary) };
        if summary != Self::Whole {
            return Err(Refused::invalid("_summary and _elements do not go together"));
        }
        let own = |element: &str| match element.split_once('.') {
            Some((kind, element)) if table::named(kind).is_some() => (kind == of.name).then(|| element.to_owned()),
            _ => Some(element.to_owned()),
        };
        let elements: Vec<String> = elements.split(',').filter_map(own).collect();
        let plain = |element: &String| !element.is_empty() && element.chars().all(|c| c.is_ascii_alphanumeric());
        if elements.len() > ELEMENTS_MAX || !elements.iter().all(plain) {
            let first = elements.iter().find(|element| !plain(element)).map(|element| shown(element));
            return Err(Refused::invalid(format!(
                "_elements are names of elements, {ELEMENTS_MAX} at most: `{}`",
                first.unwrap_or_default()
            )));
        }
        Ok(Self::Elements(elements))
    }

    /// That part of a resource.
    pub fn of(&self, resource: Value) -> Value {
        let kind = resource["resourceType"].as_str().and_then(table::named);
        let (Value::Object(fields), Some(kind)) = (&resource, kind) else { return resource };
        let wanted = |name: &str| match self {
            Self::Whole | Self::Count => true,
            Self::Data => name != "text",
            Self::Summary => kind.summary.contains(&name),
            Self::Text => name == "text",
            // `value` is every `value[x]`.
            Self::Elements(names) => {
                let bare = name.trim_start_matches('_');
                names.iter().any(|element| element == bare || is_choice_of(element, bare))
            }
        };
        let kept = |name: &str| ALWAYS.contains(&name) || kind.mandatory.contains(&name) || wanted(name);
        if fields.keys().all(|name| kept(name)) && !matches!(self, Self::Elements(_) | Self::Summary | Self::Text) {
            return resource;
        }
        let part: Map<String, Value> =
            fields.iter().filter(|(name, _)| kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut part = Value::Object(part);
        part["meta"]["tag"] = json!([{"system": SUBSETTED, "code": "SUBSETTED"}]);
        part
    }
}

fn is_choice_of(element: &str, name: &str) -> bool {
    const CHOICES: [&str; 8] =
        ["value", "effective", "onset", "abatement", "occurrence", "performed", "deceased", "medication"];
    CHOICES.contains(&element)
        && name.strip_prefix(element).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}
