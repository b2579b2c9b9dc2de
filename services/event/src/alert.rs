//! What `patient.alerts` tells of an alert: that something happened to it, and to whom it went.

use crate::{Micros, SourcePatient};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertChange {
    Raised,
    Seen,
    Acknowledged,
    /// The result was taken back or corrected, or is no longer this person's.
    Withdrawn,
    /// Further teams receive it.
    Routed,
    /// A team is asked to act: no other has in time, or it was handed over.
    Escalated,
}

impl AlertChange {
    pub const ALL: [Self; 6] =
        [Self::Raised, Self::Seen, Self::Acknowledged, Self::Withdrawn, Self::Routed, Self::Escalated];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Seen => "seen",
            Self::Acknowledged => "acknowledged",
            Self::Withdrawn => "withdrawn",
            Self::Routed => "routed",
            Self::Escalated => "escalated",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.as_str() == text)
    }
}

/// One change of one alert. No clinical content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatientAlert {
    /// Of this change; the same id is the same change, told again.
    pub id: i64,
    pub alert: Uuid,
    pub change: AlertChange,
    pub patient: SourcePatient,
    pub teams: Vec<String>,
    pub rule: String,
    pub severity: String,
    pub urgency: String,
    /// After the change.
    pub state: String,
    pub at: Micros,
}
