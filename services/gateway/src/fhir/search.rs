//! What a FHIR search asks, as R4 has it (<https://hl7.org/fhir/R4/search.html>): a comma is OR, a parameter said again is
//! AND, a token is matched with its system.
//!
//! # Why
//! A parameter that is passed over in silence gives the answer to another question: all results instead of those of one
//! code. So what is not understood is refused, unless the client asks for leniency; then it is left out of `self`, which
//! says what was answered. A modifier changes what a parameter means: it is refused whatever the client asks.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::access::AboutNobody;
use uuid::Uuid;

pub const COUNT_DEFAULT: i64 = 50;
pub const COUNT_MAX: i64 = 200;
/// Further than this nobody pages.
pub const OFFSET_MAX: i64 = 100_000;
/// Alternatives and parameters of one search.
pub const TOKENS_MAX: usize = 200;

/// Why there is no answer: an `OperationOutcome`'s issue type and diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: &'static str,
    pub words: String,
}

/// Words of ours, and names that the client sent.
impl AboutNobody for &Refused {}

impl Refused {
    fn invalid(words: impl Into<String>) -> Self {
        Self { code: "invalid", words: words.into() }
    }

    fn unsupported(words: impl Into<String>) -> Self {
        Self { code: "not-supported", words: words.into() }
    }
}

/// One parameter as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub modifier: Option<String>,
    pub value: String,
}

/// `system|code` and its shorter forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// `None`: of any system; empty: of none.
    pub system: Option<String>,
    /// `None`: any code of the system.
    pub code: Option<String>,
}

/// Where a page begins, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub count: i64,
    pub offset: i64,
}

/// The parameters of a query or a form.
pub fn parameters(query: &str) -> Result<Vec<Parameter>, Refused> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let parameters: Vec<Parameter> = pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key)?, decoded(value)?);
            let (name, modifier) = match key.split_once(':') {
                Some((name, modifier)) => (name.to_owned(), Some(modifier.to_owned())),
                None => (key, None),
            };
            Some(Parameter { name, modifier, value })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Refused::invalid("the query is not URL-encoded UTF-8"))?;
    if parameters.len() > TOKENS_MAX {
        return Err(Refused { code: "too-costly", words: "too many parameters".into() });
    }
    Ok(parameters)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?
            }
            byte => byte,
        });
    }
    // PostgreSQL's text holds no NUL.
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// Divides at a character that no backslash stands before; the pieces keep their backslashes.
fn split(text: &str, at: char) -> Vec<String> {
    let (mut pieces, mut piece, mut escaped) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        if c == at && !escaped {
            pieces.push(std::mem::take(&mut piece));
        } else {
            piece.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    pieces.push(piece);
    pieces
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

/// The alternatives of one parameter.
pub fn tokens(value: &str) -> Result<Vec<Token>, Refused> {
    let alternatives = split(value, ',');
    if alternatives.len() > TOKENS_MAX {
        return Err(Refused { code: "too-costly", words: "too many alternatives".into() });
    }
    alternatives
        .iter()
        .map(|one| {
            let told = |text: &str| (!text.is_empty()).then(|| unescaped(text));
            let token = match split(one, '|').as_slice() {
                [code] => Token { system: None, code: told(code) },
                [system, code] => Token { system: Some(unescaped(system)), code: told(code) },
                _ => return Err(Refused::invalid("a token is system|code; escape a bar within it")),
            };
            if token.code.is_none() && token.system.as_deref().unwrap_or_default().is_empty() {
                return Err(Refused::invalid("a token without a code"));
            }
            Ok(token)
        })
        .collect()
}

/// A search whose every parameter is one that is answered.
#[derive(Clone, Debug)]
pub struct Search {
    parameters: Vec<Parameter>,
    /// Where the server is: of absolute references.
    base: String,
}

/// Which resources are asked for is said elsewhere; how they are written, here: only JSON is.
const FORMAT: [&str; 2] = ["_format", "_pretty"];
const PAGING: [&str; 2] = ["_count", "_offset"];

impl Search {
    /// Takes what is `supported`; refuses the rest, or leaves it out where the client is `lenient`.
    pub fn new(parameters: Vec<Parameter>, supported: &[&str], lenient: bool, base: &str) -> Result<Self, Refused> {
        let mut taken = Vec::new();
        for parameter in parameters {
            let name = parameter.name.as_str();
            if FORMAT.contains(&name) {
                continue;
            }
            if !supported.contains(&name) && !PAGING.contains(&name) {
                if lenient {
                    continue;
                }
                return Err(Refused::unsupported(format!("the search parameter `{}` is not supported", shown(name))));
            }
            match parameter.modifier.as_deref() {
                None => {}
                Some("Patient") if name == "subject" => {}
                Some(modifier) => {
                    let words = format!("the modifier `{}:{}` is not supported", shown(name), shown(modifier));
                    return Err(Refused::unsupported(words));
                }
            }
            if parameter.value.is_empty() {
                return Err(Refused::invalid(format!("the search parameter `{}` is empty", shown(name))));
            }
            taken.push(parameter);
        }
        Ok(Self { parameters: taken, base: base.to_owned() })
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |one| one.name == name).map(|one| one.value.as_str())
    }

    /// All of these hold, each by one of its alternatives.
    pub fn all_of(&self, name: &str) -> Result<Vec<Vec<Token>>, Refused> {
        self.values(name).map(tokens).collect()
    }

    /// The one patient that the search is about. Access is decided for one at a time.
    pub fn patient(&self) -> Result<Option<Uuid>, Refused> {
        let mut found = None;
        for reference in self.values("patient").chain(self.values("subject")) {
            let reference = reference.strip_prefix(&self.base).map_or(reference, |rest| rest.trim_start_matches('/'));
            let id = reference.strip_prefix("Patient/").unwrap_or(reference);
            let id: Uuid = id.parse().map_err(|_| Refused::invalid("patient is not one person's id"))?;
            if found.is_some_and(|found| found != id) {
                return Err(Refused::invalid("one patient at a time"));
            }
            found = Some(id);
        }
        Ok(found)
    }

    pub fn page(&self) -> Result<Page, Refused> {
        let number = |name: &'static str, default: i64| -> Result<i64, Refused> {
            let mut values = self.values(name);
            let value = values.next();
            if values.next().is_some() {
                return Err(Refused::invalid(format!("{name} is said twice")));
            }
            let number = value.map_or(Ok(default), str::parse);
            number.ok().filter(|number| *number >= 0).ok_or_else(|| Refused::invalid(format!("{name} is no number")))
        };
        let (count, offset) = (number("_count", COUNT_DEFAULT)?.min(COUNT_MAX), number("_offset", 0)?);
        if offset > OFFSET_MAX {
            return Err(Refused { code: "too-costly", words: "nobody pages so far: narrow the search".into() });
        }
        Ok(Page { count, offset })
    }

    /// The link to what was answered, or to another page of it.
    pub fn link(&self, resource: &str, page: Page) -> String {
        let mut query: Vec<String> = (self.parameters.iter())
            .filter(|one| !PAGING.contains(&one.name.as_str()))
            .map(|one| {
                let modifier = one.modifier.as_ref().map(|modifier| format!(":{modifier}")).unwrap_or_default();
                format!("{}{modifier}={}", one.name, escaped(&one.value))
            })
            .collect();
        query.push(format!("_count={}", page.count));
        if page.offset > 0 {
            query.push(format!("_offset={}", page.offset));
        }
        format!("{}/{resource}?{}", self.base, query.join("&"))
    }
}

/// A name as it may be said back: the client's own, cut, without anything that could be data.
fn shown(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-:".contains(*c)).take(40).collect()
}

/// A value as part of a query.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Whether the client takes JSON: by `_format`, which goes before `Accept`.
pub fn takes_json(format: Option<&str>, accept: Option<&str>) -> bool {
    let json = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        matches!(kind.as_str(), "json" | "application/json" | "application/fhir+json" | "text/json")
    };
    let any = |kind: &str| matches!(kind.split(';').next().unwrap_or_default().trim(), "*/*" | "application/*");
    match (format, accept) {
        (Some(format), _) => json(format),
        (None, Some(accept)) => accept.split(',').any(|kind| json(kind) || any(kind)),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://localhost:8088/fhir";
    const SUPPORTED: [&str; 3] = ["patient", "subject", "code"];

    fn search(query: &str, lenient: bool) -> Result<Search, Refused> {
        Search::new(parameters(query)?, &SUPPORTED, lenient, BASE)
    }

    #[track_caller]
    fn check_tokens(value: &str, want: &str) {
        let told = |tokens: Vec<Token>| {
            let part = |part: Option<String>| part.map_or("any".to_owned(), |part| format!("'{part}'"));
            let tokens = tokens.into_iter().map(|token| format!("{} {}", part(token.system), part(token.code)));
            tokens.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(tokens(value).map_or_else(|refused| refused.words, told), want, "{value}");
    }

    #[test]
    fn a_comma_is_or_and_a_token_has_its_system() {
        check_tokens("2823-3", "any '2823-3'");
        check_tokens("2823-3,2951-2", "any '2823-3', any '2951-2'");
        check_tokens("http://loinc.org|2823-3", "'http://loinc.org' '2823-3'");
        check_tokens("http://loinc.org|", "'http://loinc.org' any");
        check_tokens("|K", "'' 'K'");
        check_tokens(r"a\,b,c\|d\\", r"any 'a,b', any 'c|d\'");
        check_tokens("a|b|c", "a token is system|code; escape a bar within it");
        check_tokens("a,,b", "a token without a code");
        check_tokens("|", "a token without a code");
    }

    #[test]
    fn said_again_is_and() {
        let all = search("code=a,b&code=c", false).and_then(|search| search.all_of("code")).expect("tokens");
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn what_is_not_answered_is_refused() {
        for (query, words) in [
            ("date=gt2026-01-01", "the search parameter `date` is not supported"),
            ("_sort=date", "the search parameter `_sort` is not supported"),
            ("code:not=a", "the modifier `code:not` is not supported"),
            ("patient:Patient=a", "the modifier `patient:Patient` is not supported"),
            ("code=", "the search parameter `code` is empty"),
            ("code", "the search parameter `code` is empty"),
            ("x%3Cscript%3E=1", "the search parameter `xscript` is not supported"),
            ("code=%zz", "the query is not URL-encoded UTF-8"),
            ("code=%ff", "the query is not URL-encoded UTF-8"),
            ("code=%00", "the query is not URL-encoded UTF-8"),
        ] {
            assert_eq!(search(query, false).expect_err(query).words, words);
        }
        let many = vec!["code=a"; TOKENS_MAX + 1].join("&");
        assert_eq!(search(&many, false).expect_err("many").code, "too-costly");
        // Leniency leaves parameters out, never modifiers.
        assert!(search("date=x&code=a", true).is_ok());
        assert!(search("code:not=a", true).is_err());
        assert!(search("subject:Patient=a&_format=json", false).is_ok());
    }

    #[test]
    fn self_says_what_was_answered() {
        let page = Page { count: 3, offset: 6 };
        let lenient = search("date=x&code=http://loinc.org%7Ca%2Cb&_count=9&_format=json", true).expect("a search");
        assert_eq!(
            lenient.link("Observation", page),
            format!("{BASE}/Observation?code=http%3A%2F%2Floinc.org%7Ca%2Cb&_count=3&_offset=6")
        );
        let subject = search("subject:Patient=x", false).expect("a search");
        let first = Page { count: 50, offset: 0 };
        assert_eq!(subject.link("Observation", first), format!("{BASE}/Observation?subject:Patient=x&_count=50"));
    }

    #[test]
    fn one_patient_at_a_time() {
        let id = "0197f2a0-0000-7000-8000-000000000001";
        for query in [
            format!("patient={id}"),
            format!("subject=Patient/{id}"),
            format!("patient={BASE}/Patient/{id}&subject={id}"),
        ] {
            let found = search(&query, false).and_then(|search| search.patient());
            assert_eq!(found, Ok(id.parse().ok()), "{query}");
        }
        assert_eq!(search("code=a", false).and_then(|search| search.patient()), Ok(None));
        for query in [
            "patient=x".to_owned(),
            format!("patient={id},{id}"),
            format!("patient={id}&patient=0197f2a0-0000-7000-8000-000000000002"),
            format!("patient=http://elsewhere/fhir/Patient/{id}"),
            format!("subject=Group/{id}"),
        ] {
            assert!(search(&query, false).and_then(|search| search.patient()).is_err(), "{query}");
        }
    }

    #[test]
    fn pages() {
        for (query, want) in [
            ("code=a", Some((COUNT_DEFAULT, 0))),
            ("_count=0", Some((0, 0))),
            ("_count=1000&_offset=7", Some((COUNT_MAX, 7))),
            ("_count=-1", None),
            ("_count=x", None),
            ("_count=1&_count=2", None),
            ("_offset=100001", None),
        ] {
            let page = search(query, false).and_then(|search| search.page());
            assert_eq!(page.ok().map(|page| (page.count, page.offset)), want, "{query}");
        }
    }

    #[test]
    fn only_json_is_written() {
        for (format, accept, takes) in [
            (None, None, true),
            (None, Some("*/*"), true),
            (None, Some("application/fhir+json;charset=utf-8"), true),
            (None, Some("application/fhir+xml;q=1.0, application/fhir+json;q=0.9"), true),
            (None, Some("application/fhir+xml"), false),
            (None, Some("text/html"), false),
            (Some("json"), Some("text/html"), true),
            (Some("application/fhir+json"), None, true),
            (Some("xml"), Some("*/*"), false),
            (Some("text/turtle"), None, false),
        ] {
            assert_eq!(takes_json(format, accept), takes, "{format:?} {accept:?}");
        }
    }
}
