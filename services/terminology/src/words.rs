//! Words of terms, as they are searched by: in small letters, without accents.

use std::fmt::Write as _;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Longer ones are cut.
pub const WORD_BYTES_MAX: usize = 64;

/// Calls `take` with each word of the text.
pub fn each(text: &str, scratch: &mut String, mut take: impl FnMut(&str)) {
    scratch.clear();
    if text.is_ascii() {
        scratch.extend(text.chars().map(|c| c.to_ascii_lowercase()));
    } else {
        for c in text.nfkd().filter(|c| !is_combining_mark(*c)) {
            let _ = write!(scratch, "{}", c.to_lowercase());
        }
    }
    for word in scratch.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut end = word.len().min(WORD_BYTES_MAX);
        while !word.is_char_boundary(end) {
            end -= 1;
        }
        take(&word[..end]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn small_letters_without_accents() {
        let words = |text: &str| {
            let mut all = Vec::new();
            super::each(text, &mut String::new(), |word| all.push(word.to_owned()));
            all.join(" ")
        };
        assert_eq!(words("Addison's disease (disorder)"), "addison s disease disorder");
        assert_eq!(words("Ménière-Krankheit, 10⁹/L"), "meniere krankheit 109 l");
        assert_eq!(words(" -- "), "");
        assert_eq!(words(&"é".repeat(100)).len(), 64);
    }
}
