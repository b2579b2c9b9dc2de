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

use event::Code;
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

pub const ADDISONS_DISEASE: &str = "363732003";

/// A code with what it was found to mean.
pub struct Coded {
    pub code: Code,
    pub analyte: Option<&'static Analyte>,
}

/// Codes the thing that a source describes by these codes, the first being the original.
pub fn code(source: &str, text: Option<String>, codes: &[(System, String)]) -> Coded {
    let first = codes.first();
    let given = |wanted: System| codes.iter().find(|(system, _)| *system == wanted).map(|(_, code)| code.clone());
    let found = codes.iter().find_map(|(system, code)| lab::find(*system, code));
    let member = found.map(|(_, member)| member);
    let read = given(System::ReadV2).map(|code| read::normal(&code));
    let condition = || {
        let known = CONDITIONS.iter().find(|(code, _)| Some(*code) == read.as_deref());
        known.map(|(_, snomed)| (*snomed).to_owned())
    };
    let code = Code {
        // Words must be there: without any, the code itself is what the source shows.
        text: text.or_else(|| first.map(|(_, code)| code.clone())).unwrap_or_default(),
        original_system: first.map(|(system, _)| system.uri(source)),
        original_code: first.map(|(_, code)| code.clone()),
        snomed: given(System::Snomed)
            .or_else(|| given(System::Dmd))
            .or_else(|| member.and_then(|member| member.snomed.first().map(|&c| c.into())))
            .or_else(condition),
        loinc: given(System::Loinc).or_else(|| member.and_then(|member| member.loinc.first().map(|&c| c.into()))),
    };
    Coded { code, analyte: found.map(|(analyte, _)| analyte) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codes: &[(System, &str)], want: &str) {
        let codes: Vec<(System, String)> = codes.iter().map(|(system, code)| (*system, (*code).to_owned())).collect();
        let coded = code("riverside", None, &codes);
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
        let coded = code("stmarys", None, &[(System::Local, "ZZ9".into())]);
        assert_eq!(coded.code.text, "ZZ9");
        assert_eq!(coded.code.original_system.as_deref(), Some("urn:causeway:local:stmarys"));
    }
}
