//! Dates as FHIR compares them: each is the range of time that it may stand for.
//!
//! # Why
//! `2026-11` is a whole month and `1984` a whole year, in a search and in a resource alike. Where two ranges overlap and
//! neither holds the other, R4 says for each prefix which of them is found
//! (<https://hl7.org/fhir/R4/search.html#prefix>). A day is a day of the United Kingdom, as everywhere here.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::Prefix;
use crate::page::format::london;
use event::Micros;
use jiff::{Timestamp, ToSpan, civil};
use serde_json::Value;

/// From its first moment up to, and without, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Micros,
    pub until: Micros,
}

/// Without a beginning, without an end.
const ALWAYS: Range = Range { from: Micros::MIN, until: Micros::MAX };
const SECOND: Micros = 1_000_000;

/// Of a `date`, `dateTime` or `instant`.
pub fn range(text: &str) -> Option<Range> {
    // A plus that was not escaped arrives as a space.
    let text = text.trim().replace(' ', "+");
    let whole = |from: civil::Date, span: jiff::Span| {
        let at = |date: civil::Date| date.to_zoned(london()).ok().map(|at| at.timestamp().as_microsecond());
        Some(Range { from: at(from)?, until: at(from.checked_add(span).ok()?)? })
    };
    let number = |part: Option<&str>| part?.parse::<i8>().ok();
    let (year, rest) = (text.get(..4)?, text.get(4..)?);
    let year: i16 = year.bytes().all(|byte| byte.is_ascii_digit()).then(|| year.parse().ok())??;
    match rest.len() {
        0 => whole(civil::Date::new(year, 1, 1).ok()?, 1.year()),
        3 if rest.starts_with('-') => whole(civil::Date::new(year, number(rest.get(1..))?, 1).ok()?, 1.month()),
        6 => whole(text.parse().ok()?, 1.day()),
        _ => moment(&text),
    }
}

/// A time of day: as exact as it is written, to the minute, the second, or less.
fn moment(text: &str) -> Option<Range> {
    let (date, time) = text.split_once('T')?;
    let at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(at);
    let exact = match clock.len() {
        5 => 60 * SECOND,
        8 => SECOND,
        9.. => 10_i64.checked_pow(6_u32.saturating_sub(u32::try_from(clock.len() - 9).ok()?))?,
        _ => return None,
    };
    let local: civil::DateTime = format!("{date}T{clock}").parse().ok()?;
    let from = if zone.is_empty() {
        local.to_zoned(london()).ok()?.timestamp()
    } else {
        format!("{local}{zone}").parse::<Timestamp>().ok()?
    };
    let from = from.as_microsecond();
    Some(Range { from, until: from.checked_add(exact)? })
}

/// Of what a resource says: a date, or a period, which may have no end.
pub fn of(value: &Value) -> Option<Range> {
    match value {
        Value::String(text) => range(text),
        Value::Object(period) => {
            let end = |key: &str| period.get(key).and_then(Value::as_str).and_then(range);
            let (start, end) = (end("start"), end("end"));
            (start.is_some() || end.is_some()).then(|| Range {
                from: start.map_or(ALWAYS.from, |start| start.from),
                until: end.map_or(ALWAYS.until, |end| end.until),
            })
        }
        _ => None,
    }
}

/// Whether a resource's `value` is found by `asked`.
pub fn found(value: Range, prefix: Prefix, asked: Range, now: Micros) -> bool {
    let equal = asked.from <= value.from && value.until <= asked.until;
    let greater = value.until > asked.until;
    let less = value.from < asked.from;
    match prefix {
        Prefix::Eq => equal,
        Prefix::Ne => !equal,
        Prefix::Gt => greater,
        Prefix::Lt => less,
        Prefix::Ge => greater || equal,
        Prefix::Le => less || equal,
        Prefix::Sa => value.from >= asked.until,
        Prefix::Eb => value.until <= asked.from,
        Prefix::Ap => {
            // A tenth of how long ago it is, or is to be.
            let around = (now.saturating_sub(asked.from) / 10).saturating_abs();
            value.from < asked.until.saturating_add(around) && value.until > asked.from.saturating_sub(around)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        text.parse::<Timestamp>().expect("a time").as_microsecond()
    }

    #[test]
    fn a_date_is_as_long_as_it_is_exact() {
        for (text, from, until) in [
            ("1984", "1984-01-01T00:00:00Z", "1985-01-01T00:00:00Z"),
            ("1984-06", "1984-05-31T23:00:00Z", "1984-06-30T23:00:00Z"),
            ("2026-11-23", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
            // The day on which the clocks go back has 25 hours.
            ("2026-10-25", "2026-10-24T23:00:00Z", "2026-10-26T00:00:00Z"),
            ("2026-11-23T10:30Z", "2026-11-23T10:30:00Z", "2026-11-23T10:31:00Z"),
            ("2026-11-23T10:30:05+01:00", "2026-11-23T09:30:05Z", "2026-11-23T09:30:06Z"),
            ("2026-11-23T10:30:05 01:00", "2026-11-23T09:30:05Z", "2026-11-23T09:30:06Z"),
            ("2026-07-01T10:30:05", "2026-07-01T09:30:05Z", "2026-07-01T09:30:06Z"),
            ("2026-11-23T10:30:05.12Z", "2026-11-23T10:30:05.12Z", "2026-11-23T10:30:05.13Z"),
            ("2026-11-23T10:30:05.123456Z", "2026-11-23T10:30:05.123456Z", "2026-11-23T10:30:05.123457Z"),
        ] {
            assert_eq!(range(text), Some(Range { from: at(from), until: at(until) }), "{text}");
        }
        for text in [
            "",
            "26",
            "2026-13",
            "2026-1",
            "2026-02-30",
            "2026-11-23T",
            "2026-11-23T10",
            "2026-11-23T25:00Z",
            "+026",
            "x",
            "20260101",
            "2026-11-23T10:30:05.123456789012345678901234Z",
            "äöü",
            "2026-11-23T10:30:05+99:00",
        ] {
            assert!(range(text).is_none(), "{text}");
        }
    }

    #[test]
    fn each_prefix_finds_what_r4_says() {
        let finds = |value: &str, asked: &str| {
            let (prefix, asked) = Prefix::of(asked);
            found(range(value).expect(value), prefix, range(asked).expect(asked), at("2026-11-23T00:00:00Z"))
        };
        for (value, asked, want) in [
            ("2013-01-14T10:00:00Z", "eq2013-01-14", true),
            ("2013-01-14", "2013-01-14", true),
            ("2013-01", "2013-01-14", false),
            ("2013-01-14", "2013-01", true),
            ("2013-01-14", "ne2013-01-14", false),
            ("2013-01-15", "ne2013-01-14", true),
            ("2013-01-14T10:00:00Z", "gt2013-01-14T10:00Z", false),
            ("2013-01-14T10:01:00Z", "gt2013-01-14T10:00Z", true),
            ("2013-01", "gt2013-01-14", true),
            ("2013-01", "lt2013-01-14", true),
            ("2013-01", "sa2013-01-14", false),
            ("2013-01", "eb2013-01-14", false),
            ("2013-01-15", "sa2013-01-14", true),
            ("2013-01-14", "sa2013-01-14", false),
            ("2013-01-13", "eb2013-01-14", true),
            ("2013-01-14", "ge2013-01-14", true),
            ("2013-01-14", "le2013-01-14", true),
            ("2013-01-13", "ge2013-01-14", false),
            ("2013-01-15", "le2013-01-14", false),
            ("2026-11-01", "ap2026-10-31", true),
            ("2026-09-01", "ap2026-10-31", false),
        ] {
            assert_eq!(finds(value, asked), want, "{value} by {asked}");
        }
    }

    #[test]
    fn a_period_without_an_end_lasts() {
        let open = of(&serde_json::json!({"start": "2020-01-01"})).expect("a period");
        assert_eq!(open.until, Micros::MAX);
        let asked = range("2026").expect("a year");
        assert!(found(open, Prefix::Gt, asked, 0) && !found(open, Prefix::Eq, asked, 0));
        assert!(of(&serde_json::json!({})).is_none() && of(&Value::Null).is_none());
    }
}
