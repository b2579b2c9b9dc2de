//! The table that is part of the program, from its files.

use super::{Analyte, Member, Plausible};
use crate::units::Units;

const ANALYTES: &str = include_str!("../../data/analytes.csv");
const CODES: &str = include_str!("../../data/codes.csv");

pub fn digest() -> u64 {
    use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
    xxh3_64_with_seed(CODES.as_bytes(), xxh3_64(ANALYTES.as_bytes()))
}

/// Lines that cannot be read are left out; a test holds that there are none.
pub fn analytes() -> Vec<Analyte> {
    let mut analytes: Vec<Analyte> = ANALYTES.lines().skip(1).filter_map(analyte).collect();
    for (key, member) in CODES.lines().skip(1).filter_map(member) {
        if let Some(analyte) = analytes.iter_mut().find(|analyte| analyte.key == key) {
            analyte.members.push(member);
        }
    }
    analytes
}

fn cells<const N: usize>(line: &str) -> Option<[&str; N]> {
    line.split(',').collect::<Vec<_>>().try_into().ok()
}

fn words(cell: &str) -> Option<String> {
    (!cell.is_empty()).then(|| cell.to_owned())
}

fn analyte(line: &str) -> Option<Analyte> {
    let [key, family, unit, decimals, units, low, high, by, specimen, left] = cells(line)?;
    let plausible = Plausible { low: low.parse().ok(), high: high.parse().ok(), by: by.to_owned() };
    Some(Analyte {
        key: key.to_owned(),
        family: words(family),
        unit: unit.to_owned(),
        decimals: decimals.parse().ok(),
        units: Units::parse(units).ok()?,
        plausible,
        specimen: specimen.to_owned(),
        left: words(left),
        members: Vec::new(),
    })
}

fn member(line: &str) -> Option<(&str, Member)> {
    let [key, text, read, snomed, loinc, seen_in] = cells(line)?;
    let codes = |cell: &str| cell.split_whitespace().map(str::to_owned).collect();
    let (text, seen_in) = (text.to_owned(), seen_in.to_owned());
    Some((key, Member { text, read: codes(read), snomed: codes(snomed), loinc: codes(loinc), seen_in }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;

    #[test]
    fn every_line_of_both_files_is_read() {
        let analytes = analytes();
        assert!(analytes.len() >= 180, "{}", analytes.len());
        assert_eq!(analytes.len(), ANALYTES.lines().count() - 1);
        let members: usize = analytes.iter().map(|analyte| analyte.members.len()).sum();
        assert_eq!(members, CODES.lines().count() - 1);
        for line in ANALYTES.lines().skip(1) {
            let [key, _, unit, decimals, _, low, high, by, specimen, _] = cells(line).expect("ten cells");
            assert!(!key.is_empty() && !unit.is_empty() && !specimen.is_empty() && !by.is_empty(), "{line}");
            assert!(decimals.is_empty() || decimals.parse::<u32>().is_ok_and(|decimals| decimals <= 3), "{line}");
            for limit in [low, high] {
                assert!(limit.is_empty() || limit.parse::<Decimal>().is_ok(), "{line}");
            }
            assert_eq!(by == "none", low.is_empty() && high.is_empty(), "{line}");
        }
        for analyte in &analytes {
            assert!(analyte.codes().count() > 0, "{}", analyte.key);
            for member in &analyte.members {
                assert!(!member.seen_in.is_empty() && !member.text.is_empty(), "{}", analyte.key);
            }
        }
    }
}
