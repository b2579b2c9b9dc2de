//! From rows to events, by mappings as they are shipped.

mod closing;
mod corpus;
mod ended;
mod generations;
mod keyless;
mod labs;
mod language;
mod mapping_files;
mod properties;
mod reading;
mod record_states;
mod released;
mod restarts;
mod schema;
mod stories;
mod support;
mod tables;
mod ways;
mod worked;
