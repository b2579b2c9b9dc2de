//! The lab table, `data/analytes.csv`: which codes name which analyte, and how its units convert.
//!
//! # Why
//! An analyte is what rules watch. Potassium is potassium to them whether a laboratory took plasma or a blood gas
//! analyser took whole blood, and glucose whether it was fasting or by meter, so those codes are members of one analyte
//! on purpose: a code that is no member is silent. What a code *means* differs, so a missing code is filled in only from
//! its own line: whole blood is never given the code of serum.
//!
//! Sources, by the column `evidence`: names of the kinds of public files in which each code was seen with its name;
//! `public-code-lists` is the weakest, two published lists that agree. All are to be held against the releases by the
//! terminology loader. Factors: computed from molar masses. This material contains content from LOINC
//! (http://loinc.org), copyright Regenstrief Institute, Inc., available at no cost under the licence at
//! http://loinc.org/license.

use super::{
    System, read,
    units::Conversion::{self, Ngsp, Times},
};
use std::{collections::HashMap, sync::LazyLock};

const TABLE: &str = include_str!("../data/analytes.csv");
const COLUMNS: usize = 8;

pub struct Analyte {
    /// What rules and limits call it.
    pub key: &'static str,
    pub text: &'static str,
    /// UCUM.
    pub unit: &'static str,
    /// Units as people write them, with the way to the canonical unit. Keyed by analyte, never by unit alone.
    pub units: Vec<(&'static str, Conversion)>,
    pub members: Vec<Member>,
}

/// Codes that mean one thing.
pub struct Member {
    pub text: &'static str,
    /// Read v2, five characters.
    pub read: Vec<&'static str>,
    /// SNOMED CT; the first is the one shown where a source gives none.
    pub snomed: Vec<&'static str>,
    /// LOINC; the first is that of the canonical unit.
    pub loinc: Vec<&'static str>,
    pub evidence: &'static str,
}

impl Analyte {
    /// Every code that makes a result one of this analyte.
    pub fn codes(&self) -> impl Iterator<Item = (System, &'static str)> {
        self.members.iter().flat_map(|member| {
            let of = |system, codes: &[&'static str]| codes.iter().map(|code| (system, *code)).collect::<Vec<_>>();
            let read = of(System::ReadV2, &member.read);
            read.into_iter().chain(of(System::Snomed, &member.snomed)).chain(of(System::Loinc, &member.loinc))
        })
    }
}

/// Of the whole table.
pub const fn text() -> &'static str {
    TABLE
}

struct Lab {
    analytes: Vec<Analyte>,
    /// Where each code stands: analyte and member.
    codes: HashMap<(System, &'static str), (usize, usize)>,
}

static LAB: LazyLock<Lab> = LazyLock::new(|| {
    let analytes = parse(TABLE);
    let mut codes = HashMap::new();
    for (at, analyte) in analytes.iter().enumerate() {
        for (nth, member) in analyte.members.iter().enumerate() {
            for (system, all) in
                [(System::ReadV2, &member.read), (System::Snomed, &member.snomed), (System::Loinc, &member.loinc)]
            {
                for code in all {
                    codes.entry((system, *code)).or_insert((at, nth));
                }
            }
        }
    }
    Lab { analytes, codes }
});

/// How codings and events call this table: its name and what is in it.
pub fn release() -> &'static str {
    static RELEASE: LazyLock<String> =
        LazyLock::new(|| format!("analytes.csv {:08x}", xxhash_rust::xxh3::xxh3_64(TABLE.as_bytes()) >> 32));
    &RELEASE
}

pub fn analytes() -> &'static [Analyte] {
    &LAB.analytes
}

/// The analyte that a code names, and the member whose codes mean the same.
pub fn find(system: System, code: &str) -> Option<(&'static Analyte, &'static Member)> {
    let padded = (system == System::ReadV2).then(|| read::normal(code));
    let (analyte, member) = LAB.codes.get(&(system, padded.as_deref().unwrap_or(code.trim())))?;
    let analyte = &LAB.analytes[*analyte];
    Some((analyte, &analyte.members[*member]))
}

/// Lines that cannot be read are left out; a test holds that there are none.
fn parse(table: &'static str) -> Vec<Analyte> {
    let mut analytes: Vec<Analyte> = Vec::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&'static str> = line.split(',').collect();
        let Ok([key, text, read, snomed, loinc, unit, units, evidence]) = <[&str; COLUMNS]>::try_from(cells) else {
            continue;
        };
        let codes = |cell: &'static str| cell.split_whitespace().collect::<Vec<_>>();
        let member = Member { text, read: codes(read), snomed: codes(snomed), loinc: codes(loinc), evidence };
        match analytes.iter_mut().find(|analyte| analyte.key == key) {
            Some(analyte) => analyte.members.push(member),
            None => analytes.push(Analyte { key, text, unit, units: self::units(units), members: vec![member] }),
        }
    }
    analytes
}

/// `mmol/L;mM=1|mg/dL=0.1665|%=ngsp`.
fn units(cell: &'static str) -> Vec<(&'static str, Conversion)> {
    let groups = cell.split('|').filter_map(|group| group.rsplit_once('='));
    groups
        .flat_map(|(units, factor)| {
            let conversion = if factor == "ngsp" { Ngsp } else { Times(factor) };
            units.split(';').map(move |unit| (unit, conversion))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;
    use std::collections::BTreeMap;

    #[test]
    fn every_line_of_the_table_is_read() {
        let members: usize = analytes().iter().map(|analyte| analyte.members.len()).sum();
        assert_eq!(members, TABLE.lines().count() - 1);
        for analyte in analytes() {
            assert!(!analyte.unit.is_empty() && !analyte.units.is_empty(), "{}", analyte.key);
            for (unit, conversion) in &analyte.units {
                let factor = match conversion {
                    Times(factor) => factor.parse::<Decimal>().expect("digits"),
                    Ngsp => Decimal::ONE,
                };
                assert!(factor > Decimal::ZERO && !unit.is_empty(), "{} {unit}", analyte.key);
            }
            for member in &analyte.members {
                assert!(!member.evidence.is_empty() && !member.text.is_empty(), "{}", analyte.key);
                assert!(analyte.codes().count() > 0);
            }
        }
    }

    #[test]
    fn the_documentation_lists_what_the_table_holds() {
        let documented = include_str!("../../../docs/mappings.md");
        for analyte in analytes() {
            let units: Vec<&str> = analyte.units.iter().map(|(unit, _)| *unit).collect();
            let line = format!(
                "| `{}` | {} | {} | {} |\n",
                analyte.key,
                analyte.members[0].text,
                analyte.unit,
                units.join(", ")
            );
            assert!(documented.contains(&line), "docs/mappings.md lacks:\n{line}");
        }
        let section = documented.split("## Analytes and units").nth(1).and_then(|rest| rest.split("\n## ").next());
        let lines = section.expect("the section").lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(lines, analytes().len(), "docs/mappings.md lists what there is not");
    }

    #[test]
    fn no_code_names_two_analytes() {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for analyte in analytes() {
            for (system, code) in analyte.codes() {
                let before = seen.insert(format!("{system:?} {code}"), analyte.key);
                assert!(before.is_none_or(|before| before == analyte.key), "{code}");
            }
        }
    }

    #[test]
    fn codes_have_their_check_digits() {
        for (system, code) in analytes().iter().flat_map(Analyte::codes) {
            match system {
                System::ReadV2 => assert_eq!(code.len(), 5, "{code}"),
                System::Loinc => {
                    let (digits, check) = code.split_once('-').expect("a check digit");
                    // From the right, every other digit doubled, beginning with the last.
                    let sum: u32 = digits
                        .bytes()
                        .rev()
                        .enumerate()
                        .map(|(at, byte)| {
                            let digit = u32::from(byte - b'0') * if at % 2 == 0 { 2 } else { 1 };
                            digit / 10 + digit % 10
                        })
                        .sum();
                    assert_eq!(((10 - sum % 10) % 10).to_string(), check, "{code}");
                }
                _ => {
                    assert!((6..=18).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}")
                }
            }
        }
    }

    #[test]
    fn case_matters_in_read_codes() {
        assert!(find(System::ReadV2, "44i4.").is_none() && find(System::ReadV2, "44I4.").is_some());
    }

    /// Decided on purpose: these are watched as the analyte is, whatever they were taken from.
    #[test]
    fn specimens_and_meters_are_members() {
        for (key, codes) in [
            ("potassium", &["2823-3", "6298-4", "32713-0", "39789-3", "39790-1"][..]),
            ("sodium", &["2951-2", "2947-0", "32717-1", "39791-9"]),
            (
                "glucose",
                &[
                    "14749-6", "2345-7", "14771-0", "1558-6", "15074-8", "2339-0", "14743-9", "41653-7", "14770-2",
                    "41604-0", "2340-8",
                ],
            ),
        ] {
            for code in codes {
                assert_eq!(find(System::Loinc, code).map(|(analyte, _)| analyte.key), Some(key), "{code}");
            }
        }
        // Urine is another thing.
        assert!(find(System::Loinc, "2828-2").is_none() && find(System::Loinc, "2955-3").is_none());
    }
}
