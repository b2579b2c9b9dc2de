//! What a code means: a source's codes to analyte, LOINC and SNOMED CT.
//!
//! # Why
//! A reader sees what the source wrote, and rules see what it means. So original code and text are always kept, and what is
//! added comes from a table with its evidence; what is not known stays unknown, and says so.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod lab;
pub mod read;
pub mod release;
pub mod specimen;
pub mod units;
pub mod value;

use event::{Canonical, Code, Coding, Origin, datum::Aside};
use lab::{Analyte, Found, Lab};
use rust_decimal::Decimal;
use terminology::{is_loinc, sctid};

/// The systems a mapping can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum System {
    ReadV2,
    Ctv3,
    Snomed,
    Loinc,
    /// dm+d: its product ids are SNOMED CT concepts of the UK drug extension.
    Dmd,
    /// The source's own codes.
    Local,
}

impl System {
    pub const NAMES: [(&'static str, Self); 6] = [
        ("read-v2", Self::ReadV2),
        ("ctv3", Self::Ctv3),
        ("snomed", Self::Snomed),
        ("loinc", Self::Loinc),
        ("dmd", Self::Dmd),
        ("local", Self::Local),
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, system)| *system)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, system)| *system == self).map_or("", |(name, _)| name)
    }

    fn uri(self, source: &str) -> String {
        match self {
            Self::ReadV2 => "http://read.info/readv2".into(),
            Self::Ctv3 => "http://read.info/ctv3".into(),
            Self::Snomed => "http://snomed.info/sct".into(),
            Self::Loinc => "http://loinc.org".into(),
            Self::Dmd => "https://dmd.nhs.uk".into(),
            Self::Local => format!("urn:causeway:local:{source}"),
        }
    }
}

/// A code with what it was found to mean.
pub struct Coded<'a> {
    pub code: Code,
    pub analyte: Option<&'a Analyte>,
}

/// A code as a source gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub system: System,
    pub code: String,
    /// Of the system, where the source tells it.
    pub version: Option<String>,
    /// What the system calls it, where the source tells it.
    pub display: Option<String>,
}

impl Given {
    /// Whether it can be a code of its system. `0`, `-1` and what lost a digit are none: they are kept as they are written,
    /// and do not stand in the way of a code that is one.
    fn is_code(&self) -> bool {
        match self.system {
            System::Snomed | System::Dmd => sctid::is_concept(self.code.trim()),
            // Nobody pads a LOINC number.
            System::Loinc => is_loinc(self.code.trim()) && !self.code.trim().starts_with('0'),
            System::ReadV2 | System::Ctv3 | System::Local => true,
        }
    }
}

/// Codes the thing that a source describes by these codes, the first being the original.
pub fn code<'a>(lab: &'a Lab, source: &str, text: Option<String>, codes: &[Given]) -> Coded<'a> {
    let first = codes.first();
    let own = codes.iter().find_map(|given| lab.own(source, given.system, &given.code));
    let found = own.or_else(|| codes.iter().find_map(|given| lab.find(given.system, &given.code)));
    // What the site says is another test is not called what its code means elsewhere.
    let wrong = |given: &Given| {
        let elsewhere = own.and_then(|own| Some((own, lab.find(given.system, &given.code)?)));
        elsewhere.is_some_and(|(own, elsewhere)| own.analyte.key != elsewhere.analyte.key)
    };
    let given = |wanted: System| {
        let all = codes.iter().filter(|given| given.system == wanted && given.is_code() && !wrong(given));
        all.map(|given| given.code.trim().to_owned()).next()
    };
    let (analyte, member) = found.map(|Found { analyte, member }| (analyte, member)).unzip();
    let mut codings: Vec<Coding> = codes.iter().map(|given| written(given, source)).collect();
    let mut mapped = |system: System, code: String, display: Option<&str>, by: &str| {
        codings.push(Coding {
            system: system.uri(source),
            version: None,
            code: code.clone(),
            display: display.map(str::to_owned),
            origin: Origin::Mapped,
            by: Aside(Some(by.to_owned())),
        });
        code
    };
    let of_member = |codes: &[String]| codes.first().cloned();
    let snomed = given(System::Snomed).or_else(|| given(System::Dmd)).or_else(|| {
        let (code, name) = member.and_then(|member| Some((of_member(&member.snomed)?, member.text.as_str()))).unzip();
        code.map(|code| mapped(System::Snomed, code, name, lab.release()))
    });
    let loinc = given(System::Loinc).or_else(|| {
        let (code, name) = member.and_then(|member| Some((of_member(&member.loinc)?, member.text.as_str()))).unzip();
        code.map(|code| mapped(System::Loinc, code, name, lab.release()))
    });
    let code = Code {
        // Words must be there: without any, the code itself is what the source shows.
        text: text.or_else(|| first.map(|given| given.code.clone())).unwrap_or_default(),
        original_system: first.map(|given| given.system.uri(source)),
        original_code: first.map(|given| given.code.clone()),
        snomed,
        loinc,
        codings,
    };
    Coded { code, analyte }
}

/// What is understood of a result's number: its canonical form, and why it cannot be used, or not be relied on. `texts`:
/// what may name its specimen.
pub fn understand<'a>(
    analyte: &Analyte,
    number: Decimal,
    unit: Option<&str>,
    texts: impl IntoIterator<Item = &'a str>,
) -> (Option<Canonical>, Option<&'static str>) {
    let unitless = || analyte.units.find("").map(|_| "");
    let Some(unit) = unit.or_else(unitless) else { return (None, Some("no unit")) };
    if specimen::differs(&analyte.specimen, texts) {
        return (None, Some("specimen differs"));
    }
    match units::convert(analyte, number, unit) {
        Err(why) => (None, Some(why.as_str())),
        Ok(number) => {
            let implausible = (!analyte.plausible.holds(number)).then_some(event::IMPLAUSIBLE);
            (Some(Canonical { number, unit: analyte.unit.clone() }), implausible)
        }
    }
}

fn written(given: &Given, source: &str) -> Coding {
    let Given { system, code, version, display } = given;
    Coding {
        system: system.uri(source),
        version: version.clone(),
        code: code.clone(),
        display: display.clone(),
        origin: Origin::Written,
        by: Aside(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(codes: &[(System, &str)]) -> Vec<Given> {
        let one = |(system, code): &(System, &str)| Given {
            system: *system,
            code: (*code).to_owned(),
            version: None,
            display: None,
        };
        codes.iter().map(one).collect()
    }

    #[track_caller]
    fn check(codes: &[(System, &str)], want: &str) {
        let lab = Lab::shipped();
        let coded = code(&lab, "riverside", None, &given(codes));
        let field = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let got = [
            field(coded.analyte.map(|analyte| analyte.key.as_str())),
            field(coded.code.loinc.as_deref()),
            field(coded.code.snomed.as_deref()),
            field(coded.code.original_code.as_deref()),
        ];
        assert_eq!(got.join(" "), want);
    }

    #[test]
    fn every_system_leads_to_the_analyte() {
        check(&[(System::ReadV2, "44I4.")], "potassium 2823-3 1000651000000109 44I4.");
        check(&[(System::ReadV2, "44I4.-1")], "potassium 2823-3 1000651000000109 44I4.-1");
        check(&[(System::ReadV2, "44I4")], "potassium 2823-3 1000651000000109 44I4");
        check(&[(System::Snomed, "1107761000000109")], "potassium 2823-3 1107761000000109 1107761000000109");
        check(&[(System::Loinc, "2160-0")], "creatinine 2160-0 1000731000000107 2160-0");
        check(&[(System::Local, "K"), (System::Loinc, "2823-3")], "potassium 2823-3 1000651000000109 K");
        // Whole blood is watched like serum, and is not called serum.
        check(&[(System::Loinc, "6298-4")], "potassium 6298-4 - 6298-4");
        check(&[(System::ReadV2, "44h8.")], "potassium 2823-3 1017401000000106 44h8.");
        check(&[(System::ReadV2, "44TK.")], "glucose 14771-0 997681000000108 44TK.");
        check(&[(System::Loinc, "41653-7")], "glucose 41653-7 - 41653-7");
    }

    #[test]
    fn what_is_not_known_stays_as_written() {
        check(&[(System::Local, "ALLERGY1364")], "- - - ALLERGY1364");
        check(&[(System::ReadV2, "XaZ89")], "- - - XaZ89");
        check(&[(System::Dmd, "322236009")], "- - 322236009 322236009");
        check(&[], "- - - -");
    }

    #[test]
    fn a_read_code_alone_names_no_condition_unless_a_map_is_loaded() {
        check(&[(System::Snomed, "363732003")], "- - 363732003 363732003");
        check(&[(System::ReadV2, "C1541")], "- - - C1541");
    }

    #[test]
    fn what_can_be_no_code_stands_in_no_codes_way() {
        check(&[(System::Snomed, "0"), (System::ReadV2, "44I4.")], "potassium 2823-3 1000651000000109 0");
        check(&[(System::Loinc, "2823-4"), (System::ReadV2, "44I4.")], "potassium 2823-3 1000651000000109 2823-4");
        check(&[(System::Snomed, "1000651000000108")], "- - - 1000651000000108");
        check(&[(System::Dmd, "322236008")], "- - - 322236008");
    }

    #[test]
    fn words_fall_back_to_the_code() {
        let lab = Lab::shipped();
        let coded = code(&lab, "stmarys", None, &given(&[(System::Local, "ZZ9")]));
        assert_eq!(coded.code.text, "ZZ9");
        assert_eq!(coded.code.original_system.as_deref(), Some("urn:causeway:local:stmarys"));
    }

    #[test]
    fn every_code_tells_how_it_came_to_be_there() {
        let check = |codes: &[(System, &str)], want: &str| {
            let told = code(&Lab::shipped(), "riverside", None, &given(codes)).code.codings;
            let one = |coding: &Coding| {
                let by = coding.by.0.as_deref().map(|by| format!(" by {}", by.split(' ').next().unwrap_or_default()));
                format!("{} {}{}", coding.origin.as_str(), coding.code, by.unwrap_or_default())
            };
            assert_eq!(told.iter().map(one).collect::<Vec<_>>().join(", "), want);
        };
        check(
            &[(System::ReadV2, "44I4."), (System::Local, "7")],
            "written 44I4., written 7, mapped 1000651000000109 by analytes.csv, mapped 2823-3 by analytes.csv",
        );
        check(
            &[(System::Snomed, "1107761000000109"), (System::Loinc, "2823-3")],
            "written 1107761000000109, written 2823-3",
        );
        check(&[(System::ReadV2, "C1541")], "written C1541");
        check(&[(System::Dmd, "322236009")], "written 322236009");
        check(&[], "");
        let lab = Lab::shipped();
        assert!(lab.release().starts_with("analytes.csv ") && lab.release().len() == 21, "{}", lab.release());
    }

    #[track_caller]
    fn check_number(key: &str, text: &str, number: &str, unit: Option<&str>, want: &str) {
        let lab = Lab::shipped();
        let analyte = lab.analyte(key).expect("an analyte");
        let (canonical, why) = understand(analyte, number.parse().expect("digits"), unit, [text]);
        let canonical =
            canonical.map_or("-".to_owned(), |canonical| format!("{} {}", canonical.number, canonical.unit));
        assert_eq!(format!("{canonical} {}", why.unwrap_or("good")), want, "{key} {number} {unit:?} {text}");
    }

    #[test]
    fn what_cannot_be_is_flagged_and_never_changed() {
        let check = |key, number, unit, want| check_number(key, "", number, Some(unit), want);
        check("potassium", "140", "mmol/L", "140 mmol/L implausible value");
        check("potassium", "65", "mmol/L", "65 mmol/L good");
        check("potassium", "65.1", "mmol/L", "65.1 mmol/L implausible value");
        check("potassium", "0.24", "mmol/L", "0.24 mmol/L implausible value");
        check("potassium", "6.7", "mmol/L", "6.7 mmol/L good");
        check("sodium", "4.1", "mmol/L", "4.1 mmol/L implausible value");
        check("oestradiol", "250", "mmol/L", "- implausible unit");
        check("oestradiol", "250", "pmol/L", "250 pmol/L good");
        check("creatinine", "1.2", "umol/L", "1.2 umol/L implausible value");
        check("creatinine", "88", "mmol/L", "88000 umol/L implausible value");
        check("creatinine", "1.2", "mg/dL", "106.0824 umol/L good");
        check("hba1c", "7.2", "mmol/mol", "7.2 mmol/mol implausible value");
        check("hba1c", "48", "%", "501.18 mmol/mol implausible value");
        check("haematocrit", "45", "L/L", "45 L/L implausible value");
        check("chloride", "-1", "mmol/L", "-1 mmol/L implausible value");
        check("potassium", "4.1", "xyz", "- unknown unit");
    }

    #[test]
    fn a_test_without_a_unit_needs_none_and_others_do() {
        check_number("inr", "INR", "2.5", None, "2.5 {INR} good");
        check_number("ph", "pH", "7.38", None, "7.38 [pH] good");
        check_number("hba1c", "HbA1c", "7.2", None, "- no unit");
        check_number("potassium", "K", "4.1", None, "- no unit");
    }

    #[test]
    fn a_specimen_that_differs_is_not_checked() {
        check_number("potassium", "Urine potassium", "60", Some("mmol/L"), "- specimen differs");
        check_number("urine-potassium", "Urine potassium", "60", Some("mmol/L"), "60 mmol/L good");
        check_number("alp", "Faecal calprotectin", "60", Some("U/L"), "- specimen differs");
        check_number("potassium", "Serum potassium", "4.1", Some("mmol/L"), "4.1 mmol/L good");
    }
}
