//! The normaliser: a source's log of row changes becomes coded patient events.
//!
//! # Why
//! A mapping says which rows make which records; the fold keeps the rows that joins need and
//! says only what differs from what it said before; coding keeps the source's own words beside
//! what they are known to mean; the linker finds out which source patients are one person.
//! All of that is pure. The shells read a log, produce, and then move the offset.

pub mod coding;
mod commit;
pub mod error;
pub mod fold;
pub mod identity;
mod inherited;
mod left_out;
pub mod linker;
pub mod mapping;
mod missing;
mod progress;
mod publish;
pub mod retell;
pub mod run;
pub mod settings;
mod tell;
mod telling;

pub use error::NormaliserError;
pub use run::run;
pub use settings::{Settings, SourceSettings};
