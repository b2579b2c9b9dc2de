//! Conditions on cells: which rows are deleted, which make which kind.

use super::{
    Broken, Expr, Ref,
    text::{is_number, order, plain},
};
use change::Value;

/// The cells that conditions and expressions look at.
pub trait Look {
    /// None is NULL.
    fn value(&self, at: Ref) -> Option<&Value>;
    /// NULL, or a time that stands for none.
    fn absent(&self, at: Ref) -> bool;
    /// Is the row there that this cell is of?
    fn there(&self, at: Ref) -> bool;

    /// As plain text.
    fn plain(&self, at: Ref) -> Option<String> {
        self.value(at).map(plain)
    }
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

#[derive(Clone, Debug)]
pub enum Condition {
    Cell {
        cell: Ref,
        test: Test,
    },
    /// Any of several.
    Any(Vec<Condition>),
    Expr(Box<Expr>),
}

/// Whether it holds; of an expression that failed, that it did.
pub type Judged<'a> = Result<bool, Broken<'a>>;

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
    pub fn stands(&self, row: &impl Look) -> Judged<'_> {
        match self {
            Self::Cell { cell: at, test: Test::NotIn(_) } if !row.there(*at) => Ok(false),
            Self::Cell { cell: at, test } => Ok(test.holds(row, *at)),
            Self::Any(conditions) => any(conditions.iter().map(|condition| condition.stands(row))),
            Self::Expr(expr) => expr.stands(row),
        }
    }

    pub fn holds(&self, row: &impl Look) -> Judged<'_> {
        match self {
            Self::Cell { cell: at, test } => Ok(test.holds(row, *at)),
            Self::Any(conditions) => any(conditions.iter().map(|condition| condition.holds(row))),
            Self::Expr(expr) => expr.truth(row),
        }
    }
}

/// One that holds is enough; where none does, one that failed leaves it open.
pub fn any<'a>(judged: impl IntoIterator<Item = Judged<'a>>) -> Judged<'a> {
    first(judged, true)
}

/// One that does not hold is enough; where all do, one that failed leaves it open.
pub fn all<'a>(judged: impl IntoIterator<Item = Judged<'a>>) -> Judged<'a> {
    first(judged, false)
}

fn first<'a>(judged: impl IntoIterator<Item = Judged<'a>>, decides: bool) -> Judged<'a> {
    let mut failed = None;
    for judged in judged {
        match judged {
            Ok(yes) if yes == decides => return Ok(decides),
            Ok(_) => {}
            Err(broken) => failed = failed.or(Some(broken)),
        }
    }
    failed.map_or(Ok(!decides), Err)
}
