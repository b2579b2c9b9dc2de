//! Values as sources write them: `6.7`, `>6.0`, `<0.1`, `6.7 H`, `Haemolysed`.
//!
//! # Why
//! `0,900` is nine tenths to one laboratory and a slip of the pen to another; read as nine hundred it paged somebody.
//! So a mark other than the decimal point means something only where the mapping says what it means, and what is
//! not sure is no number.

use crate::units;
use event::Comparator;
use rust_decimal::Decimal;

/// How a source writes numbers: its decimal mark, and what parts its thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    pub decimal: char,
    pub grouping: Option<char>,
}

impl Marks {
    /// A decimal point and no grouping: PostgreSQL's own numbers, and whoever says nothing else.
    pub const PLAIN: Self = Self { decimal: '.', grouping: None };
    pub const DECIMALS: [char; 2] = ['.', ','];
    pub const GROUPINGS: [char; 4] = ['.', ',', '\'', ' '];
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub comparator: Option<Comparator>,
    pub number: Option<Decimal>,
    /// The text is nothing but the number.
    pub plain: bool,
}

/// Flags that laboratories write behind a number.
const FLAGS: [&str; 8] = ["H", "L", "HH", "LL", "*", "**", "C", "N"];
/// Each is a space to a typesetter, and a mark between thousands to ISO 31-0.
const SPACES: [char; 4] = [' ', '\u{a0}', '\u{2009}', '\u{202f}'];
const APOSTROPHES: [char; 2] = ['\'', '\u{2019}'];

/// Reads a value. Words, NaN and infinity give no number.
pub fn read(text: &str, marks: Marks) -> Written {
    let text = text.trim();
    let (comparator, rest) = comparator(text);
    let rest = rest.trim();
    let digits = match rest.rsplit_once(char::is_whitespace) {
        Some((digits, flag)) if FLAGS.contains(&flag) => digits.trim_end(),
        _ => rest,
    };
    let number = number(digits, marks);
    // The number says all that the text says only where nobody has to know the marks.
    let plain = digits == text && number.is_some() && number == self::number(digits, Marks::PLAIN);
    Written { comparator: number.and(comparator), number, plain }
}

/// What a text says beside a number from a column of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The same number, perhaps behind a comparator.
    Same(Option<Comparator>),
    /// Another number, or one behind words that turn its meaning round.
    Differs,
    /// Words.
    Words,
}

/// How people write a comparator where there is no sign for it: before the number…
const SIGN_WORDS: [&str; 24] = [
    "greater than",
    "more than",
    "higher than",
    "less than",
    "fewer than",
    "lower than",
    "at least",
    "at most",
    "not more than",
    "no more than",
    "not less than",
    "no less than",
    "in excess of",
    "exceeds",
    "exceeding",
    "up to",
    "over",
    "above",
    "below",
    "under",
    "gt",
    "ge",
    "lt",
    "le",
];
/// …and behind it.
const SIGN_WORDS_BEHIND: [&str; 10] =
    ["+", "or more", "or less", "or above", "or below", "or over", "or under", "and over", "and above", "and under"];
/// What is part of a sign, even of one that nobody understands: `=>`, `&gt;`.
const SIGN_MARKS: [char; 9] = ['<', '>', '=', '≤', '≥', '\u{ff1c}', '\u{ff1e}', '&', '^'];

/// `unit`: the result's own, which may stand behind the number in the text, too.
pub fn beside(text: &str, number: Decimal, unit: Option<&str>, marks: Marks) -> Beside {
    let written = read(text, marks);
    if let Some(same) = written.number.map(|read| read == number) {
        return if same { Beside::Same(written.comparator) } else { Beside::Differs };
    }
    let (sign, rest) = comparator(text.trim());
    let first = |rest: &str| rest.split_whitespace().next().and_then(|digits| self::number(digits, marks));
    if sign.is_some() {
        return if first(rest) == Some(number) { Beside::Same(sign) } else { Beside::Differs };
    }
    if let Some(read) = before_unit(text, unit, marks) {
        return if read == number { Beside::Same(None) } else { Beside::Differs };
    }
    let lower = text.trim().to_lowercase();
    let behind = |word: &&str| lower.strip_suffix(*word).map(|digits| self::number(digits.trim(), marks));
    let turned = SIGN_WORDS.iter().any(|word| lower.strip_prefix(word).and_then(first) == Some(number))
        || SIGN_WORDS_BEHIND.iter().filter_map(behind).any(|read| read == Some(number))
        || lower.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().ok() == Some(number)
            && lower.contains(SIGN_MARKS);
    if turned { Beside::Differs } else { Beside::Words }
}

/// The number of `7.0 mmol/L`, where that is the result's own unit: of words behind a number nobody knows what they mean.
fn before_unit(text: &str, unit: Option<&str>, marks: Marks) -> Option<Decimal> {
    let (digits, rest) = text.trim().split_once(char::is_whitespace)?;
    units::same(rest, unit?).then(|| number(digits, marks))?
}

fn comparator(text: &str) -> (Option<Comparator>, &str) {
    for sign in ["<=", ">=", "≤", "≥", "<", ">"] {
        if let Some(rest) = text.strip_prefix(sign) {
            return (Comparator::parse(sign), rest);
        }
    }
    (None, text)
}

/// Digits with one optional decimal mark, thousands parted as the marks say or not at all. A first group that begins
/// with 0 is no group. No exponents: a laboratory that writes one is asking to be misread. Never rounded.
pub fn number(digits: &str, marks: Marks) -> Option<Decimal> {
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let sign = if digits.starts_with('-') { "-" } else { "" };
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match unsigned.split_once(marks.decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    if fraction.is_some_and(|fraction| !all_digits(fraction)) {
        return None;
    }
    let groups: Vec<&str> = whole.split(|mark| parts(marks, mark)).collect();
    let grouped = match groups.as_slice() {
        [whole] => all_digits(whole),
        [first, rest @ ..] => {
            (1..=3).contains(&first.len())
                && all_digits(first)
                && !first.starts_with('0')
                && rest.iter().all(|group| group.len() == 3 && all_digits(group))
        }
        [] => false,
    };
    let point = if fraction.is_some() { "." } else { "" };
    let plain = format!("{sign}{}{point}{}", groups.concat(), fraction.unwrap_or_default());
    grouped.then(|| Decimal::from_str_exact(&plain).ok()).flatten()
}

/// Does this letter part thousands?
fn parts(marks: Marks, letter: char) -> bool {
    match marks.grouping {
        None => false,
        Some(' ') => SPACES.contains(&letter),
        Some('\'') => APOSTROPHES.contains(&letter),
        Some(mark) => letter == mark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(decimal: char, grouping: char) -> Marks {
        Marks { decimal, grouping: Some(grouping) }
    }

    #[track_caller]
    fn check_with(marks: Marks, text: &str, want: &str) {
        let written = read(text, marks);
        let sign = written.comparator.map_or("", Comparator::as_str);
        let number = written.number.map_or("words".into(), |number| number.to_string());
        assert_eq!(format!("{sign}{number}{}", if written.plain { "" } else { " as written" }), want, "{text}");
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        check_with(Marks::PLAIN, text, want);
    }

    #[test]
    fn numbers_comparators_flags_and_words() {
        check("6.7", "6.7");
        check(" 6.70 ", "6.70");
        check("-1.5", "-1.5");
        check("+5", "5");
        check("0.900", "0.900");
        check("1.024", "1.024");
        check(">6.0", ">6.0 as written");
        check("< 0.1", "<0.1 as written");
        check("≥90", ">=90 as written");
        check("<=5", "<=5 as written");
        check("6.7 H", "6.7 as written");
        check(">6.7 HH", ">6.7 as written");
    }

    #[test]
    fn what_could_be_misread_is_words() {
        for text in [
            "",
            "Haemolysed",
            "NaN",
            "Infinity",
            "-Infinity",
            "6,7",
            "10,24",
            // One comma and three digits: a decimal comma to one, thousands to another.
            "0,900",
            "0,850",
            "00,140",
            "2,100",
            "4,125",
            "1,024",
            ">1,024",
            "1,234,567",
            "1,234,567.5",
            "1'024",
            "1\u{2019}024",
            "1 024",
            "1\u{a0}024",
            "1\u{2009}024",
            "1\u{202f}024",
            "1_024",
            "6.7.1",
            "1.234.567",
            "1e3",
            "6 7",
            "<",
            ">H",
            "3+",
            ".5",
            "6.",
            "--5",
            "\u{0666}",
            // More digits than are kept: rounded, it would be another number.
            "0.12345678901234567890123456789",
        ] {
            check(text, "words as written");
        }
    }

    #[test]
    fn marks_mean_what_the_mapping_says() {
        let english = marks('.', ',');
        for (text, want) in [
            ("12,480", "12480 as written"),
            ("1,234,567.5", "1234567.5 as written"),
            (">12,480", ">12480 as written"),
            ("4.7", "4.7"),
            // A group never begins with 0, has three digits, and stands before the decimal mark.
            ("0,900", "words as written"),
            ("00,140", "words as written"),
            ("012,480", "words as written"),
            ("6,7", "words as written"),
            ("1234,567", "words as written"),
            ("1.234,567", "words as written"),
            (",480", "words as written"),
        ] {
            check_with(english, text, want);
        }
        let continental = marks(',', '.');
        for (text, want) in [
            ("0,900", "0.900 as written"),
            ("6,7", "6.7 as written"),
            ("<0,1", "<0.1 as written"),
            ("12.480", "12480 as written"),
            ("1.234.567,5", "1234567.5 as written"),
            ("0.900", "words as written"),
            ("6.7", "words as written"),
            ("6,7,1", "words as written"),
        ] {
            check_with(continental, text, want);
        }
        // Without a grouping, a point beside a decimal comma is nothing known.
        let comma = Marks { decimal: ',', grouping: None };
        check_with(comma, "4,7", "4.7 as written");
        check_with(comma, "4.700", "words as written");
        check_with(comma, "47", "47");
        for text in ["12'480", "12\u{2019}480"] {
            check_with(marks('.', '\''), text, "12480 as written");
        }
        for text in ["12 480", "12\u{a0}480", "12\u{2009}480", "12\u{202f}480"] {
            check_with(marks(',', ' '), text, "12480 as written");
        }
        check_with(marks('.', ' '), "12 480.5 H", "12480.5 as written");
        check_with(marks('.', ' '), "0 900", "words as written");
        check_with(marks('.', ' '), "140 4", "words as written");
    }

    #[test]
    fn a_text_beside_a_number_may_turn_its_meaning() {
        use Comparator::{Greater, LessOrEqual};
        for (text, want) in [
            ("6.0", Beside::Same(None)),
            ("6", Beside::Same(None)),
            ("6.0 H", Beside::Same(None)),
            (">6.0", Beside::Same(Some(Greater))),
            ("> 6.0 mmol/L", Beside::Same(Some(Greater))),
            ("<=6", Beside::Same(Some(LessOrEqual))),
            (">7.0", Beside::Differs),
            ("6.1", Beside::Differs),
            ("> see comment", Beside::Differs),
            (">6,0", Beside::Differs),
            ("greater than 6.0", Beside::Differs),
            ("Over 6.0 mmol/L", Beside::Differs),
            ("6.0 mmol/l", Beside::Same(None)),
            ("7.0 mmol/L", Beside::Differs),
            ("7.0 mg/dL", Beside::Words),
            ("6.0+", Beside::Differs),
            ("6.0 or more", Beside::Differs),
            ("=>6.0", Beside::Differs),
            ("&gt;6.0", Beside::Differs),
            ("up to 6.0", Beside::Differs),
            ("Haemolysed, please repeat", Beside::Words),
            ("over a week old", Beside::Words),
            ("2 hours after the dose", Beside::Words),
            ("6,0", Beside::Words),
            ("", Beside::Words),
        ] {
            assert_eq!(beside(text, Decimal::new(60, 1), Some("mmol/L"), Marks::PLAIN), want, "{text}");
        }
    }

    proptest::proptest! {
        /// Without marks that say so, nothing but digits, a sign and one point makes a number, and it is that number.
        #[test]
        fn an_undeclared_mark_never_moves_a_decimal(text in "[0-9,.' ]{1,12}") {
            if let Some(number) = read(&text, Marks::PLAIN).number {
                let text = text.trim();
                proptest::prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
                proptest::prop_assert_eq!(Some(number), Decimal::from_str_exact(text).ok());
            }
        }
    }
}
