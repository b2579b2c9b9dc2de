//! `causeway.PersonLink`.

use super::{DecodeError, wire, wire::Reader};
use crate::{Link, LinkEvidence, LinkStatus, SourcePatient};

pub const SCHEMA: &str = include_str!("../../../../schemas/person_link.avsc");

const STATUSES: [LinkStatus; 3] = [LinkStatus::Linked, LinkStatus::Alone, LinkStatus::Held];

/// Appends the link to `out`.
pub fn encode(link: &Link, out: &mut Vec<u8>) {
    wire::string(out, &link.patient.source);
    wire::string(out, &link.patient.id);
    wire::string(out, &link.person.to_string());
    wire::long(out, i64::from(link.version));
    wire::long(out, link.status as i64);
    wire::string(out, &link.reason);
    wire::long(out, link.decided_at);
    wire::optional(out, link.evidence.as_ref(), |out, evidence| {
        wire::string(out, &evidence.rule);
        wire::string(out, &evidence.other.source);
        wire::string(out, &evidence.other.id);
        wire::optional_int(out, evidence.weight);
        wire::optional_string(out, evidence.parameters.as_ref());
    });
}

pub fn decode(datum: &[u8]) -> Result<Link, DecodeError> {
    let mut r = Reader::new(datum);
    let link = Link {
        patient: SourcePatient { source: r.string()?, id: r.string()? },
        person: r.parsed("person", |text| text.parse().ok())?,
        version: r.unsigned()?,
        status: r.symbol("status", &STATUSES)?,
        reason: r.string()?,
        decided_at: r.long()?,
        evidence: r.optional(evidence)?,
    };
    r.finish()?;
    Ok(link)
}

fn evidence(r: &mut Reader<'_>) -> Result<LinkEvidence, DecodeError> {
    Ok(LinkEvidence {
        rule: r.string()?,
        other: SourcePatient { source: r.string()?, id: r.string()? },
        weight: r.optional_int()?,
        parameters: r.optional_string()?,
    })
}
