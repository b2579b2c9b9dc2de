//! Rows of `COPY … TO STDOUT` in text format.

use crate::decode::Cell;

/// One row, its escapes undone. Reused from row to row.
#[derive(Debug, Default)]
pub struct CopyRow {
    bytes: Vec<u8>,
    /// The end of each cell in `bytes`; none is null.
    ends: Vec<Option<usize>>,
}

impl CopyRow {
    /// Takes a line, with or without its line end. False when it is not one row of `columns` cells.
    pub fn parse(&mut self, line: &[u8], columns: usize) -> bool {
        self.bytes.clear();
        self.ends.clear();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if columns == 0 {
            return line.is_empty();
        }
        for cell in line.split(|byte| *byte == b'\t') {
            if cell == b"\\N" {
                self.ends.push(None);
            } else {
                if !self.unescape(cell) {
                    return false;
                }
                self.ends.push(Some(self.bytes.len()));
            }
        }
        self.ends.len() == columns
    }

    fn unescape(&mut self, cell: &[u8]) -> bool {
        let mut rest = cell;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
            self.bytes.extend_from_slice(&rest[..at]);
            let Some((escaped, next)) = rest[at + 1..].split_first() else { return false };
            self.bytes.push(match escaped {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => *other,
            });
            rest = next;
        }
        self.bytes.extend_from_slice(rest);
        true
    }

    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> + Clone {
        self.ends.iter().scan(0, |start, end| {
            Some(match end {
                None => Cell::Null,
                Some(end) => {
                    let text = &self.bytes[*start..*end];
                    *start = *end;
                    Cell::Text(text)
                }
            })
        })
    }
}
