//! Values as plain text: what joins, conditions, sentinels and record ids compare.

use change::Value;
use jiff::{
    SignedDuration,
    civil::{Date, DateTime},
};
use std::cmp::Ordering;

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// One text for one value, whatever type a column has: a `numeric` 7.00 joins a `bigint` 7.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        // As PostgreSQL writes it.
        Value::Float(number) if number.is_infinite() => if *number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Value::Float(number) => number.to_string(),
        Value::Numeric(digits) => normal(digits),
        Value::Text(text) | Value::Exact(text) => text.clone(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Value::Date(days) => date(*days).map_or_else(|| format!("day {days}"), |date| date.to_string()),
        Value::Time(micros) => format!("{micros} us"),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => instant(*micros),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(|v| v.as_ref().map_or_else(String::new, plain)).collect();
            texts.join(", ")
        }
    }
}

/// A decimal number without the zeros that say nothing, however long: rounded, two keys would become one. What is no
/// number stays as it is.
fn normal(digits: &str) -> String {
    let Some((negative, whole, fraction)) = parts(digits) else { return digits.to_owned() };
    let zero = whole.is_empty() && fraction.is_empty();
    let sign = if negative && !zero { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Sign, and the digits before and behind the point without the zeros that say nothing.
fn parts(digits: &str) -> Option<(bool, &str, &str)> {
    let digits = digits.trim();
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let known = !(whole.is_empty() && fraction.is_empty())
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    known.then(|| (digits.starts_with('-'), whole.trim_start_matches('0'), fraction.trim_end_matches('0')))
}

pub fn is_number(text: &str) -> bool {
    parts(text).is_some()
}

/// Numbers by value, exactly and of any length; other texts as texts.
pub fn order(a: &str, b: &str) -> Ordering {
    let (Some(a_parts), Some(b_parts)) = (parts(a), parts(b)) else { return a.cmp(b) };
    let size = |(_, whole, fraction): (bool, &str, &str)| (whole.len(), whole.to_owned(), fraction.to_owned());
    let zero = |(_, whole, fraction): (bool, &str, &str)| whole.is_empty() && fraction.is_empty();
    let negative = |parts: (bool, &str, &str)| parts.0 && !zero(parts);
    match (negative(a_parts), negative(b_parts)) {
        (false, false) => size(a_parts).cmp(&size(b_parts)),
        (true, true) => size(b_parts).cmp(&size(a_parts)),
        (below, _) => {
            if below {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
    }
}

/// As a reader wants to see it: numbers keep the digits that the source wrote.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Numeric(digits) => digits.clone(),
        other => plain(other),
    }
}

pub fn date(days: i32) -> Option<Date> {
    EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}

pub fn civil(micros: i64) -> Option<DateTime> {
    EPOCH.to_datetime(jiff::civil::Time::midnight()).checked_add(SignedDuration::from_micros(micros)).ok()
}

/// `2026-11-23`, or with its time where that is not midnight.
fn instant(micros: i64) -> String {
    match civil(micros) {
        None => format!("{micros} us"),
        Some(at) if at.time() == jiff::civil::Time::midnight() => at.date().to_string(),
        Some(at) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;

    #[track_caller]
    fn check(digits: &str, want: &str) {
        assert_eq!(plain(&Value::Numeric(digits.into())), want);
    }

    #[test]
    fn a_number_has_one_text_whatever_its_length() {
        for (digits, want) in [
            ("7.00", "7"),
            ("007", "7"),
            ("-0.50", "-0.5"),
            ("-0.00", "0"),
            ("0", "0"),
            (".5", "0.5"),
            ("100", "100"),
            ("NaN", "NaN"),
            ("Infinity", "Infinity"),
            ("999002881000000100", "999002881000000100"),
        ] {
            check(digits, want);
        }
        // 30 digits that 28 cannot tell apart.
        check("123456789012345678901234567891", "123456789012345678901234567891");
        check("123456789012345678901234567892", "123456789012345678901234567892");
        check("0.123456789012345678901234567891", "0.123456789012345678901234567891");
        check("123456789012345678901234567891.000", "123456789012345678901234567891");
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let ascending = [
            "-123456789012345678901234567891",
            "-10",
            "-9.5",
            "0",
            "0.09",
            "0.1",
            "9",
            "10",
            "123456789012345678901234567891",
            "123456789012345678901234567892",
        ];
        for (at, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(order(a, b), at.cmp(&other), "{a} {b}");
            }
        }
        assert_eq!(
            (order("1.0", "1"), order("-0", "0"), order("b", "a")),
            (Ordering::Equal, Ordering::Equal, Ordering::Greater)
        );
    }

    proptest::proptest! {
        #[test]
        fn text_and_order_agree_with_decimal_numbers(a in -100_000_i64..100_000, b in -100_000_i64..100_000, scale in 0_u32..5, other in 0_u32..5) {
            let (a, b) = (Decimal::new(a, scale), Decimal::new(b, other));
            proptest::prop_assert_eq!(order(&a.to_string(), &b.to_string()), a.cmp(&b));
            proptest::prop_assert_eq!(normal(&a.to_string()) == normal(&b.to_string()), a == b);
        }
    }
}
