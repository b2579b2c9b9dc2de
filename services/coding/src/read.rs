//! Read v2 codes as GP systems write them.

use std::ops::Deref;

/// Prefixes and suffixes of codes that look like Read codes and are not: a supplier's own.
const OWN_PREFIXES: [&str; 5] = ["EMIS", "ESCT", "FUNDHC", "JHCC", "RAFME"];
const OWN_SUFFIXES: [&str; 2] = ["KC60", "SHHAPT"];
const READ_BYTES: usize = 5;

/// A code in the form that tables have it: no more than five bytes are written anew, and none is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normal<'a> {
    Whole(&'a str),
    Padded([u8; READ_BYTES]),
}

impl Deref for Normal<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Whole(code) => code,
            Self::Padded(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        }
    }
}

/// The five characters of a Read v2 code: what follows a dash is a synonym id, and short codes
/// are padded with dots. A supplier's own code stays as it is. Case matters.
pub fn normal(code: &str) -> Normal<'_> {
    let code = code.trim();
    let own = OWN_PREFIXES.iter().any(|prefix| code.starts_with(prefix))
        || OWN_SUFFIXES.iter().any(|suffix| code.ends_with(suffix));
    if own {
        return Normal::Whole(code);
    }
    let stem = code.split_once('-').map_or(code, |(stem, _)| stem);
    if stem.len() >= READ_BYTES || !stem.is_ascii() {
        return Normal::Whole(stem);
    }
    let mut bytes = [b'.'; READ_BYTES];
    bytes.iter_mut().zip(stem.bytes()).for_each(|(byte, of)| *byte = of);
    Normal::Padded(bytes)
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn five_characters_without_the_synonym() {
        for (written, want) in [
            ("44I4.", "44I4."),
            ("44I4.-1", "44I4."),
            ("44I4", "44I4."),
            ("44F", "44F.."),
            ("44F..-99", "44F.."),
            ("C1541", "C1541"),
            ("EMISNQ12-1", "EMISNQ12-1"),
            ("ESCTAN1-2", "ESCTAN1-2"),
            ("X-1KC60", "X-1KC60"),
            ("ALLERGY1364", "ALLERGY1364"),
            ("xe2q5", "xe2q5"),
            ("4", "4...."),
            ("", "....."),
        ] {
            assert_eq!(&*normal(written), want, "{written}");
        }
    }
}
