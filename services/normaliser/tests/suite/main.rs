//! The normaliser's pure core, from rows to events.

mod closing;
mod generations;
mod keyless;
mod language;
mod mapping_files;
mod properties;
mod reading;
mod record_states;
mod stories;
mod support;
