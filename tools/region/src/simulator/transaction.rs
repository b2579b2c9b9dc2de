//! One transaction to be: its statements, and what they change.

use crate::row::{self, Cell, Row};
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Insert,
    Update,
    Delete,
}

impl Operation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Statements that are sent together and so commit together.
#[derive(Default)]
pub struct Transaction {
    sql: String,
    changes: Vec<(&'static str, Operation)>,
}

impl Transaction {
    pub fn insert<R: Row>(&mut self, new: &R) {
        self.add(R::TABLE, Operation::Insert, &row::insert(new));
    }

    pub fn update<R: Row>(&mut self, key: &impl Cell, sets: &[(&str, Option<Cow<'_, str>>)]) {
        self.add(R::TABLE, Operation::Update, &row::update::<R>(key, sets));
    }

    /// EMIS's deletion: an update that blanks the row.
    pub fn blank<R: Row>(&mut self, key: &impl Cell) {
        self.add(R::TABLE, Operation::Update, &row::blank::<R>(key));
    }

    pub fn delete<R: Row>(&mut self, key: &impl Cell) {
        self.add(R::TABLE, Operation::Delete, &row::delete::<R>(key));
    }

    /// A statement that is meant to change one row.
    pub fn add(&mut self, table: &'static str, operation: Operation, sql: &str) {
        self.sql.push_str(sql);
        self.changes.push((table, operation));
    }

    pub fn sql(&self) -> &str {
        &self.sql
    }

    pub fn changes(&self) -> &[(&'static str, Operation)] {
        &self.changes
    }
}
