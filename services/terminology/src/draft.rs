//! What was read of a release's files, before it is put in order.

use crate::{dmd::Product, loinc::Term, read_maps::MapRow, table::Line};

pub const CONCEPTS_MAX: usize = 10_000_000;
pub const DESCRIPTIONS_MAX: usize = 50_000_000;
/// Texts are addressed by 32 bits.
pub const TEXT_BYTES_MAX: usize = u32::MAX as usize;
pub const SIMPLE_MAPS_MAX: usize = 5_000_000;

pub struct Concept {
    pub id: u64,
    pub time: u32,
    pub active: bool,
    pub line: Line,
}

pub struct Description {
    pub id: u64,
    pub of: u64,
    pub offset: u32,
    pub time: u32,
    pub length: u16,
    pub kind: u8,
    pub language: [u8; 2],
    pub active: bool,
    pub line: Line,
}

pub struct IsA {
    pub id: u64,
    pub from: u64,
    pub to: u64,
    pub time: u32,
    pub active: bool,
    pub line: Line,
}

pub struct Preferred {
    pub description: u64,
    pub rank: u8,
}

pub struct Association {
    pub of: u64,
    pub refset: u64,
    pub target: u64,
    pub line: Line,
}

pub struct Simple {
    pub of: u64,
    pub refset: u64,
    pub code: String,
}

#[derive(Default)]
pub struct Draft {
    files: Vec<String>,
    pub text: Vec<u8>,
    pub concepts: Vec<Concept>,
    pub descriptions: Vec<Description>,
    pub is_a: Vec<IsA>,
    pub preferred: Vec<Preferred>,
    pub associations: Vec<Association>,
    pub simple: Vec<Simple>,
    pub members: Vec<(u64, u64)>,
    pub maps: Vec<MapRow>,
    pub loinc: Vec<Term>,
    /// From a LOINC code to what stands in its place, with the release's comment.
    pub loinc_maps: Vec<(String, String)>,
    pub products: Vec<(Product, Line)>,
}

impl Draft {
    /// Remembers a file's name, for what is found wrong only later.
    pub fn file(&mut self, name: &str) -> u16 {
        self.files.push(name.to_owned());
        u16::try_from(self.files.len() - 1).unwrap_or(u16::MAX)
    }

    pub fn file_of(&self, line: Line) -> &str {
        self.files.get(usize::from(line.file)).map_or("", String::as_str)
    }

    /// Keeps a term, and tells where.
    pub fn term(&mut self, term: &str) -> Result<(u32, u16), String> {
        if self.descriptions.len() >= DESCRIPTIONS_MAX {
            return Err(format!("more than {DESCRIPTIONS_MAX} descriptions"));
        }
        let (offset, length) = (self.text.len(), term.len());
        match (u32::try_from(offset), u16::try_from(length)) {
            (Ok(at), Ok(length)) if offset + term.len() <= TEXT_BYTES_MAX => {
                self.text.extend_from_slice(term.as_bytes());
                Ok((at, length))
            }
            _ => Err(format!("more than {TEXT_BYTES_MAX} bytes of terms")),
        }
    }

    pub fn simple(&mut self, simple: Simple) -> Result<(), String> {
        if self.simple.len() >= SIMPLE_MAPS_MAX {
            return Err(format!("more than {SIMPLE_MAPS_MAX} rows of simple maps"));
        }
        self.simple.push(simple);
        Ok(())
    }
}
