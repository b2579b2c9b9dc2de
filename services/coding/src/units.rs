//! Units, read only in the light of their analyte: the same letters mean different things
//! beside different tests, and `7.2 %` of HbA1c is not 72 mmol/mol.

use super::lab::Analyte;
use event::Canonical;
use rust_decimal::{Decimal, RoundingStrategy};

/// How a number in one unit becomes the canonical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Exact decimal factor.
    Times(&'static str),
    /// HbA1c: NGSP % to IFCC mmol/mol by the master equation, NGSP = 0.09148 × IFCC + 2.152.
    Ngsp,
}

/// Canonical number, or none when this analyte is not measured in that unit.
pub fn convert(analyte: &Analyte, number: Decimal, unit: &str) -> Option<Canonical> {
    let unit = spelled(unit);
    let (_, conversion) = analyte.units.iter().find(|(known, _)| spelled(known) == unit)?;
    let number = match conversion {
        Conversion::Times("1") => number,
        Conversion::Times(factor) => number.checked_mul(factor.parse().ok()?)?.normalize(),
        Conversion::Ngsp => {
            let (slope, intercept) = (Decimal::new(9_148, 5), Decimal::new(2_152, 3));
            let ifcc = number.checked_sub(intercept)?.checked_div(slope)?;
            ifcc.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
        }
    };
    Some(Canonical { number, unit: analyte.unit.to_owned() })
}

/// Is it a unit at all? For what the lab table does not know: UCUM itself decides.
pub fn is_unit(unit: &str) -> bool {
    ucum::validate(&spelled(unit)).is_ok()
}

/// One spelling: no spaces, `u` for both micro signs, `L` for litre.
fn spelled(unit: &str) -> String {
    let mut text: String = unit
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| if matches!(c, '\u{b5}' | '\u{3bc}') { 'u' } else { c })
        .collect();
    for (small, large) in [("/l", "/L"), ("/dl", "/dL"), ("/ml", "/mL")] {
        if let Some(stem) = text.strip_suffix(small) {
            text = format!("{stem}{large}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::lab;
    use super::*;

    #[track_caller]
    fn check(key: &str, number: &str, unit: &str, want: &str) {
        let analyte = lab::analytes().iter().find(|analyte| analyte.key == key).expect("an analyte");
        let got = convert(analyte, number.parse().expect("digits"), unit);
        assert_eq!(got.map_or("unknown unit".into(), |c| format!("{} {}", c.number, c.unit)), want, "{number} {unit}");
    }

    #[test]
    fn factors_are_those_of_the_analyte() {
        check("creatinine", "1.2", "mg/dL", "106.08 umol/L");
        check("creatinine", "88", "µmol/L", "88 umol/L");
        check("creatinine", "88", "\u{3bc}mol/l", "88 umol/L");
        check("glucose", "90", "mg/dl", "4.9959 mmol/L");
        check("urea", "20", "mg/dL", "3.33 mmol/L");
        check("potassium", "6.70", "mEq/L", "6.70 mmol/L");
        check("potassium", "6.7", "mmol / L", "6.7 mmol/L");
        check("haemoglobin", "13.5", "g/dL", "135 g/L");
        check("crp", "1.5", "mg/dL", "15 mg/L");
        check("adjusted-calcium", "10", "mg/dL", "2.495 mmol/L");
        check("cortisol", "10", "ug/dL", "275.9 nmol/L");
        check("acth", "100", "pg/mL", "22.02 pmol/L");
    }

    #[test]
    fn hba1c_percent_is_not_a_fraction() {
        for (percent, ifcc) in [
            ("6.0", "42"),
            ("6.5", "48"),
            ("7.0", "53"),
            ("7.2", "55"),
            ("7.5", "58"),
            ("8.0", "64"),
            ("9.0", "75"),
            ("10.0", "86"),
        ] {
            check("hba1c", percent, "%", &format!("{ifcc} mmol/mol"));
        }
        check("hba1c", "48", "mmol/mol", "48 mmol/mol");
    }

    #[test]
    fn tsh_is_written_in_many_ways_and_never_by_ucum() {
        for unit in ["mU/L", "mu/L", "mIU/L", "miu/L", "uIU/mL", "mlU/ml", "mlU/L"] {
            let want = if unit == "mlU/ml" { "unknown unit" } else { "4.2 m[IU]/L" };
            check("tsh", "4.2", unit, want);
        }
    }

    #[test]
    fn an_unknown_unit_gives_no_number() {
        for unit in ["Banana", "", "mmol", "mg", "Mmol/L", "%", "10^3/µl"] {
            check("potassium", "6.7", unit, "unknown unit");
        }
        check("alt", "30", "UI/L", "30 U/L");
        check("alt", "30", "IU/L 37C", "30 U/L");
        check("alt", "30", "mmol/L", "unknown unit");
    }

    #[test]
    fn ucum_knows_canonical_units_and_no_banana() {
        for analyte in lab::analytes() {
            assert!(ucum::validate(analyte.unit).is_ok(), "{}", analyte.unit);
        }
        assert!(is_unit("kg") && is_unit("mm[Hg]") && !is_unit("Banana") && !is_unit("units/week"));
    }
}
