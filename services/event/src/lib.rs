//! The words of the clinical side: a coded patient event, its codes and quantities,
//! NHS numbers and identity links.
//!
//! # Why
//! `patient.events` is the one contract between the normaliser, the sinks and the gateway. Each kind of record is one table
//! of fields, from which codec, schema, canonical form, mapping keys and views follow (`kinds`).
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod alert;
pub mod avro;
pub mod body;
pub mod canonical;
pub mod cloud_events;
pub mod datum;
mod kinds;
pub mod link;
pub mod nhs_number;
pub mod place;
pub mod precision;
pub mod quarantined;
pub mod teams;

pub use alert::{AlertChange, PatientAlert};
pub use body::*;
pub use datum::{Fields, Shape, Told};
pub use kinds::*;
pub use link::{Link, LinkEvidence, LinkStatus};
pub use nhs_number::NhsNumber;
pub use place::Place;
pub use precision::{PartialDate, Precision};
pub use quarantined::Quarantined;
pub use teams::{Team, TeamKind, Teams};

use change::Position;

/// Microseconds since 1970-01-01T00:00Z.
pub type Micros = i64;

/// A patient as one source knows them: `riverside/8f3c…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePatient {
    pub source: String,
    /// The source's own patient key, as text.
    pub id: String,
}

impl std::fmt::Display for SourcePatient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.source, self.id)
    }
}

/// Logs never name a patient.
impl std::fmt::Debug for SourcePatient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourcePatient({}/hidden)", self.source)
    }
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    Recorded,
    /// The source said something else about the same record before.
    Corrected,
    /// The source took it back: deleted, voided, or moved to another patient.
    Retracted,
}

impl Action {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Corrected => "corrected",
            Self::Retracted => "retracted",
        }
    }
}

/// The events that one transaction makes for one patient: `index` of `of`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    pub index: u32,
    pub of: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PatientEvent {
    pub patient: SourcePatient,
    /// Who holds the record: the organisation's ODS code.
    pub organisation: String,
    /// The record within its source: `observation/4711`. Never reused for another thing.
    pub record: String,
    pub position: Position,
    /// Of the mapping and terminology that made this event. Provenance: it orders only what generation 0 told.
    pub revision: u32,
    pub action: Action,
    pub part: Part,
    /// When the source committed it.
    pub committed_at: Micros,
    /// Read by a snapshot (go-live), not seen as it happened.
    pub snapshot: bool,
    /// When somebody typed it in, if the source tells.
    pub entered_at: Option<Micros>,
    /// When it was so: the sample taken, the medicine started.
    pub effective_at: Option<Micros>,
    /// Of a retraction: the kind alone says what is taken back; the fields are empty.
    pub body: Body,
    pub traceparent: Option<String>,
    /// One life of the source's log under one revision: see [`Place`].
    pub generation: u32,
    /// Its source marks it as confidential or sensitive; of demographics: the whole patient.
    pub confidential: bool,
    /// Read by a snapshot that was not its table's first: it may be first seen now although nothing goes live.
    pub reread: bool,
    /// What it lacks because a table that it is joined to is still being read.
    pub incomplete: Option<String>,
    /// How exactly `effective_at` is known: it is the first moment of that year, month or day. None: as it is written.
    pub effective_precision: Option<Precision>,
    /// Its source has not touched the record since it was last told: what differs is how it is understood.
    pub reinterpreted: bool,
    /// Who had a part in it: recorded it, performed it, asked for it.
    pub participants: Vec<Participant>,
    /// Where, as its source calls it.
    pub location: Option<String>,
    /// None of what was made before events said so.
    pub made_by: Option<MadeBy>,
}

impl PatientEvent {
    /// Names one event: source, generation, position, record, kind and action. A record that moves to another patient is
    /// taken back and recorded at one position.
    ///
    /// In generation 0 as before there were generations (position, record, kind, revision, and whether it is taken back):
    /// a region that is upgraded knows what it has told by these ids.
    pub fn id(&self) -> String {
        let Self { generation, position, record, revision, action, .. } = self;
        let (source, kind) = (&self.patient.source, self.body.kind());
        if *generation > 0 {
            return format!("{source}:{generation}:{position}:{record}:{kind}:{}", action.as_str());
        }
        let end = if *action == Action::Retracted { ":retracted" } else { "" };
        format!("{source}:{position}:{record}:{kind}:{revision}{end}")
    }

    /// Where it stands in the order of its record.
    pub const fn place(&self) -> Place {
        Place { generation: self.generation, position: self.position }
    }
}
