//! Who may do what with whose record: agreements, consent, relations, and the decision over them.
//!
//! # Why
//! Deny by default. A clinician reads a patient's record when one of their teams has a relation to the patient
//! (registration, an open or recent encounter, a referral), or for thirty minutes after breaking the glass with a
//! reason. A relation opens the records of the reader's own organisation; another organisation's records need an
//! agreement that covers the kind, for direct care, today. What none covers is withheld, and what a source marks as
//! confidential never leaves the organisation that holds it: no agreement and no broken glass reaches it.
//!
//! [`decide`] is a pure function over facts that a shell has gathered, so that one table of cases proves every exit. What an
//! exit sends is [`Released`], which is made from a recorded decision and in no other way.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod agreement;
pub mod consent;
mod decision;
mod patient;
mod release;
mod role;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod who_may;

pub use agreement::{Agreement, Purpose};
pub use decision::{Decision, Request, Why, decide};
pub use event::teams::{Team, TeamKind};
pub use patient::{BREAK_GLASS_MINUTES, Contact, ENCOUNTER_GRACE_HOURS_DEFAULT, Grant, Holding, PatientContext};
pub use release::{AboutNobody, Recorded, Released};
pub use role::{Action, Channel, Role};
