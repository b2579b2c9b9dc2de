//! Whether a medicine is being taken or given, as far as its source tells.

use event::Micros;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    Current,
    /// Not given now, and not stopped.
    Suspended,
    /// Somebody stopped it.
    Stopped,
    /// It came to its end, or its source no longer has it as active.
    Ended,
}

impl Taking {
    /// What stands beside a medicine that is not current.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Current => None,
            Self::Suspended => Some("suspended: not being given"),
            Self::Stopped => Some("stopped"),
            Self::Ended => Some("ended"),
        }
    }
}

/// The words are FHIR's `MedicationRequest.status`. A status that takes a medicine away wins over everything; one that
/// does not is still bound by the dates.
pub fn taking(status: Option<&str>, active: bool, ended_at: Option<Micros>, now: Micros) -> Taking {
    let ended = ended_at.is_some_and(|at| at <= now);
    match status {
        Some("stopped" | "cancelled" | "entered-in-error") => Taking::Stopped,
        Some("completed" | "draft") => Taking::Ended,
        Some("on-hold") if !ended => Taking::Suspended,
        _ if ended || !active => Taking::Ended,
        _ => Taking::Current,
    }
}

/// A status that is none of FHIR's: its medicine is judged by its dates, and it is shown.
pub fn status_not_understood(status: Option<&str>) -> Option<&str> {
    let known = ["active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft"];
    status.filter(|status| !known.contains(status))
}
