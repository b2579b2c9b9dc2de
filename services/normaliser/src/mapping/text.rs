//! Values as plain text: what joins, conditions, sentinels and record ids compare.

use change::Value;
use jiff::{
    SignedDuration,
    civil::{Date, DateTime},
};
use rust_decimal::Decimal;

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// One text for one value, whatever type a column has: a `numeric` 7.00 joins a `bigint` 7.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Numeric(digits) => {
            digits.parse::<Decimal>().map_or_else(|_| digits.clone(), |n| n.normalize().to_string())
        }
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
