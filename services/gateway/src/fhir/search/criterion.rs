//! One parameter of a search: what it asks, and whether a resource meets it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{
    Parameter as Sent, Prefix, Refused, date,
    query::{TOKENS_MAX, shown, split, unescaped},
    value::{self, Quantity, Reference, Token},
};
use crate::fhir::table::{By, Parameter, Type};
use event::Micros;
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Criterion {
    pub parameter: &'static Parameter,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// `:missing`
    Missing(bool),
    Any(Vec<One>),
    /// `:not`: by none of them, the element missing or not.
    Not(Vec<One>),
}

/// One alternative.
#[derive(Clone, Debug)]
enum One {
    Token(Token, Option<&'static str>),
    /// `:text`
    Words(String),
    Date(Prefix, date::Range),
    Text(value::How, String),
    Reference(Reference),
    /// `:identifier`
    Identifier(Token),
    Quantity(Quantity),
    Uri(String),
    /// `:below`
    UriBelow(String),
    Present(bool),
    /// Each of the parts.
    All(Vec<Criterion>),
}

impl Criterion {
    pub fn parse(of: &Type, parameter: &'static Parameter, sent: &Sent, base: &str) -> Result<Self, Refused> {
        let modifier = sent.modifier.as_deref();
        if modifier == Some("missing") {
            let missing = match sent.value.as_str() {
                "true" => true,
                "false" => false,
                _ => return Err(Refused::invalid(format!("{}:missing is true or false", parameter.name))),
            };
            return Ok(Self { parameter, test: Test::Missing(missing) });
        }
        let alternatives = split(&sent.value, ',');
        if alternatives.len() > TOKENS_MAX {
            return Err(Refused::costly("too many alternatives"));
        }
        let asked = Asked { of, parameter, base };
        let all = alternatives.iter().map(|one| asked.one(modifier, one)).collect::<Result<Vec<_>, _>>()?;
        let not = modifier == Some("not");
        Ok(Self { parameter, test: if not { Test::Not(all) } else { Test::Any(all) } })
    }

    pub fn meets(&self, resource: &Value, now: Micros) -> bool {
        let paths = self.parameter.at.iter();
        let values: Vec<&Value> = paths.flat_map(|path| value::at(resource, path)).collect();
        let any = |all: &[One]| all.iter().any(|one| one.meets(resource, &values, now));
        match &self.test {
            Test::Missing(missing) => values.is_empty() == *missing,
            Test::Any(all) => any(all),
            Test::Not(all) => !any(all),
        }
    }

    /// The codes one of which is asked for. None where it may be met without one.
    pub fn codes(&self) -> Option<Vec<String>> {
        let Test::Any(all) = &self.test else { return None };
        let code = |one: &One| match one {
            One::Token(token, _) => token.code.clone(),
            _ => None,
        };
        all.iter().map(code).collect()
    }

    /// The ranges of time that are asked for by `eq`: of each alternative, or none.
    pub fn days(&self) -> Option<Vec<date::Range>> {
        let Test::Any(all) = &self.test else { return None };
        let range = |one: &One| match one {
            One::Date(Prefix::Eq, range) => Some(*range),
            _ => None,
        };
        all.iter().map(range).collect()
    }

    /// Words that a string has to have, of each alternative.
    pub fn texts(&self) -> Option<Vec<&str>> {
        let Test::Any(all) = &self.test else { return None };
        all.iter().map(|one| if let One::Text(_, text) = one { Some(text.as_str()) } else { None }).collect()
    }

    /// Alternatives that are tokens.
    pub fn tokens(&self) -> Option<Vec<&Token>> {
        let Test::Any(all) = &self.test else { return None };
        all.iter().map(|one| if let One::Token(token, _) = one { Some(token) } else { None }).collect()
    }
}

impl One {
    fn meets(&self, resource: &Value, values: &[&Value], now: Micros) -> bool {
        match self {
            Self::Token(token, system) => values.iter().any(|value| token.meets(value, *system)),
            Self::Words(words) => values.iter().any(|value| value::is_called(value, words)),
            Self::Date(prefix, asked) => {
                let mut ranges = values.iter().filter_map(|value| date::of(value));
                ranges.any(|range| date::found(range, *prefix, *asked, now))
            }
            Self::Text(how, text) => values.iter().any(|value| value::has_text(value, *how, text)),
            Self::Reference(reference) => values.iter().any(|value| reference.meets(value)),
            Self::Identifier(token) => values.iter().any(|value| token.meets(&value["identifier"], None)),
            Self::Quantity(quantity) => values.iter().any(|value| quantity.meets(value)),
            Self::Uri(uri) => values.iter().any(|value| value.as_str() == Some(uri)),
            Self::UriBelow(uri) => values.iter().any(|value| value.as_str().is_some_and(|it| it.starts_with(uri))),
            Self::Present(present) => values.iter().any(|value| **value != Value::Bool(false)) == *present,
            Self::All(parts) => parts.iter().all(|part| part.meets(resource, now)),
        }
    }
}

/// What one alternative is read with.
struct Asked<'a> {
    of: &'a Type,
    parameter: &'static Parameter,
    base: &'a str,
}

impl Asked<'_> {
    fn one(&self, modifier: Option<&str>, text: &str) -> Result<One, Refused> {
        let name = self.parameter.name;
        let wrong = |what: &str| Refused::invalid(format!("{name}: that is not {what}"));
        Ok(match (self.parameter.by, modifier) {
            (By::Token(_), Some("text")) | (By::Reference(_), Some("text")) => One::Words(unescaped(text)),
            (By::Token(system), None | Some("not")) => One::Token(Token::parse(text)?, system),
            (By::Date, None) => {
                let (prefix, rest) = Prefix::of(text);
                One::Date(prefix, date::range(rest).ok_or_else(|| wrong("a date, or the beginning of one"))?)
            }
            (By::Text, None) => One::Text(value::How::Starts, unescaped(text)),
            (By::Text, Some("contains")) => One::Text(value::How::Contains, unescaped(text)),
            (By::Text, Some("exact")) => One::Text(value::How::Exact, unescaped(text)),
            (By::Reference(_), Some("identifier")) => One::Identifier(Token::parse(text)?),
            (By::Reference(types), of) if of.is_none_or(|of| types.contains(&of)) => One::Reference(
                Reference::parse(&unescaped(text), of, types, self.base).ok_or_else(|| wrong("a reference"))?,
            ),
            (By::Quantity, None) => One::Quantity(Quantity::parse(text).ok_or_else(|| wrong("number|system|code"))?),
            (By::Uri, None) => One::Uri(unescaped(text)),
            (By::Uri, Some("below")) => One::UriBelow(unescaped(text)),
            (By::Present, None) => match text {
                "true" => One::Present(true),
                "false" => One::Present(false),
                _ => return Err(wrong("true or false")),
            },
            (By::Composite(names), None) => One::All(self.parts(names, text)?),
            (_, Some(modifier)) => {
                let words = format!("the modifier `{name}:{}` is not supported", shown(modifier));
                return Err(Refused::unsupported(words));
            }
            (By::Reference(_), None) => return Err(wrong("a reference")),
        })
    }

    fn parts(&self, names: &[&str], text: &str) -> Result<Vec<Criterion>, Refused> {
        let texts = split(text, '$');
        if texts.len() != names.len() {
            return Err(Refused::invalid(format!("{}: that is not {}", self.parameter.name, names.join("$"))));
        }
        let part = |(name, text): (&&str, &String)| {
            let parameter = self.of.parameter(name).ok_or_else(|| Refused::invalid("no such part"))?;
            let one = Asked { of: self.of, parameter, base: self.base }.one(None, text)?;
            Ok(Criterion { parameter, test: Test::Any(vec![one]) })
        };
        names.iter().zip(&texts).map(part).collect()
    }
}
