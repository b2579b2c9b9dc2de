//! dm+d: the XML files of virtual and actual medicinal products, their ingredients, and the look-up of units.

use crate::{
    draft::Draft,
    mistake::{Mistakes, short},
    sctid::{self, Component},
    table::Line,
};
use quick_xml::{Reader, events::Event};
use serde::{Deserialize, Serialize};
use std::io::BufRead;

pub const PRODUCTS_MAX: usize = 5_000_000;
/// Elements inside each other; dm+d has four.
const DEPTH_MAX: usize = 16;
/// Of one record: all its texts.
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Virtual therapeutic moiety.
    Vtm,
    /// Virtual medicinal product.
    Vmp,
    /// Actual medicinal product.
    Amp,
    Ingredient,
    /// A unit of measure, of the look-up.
    Unit,
    /// Which product holds which ingredient: no product of its own.
    Holds,
}

/// A record of dm+d as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    pub kind: Kind,
    pub id: u64,
    /// The id that it had before.
    pub previous: Option<u64>,
    /// VTM of a VMP, VMP of an AMP; for `Holds` the ingredient.
    pub of: Option<u64>,
    pub name: String,
    pub invalid: bool,
    /// For `Holds`: number and unit of the strength, and per how much, as written.
    pub strength: [String; 4],
}

/// A record's element, and its cells: id, previous id, name, what it is of, strength and units.
struct Shape {
    element: &'static str,
    kind: Kind,
    id: &'static str,
    previous: &'static str,
    name: &'static str,
    of: &'static str,
}

const SHAPES: [Shape; 7] = [
    Shape { element: "VTM", kind: Kind::Vtm, id: "VTMID", previous: "VTMIDPREV", name: "NM", of: "" },
    Shape { element: "VMP", kind: Kind::Vmp, id: "VPID", previous: "VPIDPREV", name: "NM", of: "VTMID" },
    Shape { element: "VPI", kind: Kind::Holds, id: "VPID", previous: "", name: "", of: "ISID" },
    Shape { element: "AMP", kind: Kind::Amp, id: "APID", previous: "", name: "DESC", of: "VPID" },
    Shape { element: "AP_ING", kind: Kind::Holds, id: "APID", previous: "", name: "", of: "ISID" },
    Shape { element: "ING", kind: Kind::Ingredient, id: "ISID", previous: "ISIDPREV", name: "NM", of: "" },
    Shape { element: "INFO", kind: Kind::Unit, id: "CD", previous: "CDPREV", name: "DESC", of: "" },
];
const STRENGTH: [&str; 4] = ["STRNT_NMRTR_VAL", "STRNT_NMRTR_UOMCD", "STRNT_DNMTR_VAL", "STRNT_DNMTR_UOMCD"];
/// Of the look-up, the only table that is kept: the others number from 1.
const UNITS: &str = "UNIT_OF_MEASURE";

/// A reader that counts lines, and gives up where no tag begins for too long: a text is held whole.
struct Counted<'a> {
    inner: &'a mut dyn BufRead,
    lines: u64,
    since_tag: usize,
}

impl std::io::Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(out.len());
        out[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.since_tag > RECORD_BYTES_MAX {
            return Err(std::io::Error::other(format!("a text or tag of more than {RECORD_BYTES_MAX} bytes")));
        }
        self.inner.fill_buf().map(|buffer| &buffer[..buffer.len().min(RECORD_BYTES_MAX)])
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(buffer) = self.inner.fill_buf() {
            let passed = &buffer[..amount.min(buffer.len())];
            self.lines += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.since_tag = match passed.iter().rposition(|byte| *byte == b'<') {
                Some(at) => passed.len() - at,
                None => self.since_tag + passed.len(),
            };
        }
        self.inner.consume(amount);
    }
}

/// A record that is being read.
struct Open {
    shape: &'static Shape,
    line: u64,
    depth: usize,
    cells: Vec<(String, String)>,
    bytes: usize,
}

impl Draft {
    /// Any of the files: what a record is, its element says.
    pub fn dmd(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        let file = self.file(name);
        let mut reader = Reader::from_reader(Counted { inner: reader, lines: 1, since_tag: 0 });
        let (mut path, mut open, mut buffer): (Vec<String>, Option<Open>, Vec<u8>) = (Vec::new(), None, Vec::new());
        loop {
            buffer.clear();
            let event = reader.read_event_into(&mut buffer);
            let line = reader.get_ref().lines;
            let failed = match event {
                Err(error) => Some(format!("is not well-formed XML: {error}")),
                Ok(Event::Eof) if path.is_empty() => return,
                Ok(Event::Eof) => Some(format!("ends inside of {}", path.join("/"))),
                // Entities of a document's own are a way to make a small file large; dm+d has none.
                Ok(Event::DocType(_)) => Some("has a document type: dm+d has none".to_owned()),
                Ok(Event::Start(start)) => {
                    let element = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                    begin(&mut path, &mut open, element, line)
                }
                Ok(Event::Text(text)) => match text.decode() {
                    Ok(text) => add(&path, &mut open, &text),
                    Err(error) => Some(format!("holds a text that cannot be read: {error}")),
                },
                Ok(Event::CData(text)) => add(&path, &mut open, &String::from_utf8_lossy(&text)),
                Ok(Event::GeneralRef(reference)) => {
                    let named = String::from_utf8_lossy(&reference).into_owned();
                    let predefined = quick_xml::escape::resolve_predefined_entity(&named).map(str::to_owned);
                    match predefined.or_else(|| reference.resolve_char_ref().ok().flatten().map(String::from)) {
                        Some(text) => add(&path, &mut open, &text),
                        None => Some(format!("names an entity that is not known: `{}`", short(&named))),
                    }
                }
                Ok(Event::End(_)) => {
                    let depth = path.len();
                    path.pop();
                    if let Some(record) = open.take_if(|record| record.depth == depth) {
                        let line = record.line;
                        if let Err(what) = self.product(&record, file) {
                            mistakes.add(name, line, what);
                        }
                    }
                    None
                }
                Ok(_) => None,
            };
            if let Some(what) = failed {
                return mistakes.add(name, line, what);
            }
        }
    }

    fn product(&mut self, open: &Open, file: u16) -> Result<(), String> {
        let cell = |name: &str| {
            let found = open.cells.iter().find(|(own, _)| own == name && !name.is_empty());
            found.map(|(_, text)| text.trim()).filter(|text| !text.is_empty())
        };
        let identifier =
            |name: &str| cell(name).map(|text| concept(text).map_err(|what| format!("{name}: {what}"))).transpose();
        let Shape { element, kind, id, previous, name, of } = *open.shape;
        let Some(own) = identifier(id)? else { return Err(format!("{element} has no {id}")) };
        let named = cell(name).or_else(|| cell("NM"));
        if kind != Kind::Holds && named.is_none() {
            return Err(format!("{element} {own} has no name ({name})"));
        }
        let of_what = identifier(of)?;
        if of_what.is_none() && matches!(kind, Kind::Holds | Kind::Amp) {
            return Err(format!("{element} {own} has no {of}"));
        }
        if self.products.len() >= PRODUCTS_MAX {
            return Err(format!("more than {PRODUCTS_MAX} records of dm+d"));
        }
        let line = Line { number: u32::try_from(open.line).unwrap_or(u32::MAX), file };
        let product = Product {
            kind,
            id: own,
            previous: identifier(previous)?,
            of: of_what,
            name: named.unwrap_or_default().to_owned(),
            invalid: cell("INVALID") == Some("1"),
            strength: STRENGTH.map(|name| cell(name).unwrap_or_default().to_owned()),
        };
        self.products.push((product, line));
        Ok(())
    }
}

fn concept(text: &str) -> Result<u64, String> {
    sctid::parse_as(text, Component::Concept)
}

fn begin(path: &mut Vec<String>, open: &mut Option<Open>, element: String, line: u64) -> Option<String> {
    if path.len() >= DEPTH_MAX {
        return Some(format!("has elements more than {DEPTH_MAX} deep"));
    }
    // A VTM's own id is an element of the same name as a cell of a VMP: records are no parts of records.
    let shape = SHAPES.iter().find(|shape| shape.element == element);
    let looked_up = element != "INFO" || path.last().is_some_and(|parent| parent == UNITS);
    path.push(element);
    if open.is_none() && looked_up {
        let depth = path.len();
        *open = shape.map(|shape| Open { shape, line, depth, cells: Vec::new(), bytes: 0 });
    } else if let Some(record) = open
        && path.len() == record.depth + 1
    {
        record.cells.push((path.last().cloned().unwrap_or_default(), String::new()));
    }
    None
}

fn add(path: &[String], open: &mut Option<Open>, text: &str) -> Option<String> {
    let record = open.as_mut()?;
    if path.len() != record.depth + 1 {
        return None;
    }
    record.bytes += text.len();
    if record.bytes > RECORD_BYTES_MAX {
        return Some(format!("has a record of more than {RECORD_BYTES_MAX} bytes"));
    }
    if let Some((_, cell)) = record.cells.last_mut() {
        cell.push_str(text);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str], mistakes: &str) {
        let (mut draft, mut told) = (Draft::default(), Mistakes::default());
        draft.dmd(&mut text.as_bytes(), "f.xml", &mut told);
        let one = |product: &Product| {
            let Product { kind, id, of, name, previous, invalid, strength } = product;
            let strength = strength.join(" ");
            format!("{kind:?} {id} {of:?} {previous:?} {name}{}{strength}", if *invalid { "!" } else { "|" })
        };
        assert_eq!(draft.products.iter().map(|(product, _)| one(product)).collect::<Vec<_>>(), want);
        assert_eq!(told.to_string(), mistakes);
    }

    const VMP: &str = "\u{FEFF}<?xml version=\"1.0\"?>\r\n<VIRTUAL_MED_PRODUCTS xmlns:x=\"y\">\r\n<!-- a remark --><VMPS>\r\n\
        <VMP><VPID>363732003</VPID><VPIDPREV>116680003</VPIDPREV><VTMID>138875005</VTMID><NM>A &amp; B &#65;</NM></VMP>\r\n\
        <VMP><VPID>116680003</VPID><INVALID>1</INVALID><NM>Old</NM></VMP></VMPS>\r\n\
        <VIRTUAL_PRODUCT_INGREDIENT><VPI><VPID>363732003</VPID><ISID>138875005</ISID><STRNT_NMRTR_VAL>10</STRNT_NMRTR_VAL>\
        <STRNT_NMRTR_UOMCD>258684004</STRNT_NMRTR_UOMCD></VPI></VIRTUAL_PRODUCT_INGREDIENT></VIRTUAL_MED_PRODUCTS>";

    #[test]
    fn products_and_what_they_hold() {
        check(
            VMP,
            &[
                "Vmp 363732003 Some(138875005) Some(116680003) A & B A|   ",
                "Vmp 116680003 None None Old!   ",
                "Holds 363732003 Some(138875005) None |10 258684004  ",
            ],
            "",
        );
        let lookup = "<LOOKUP><FORM><INFO><CD>1</CD><DESC>Tablet</DESC></INFO></FORM>\
            <UNIT_OF_MEASURE><INFO><CD>258684004</CD><DESC>mg</DESC></INFO></UNIT_OF_MEASURE></LOOKUP>";
        check(lookup, &["Unit 258684004 None None mg|   "], "");
    }

    #[test]
    fn what_is_wrong_is_told_by_line() {
        check(
            "<VTMS>\n<VTM><VTMID>363732004</VTMID><NM>x</NM></VTM>\n<VTM><NM>y</NM></VTM></VTMS>",
            &[],
            "f.xml:2: VTMID: `363732004` is no SNOMED CT identifier: 6 to 18 digits with a right check digit\n\
             f.xml:3: VTM has no VTMID",
        );
        check("<A>\n<VTM><VTMID>3", &[], "f.xml:2: ends inside of A/VTM/VTMID");
        check("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", &[], "f.xml:1: has a document type: dm+d has none");
        check("<A>&b;</A>", &[], "f.xml:1: names an entity that is not known: `b`");
        let deep = "<a>".repeat(17);
        check(&deep, &[], "f.xml:1: has elements more than 16 deep");
    }
}
