//! Consent as history: what a patient said when, and what stands today.
//!
//! # Why
//! A flag says what stands, not since when, and the newest of several sources' flags is anybody's guess. What is recorded as a
//! coded entry has a date, so the newest statement of each matter stands. Where that cannot be known the patient is
//! protected: an objection without a date stands, an agreement without one withdraws nothing, and of two at one time the
//! objection stands.

use event::{Micros, Precision};
use serde::Deserialize;
use settings::Document;

/// Codes of a site.
pub const CODES_MAX: usize = 1_000;
/// Read codes have five characters; what follows them is a term's number.
const READ_CHARS: usize = 5;
const READ_V2: &str = "http://read.info/readv2";
pub const SNOMED: &str = "http://snomed.info/sct";
const DAY: Micros = 86_400_000_000;

/// What a statement says, of one of two matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// To sharing between organisations, direct care too.
    Objects,
    Agrees,
    /// Of uses beyond the patient's own care: a national data opt-out, or a type 1 objection.
    OptsOut,
    OptsIn,
}

impl Says {
    pub const ALL: [Self; 4] = [Self::Objects, Self::Agrees, Self::OptsOut, Self::OptsIn];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Agrees => "agrees",
            Self::OptsOut => "opts-out",
            Self::OptsIn => "opts-in",
        }
    }
}

/// Made by [`Statement::new`], for a time may be known to a year only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    says: Says,
    /// When it was made, where that is known.
    at: Option<Micros>,
}

impl Statement {
    /// `at` is the first moment of what the precision says. An objection counts from the last: it may be as new as that.
    pub fn new(says: Says, at: Option<Micros>, precision: Option<Precision>) -> Self {
        let days = match precision {
            None => 0,
            Some(Precision::Day) => 1,
            Some(Precision::Month) => 31,
            Some(Precision::Year) => 366,
        };
        let late = matches!(says, Says::Objects | Says::OptsOut) && days > 0;
        let at = at.map(|at| if late { at.saturating_add(days * DAY - 1) } else { at });
        Self { says, at }
    }
}

/// What stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub objection: bool,
    pub opted_out: bool,
}

/// What stands at this time, of all that was ever said and not taken back by its source.
pub fn standing(statements: &[Statement], now: Micros) -> Standing {
    let stands = |no: Says, yes: Says| {
        let of = |says: Says| statements.iter().filter(move |statement| statement.says == says);
        // One that is said to be made tomorrow was made: its date is wrong.
        let refused = of(no).map(|statement| statement.at.unwrap_or(Micros::MAX)).max();
        let agreed = of(yes).filter_map(|statement| statement.at).filter(|at| *at <= now).max();
        refused.is_some_and(|refused| agreed.is_none_or(|agreed| agreed <= refused))
    };
    Standing { objection: stands(Says::Objects, Says::Agrees), opted_out: stands(Says::OptsOut, Says::OptsIn) }
}

/// The codes by which sources record consent. The default knows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes(Vec<Code>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Code {
    system: String,
    code: String,
    says: Says,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    system: String,
    code: String,
    says: String,
    /// Where the site has it from.
    #[serde(rename = "from")]
    _from: String,
}

impl Codes {
    /// All mistakes at once, with file, key and line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<String>> {
        let named = |mistake: &settings::Mistake| format!("{file}: {mistake}");
        let told = |mistakes: settings::Mistakes| mistakes.0.iter().map(named).collect::<Vec<_>>();
        let mut document = Document::parse(text, std::iter::empty()).map_err(told)?;
        let written: Vec<Option<Written>> = document.every_section("code");
        if written.len() > CODES_MAX {
            document.mistake("code", 0, "", format!("more than {CODES_MAX} codes"));
        }
        let mut codes: Vec<Code> = Vec::new();
        for (index, one) in written.into_iter().enumerate() {
            let Some(one) = one else { continue };
            let says = Says::ALL.into_iter().find(|says| says.as_str() == one.says);
            if says.is_none() {
                let known = Says::ALL.map(Says::as_str).join(", ");
                document.mistake("code", index, "says", format!("`{}` is not one of {known}", one.says));
            }
            if codes.iter().any(|other| (&other.system, &other.code) == (&one.system, &one.code)) {
                document.mistake("code", index, "code", format!("`{}` stands here twice", one.code));
            }
            for (key, value) in [("system", &one.system), ("code", &one.code)] {
                if value.trim().is_empty() {
                    document.mistake("code", index, key, "must not be empty");
                }
            }
            codes.extend(says.map(|says| Code { system: one.system, code: one.code, says }));
        }
        document.finish().map_err(told)?;
        Ok(Self(codes))
    }

    /// Each code as a source may write it: of Read codes, with and without the dots that fill them up.
    pub fn spellings(&self) -> Vec<(&str, String)> {
        let spelt = self.0.iter().flat_map(|code| {
            let bare = (code.system == READ_V2).then(|| code.code.trim_end_matches('.').to_owned());
            [Some(code.code.clone()), bare].into_iter().flatten().map(|text| (code.system.as_str(), text))
        });
        spelt.collect()
    }

    /// What a code says of consent, if anything.
    pub fn says(&self, system: &str, code: &str) -> Option<Says> {
        let plain = |code: &str| match system {
            READ_V2 => {
                let code: String = code.chars().take(READ_CHARS).collect();
                code.trim_end_matches('.').to_owned()
            }
            _ => code.to_owned(),
        };
        let found = self.0.iter().find(|one| one.system == system && plain(&one.code) == plain(code));
        found.map(|one| one.says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Micros = 100;

    /// `o5`: objects at 5; `a`: agrees, undated; `x`, `i`: opts out, in.
    fn said(text: &str) -> Vec<Statement> {
        let one = |word: &str| {
            let says = match &word[..1] {
                "o" => Says::Objects,
                "a" => Says::Agrees,
                "x" => Says::OptsOut,
                _ => Says::OptsIn,
            };
            Statement::new(says, word[1..].parse().ok(), None)
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn the_newest_statement_of_each_matter_stands() {
        for (text, objection, opted_out) in [
            ("", false, false),
            ("o1", true, false),
            ("o1 a2", false, false),
            ("a2 o1", false, false),
            ("o1 a2 o3", true, false),
            ("o1 a2 o3 a4", false, false),
            // At one time, undated, and dated tomorrow: the patient is protected.
            ("o2 a2", true, false),
            ("o a2", true, false),
            ("o1 a", true, false),
            ("o1 a101", true, false),
            ("o1 a100", false, false),
            ("o101 a100", true, false),
            // One matter is nothing to the other.
            ("x1", false, true),
            ("x1 i2", false, false),
            ("x1 a2", false, true),
            ("o1 i2", true, false),
            ("o1 x1", true, true),
        ] {
            assert_eq!(standing(&said(text), NOW), Standing { objection, opted_out }, "{text}");
        }
    }

    #[test]
    fn an_objection_may_be_as_new_as_its_year_says() {
        let (year, day) = (Some(Precision::Year), Some(Precision::Day));
        let objects = |precision| Statement::new(Says::Objects, Some(0), precision);
        let agrees = |days: i64, precision| Statement::new(Says::Agrees, Some(days * DAY), precision);
        for (said, stands) in [
            ([objects(year), agrees(60, None)], true),
            ([objects(year), agrees(365, None)], true),
            ([objects(year), agrees(366, None)], false),
            ([objects(day), agrees(0, day)], true),
            ([objects(day), agrees(1, day)], false),
            // In whichever month of the year it was: this one came after.
            ([objects(day), agrees(0, year)], true),
            ([objects(None), agrees(0, year)], true),
        ] {
            assert_eq!(standing(&said, i64::MAX).objection, stands, "{said:?}");
        }
    }

    proptest! {
        /// In whatever order they are read, and however often; and one objection more never opens anything.
        #[test]
        fn order_and_repetition_change_nothing(
            said in proptest::collection::vec((0_usize..4, proptest::option::of(0_i64..200)), 0..12),
            at in proptest::option::of(0_i64..200),
        ) {
            let mut all: Vec<Statement> =
                said.iter().map(|(says, at)| Statement::new(Says::ALL[*says], *at, None)).collect();
            let before = standing(&all, NOW);
            all.reverse();
            all.extend(all.clone());
            prop_assert_eq!(standing(&all, NOW), before);
            all.push(Statement::new(Says::Objects, at, None));
            let after = standing(&all, NOW);
            prop_assert!(after.objection || !before.objection);
            prop_assert_eq!(after.opted_out, before.opted_out);
        }
    }

    #[test]
    fn the_sites_codes_are_known_as_sources_write_them() {
        let codes = Codes::parse("consent.toml", include_str!("../../../site/consent.toml")).expect("the shipped file");
        for (system, code, says) in [
            (READ_V2, "93C1.", Some(Says::Objects)),
            (READ_V2, "93C1", Some(Says::Objects)),
            (READ_V2, "93C1.00", Some(Says::Objects)),
            (READ_V2, "93C11", None),
            (READ_V2, "9Nd1.", Some(Says::Objects)),
            (READ_V2, "9nd1.", None),
            (READ_V2, "9Nu0.", Some(Says::OptsOut)),
            (SNOMED, "827241000000103", Some(Says::OptsOut)),
            (SNOMED, "82724100000010", None),
            ("urn:causeway:local:stmarys", "93C1.", None),
        ] {
            assert_eq!(codes.says(system, code), says, "{system} {code}");
        }
        assert!(codes.spellings().contains(&(READ_V2, "93C1".to_owned())));
    }

    #[test]
    fn mistakes_come_together() {
        let text = "[[code]]\nsystem = 's'\ncode = 'c'\nsays = 'maybe'\nfrom = 'x'\n\
                    [[code]]\nsystem = 's'\ncode = ' '\nsays = 'objects'\nfrom = 'x'\n\
                    [[code]]\nsystem = 's'\ncode = 'd'\nsays = 'objects'\n";
        assert_eq!(
            Codes::parse("c.toml", text),
            Err(vec![
                "c.toml: line 4: code.says: `maybe` is not one of objects, agrees, opts-out, opts-in".to_owned(),
                "c.toml: line 8: code.code: must not be empty".to_owned(),
                "c.toml: line 11: code.from: missing field".to_owned(),
            ])
        );
    }
}
