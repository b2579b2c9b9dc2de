//! Who asks, what they ask to do, and through which door.
//!
//! What a role may do at all stands here, and nowhere else; whose record, and which kinds of it, is decided by relation,
//! agreement and consent. `tests/who_may/table.md` says the whole of it as a table for people.

use event::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Clinician,
    /// Reception and administration of a general practice.
    PracticeStaff,
    Pharmacist,
    SocialCare,
    CommunityNurse,
    /// Of their own record. The record itself is shown to no patient yet: nothing here knows what is not for them to read.
    Patient,
    /// Sees who has looked, and no record.
    PrivacyOfficer,
    /// Runs the machinery; sees no patient.
    DataEngineer,
    /// Sees how the machinery stands; no patient.
    SafetyOfficer,
    /// Decides which records are of one person: sees who they say they are, and no record.
    DataQuality,
    /// A service that receives events under an agreement.
    Subscriber,
}

impl Role {
    pub const ALL: [Self; 11] = [
        Self::Clinician,
        Self::PracticeStaff,
        Self::Pharmacist,
        Self::SocialCare,
        Self::CommunityNurse,
        Self::Patient,
        Self::PrivacyOfficer,
        Self::DataEngineer,
        Self::SafetyOfficer,
        Self::DataQuality,
        Self::Subscriber,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clinician => "clinician",
            Self::PracticeStaff => "practice-staff",
            Self::Pharmacist => "pharmacist",
            Self::SocialCare => "social-care",
            Self::CommunityNurse => "community-nurse",
            Self::Patient => "patient",
            Self::PrivacyOfficer => "privacy-officer",
            Self::DataEngineer => "data-engineer",
            Self::SafetyOfficer => "safety-officer",
            Self::DataQuality => "data-quality",
            Self::Subscriber => "subscriber",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// The doors through which the role may do it; none, unless it is named here.
    const fn doors(self, action: Action) -> &'static [Channel] {
        use Channel::{Cli, Fhir, Page, Stream, Topic, Webhook};
        match (self, action) {
            (
                Self::Clinician | Self::CommunityNurse | Self::Pharmacist | Self::SocialCare,
                Action::ViewRecord | Action::FindPatient,
            ) => &[Page, Fhir],
            (Self::PracticeStaff, Action::ViewRecord | Action::FindPatient) => &[Page],
            (Self::Clinician | Self::CommunityNurse, Action::ViewAlerts) => &[Page, Stream],
            (Self::Clinician | Self::CommunityNurse, Action::HandleAlert)
            | (Self::Clinician, Action::BreakGlass)
            | (Self::Patient, Action::ViewAccesses)
            | (Self::SafetyOfficer, Action::ViewStatus) => &[Page],
            (Self::PrivacyOfficer, Action::ViewAccesses) => &[Page, Fhir, Cli],
            (Self::DataEngineer, Action::ViewStatus) | (Self::DataQuality, Action::LinkPatients) => &[Page, Cli],
            (Self::DataEngineer, Action::ViewQuarantined) => &[Cli],
            (Self::Subscriber, Action::Receive) => &[Topic, Webhook],
            _ => &[],
        }
    }

    pub(crate) fn may(self, action: Action, channel: Channel) -> bool {
        self.doors(action).contains(&channel)
    }

    /// Whether it may do so through some door.
    pub(crate) fn may_at_all(self, action: Action) -> bool {
        !self.doors(action).is_empty()
    }

    /// What the work needs to know. Of these, what relation, agreement and consent allow.
    pub(crate) const fn sees(self, kind: Kind) -> bool {
        match self {
            Self::Clinician | Self::CommunityNurse | Self::Subscriber => true,
            Self::Pharmacist => matches!(
                kind,
                Kind::Demographics
                    | Kind::Observation
                    | Kind::Medication
                    | Kind::Allergy
                    | Kind::Condition
                    | Kind::Flag
                    | Kind::Supply
            ),
            Self::SocialCare => {
                matches!(kind, Kind::Demographics | Kind::Encounter | Kind::Appointment | Kind::Referral | Kind::Flag)
            }
            Self::PracticeStaff => {
                matches!(kind, Kind::Demographics | Kind::Encounter | Kind::Appointment | Kind::Referral)
            }
            Self::Patient | Self::PrivacyOfficer | Self::DataEngineer | Self::SafetyOfficer | Self::DataQuality => {
                false
            }
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
    /// Who has looked at a patient's record.
    ViewAccesses,
    /// What could not be put into the record, as its source wrote it.
    ViewQuarantined,
    /// Who two patients say they are, and whether they are one person.
    LinkPatients,
    /// Events of a patient, as they happen.
    Receive,
}

impl Action {
    pub const ALL: [Self; 10] = [
        Self::ViewRecord,
        Self::FindPatient,
        Self::ViewAlerts,
        Self::HandleAlert,
        Self::BreakGlass,
        Self::ViewStatus,
        Self::ViewAccesses,
        Self::ViewQuarantined,
        Self::LinkPatients,
        Self::Receive,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewRecord => "view-record",
            Self::FindPatient => "find-patient",
            Self::ViewAlerts => "view-alerts",
            Self::HandleAlert => "handle-alert",
            Self::BreakGlass => "break-glass",
            Self::ViewStatus => "view-status",
            Self::ViewAccesses => "view-accesses",
            Self::ViewQuarantined => "view-quarantined",
            Self::LinkPatients => "link-patients",
            Self::Receive => "receive",
        }
    }
}

/// The door through which something would leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Pages, and the JSON that scripts of a reader ask for.
    Page,
    Fhir,
    /// Live events (SSE).
    Stream,
    Webhook,
    Topic,
    /// The command line.
    Cli,
}

impl Channel {
    pub const ALL: [Self; 6] = [Self::Page, Self::Fhir, Self::Stream, Self::Webhook, Self::Topic, Self::Cli];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Fhir => "fhir",
            Self::Stream => "stream",
            Self::Webhook => "webhook",
            Self::Topic => "topic",
            Self::Cli => "cli",
        }
    }
}
