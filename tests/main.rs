//! Tests that need more than one crate, or the real components.
//!
//! One binary, a folder for each group: `./run test recovery` runs one of them.

mod browser;
mod compose;
mod connect;
mod contract;
mod end_to_end;
mod recovery;
mod terminology;
mod tidy;
