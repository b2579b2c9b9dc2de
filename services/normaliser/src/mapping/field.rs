//! Where a field of an event comes from.

use super::{Condition, Ref};
use std::collections::BTreeMap;

/// How several cells make one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// The first that is there.
    First,
    /// All that are there, with this between them.
    Together(String),
}

#[derive(Clone, Debug)]
pub struct Field {
    pub cells: Vec<Ref>,
    pub take: Take,
    /// Texts that mean nothing here: `9999-12-31`, `0`.
    pub nulls: Vec<String>,
    /// The source's words and ours; an empty word means nothing.
    pub words: BTreeMap<String, String>,
    /// Without `words` to translate it, or a cell that is there.
    pub otherwise: Option<String>,
    /// All must hold, or the field is empty.
    pub when: Vec<Condition>,
}
