//! What the region's sources know by code: tests, problems, allergies, medicines, and the dictionary rows for them.
//!
//! # Why
//! These tables are written out here, and are not the normaliser's: a generator that shared its lab table would agree
//! with it about a mistake. Medicines carry a dm+d code only where a public file shows one.

use crate::{gp, hospital};
use rust_decimal::Decimal;
use uuid::Uuid;

pub const PRACTICE_ODS: &str = "R1V01";
pub const HOSPITAL_ODS: &str = "RSM01";
pub const PRACTICE: Uuid = Uuid::from_u128(0x0520_0001_0000_4000_8000_0000_0000_0001);
const USERS: [(u128, &str, &str, &str, &str); 4] = [
    (1, "Dr", "Amara", "Okafor", "General Medical Practitioner"),
    (2, "Dr", "Tom", "Hartley", "General Medical Practitioner"),
    (3, "Ms", "Grace", "Lindqvist", "Practice Nurse"),
    (4, "Mr", "Vikram", "Nair", "Clinical Pharmacist"),
];

/// The practice's user number `n`, from 0; any number is one of them.
pub fn user(n: usize) -> Uuid {
    Uuid::from_u128(0x0520_0002_0000_4000_8000_0000_0000_0000 + USERS[n % USERS.len()].0)
}

/// A laboratory test as both sources code it.
pub struct Test {
    pub name: &'static str,
    /// GP: `emis.clinical_code.code_id`, Read v2, and the PBCL concept.
    pub code_id: i64,
    pub read: &'static str,
    pub snomed: Option<i64>,
    pub gp_unit: &'static str,
    /// Hospital: the local code, its dictionary name, aliases, and the unit as the LIMS has it typed.
    pub local: &'static str,
    pub local_name: &'static str,
    pub loinc: Option<&'static str>,
    pub utl: Option<i64>,
    pub local_unit: &'static str,
    /// Reference range, usual spread and decimals, in the GP's unit; `unit_factor` leads to the hospital's.
    pub range: (f64, f64),
    pub mean: f64,
    pub spread: f64,
    pub decimals: u32,
    pub unit_factor: f64,
    /// Hospital's own limits for phoning, in its own unit.
    pub critical: (Option<Decimal>, Option<Decimal>),
    /// Results at or below this are reported as `<` it.
    pub least: Option<f64>,
}

const fn test(
    code_id: i64,
    names: (&'static str, &'static str),
    gp: (&'static str, Option<i64>, &'static str),
    local: (&'static str, Option<&'static str>, Option<i64>, &'static str),
    range: (f64, f64),
    usual: (f64, f64, u32),
) -> Test {
    Test {
        name: names.0,
        code_id,
        read: gp.0,
        snomed: gp.1,
        gp_unit: gp.2,
        local: local.0,
        local_name: names.1,
        loinc: local.1,
        utl: local.2,
        local_unit: local.3,
        range,
        mean: usual.0,
        spread: usual.1,
        decimals: usual.2,
        unit_factor: 1.0,
        critical: (None, None),
        least: None,
    }
}

const fn limits(mut test: Test, low: Option<Decimal>, high: Option<Decimal>) -> Test {
    test.critical = (low, high);
    test
}

const fn least(mut test: Test, least: f64) -> Test {
    test.least = Some(least);
    test
}

const fn factor(mut test: Test, factor: f64) -> Test {
    test.unit_factor = factor;
    test
}

const fn decimal(units: i64, scale: u32) -> Option<Decimal> {
    // 96 bits hold any of the constants below; the high parts stay 0.
    Some(Decimal::from_parts(units as u32, 0, 0, false, scale))
}

pub const SODIUM: usize = 0;
pub const POTASSIUM: usize = 1;
pub const UREA: usize = 2;
pub const CREATININE: usize = 3;
pub const GLUCOSE: usize = 4;
pub const CRP: usize = 5;
pub const CORTISOL: usize = 14;

#[rustfmt::skip] // a table
pub static TESTS: [Test; 17] = [
    limits(test(5001, ("Serum sodium level", "Sodium"), ("44I5.", Some(1_000_661_000_000_107), "mmol/L"), ("NA", Some("2951-2"), Some(1_107_871_000_000_107), "mmol/L"), (133.0, 146.0), (140.0, 2.6, 0)), decimal(120, 0), decimal(160, 0)),
    limits(test(5002, ("Serum potassium level", "Potassium"), ("44I4.", Some(1_000_651_000_000_109), "mmol/L"), ("K", Some("2823-3"), Some(1_107_761_000_000_109), "mmol/L"), (3.5, 5.3), (4.4, 0.35, 1)), decimal(25, 1), decimal(65, 1)),
    test(5003, ("Serum urea level", "Urea"), ("44J9.", Some(1_000_951_000_000_103), "mmol/L"), ("UREA", None, Some(1_110_281_000_000_107), "mmol/L"), (2.5, 7.8), (5.4, 1.5, 1)),
    test(5004, ("Serum creatinine level", "Creatinine"), ("44J3.", Some(1_000_731_000_000_107), "umol/L"), ("CREA", Some("14682-9"), Some(1_107_001_000_000_108), "µmol/L"), (45.0, 110.0), (78.0, 14.0, 0)),
    limits(test(5005, ("Plasma fasting glucose level", "Glucose"), ("44TK.", Some(997_681_000_000_108), "mmol/L"), ("GLU", Some("14749-6"), Some(1_107_451_000_000_100), "mmol/l"), (3.5, 6.0), (5.3, 0.9, 1)), decimal(25, 1), decimal(25, 0)),
    least(test(5006, ("Serum C reactive protein level", "C-reactive protein"), ("44CS.", Some(1_001_371_000_000_100), "mg/L"), ("CRP", Some("1988-5"), Some(1_106_741_000_000_105), "mg/L"), (0.0, 5.0), (6.0, 6.0, 0)), 5.0),
    test(5007, ("Serum bilirubin level", "Bilirubin"), ("44E..", Some(997_591_000_000_109), "umol/L"), ("BILI", Some("14631-6"), Some(1_107_221_000_000_109), "µmol/L"), (0.0, 21.0), (11.0, 4.0, 0)),
    test(5008, ("Serum albumin level", "Albumin"), ("44M4.", Some(1_000_821_000_000_103), "g/L"), ("ALB", Some("1751-7"), Some(1_105_861_000_000_106), "g/L"), (35.0, 50.0), (42.0, 3.0, 0)),
    test(5009, ("Serum alanine aminotransferase level", "ALT"), ("44G3.", Some(1_018_251_000_000_107), "iu/L"), ("ALT", Some("1742-6"), Some(1_106_081_000_000_100), "UI/L"), (0.0, 41.0), (24.0, 8.0, 0)),
    test(5010, ("Serum alkaline phosphatase level", "ALP"), ("44F..", Some(1_000_621_000_000_104), "iu/L"), ("ALP", Some("6768-6"), Some(1_106_051_000_000_106), "IU/L 37C"), (30.0, 130.0), (74.0, 18.0, 0)),
    factor(test(5011, ("Haemoglobin estimation", "Haemoglobin"), ("423..", Some(1_022_431_000_000_105), "g/L"), ("HB", Some("718-7"), Some(1_107_511_000_000_100), "g/dL"), (115.0, 165.0), (138.0, 10.0, 0)), 0.1),
    test(5012, ("Platelet count", "Platelets"), ("42P..", Some(1_022_651_000_000_100), "10*9/L"), ("PLT", Some("777-3"), Some(1_108_041_000_000_107), "10^3/µl"), (150.0, 400.0), (255.0, 50.0, 0)),
    test(5013, ("Serum TSH level", "TSH"), ("442W.", Some(1_022_791_000_000_101), "mu/L"), ("TSH", Some("3016-3"), None, "mIU/L"), (0.3, 4.2), (1.9, 0.7, 2)),
    test(5014, ("Haemoglobin A1c level - IFCC standardised", "HbA1c (IFCC)"), ("42W5.", Some(999_791_000_000_106), "mmol/mol"), ("HBA1C", None, Some(1_107_481_000_000_106), "mmol/mol"), (20.0, 41.0), (40.0, 7.0, 0)),
    // Cortisol has no national GP code here: EMIS's own code at the GP, no alias at the hospital.
    least(test(5015, ("Serum cortisol level", "Cortisol"), ("EMISNQSE17", None, "nmol/L"), ("CORT", None, None, "nmol/L"), (140.0, 690.0), (350.0, 90.0, 0)), 25.0),
    // Not in any shared table: shown as the source wrote it.
    test(5016, ("eGFR (CKD-EPI) per 1.73 square metres", "eGFR"), ("451E.", None, "mL/min"), ("EGFR", None, None, "mL/min/1.73m2"), (60.0, 90.0), (82.0, 10.0, 0)),
    // The blood gas analyser's dictionary came with it, in German.
    limits(test(5017, ("Blood gas potassium", "Kalium (BGA)"), ("EMISNQBL9", None, "mmol/L"), ("KBG", Some("2823-3"), None, "mmol/L"), (3.5, 5.3), (4.3, 0.35, 1)), decimal(25, 1), decimal(65, 1)),
];

pub struct Panel {
    pub code: &'static str,
    pub gp_code_id: i64,
    pub gp_term: &'static str,
    pub tests: &'static [usize],
    pub specimen: &'static str,
}

#[rustfmt::skip] // a table
pub static PANELS: [Panel; 7] = [
    Panel { code: "UE", gp_code_id: 5101, gp_term: "Urea and electrolytes", tests: &[SODIUM, POTASSIUM, UREA, CREATININE, 15], specimen: "Serum" },
    Panel { code: "FBC", gp_code_id: 5102, gp_term: "Full blood count - FBC", tests: &[10, 11], specimen: "Whole blood" },
    Panel { code: "LFT", gp_code_id: 5103, gp_term: "Liver function tests", tests: &[6, 7, 8, 9], specimen: "Serum" },
    Panel { code: "TFT", gp_code_id: 5104, gp_term: "Thyroid function tests", tests: &[12], specimen: "Serum" },
    Panel { code: "GLU", gp_code_id: 5105, gp_term: "Blood glucose method", tests: &[GLUCOSE, 13], specimen: "Plasma" },
    Panel { code: "CRP", gp_code_id: 5106, gp_term: "C-reactive protein", tests: &[CRP], specimen: "Serum" },
    Panel { code: "CORT", gp_code_id: 5107, gp_term: "Adrenal function tests", tests: &[CORTISOL], specimen: "Serum" },
];

/// A dictionary row of the GP: code id, term, Read v2 or EMIS's own, SNOMED CT, category.
pub type Coded = (i64, &'static str, &'static str, Option<i64>, &'static str);

pub const EXAMINATION: &str = "Observations/Examination";
pub const SYSTOLIC: i64 = 5201;
pub const DIASTOLIC: i64 = 5202;
pub const WEIGHT: i64 = 5203;

#[rustfmt::skip] // a table
pub const FINDINGS: [Coded; 7] = [
    (SYSTOLIC, "O/E - Systolic BP reading", "2469.", Some(72_313_002), EXAMINATION),
    (DIASTOLIC, "O/E - Diastolic BP reading", "246A.", Some(1_091_811_000_000_102), EXAMINATION),
    (WEIGHT, "O/E - weight", "22A..", Some(27_113_001), EXAMINATION),
    (5204, "Fatigue", "1682.", Some(84_229_001), "Symptoms"),
    (5205, "Cough", "171..", Some(49_727_002), "Symptoms"),
    (5206, "Low back pain", "16C5.", Some(279_039_007), "Symptoms"),
    (5207, "Dizziness", "1B5..", Some(404_640_003), "Symptoms"),
];

pub const ADDISONS: i64 = 5301;

#[rustfmt::skip] // a table
pub const PROBLEMS: [Coded; 11] = [
    (ADDISONS, "Addison's disease", "C1541", Some(363_732_003), "Conditions"),
    (5302, "Essential hypertension", "G20..", Some(59_621_000), "Conditions"),
    (5303, "Type 2 diabetes mellitus", "C10F.", Some(44_054_006), "Conditions"),
    (5304, "Asthma", "H33..", Some(195_967_001), "Conditions"),
    (5305, "Hypothyroidism", "C04..", Some(40_930_008), "Conditions"),
    (5306, "Atrial fibrillation", "G5730", Some(49_436_004), "Conditions"),
    (5307, "Chronic obstructive pulmonary disease", "H3...", Some(13_645_005), "Conditions"),
    (5308, "Osteoarthritis", "N05..", Some(396_275_006), "Conditions"),
    (5309, "Gout", "C34..", Some(90_560_007), "Conditions"),
    (5310, "Gastro-oesophageal reflux disease", "J10y4", Some(235_595_009), "Conditions"),
    (5311, "Depressive disorder", "E204.", Some(35_489_007), "Conditions"),
];

pub const ALLERGY: &str = "Allergy & Adverse Drug Reactions";
pub const NONE_KNOWN_CATEGORY: &str = "No Known Allergy";
pub const PENICILLIN_ALLERGY: i64 = 5401;
pub const NO_KNOWN_ALLERGIES: i64 = 5499;

#[rustfmt::skip] // a table
pub const ALLERGIES: [Coded; 6] = [
    (PENICILLIN_ALLERGY, "H/O: penicillin allergy", "14L1.", Some(91_936_005), ALLERGY),
    (5402, "Peanut allergy", "SN582", Some(91_935_009), ALLERGY),
    (5403, "H/O: warfarin allergy", "14LP.", Some(294_881_007), ALLERGY),
    (5404, "Aspirin allergy", "TJ53.", Some(293_586_001), ALLERGY),
    // EMIS's own: its concept is in no national release.
    (5405, "Adverse reaction to Prednisolone", "ALLERGY1364", Some(1_030_121_000_006_109), ALLERGY),
    (5406, "Adverse reaction to Hydroxychloroquine", "ALLERGY2077", None, ALLERGY),
];

/// A medicine: drug code id, name, dm+d where publicly known, dose text, units, hospital's local code.
pub struct Drug {
    pub code_id: i64,
    pub term: &'static str,
    pub dmd: Option<i64>,
    pub dose: &'static str,
    pub pack: i64,
    pub unit: &'static str,
    pub local: &'static str,
}

pub const HYDROCORTISONE: usize = 0;
pub const FLUDROCORTISONE: usize = 1;

#[rustfmt::skip] // a table
pub static DRUGS: [Drug; 14] = [
    Drug { code_id: 6001, term: "Hydrocortisone 10mg tablets", dmd: None, dose: "10mg on waking, 5mg at midday and 5mg at 4pm", pack: 56, unit: "tablet", local: "HYDROCORT10" },
    Drug { code_id: 6002, term: "Fludrocortisone 100microgram tablets", dmd: None, dose: "One To Be Taken Each Morning", pack: 28, unit: "tablet", local: "FLUDRO100" },
    Drug { code_id: 6003, term: "Amlodipine 5mg tablets", dmd: None, dose: "One To Be Taken Each Day", pack: 28, unit: "tablet", local: "AMLOD5" },
    Drug { code_id: 6004, term: "Metformin 500mg tablets", dmd: None, dose: "One To Be Taken Twice A Day With Meals", pack: 56, unit: "tablet", local: "METF500" },
    Drug { code_id: 6005, term: "Salbutamol 100micrograms/dose inhaler CFC free", dmd: None, dose: "One Or Two Puffs To Be Inhaled Up To Four Times A Day", pack: 1, unit: "device", local: "SALBINH" },
    Drug { code_id: 6006, term: "Levothyroxine sodium 100microgram tablets", dmd: None, dose: "One To Be Taken Each Morning", pack: 28, unit: "tablet", local: "LEVO100" },
    Drug { code_id: 6007, term: "Apixaban 5mg tablets", dmd: None, dose: "One To Be Taken Twice A Day", pack: 56, unit: "tablet", local: "APIX5" },
    Drug { code_id: 6008, term: "Tiotropium bromide 18microgram inhalation powder capsules", dmd: None, dose: "One Capsule To Be Inhaled Each Day", pack: 30, unit: "capsule", local: "TIO18" },
    Drug { code_id: 6009, term: "Ibuprofen 200mg tablets", dmd: Some(329_652_003), dose: "One Or Two Up To Three Times A Day With Food", pack: 84, unit: "tablet", local: "IBU200" },
    Drug { code_id: 6010, term: "Allopurinol 300mg tablets", dmd: Some(330_062_008), dose: "One To Be Taken Each Day", pack: 28, unit: "tablet", local: "ALLO300" },
    Drug { code_id: 6011, term: "Omeprazole 20mg gastro-resistant capsules", dmd: Some(317_291_008), dose: "One To Be Taken Each Day", pack: 28, unit: "capsule", local: "OMEP20" },
    Drug { code_id: 6012, term: "Sertraline 50mg tablets", dmd: None, dose: "One To Be Taken Each Day", pack: 28, unit: "tablet", local: "SERT50" },
    Drug { code_id: 6013, term: "Aspirin 75mg tablets", dmd: Some(319_775_004), dose: "One To Be Taken Each Day", pack: 28, unit: "tablet", local: "ASP75" },
    Drug { code_id: 6014, term: "Amoxicillin 500mg capsules", dmd: Some(39_732_411_000_001_106), dose: "One To Be Taken Three Times A Day", pack: 21, unit: "capsule", local: "AMOX500" },
];

/// The medicines (of `DRUGS`) usual for a problem (of `PROBLEMS`).
pub fn drugs_for(problem: usize) -> &'static [usize] {
    match problem {
        0 => &[HYDROCORTISONE, FLUDROCORTISONE],
        1 => &[2],
        2 => &[3],
        3 => &[4],
        4 => &[5],
        5 => &[6],
        6 => &[7, 4],
        7 => &[8],
        8 => &[9],
        9 => &[10],
        _ => &[11],
    }
}

/// Departments by code: display, team of site/teams.toml.
pub const DEPARTMENTS: [(&str, &str, Option<&str>); 6] = [
    ("ENDO", "Endocrinology", Some("stmarys-endocrinology")),
    ("ED", "Emergency Department", Some("stmarys-ed")),
    ("AMU", "Acute Medical Unit", Some("stmarys-amu")),
    ("LAB", "Pathology", Some("stmarys-lab")),
    // Departments without a team of ours.
    ("FRAC", "Fracture clinic", None),
    ("EYE", "Ophthalmology", None),
];

/// EMIS's rule: five characters, padded with dots; its own codes have no Read form.
fn read_code(read: &str) -> Option<String> {
    (!read.starts_with("EMIS") && !read.starts_with("ALLERGY")).then(|| format!("{read:.<5}"))
}

fn clinical_code((code_id, term, read, snomed, category): Coded) -> gp::ClinicalCode {
    gp::ClinicalCode {
        code_id,
        term: Some(term.into()),
        read_term_id: Some(read.into()),
        readv2_code: read_code(read),
        snomed_concept_id: snomed,
        code_category: Some(category.into()),
        ..Default::default()
    }
}

/// The GP's dictionaries, its organisation and its users.
#[derive(Default)]
pub struct GpReference {
    pub organisations: Vec<gp::Organisation>,
    pub users: Vec<gp::User>,
    pub clinical_codes: Vec<gp::ClinicalCode>,
    pub drug_codes: Vec<gp::DrugCode>,
    pub sensitive_codes: Vec<gp::SensitiveCode>,
}

pub fn gp_reference() -> GpReference {
    let tests = TESTS.iter().map(|t| (t.code_id, t.name, t.read, t.snomed, "Biochemistry"));
    let panels = PANELS.iter().map(|p| (p.gp_code_id, p.gp_term, "", None, "Investigations"));
    let none = (NO_KNOWN_ALLERGIES, "No known allergies", "1151.", Some(716_186_003), NONE_KNOWN_CATEGORY);
    let mut clinical_codes: Vec<_> =
        tests.chain(panels).chain(FINDINGS).chain(PROBLEMS).chain(ALLERGIES).chain([none]).map(clinical_code).collect();
    for code in clinical_codes.iter_mut().filter(|c| c.read_term_id.as_deref() == Some("")) {
        code.read_term_id = None;
        code.readv2_code = None;
    }
    GpReference {
        organisations: vec![gp::Organisation {
            organisation_id: PRACTICE,
            ods_code: Some(PRACTICE_ODS.into()),
            organisation_name: Some("Riverside Practice".into()),
            organisation_type: Some("GP Practice".into()),
            postcode: Some("ZZ99 3CZ".into()),
            ..Default::default()
        }],
        users: USERS
            .iter()
            .enumerate()
            .map(|(n, (_, title, given, surname, job))| gp::User {
                user_in_role_id: user(n),
                organisation_id: Some(PRACTICE),
                title: Some((*title).into()),
                given_name: Some((*given).into()),
                surname: Some((*surname).into()),
                job_category_name: Some((*job).into()),
                ..Default::default()
            })
            .collect(),
        clinical_codes,
        drug_codes: DRUGS
            .iter()
            .map(|d| gp::DrugCode {
                code_id: d.code_id,
                term: Some(d.term.into()),
                dmd_product_code_id: d.dmd,
                is_deleted: false,
            })
            .collect(),
        sensitive_codes: vec![
            gp::SensitiveCode { code_id: 5901, snomed_concept_id: None },
            gp::SensitiveCode { code_id: 5311, snomed_concept_id: Some(35_489_007) },
        ],
    }
}

pub fn departments() -> Vec<hospital::Department> {
    DEPARTMENTS
        .iter()
        .map(|(code, display, team)| hospital::Department {
            department_code: (*code).into(),
            display: (*display).into(),
            team: team.map(Into::into),
        })
        .collect()
}

pub fn local_tests() -> Vec<hospital::LocalTest> {
    TESTS
        .iter()
        .map(|t| hospital::LocalTest {
            test_code: t.local.into(),
            name: t.local_name.into(),
            loinc: t.loinc.map(Into::into),
            snomed_concept_id: t.utl,
            usual_unit: Some(t.local_unit.into()),
        })
        .collect()
}
