//! SNOMED CT's release format 2: rows of the snapshot files, as far as the index wants them.
//!
//! Identifiers of metadata are those that releases are published with; each was seen in public readers of the format.

use crate::{
    draft::{Association, CONCEPTS_MAX, Concept, Description, Draft, IsA, Preferred, Simple},
    mistake::{Mistakes, short},
    sctid::{self, Component},
    table::{Line, Row, Table, day, flag},
};
use std::io::BufRead;

/// The one concept above all.
pub const ROOT: u64 = 138_875_005;
pub const IS_A: u64 = 116_680_003;
const INFERRED: u64 = 900_000_000_000_011_006;
const FULLY_SPECIFIED: u64 = 900_000_000_000_003_001;
const SYNONYM: u64 = 900_000_000_000_013_009;
const PREFERRED: u64 = 900_000_000_000_548_007;

/// Language refsets by whose preferred term is shown first: the realm's clinical and pharmacy parts, British English,
/// American English. Preferences of another one count after these.
pub const LANGUAGES: [u64; 4] =
    [999_001_261_000_000_100, 999_000_691_000_001_104, 900_000_000_000_508_004, 900_000_000_000_509_007];

/// Refsets that are kept as sets of concepts, by what they are called.
pub const REFSETS: [(u64, &str); 3] = [
    (999_002_881_000_000_100, "PBCL: pathology bounded code list"),
    (1_853_551_000_000_106, "PaLM observables (the UTL by its newer name)"),
    (1_853_561_000_000_109, "PaLM procedures"),
];

/// Bytes of a term: a longer one is no name.
pub const TERM_BYTES_MAX: usize = 32 * 1024;

/// Kinds of a description.
pub const FSN: u8 = 0;
pub const NAME: u8 = 1;

/// The columns that every component begins with.
struct Head {
    id: u64,
    time: u32,
    active: bool,
}

fn head(row: &Row<'_>, component: Component) -> Result<Head, String> {
    let id = sctid::parse_as(row.cell(0), component)?;
    Ok(Head { id, time: day(row.cell(1))?, active: flag(row.cell(2))? })
}

fn concept(text: &str) -> Result<u64, String> {
    sctid::parse_as(text, Component::Concept)
}

/// Reads every row of a file; a row's own mistake passes over that row.
pub fn each(
    reader: &mut dyn BufRead,
    name: &str,
    columns: &[&str],
    mistakes: &mut Mistakes,
    mut take: impl FnMut(&Row<'_>) -> Result<(), String>,
) {
    let Some(mut table) = Table::open(reader, name, columns, mistakes) else { return };
    // The row borrows the table: what is wrong is put by until the next.
    loop {
        let Some(row) = table.next(mistakes) else { return };
        let line = row.line;
        if let Err(what) = take(&row) {
            mistakes.add(name, line, what);
        }
    }
}

const fn at(row: &Row<'_>, file: u16) -> Line {
    Line { number: if row.line > u32::MAX as u64 { u32::MAX } else { row.line as u32 }, file }
}

impl Draft {
    pub fn concepts(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        let file = self.file(name);
        each(reader, name, &["id", "effectiveTime", "active"], mistakes, |row| {
            let Head { id, time, active } = head(row, Component::Concept)?;
            if self.concepts.len() >= CONCEPTS_MAX {
                return Err(format!("more than {CONCEPTS_MAX} concepts"));
            }
            self.concepts.push(Concept { id, time, active, line: at(row, file) });
            Ok(())
        });
    }

    pub fn descriptions(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        const COLUMNS: [&str; 7] = ["id", "effectiveTime", "active", "conceptId", "languageCode", "typeId", "term"];
        let file = self.file(name);
        each(reader, name, &COLUMNS, mistakes, |row| {
            let Head { id, time, active } = head(row, Component::Description)?;
            let of = concept(row.cell(3))?;
            let kind = match row.cell(5).parse() {
                Ok(FULLY_SPECIFIED) => FSN,
                Ok(SYNONYM) => NAME,
                // Definitions are prose, and there may be kinds that are yet to come: no names.
                _ => return Ok(()),
            };
            let term = row.cell(6);
            if term.trim().is_empty() || term.len() > TERM_BYTES_MAX {
                return Err(format!("a term of {} bytes: there are 1 to {TERM_BYTES_MAX}", term.len()));
            }
            let language = row.cell(4).as_bytes();
            let language = [language.first().copied().unwrap_or(b'?'), language.get(1).copied().unwrap_or(b'?')];
            let (offset, length) = self.term(term)?;
            let line = at(row, file);
            self.descriptions.push(Description { id, of, offset, time, length, kind, language, active, line });
            Ok(())
        });
    }

    /// `is-a` as inferred; every other relationship is passed over.
    pub fn relationships(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        const COLUMNS: [&str; 7] =
            ["id", "effectiveTime", "active", "sourceId", "destinationId", "typeId", "characteristicTypeId"];
        let file = self.file(name);
        each(reader, name, &COLUMNS, mistakes, |row| {
            let Head { id, time, active } = head(row, Component::Relationship)?;
            let kind = concept(row.cell(5))?;
            let inferred = row.cell(6).parse() == Ok(INFERRED);
            let (from, to) = (concept(row.cell(3))?, concept(row.cell(4))?);
            if kind == IS_A && inferred {
                self.is_a.push(IsA { id, from, to, time, active, line: at(row, file) });
            }
            Ok(())
        });
    }

    /// Which descriptions are preferred, and by whom. That others are acceptable is not kept.
    pub fn languages(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        self.file(name);
        each(reader, name, &["active", "refsetId", "referencedComponentId", "acceptabilityId"], mistakes, |row| {
            let (active, refset) = (flag(row.cell(0))?, concept(row.cell(1))?);
            let description = sctid::parse_as(row.cell(2), Component::Description)?;
            let preferred = concept(row.cell(3))? == PREFERRED;
            if active && preferred {
                let rank = LANGUAGES.iter().position(|known| *known == refset).unwrap_or(LANGUAGES.len());
                self.preferred.push(Preferred { description, rank: rank as u8 });
            }
            Ok(())
        });
    }

    /// History: what stands in a concept's place, and by which association.
    pub fn associations(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        let file = self.file(name);
        each(reader, name, &["active", "refsetId", "referencedComponentId", "targetComponentId"], mistakes, |row| {
            let (active, refset) = (flag(row.cell(0))?, concept(row.cell(1))?);
            let identifier =
                |text: &str| sctid::parse(text).ok_or_else(|| format!("`{}` is no identifier", short(text)));
            let (of, target) = (identifier(row.cell(2))?, identifier(row.cell(3))?);
            // Descriptions have associations, too; their concepts tell more.
            if active && sctid::component(of) == Some(Component::Concept) {
                self.associations.push(Association { of, refset, target, line: at(row, file) });
            }
            Ok(())
        });
    }

    /// Codes of other systems, one to a concept: CTV3 and ICD-O in releases.
    pub fn simple_maps(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        self.file(name);
        each(reader, name, &["active", "refsetId", "referencedComponentId", "mapTarget"], mistakes, |row| {
            let (active, refset, of) = (flag(row.cell(0))?, concept(row.cell(1))?, concept(row.cell(2))?);
            let code = row.cell(3);
            if active && !code.is_empty() {
                self.simple(Simple { of, refset, code: code.to_owned() })?;
            }
            Ok(())
        });
    }

    /// Members of the refsets that are wanted.
    pub fn members(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        self.file(name);
        each(reader, name, &["active", "refsetId", "referencedComponentId"], mistakes, |row| {
            let (active, refset) = (flag(row.cell(0))?, concept(row.cell(1))?);
            if active && REFSETS.iter().any(|(known, _)| *known == refset) {
                self.members.push((refset, concept(row.cell(2))?));
            }
            Ok(())
        });
    }
}
