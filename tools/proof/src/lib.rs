//! The proofs: what the demo, the tests and the benches check of a running region, and how they report it.
//!
//! # Why
//! An oracle that shares code with what it judges shares its mistakes. So nothing here uses the mappings, the log's
//! reader, the rules or the page's code: the witness is `pg_recvlogical`, rows are compared by SQL written for the
//! purpose, and the doors are used as their users use them.

pub mod access;
pub mod alerts;
pub mod bench;
pub mod checks;
pub mod demo;
pub mod faults;
pub mod live;
pub mod log;
pub mod order;
pub mod report;
pub mod running;
pub mod soak;
pub mod story;
pub mod topic;
pub mod views;
pub mod witness;
