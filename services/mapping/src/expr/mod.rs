//! Expressions: what the closed set of keys does not say. `docs/mappings.md`, "Expressions".
//!
//! # Why
//! The syntax is CEL's, read by its crate; what an expression means is told here. The crate's own evaluator cannot be used:
//!
//! - its tree holds numerals as `f64` and `i64`, so `1.50` has lost its zero, and `0.1 + 0.2` its value, before a host's own
//!   number type could see either (here they are taken from the text, at the places that the parser tells);
//! - it checks no types before a row is there, and a mistake is to be told when the mapping is read;
//! - `null == null` is true to it, and nothing equals NULL in a mapping;
//! - its errors carry values, which are the patient's;
//! - it counts no cost.
//!
//! So a tree of our own is made when a mapping is read, with a type at each place. It has no loops: an expression costs
//! what its length says, and text that is made has a limit. A float has no place in it.

mod compile;
mod function;
mod number;
mod run;
#[cfg(test)]
mod tests;

pub use run::Failure;

use super::{Look, Ref};
use change::Value;
use coding::value::Marks;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use std::{borrow::Cow, fmt};

pub(crate) use compile::compile;

/// The longest expression.
pub const EXPR_BYTES_MAX: usize = 1_000;
/// The most operators, cells and constants in one.
pub const NODES_MAX: usize = 200;
/// The longest text that an expression reads or makes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// What a place in an expression gives, beside NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A cell as it stands: text, number, time or truth, as where it is used asks for.
    Cell,
    Text,
    Number,
    Time,
    Truth,
    /// Only NULL.
    Null,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cell => "a cell",
            Self::Text => "text",
            Self::Number => "a number",
            Self::Time => "a time",
            Self::Truth => "true or false",
            Self::Null => "null",
        })
    }
}

/// An expression, checked.
#[derive(Clone, Debug)]
pub struct Expr {
    /// The key it stands at, within its record: `comment`, `value.number`.
    pub key: String,
    /// As it is written.
    pub text: String,
    pub gives: Type,
    /// Every cell that it looks at.
    pub cells: Vec<Ref>,
    node: Node,
    /// The cells that it cannot do without: all but those of which it asks whether they are there.
    needs: Vec<Ref>,
    reading: Reading,
}

/// How cells of text are read.
#[derive(Clone, Debug)]
pub struct Reading {
    pub zone: TimeZone,
    pub marks: Marks,
}

/// An expression that failed on a row, and why. Never the value.
#[derive(Clone, Copy, Debug)]
pub struct Broken<'a> {
    pub expr: &'a Expr,
    pub failure: Failure,
}

#[derive(Clone, Debug)]
enum Node {
    Null,
    Text(String),
    Number(Decimal),
    Truth(bool),
    Cell(Ref),
    /// A text as a time, in one of these formats.
    Formatted(Box<Node>, Vec<String>),
    Call(Op, Vec<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    And,
    Or,
    Not,
    If,
    Present,
    Equal,
    Differs,
    In,
    Less,
    AtMost,
    Add,
    Subtract,
    Multiply,
    Divide,
    DivideTo,
    Negate,
    Round,
    AsText,
    AsNumber,
    AsTime,
    AsTruth,
    IsNumber,
    FirstPresent,
    Join,
    Size,
    StartsWith,
    EndsWith,
    Contains,
    Lower,
    Upper,
    Trim,
    Substring,
    IndexOf,
    Replace,
    Years,
    Days,
}

impl Expr {
    /// The cells that it cannot do without.
    pub fn needs(&self) -> &[Ref] {
        &self.needs
    }

    /// A condition. NULL is no.
    pub fn truth(&self, row: &impl Look) -> Result<bool, Broken<'_>> {
        run::truth(&self.node, row, &self.reading).map_err(|failure| Broken { expr: self, failure })
    }

    /// As `truth`, but what looks at a row that is not there says nothing.
    pub fn stands(&self, row: &impl Look) -> Result<bool, Broken<'_>> {
        if self.needs.iter().all(|at| row.there(*at)) { self.truth(row) } else { Ok(false) }
    }

    /// A value like that of a cell.
    pub fn value<'a>(&'a self, row: &'a impl Look) -> Result<Option<Cow<'a, Value>>, Broken<'a>> {
        run::value(&self.node, row, &self.reading).map_err(|failure| Broken { expr: self, failure })
    }
}
