//! What a code means: a source's codes to analyte, LOINC and SNOMED CT.
//!
//! # Why
//! A reader sees what the source wrote, and rules see what it means. So original code and text are always kept, and what is
//! added comes from a table with its evidence; what is not known stays unknown, and says so.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod lab;
pub mod read;
pub mod units;
pub mod value;

use event::{Code, Coding, Origin, datum::Aside};
use lab::Analyte;

/// The systems a mapping can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum System {
    ReadV2,
    Snomed,
    Loinc,
    /// dm+d: its product ids are SNOMED CT concepts of the UK drug extension.
    Dmd,
    /// The source's own codes.
    Local,
}

impl System {
    pub const NAMES: [(&'static str, Self); 5] = [
        ("read-v2", Self::ReadV2),
        ("snomed", Self::Snomed),
        ("loinc", Self::Loinc),
        ("dmd", Self::Dmd),
        ("local", Self::Local),
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, system)| *system)
    }

    fn uri(self, source: &str) -> String {
        match self {
            Self::ReadV2 => "http://read.info/readv2".into(),
            Self::Snomed => "http://snomed.info/sct".into(),
            Self::Loinc => "http://loinc.org".into(),
            Self::Dmd => "https://dmd.nhs.uk".into(),
            Self::Local => format!("urn:causeway:local:{source}"),
        }
    }
}

/// Conditions that rules ask for by SNOMED CT concept, where a source gives only a Read code.
/// Read v2 from memory, to be held against the TRUD maps by the terminology loader.
const CONDITIONS: [(&str, &str); 2] = [("C1541", ADDISONS_DISEASE), ("C154.", "111563005")];

/// How codings call that table.
const CONDITIONS_BY: &str = "conditions built in";

pub const ADDISONS_DISEASE: &str = "363732003";

/// A code with what it was found to mean.
pub struct Coded {
    pub code: Code,
    pub analyte: Option<&'static Analyte>,
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

/// Codes the thing that a source describes by these codes, the first being the original.
pub fn code(source: &str, text: Option<String>, codes: &[Given]) -> Coded {
    let first = codes.first();
    let given = |wanted: System| codes.iter().find(|given| given.system == wanted).map(|given| given.code.clone());
    let found = codes.iter().find_map(|given| lab::find(given.system, &given.code));
    let member = found.map(|(_, member)| member);
    let read = given(System::ReadV2).map(|code| read::normal(&code));
    let condition = || {
        let known = CONDITIONS.iter().find(|(code, _)| Some(*code) == read.as_deref());
        known.map(|(_, snomed)| (*snomed).to_owned())
    };
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
    let of_member = |codes: &[&str]| codes.first().map(|&code| code.to_owned());
    let snomed = given(System::Snomed).or_else(|| given(System::Dmd)).or_else(|| {
        let (code, name) = member.and_then(|member| Some((of_member(&member.snomed)?, member.text))).unzip();
        let by_table = code.map(|code| mapped(System::Snomed, code, name, lab::release()));
        by_table.or_else(|| condition().map(|code| mapped(System::Snomed, code, None, CONDITIONS_BY)))
    });
    let loinc = given(System::Loinc).or_else(|| {
        let (code, name) = member.and_then(|member| Some((of_member(&member.loinc)?, member.text))).unzip();
        code.map(|code| mapped(System::Loinc, code, name, lab::release()))
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
    Coded { code, analyte: found.map(|(analyte, _)| analyte) }
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
        let coded = code("riverside", None, &given(codes));
        let field = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let got = [
            field(coded.analyte.map(|analyte| analyte.key)),
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
    fn addisons_is_known_from_either_code() {
        check(&[(System::Snomed, "363732003")], "- - 363732003 363732003");
        check(&[(System::ReadV2, "C1541")], "- - 363732003 C1541");
    }

    #[test]
    fn words_fall_back_to_the_code() {
        let coded = code("stmarys", None, &given(&[(System::Local, "ZZ9")]));
        assert_eq!(coded.code.text, "ZZ9");
        assert_eq!(coded.code.original_system.as_deref(), Some("urn:causeway:local:stmarys"));
    }

    #[test]
    fn every_code_tells_how_it_came_to_be_there() {
        let check = |codes: &[(System, &str)], want: &str| {
            let told = code("riverside", None, &given(codes)).code.codings;
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
        check(&[(System::ReadV2, "C1541")], "written C1541, mapped 363732003 by conditions");
        check(&[(System::Dmd, "322236009")], "written 322236009");
        check(&[], "");
        assert!(lab::release().starts_with("analytes.csv ") && lab::release().len() == 21, "{}", lab::release());
    }
}
