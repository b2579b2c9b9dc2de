//! Values as sources write them: `6.7`, `>6.0`, `<0.1`, `6.7 H`, `1,024`, `Haemolysed`.

use event::Comparator;
use rust_decimal::Decimal;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub comparator: Option<Comparator>,
    pub number: Option<Decimal>,
    /// The text is nothing but the number.
    pub plain: bool,
}

/// Flags that laboratories write behind a number.
const FLAGS: [&str; 8] = ["H", "L", "HH", "LL", "*", "**", "C", "N"];

/// Reads a value. Words, NaN and infinity give no number.
pub fn read(text: &str) -> Written {
    let text = text.trim();
    let (comparator, rest) = comparator(text);
    let rest = rest.trim();
    let digits = match rest.rsplit_once(char::is_whitespace) {
        Some((digits, flag)) if FLAGS.contains(&flag) => digits.trim_end(),
        _ => rest,
    };
    let number = number(digits);
    Written {
        comparator: number.and(comparator),
        number,
        plain: digits == text && !digits.contains(',') && number.is_some(),
    }
}

fn comparator(text: &str) -> (Option<Comparator>, &str) {
    for sign in ["<=", ">=", "≤", "≥", "<", ">"] {
        if let Some(rest) = text.strip_prefix(sign) {
            return (Comparator::parse(sign), rest);
        }
    }
    (None, text)
}

/// Digits with one optional point, and commas only where they part thousands. No exponents:
/// a laboratory that writes one is asking to be misread.
fn number(digits: &str) -> Option<Decimal> {
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let grouped = match whole.split_once(',') {
        None => all_digits(whole),
        Some((first, rest)) => {
            (1..=3).contains(&first.len())
                && all_digits(first)
                && rest.split(',').all(|group| group.len() == 3 && all_digits(group))
        }
    };
    (grouped && all_digits(fraction)).then(|| digits.replace(',', "").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let written = read(text);
        let sign = written.comparator.map_or("", Comparator::as_str);
        let number = written.number.map_or("words".into(), |number| number.to_string());
        assert_eq!(format!("{sign}{number}{}", if written.plain { "" } else { " as written" }), want, "{text}");
    }

    #[test]
    fn numbers_comparators_flags_and_words() {
        check("6.7", "6.7");
        check(" 6.70 ", "6.70");
        check("-1.5", "-1.5");
        check(">6.0", ">6.0 as written");
        check("< 0.1", "<0.1 as written");
        check("≥90", ">=90 as written");
        check("<=5", "<=5 as written");
        check("6.7 H", "6.7 as written");
        check(">6.7 HH", ">6.7 as written");
        check("1,024", "1024 as written");
        check("1,234,567.5", "1234567.5 as written");
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
            "6.7.1",
            "1e3",
            "6 7",
            "<",
            ">H",
            "3+",
            ".5",
            "6.",
        ] {
            check(text, "words as written");
        }
    }
}
