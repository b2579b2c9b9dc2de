//! LOINC: `Loinc.csv`, whose columns are found by name, and `MapTo.csv`, what stands in a deprecated code's place.
//!
//! This material contains content from LOINC (http://loinc.org), copyright Regenstrief Institute, Inc., available at no
//! cost under the licence at http://loinc.org/license.

use crate::{
    draft::Draft,
    mistake::{Mistakes, short},
};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read as _};

/// A record, quotes and line ends inside it and all.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
pub const TERMS_MAX: usize = 1_000_000;
const FIELDS_MAX: usize = 256;

/// A LOINC code as the release has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub code: String,
    /// ACTIVE, DEPRECATED, DISCOURAGED, TRIAL.
    pub status: String,
    pub name: String,
    /// Property, and system (the specimen).
    pub property: String,
    pub system: String,
}

/// `2823-3`: its last digit checks the others (Luhn).
pub fn is_code(text: &str) -> bool {
    let Some((stem, check)) = text.split_once('-') else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if stem.is_empty() || stem.len() > 7 || check.len() != 1 || !digits(stem) || !digits(check) {
        return false;
    }
    let sum: u32 = stem
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    check.parse() == Ok((10 - sum % 10) % 10)
}

impl Draft {
    pub fn loinc(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        self.file(name);
        let columns = ["LOINC_NUM", "STATUS", "LONG_COMMON_NAME", "PROPERTY", "SYSTEM"];
        records(reader, name, &columns, mistakes, |cells| {
            let [code, status, name, property, system] = cells else { return Ok(()) };
            if !is_code(code) {
                return Err(format!("`{}` is no LOINC code, or its check digit is wrong", short(code)));
            }
            if self.loinc.len() >= TERMS_MAX {
                return Err(format!("more than {TERMS_MAX} LOINC codes"));
            }
            let [code, status, name, property, system] = [code, status, name, property, system].map(Clone::clone);
            self.loinc.push(Term { code, status, name, property, system });
            Ok(())
        });
    }

    pub fn loinc_map(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        self.file(name);
        records(reader, name, &["LOINC", "MAP_TO"], mistakes, |cells| {
            let [from, to] = cells else { return Ok(()) };
            if let Some(wrong) = [from, to].into_iter().find(|code| !is_code(code)) {
                return Err(format!("`{}` is no LOINC code, or its check digit is wrong", short(wrong)));
            }
            if self.loinc_maps.len() >= TERMS_MAX {
                return Err(format!("more than {TERMS_MAX} replaced LOINC codes"));
            }
            self.loinc_maps.push((from.clone(), to.clone()));
            Ok(())
        });
    }
}

/// Records of a file of comma-separated values, the wanted columns in the order asked for.
fn records(
    reader: &mut dyn BufRead,
    name: &str,
    wanted: &[&str],
    mistakes: &mut Mistakes,
    mut take: impl FnMut(&[String]) -> Result<(), String>,
) {
    let mut csv = Csv { reader, line: 1, fields: Vec::new() };
    let (mut places, mut columns) = (Vec::new(), 0);
    loop {
        let line = csv.line;
        match csv.next() {
            Ok(true) => {}
            Ok(false) => {
                if columns == 0 {
                    mistakes.add(name, 0, "the file is empty: not even a heading");
                }
                return;
            }
            Err(what) => return mistakes.add(name, line, what),
        }
        if columns == 0 {
            let heading = csv.fields.iter().map(|field| field.trim_start_matches('\u{FEFF}').trim());
            let heading: Vec<&str> = heading.collect();
            let place = |wanted: &&str| heading.iter().position(|column| column.eq_ignore_ascii_case(wanted));
            let missing: Vec<&str> = wanted.iter().filter(|wanted| place(wanted).is_none()).copied().collect();
            if !missing.is_empty() {
                return mistakes.add(name, 1, format!("no column {}", missing.join(", ")));
            }
            (places, columns) = (wanted.iter().filter_map(place).collect::<Vec<_>>(), heading.len());
            continue;
        }
        if csv.fields.len() == 1 && csv.fields[0].is_empty() {
            continue;
        }
        if csv.fields.len() != columns {
            mistakes.add(name, line, format!("{} fields under {columns} columns", csv.fields.len()));
            continue;
        }
        let cells: Vec<String> = places.iter().map(|place| csv.fields[*place].clone()).collect();
        if let Err(what) = take(&cells) {
            mistakes.add(name, line, what);
        }
    }
}

struct Csv<'a> {
    reader: &'a mut dyn BufRead,
    line: u64,
    fields: Vec<String>,
}

impl Csv<'_> {
    /// The next record into `fields`; false at the end of the file.
    fn next(&mut self) -> Result<bool, String> {
        self.fields.clear();
        let mut record = Vec::new();
        // A record is over at a line's end outside of quotes: where the quotes so far are even.
        loop {
            let room = (RECORD_BYTES_MAX + 1 - record.len()) as u64;
            let read = (&mut *self.reader).take(room).read_until(b'\n', &mut record);
            let read = read.map_err(|error| format!("cannot read on: {error}"))?;
            if record.len() > RECORD_BYTES_MAX {
                return Err(format!("a record of more than {RECORD_BYTES_MAX} bytes: the rest was not read"));
            }
            self.line += u64::from(record.last() == Some(&b'\n'));
            let even = record.iter().filter(|byte| **byte == b'"').count() % 2 == 0;
            match (read, even) {
                (0, _) if record.is_empty() => return Ok(false),
                (0, false) => return Err("a quote is opened and never closed".to_owned()),
                (_, true) => break,
                _ => {}
            }
        }
        let text = String::from_utf8(record).map_err(|_| "the record is not UTF-8".to_owned())?;
        self.split(text.trim_end_matches(['\n', '\r']))?;
        Ok(true)
    }

    fn split(&mut self, text: &str) -> Result<(), String> {
        let (mut field, mut quoted, mut chars) = (String::new(), false, text.chars().peekable());
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => self.fields.push(std::mem::take(&mut field)),
                c => field.push(c),
            }
            if self.fields.len() > FIELDS_MAX {
                return Err(format!("more than {FIELDS_MAX} fields"));
            }
        }
        self.fields.push(field);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits() {
        for code in ["2823-3", "2160-0", "14682-9", "6298-4", "718-7", "41653-7"] {
            assert!(is_code(code), "{code}");
        }
        for code in ["2823-4", "2823", "2823-33", "-3", "x-1", "2823- 3", ""] {
            assert!(!is_code(code), "{code}");
        }
    }

    #[track_caller]
    fn check(text: &str, want: &[&str], mistakes: &str) {
        let (mut draft, mut told) = (Draft::default(), Mistakes::default());
        draft.loinc(&mut text.as_bytes(), "Loinc.csv", &mut told);
        let got: Vec<String> =
            draft.loinc.iter().map(|term| format!("{} {} {}", term.code, term.status, term.name)).collect();
        assert_eq!(got, want);
        assert_eq!(told.to_string(), mistakes);
    }

    #[test]
    fn columns_by_name_quotes_and_lines_inside() {
        let head = "\u{FEFF}\"STATUS\",\"LOINC_NUM\",\"SYSTEM\",\"PROPERTY\",\"LONG_COMMON_NAME\"\r\n";
        check(
            &format!(
                "{head}\"ACTIVE\",\"2823-3\",\"Ser/Plas\",\"SCnc\",\"A \"\"potassium\"\", of\r\ntwo lines\"\r\nACTIVE,2160-0,,,x\r\n"
            ),
            &["2823-3 ACTIVE A \"potassium\", of\r\ntwo lines", "2160-0 ACTIVE x"],
            "",
        );
        check(
            &format!("{head}ACTIVE,2823-4,,,x\n"),
            &[],
            "Loinc.csv:2: `2823-4` is no LOINC code, or its check digit is wrong",
        );
        check(&format!("{head}ACTIVE,2823-3\n"), &[], "Loinc.csv:2: 2 fields under 5 columns");
        check(&format!("{head}\"ACTIVE,2823-3\n"), &[], "Loinc.csv:2: a quote is opened and never closed");
        check("LOINC_NUM\n", &[], "Loinc.csv:1: no column STATUS, LONG_COMMON_NAME, PROPERTY, SYSTEM");
        check("", &[], "Loinc.csv: the file is empty: not even a heading");
    }
}
