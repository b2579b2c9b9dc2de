//! The lab table, as data: which codes name which analyte, and how its units convert.
//!
//! Sources. Read v2 codes: GP Connect sample records. SNOMED CT pairs (PBCL, then UTL): UK pathology
//! FHIR bundles. LOINC (SI first, then mass): names confirmed in published LOINC value sets; 22664-7,
//! 59261-8, 14675-3 and 14674-6 are to be held against a LOINC release by the terminology loader.
//! Factors: computed from molar masses. This material contains content from LOINC (http://loinc.org),
//! copyright Regenstrief Institute, Inc., available at no cost under the licence at
//! http://loinc.org/license.

use super::{
    System, read,
    units::Conversion::{self, Ngsp, Times},
};

pub struct Analyte {
    /// What rules and limits call it.
    pub key: &'static str,
    pub text: &'static str,
    /// Read v2, five characters.
    pub read: &'static [&'static str],
    /// SNOMED CT; the first is the one shown where a source gives none.
    pub snomed: &'static [&'static str],
    /// LOINC; the first is that of the canonical unit.
    pub loinc: &'static [&'static str],
    /// UCUM.
    pub unit: &'static str,
    /// Units as people write them, with the way to the canonical unit. Keyed by analyte, never by unit alone.
    pub units: &'static [(&'static [&'static str], Conversion)],
}

/// The analyte that a code names.
pub fn find(system: System, code: &str) -> Option<&'static Analyte> {
    let code = if system == System::ReadV2 { read::normal(code) } else { code.trim().to_owned() };
    let known = |analyte: &&Analyte| match system {
        System::ReadV2 => analyte.read.contains(&code.as_str()),
        System::Snomed => analyte.snomed.contains(&code.as_str()),
        System::Loinc => analyte.loinc.contains(&code.as_str()),
        System::Dmd | System::Local => false,
    };
    ANALYTES.iter().find(known)
}

pub const ANALYTES: &[Analyte] = &[
    Analyte {
        key: "potassium",
        text: "Potassium",
        read: &["44I4.", "44h8."],
        snomed: &["1000651000000109", "1107761000000109", "1017401000000106", "1107751000000106"],
        loinc: &["2823-3"],
        unit: "mmol/L",
        units: &[(&["mmol/L", "mmols/L", "mM", "mEq/L", "meq/L"], Times("1"))],
    },
    Analyte {
        key: "sodium",
        text: "Sodium",
        read: &["44I5."],
        snomed: &["1000661000000107", "1107871000000107"],
        loinc: &["2951-2"],
        unit: "mmol/L",
        units: &[(&["mmol/L", "mmols/L", "mM", "mEq/L", "meq/L"], Times("1"))],
    },
    Analyte {
        key: "creatinine",
        text: "Creatinine",
        read: &["44J3."],
        snomed: &["1000731000000107", "1107001000000108"],
        loinc: &["14682-9", "2160-0"],
        unit: "umol/L",
        units: &[(&["umol/L", "umols/L"], Times("1")), (&["mg/dL"], Times("88.40")), (&["mmol/L"], Times("1000"))],
    },
    Analyte {
        key: "urea",
        text: "Urea",
        read: &["44J9."],
        snomed: &["1000951000000103", "1110281000000107"],
        loinc: &["22664-7"],
        unit: "mmol/L",
        units: &[(&["mmol/L", "mmols/L", "mM"], Times("1")), (&["mg/dL"], Times("0.1665"))],
    },
    Analyte {
        key: "bun",
        text: "Blood urea nitrogen",
        read: &[],
        snomed: &[],
        loinc: &["3094-0"],
        unit: "mmol/L",
        units: &[(&["mmol/L", "mmols/L", "mM"], Times("1")), (&["mg/dL"], Times("0.3570"))],
    },
    Analyte {
        key: "glucose",
        text: "Glucose",
        read: &["44T2.", "44TK."],
        snomed: &["997681000000108", "1107451000000100"],
        loinc: &["14749-6", "2345-7"],
        unit: "mmol/L",
        units: &[(&["mmol/L", "mmols/L", "mM"], Times("1")), (&["mg/dL"], Times("0.05551"))],
    },
    Analyte {
        key: "hba1c",
        text: "HbA1c",
        read: &["42W5.", "42W4."],
        snomed: &["999791000000106", "1019431000000105", "1107481000000106"],
        loinc: &["59261-8", "4548-4"],
        unit: "mmol/mol",
        units: &[(&["mmol/mol", "mmol/molHb", "mmol/mol Hb"], Times("1")), (&["%", "% Hb", "%Hb"], Ngsp)],
    },
    Analyte {
        key: "bilirubin",
        text: "Bilirubin",
        read: &["44E.."],
        snomed: &["997591000000109", "999691000000104", "1107221000000109"],
        loinc: &["14631-6", "1975-2"],
        unit: "umol/L",
        units: &[(&["umol/L"], Times("1")), (&["mg/dL"], Times("17.10"))],
    },
    Analyte {
        key: "albumin",
        text: "Albumin",
        read: &["44M4."],
        snomed: &["1000821000000103", "1105861000000106"],
        loinc: &["1751-7"],
        unit: "g/L",
        units: &[(&["g/L"], Times("1")), (&["g/dL"], Times("10"))],
    },
    Analyte {
        key: "alt",
        text: "Alanine aminotransferase",
        read: &["44G3."],
        snomed: &["1018251000000107", "1106081000000100"],
        loinc: &["1742-6"],
        unit: "U/L",
        units: &[(&["U/L", "u/L", "IU/L", "iu/L", "UI/L", "IU/L 37C", "[IU]/L"], Times("1"))],
    },
    Analyte {
        key: "alp",
        text: "Alkaline phosphatase",
        read: &["44F.."],
        snomed: &["1000621000000104", "1106051000000106"],
        loinc: &["6768-6"],
        unit: "U/L",
        units: &[(&["U/L", "u/L", "IU/L", "iu/L", "UI/L", "IU/L 37C", "[IU]/L"], Times("1"))],
    },
    Analyte {
        key: "crp",
        text: "C-reactive protein",
        read: &["44CS."],
        snomed: &["1001371000000100", "1106741000000105"],
        loinc: &["1988-5"],
        unit: "mg/L",
        units: &[(&["mg/L"], Times("1")), (&["mg/dL"], Times("10"))],
    },
    Analyte {
        key: "calcium",
        text: "Calcium",
        read: &["44I8."],
        snomed: &["1000691000000101"],
        loinc: &["2000-8"],
        unit: "mmol/L",
        units: &[
            (&["mmol/L", "mmols/L", "mM"], Times("1")),
            (&["mg/dL"], Times("0.2495")),
            (&["mEq/L", "meq/L"], Times("0.5")),
        ],
    },
    Analyte {
        key: "adjusted-calcium",
        text: "Adjusted calcium",
        read: &["44IC."],
        snomed: &["935051000000108"],
        loinc: &["29265-6"],
        unit: "mmol/L",
        units: &[
            (&["mmol/L", "mmols/L", "mM"], Times("1")),
            (&["mg/dL"], Times("0.2495")),
            (&["mEq/L", "meq/L"], Times("0.5")),
        ],
    },
    Analyte {
        key: "tsh",
        text: "Thyroid stimulating hormone",
        read: &["442W.", "442X."],
        snomed: &["1022791000000101", "1022801000000102"],
        loinc: &["3016-3"],
        unit: "m[IU]/L",
        units: &[(&["mU/L", "mu/L", "mIU/L", "miu/L", "mlU/L", "m[IU]/L", "uIU/mL", "u[IU]/mL", "uU/mL"], Times("1"))],
    },
    Analyte {
        key: "haemoglobin",
        text: "Haemoglobin",
        read: &["423.."],
        snomed: &["1022431000000105", "1107511000000100"],
        loinc: &["718-7"],
        unit: "g/L",
        units: &[(&["g/L"], Times("1")), (&["g/dL"], Times("10"))],
    },
    Analyte {
        key: "platelets",
        text: "Platelets",
        read: &["42P.."],
        snomed: &["1022651000000100", "1108041000000107"],
        loinc: &["777-3"],
        unit: "10*9/L",
        units: &[(&["10*9/L", "10^9/L", "x10^9/L", "10*3/uL", "10^3/uL", "10^3/ul", "10e9/L"], Times("1"))],
    },
    Analyte {
        key: "cortisol",
        text: "Cortisol",
        read: &[],
        snomed: &[],
        loinc: &["14675-3"],
        unit: "nmol/L",
        units: &[(&["nmol/L"], Times("1")), (&["ug/dL"], Times("27.59"))],
    },
    Analyte {
        key: "acth",
        text: "Adrenocorticotropic hormone",
        read: &[],
        snomed: &[],
        loinc: &["14674-6"],
        unit: "pmol/L",
        units: &[(&["pmol/L"], Times("1")), (&["pg/mL", "ng/L"], Times("0.2202"))],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_names_two_analytes() {
        let all = |codes: fn(&Analyte) -> &'static [&'static str]| {
            let mut all: Vec<&str> = ANALYTES.iter().flat_map(codes).copied().collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);
        };
        all(|analyte| analyte.read);
        all(|analyte| analyte.snomed);
        all(|analyte| analyte.loinc);
    }

    #[test]
    fn case_matters_in_read_codes() {
        assert!(find(System::ReadV2, "44i4.").is_none() && find(System::ReadV2, "44I4.").is_some());
    }
}
