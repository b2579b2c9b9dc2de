//! In which order the answer stands, and where in it a page begins.
//!
//! # Why
//! A page begins after what the page before ended with, not after so many: what is added or taken away meanwhile moves
//! nothing, so that what did not change is told once, and not twice or never.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{Refused, date, value};
use crate::fhir::table::{By, Parameter, Type};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;

/// No cursor of ours is longer.
const CURSOR_BYTES_MAX: usize = 1_024;
const CHECK_BYTES: usize = 12;
const SORTS_MAX: usize = 4;

/// What is sorted by, one after the other. What lacks it comes last, whichever way it is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order(Vec<Sort>);

#[derive(Clone, Debug)]
struct Sort {
    /// None: by id.
    by: Option<&'static Parameter>,
    descending: bool,
}

impl PartialEq for Sort {
    fn eq(&self, other: &Self) -> bool {
        self.by.map(|by| by.name) == other.by.map(|by| by.name) && self.descending == other.descending
    }
}

impl Eq for Sort {}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    Number(i64),
    Text(String),
}

/// Where something stands in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub keys: Vec<Option<Key>>,
    pub id: String,
}

/// The place of the last thing on the page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Place);

impl Order {
    pub fn parse(of: &Type, text: Option<&str>) -> Result<Self, Refused> {
        let sort = |name: &str| {
            let (name, descending) = name.strip_prefix('-').map_or((name, false), |name| (name, true));
            if name == "_id" {
                return Ok(Sort { by: None, descending });
            }
            let by = of.parameter(name).filter(|parameter| parameter.by == By::Date);
            let refused = || Refused::unsupported("_sort is by _id and by parameters that are dates");
            Ok(Sort { by: Some(by.ok_or_else(refused)?), descending })
        };
        let all = text.into_iter().flat_map(|text| text.split(',')).map(sort).collect::<Result<Vec<_>, _>>()?;
        if all.len() > SORTS_MAX {
            return Err(Refused::costly("too many parameters to sort by"));
        }
        Ok(Self(all))
    }

    /// Whether the client leaves the order to us.
    pub fn is_ours(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys of one resource. Where the order is ours, `newest` are they.
    pub fn place(&self, resource: &Value, id: &str, newest: &[Option<i64>]) -> Place {
        let keys = if self.is_ours() {
            newest.iter().map(|at| at.map(Key::Number)).collect()
        } else {
            self.0.iter().map(|sort| sort.key(resource, id)).collect()
        };
        Place { keys, id: id.to_owned() }
    }

    pub fn compare(&self, one: &Place, two: &Place) -> Ordering {
        let each = one.keys.iter().zip(&two.keys).enumerate().map(|(at, keys)| {
            // The newest first.
            let descending = self.0.get(at).is_none_or(|sort| sort.descending);
            match keys {
                (Some(one), Some(two)) if descending => two.cmp(one),
                (Some(one), Some(two)) => one.cmp(two),
                (one, two) => two.is_some().cmp(&one.is_some()),
            }
        });
        each.fold(Ordering::Equal, Ordering::then).then_with(|| one.id.cmp(&two.id))
    }
}

impl Sort {
    fn key(&self, resource: &Value, id: &str) -> Option<Key> {
        let Some(by) = self.by else { return Some(Key::Text(id.to_owned())) };
        let ranges = by.at.iter().flat_map(|path| value::at(resource, path)).filter_map(date::of);
        let at = ranges.map(|range| if self.descending { range.until } else { range.from });
        (if self.descending { at.max() } else { at.min() }).map(Key::Number)
    }
}

impl Cursor {
    /// As it stands in a link. It goes with one question, and with no other.
    pub fn text(&self, question: &str) -> String {
        let place = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut bytes = check(&place, question).to_vec();
        bytes.extend(place);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn parse(text: &str, question: &str, order: &Order) -> Result<Self, Refused> {
        let refused = || Refused::invalid("_cursor is none of ours, or of another search");
        if text.len() > CURSOR_BYTES_MAX {
            return Err(refused());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let (told, place) = bytes.split_at_checked(CHECK_BYTES).ok_or_else(refused)?;
        if told != check(place, question) {
            return Err(refused());
        }
        let place: Place = serde_json::from_slice(place).map_err(|_| refused())?;
        let fits = order.is_ours() || place.keys.len() == order.0.len();
        if fits { Ok(Self(place)) } else { Err(refused()) }
    }
}

/// Against a cursor that was cut, changed by mistake, or taken to another search. It keeps no secret: whoever forges one
/// begins elsewhere in their own answer.
fn check(place: &[u8], question: &str) -> [u8; CHECK_BYTES] {
    let mut digest = Sha256::new();
    digest.update(b"causeway cursor 1\0");
    digest.update(question.as_bytes());
    digest.update([0]);
    digest.update(place);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest.finalize()[..CHECK_BYTES]);
    check
}
