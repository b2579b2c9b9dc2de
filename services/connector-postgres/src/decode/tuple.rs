//! A row as the server sent it: its cells, found by walking the bytes.

use super::{COLUMNS_MAX, DecodeError, Reader};

/// One column of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    Null,
    /// A large value that the update left alone, and the log left out.
    Unchanged,
    Text(&'a [u8]),
}

/// Never shows what is in it.
impl std::fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Unchanged => "unchanged",
            Self::Text(_) => "(hidden)",
        })
    }
}

/// Invariant: `bytes` are `count` whole cells. Made only by decoding.
#[derive(Clone, PartialEq, Eq)]
pub struct Tuple<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl std::fmt::Debug for Tuple<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.cells()).finish()
    }
}

impl<'a> Tuple<'a> {
    pub const fn len(&self) -> usize {
        self.count
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub const fn cells(&self) -> Cells<'a> {
        Cells { rest: self.bytes }
    }
}

/// The cells of a tuple in order.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    #[inline]
    fn next(&mut self) -> Option<Cell<'a>> {
        let (kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        match kind {
            b'n' => Some(Cell::Null),
            b'u' => Some(Cell::Unchanged),
            _ => {
                let (length, rest) = self.rest.split_first_chunk()?;
                let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                self.rest = rest;
                Some(Cell::Text(text))
            }
        }
    }
}

impl<'a> Reader<'a, '_> {
    /// Walks over a tuple once, so that reading its cells cannot fail later.
    #[inline]
    pub(super) fn tuple(&mut self) -> Result<Tuple<'a>, DecodeError> {
        let count = usize::from(self.u16()?);
        if count > COLUMNS_MAX {
            return Err(DecodeError::Malformed("row"));
        }
        let start = self.rest;
        for _ in 0..count {
            match self.byte()? {
                b'n' | b'u' => {}
                b't' => {
                    let length = self.u32()? as usize;
                    self.take(length)?;
                }
                _ => return Err(DecodeError::Malformed("cell")),
            }
        }
        Ok(Tuple { count, bytes: &start[..start.len() - self.rest.len()] })
    }
}
