//! Who asks, and what they ask to do.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Clinician,
    /// Runs the machinery; sees no patient.
    DataEngineer,
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Clinician, Self::DataEngineer];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clinician => "clinician",
            Self::DataEngineer => "data-engineer",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    pub(crate) const fn may(self, action: Action) -> bool {
        match (self, action) {
            (
                Self::Clinician,
                Action::ViewRecord
                | Action::FindPatient
                | Action::ViewAlerts
                | Action::HandleAlert
                | Action::BreakGlass,
            )
            | (Self::DataEngineer, Action::ViewStatus) => true,
            (Self::Clinician, Action::ViewStatus) | (Self::DataEngineer, _) => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One patient's record, on the page or over FHIR.
    ViewRecord,
    /// One patient in a list of results.
    FindPatient,
    /// One alert; the patient context is that of the alert's source.
    ViewAlerts,
    HandleAlert,
    BreakGlass,
    /// Freshness and quarantine counts: no patient.
    ViewStatus,
}

impl Action {
    pub const ALL: [Self; 6] =
        [Self::ViewRecord, Self::FindPatient, Self::ViewAlerts, Self::HandleAlert, Self::BreakGlass, Self::ViewStatus];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewRecord => "view-record",
            Self::FindPatient => "find-patient",
            Self::ViewAlerts => "view-alerts",
            Self::HandleAlert => "handle-alert",
            Self::BreakGlass => "break-glass",
            Self::ViewStatus => "view-status",
        }
    }

    /// Whether a relation to the patient is asked for, and the records of others are weighed.
    pub(crate) const fn needs_relation(self) -> bool {
        matches!(self, Self::ViewRecord | Self::FindPatient)
    }
}
