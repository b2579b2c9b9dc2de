//! What somebody typed to find a patient, and whom it finds.
//!
//! # Why
//! Names are typed as they are heard: without accents, apostrophes, hyphens and spaces, or with other ones than the
//! source has. So both sides are folded the same way. The database looks among the folded names for what may match;
//! what is found is then matched here, against identities that may be shown and no others.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use event::NhsNumber;
use unicode_normalization::UnicodeNormalization;

pub const QUERY_CHARS_MAX: usize = 100;
const NAME_LETTERS_MIN: usize = 2;
const WORDS_MAX: usize = 8;
const NUMBER_DIGITS: usize = 10;

/// An SQL expression of a name's column, folded as [`folded`] folds.
pub fn folded_sql(column: &str) -> String {
    format!(
        r"regexp_replace(replace(replace(replace(translate(lower(normalize(coalesce({column}, ''), NFD)), 'øłđðı', 'olddi'),
            'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), '[\u0300-\u036f\s''’‘ʼ`´.,‐‑–-]', '', 'g')"
    )
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    Number(NhsNumber),
    /// Folded words, none of them empty.
    Name(Vec<String>),
}

/// Or what is wrong with it, in words for who typed it.
pub fn parse(text: &str) -> Result<Query, &'static str> {
    if text.chars().count() > QUERY_CHARS_MAX {
        return Err("That is too long for an NHS number or a name");
    }
    let digits: String = text.chars().filter_map(|c| c.to_digit(10)).filter_map(|d| char::from_digit(d, 10)).collect();
    let separators = text.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || is_dash(c) || c == '.');
    if separators && !digits.is_empty() {
        return match NhsNumber::parse(&digits) {
            Some(number) => Ok(Query::Number(number)),
            None if digits.len() == NUMBER_DIGITS => {
                Err("That is not an NHS number: its check digit does not fit. Look for a typing mistake")
            }
            None => Err("An NHS number has 10 digits"),
        };
    }
    let words: Vec<String> =
        text.split(|c: char| c.is_whitespace() || c == ',').map(folded).filter(|word| !word.is_empty()).collect();
    if words.iter().map(|word| word.chars().count()).sum::<usize>() < NAME_LETTERS_MIN {
        return Err("Enter an NHS number, or at least 2 letters of a name");
    }
    Ok(Query::Name(words.into_iter().take(WORDS_MAX).collect()))
}

impl Query {
    /// Whether an identity with these is meant: the number, or each word as the start of a part of a name.
    pub fn matches(&self, number: Option<&str>, family: Option<&str>, given: Option<&str>) -> bool {
        match self {
            Self::Number(asked) => number == Some(asked.as_str()),
            Self::Name(words) => {
                let starts: Vec<String> = [family, given].into_iter().flatten().flat_map(starts).collect();
                words.iter().all(|word| starts.iter().any(|start| start.starts_with(word.as_str())))
            }
        }
    }
}

/// A name from each of its parts on: `van der Berg` is found by `vanderb`, `der` and `berg`.
fn starts(name: &str) -> Vec<String> {
    let parts: Vec<String> = name
        .split(|c: char| c.is_whitespace() || is_dash(c) || is_apostrophe(c))
        .map(folded)
        .filter(|part| !part.is_empty())
        .collect();
    (0..parts.len()).map(|from| parts[from..].concat()).collect()
}

/// In lower case, without accents, and without what parts or joins the parts of a name.
pub fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.nfd().flat_map(char::to_lowercase) {
        match c {
            '\u{300}'..='\u{36f}' | '.' | ',' | '`' | '´' => {}
            c if c.is_whitespace() || is_dash(c) || is_apostrophe(c) => {}
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            'đ' | 'ð' => out.push('d'),
            'ı' => out.push('i'),
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            c => out.push(c),
        }
    }
    out
}

const fn is_dash(c: char) -> bool {
    matches!(c, '-' | '‐' | '‑' | '–')
}

const fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`' | '´')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_they_are_typed() {
        for (family, given, query, want) in [
            ("van der Berg", "Anna", "van der Berg", true),
            ("van der Berg", "Anna", "berg", true),
            ("van der Berg", "Anna", "vanderberg anna", true),
            ("van der Berg", "Anna", "van den Berg", false),
            ("García Lorca", "José", "garcia lorca", true),
            ("García Lorca", "José", "Lorca, Jose", true),
            ("García Lorca", "José", "GARCI\u{301}A", true),
            ("Garci\u{301}a", "Jose\u{301}", "josé garcía", true),
            ("Shah", "Mary Anne", "Mary Anne Shah", true),
            ("Shah", "Mary Anne", "maryanne", true),
            ("Shah", "Mary Anne", "anne", true),
            ("O'Connor", "Sean", "O’Connor", true),
            ("O’Connor", "Sean", "o'connor", true),
            ("O'Connor", "Sean", "oconnor", true),
            ("O'Brien", "Sean", "obrien", true),
            ("O'Brien", "Sean", "o brien", true),
            ("Smith-Jones", "Eve", "smith jones", true),
            ("Smith-Jones", "Eve", "jones", true),
            ("Smith-Jones", "Eve", "smithjones", true),
            ("Smith Jones", "Eve", "smith-jones", true),
            ("Strauß", "Łukasz", "strauss lukasz", true),
            ("Sørensen", "Bjørn", "sorensen bjorn", true),
            ("Ellis", "David", "ell dav", true),
            ("Ellis", "David", "llis", false),
            ("Ellis", "David", "ellis x", false),
        ] {
            let asked = parse(query).unwrap_or_else(|told| panic!("{query}: {told}"));
            assert_eq!(asked.matches(None, Some(family), Some(given)), want, "{query} for {family}, {given}");
        }
        let asked = parse("anna").expect("a name");
        assert!(!asked.matches(Some("9434765919"), None, None));
    }

    #[test]
    fn numbers_with_any_spaces_and_what_is_wrong_with_others() {
        let number = NhsNumber::parse("9434765919").expect("a number");
        for text in ["9434765919", "943 476 5919", " 943\u{a0}476\u{2009}5919 ", "943-476-5919", "943.476.5919"] {
            assert_eq!(parse(text), Ok(Query::Number(number)), "{text:?}");
        }
        for (text, want) in [
            ("9434765918", "check digit"),
            ("1111111111", "check digit"),
            ("943 476", "10 digits"),
            ("x", "2 letters"),
            ("'", "2 letters"),
        ] {
            assert!(parse(text).is_err_and(|told| told.contains(want)), "{text}");
        }
        assert!(parse(&"x".repeat(QUERY_CHARS_MAX + 1)).is_err());
        let asked = Query::Number(number);
        assert!(asked.matches(Some("9434765919"), None, None) && !asked.matches(None, Some("9434765919"), None));
    }
}
