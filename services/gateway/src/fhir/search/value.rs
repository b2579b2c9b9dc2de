//! What stands at an element of a resource, and whether one value of a search meets it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{
    Prefix, Refused,
    query::{split, unescaped},
};
use crate::page::folded;
use rust_decimal::Decimal;
use serde_json::Value;

/// More digits than a quantity of ours has.
const SCALE_MAX: u32 = 20;

/// Everything at a path: `name.family`, `telecom(system=phone)`. Lists are passed through.
pub fn at<'a>(resource: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![resource];
    for step in path.split('.') {
        let (name, only) = step.split_once('(').map_or((step, None), |(name, only)| (name, only.strip_suffix(')')));
        let only = only.and_then(|only| only.split_once('='));
        let entries = found.into_iter().filter_map(|value| value.get(name)).flat_map(|value| match value {
            Value::Array(list) => list.iter().collect(),
            one => vec![one],
        });
        found = entries.filter(|value| only.is_none_or(|(key, wanted)| value[key] == wanted)).collect();
    }
    found
}

/// `system|code` and its shorter forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// `None`: of any system; empty: of none.
    pub system: Option<String>,
    /// `None`: any code of the system.
    pub code: Option<String>,
}

impl Token {
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let told = |text: &str| (!text.is_empty()).then(|| unescaped(text));
        let token = match split(text, '|').as_slice() {
            [code] => Self { system: None, code: told(code) },
            [system, code] => Self { system: Some(unescaped(system)), code: told(code) },
            _ => return Err(Refused::invalid("a token is system|code; escape a bar within it")),
        };
        if token.code.is_none() && token.system.as_deref().unwrap_or_default().is_empty() {
            return Err(Refused::invalid("a token without a code"));
        }
        Ok(token)
    }

    /// A CodeableConcept, Coding, Identifier, ContactPoint, code or boolean. `system` is that of a code.
    pub fn meets(&self, value: &Value, system: Option<&str>) -> bool {
        match value {
            Value::Object(object) => match object.get("coding").and_then(Value::as_array) {
                Some(codings) => {
                    codings.iter().any(|coding| self.is(coding["system"].as_str(), coding["code"].as_str()))
                }
                None => {
                    let code = object.get("code").or_else(|| object.get("value")).and_then(Value::as_str);
                    self.is(object.get("system").and_then(Value::as_str), code)
                }
            },
            Value::String(code) => self.is(system, Some(code)),
            Value::Bool(yes) => self.is(None, Some(if *yes { "true" } else { "false" })),
            _ => false,
        }
    }

    fn is(&self, system: Option<&str>, code: Option<&str>) -> bool {
        let system_fits = self.system.as_deref().is_none_or(|wanted| wanted == system.unwrap_or_default());
        code.is_some() && system_fits && self.code.as_deref().is_none_or(|wanted| code == Some(wanted))
    }
}

/// Whether the text or a display of a coded thing, or the display of a reference, begins so.
pub fn is_called(value: &Value, words: &str) -> bool {
    let displays = value["coding"].as_array().into_iter().flatten().map(|coding| &coding["display"]);
    let texts = [&value["text"], &value["display"]].into_iter().chain(displays);
    texts.filter_map(Value::as_str).any(|text| folded(text).starts_with(&folded(words)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Starts,
    Contains,
    Exact,
}

/// A string, or any string within it: of a name, of an address.
pub fn has_text(value: &Value, how: How, wanted: &str) -> bool {
    match value {
        Value::String(text) => match how {
            How::Exact => text == wanted,
            How::Contains => folded(text).contains(&folded(wanted)),
            // A name has parts: whoever types `berg` means `van der Berg` too.
            How::Starts => {
                let wanted = folded(wanted);
                let parts = text.split(|c: char| c.is_whitespace() || c == '-');
                folded(text).starts_with(&wanted) || parts.map(folded).any(|part| part.starts_with(&wanted))
            }
        },
        Value::Array(list) => list.iter().any(|one| has_text(one, how, wanted)),
        Value::Object(object) => {
            let words = object.iter().filter(|(key, _)| !matches!(key.as_str(), "use" | "period" | "type"));
            words.into_iter().any(|(_, value)| has_text(value, how, wanted))
        }
        _ => false,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    of: Option<String>,
    id: String,
}

impl Reference {
    /// `Type/id`, `id`, or either at our own address.
    pub fn parse(text: &str, of: Option<&str>, types: &[&str], base: &str) -> Option<Self> {
        let own = text.strip_prefix(base).map_or(text, |rest| rest.trim_start_matches('/'));
        let (kind, id) = match own.split_once('/') {
            Some((kind, id)) => (Some(kind), id),
            None => (of, own),
        };
        let known = kind.is_none_or(|kind| types.contains(&kind)) && (of.is_none() || kind == of);
        let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        (known && plain).then(|| Self { of: kind.map(str::to_owned), id: id.to_owned() })
    }

    pub fn meets(&self, value: &Value) -> bool {
        let told = value["reference"].as_str().and_then(|told| told.split_once('/'));
        told.is_some_and(|(of, id)| id == self.id && self.of.as_deref().is_none_or(|wanted| wanted == of))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    prefix: Prefix,
    number: Decimal,
    /// Half of the last digit that was written.
    half: Decimal,
    system: Option<String>,
    unit: Option<String>,
}

impl Quantity {
    pub fn parse(text: &str) -> Option<Self> {
        let parts = split(text, '|');
        let (prefix, number) = Prefix::of(parts.first()?);
        let number: Decimal = number.parse().ok().or_else(|| Decimal::from_scientific(number).ok())?;
        let told = |part: Option<&String>| part.filter(|text| !text.is_empty()).map(|text| unescaped(text));
        if parts.len() > 3 || number.scale() > SCALE_MAX {
            return None;
        }
        let half = Decimal::new(5, number.scale() + 1);
        Some(Self { prefix, number, half, system: told(parts.get(1)), unit: told(parts.get(2)) })
    }

    pub fn meets(&self, value: &Value) -> bool {
        let text = |key: &str| value[key].as_str();
        let unit = self.unit.as_deref();
        let in_unit = unit.is_none() || text("code") == unit || (self.system.is_none() && text("unit") == unit);
        let of_system = self.system.is_none() || text("system") == self.system.as_deref();
        let number = value["value"].as_number().map(ToString::to_string);
        let number = number.and_then(|text| text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok()));
        in_unit && of_system && number.is_some_and(|number| self.compares(number, text("comparator")))
    }

    /// A value with a comparator may be anything beyond its number: it is found wherever it could be.
    fn compares(&self, value: Decimal, comparator: Option<&str>) -> bool {
        let (below, above) = match comparator {
            Some("<" | "<=") => (true, false),
            Some(">" | ">=") => (false, true),
            _ => (false, false),
        };
        let wanted = self.number;
        let plain = !below && !above;
        let around = |by: Decimal| {
            let from = wanted.checked_sub(by).unwrap_or(Decimal::MIN);
            plain && value >= from && value < wanted.checked_add(by).unwrap_or(Decimal::MAX)
        };
        match self.prefix {
            Prefix::Eq => around(self.half),
            Prefix::Ne => !around(self.half),
            Prefix::Gt | Prefix::Sa => above || value > wanted,
            Prefix::Lt | Prefix::Eb => below || value < wanted,
            Prefix::Ge => above || value >= wanted,
            Prefix::Le => below || value <= wanted,
            Prefix::Ap => around((wanted.abs() / Decimal::TEN).max(self.half)),
        }
    }
}
