//! What a data engineer who writes a mapping works with: a first draft, how it fits a database, cases that it has to
//! pass, what it leaves out, and how one record came to be.
//!
//! # Why
//! A mapping is checked by what it makes of rows. Everything here is a function of texts, rows and descriptions of tables;
//! whoever calls it reads the files and asks the databases.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod cases;
pub mod coverage;
pub mod draft;
pub mod explain;
pub mod fit;
pub mod sample;
pub mod uses;

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod schema_text;
