//! Conditions on cells: which rows are deleted, which make which kind.

use super::{
    Ref,
    text::{is_number, order},
};

/// What must hold of one cell, compared as plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Equals one of these. NULL equals none.
    In(Vec<String>),
    /// Equals none of these. NULL does.
    NotIn(Vec<String>),
    Present,
    Absent,
    /// A number greater than this.
    Above(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Cell {
        cell: Ref,
        test: Test,
    },
    /// Any of several.
    Any(Vec<Condition>),
}

impl Test {
    /// `text` is the cell as plain text; none is NULL.
    pub fn holds(&self, text: Option<&str>) -> bool {
        match self {
            Self::In(words) => text.is_some_and(|text| words.iter().any(|word| word == text)),
            Self::NotIn(words) => !text.is_some_and(|text| words.iter().any(|word| word == text)),
            Self::Present => text.is_some(),
            Self::Absent => text.is_none(),
            Self::Above(least) => text
                .is_some_and(|text| is_number(text) && order(text, &least.to_string()) == std::cmp::Ordering::Greater),
        }
    }
}

impl Condition {
    /// For what takes a record away or asserts something: as `holds`, but a row that is not there says nothing.
    /// Only `present = false` holds of it.
    pub fn stands(&self, cell: &impl Fn(Ref) -> Option<String>, there: &impl Fn(Ref) -> bool) -> bool {
        match self {
            Self::Cell { cell: at, test: Test::NotIn(_) } if !there(*at) => false,
            Self::Cell { .. } => self.holds(cell),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.stands(cell, there)),
        }
    }

    /// `cell` gives a cell as plain text.
    pub fn holds(&self, cell: &impl Fn(Ref) -> Option<String>) -> bool {
        match self {
            Self::Cell { cell: at, test } => test.holds(cell(*at).as_deref()),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(cell)),
        }
    }
}
