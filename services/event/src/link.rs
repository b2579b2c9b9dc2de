//! Identity links: which person a source patient is, versioned.

use crate::{Micros, SourcePatient};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkStatus {
    /// One person with others: by a verified NHS number, by weight, by a clerk or by its source.
    Linked,
    /// Nothing to link by: a person of its own.
    Alone,
    /// The number agrees but date of birth, forename or sex does not, or two patients of one source bear it, or what is said
    /// of another may be said of it: kept apart until a human decides.
    Held,
}

impl LinkStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Alone => "alone",
            Self::Held => "held",
        }
    }
}

/// One version of one source patient's link. A later version replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub patient: SourcePatient,
    pub person: Uuid,
    /// Grows by one with each change of this patient's link, from 1.
    pub version: u32,
    pub status: LinkStatus,
    /// Why, in fixed words without patient data.
    pub reason: String,
    pub decided_at: Micros,
    /// Of a link, since links tell it.
    pub evidence: Option<LinkEvidence>,
}

/// What a link rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvidence {
    /// must-link, source-merge, number or weight.
    pub rule: String,
    /// The patient that it was joined to.
    pub other: SourcePatient,
    /// In thousandths of a bit.
    pub weight: Option<i32>,
    /// The version of the weights.
    pub parameters: Option<String>,
}
