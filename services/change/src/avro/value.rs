//! Values to Avro and back, by column type.

use super::{
    bits, decimal, point,
    wire::{self, DecodeError, Reader},
};
use crate::{
    row::{Cell, Row, Value},
    table::{ColumnType, SECOND_DIGITS},
};

/// An array of more elements is refused.
pub const ELEMENTS_MAX: usize = 1_000_000;
pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Appends the row. Cells that the column's type cannot hold are null in it; their columns and the
/// server's text are added to `exact`.
pub fn write_row(out: &mut Vec<u8>, row: &Row, exact: &mut Vec<(usize, String)>) {
    for (index, (column, cell)) in row.schema().columns.iter().zip(row.cells()).enumerate() {
        if !column.key {
            out.push(wire::SOME);
        }
        let start = out.len();
        let written = match cell {
            Cell::Value(value) => write(out, &column.kind, value),
            Cell::Null | Cell::Unchanged => false,
        };
        if written {
            continue;
        }
        out.truncate(start);
        if let Cell::Value(Value::Exact(text) | Value::Numeric(text)) = cell {
            exact.push((index, text.clone()));
        }
        if column.key {
            write_nothing(out, &column.kind);
        } else {
            out.truncate(start - 1);
            out.push(wire::NULL);
        }
    }
}

/// A key column's stand-in for a value that its type cannot hold.
pub fn write_nothing(out: &mut Vec<u8>, kind: &ColumnType) {
    match kind {
        ColumnType::Float32 => wire::float(out, 0.0),
        ColumnType::Float64 => wire::double(out, 0.0),
        ColumnType::Decimal { .. } | ColumnType::Money { .. } => wire::bytes(out, &[0]),
        ColumnType::Point => point::write(out, 0.0, 0.0),
        ColumnType::Numeric => {
            wire::long(out, 0);
            wire::bytes(out, &[0]);
        }
        // A zero, an empty text, an empty array, or false: one zero byte each.
        _ => out.push(0),
    }
}

/// False when the value is not one of the type.
pub fn write(out: &mut Vec<u8>, kind: &ColumnType, value: &Value) -> bool {
    match (kind, value) {
        (ColumnType::Bool, Value::Bool(value)) => wire::boolean(out, *value),
        (ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64, Value::Int(value)) => wire::long(out, *value),
        #[expect(clippy::cast_possible_truncation, reason = "the column is a float4")]
        (ColumnType::Float32, Value::Float(value)) => wire::float(out, *value as f32),
        (ColumnType::Float64, Value::Float(value)) => wire::double(out, *value),
        (ColumnType::Decimal { scale, .. } | ColumnType::Money { scale }, Value::Numeric(text)) => {
            return decimal::write_scaled(out, text.as_bytes(), *scale);
        }
        (ColumnType::Numeric, Value::Numeric(text)) => return decimal::write_variable(out, text.as_bytes()),
        (ColumnType::Bits { length }, Value::Text(text)) => return bits::write(out, text.as_bytes(), *length),
        (ColumnType::Point, Value::Text(text)) => {
            let Some((x, y)) = point::of_text(text.as_bytes()) else { return false };
            point::write(out, x, y);
        }
        (kind, Value::Text(text)) if is_text(kind) => wire::string(out, text),
        (ColumnType::Bytes, Value::Bytes(value)) => wire::bytes(out, value),
        (ColumnType::Date, Value::Date(days)) => wire::long(out, i64::from(*days)),
        (ColumnType::Time, Value::Time(micros)) | (ColumnType::Timestamp, Value::Timestamp(micros)) => {
            wire::long(out, *micros);
        }
        (ColumnType::TimestampTz { digits }, Value::TimestampTz(micros)) => {
            wire::string(out, &zoned(*micros, *digits));
        }
        (ColumnType::Array(element), Value::Array(values)) => return write_array(out, element, values),
        _ => return false,
    }
    true
}

/// Whether the Avro form is the text itself.
const fn is_text(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::Text
            | ColumnType::Uuid
            | ColumnType::Json
            | ColumnType::Hstore
            | ColumnType::Xml
            | ColumnType::Ltree
            | ColumnType::Tsvector
            | ColumnType::TimeTz
            | ColumnType::Interval
            | ColumnType::Enum { .. }
            | ColumnType::Flagged { .. }
    )
}

fn write_array(out: &mut Vec<u8>, element: &ColumnType, values: &[Option<Value>]) -> bool {
    if !values.is_empty() {
        wire::long(out, values.len() as i64);
    }
    for value in values {
        match value {
            None => out.push(wire::NULL),
            Some(value) => {
                out.push(wire::SOME);
                if !write(out, element, value) {
                    return false;
                }
            }
        }
    }
    out.push(0);
    true
}

/// Reads a value of the type.
pub fn read(reader: &mut Reader<'_>, kind: &ColumnType) -> Result<Value, DecodeError> {
    Ok(match kind {
        ColumnType::Bool => Value::Bool(reader.boolean()?),
        ColumnType::Int16 | ColumnType::Int32 => Value::Int(i64::from(reader.int()?)),
        ColumnType::Int64 => Value::Int(reader.long()?),
        ColumnType::Float32 => Value::Float(f64::from(reader.float()?)),
        ColumnType::Float64 => Value::Float(reader.double()?),
        ColumnType::Decimal { scale, .. } | ColumnType::Money { scale } => {
            Value::Numeric(decimal::text_of(reader.bytes()?, u32::from(*scale))?)
        }
        ColumnType::Numeric => {
            let scale = u32::try_from(reader.long()?).map_err(|_| DecodeError::Malformed("scale"))?;
            Value::Numeric(decimal::text_of(reader.bytes()?, scale)?)
        }
        ColumnType::Text
        | ColumnType::Uuid
        | ColumnType::Json
        | ColumnType::Hstore
        | ColumnType::Xml
        | ColumnType::Ltree
        | ColumnType::Tsvector
        | ColumnType::TimeTz
        | ColumnType::Interval
        | ColumnType::Enum { .. }
        | ColumnType::Flagged { .. } => Value::Text(reader.string()?.to_owned()),
        ColumnType::Bits { length } => Value::Text(bits::text_of(reader.bytes()?, *length)?),
        ColumnType::Point => Value::Text(point::read(reader)?),
        ColumnType::Bytes => Value::Bytes(reader.bytes()?.to_vec()),
        ColumnType::Date => Value::Date(reader.int()?),
        ColumnType::Time => Value::Time(reader.long()?),
        ColumnType::Timestamp => Value::Timestamp(reader.long()?),
        ColumnType::TimestampTz { .. } => {
            Value::TimestampTz(micros_of_zoned(reader.string()?).ok_or(DecodeError::Malformed("timestamp"))?)
        }
        ColumnType::Array(element) => Value::Array(read_array(reader, element)?),
    })
}

fn read_array(reader: &mut Reader<'_>, element: &ColumnType) -> Result<Vec<Option<Value>>, DecodeError> {
    let mut values = Vec::new();
    loop {
        let count = reader.long()?;
        if count == 0 {
            return Ok(values);
        }
        // A negative count is followed by the block's size in bytes.
        if count < 0 {
            reader.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).map_err(|_| DecodeError::Malformed("array"))?;
        // Every element takes a byte at least.
        if count > reader.left() || values.len() + count > ELEMENTS_MAX {
            return Err(DecodeError::Malformed("array"));
        }
        for _ in 0..count {
            values.push(match reader.index()? {
                0 => None,
                1 => Some(read(reader, element)?),
                _ => return Err(DecodeError::Malformed("union")),
            });
        }
    }
}

/// `2026-11-23T00:18:51.500Z` of three digits, as Debezium's `ZonedTimestamp` has it: ISO 8601 marks years of more than
/// four digits by a sign. No digit is left out that says something.
pub fn zoned(micros: i64, digits: u8) -> String {
    let (days, of_day) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    let (year, month, day) = civil_of_days(days);
    let (seconds, fraction) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let sign = if year > 9_999 { "+" } else { "" };
    let mut text = format!("{sign}{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let fraction = format!("{fraction:06}");
    let shown = fraction.trim_end_matches('0').len().max(usize::from(digits.min(SECOND_DIGITS)));
    if shown > 0 {
        text.push('.');
        text.push_str(&fraction[..shown]);
    }
    text.push('Z');
    text
}

/// The inverse of [`zoned`]; other offsets than `Z` are not ours.
pub fn micros_of_zoned(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let date = date.strip_prefix('+').unwrap_or(date);
    days_of_text(date.as_bytes())?.checked_mul(MICROS_PER_DAY)?.checked_add(micros_of_time(time.as_bytes())?)
}

/// Days since 1970-01-01 of `2026-11-23`; years have four digits or more.
pub fn days_of_text(date: &[u8]) -> Option<i64> {
    let [year @ .., b'-', m1, m2, b'-', d1, d2] = date else { return None };
    if !(4..=7).contains(&year.len()) {
        return None;
    }
    let (year, month, day) = (number(year)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| days_of_civil(year, month, day))
}

/// Microseconds since midnight of `23:59:59.999999`; `24:00:00` is a time too.
pub fn micros_of_time(time: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, fraction @ ..] = time else { return None };
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
            number(digits)? * 10_i64.pow(6 - u32::try_from(digits.len()).ok()?)
        }
        _ => return None,
    };
    Some((hour * 3_600 + minute * 60 + second) * MICROS_PER_SECOND + micros)
}

#[inline]
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
pub const fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day.
pub const fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_the_calendars() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("1900-03-01", -25_508),
            ("9999-12-31", 2_932_896),
            ("5874897-12-31", 2_145_042_905),
        ] {
            assert_eq!(days_of_text(text.as_bytes()), Some(days), "{text}");
        }
        assert_eq!(zoned(1_500_000, 0), "1970-01-01T00:00:01.5Z");
        assert_eq!(zoned(1_500_000, 3), "1970-01-01T00:00:01.500Z");
        assert_eq!(zoned(253_402_300_800_000_000, 0), "+10000-01-01T00:00:00Z");
        assert_eq!(zoned(0, 6), "1970-01-01T00:00:00.000000Z");
        assert_eq!(zoned(-1, 2), "1969-12-31T23:59:59.999999Z");
        assert_eq!(micros_of_time(b"24:00:00"), Some(MICROS_PER_DAY));
        assert_eq!(micros_of_time(b"12:00"), None);
    }

    proptest! {
        #[test]
        fn days_and_moments_come_back(days in -719_162_i64..100_000_000, micros in 0..MICROS_PER_DAY, digits in 0_u8..9) {
            let (year, month, day) = civil_of_days(days);
            prop_assert_eq!(days_of_civil(year, month, day), days);
            let moment = days * MICROS_PER_DAY + micros;
            prop_assert_eq!(micros_of_zoned(&zoned(moment, digits)), Some(moment));
        }
    }
}
