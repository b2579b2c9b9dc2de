//! The normaliser's pure core, from rows to events.

mod keyless;
mod language;
mod mapping_files;
mod properties;
mod record_states;
mod stories;
mod support;
