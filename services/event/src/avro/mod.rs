//! The Avro form of what travels between our services, as `schemas/*.avsc` has it. Bodies of events are written and read
//! by their tables ([`crate::kinds`]), the rest by hand. A test holds both to apache-avro.
//!
//! Each codec reads its own version of the schema; `change::avro::Resolution` turns data of other versions into it.

mod alert;
mod link;
mod quarantined;
pub mod wire;
#[cfg(test)]
mod written;

pub use alert::{SCHEMA as ALERT_SCHEMA, decode as decode_alert, encode as encode_alert};
pub use link::{SCHEMA as LINK_SCHEMA, decode as decode_link, encode as encode_link};
pub use quarantined::{
    SCHEMA as QUARANTINED_SCHEMA, decode as decode_quarantined, encode as encode_quarantined,
    encode_within as encode_quarantined_within,
};

use crate::{Action, Body, Part, PatientEvent, Precision, SourcePatient, datum::Datum};
use wire::Reader;

/// `causeway.PatientEvent`.
pub const SCHEMA: &str = include_str!("../../../../schemas/patient_event.avsc");

const ACTIONS: [Action; 3] = [Action::Recorded, Action::Corrected, Action::Retracted];

/// Not a datum of our schema. Names the part, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the datum ends too early")]
    Truncated,
    #[error("bytes follow the datum")]
    Trailing,
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// Appends the event to `out`.
pub fn encode(event: &PatientEvent, out: &mut Vec<u8>) {
    wire::string(out, &event.patient.source);
    wire::string(out, &event.patient.id);
    wire::string(out, &event.organisation);
    wire::string(out, &event.record);
    wire::string(out, &event.position.to_string());
    wire::long(out, i64::from(event.revision));
    wire::long(out, event.action as i64);
    wire::long(out, i64::from(event.part.index));
    wire::long(out, i64::from(event.part.of));
    wire::long(out, event.committed_at);
    wire::boolean(out, event.snapshot);
    wire::optional_long(out, event.entered_at);
    wire::optional_long(out, event.effective_at);
    event.body.write(out);
    wire::optional_string(out, event.traceparent.as_ref());
    wire::long(out, i64::from(event.generation));
    wire::boolean(out, event.confidential);
    wire::boolean(out, event.reread);
    wire::optional_string(out, event.incomplete.as_ref());
    wire::optional(out, event.effective_precision, |out, precision| wire::string(out, precision.as_str()));
    wire::boolean(out, event.reinterpreted);
    event.participants.write(out);
    event.location.write(out);
    event.made_by.write(out);
}

pub fn decode(datum: &[u8]) -> Result<PatientEvent, DecodeError> {
    let mut r = Reader::new(datum);
    let event = PatientEvent {
        patient: SourcePatient { source: r.string()?, id: r.string()? },
        organisation: r.string()?,
        record: r.string()?,
        position: r.parsed("position", |text| text.parse().ok())?,
        revision: r.unsigned()?,
        action: r.symbol("action", &ACTIONS)?,
        part: Part { index: r.unsigned()?, of: r.unsigned()? },
        committed_at: r.long()?,
        snapshot: r.boolean()?,
        entered_at: r.optional_long()?,
        effective_at: r.optional_long()?,
        body: Body::read(&mut r)?,
        traceparent: r.optional_string()?,
        generation: r.unsigned()?,
        confidential: r.boolean()?,
        reread: r.boolean()?,
        incomplete: r.optional_string()?,
        effective_precision: r.optional(|r| r.parsed("effective_precision", Precision::parse))?,
        reinterpreted: r.boolean()?,
        participants: Datum::read(&mut r)?,
        location: Datum::read(&mut r)?,
        made_by: Datum::read(&mut r)?,
    };
    r.finish()?;
    Ok(event)
}
