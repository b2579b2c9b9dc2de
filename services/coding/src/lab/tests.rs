//! What the table that is shipped holds.

use super::*;
use crate::check_digit;
use std::collections::BTreeMap;

#[test]
fn no_code_names_two_analytes() {
    let lab = Lab::shipped();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for analyte in lab.analytes() {
        for (system, code) in analyte.codes() {
            let before = seen.insert(format!("{system:?} {code}"), &analyte.key);
            assert!(before.is_none_or(|before| before == analyte.key), "{code}");
        }
    }
}

#[test]
fn codes_have_their_check_digits() {
    for (system, code) in Lab::shipped().analytes().iter().flat_map(Analyte::codes) {
        match system {
            System::ReadV2 => assert_eq!(code.len(), 5, "{code}"),
            System::Loinc => assert!(check_digit::is_loinc(code), "{code}"),
            _ => assert!(check_digit::is_sctid(code), "{code}"),
        }
    }
}

#[test]
fn every_specimen_of_the_table_has_words() {
    for analyte in Lab::shipped().analytes() {
        assert!(crate::specimen::names().any(|name| name == analyte.specimen), "{}", analyte.key);
    }
}

#[test]
fn case_matters_in_read_codes() {
    let lab = Lab::shipped();
    assert!(lab.find(System::ReadV2, "44i4.").is_none() && lab.find(System::ReadV2, "44I4.").is_some());
}

/// Every code that paged when the table had nineteen analytes; none may ever become silent, or another analyte's.
const PAGED: [(&str, &str); 3] = [
    (
        "potassium",
        "44I4. 44h8. 1000651000000109 1107761000000109 1017401000000106 1107751000000106 2823-3 6298-4 32713-0 39789-3 39790-1",
    ),
    ("sodium", "44I5. 44h6. 1000661000000107 1107871000000107 1017381000000106 2951-2 2947-0 32717-1 39791-9"),
    (
        "glucose",
        "44g.. 1010671000000102 1107451000000100 1110521000000108 14749-6 2345-7 44T2. 44TK. 44g1. 44f1. 997681000000108 \
         1003141000000105 1003131000000101 14771-0 1558-6 44U.. 44TJ. 997671000000106 15074-8 2339-0 14743-9 41653-7 14770-2 \
         41604-0 2340-8",
    ),
];

#[test]
fn every_code_that_pages_still_pages() {
    let lab = Lab::shipped();
    for (key, codes) in PAGED {
        for code in codes.split_whitespace() {
            let system = match code.len() {
                5 => System::ReadV2,
                _ if code.contains('-') => System::Loinc,
                _ => System::Snomed,
            };
            // A LOINC number may have five characters, too.
            let system = if code.contains('-') { System::Loinc } else { system };
            assert_eq!(lab.find(system, code).map(|found| found.analyte.key.as_str()), Some(key), "{code}");
        }
    }
}

/// Decided on purpose: one is watched as the analyte is, whatever it was taken from; another is a test of its own.
#[test]
fn specimens_and_methods_are_members_or_analytes_of_their_own() {
    let lab = Lab::shipped();
    for (code, key) in [
        ("6298-4", "potassium"),
        ("41653-7", "glucose"),
        ("38483-4", "creatinine"),
        ("2069-3", "chloride"),
        ("49765-1", "calcium"),
        ("32693-4", "lactate"),
        ("30313-1", "haemoglobin"),
        ("2744-1", "ph"),
        ("14995-5", "glucose-2h"),
        ("13457-7", "ldl"),
        // Urine is another thing.
        ("2828-2", "urine-potassium"),
        ("2955-3", "urine-sodium"),
    ] {
        assert_eq!(lab.find(System::Loinc, code).map(|found| found.analyte.key.as_str()), Some(key), "{code}");
    }
    // LDL by calculation is not called LDL measured.
    let calculated = lab.find(System::Loinc, "13457-7").expect("LDL");
    assert!(calculated.member.snomed.is_empty());
}

#[test]
fn families_watch_together_what_is_several_analytes() {
    let lab = Lab::shipped();
    let keys = |family: &str| lab.family(family).map(|analyte| analyte.key.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(keys("blood-glucose"), "glucose glucose-2h");
    assert_eq!(keys("blood-potassium"), "potassium");
    assert_eq!(keys("blood-urea"), "urea bun");
    assert_eq!(keys("egfr"), "egfr-ckdepi egfr-mdrd egfr-cystatin");
    assert_eq!(keys("none"), "");
    // One limit has one unit, and a family's name is no analyte's.
    for analyte in lab.analytes() {
        let Some(family) = analyte.family.as_deref() else { continue };
        assert!(lab.analyte(family).is_none(), "{family}");
        assert!(lab.family(family).all(|other| other.unit == analyte.unit), "{family}");
    }
}

/// A part of cells is not a number of cells.
#[test]
fn percent_and_count_of_one_cell_are_two_analytes() {
    let lab = Lab::shipped();
    for cell in ["neutrophils", "lymphocytes", "monocytes", "eosinophils", "basophils"] {
        let (count, part) = (lab.analyte(cell).expect(cell), lab.analyte(&format!("{cell}-pct")).expect(cell));
        assert_eq!((count.unit.as_str(), part.unit.as_str()), ("10*9/L", "%"));
    }
}
