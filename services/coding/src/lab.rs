//! The lab table: which codes name which analyte, how its units convert, and which of its numbers can be.
//!
//! # Why
//! An analyte is what rules watch. Potassium is potassium to them whether a laboratory took plasma or a blood gas
//! analyser took whole blood, and glucose whether it was fasting or by meter, so those codes are members of one analyte
//! on purpose: a code that is no member is silent. What a code *means* differs, so a missing code is filled in only from
//! its own line: whole blood is never given the code of serum, and a code of a mass never that of an amount. A *family* is
//! what one limit may watch together although it is several analytes: glucose, and glucose two hours after a load.
//!
//! `data/analytes.csv` has a line for each analyte: its family, UCUM unit, customary decimals (empty: up to three), the units
//! it is read in with the exact factor to the first (`=wrong`: seen in that unit, and never right), the least and greatest
//! number that can be and why (no reference: none), its specimen, and what is left unconverted. `data/codes.csv` has a
//! line for the codes that mean one thing, and the kinds of public files in which each was seen with its name:
//! `public-code-lists` is the weakest, published lists that agree. Seen is not official: all are to be held against the
//! releases by the terminology loader. A site adds to both in a file of its own ([`site`]).
//!
//! Factors: computed from molar masses. This material contains content from LOINC (http://loinc.org), copyright
//! Regenstrief Institute, Inc., available at no cost under the licence at http://loinc.org/license.

mod shipped;
pub mod site;
#[cfg(test)]
mod tests;

use super::{System, read, units::Units};
use rust_decimal::Decimal;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Analyte {
    /// What rules and limits call it.
    pub key: String,
    pub family: Option<String>,
    /// UCUM.
    pub unit: String,
    /// As laboratories print it; none where no source says.
    pub decimals: Option<u32>,
    /// Units as people write them, keyed by analyte, never by unit alone.
    pub units: Units,
    pub plausible: Plausible,
    /// What it is measured in: a word of `specimens.csv`. Empty: nothing is said.
    pub specimen: String,
    /// What has no factor, and why.
    pub left: Option<String>,
    pub members: Vec<Member>,
}

/// The least and the greatest number that can be, in the canonical unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plausible {
    pub low: Option<Decimal>,
    pub high: Option<Decimal>,
    /// By what they are known; `none` where nothing is.
    pub by: String,
}

impl Plausible {
    pub fn holds(&self, number: Decimal) -> bool {
        self.low.is_none_or(|low| number >= low) && self.high.is_none_or(|high| number <= high)
    }
}

/// Codes that mean one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    pub text: String,
    /// Read v2, five characters.
    pub read: Vec<String>,
    /// SNOMED CT; the first is the one shown where a source gives none.
    pub snomed: Vec<String>,
    /// LOINC; the first is that of the canonical unit.
    pub loinc: Vec<String>,
    pub seen_in: String,
}

impl Member {
    pub fn codes(&self) -> impl Iterator<Item = (System, &str)> {
        let systems = [(System::ReadV2, &self.read), (System::Snomed, &self.snomed), (System::Loinc, &self.loinc)];
        systems.into_iter().flat_map(|(system, codes)| codes.iter().map(move |code| (system, code.as_str())))
    }
}

impl Analyte {
    /// Its first member's name.
    pub fn text(&self) -> &str {
        self.members.first().map_or(&self.key, |member| &member.text)
    }

    /// Every code that makes a result one of this analyte.
    pub fn codes(&self) -> impl Iterator<Item = (System, &str)> {
        self.members.iter().flat_map(Member::codes)
    }
}

/// Where a code stands: analyte and member.
type Place = (usize, usize);
/// By system.
type Codes<const N: usize> = [HashMap<String, Place>; N];

/// The table that a process works with: the one that is shipped, and what the site adds.
#[derive(Debug)]
pub struct Lab {
    analytes: Vec<Analyte>,
    keys: HashMap<String, usize>,
    /// Codes of each system: Read v2, SNOMED CT, LOINC.
    codes: Codes<3>,
    /// Of one source alone, by its name: they go before all others.
    own: BTreeMap<String, Codes<{ System::NAMES.len() }>>,
    release: String,
    digest: u64,
}

/// A code's analyte, and the member whose codes mean the same.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub analyte: &'a Analyte,
    pub member: &'a Member,
}

impl Lab {
    /// The table that is part of the program.
    pub fn shipped() -> Arc<Self> {
        static SHIPPED: LazyLock<Arc<Lab>> = LazyLock::new(Arc::default);
        SHIPPED.clone()
    }

    /// Of codes that name two analytes the first counts; a test holds that none is shipped, and a site's file is refused.
    fn of(analytes: Vec<Analyte>, digest: u64) -> Self {
        let release = format!("analytes.csv {:08x}", digest >> 32);
        let mut lab = Self {
            analytes: Vec::new(),
            keys: HashMap::new(),
            codes: Codes::default(),
            own: BTreeMap::new(),
            release,
            digest,
        };
        for (at, analyte) in analytes.iter().enumerate() {
            lab.keys.insert(analyte.key.clone(), at);
            for (nth, member) in analyte.members.iter().enumerate() {
                for (system, code) in member.codes() {
                    if let Some(codes) = lab.codes.get_mut(index(system)) {
                        codes.entry(code.to_owned()).or_insert((at, nth));
                    }
                }
            }
        }
        Self { analytes, ..lab }
    }

    pub fn analytes(&self) -> &[Analyte] {
        &self.analytes
    }

    pub fn analyte(&self, key: &str) -> Option<&Analyte> {
        self.analytes.get(*self.keys.get(key)?)
    }

    /// The analytes of a family, in the table's order.
    pub fn family<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a Analyte> {
        self.analytes.iter().filter(move |analyte| analyte.family.as_deref() == Some(family))
    }

    /// What a code means. No scan, and nothing is allocated.
    pub fn find(&self, system: System, code: &str) -> Option<Found<'_>> {
        self.at(place(&self.codes, system, code)?)
    }

    /// What a code means at one source, where the site says so: whatever it and the row's other codes mean elsewhere.
    pub fn own(&self, source: &str, system: System, code: &str) -> Option<Found<'_>> {
        self.at(place(self.own.get(source)?, system, code)?)
    }

    /// The codes that count at one source alone: source, system, code and analyte.
    pub fn own_codes(&self) -> impl Iterator<Item = (&str, System, &str, &str)> {
        self.own.iter().flat_map(move |(source, systems)| {
            let systems = System::NAMES.iter().map(|(_, system)| (*system, &systems[index(*system)]));
            systems.flat_map(move |(system, codes)| {
                codes.iter().filter_map(move |(code, place)| {
                    Some((source.as_str(), system, code.as_str(), self.at(*place)?.analyte.key.as_str()))
                })
            })
        })
    }

    /// The sources that have codes of their own.
    pub fn own_sources(&self) -> impl Iterator<Item = &str> {
        self.own.keys().map(String::as_str)
    }

    fn at(&self, (analyte, member): Place) -> Option<Found<'_>> {
        let analyte = self.analytes.get(analyte)?;
        Some(Found { analyte, member: analyte.members.get(member)? })
    }

    /// How codings and events call this table: its name and what is in it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Of all that is in it: with another table, results are read anew.
    pub const fn digest(&self) -> u64 {
        self.digest
    }
}

/// The table that is shipped.
impl Default for Lab {
    fn default() -> Self {
        Self::of(shipped::analytes(), shipped::digest())
    }
}

fn place<const N: usize>(codes: &Codes<N>, system: System, code: &str) -> Option<Place> {
    let codes = codes.get(index(system))?;
    match system {
        System::ReadV2 => codes.get(&*read::normal(code)),
        _ => codes.get(code.trim()),
    }
    .copied()
}

/// First those whose codes mean the same everywhere.
const fn index(system: System) -> usize {
    match system {
        System::ReadV2 => 0,
        System::Snomed => 1,
        System::Loinc => 2,
        System::Dmd => 3,
        System::Local => 4,
        System::Ctv3 => 5,
    }
}
