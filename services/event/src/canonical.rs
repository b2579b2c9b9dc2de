//! What an event says of its record, without how it came about: the form by which "the same" is judged.
//!
//! # Why
//! The form is its own, not Avro's: a field that the schema gains is left out of it while it holds its default, so that
//! an upgrade that changes no meaning finds everything as it was. Generation, revision, position, part, action, times of
//! commit, `snapshot`, `reread`, `reinterpreted`, `traceparent`, `made_by`, and by which release of a map a code was found say
//! how an event came about, and are not in it.
//!
//! Each field that says something is written as its name, its length and what it says. A name is never given to another
//! field; a changed form takes another `VERSION`.

use crate::{
    PatientEvent,
    datum::{form, named},
};

pub const VERSION: u8 = 2;

/// Appends the canonical form of what the event says.
pub fn write(event: &PatientEvent, out: &mut Vec<u8>) {
    // Every field is named: a new one has to be decided about here.
    let PatientEvent {
        patient,
        organisation,
        record,
        entered_at,
        effective_at,
        body,
        confidential,
        incomplete,
        position: _,
        revision: _,
        action: _,
        part: _,
        committed_at: _,
        snapshot: _,
        traceparent: _,
        generation: _,
        reread: _,
        effective_precision,
        reinterpreted: _,
        participants,
        location,
        made_by: _,
    } = event;
    out.push(VERSION);
    form("source", &patient.source, out);
    form("patient", &patient.id, out);
    form("organisation", organisation, out);
    form("record", record, out);
    named("kind", out, |out| out.extend_from_slice(body.kind().as_str().as_bytes()));
    form("entered_at", entered_at, out);
    form("effective_at", effective_at, out);
    form("confidential", confidential, out);
    form("incomplete", incomplete, out);
    if let Some(precision) = effective_precision {
        named("effective_precision", out, |out| out.extend_from_slice(precision.as_str().as_bytes()));
    }
    form("participants", participants, out);
    form("location", location, out);
    named("body", out, |out| body.form(out));
}
