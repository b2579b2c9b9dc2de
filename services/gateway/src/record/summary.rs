//! The emergency summary: what the rows say at a glance. Absence never reads as safety.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::clinical::{Allergy, Condition, Medication, Observation};
use event::teams::Teams;
use std::collections::BTreeMap;

/// Addison's disease.
const ADDISONS: &str = "363732003";
/// Systemic glucocorticoids by the names that products carry.
const GLUCOCORTICOIDS: [&str; 9] = [
    "hydrocortisone",
    "prednisolone",
    "prednisone",
    "methylprednisolone",
    "dexamethasone",
    "betamethasone",
    "cortisone",
    "deflazacort",
    "triamcinolone",
];
/// Forms that rarely suppress the adrenals: they do not raise the banner.
const LOCAL_FORMS: [&str; 12] =
    ["cream", "ointment", "drops", "nasal", "spray", "foam", "lotion", "enema", "scalp", "gel", "buccal", "inhal"];
/// Tests that stand first, in this order.
const FIRST_TESTS: [&str; 6] = ["sodium", "potassium", "creatinine", "urea", "glucose", "cortisol"];
/// Values of one test in the trend beside the newest.
pub const TREND_MAX: usize = 4;

/// Why the steroid banner is up. Empty: no reason is recorded, which is not the same as none.
pub fn steroid_reasons<'a>(conditions: &'a [Condition], medications: &'a [Medication]) -> Vec<(&'a str, &'a str)> {
    let addisons = conditions.iter().filter(|condition| condition.active && is_addisons(condition));
    let steroids = medications.iter().filter(|medication| medication.active && is_long_term_steroid(medication));
    let mut reasons: Vec<(&str, &str)> = addisons
        .map(|condition| (condition.code.text.as_str(), condition.from.organisation.as_str()))
        .chain(steroids.map(|medication| (medication.code.text.as_str(), medication.from.organisation.as_str())))
        .collect();
    reasons.dedup();
    reasons
}

fn is_addisons(condition: &Condition) -> bool {
    condition.code.snomed.as_deref() == Some(ADDISONS) || condition.code.code.as_deref() == Some(ADDISONS)
}

/// An acute course stays out unless it is an inpatient's: who is on steroids in hospital must not miss a dose.
fn is_long_term_steroid(medication: &Medication) -> bool {
    let name = medication.code.text.to_lowercase();
    let systemic = GLUCOCORTICOIDS.iter().any(|steroid| name.contains(steroid))
        && !LOCAL_FORMS.iter().any(|form| name.contains(form));
    systemic && medication.course.as_deref() != Some("acute")
}

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

/// Medicines of one ingredient, as the GP and as the hospital have them.
pub struct MedicineLine<'a> {
    pub name: String,
    pub gp: Vec<&'a Medication>,
    pub hospital: Vec<&'a Medication>,
}

/// Active medicines side by side. Lines hold what shares an ingredient's name; every entry is shown whole.
pub fn medicines<'a>(rows: &'a [Medication], teams: &Teams) -> Vec<MedicineLine<'a>> {
    let mut lines: BTreeMap<String, MedicineLine<'a>> = BTreeMap::new();
    for medication in rows.iter().filter(|medication| medication.active) {
        let name = ingredient(&medication.code.text);
        let line = lines.entry(name.to_lowercase()).or_insert_with(|| MedicineLine {
            name,
            gp: Vec::new(),
            hospital: Vec::new(),
        });
        if teams.practices(&medication.from.organisation).next().is_some() {
            line.gp.push(medication);
        } else {
            line.hospital.push(medication);
        }
    }
    lines.into_values().collect()
}

/// The words before the first one with a digit or a dose form: `Hydrocortisone 10mg tablets` → `Hydrocortisone`.
fn ingredient(text: &str) -> String {
    const FORMS: [&str; 8] = ["tablet", "capsule", "inject", "solution", "granule", "suspension", "cream", "ointment"];
    let words: Vec<&str> = text
        .split_whitespace()
        .take_while(|word| {
            let lower = word.to_lowercase();
            !word.contains(|c: char| c.is_ascii_digit()) && !FORMS.iter().any(|form| lower.starts_with(form))
        })
        .collect();
    if words.is_empty() { text.to_owned() } else { words.join(" ") }
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
    use crate::record::clinical::{Coded, Provenance};

    fn medication(text: &str, course: Option<&str>, active: bool, organisation: &str) -> Medication {
        Medication {
            from: Provenance { organisation: organisation.into(), ..Provenance::default() },
            code: Coded { text: text.into(), ..Coded::default() },
            course: course.map(Into::into),
            active,
            ..Medication::default()
        }
    }

    #[test]
    fn the_steroid_banner_names_its_reasons() {
        for (text, course, active, want) in [
            ("Hydrocortisone 10mg tablets", Some("repeat"), true, true),
            ("HYDROCORTISONE 100mg injection", Some("inpatient"), true, true),
            ("Prednisolone 5mg gastro-resistant tablets", None, true, true),
            ("Prednisolone 5mg tablets", Some("acute"), true, false),
            ("Prednisolone 5mg tablets", Some("repeat"), false, false),
            ("Hydrocortisone 1% cream", Some("repeat"), true, false),
            ("Fludrocortisone 100microgram tablets", Some("repeat"), true, true),
            ("Paracetamol 500mg tablets", Some("repeat"), true, false),
        ] {
            let rows = [medication(text, course, active, "R1V01")];
            assert_eq!(!steroid_reasons(&[], &rows).is_empty(), want, "{text}");
        }
        let addisons = |active| Condition {
            code: Coded { text: "Addison's disease".into(), snomed: Some(ADDISONS.into()), ..Coded::default() },
            active,
            ..Condition::default()
        };
        assert_eq!(steroid_reasons(&[addisons(true)], &[]).len(), 1);
        assert!(steroid_reasons(&[addisons(false)], &[]).is_empty());
    }

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

    #[test]
    fn medicines_stand_side_by_side_by_ingredient() {
        let text = "[[team]]\nid = 'r'\nname = 'R'\norganisation = 'R1V01'\nkind = 'practice'\n";
        let teams = Teams::parse(text).expect("teams");
        let rows = [
            medication("Hydrocortisone 10mg tablets", None, true, "R1V01"),
            medication("hydrocortisone 100mg injection", None, true, "RSM01"),
            medication("Ramipril 5mg capsules", None, true, "R1V01"),
            medication("Aspirin 75mg tablets", None, false, "R1V01"),
        ];
        let lines: Vec<(String, usize, usize)> =
            medicines(&rows, &teams).into_iter().map(|line| (line.name, line.gp.len(), line.hospital.len())).collect();
        assert_eq!(lines, [("Hydrocortisone".into(), 1, 1), ("Ramipril".into(), 1, 0)]);
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
