//! The server's text to Avro, column by column, without a value in between.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod array;
mod copy;
mod prose;
mod text;

pub use copy::CopyRow;
pub use text::write;

use crate::{charset::Charset, decode::Cell};
use change::{
    ColumnType,
    avro::{value, wire},
};
use std::{fmt::Write as _, sync::Arc};

/// How one column is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPlan {
    pub name: Arc<str>,
    pub kind: ColumnType,
    pub key: bool,
}

/// What a row says beside its datum, as JSON text for the headers. Reused from row to row.
#[derive(Debug, Default)]
pub struct Beside {
    /// Columns that the log left out.
    pub unchanged: String,
    /// Column → the server's text, of values that the column's type cannot hold.
    pub exact: String,
    /// One of them has bytes that are no character's: it is spelt.
    pub spelt: bool,
    /// A text in UTF-8.
    text: String,
}

impl Beside {
    pub fn clear(&mut self) {
        self.unchanged.clear();
        self.exact.clear();
        self.spelt = false;
    }

    /// Closes the JSON that has begun.
    fn finish(&mut self) {
        if !self.unchanged.is_empty() {
            self.unchanged.push(']');
        }
        if !self.exact.is_empty() {
            self.exact.push('}');
        }
    }

    fn add_unchanged(&mut self, column: &str) {
        self.unchanged.push(if self.unchanged.is_empty() { '[' } else { ',' });
        quoted(&mut self.unchanged, column);
    }

    fn add_exact(&mut self, charset: &Charset, column: &str, text: &[u8]) {
        let (text, spelt) = exact(charset, text);
        self.spelt |= spelt;
        self.exact.push(if self.exact.is_empty() { '{' } else { ',' });
        quoted(&mut self.exact, column);
        self.exact.push(':');
        quoted(&mut self.exact, &text);
    }
}

/// What stands where a server's text would, of a key's column that is null: COPY's own sign. A row can have one that the
/// table had before it had its key.
const NO_TEXT: &[u8] = b"\\N";

/// A JSON string.
fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The server's text, and whether it had to be spelt: a replacement mark would be the same in two keys.
fn exact(charset: &Charset, text: &[u8]) -> (String, bool) {
    let mut scratch = String::new();
    let read = charset.read(text, &mut scratch).and_then(|text| std::str::from_utf8(text).ok());
    read.map_or_else(|| (charset.spelt(text), true), |text| (text.to_owned(), false))
}

/// Appends the `Value` record of a row. Missing cells are null.
pub fn write_row<'a>(
    out: &mut Vec<u8>,
    (charset, columns): (&Charset, &[ColumnPlan]),
    mut cells: impl Iterator<Item = Cell<'a>>,
    beside: &mut Beside,
) {
    for column in columns {
        let cell = cells.next().unwrap_or(Cell::Null);
        if let Cell::Text(text) = cell {
            if !column.key {
                out.push(wire::SOME);
            }
            let start = out.len();
            if charset.read(text, &mut beside.text).is_some_and(|text| write(out, &column.kind, text)) {
                continue;
            }
            out.truncate(start);
            if !column.key {
                out.pop();
            }
            beside.add_exact(charset, &column.name, text);
        }
        if cell == Cell::Unchanged {
            beside.add_unchanged(&column.name);
        }
        if column.key {
            // The stand-in is another row's value.
            if cell == Cell::Null {
                beside.add_exact(charset, &column.name, NO_TEXT);
            }
            value::write_nothing(out, &column.kind);
        } else {
            out.push(wire::NULL);
        }
    }
    beside.finish();
}

/// Appends the `Key` record of a row. False, with nothing appended, when a column's type cannot hold its value, or there is
/// none: a stand-in would be another row's key.
pub fn write_key<'a>(
    out: &mut Vec<u8>,
    (charset, columns): (&Charset, &[ColumnPlan]),
    cells: impl Iterator<Item = Cell<'a>>,
) -> bool {
    let (start, mut scratch) = (out.len(), String::new());
    for (column, cell) in columns.iter().zip(cells).filter(|(column, _)| column.key) {
        let written = match cell {
            Cell::Text(text) => charset.read(text, &mut scratch).is_some_and(|text| write(out, &column.kind, text)),
            Cell::Null | Cell::Unchanged => false,
        };
        if !written {
            out.truncate(start);
            return false;
        }
    }
    true
}

/// Appends the `causeway.ExactKey` record of a row: the texts of its key. A column that is null has none.
pub fn write_exact_key<'a>(
    out: &mut Vec<u8>,
    table: &str,
    (charset, columns): (&Charset, &[ColumnPlan]),
    cells: impl Iterator<Item = Cell<'a>> + Clone,
) {
    let texts = columns.iter().zip(cells).filter(|(column, cell)| column.key && *cell != Cell::Null);
    wire::string(out, table);
    match texts.clone().count() {
        0 => {}
        count => wire::long(out, count as i64),
    }
    for (column, cell) in texts {
        wire::string(out, &column.name);
        match cell {
            Cell::Text(text) => wire::string(out, &exact(charset, text).0),
            Cell::Null | Cell::Unchanged => wire::string(out, ""),
        }
    }
    wire::long(out, 0);
}

#[cfg(test)]
mod tests;
