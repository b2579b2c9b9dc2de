//! What a name says: `nhs_nbr_ident`, `NHSNumber` and `nhsnumber` are three spellings of one thing.

use change::described::{DescribedColumn, Family};

/// A word that is at least as long counts inside another.
const INSIDE_MIN: usize = 4;

/// The words of a name, in small letters.
pub fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = None;
    for letter in name.chars() {
        let begins = letter.is_uppercase() && before.is_some_and(char::is_lowercase);
        if !letter.is_alphanumeric() || begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
        before = Some(letter);
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Does the name have this word? `of birth` are two, one behind the other.
pub fn has(name: &str, wanted: &str) -> bool {
    let (of_name, wanted_words) = (words(name), words(wanted));
    if wanted_words.is_empty() {
        return false;
    }
    let same = |a: &str, b: &str| a == b || a.strip_suffix('s') == Some(b);
    let whole = of_name.windows(wanted_words.len());
    let mut whole = whole.filter(|part| part.iter().zip(&wanted_words).all(|(a, b)| same(a, b)));
    let joined = wanted_words.concat();
    whole.next().is_some() || joined.len() >= INSIDE_MIN && of_name.concat().contains(&joined)
}

pub fn has_any(name: &str, wanted: &[&str]) -> bool {
    wanted.iter().any(|wanted| has(name, wanted))
}

/// The column whose name has the first of these words, and is of one of these families; of several, the first.
pub fn best<'a>(columns: &'a [DescribedColumn], wanted: &[&str], families: &[Family]) -> Option<&'a DescribedColumn> {
    let usable = |column: &&DescribedColumn| families.contains(&column.family) && !column.name.contains('.');
    wanted.iter().find_map(|wanted| columns.iter().filter(usable).find(|column| has(&column.name, wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_words() {
        for (name, want) in [
            ("nhs_nbr_ident", "nhs nbr ident"),
            ("NHSNumber", "nhsnumber"),
            ("DateOfBirth", "date of birth"),
            ("\"order\"", "order"),
            ("beg-effective at", "beg effective at"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), want);
        }
    }

    #[test]
    fn a_word_is_found_whole_or_where_it_is_long_inside() {
        for (name, wanted, want) in [
            ("date_of_birth", "birth", true),
            ("birthdate", "birth", true),
            ("BirthDate", "date of birth", false),
            ("date_of_birth", "date of birth", true),
            ("unit_text", "unit", true),
            ("units", "unit", true),
            ("community", "unit", true),
            ("sexual", "sex", false),
            ("sex_code", "sex", true),
            ("dob", "dob", true),
            ("adobe", "dob", false),
        ] {
            assert_eq!(has(name, wanted), want, "{name} {wanted}");
        }
    }
}
