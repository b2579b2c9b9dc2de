//! The file of an index: a header, sections, and behind them where they begin and a checksum of all.
//!
//! ```text
//! CAUSTERM | version u32 | header length u32 | header (JSON) | sections … | directory | directory at u64 | checksum u128
//! ```
//! Numbers are little-endian. The checksum (XXH3, 128 bits) is of everything before it: a file that was cut short or
//! damaged is refused before anything of it is believed.

use serde::{Deserialize, Serialize};
use std::{io::Write, ops::Range, sync::Arc};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

const MAGIC: &[u8; 8] = b"CAUSTERM";
/// Of this form; a file of another one is loaded anew from its inputs.
pub const FORMAT: u32 = 1;
const HEADER_BYTES_MAX: usize = 1 << 20;
const HEAD_BYTES: usize = 16;
const TAIL_BYTES: usize = 24;
const ENTRY_BYTES: usize = 20;

/// What a file was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// As the site calls it.
    pub name: String,
    /// What is in it, and of when: `SNOMED CT GB 20260401`.
    pub releases: Vec<String>,
    pub inputs: Vec<Input>,
    pub counts: std::collections::BTreeMap<String, u64>,
    /// What was noticed and did not stop it.
    pub warnings: Vec<String>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
}

impl Header {
    /// Name and content: the same inputs under the same name, read by the same form, are the same release.
    pub fn id(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(&FORMAT.to_le_bytes());
        for input in &self.inputs {
            hash.update(input.sha256.as_bytes());
        }
        format!("{} {:016x}", self.name, hash.digest())
    }
}

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("is no index of a release: it does not begin as one")]
    Foreign,
    #[error(
        "is of format {0}, and this version reads {FORMAT}: load the release again with `causeway terminology load`"
    )]
    Format(u32),
    #[error("is damaged or was cut short: load the release again with `causeway terminology load`")]
    Damaged,
}

/// Writes a file, section by section.
pub struct Writer<W> {
    out: W,
    hash: Xxh3,
    at: u64,
    directory: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W, header: &Header) -> std::io::Result<Self> {
        let mut writer = Self { out, hash: Xxh3::new(), at: 0, directory: Vec::new() };
        let header = serde_json::to_vec(header)?;
        let length = u32::try_from(header.len()).ok().filter(|length| *length as usize <= HEADER_BYTES_MAX);
        let length = length.ok_or_else(|| std::io::Error::other("the header is too long: too many input files"))?;
        writer.put(MAGIC)?;
        writer.put(&FORMAT.to_le_bytes())?;
        writer.put(&length.to_le_bytes())?;
        writer.put(&header)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    pub fn section(&mut self, id: Section, bytes: &[u8]) -> std::io::Result<()> {
        self.directory.extend_from_slice(&(id as u32).to_le_bytes());
        self.directory.extend_from_slice(&self.at.to_le_bytes());
        self.directory.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.put(bytes)
    }

    pub fn finish(mut self) -> std::io::Result<W> {
        let (directory, at) = (std::mem::take(&mut self.directory), self.at);
        self.put(&directory)?;
        self.put(&at.to_le_bytes())?;
        let checksum = self.hash.digest128();
        self.out.write_all(&checksum.to_le_bytes())?;
        Ok(self.out)
    }
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Section {
    /// u64, growing.
    ConceptIds,
    /// u32: the ordinal of each of those.
    ConceptOrdinals,
    /// u64 by ordinal.
    OrdinalIds,
    /// u8 by ordinal: 1 where it is active.
    OrdinalFlags,
    ParentOffsets,
    Parents,
    AncestorOffsets,
    Ancestors,
    /// u64, growing.
    DescriptionIds,
    DescriptionOrdinals,
    DescriptionRecords,
    Text,
    NameOffsets,
    Names,
    WordOffsets,
    Words,
    PostingOffsets,
    Postings,
    History,
    MapKeyOffsets,
    MapKeys,
    MapValueOffsets,
    MapValues,
    LoincKeyOffsets,
    LoincKeys,
    LoincValueOffsets,
    LoincValues,
    DmdKeyOffsets,
    DmdKeys,
    DmdValueOffsets,
    DmdValues,
    RefsetIds,
    RefsetOffsets,
    RefsetMembers,
}

const SECTIONS: usize = Section::RefsetMembers as usize + 1;

/// A file whose checksum was right.
#[derive(Clone)]
pub struct File {
    bytes: Arc<[u8]>,
    pub header: Arc<Header>,
    sections: [(usize, usize); SECTIONS],
}

impl File {
    pub fn open(bytes: Arc<[u8]>) -> Result<Self, Refused> {
        let number = |at: usize| bytes.get(at..at + 4).map(|it| u32::from_le_bytes(it.try_into().unwrap_or_default()));
        let long = |at: usize| {
            let it = bytes.get(at..at + 8)?;
            usize::try_from(u64::from_le_bytes(it.try_into().unwrap_or_default())).ok()
        };
        if !bytes.starts_with(MAGIC) {
            return Err(Refused::Foreign);
        }
        match number(8) {
            Some(FORMAT) => {}
            Some(other) => return Err(Refused::Format(other)),
            None => return Err(Refused::Damaged),
        }
        let checked = bytes.len().checked_sub(16).filter(|end| *end >= HEAD_BYTES + 8).ok_or(Refused::Damaged)?;
        let told = bytes[checked..].try_into().map(u128::from_le_bytes).map_err(|_| Refused::Damaged)?;
        if xxh3_128(&bytes[..checked]) != told {
            return Err(Refused::Damaged);
        }
        let length = number(12).ok_or(Refused::Damaged)? as usize;
        let header = bytes.get(HEAD_BYTES..HEAD_BYTES + length).ok_or(Refused::Damaged)?;
        let header = serde_json::from_slice(header).map_err(|_| Refused::Damaged)?;
        let directory = long(bytes.len() - TAIL_BYTES).ok_or(Refused::Damaged)?;
        let mut sections = [(0, 0); SECTIONS];
        let entries = bytes.get(directory..bytes.len() - TAIL_BYTES).ok_or(Refused::Damaged)?;
        for nth in 0..entries.len() / ENTRY_BYTES {
            let at = directory + nth * ENTRY_BYTES;
            let (id, from, length) = (number(at), long(at + 4), long(at + 12));
            let (Some(id), Some(from), Some(length)) = (id, from, length) else { return Err(Refused::Damaged) };
            let end = from.checked_add(length).filter(|end| *end <= directory).ok_or(Refused::Damaged)?;
            *sections.get_mut(id as usize).ok_or(Refused::Damaged)? = (from, end);
        }
        Ok(Self { header: Arc::new(header), sections, bytes })
    }

    pub fn section(&self, id: Section) -> &[u8] {
        let (from, to) = self.sections[id as usize];
        &self.bytes[from..to]
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Numbers of eight bytes, growing.
pub fn find_u64(numbers: &[u8], wanted: u64) -> Option<usize> {
    let (mut low, mut high) = (0, numbers.len() / 8);
    while low < high {
        let middle = usize::midpoint(low, high);
        match u64_at(numbers, middle).cmp(&wanted) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(middle),
        }
    }
    None
}

pub fn u64_at(numbers: &[u8], nth: usize) -> u64 {
    numbers.get(nth * 8..nth * 8 + 8).map_or(0, |it| u64::from_le_bytes(it.try_into().unwrap_or_default()))
}

pub fn u32_at(numbers: &[u8], nth: usize) -> u32 {
    numbers.get(nth * 4..nth * 4 + 4).map_or(0, |it| u32::from_le_bytes(it.try_into().unwrap_or_default()))
}

/// Texts in order, one behind the other.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    pub offsets: &'a [u8],
    pub blob: &'a [u8],
}

impl<'a> Texts<'a> {
    pub const fn len(self) -> usize {
        (self.offsets.len() / 4).saturating_sub(1)
    }

    pub fn get(self, nth: usize) -> &'a [u8] {
        let (from, to) = (u32_at(self.offsets, nth) as usize, u32_at(self.offsets, nth + 1) as usize);
        self.blob.get(from..to).unwrap_or_default()
    }

    /// The first that is not less.
    pub fn lower_bound(self, wanted: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.get(middle) < wanted { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Those that begin so.
    pub fn beginning_with(self, prefix: &[u8]) -> Range<usize> {
        let from = self.lower_bound(prefix);
        let mut to = from;
        // By halves: a short prefix may have many.
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.get(middle).starts_with(prefix) {
                low = middle + 1;
                to = low;
            } else {
                high = middle;
            }
        }
        from..to
    }
}

/// Writes texts in order.
pub struct TextWriter {
    pub offsets: Vec<u8>,
    pub blob: Vec<u8>,
}

impl Default for TextWriter {
    fn default() -> Self {
        Self { offsets: 0_u32.to_le_bytes().to_vec(), blob: Vec::new() }
    }
}

impl TextWriter {
    pub fn push(&mut self, text: &[u8]) {
        self.blob.extend_from_slice(text);
        let end = u32::try_from(self.blob.len()).unwrap_or(u32::MAX);
        self.offsets.extend_from_slice(&end.to_le_bytes());
    }
}
