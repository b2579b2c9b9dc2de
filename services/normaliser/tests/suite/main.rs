//! The normaliser's pure core, from rows to events.

mod mapping_files;
mod properties;
mod stories;
mod support;
