//! Terminology: loaders of the official release formats, and a read-only index of what they say.
//!
//! # Why
//! A terminology server walks its hierarchy for each question, and is a server. Rules ask a million times, so a release
//! is one file: identifiers in order, concepts numbered so that ancestors come before their descendants, all ancestors of
//! each as a list, and every other table sorted. It is read at once and never written to; two releases are two files,
//! and a switch between them is a replay. Nothing of a release is shipped here: its files are the site's own.
//!
//! Everything but [`folder`] is a function of bytes that it is given.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod build;
mod container;
mod dmd;
mod draft;
pub mod folder;
mod hierarchy;
pub mod history;
mod lists;
pub mod loinc;
pub mod mistake;
pub mod read_maps;
mod release;
pub mod rf2;
pub mod sctid;
mod search;
pub mod sets;
mod table;
mod words;

pub use build::{About, Held, LoincEntry, build};
pub use container::{FORMAT, Header, Input, Refused};
pub use dmd::{Kind as ProductKind, Product};
pub use draft::Draft;
pub use loinc::{Term as LoincTerm, is_code as is_loinc};
pub use release::{Medicine, Name, Ordinal, Release};
pub use search::{FOUND_MAX, Found};
