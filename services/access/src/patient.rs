//! What access depends on, of one patient. No clinical content.

use event::{Kind, Micros};

/// How long a broken glass stays open.
pub const BREAK_GLASS_MINUTES: i64 = 30;
/// How long after an encounter or referral ended its team still sees the patient.
pub const ENCOUNTER_GRACE_HOURS_DEFAULT: u32 = 72;

/// An encounter or referral of the patient with a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub team: String,
    pub ended_at: Option<Micros>,
    pub referral: bool,
}

/// What an organisation holds of the patient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub organisation: String,
    pub kinds: Vec<Kind>,
    /// Kinds of which it marks some record, or the whole patient, as confidential.
    pub confidential: Vec<Kind>,
}

/// What access depends on, of one patient. Holds no clinical content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatientContext {
    /// ODS codes of the practices that the patient is registered with.
    pub registered: Vec<String>,
    pub contacts: Vec<Contact>,
    pub holdings: Vec<Holding>,
    /// The patient objects to sharing between organisations.
    pub objection: bool,
    /// A national data opt-out or a type 1 objection: for uses beyond the patient's own care, and for no others.
    pub opted_out: bool,
    /// Of an alert: the teams it was routed to.
    pub recipients: Vec<String>,
}

/// A glass this actor broke for this patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub reason: String,
    pub from: Micros,
    pub until: Micros,
}
