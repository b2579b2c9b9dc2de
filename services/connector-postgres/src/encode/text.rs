//! One column's text to Avro.

use super::{array, prose};
use change::{
    ColumnType, SECOND_DIGITS,
    avro::{bits, decimal, point, value, value::MICROS_PER_DAY, value::MICROS_PER_SECOND, wire},
};

/// As many as the server keeps: 64 bits.
const MONEY_DIGITS_MAX: usize = 19;
/// Some locales' minus.
const MINUS: &[u8] = "−".as_bytes();

/// Appends the value. False when the type cannot hold it; what was appended then is for the caller to cut off.
#[inline]
pub fn write(out: &mut Vec<u8>, kind: &ColumnType, text: &[u8]) -> bool {
    match kind {
        ColumnType::Text
        | ColumnType::Json
        | ColumnType::Uuid
        | ColumnType::Xml
        | ColumnType::Ltree
        | ColumnType::Tsvector
        | ColumnType::Enum { .. }
        | ColumnType::Flagged { .. } => {
            wire::bytes(out, text);
            std::str::from_utf8(text).is_ok()
        }
        ColumnType::Bool => match text {
            b"t" | b"1" => push(out, 1),
            b"f" | b"0" => push(out, 0),
            _ => false,
        },
        ColumnType::Int64 => long(out, integer(text)),
        ColumnType::Int32 => long(out, integer(text).filter(|value| i32::try_from(*value).is_ok())),
        ColumnType::Int16 => long(out, integer(text).filter(|value| i16::try_from(*value).is_ok())),
        ColumnType::Float32 => number::<f32>(text).is_some_and(|value| {
            wire::float(out, value);
            true
        }),
        ColumnType::Float64 => number::<f64>(text).is_some_and(|value| {
            wire::double(out, value);
            true
        }),
        ColumnType::Decimal { scale, .. } => decimal::write_scaled(out, text, *scale),
        ColumnType::Numeric => decimal::write_variable(out, text),
        ColumnType::Bytes => bytea(out, text),
        ColumnType::Date => long(out, value::days_of_text(text).filter(|days| i32::try_from(*days).is_ok())),
        ColumnType::Time => long(out, value::micros_of_time(text)),
        ColumnType::Timestamp => long(out, timestamp(text)),
        ColumnType::TimestampTz { digits } => zoned(out, text, *digits),
        ColumnType::TimeTz => prose::time_with_zone(out, text),
        ColumnType::Interval => prose::interval(out, text),
        ColumnType::Hstore => prose::hstore(out, text),
        ColumnType::Money { .. } => money(out, text),
        ColumnType::Bits { length } => bits::write(out, text, *length),
        ColumnType::Point => point::of_text(text).is_some_and(|(x, y)| {
            point::write(out, x, y);
            true
        }),
        ColumnType::Array(element) => array::write(out, element, text),
    }
}

fn push(out: &mut Vec<u8>, byte: u8) -> bool {
    out.push(byte);
    true
}

#[inline]
fn long(out: &mut Vec<u8>, value: Option<i64>) -> bool {
    value.is_some_and(|value| {
        wire::long(out, value);
        true
    })
}

#[inline]
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    // Summed as a negative number: i64::MIN has no positive.
    let mut sum = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum = sum.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(sum) } else { sum.checked_neg() }
}

/// `NaN` and `Infinity` are numbers of a float.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `-$1,234.56`: the currency's marks and their places are the locale's; the digits are all that there are.
fn money(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let digits = || text.iter().filter(|byte| byte.is_ascii_digit());
    let negative = text.contains(&b'-') || text.contains(&b'(') || text.windows(3).any(|mark| mark == MINUS);
    if !(1..=MONEY_DIGITS_MAX).contains(&digits().count()) {
        return false;
    }
    let unscaled = digits().fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    decimal::write_integer(out, if negative { -unscaled } else { unscaled });
    true
}

/// The hexadecimal form: `\x6f6b`.
fn bytea(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let [b'\\', b'x', digits @ ..] = text else { return false };
    if digits.len() % 2 != 0 {
        return false;
    }
    wire::long(out, (digits.len() / 2) as i64);
    out.reserve(digits.len() / 2);
    for pair in digits.chunks_exact(2) {
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else { return false };
        out.push(high << 4 | low);
    }
    true
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// `2026-11-23 00:18:51.5`
fn timestamp(text: &[u8]) -> Option<i64> {
    let at = text.iter().position(|byte| *byte == b' ')?;
    let days = value::days_of_text(&text[..at])?;
    days.checked_mul(MICROS_PER_DAY)?.checked_add(value::micros_of_time(&text[at + 1..])?)
}

/// `2026-11-23 00:18:51.5+00` as `2026-11-23T00:18:51.500Z`, of a column with three digits.
fn zoned(out: &mut Vec<u8>, text: &[u8], digits: u8) -> bool {
    let Some(at) = text.iter().rposition(|byte| matches!(byte, b'+' | b'-')) else { return false };
    let (local, offset) = text.split_at(at);
    let Some(micros) = timestamp(local) else { return false };
    if offset == b"+00" && text.get(4) == Some(&b'-') {
        // The session's zone is UTC and the year has four digits: the text is right but for two marks.
        let start = out.len();
        // The server leaves zeros at the end out, and with them the point.
        let shown = local.iter().rposition(|byte| *byte == b'.').map_or(0, |point| local.len() - point);
        let wanted = if digits == 0 { 0 } else { usize::from(digits.min(SECOND_DIGITS)) + 1 };
        let missing = wanted.saturating_sub(shown);
        wire::long(out, (local.len() + missing) as i64 + 1);
        let body = out.len();
        out.extend_from_slice(local);
        if missing > 0 && shown == 0 {
            out.push(b'.');
        }
        out.resize(body + local.len() + missing, b'0');
        out.push(b'Z');
        let Some(space) = out[body..].iter().position(|byte| *byte == b' ') else {
            out.truncate(start);
            return false;
        };
        out[body + space] = b'T';
        return true;
    }
    let Some(offset) = offset_micros(offset) else { return false };
    let Some(micros) = micros.checked_sub(offset) else { return false };
    wire::string(out, &value::zoned(micros, digits));
    true
}

/// Zones lie less than 16 hours from UTC.
const OFFSET_SECONDS_MAX: i64 = 16 * 3_600;

/// `+05:30`, `-08`, `+00:19:32`.
fn offset_micros(offset: &[u8]) -> Option<i64> {
    let (sign, rest) = match offset {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let mut seconds = 0_i64;
    for (part, unit) in rest.split(|byte| *byte == b':').zip([3_600, 60, 1]) {
        seconds = seconds.checked_add(integer(part)?.checked_mul(unit)?)?;
    }
    // PostgreSQL's own limit; the log's form has no room for the years that others would lead to.
    (0..OFFSET_SECONDS_MAX).contains(&seconds).then(|| sign * seconds * MICROS_PER_SECOND)
}
