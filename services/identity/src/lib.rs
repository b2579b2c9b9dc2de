//! Who is one person: rules over what all sources say of their patients.
//!
//! # Why
//! A verified NHS number with an agreeing date of birth links, unless a forename or sex contradicts; a number whose bearers
//! disagree holds, visibly, until a human decides. A number that two patients of one source bear was given to one of them by
//! mistake, and nobody knows to which: it links nobody, in no source, unless all that they say of themselves agrees.
//!
//! Who has no such number may be linked by what else is said of them, weighed as Fellegi and Sunter do (`score`), where the
//! site has a file of weights. A weight never links who is told apart by a number, a birth date, a forename or a clerk; it
//! asks a clerk instead. What clerks decide outlives every scoring (`partition`).
//!
//! All of it is a function of what is said and decided, so the order in which sources speak does not matter, except for which
//! of its members' own ids a person goes by: the one seen first.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod block;
pub mod compare;
pub mod estimate;
pub mod names;
pub mod number;
pub mod parameters;
pub mod partition;
pub mod score;
pub mod standing;
pub mod weight;
pub mod whole;

use event::LinkStatus;
use names::Name;
pub use number::{BEARERS_MAX, decide_alone, decide_group};
use uuid::Uuid;

/// Reasons, in fixed words. They are for those who mend the sources; clinicians only read that another record is held.
pub mod reason {
    pub const AGREES: &str = "verified NHS number and date of birth agree";
    pub const NO_OTHER: &str = "no other patient has this verified NHS number";
    pub const NO_NUMBER: &str = "no NHS number";
    pub const NOT_VERIFIED: &str = "NHS number not verified";
    pub const WITHDRAWN: &str = "demographics withdrawn";
    pub const DISAGREES: &str = "NHS number agrees but date of birth does not";
    pub const NO_BIRTH_DATE: &str = "NHS number agrees but date of birth is missing";
    pub const ANOTHER: &str = "NHS number and date of birth agree but forename or sex does not";
    pub const SHARED: &str = "two patients of one source have this verified NHS number";
    pub const WEIGHS: &str = "what is said of both weighs enough";
    pub const CLERK: &str = "a clerk linked them";
    pub const SOURCE: &str = "their source says that it merged them";
    pub const KEPT_APART: &str = "a clerk keeps it apart from the others that have this verified NHS number";
    pub const MAYBE: &str = "another record may be of this patient: a clerk decides";
    pub const TOO_MANY: &str = "more patients have this verified NHS number than one person can be";
    pub const TOO_MANY_TOGETHER: &str = "more patients could be one person with it than anybody can look at";
}

/// What is known of one source patient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub source: String,
    /// The source's own key of the patient.
    pub id: String,
    /// The order in which patients were first seen.
    pub seen: i64,
    /// Minted for this patient when it was first seen.
    pub own: Uuid,
    /// Well-formed, and the one that stands now: see `standing`.
    pub nhs_number: Option<String>,
    pub verified: bool,
    /// Days since 1970-01-01.
    pub birth_date: Option<i32>,
    pub name: Name,
    /// FHIR administrative gender, or what the source wrote instead.
    pub gender: Option<String>,
    /// Of the home address, as written.
    pub postcode: Option<String>,
    /// Its source asks that few see it.
    pub confidential: bool,
    pub withdrawn: bool,
}

impl Known {
    /// What names it everywhere, whatever the order of arrival.
    pub fn key(&self) -> (&str, &str) {
        (&self.source, &self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub person: Uuid,
    pub status: LinkStatus,
    pub reason: &'static str,
}

/// The number that a patient can be linked by.
pub fn linking_number(known: &Known) -> Option<&str> {
    known.nhs_number.as_deref().filter(|_| known.verified && !known.withdrawn)
}
