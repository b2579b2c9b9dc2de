//! `causeway.Quarantined`.

use super::{DecodeError, wire, wire::Reader};
use crate::Quarantined;

pub const SCHEMA: &str = include_str!("../../../../schemas/quarantined.avsc");

/// Appends the item to `out`.
pub fn encode(item: &Quarantined, out: &mut Vec<u8>) {
    wire::string(out, &item.source);
    wire::optional(out, item.position, |out, position| wire::string(out, &position.to_string()));
    wire::string(out, &item.stage);
    wire::string(out, &item.reason);
    wire::string(out, &item.detail);
    wire::optional_string(out, item.table.as_ref());
    wire::optional(out, item.key.as_deref(), wire::bytes);
    wire::optional_string(out, item.topic.as_ref());
    wire::optional_int(out, item.partition);
    wire::optional_long(out, item.offset);
    wire::optional_string(out, item.patient.as_ref());
    wire::optional(out, item.original.as_deref(), wire::bytes);
    wire::optional_long(out, item.committed_at);
}

pub fn decode(datum: &[u8]) -> Result<Quarantined, DecodeError> {
    let mut r = Reader::new(datum);
    let owned = |r: &mut Reader<'_>| r.bytes().map(<[u8]>::to_vec);
    let item = Quarantined {
        source: r.string()?,
        position: r.optional(|r| r.parsed("position", |text| text.parse().ok()))?,
        stage: r.string()?,
        reason: r.string()?,
        detail: r.string()?,
        table: r.optional_string()?,
        key: r.optional(owned)?,
        topic: r.optional_string()?,
        partition: r.optional_int()?,
        offset: r.optional_long()?,
        patient: r.optional_string()?,
        original: r.optional(owned)?,
        committed_at: r.optional_long()?,
    };
    r.finish()?;
    Ok(item)
}
