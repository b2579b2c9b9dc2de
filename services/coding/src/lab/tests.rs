//! What the table that is shipped holds.

use super::*;
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
            System::Loinc => assert!(terminology::loinc::is_code(code), "{code}"),
            _ => assert!(terminology::sctid::is_concept(code), "{code}"),
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

/// Every code that could page when the table had nineteen analytes; none may ever become silent, or another analyte's.
const PAGED: &str = "
    potassium 44I4. 1000651000000109 1107761000000109 2823-3 44h8. 1017401000000106 1107751000000106 6298-4 32713-0
    potassium 39789-3 39790-1
    sodium 44I5. 1000661000000107 1107871000000107 2951-2 44h6. 1017381000000106 2947-0 32717-1 39791-9
    creatinine 44J3. 1000731000000107 1107001000000108 14682-9 2160-0 44JF. 1001011000000107 1106601000000100
    urea 44J9. 1000951000000103 1110281000000107 22664-7 3091-6 44JA. 1000961000000100
    bun 14937-7 3094-0
    glucose 44g.. 1010671000000102 1107451000000100 1110521000000108 14749-6 2345-7 44T2. 44TK. 44g1. 44f1.
    glucose 997681000000108 1003141000000105 1003131000000101 14771-0 1558-6 44U.. 44TJ. 997671000000106 15074-8
    glucose 2339-0 14743-9 41653-7 14770-2 41604-0 2340-8
    hba1c 42W5. 999791000000106 1107481000000106 59261-8 42W4. 1019431000000105 4548-4 1003671000000109
    bilirubin 44E.. 997591000000109 999691000000104 1107221000000109 14631-6 1975-2 44EC. 44E9. 997561000000103
    albumin 44M4. 1000821000000103 1105861000000106 1751-7 44MI. 1013361000000105
    alt 44G3. 1018251000000107 1106081000000100 1742-6 44GA. 44GB. 1013211000000103
    alp 44F.. 1000621000000104 1106051000000106 6768-6 44CU. 1013041000000106
    crp 44CS. 1001371000000100 1106741000000105 1988-5 44CC. 999651000000107
    calcium 44I8. 1000691000000101 2000-8 17861-6 44h7. 1017391000000108
    adjusted-calcium 44IC. 935051000000108 1107251000000104 29265-6 44h9. 935201000000104
    tsh 442W. 1022791000000101 3016-3 442X. 1022801000000102 1027151000000105
    haemoglobin 423.. 1022431000000105 1107511000000100 718-7
    platelets 42P.. 1022651000000100 1108041000000107 777-3
    cortisol 14675-3 2143-6
    acth 4483. 997201000000100 14674-6";

#[test]
fn every_code_that_pages_still_pages() {
    let lab = Lab::shipped();
    let lines = PAGED.lines().filter(|line| !line.is_empty());
    for (key, codes) in lines.filter_map(|line| line.trim().split_once(' ')) {
        for code in codes.split(' ') {
            // A LOINC number may have five characters, too.
            let or_snomed = if code.len() == 5 { System::ReadV2 } else { System::Snomed };
            let system = if code.contains('-') { System::Loinc } else { or_snomed };
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
