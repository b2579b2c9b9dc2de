//! Every factor, exactly.

use super::*;
use crate::lab::Lab;

fn told(key: &str, number: &str, unit: &str) -> String {
    let lab = Lab::shipped();
    let analyte = lab.analyte(key).unwrap_or_else(|| panic!("no analyte {key}"));
    match convert(analyte, number.parse().expect("digits"), unit) {
        Ok(number) => format!("{number} {}", analyte.unit),
        Err(why) => why.as_str().to_owned(),
    }
}

#[track_caller]
fn check(key: &str, number: &str, unit: &str, want: &str) {
    assert_eq!(told(key, number, unit), want, "{key} {number} {unit}");
}

/// Analyte, unit, factor, canonical unit: computed from molar masses.
const FACTORS: &str = "
    creatinine mg/dL 88.402 umol/L
    creatinine mmol/L 1000 umol/L
    glucose mg/dL 0.055507 mmol/L
    glucose-2h mg/dL 0.055507 mmol/L
    urea mg/dL 0.16651 mmol/L
    bun mg/dL 0.357 mmol/L
    bilirubin mg/dL 17.104 umol/L
    bilirubin-conjugated mg/dL 17.104 umol/L
    cholesterol mg/dL 0.025863 mmol/L
    hdl mg/dL 0.025863 mmol/L
    ldl mg/dL 0.025863 mmol/L
    vldl mg/dL 0.025863 mmol/L
    non-hdl mg/dL 0.025863 mmol/L
    triglycerides mg/dL 0.011294 mmol/L
    urate mg/dL 59.485 umol/L
    calcium mg/dL 0.24951 mmol/L
    calcium mEq/L 0.5 mmol/L
    adjusted-calcium mg/dL 0.24951 mmol/L
    ionised-calcium mg/dL 0.24951 mmol/L
    phosphate mg/dL 0.32285 mmol/L
    magnesium mg/dL 0.41144 mmol/L
    magnesium mEq/L 0.5 mmol/L
    lactate mg/dL 0.11101 mmol/L
    ammonia ug/dL 0.58716 umol/L
    iron ug/dL 0.17907 umol/L
    tibc ug/dL 0.17907 umol/L
    ft4 ng/dL 12.872 pmol/L
    ft3 ng/dL 15.362 pmol/L
    ft3 pg/mL 1.5362 pmol/L
    t4 ug/dL 12.872 nmol/L
    t3 ng/mL 1.5362 nmol/L
    cortisol ug/dL 27.589 nmol/L
    acth pg/mL 0.22022 pmol/L
    acth ng/L 0.22022 pmol/L
    aldosterone ng/dL 27.744 pmol/L
    aldosterone pg/mL 2.7744 pmol/L
    pth pg/mL 0.1061 pmol/L
    oestradiol pg/mL 3.6713 pmol/L
    progesterone ng/mL 3.1801 nmol/L
    testosterone ng/mL 3.4672 nmol/L
    testosterone ng/dL 0.034672 nmol/L
    dheas ug/dL 0.027138 umol/L
    vitamin-d ng/mL 2.496 nmol/L
    vitamin-d ug/L 2.496 nmol/L
    b12 ng/L 0.73781 pmol/L
    b12 pg/mL 0.73781 pmol/L
    folate ng/mL 2.2655 nmol/L
    folate-rbc ug/L 2.2655 nmol/L
    digoxin ng/mL 1.2805 nmol/L
    digoxin ug/L 1.2805 nmol/L
    lithium mEq/L 1 mmol/L
    sodium mEq/L 1 mmol/L
    potassium mEq/L 1 mmol/L
    chloride mEq/L 1 mmol/L
    bicarbonate mEq/L 1 mmol/L
    paracetamol mg/L 6.6155 umol/L
    theophylline mg/L 5.5506 umol/L
    phenytoin mg/L 3.964 umol/L
    salicylate mg/L 0.0072401 mmol/L
    haemoglobin g/dL 10 g/L
    albumin g/dL 10 g/L
    total-protein g/dL 10 g/L
    haematocrit % 0.01 L/L
    crp mg/dL 10 mg/L
    ferritin ng/mL 1 ug/L
    tsh uIU/mL 1 m[IU]/L
    acr mg/g 0.11312 mg/mmol
    urine-creatinine mg/dL 0.088402 mmol/L
    po2 mm[Hg] 0.133322 kPa
    pco2 mm[Hg] 0.133322 kPa";

/// As a second reference rounds them.
const ROUNDED: &str = "
    glucose mg/dL 0.05551
    urea mg/dL 0.1665
    bun mg/dL 0.3570
    cholesterol mg/dL 0.02586
    triglycerides mg/dL 0.01129
    calcium mg/dL 0.2495
    phosphate mg/dL 0.3229
    magnesium mg/dL 0.4114
    lactate mg/dL 0.1110
    creatinine mg/dL 88.40
    bilirubin mg/dL 17.10
    urate mg/dL 59.48
    cortisol ug/dL 27.59
    iron ug/dL 0.1791
    ammonia ug/dL 0.5872
    vitamin-d ng/mL 2.496
    folate ng/mL 2.266
    testosterone ng/mL 3.467
    progesterone ng/mL 3.180
    digoxin ng/mL 1.281
    acth pg/mL 0.2202
    oestradiol pg/mL 3.671
    pth pg/mL 0.1061
    b12 pg/mL 0.7378
    aldosterone pg/mL 2.774
    ft4 ng/dL 12.87
    ft3 ng/dL 15.36
    t4 ug/dL 12.87
    dheas ug/dL 0.02714
    paracetamol mg/L 6.615
    theophylline mg/L 5.551
    phenytoin mg/L 3.964";

fn lines<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    let words = |line: &'static str| line.split_whitespace().collect::<Vec<_>>().try_into().expect("as many words");
    table.lines().filter(|line| !line.trim().is_empty()).map(words)
}

#[test]
fn every_factor_is_exact() {
    for [key, unit, factor, canonical] in lines(FACTORS) {
        check(key, "1", unit, &format!("{factor} {canonical}"));
        // A product with many digits keeps each.
        let number: Decimal = "1234567.89".parse().expect("digits");
        let want = (number * factor.parse::<Decimal>().expect("digits")).normalize();
        check(key, "1234567.89", unit, &format!("{want} {canonical}"));
    }
}

#[test]
fn a_second_reference_has_the_same_factors_with_fewer_digits() {
    for [key, unit, rounded] in lines(ROUNDED) {
        let [_, _, factor, _] =
            lines::<4>(FACTORS).find(|[known, of, ..]| *known == key && *of == unit).expect("in the first");
        let (factor, rounded): (Decimal, Decimal) = (factor.parse().expect("digits"), rounded.parse().expect("digits"));
        let unit_of_last_digit = Decimal::new(1, rounded.scale());
        assert!((factor - rounded).abs() <= unit_of_last_digit, "{key}: {factor} and {rounded}");
    }
}

#[test]
fn results_that_others_have_computed() {
    check("creatinine", "1.2", "mg/dL", "106.0824 umol/L");
    check("glucose", "126", "mg/dL", "6.993882 mmol/L");
    check("bun", "14", "mg/dL", "4.998 mmol/L");
    check("haematocrit", "45", "%", "0.45 L/L");
    check("haemoglobin", "13.5", "g/dL", "135 g/L");
    check("po2", "75", "mm[Hg]", "9.99915 kPa");
    check("hba1c", "7.2", "%", "55.18 mmol/mol");
    check("urate", "1.5", "mmol/L", "1500 umol/L");
}

#[test]
fn hba1c_percent_is_not_a_fraction() {
    for (percent, shown) in [
        ("6.0", "42"),
        ("6.5", "48"),
        ("7.0", "53"),
        ("7.2", "55"),
        ("7.5", "58"),
        ("8.0", "64"),
        ("9.0", "75"),
        ("10.0", "86"),
    ] {
        let exact: Decimal = told("hba1c", percent, "%").trim_end_matches(" mmol/mol").parse().expect("a number");
        let strategy = RoundingStrategy::MidpointAwayFromZero;
        assert_eq!(exact.round_dp_with_strategy(0, strategy).to_string(), shown, "{percent}");
        assert!(exact.scale() <= NGSP_DECIMALS);
    }
    // The equation, from the other side: 42 is 5.994 %, and 48 is 6.54304 %.
    check("hba1c", "5.994", "%", "42 mmol/mol");
    check("hba1c", "6.54304", "%", "48 mmol/mol");
    check("hba1c", "48", "mmol/mol", "48 mmol/mol");
    check("hba1c", "7.2", "% Hb", "55.18 mmol/mol");
}

#[test]
fn a_number_in_its_own_unit_stays_as_it_is_written() {
    check("potassium", "6.70", "mEq/L", "6.70 mmol/L");
    check("potassium", "6.7", "mmol / L", "6.7 mmol/L");
    check("creatinine", "88", "µmol/L", "88 umol/L");
    check("creatinine", "88", "\u{3bc}mol/l", "88 umol/L");
    check("glucose", "90", "mg/dl", "4.99563 mmol/L");
}

#[test]
fn units_that_people_write_count_beside_their_analyte_alone() {
    for unit in ["mU/L", "mu/L", "mIU/L", "miu/L", "uIU/mL", "mlU/ml", "mlU/L"] {
        let want = if unit == "mlU/ml" { "unknown unit" } else { "4.2 m[IU]/L" };
        check("tsh", "4.2", unit, want);
    }
    for unit in ["10*9/L", "10^9/l", "x10^9/L", "x10*9/L", "10e9/L", "X 10-9/l", "10*3/uL", "10^3/µL", "K/uL", "G/L"] {
        for key in ["platelets", "wbc", "neutrophils", "lymphocytes", "monocytes", "eosinophils", "basophils"] {
            check(key, "4.2", unit, "4.2 10*9/L");
        }
        check("neutrophils-pct", "42", unit, "unknown unit");
        check("potassium", "4.2", unit, "unknown unit");
    }
    check("neutrophils", "42", "%", "unknown unit");
    check("neutrophils-pct", "42", "%", "42 %");
    check("rbc", "4.5", "X 10-12/l", "4.5 10*12/L");
    check("rbc", "4.5", "X 10-9/l", "unknown unit");
    check("mcv", "90", "f/l", "90 fL");
    check("ige", "30", "ku/L", "30 k[IU]/L");
    check("alt", "30", "UI/L", "30 U/L");
    check("alt", "30", "IU/L 37C", "30 U/L");
    check("alt", "30", "mmol/L", "unknown unit");
    // What is mg/dL beside creatinine is nothing beside potassium.
    check("potassium", "1", "mg/dL", "unknown unit");
}

#[test]
fn an_unknown_unit_gives_no_number() {
    let long = "m".repeat(UNIT_BYTES_MAX + 1);
    for unit in ["Banana", "", "mmol", "mg", "Mmol/L", "%", "10^3/µl", "xyz", "Unknown UoM", &long] {
        check("potassium", "6.7", unit, "unknown unit");
    }
    check("potassium", "6.7", "none", "unknown unit");
    check("oestradiol", "250", "mmol/L", "implausible unit");
    check("tibc", "60", "mmol/L", "implausible unit");
}

/// No factor exists, and the table says so.
#[test]
fn what_has_no_factor_is_left() {
    let lab = Lab::shipped();
    for (key, unit) in [
        ("lpa", "mg/dL"),
        ("insulin", "mU/L"),
        ("prolactin", "ng/mL"),
        ("afp", "ug/L"),
        ("ttg-iga", "g/L"),
        ("nt-probnp", "pmol/L"),
        ("ph", "nmol/L"),
        ("d-dimer-feu", "ug/L"),
    ] {
        check(key, "7", unit, "unknown unit");
        assert!(lab.analyte(key).is_some_and(|analyte| analyte.left.is_some()), "{key}");
    }
    for key in ["troponin-i", "troponin-t"] {
        assert!(lab.analyte(key).is_some_and(|analyte| analyte.left.is_some()), "{key}");
    }
}

#[test]
fn a_product_that_no_decimal_holds_is_none() {
    check("creatinine", "0.12345678901234567890123456", "mg/dL", "too many digits");
    check("creatinine", "79228162514264337593543950335", "mg/dL", "too many digits");
    check("creatinine", "0.1234567890123456789012340000", "mg/dL", "10.913827062269382706226888068 umol/L");
}

#[test]
fn ucum_knows_canonical_units_and_no_banana() {
    for analyte in Lab::shipped().analytes() {
        assert!(ucum::validate(&analyte.unit).is_ok(), "{}: {}", analyte.key, analyte.unit);
        assert_eq!(analyte.units.find(&analyte.unit), Some(Conversion::Same), "{}", analyte.key);
    }
    assert!(is_unit("kg") && is_unit("mm[Hg]") && !is_unit("Banana") && !is_unit("units/week"));
    assert!(same("% Hb", "%Hb") && same("µmol/l", "umol/L") && !same("mmol/L", "Mmol/L"));
}

#[test]
fn what_is_no_factor_is_said() {
    for (cell, want) in [
        ("mmol/L", "`mmol/L` has no factor"),
        ("mmol/L=", "`` is no factor: a decimal number above 0, ngsp or wrong"),
        ("mmol/L=-1", "`-1` is no factor: a decimal number above 0, ngsp or wrong"),
        ("mmol/L=1|mmol/l=2", "the unit `mmol/l` has another factor"),
        ("mmol/L;=1", "a unit is empty: a test without a unit has `none`"),
    ] {
        assert_eq!(Units::parse(cell).expect_err(cell), want);
    }
}

proptest::proptest! {
    /// Against whole numbers: the digits' product, and the places' sum.
    #[test]
    fn a_product_is_exact(digits in 0_u64..1_000_000_000_000, places in 0_u32..9) {
        let number = Decimal::from_i128_with_scale(i128::from(digits), places);
        for [key, unit, factor, _] in lines::<4>(FACTORS) {
            let factor: Decimal = factor.parse().expect("digits");
            let want = Decimal::from_i128_with_scale(i128::from(digits) * factor.mantissa(), places + factor.scale());
            let lab = Lab::shipped();
            let analyte = lab.analyte(key).expect("an analyte");
            proptest::prop_assert_eq!(convert(analyte, number, unit), Ok(want), "{} {} {}", key, number, unit);
        }
    }
}
