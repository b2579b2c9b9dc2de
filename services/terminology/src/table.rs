//! Tables of text, line by line: the tab-separated files of RF2 and of the Read maps. A line is held at a time.

use crate::mistake::{Mistakes, short};
use std::io::{BufRead, Read as _};

/// A longer line ends its file: no row of a release is like that.
pub const LINE_BYTES_MAX: u64 = 64 * 1024;
pub const COLUMNS_MAX: usize = 64;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Where a row stands.
#[derive(Clone, Copy)]
pub struct Line {
    pub number: u32,
    pub file: u16,
}

/// A file of rows under a heading.
pub struct Table<'a> {
    reader: &'a mut dyn BufRead,
    name: &'a str,
    number: u64,
    buffer: Vec<u8>,
    columns: usize,
    /// Where the wanted columns stand.
    places: Vec<usize>,
    /// Of the row: where each cell begins and ends.
    cells: Vec<(usize, usize)>,
}

/// One row; its cells in the order in which columns were asked for.
pub struct Row<'a> {
    pub line: u64,
    text: &'a str,
    places: &'a [usize],
    cells: &'a [(usize, usize)],
}

impl<'a> Row<'a> {
    pub fn cell(&self, wanted: usize) -> &'a str {
        let (from, to) = self.cells[self.places[wanted]];
        &self.text[from..to]
    }
}

impl<'a> Table<'a> {
    /// Reads the heading. Columns are found by name, in any case of letters: their order differs between releases.
    pub fn open(reader: &'a mut dyn BufRead, name: &'a str, wanted: &[&str], mistakes: &mut Mistakes) -> Option<Self> {
        let (buffer, cells) = (Vec::new(), Vec::new());
        let mut table = Self { reader, name, number: 0, buffer, columns: 0, places: Vec::new(), cells };
        let before = mistakes.count();
        if !table.read(mistakes) {
            if mistakes.count() == before {
                mistakes.add(name, 0, "the file is empty: not even a heading");
            }
            return None;
        }
        let Ok(heading) = std::str::from_utf8(&table.buffer) else {
            mistakes.add(name, 1, "the heading is not UTF-8");
            return None;
        };
        let columns: Vec<&str> = heading.split('\t').map(str::trim).collect();
        if columns.len() > COLUMNS_MAX {
            mistakes.add(name, 1, format!("more than {COLUMNS_MAX} columns"));
            return None;
        }
        let place = |wanted: &&str| columns.iter().position(|column| column.eq_ignore_ascii_case(wanted));
        let missing: Vec<&str> = wanted.iter().filter(|wanted| place(wanted).is_none()).copied().collect();
        if !missing.is_empty() {
            let there = short(&columns.join(" "));
            mistakes.add(name, 1, format!("no column {}: the heading is `{there}`", missing.join(", ")));
            return None;
        }
        table.places = wanted.iter().filter_map(place).collect();
        table.columns = columns.len();
        Some(table)
    }

    /// The next row that is one. What is wrong with others is told, and they are passed over.
    pub fn next(&mut self, mistakes: &mut Mistakes) -> Option<Row<'_>> {
        loop {
            if !self.read(mistakes) {
                return None;
            }
            if self.buffer.is_empty() {
                continue;
            }
            if std::str::from_utf8(&self.buffer).is_err() {
                mistakes.add(self.name, self.number, "the line is not UTF-8");
                continue;
            }
            self.cells.clear();
            let mut from = 0;
            for (at, byte) in self.buffer.iter().enumerate() {
                if *byte == b'\t' {
                    self.cells.push((from, at));
                    from = at + 1;
                }
            }
            self.cells.push((from, self.buffer.len()));
            if self.cells.len() == self.columns {
                break;
            }
            let what = format!("{} cells under {} columns", self.cells.len(), self.columns);
            mistakes.add(self.name, self.number, what);
        }
        let text = std::str::from_utf8(&self.buffer).unwrap_or_default();
        Some(Row { line: self.number, text, places: &self.places, cells: &self.cells })
    }

    /// The next line into the buffer, without its end and without a byte order mark.
    fn read(&mut self, mistakes: &mut Mistakes) -> bool {
        self.buffer.clear();
        self.number += 1;
        match (&mut *self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer) {
            Ok(0) => return false,
            Ok(read) if read as u64 == LINE_BYTES_MAX && self.buffer.last() != Some(&b'\n') => {
                let what = format!("a line of more than {LINE_BYTES_MAX} bytes: the rest of the file was not read");
                mistakes.add(self.name, self.number, what);
                return false;
            }
            Ok(_) => {}
            Err(error) => {
                mistakes.add(self.name, self.number, format!("cannot read on: {error}"));
                return false;
            }
        }
        for end in [b'\n', b'\r'] {
            if self.buffer.last() == Some(&end) {
                self.buffer.pop();
            }
        }
        if self.number == 1 && self.buffer.starts_with(BOM) {
            self.buffer.drain(..BOM.len());
        }
        true
    }
}

/// A day as releases write it: `20260401`.
pub fn day(text: &str) -> Result<u32, String> {
    let number = (text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u32>().ok());
    let real = |day: &u32| (1..=12).contains(&(day / 100 % 100)) && (1..=31).contains(&(day % 100));
    number.flatten().filter(real).ok_or_else(|| format!("`{}` is no day such as 20260401", short(text)))
}

/// `1` or `0`.
pub fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(format!("`{}` is neither 0 nor 1", short(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> (Vec<String>, String) {
        let (mut mistakes, mut rows) = (Mistakes::default(), Vec::new());
        let mut reader = text;
        if let Some(mut table) = Table::open(&mut reader, "x.txt", &["b", "A"], &mut mistakes) {
            while let Some(row) = table.next(&mut mistakes) {
                rows.push(format!("{}:{}-{}", row.line, row.cell(0), row.cell(1)));
            }
        }
        (rows, mistakes.to_string())
    }

    #[track_caller]
    fn check(text: &[u8], want: &[&str], mistakes: &str) {
        let (rows, told) = rows(text);
        assert_eq!(rows, want);
        assert_eq!(told, mistakes);
    }

    #[test]
    fn lines_ends_and_marks() {
        check(b"a\tb\n1\t2\n", &["2:2-1"], "");
        check(b"\xEF\xBB\xBFa\tb\r\n1\t2\r\n\r\n3\t4", &["2:2-1", "4:4-3"], "");
        check(b"a\tb\tc\n1\t\t\n", &["2:-1"], "");
    }

    #[test]
    fn what_is_wrong_is_told_by_line() {
        check(b"", &[], "x.txt: the file is empty: not even a heading");
        check(b"a\tc\n1\t2\n", &[], "x.txt:1: no column b: the heading is `a c`");
        check(
            b"a\tb\n1\n1\t2\t3\n1\t2\n",
            &["4:2-1"],
            "x.txt:2: 1 cells under 2 columns\nx.txt:3: 3 cells under 2 columns",
        );
        check(b"a\tb\n\xFF\t2\n1\t2\n", &["3:2-1"], "x.txt:2: the line is not UTF-8");
        let long = [b"a\tb\n".to_vec(), vec![b'x'; 70_000], b"\n1\t2\n".to_vec()].concat();
        check(&long, &[], "x.txt:2: a line of more than 65536 bytes: the rest of the file was not read");
        let just = [b"a\tb\n1\t".to_vec(), vec![b'x'; 65_533], b"\n".to_vec()].concat();
        assert_eq!(rows(&just).1, "");
    }

    #[test]
    fn days_and_flags() {
        for (text, want) in
            [("20260401", true), ("20261301", false), ("20260400", false), ("2026041", false), ("2026-4-1", false)]
        {
            assert_eq!(day(text).is_ok(), want, "{text}");
        }
        assert_eq!((flag("1"), flag("0"), flag("").is_err(), flag("2").is_err()), (Ok(true), Ok(false), true, true));
    }
}
