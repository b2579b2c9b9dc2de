//! A query as text: what is escaped, what separates, what is said back.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::Refused;

/// Parameters of one search, and alternatives of one parameter.
pub const TOKENS_MAX: usize = 200;
/// A name as it is said back.
const SHOWN_CHARS_MAX: usize = 40;

/// One parameter as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub modifier: Option<String>,
    pub value: String,
}

impl Parameter {
    /// As it stands in a link.
    pub fn link(&self) -> String {
        let modifier = self.modifier.as_ref().map(|modifier| format!(":{modifier}")).unwrap_or_default();
        format!("{}{modifier}={}", self.name, escaped(&self.value))
    }
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
        return Err(Refused::costly("too many parameters"));
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
pub fn split(text: &str, at: char) -> Vec<String> {
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

pub fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

/// A name as it may be said back: the client's own, cut, without anything that could be data.
pub fn shown(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-:".contains(*c)).take(SHOWN_CHARS_MAX).collect()
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

    #[test]
    fn what_is_no_text_is_refused() {
        for query in ["code=%zz", "code=%ff", "code=%00", "code=%4"] {
            assert_eq!(parameters(query).expect_err(query).words, "the query is not URL-encoded UTF-8");
        }
        assert_eq!(parameters(&vec!["code=a"; TOKENS_MAX + 1].join("&")).expect_err("many").code, "too-costly");
        assert_eq!(split(r"a\,b,c\\,d", ','), [r"a\,b", r"c\\", "d"]);
        assert_eq!(unescaped(r"a\,b\\"), r"a,b\");
        assert_eq!(escaped("a|b,ü"), "a%7Cb%2C%C3%BC");
    }
}
