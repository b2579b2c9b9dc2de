//! What one part promises to the next, on real components.

mod capture;
mod capture_edges;
mod capture_edges_large;
mod capture_edges_published;
mod capture_edges_rows;
mod capture_edges_tables;
mod capture_edges_transactions;
mod capture_encodings;
mod capture_idle;
mod capture_keys;
mod capture_partitions;
mod capture_reading;
mod capture_schema;
mod capture_security;
mod capture_shapes;
mod capture_signal;
mod capture_slot;
mod capture_snapshot;
pub mod capture_stack;
mod capture_types;
mod capture_types_any;
mod capture_types_cases;
mod capture_upkeep;
mod mapping_tools;
mod topics_lost;
