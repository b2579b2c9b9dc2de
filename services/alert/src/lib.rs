//! What a site's rules make of a result: which alerts it demands, how loudly, and in which words.
//!
//! # Why
//! The sink raises alerts with all that the record holds; the gateway judges anew with what one reader may see. Both ask
//! here, so that they cannot disagree. Pure and total: no clock, no IO, and nothing that a result says can make it fail.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod egfr;
pub mod escalation;
pub mod facts;
pub mod judgement;
pub mod limits;
pub mod routing;
pub mod rules;

pub use facts::{Facts, Finding, Known};
pub use judgement::{Judgement, Level};
pub use limits::Limits;
pub use rules::{Demand, Rule, Severity, urgency::Urgency};
