//! What was expected, and what came.

use super::Entry;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It was expected and did not come.
    Missing(Entry),
    /// It came and was not expected.
    Unexpected(Entry),
    /// By field: what was expected, and what it says.
    Fields { about: String, fields: Vec<(String, Option<String>, Option<String>)> },
    /// All came, one by one as expected, in another order: the order in which they came.
    Order(Vec<String>),
}

/// None: what came is what was expected, in that order.
pub fn differences(expected: &[Entry], got: &[Entry]) -> Vec<Difference> {
    let mut left: Vec<&Entry> = got.iter().collect();
    let mut all = Vec::new();
    let mut order = Vec::new();
    for entry in expected {
        let Some(place) = left.iter().position(|other| other.is_of(entry)) else {
            all.push(Difference::Missing(entry.clone()));
            continue;
        };
        let came = left.remove(place);
        order.push(got.iter().position(|other| std::ptr::eq(other, came)));
        let fields = fields(entry, came);
        if !fields.is_empty() {
            all.push(Difference::Fields { about: entry.about.clone(), fields });
        }
    }
    all.extend(left.into_iter().cloned().map(Difference::Unexpected));
    if all.is_empty() && !order.is_sorted() {
        all.push(Difference::Order(got.iter().map(Entry::headline).collect()));
    }
    all
}

fn fields(expected: &Entry, got: &Entry) -> Vec<(String, Option<String>, Option<String>)> {
    let value = |entry: &Entry, name: &str| {
        entry.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let mut names: Vec<&str> = expected.fields.iter().map(|(name, _)| name.as_str()).collect();
    names.extend(got.fields.iter().map(|(name, _)| name.as_str()).filter(|name| value(expected, name).is_none()));
    let each = names.into_iter().map(|name| (name.to_owned(), value(expected, name), value(got, name)));
    let action = ("action".to_owned(), Some(expected.what.clone()), Some(got.what.clone()));
    std::iter::once(action).chain(each).filter(|(_, expected, got)| expected != got).collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(entry) => write!(f, "did not come:  {}", entry.headline()),
            Self::Unexpected(entry) => {
                write!(f, "not expected:  {}", entry.headline())?;
                entry.fields.iter().try_for_each(|(name, value)| write!(f, "\n    {name} = {value}"))
            }
            Self::Fields { about, fields } => {
                write!(f, "differs:       {about}")?;
                let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
                fields.iter().try_for_each(|(name, expected, got)| {
                    write!(f, "\n    {name}\n      expected {}\n      got      {}", said(expected), said(got))
                })
            }
            Self::Order(came) => {
                write!(f, "came in another order:")?;
                came.iter().try_for_each(|headline| write!(f, "\n    {headline}"))
            }
        }
    }
}
