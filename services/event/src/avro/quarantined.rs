//! `causeway.Quarantined`.

use super::{DecodeError, wire, wire::Reader};
use crate::{Quarantined, quarantined::Verdict};
use std::fmt::Write as _;

pub const SCHEMA: &str = include_str!("../../../../schemas/quarantined.avsc");

/// What the notes of a cut take at most, with the lengths of what they are in.
const NOTE_BYTES_MAX: usize = 256;

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
    wire::optional_string(out, item.item.as_ref());
    wire::boolean(out, item.closed);
    wire::optional_long(out, item.closes);
    wire::optional(out, item.closed_as, |out, verdict| wire::string(out, verdict.as_str()));
}

/// As `encode`, in at most so many bytes: of a value that does not fit, its beginning, and a note of what was cut off.
pub fn encode_within(item: &Quarantined, bytes_max: usize, out: &mut Vec<u8>) {
    let start = out.len();
    encode(item, out);
    let mut over = (out.len() - start).saturating_sub(bytes_max);
    if over == 0 {
        return;
    }
    over += NOTE_BYTES_MAX;
    let mut cut = item.clone();
    let mut notes = String::new();
    for (name, bytes) in [("the value", &mut cut.original), ("the key", &mut cut.key)] {
        let Some(bytes) = bytes.as_mut().filter(|bytes| over > 0 && !bytes.is_empty()) else { continue };
        let (whole, kept) = (bytes.len(), bytes.len().saturating_sub(over));
        over -= whole - kept;
        bytes.truncate(kept);
        // Writing to a String cannot fail.
        let _ = write!(notes, "; {name} is cut to {kept} of {whole} bytes");
    }
    cut.detail.push_str(&notes);
    out.truncate(start);
    encode(&cut, out);
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
        item: r.optional_string()?,
        closed: r.boolean()?,
        closes: r.optional_long()?,
        closed_as: r.optional(|r| r.parsed("closed_as", Verdict::parse))?,
    };
    r.finish()?;
    Ok(item)
}
