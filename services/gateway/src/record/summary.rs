//! The emergency summary: what the rows say at a glance. Absence never reads as safety.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::clinical::{Allergy, Observation};
use std::collections::BTreeMap;

/// Tests that stand first, in this order.
const FIRST_TESTS: [&str; 6] = ["sodium", "potassium", "creatinine", "urea", "glucose", "cortisol"];
/// Values of one test in the trend beside the newest.
pub const TREND_MAX: usize = 4;

/// What may be said about allergies.
pub enum Allergies<'a> {
    /// Nobody recorded anything: unknown.
    NothingRecorded,
    /// Somebody recorded that none are known.
    NoneKnown(Vec<&'a Allergy>),
    /// `none_known` beside them are contradictions and are shown as such.
    Recorded { active: Vec<&'a Allergy>, none_known: Vec<&'a Allergy> },
}

pub fn allergies(rows: &[Allergy]) -> Allergies<'_> {
    let (none_known, active): (Vec<&Allergy>, Vec<&Allergy>) =
        rows.iter().filter(|allergy| allergy.active).partition(|allergy| allergy.none_known);
    match (active.is_empty(), none_known.is_empty()) {
        (true, true) => Allergies::NothingRecorded,
        (true, false) => Allergies::NoneKnown(none_known),
        (false, _) => Allergies::Recorded { active, none_known },
    }
}

/// One result, perhaps told by several sources.
pub struct TestResult<'a> {
    pub told: Vec<&'a Observation>,
}

impl<'a> TestResult<'a> {
    /// The first to tell it.
    pub fn main(&self) -> &'a Observation {
        self.told[0]
    }
}

/// One test with its values, newest first, in the same canonical unit where there is one.
pub struct Trend<'a> {
    pub name: &'a str,
    pub unit: Option<&'a str>,
    pub results: Vec<TestResult<'a>>,
}

/// Results by test. The same specimen's same value told by two sources stands once, with both.
pub fn trends(rows: &[Observation]) -> Vec<Trend<'_>> {
    let mut tests: BTreeMap<(usize, String), Vec<&Observation>> = BTreeMap::new();
    for row in rows.iter().filter(|row| has_value(row)) {
        tests.entry(test_key(row)).or_default().push(row);
    }
    tests
        .into_values()
        .map(|rows| {
            let unit = rows.iter().find_map(|row| row.canonical_unit.as_deref());
            let name =
                rows.iter().map(|row| row.code.text.as_str()).find(|text| !text.is_empty()).unwrap_or("Unnamed test");
            Trend { name, unit, results: merge_told_twice(rows) }
        })
        .collect()
}

/// Entries without a value: history, procedures, free text.
pub fn entries(rows: &[Observation]) -> Vec<&Observation> {
    rows.iter().filter(|row| !has_value(row)).collect()
}

const fn has_value(row: &Observation) -> bool {
    row.number.is_some() || row.text.is_some() || row.analyte.is_some() || row.canonical_number.is_some()
}

fn test_key(row: &Observation) -> (usize, String) {
    let name = row.analyte.as_ref().or(row.code.snomed.as_ref()).or(row.code.loinc.as_ref());
    let name = name.cloned().unwrap_or_else(|| row.code.text.to_lowercase());
    let rank = FIRST_TESTS
        .iter()
        .position(|test| *test == name)
        .unwrap_or_else(|| if row.analyte.is_some() { FIRST_TESTS.len() } else { FIRST_TESTS.len() + 1 });
    (rank, name)
}

fn merge_told_twice(rows: Vec<&Observation>) -> Vec<TestResult<'_>> {
    let mut results: Vec<TestResult<'_>> = Vec::new();
    for row in rows {
        match results.iter_mut().find(|result| same_result(result.main(), row)) {
            Some(result) => result.told.push(row),
            None => results.push(TestResult { told: vec![row] }),
        }
    }
    results
}

/// The same specimen, value, comparator and unit, told by different sources. Without a specimen nobody can tell.
fn same_result(one: &Observation, two: &Observation) -> bool {
    let specimen = |row: &Observation| {
        let text: String = row.specimen.as_deref()?.chars().filter(char::is_ascii_alphanumeric).collect();
        (!text.is_empty()).then(|| text.to_ascii_uppercase())
    };
    one.from.source != two.from.source
        && specimen(one).is_some()
        && specimen(one) == specimen(two)
        && one.canonical_number.is_some()
        && one.canonical_number == two.canonical_number
        && one.canonical_unit == two.canonical_unit
        && one.comparator == two.comparator
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::clinical::Provenance;

    #[test]
    fn none_recorded_is_not_none_known() {
        let row = |none_known, active| Allergy { none_known, active, ..Allergy::default() };
        assert!(matches!(allergies(&[]), Allergies::NothingRecorded));
        assert!(matches!(allergies(&[row(false, false)]), Allergies::NothingRecorded));
        assert!(matches!(allergies(&[row(true, true)]), Allergies::NoneKnown(_)));
        let both = [row(true, true), row(false, true)];
        let Allergies::Recorded { active, none_known } = allergies(&both) else { panic!("an allergy is recorded") };
        assert_eq!((active.len(), none_known.len()), (1, 1));
    }

    fn result(source: &str, specimen: Option<&str>, number: &str) -> Observation {
        Observation {
            from: Provenance { source: source.into(), ..Provenance::default() },
            analyte: Some("potassium".into()),
            specimen: specimen.map(Into::into),
            canonical_number: number.parse().ok(),
            canonical_unit: Some("mmol/L".into()),
            ..Observation::default()
        }
    }

    #[test]
    fn one_specimen_told_twice_stands_once() {
        for (one, two, want) in [
            (result("gp", Some("L-12"), "4.10"), result("lab", Some("l12"), "4.1"), 1),
            (result("gp", Some("L-12"), "4.1"), result("lab", Some("L-13"), "4.1"), 2),
            (result("gp", Some("L-12"), "4.1"), result("lab", Some("L-12"), "4.2"), 2),
            (result("gp", None, "4.1"), result("lab", None, "4.1"), 2),
            (result("lab", Some("L-12"), "4.1"), result("lab", Some("L-12"), "4.1"), 2),
        ] {
            assert_eq!(trends(&[one, two])[0].results.len(), want);
        }
    }
}
