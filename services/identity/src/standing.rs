//! NHS numbers that no longer stand: replaced by another, or withdrawn with none in its place.
//!
//! # Why
//! A number that was superseded names the same person under its successor; one that was invalidated names nobody, and must
//! link nobody. A source may go on writing either for years. Numbers of one digit ten times pass the check digit and are
//! nobody's: `event::NhsNumber` refuses them. Only status 01 ("present and verified") makes a number verified; mappings say
//! which of a source's words that is.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use event::NhsNumber;
use std::collections::BTreeMap;

/// More steps from number to number than these are a circle, or as good as one.
const STEPS_MAX: usize = 16;

/// What has become of numbers.
#[derive(Clone, Debug, Default)]
pub struct Standings(BTreeMap<String, Option<String>>);

impl Standings {
    /// Each number with its successor, or with none where it was invalidated.
    pub fn new(standings: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        Self(standings.into_iter().collect())
    }

    /// The number that stands for it now. None where it names nobody: not well-formed, invalidated, or in a circle.
    pub fn current(&self, number: &str) -> Option<String> {
        let mut current = NhsNumber::parse(number)?.as_str().to_owned();
        for _ in 0..STEPS_MAX {
            match self.0.get(&current) {
                None => return Some(current),
                Some(successor) => current = NhsNumber::parse(successor.as_deref()?)?.as_str().to_owned(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_followed_to_the_one_that_stands() {
        let (one, two, three) = ("9434765919", "9000000009", "9000000025");
        let standings = |told: &[(&str, Option<&str>)]| {
            Standings::new(told.iter().map(|(number, next)| ((*number).to_owned(), next.map(str::to_owned))))
        };
        for (told, number, want) in [
            (&[][..], one, Some(one)),
            (&[], "943 476 5919", Some(one)),
            // A wrong check digit, and the ten that pass it and are nobody's.
            (&[], "9434765910", None),
            (&[], "1111111111", None),
            (&[], "0000000000", None),
            (&[(one, Some(two))], one, Some(two)),
            (&[(one, Some(two))], two, Some(two)),
            (&[(one, Some(two)), (two, Some(three))], one, Some(three)),
            (&[(one, None)], one, None),
            (&[(one, Some(two)), (two, None)], one, None),
            (&[(one, Some(two)), (two, Some(one))], one, None),
            (&[(one, Some(one))], one, None),
            (&[(one, Some("1111111111"))], one, None),
        ] {
            assert_eq!(standings(told).current(number).as_deref(), want, "{told:?} {number}");
        }
    }

    #[test]
    fn no_number_of_one_digit_names_anybody() {
        for digit in '0'..='9' {
            let number: String = std::iter::repeat_n(digit, 10).collect();
            assert_eq!(Standings::default().current(&number), None, "{number}");
        }
    }
}
