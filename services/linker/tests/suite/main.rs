//! The linker's tables, on a real PostgreSQL.

mod database;
mod following;
mod poison;

use change::{Lsn, Position};
use event::{Action, Body, Part, PatientEvent, SourcePatient};

/// What a source says of a patient, at this place of its log.
fn demographics(commit: u64, patient: SourcePatient, body: Body) -> PatientEvent {
    PatientEvent {
        patient,
        organisation: "R1V01".into(),
        record: "patient".into(),
        position: Position::new(1, Lsn(commit), 1),
        revision: 1,
        action: Action::Recorded,
        part: Part { index: 1, of: 1 },
        committed_at: 1_700_000_000_000_000,
        snapshot: false,
        entered_at: None,
        effective_at: None,
        body,
        traceparent: None,
        generation: 0,
        confidential: false,
        reread: false,
        incomplete: None,
        effective_precision: None,
        reinterpreted: false,
        participants: Vec::new(),
        location: None,
        made_by: None,
    }
}
