//! A release, read: every question is answered from its bytes, without an allocation that depends on its size.

use crate::{
    build::{DmdEntry, HISTORY_BYTES, Held, LoincEntry, NOT_PREFERRED, RECORD_BYTES, map_key},
    container::{self, File, Header, Refused, Section, Texts, find_u64, u32_at, u64_at},
    dmd::{Kind, Product},
    history::{self, Association, Today},
    lists::{List, Lists},
    read_maps::{Choice, ReadSystem, Target, choose_term},
    rf2,
};
use serde::Deserialize;
use std::sync::Arc;

/// An index of a release. Cheap to clone.
#[derive(Clone)]
pub struct Release {
    file: File,
}

impl std::fmt::Debug for Release {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Release({})", self.id())
    }
}

/// A concept by its place in the order of the hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub(crate) u32);

/// One name of a concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    pub id: u64,
    pub concept: u64,
    pub term: &'a str,
    pub fully_specified: bool,
    pub active: bool,
    pub language: [u8; 2],
    /// The smaller, the sooner shown; none where nobody prefers it.
    pub preference: Option<u8>,
}

/// What a product of dm+d is, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medicine {
    pub product: Product,
    pub holds: Vec<Held>,
}

/// From actual product to virtual product to moiety.
const PRODUCT_STEPS_MAX: usize = 4;

impl Release {
    pub fn open(bytes: Arc<[u8]>) -> Result<Self, Refused> {
        let file = File::open(bytes)?;
        let of = |section, size: usize| {
            let length = file.section(section).len();
            (length % size == 0).then_some(length / size).ok_or(Refused::Damaged)
        };
        let concepts = of(Section::ConceptIds, 8)?;
        let equal = [
            of(Section::ConceptOrdinals, 4)?,
            of(Section::OrdinalIds, 8)?,
            of(Section::OrdinalFlags, 1)?,
            of(Section::AncestorOffsets, 4)?.saturating_sub(1),
            of(Section::NameOffsets, 4)?.saturating_sub(1),
        ];
        let descriptions = of(Section::DescriptionRecords, RECORD_BYTES)?;
        let others = [of(Section::DescriptionIds, 8)?, of(Section::DescriptionOrdinals, 4)?];
        if equal.iter().any(|count| *count != concepts) || others.iter().any(|count| *count != descriptions) {
            return Err(Refused::Damaged);
        }
        Ok(Self { file })
    }

    pub fn header(&self) -> &Header {
        &self.file.header
    }

    /// Name and content, in one line: part of what makes a revision.
    pub fn id(&self) -> String {
        self.file.header.id()
    }

    /// Bytes that it occupies.
    pub fn size(&self) -> usize {
        self.file.len()
    }

    fn section(&self, id: Section) -> &[u8] {
        self.file.section(id)
    }

    fn lists(&self, offsets: Section, blob: Section) -> Lists<'_> {
        Lists { offsets: self.section(offsets), blob: self.section(blob) }
    }

    pub(crate) fn texts(&self, offsets: Section, blob: Section) -> Texts<'_> {
        Texts { offsets: self.section(offsets), blob: self.section(blob) }
    }

    pub fn concepts(&self) -> usize {
        self.section(Section::OrdinalFlags).len()
    }

    pub fn find(&self, concept: u64) -> Option<Ordinal> {
        let nth = find_u64(self.section(Section::ConceptIds), concept)?;
        Some(Ordinal(u32_at(self.section(Section::ConceptOrdinals), nth)))
    }

    pub fn concept(&self, ordinal: Ordinal) -> u64 {
        u64_at(self.section(Section::OrdinalIds), ordinal.0 as usize)
    }

    /// In use? None where the release has no such concept.
    pub fn active(&self, concept: u64) -> Option<bool> {
        let ordinal = self.find(concept)?;
        Some(self.section(Section::OrdinalFlags).get(ordinal.0 as usize) == Some(&1))
    }

    fn ancestor_list(&self, ordinal: Ordinal) -> List<'_> {
        self.lists(Section::AncestorOffsets, Section::Ancestors).get(ordinal.0 as usize)
    }

    /// Is the first the second, or one of its descendants? None where the release lacks either.
    pub fn is_a(&self, concept: u64, ancestor: u64) -> Option<bool> {
        let (concept, ancestor) = (self.find(concept)?, self.find(ancestor)?);
        Some(self.is_below(concept, ancestor))
    }

    pub fn is_below(&self, concept: Ordinal, ancestor: Ordinal) -> bool {
        // Ancestors stand before their descendants.
        concept == ancestor || (ancestor < concept && self.ancestor_list(concept).contains(ancestor.0))
    }

    pub fn parents(&self, concept: u64) -> Vec<u64> {
        let Some(ordinal) = self.find(concept) else { return Vec::new() };
        let parents = self.lists(Section::ParentOffsets, Section::Parents).get(ordinal.0 as usize);
        parents.iter().map(|parent| self.concept(Ordinal(parent))).collect()
    }

    pub fn ancestors(&self, concept: u64) -> Vec<u64> {
        let Some(ordinal) = self.find(concept) else { return Vec::new() };
        self.ancestor_list(ordinal).iter().map(|it| self.concept(Ordinal(it))).collect()
    }

    /// All below, without itself. Looks at every concept: for what is made once, not for a rule.
    pub fn descendants(&self, concept: u64) -> Vec<u64> {
        let Some(ancestor) = self.find(concept) else { return Vec::new() };
        let later = (ancestor.0 + 1..self.concepts() as u32).map(Ordinal);
        later.filter(|it| self.ancestor_list(*it).contains(ancestor.0)).map(|it| self.concept(it)).collect()
    }

    pub fn children(&self, concept: u64) -> Vec<u64> {
        let Some(parent) = self.find(concept) else { return Vec::new() };
        let parents = self.lists(Section::ParentOffsets, Section::Parents);
        let later = (parent.0 + 1..self.concepts() as u32).map(Ordinal);
        later.filter(|it| parents.get(it.0 as usize).contains(parent.0)).map(|it| self.concept(it)).collect()
    }

    /// The name at a place of the order of search.
    pub(crate) fn name(&self, ordinal: u32) -> Option<Name<'_>> {
        let at = ordinal as usize * RECORD_BYTES;
        let record = self.section(Section::DescriptionRecords).get(at..at + RECORD_BYTES)?;
        let (offset, length) = (u32_at(record, 1) as usize, usize::from(u16::from_le_bytes([record[8], record[9]])));
        let term = self.section(Section::Text).get(offset..offset + length)?;
        Some(Name {
            id: u64_at(&record[16..], 0),
            concept: self.concept(Ordinal(u32_at(record, 0))),
            term: std::str::from_utf8(term).ok()?,
            fully_specified: record[10] == rf2::FSN,
            active: record[11] == 1,
            preference: (record[12] != NOT_PREFERRED).then_some(record[12]),
            language: [record[14], record[15]],
        })
    }

    pub fn description(&self, id: u64) -> Option<Name<'_>> {
        let nth = find_u64(self.section(Section::DescriptionIds), id)?;
        self.name(u32_at(self.section(Section::DescriptionOrdinals), nth))
    }

    pub fn names(&self, concept: u64) -> impl Iterator<Item = Name<'_>> {
        let own = self.find(concept).map(|it| self.lists(Section::NameOffsets, Section::Names).get(it.0 as usize));
        own.into_iter().flat_map(List::iter).filter_map(|ordinal| self.name(ordinal))
    }

    /// The name to show: of active names the most preferred synonym, else any synonym, else the fully specified one.
    pub fn preferred(&self, concept: u64) -> Option<Name<'_>> {
        let rank = |name: &Name<'_>| (!name.active, name.fully_specified, name.preference.unwrap_or(u8::MAX), name.id);
        self.names(concept).min_by_key(rank)
    }

    pub fn fully_specified(&self, concept: u64) -> Option<Name<'_>> {
        let named = self.names(concept).filter(|name| name.fully_specified);
        named.min_by_key(|name| (!name.active, name.preference.unwrap_or(u8::MAX), name.id))
    }

    /// What the history says of a concept, in its own words.
    pub fn associations(&self, concept: u64) -> Vec<(Association, u64)> {
        let rows = self.section(Section::History);
        let (mut low, mut high) = (0, rows.len() / HISTORY_BYTES);
        let of = |nth: usize| u64_at(rows.get(nth * HISTORY_BYTES..).unwrap_or_default(), 0);
        while low < high {
            let middle = usize::midpoint(low, high);
            if of(middle) < concept { low = middle + 1 } else { high = middle }
        }
        let own = rows[low * HISTORY_BYTES..].chunks_exact(HISTORY_BYTES).take_while(|row| u64_at(row, 0) == concept);
        own.map(|row| (Association::of_byte(row[8]), u64_at(&row[9..], 0))).collect()
    }

    /// What a concept means today.
    pub fn today(&self, concept: u64) -> Today {
        history::today(concept, |id| self.active(id), |id| self.associations(id))
    }

    fn values(&self, ids: [Section; 4], range: std::ops::Range<usize>) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (keys, values) = (self.texts(ids[0], ids[1]), self.texts(ids[2], ids[3]));
        range.map(move |nth| (keys.get(nth), values.get(nth)))
    }

    fn exact<'a, T: Deserialize<'a>>(&'a self, ids: [Section; 4], key: &[u8]) -> Option<T> {
        let keys = self.texts(ids[0], ids[1]);
        let nth = keys.lower_bound(key);
        (nth < keys.len() && keys.get(nth) == key).then_some(())?;
        postcard::from_bytes(self.texts(ids[2], ids[3]).get(nth)).ok()
    }

    /// Every row that the maps have for a code, with its term.
    pub fn map_rows(&self, system: &str, code: &str) -> Vec<(String, Target)> {
        const IDS: [Section; 4] =
            [Section::MapKeyOffsets, Section::MapKeys, Section::MapValueOffsets, Section::MapValues];
        let prefix = map_key(system, code, "");
        let range = self.texts(IDS[0], IDS[1]).beginning_with(&prefix);
        let rows = self.values(IDS, range).filter_map(|(key, value)| {
            let term = std::str::from_utf8(&key[prefix.len()..]).ok()?;
            Some((term.to_owned(), postcard::from_bytes(value).ok()?))
        });
        rows.collect()
    }

    /// What a Read code means, by the rule of `read_maps`.
    pub fn read_code(&self, system: ReadSystem, code: &str, term: Option<&str>) -> Choice {
        choose_term(system, self.map_rows(system.as_str(), code), term)
    }

    pub fn loinc(&self, code: &str) -> Option<LoincEntry> {
        let ids = [Section::LoincKeyOffsets, Section::LoincKeys, Section::LoincValueOffsets, Section::LoincValues];
        self.exact(ids, code.as_bytes())
    }

    /// A product by its id, or by the one that it had before.
    pub fn medicine(&self, id: u64) -> Option<Medicine> {
        let ids = [Section::DmdKeyOffsets, Section::DmdKeys, Section::DmdValueOffsets, Section::DmdValues];
        let entry = |id: u64| self.exact::<DmdEntry>(ids, &id.to_be_bytes());
        match entry(id)? {
            DmdEntry::Product { product, holds } => Some(Medicine { product, holds }),
            DmdEntry::Now(now) => match entry(now)? {
                DmdEntry::Product { product, holds } => Some(Medicine { product, holds }),
                DmdEntry::Now(_) => None,
            },
        }
    }

    /// What a product holds: its own ingredients, else those of the virtual product that it is one of.
    pub fn ingredients(&self, id: u64) -> Vec<Held> {
        let mut at = Some(id);
        for _ in 0..PRODUCT_STEPS_MAX {
            let Some(medicine) = at.and_then(|id| self.medicine(id)) else { break };
            if medicine.product.kind == Kind::Vmp || !medicine.holds.is_empty() {
                return medicine.holds;
            }
            at = medicine.product.of;
        }
        Vec::new()
    }

    /// Of the refsets that are kept.
    pub fn is_member(&self, refset: u64, concept: u64) -> Option<bool> {
        let nth = find_u64(self.section(Section::RefsetIds), refset)?;
        let members = self.lists(Section::RefsetOffsets, Section::RefsetMembers).get(nth);
        Some(self.find(concept).is_some_and(|ordinal| members.contains(ordinal.0)))
    }

    pub(crate) fn postings(&self, word: usize) -> List<'_> {
        self.lists(Section::PostingOffsets, Section::Postings).get(word)
    }

    pub(crate) fn words(&self) -> container::Texts<'_> {
        self.texts(Section::WordOffsets, Section::Words)
    }
}
