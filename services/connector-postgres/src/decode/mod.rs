//! pgoutput, protocol version 1: one message from one frame, borrowing the frame.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod tuple;

pub use tuple::{Cell, Cells, Tuple};

use crate::charset::Charset;
use change::Lsn;
use std::borrow::Cow;

/// PostgreSQL's own limit on columns.
pub const COLUMNS_MAX: usize = 1_664;
/// Names are at most 63 bytes unless the server was built otherwise.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Tables that one TRUNCATE can name.
pub const TRUNCATED_TABLES_MAX: usize = 65_536;
/// Microseconds from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Begin {
        /// The commit record's place.
        final_lsn: Lsn,
        /// Microseconds since 1970.
        committed_at: i64,
        xid: u32,
    },
    Commit {
        lsn: Lsn,
        end_lsn: Lsn,
        committed_at: i64,
    },
    /// The node that the source received the transaction from.
    Origin {
        name: Cow<'a, str>,
    },
    Relation(Relation<'a>),
    Type {
        oid: u32,
        schema: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<OldTuple<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: OldTuple<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// `pg_logical_emit_message`.
    Logical {
        transactional: bool,
        lsn: Lsn,
        prefix: Cow<'a, str>,
        content: &'a [u8],
    },
}

/// What the replica identity gives of the row before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldTuple<'a> {
    /// The identity's columns; all others are null in it.
    Key(Tuple<'a>),
    Full(Tuple<'a>),
}

impl<'a> OldTuple<'a> {
    pub const fn tuple(&self) -> &Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => tuple,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    pub oid: u32,
    pub schema: Cow<'a, str>,
    pub name: Cow<'a, str>,
    /// `d`, `n`, `f` or `i`, as in `pg_class.relreplident`.
    pub identity: u8,
    pub columns: Vec<Column<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    pub name: Cow<'a, str>,
    pub in_identity: bool,
    pub type_oid: u32,
    pub type_modifier: i32,
}

/// The frame is not pgoutput of protocol version 1. Names the part, never the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a message of the replication stream ends too early")]
    Truncated,
    #[error("bytes follow a message of the replication stream")]
    Trailing,
    #[error("a message of the replication stream has a kind that protocol version 1 does not know")]
    UnknownKind,
    #[error("a message of the replication stream has a malformed {0}")]
    Malformed(&'static str),
}

/// Decodes one frame. Its names are in the charset; so are the texts of its rows, and stay so.
pub fn decode<'a>(frame: &'a [u8], charset: &Charset) -> Result<Message<'a>, DecodeError> {
    let mut reader = Reader { rest: frame, charset };
    let message = match reader.byte()? {
        b'B' => Message::Begin { final_lsn: reader.lsn()?, committed_at: reader.time()?, xid: reader.u32()? },
        b'C' => {
            reader.byte()?;
            Message::Commit { lsn: reader.lsn()?, end_lsn: reader.lsn()?, committed_at: reader.time()? }
        }
        b'O' => {
            reader.lsn()?;
            Message::Origin { name: reader.name()? }
        }
        b'R' => Message::Relation(reader.relation()?),
        b'Y' => Message::Type { oid: reader.u32()?, schema: reader.name()?, name: reader.name()? },
        b'I' => {
            let relation = reader.u32()?;
            reader.expect(b'N')?;
            Message::Insert { relation, new: reader.tuple()? }
        }
        b'U' => reader.update()?,
        b'D' => {
            let relation = reader.u32()?;
            let kind = reader.byte()?;
            Message::Delete { relation, old: reader.old_tuple(kind)?.ok_or(DecodeError::Malformed("old row"))? }
        }
        b'T' => reader.truncate()?,
        b'M' => reader.logical()?,
        _ => return Err(DecodeError::UnknownKind),
    };
    if reader.rest.is_empty() { Ok(message) } else { Err(DecodeError::Trailing) }
}

pub(crate) struct Reader<'a, 'c> {
    rest: &'a [u8],
    charset: &'c Charset,
}

impl<'a> Reader<'a, '_> {
    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), DecodeError> {
        if self.byte()? == wanted { Ok(()) } else { Err(DecodeError::Malformed("row")) }
    }

    #[inline]
    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    fn lsn(&mut self) -> Result<Lsn, DecodeError> {
        self.array().map(u64::from_be_bytes).map(Lsn)
    }

    fn time(&mut self) -> Result<i64, DecodeError> {
        let micros = self.array().map(i64::from_be_bytes)?;
        micros.checked_add(POSTGRES_EPOCH_MICROS).ok_or(DecodeError::Malformed("time"))
    }

    fn name(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let window = &self.rest[..self.rest.len().min(NAME_BYTES_MAX + 1)];
        let end = window.iter().position(|byte| *byte == 0).ok_or(DecodeError::Malformed("name"))?;
        let name = self.take(end)?;
        self.take(1)?;
        match self.charset {
            Charset::Utf8 => std::str::from_utf8(name).map(Cow::Borrowed).map_err(|_| DecodeError::Malformed("name")),
            charset => Ok(charset.name(name)),
        }
    }

    fn relation(&mut self) -> Result<Relation<'a>, DecodeError> {
        let (oid, schema, name, identity) = (self.u32()?, self.name()?, self.name()?, self.byte()?);
        let count = usize::from(self.u16()?);
        if count > COLUMNS_MAX {
            return Err(DecodeError::Malformed("relation"));
        }
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let in_identity = self.byte()? & 1 == 1;
            let name = self.name()?;
            let (type_oid, type_modifier) = (self.u32()?, self.u32()?.cast_signed());
            columns.push(Column { name, in_identity, type_oid, type_modifier });
        }
        // pg_catalog has an empty name on the wire.
        let schema = if schema.is_empty() { "pg_catalog".into() } else { schema };
        Ok(Relation { oid, schema, name, identity, columns })
    }

    fn update(&mut self) -> Result<Message<'a>, DecodeError> {
        let relation = self.u32()?;
        let kind = self.byte()?;
        let old = self.old_tuple(kind)?;
        if old.is_some() {
            self.expect(b'N')?;
        } else if kind != b'N' {
            return Err(DecodeError::Malformed("row"));
        }
        Ok(Message::Update { relation, old, new: self.tuple()? })
    }

    fn old_tuple(&mut self, kind: u8) -> Result<Option<OldTuple<'a>>, DecodeError> {
        Ok(match kind {
            b'K' => {
                let key = self.tuple()?;
                // Whose row it was cannot be guessed.
                if !key.cells().any(|cell| matches!(cell, Cell::Text(_))) {
                    return Err(DecodeError::Malformed("old row"));
                }
                Some(OldTuple::Key(key))
            }
            b'O' => Some(OldTuple::Full(self.tuple()?)),
            _ => None,
        })
    }

    fn truncate(&mut self) -> Result<Message<'a>, DecodeError> {
        let count = usize::try_from(self.u32()?).map_err(|_| DecodeError::Malformed("truncate"))?;
        self.byte()?;
        if count > TRUNCATED_TABLES_MAX || count * 4 > self.rest.len() {
            return Err(DecodeError::Malformed("truncate"));
        }
        let relations = (0..count).map(|_| self.u32()).collect::<Result<_, _>>()?;
        Ok(Message::Truncate { relations })
    }

    fn logical(&mut self) -> Result<Message<'a>, DecodeError> {
        let (flags, lsn, prefix) = (self.byte()?, self.lsn()?, self.name()?);
        let length = usize::try_from(self.u32()?).map_err(|_| DecodeError::Malformed("message"))?;
        Ok(Message::Logical { transactional: flags & 1 == 1, lsn, prefix, content: self.take(length)? })
    }
}

#[cfg(test)]
mod tests;
