//! Conditions on cells: which rows are deleted, which make which kind.

use super::{
    Ref,
    text::{is_number, order},
};

/// The cells that conditions look at.
pub trait Look {
    /// As plain text; none is NULL.
    fn plain(&self, at: Ref) -> Option<String>;
    /// NULL, or a time that stands for none.
    fn absent(&self, at: Ref) -> bool;
    /// Is the row there that this cell is of?
    fn there(&self, at: Ref) -> bool;
}

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
    fn holds(&self, row: &impl Look, at: Ref) -> bool {
        let one_of = |words: &[String]| row.plain(at).is_some_and(|text| words.contains(&text));
        match self {
            Self::In(words) => one_of(words),
            Self::NotIn(words) => !one_of(words),
            Self::Present => !row.absent(at),
            Self::Absent => row.absent(at),
            Self::Above(least) => row.plain(at).is_some_and(|text| {
                is_number(&text) && order(&text, &least.to_string()) == std::cmp::Ordering::Greater
            }),
        }
    }
}

impl Condition {
    /// For what takes a record away or asserts something: as `holds`, but a row that is not there says nothing.
    /// Only `present = false` holds of it.
    pub fn stands(&self, row: &impl Look) -> bool {
        match self {
            Self::Cell { cell: at, test: Test::NotIn(_) } if !row.there(*at) => false,
            Self::Cell { .. } => self.holds(row),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.stands(row)),
        }
    }

    pub fn holds(&self, row: &impl Look) -> bool {
        match self {
            Self::Cell { cell: at, test } => test.holds(row, *at),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(row)),
        }
    }
}
