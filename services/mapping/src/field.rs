//! Where a field of an event comes from.

use super::{Condition, Expr, Ref};
use jiff::{civil::Date, tz::TimeZone};
use std::collections::BTreeMap;

/// How several cells make one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// The first that is there.
    First,
    /// All that are there, with this between them.
    Together(String),
}

/// The answer for words that nobody listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// As its source wrote it.
    #[default]
    AsWritten,
    /// This word; an empty one means nothing.
    Word(String),
}

/// What a field says of a state that has a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A word that the mapping names.
    Listed(String),
    /// The source's own, which the mapping does not list.
    Unlisted(String),
    Nothing,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub cells: Vec<Ref>,
    /// What is said instead of a cell.
    pub expr: Option<Box<Expr>>,
    pub take: Take,
    /// Texts that mean nothing here: `9999-12-31`, `0`.
    pub nulls: Vec<String>,
    /// Those of them that are days: as such they mean nothing at any time and in any zone.
    pub null_days: Vec<Date>,
    /// How times are written in columns of text and numbers: `%d/%m/%Y`. Without one, as ISO 8601 has it.
    pub formats: Vec<String>,
    /// The source's words and ours; an empty word means nothing.
    pub words: BTreeMap<String, String>,
    /// What a word that `words` does not list becomes.
    pub rest: Rest,
    /// Without `words` to translate it, or a cell that is there.
    pub otherwise: Option<String>,
    /// The zone of its times that have none, where it is not the file's.
    pub zone: Option<TimeZone>,
    /// All must hold, or the field is empty.
    pub when: Vec<Condition>,
    /// What to ask where this one says nothing.
    pub or_else: Option<Box<Field>>,
}

impl Field {
    /// This field, and those that are asked where it says nothing.
    pub fn each(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |field| field.or_else.as_deref())
    }

    /// Does it say what a row says, and not always the same?
    pub fn is_of_row(&self) -> bool {
        self.each().any(|field| !field.cells.is_empty() || field.expr.is_some())
    }
}
