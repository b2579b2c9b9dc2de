//! Whether what a result was measured in is what its code says.
//!
//! # Why
//! A urine potassium under the code of serum would be judged by the limits of serum. So words that name a specimen are
//! compared, as whole words: `alp` is in "calprotectin", and `ast` in "fasting". Who names none agrees.

const WORDS: &str = include_str!("../data/specimens.csv");

/// The specimens that the table knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    lines().map(|(specimen, _)| specimen)
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    WORDS.lines().skip(1).filter_map(|line| line.split_once(','))
}

/// Do these texts name a specimen, and none of them this one?
pub fn differs<'a>(specimen: &str, texts: impl IntoIterator<Item = &'a str>) -> bool {
    let words = |text: &'a str| text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut named = texts.into_iter().flat_map(words).filter_map(named).peekable();
    !specimen.is_empty() && named.peek().is_some() && named.all(|named| named != specimen)
}

fn named(word: &str) -> Option<&'static str> {
    let known = |words: &str| words.split(' ').any(|known| known.eq_ignore_ascii_case(word));
    lines().find(|(_, words)| known(words)).map(|(specimen, _)| specimen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_name_a_specimen() {
        for (specimen, texts, want) in [
            ("blood", &["Serum potassium"][..], false),
            ("blood", &["Potassium"], false),
            ("blood", &["Urine potassium"], true),
            ("blood", &["POTASSIUM", "Urine"], true),
            ("blood", &["Potassium", "24h urinary"], true),
            ("blood", &["Faecal calprotectin"], true),
            ("faeces", &["Faecal occult blood"], false),
            ("urine", &["Urine/serum osmolality"], false),
            ("blood", &["Urine/serum osmolality"], false),
            ("urine", &["Plasma sodium"], true),
            // Parts of words are no words.
            ("blood", &["Tourine", "Urines", "Purinemia"], false),
            ("blood", &["CSF-glucose"], true),
            ("", &["Urine potassium"], false),
            ("blood", &[], false),
        ] {
            assert_eq!(differs(specimen, texts.iter().copied()), want, "{specimen}: {texts:?}");
        }
    }

    #[test]
    fn no_word_names_two_specimens() {
        let words: Vec<&str> = lines().flat_map(|(_, words)| words.split(' ')).collect();
        let mut once = words.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), words.len());
        assert_eq!(names().count(), WORDS.lines().count() - 1);
    }
}
