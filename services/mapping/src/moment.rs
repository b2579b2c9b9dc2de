//! Times as sources write them: to the moment, to the day, to the year; and those that stand for "none".

use super::{civil, date as calendar, shown};
use change::Value;
use event::{Micros, Precision};
use jiff::{
    civil::{Date, DateTime, Time, date},
    fmt::strtime::BrokenDownTime,
    tz::TimeZone,
};

/// What sources write for "never" and "not known": it is nothing, in any column, at any time of the day and in any zone.
const NEVER: Date = date(9999, 12, 31);
const HOUR_MICROS: i64 = 3_600_000_000;
/// That day as it falls from UTC+14 to UTC-12; its end lies in the year 10000.
const NEVER_MICROS: std::ops::Range<i64> =
    253_402_214_400_000_000 - 14 * HOUR_MICROS..253_402_214_400_000_000 + 36 * HOUR_MICROS;

/// A time, and how exactly it is known: it is the first moment of that year, month or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub at: Micros,
    pub precision: Option<Precision>,
}

impl Moment {
    /// To a coarser precision; never to a finer one than it was read with.
    #[must_use]
    pub fn to(self, precision: Precision, zone: &TimeZone) -> Self {
        if self.precision.is_some_and(|known| known <= precision) {
            return self;
        }
        let day = jiff::Timestamp::from_microsecond(self.at).ok().map(|at| at.to_zoned(zone.clone()).date());
        let at = day.and_then(|day| start(first_day(day, precision), zone)).unwrap_or(self.at);
        Self { at, precision: Some(precision) }
    }
}

impl Moment {
    /// The day, where one is known.
    pub fn day(self, zone: &TimeZone) -> Option<Date> {
        let at = jiff::Timestamp::from_microsecond(self.at).ok()?;
        matches!(self.precision, None | Some(Precision::Day)).then(|| at.to_zoned(zone.clone()).date())
    }

    /// As a cell that is read as the same moment.
    pub fn value(self, zone: &TimeZone) -> Value {
        let day = jiff::Timestamp::from_microsecond(self.at).map(|at| at.to_zoned(zone.clone()).date());
        match (self.precision, day) {
            (Some(Precision::Year), Ok(day)) => Value::Text(format!("{:04}", day.year())),
            (Some(Precision::Month), Ok(day)) => Value::Text(format!("{:04}-{:02}", day.year(), day.month())),
            (Some(Precision::Day), Ok(day)) => Value::Text(day.to_string()),
            _ => Value::TimestampTz(self.at),
        }
    }
}

fn first_day(day: Date, precision: Precision) -> Date {
    match precision {
        Precision::Year => day.first_of_year(),
        Precision::Month => day.first_of_month(),
        Precision::Day => day,
    }
}

/// Is the value a time of that day, whatever its time and zone?
pub fn is_on(value: &Value, day: Date, zone: &TimeZone) -> bool {
    match value {
        Value::Date(days) => calendar(*days) == Some(day),
        Value::Timestamp(micros) => civil(*micros).is_some_and(|at| at.date() == day),
        Value::TimestampTz(micros) => {
            let local = || jiff::Timestamp::from_microsecond(*micros).ok().map(|at| at.to_zoned(zone.clone()).date());
            (day == NEVER && NEVER_MICROS.contains(micros))
                || civil(*micros).is_some_and(|at| at.date() == day)
                || local() == Some(day)
        }
        Value::Text(text) => {
            let rest = text.trim().strip_prefix(&day.to_string());
            rest.is_some_and(|rest| {
                let mut letters = rest.chars();
                letters
                    .next()
                    .is_none_or(|mark| matches!(mark, 'T' | ' ') && letters.all(|c| !c.is_alphabetic() || c == 'Z'))
            })
        }
        _ => false,
    }
}

/// Does it stand for "none": never, or a day that the mapping names?
pub fn is_nothing(value: &Value, named: &[Date], zone: &TimeZone) -> bool {
    is_on(value, NEVER, zone) || named.iter().any(|day| is_on(value, *day, zone))
}

/// From here on a time lies in the year 1 or later, whatever its zone: 0001-01-03T00:00:00Z.
const SHOWN_FROM_MICROS: i64 = -719_160 * 24 * HOUR_MICROS;

/// None of what is no time, or a time that nobody can show: before the year 1, or beyond the year 9999.
pub fn read(value: &Value, formats: &[String], zone: &TimeZone) -> Option<Moment> {
    let read = as_written(value, formats, zone)?;
    let year = || jiff::Timestamp::from_microsecond(read.at).ok().map(|at| at.to_zoned(zone.clone()).year());
    (read.at >= SHOWN_FROM_MICROS || year().is_some_and(|year| year >= 1)).then_some(read)
}

/// Does a text or a number stand for "none" by the day that it is read as: `31/12/9999`, `99991231`? The last day of 9999
/// is no moment that can be told, so the day alone is looked at.
pub fn reads_as_nothing(value: &Value, formats: &[String], named: impl Fn(Date) -> bool) -> bool {
    let written = match value {
        Value::Text(_) => true,
        Value::Int(_) | Value::Numeric(_) => !formats.is_empty(),
        _ => false,
    };
    written && told_day(shown(value).trim(), formats).is_some_and(|day| day == NEVER || named(day))
}

fn told_day(text: &str, formats: &[String]) -> Option<Date> {
    if formats.is_empty() {
        return text.parse().ok();
    }
    let day = |format: &String| {
        let told = BrokenDownTime::parse(format, text).ok()?;
        Date::new(told.year()?, told.month()?, told.day()?).ok()
    };
    formats.iter().find_map(day)
}

fn as_written(value: &Value, formats: &[String], zone: &TimeZone) -> Option<Moment> {
    let exact = |at: Micros| Moment { at, precision: None };
    match value {
        Value::TimestampTz(micros) => jiff::Timestamp::from_microsecond(*micros).ok().map(|_| exact(*micros)),
        Value::Timestamp(micros) => in_zone(civil(*micros)?, zone).map(exact),
        Value::Date(days) => of_day(calendar(*days)?, Precision::Day, zone),
        Value::Text(text) if formats.is_empty() => of_text(text.trim(), zone),
        Value::Text(_) | Value::Int(_) | Value::Numeric(_) => {
            let text = shown(value);
            formats.iter().find_map(|format| formatted(format, text.trim(), zone))
        }
        _ => None,
    }
}

fn of_day(day: Date, precision: Precision, zone: &TimeZone) -> Option<Moment> {
    Some(Moment { at: start(day, zone)?, precision: Some(precision) })
}

/// ISO 8601: `1984`, `1984-06`, `1984-06-02`, with a time, with a zone.
fn of_text(text: &str, zone: &TimeZone) -> Option<Moment> {
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    if digits(text, 4) {
        return of_day(Date::new(text.parse().ok()?, 1, 1).ok()?, Precision::Year, zone);
    }
    if let Some((year, month)) = text.split_once('-').filter(|(year, month)| digits(year, 4) && digits(month, 2)) {
        return of_day(Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?, Precision::Month, zone);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Moment { at: at.as_microsecond(), precision: None });
    }
    if !text.contains(['T', 't', ' ', ':']) {
        return of_day(text.parse().ok()?, Precision::Day, zone);
    }
    in_zone(text.parse::<DateTime>().ok()?, zone).map(|at| Moment { at, precision: None })
}

/// What `format` reads tells how exactly it is known.
fn formatted(format: &str, text: &str, zone: &TimeZone) -> Option<Moment> {
    let told = BrokenDownTime::parse(format, text).ok()?;
    let year = told.year()?;
    // `%Y` reads `24`, too: a year of two digits is not one of the first century.
    if year < 1_000 && !text.contains(&format!("{year:04}")) {
        return None;
    }
    let Some(month) = told.month() else { return of_day(Date::new(year, 1, 1).ok()?, Precision::Year, zone) };
    let Some(day) = told.day() else { return of_day(Date::new(year, month, 1).ok()?, Precision::Month, zone) };
    let day = Date::new(year, month, day).ok()?;
    let Some(hour) = told.hour() else { return of_day(day, Precision::Day, zone) };
    let time = Time::new(hour, told.minute().unwrap_or(0), told.second().unwrap_or(0), 0).ok()?;
    let at = DateTime::from_parts(day, time);
    let at = match told.offset() {
        Some(offset) => offset.to_timestamp(at).ok()?.as_microsecond(),
        None => in_zone(at, zone)?,
    };
    Some(Moment { at, precision: None })
}

/// Does the format read what it writes, with a year in it?
pub fn is_format(format: &str) -> bool {
    let sample = date(1984, 6, 2).at(13, 14, 15, 0).to_zoned(TimeZone::UTC);
    let written = sample.ok().and_then(|sample| BrokenDownTime::from(&sample).to_string(format).ok());
    written.is_some_and(|written| formatted(format, &written, &TimeZone::UTC).is_some_and(|_| written.contains("84")))
}

fn start(day: Date, zone: &TimeZone) -> Option<Micros> {
    in_zone(day.to_datetime(Time::midnight()), zone)
}

/// Where a clock was turned back and a time came twice, the first; where it was skipped, the one after.
fn in_zone(at: DateTime, zone: &TimeZone) -> Option<Micros> {
    zone.to_ambiguous_zoned(at).compatible().ok().map(|at| at.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZoneDatabase;

    fn london() -> TimeZone {
        TimeZoneDatabase::bundled().get("Europe/London").expect("a zone")
    }

    fn micros(text: &str) -> i64 {
        change::avro::value::micros_of_zoned(text).expect("a time")
    }

    #[track_caller]
    fn check(value: &Value, formats: &[&str], want: &str) {
        let formats: Vec<String> = formats.iter().map(|&format| format.to_owned()).collect();
        let got = read(value, &formats, &london()).map_or("none".to_owned(), |moment| {
            let at = jiff::Timestamp::from_microsecond(moment.at).expect("a time");
            format!("{at} {}", moment.precision.map_or("exact", Precision::as_str))
        });
        assert_eq!(got, want, "{formats:?}");
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn a_time_is_as_exact_as_it_is_written() {
        for (written, want) in [
            ("1984", "1984-01-01T00:00:00Z year"),
            ("1984-06", "1984-05-31T23:00:00Z month"),
            ("1984-06-02", "1984-06-01T23:00:00Z day"),
            ("1984-06-02T10:00", "1984-06-02T09:00:00Z exact"),
            ("1984-06-02 10:00:00+02", "1984-06-02T08:00:00Z exact"),
            ("19840602", "1984-06-01T23:00:00Z day"),
            ("1984-13", "none"),
            ("84", "none"),
            ("soon", "none"),
        ] {
            check(&text(written), &[], want);
        }
        for (written, formats, want) in [
            (text("02/06/1984"), &["%d/%m/%Y"][..], "1984-06-01T23:00:00Z day"),
            (text("06/1984"), &["%d/%m/%Y", "%m/%Y", "%Y"], "1984-05-31T23:00:00Z month"),
            (Value::Int(1984), &["%Y"], "1984-01-01T00:00:00Z year"),
            (text("02.06.1984 10:30"), &["%d.%m.%Y %H:%M"], "1984-06-02T09:30:00Z exact"),
            // With a format, only what it reads is one.
            (text("1984-06-02"), &["%d/%m/%Y"], "none"),
            (Value::Int(1984), &[], "none"),
            (Value::Date(5_266), &[], "1984-06-01T23:00:00Z day"),
        ] {
            check(&written, formats, want);
        }
    }

    #[test]
    fn what_nobody_can_show_is_no_time() {
        check(&Value::TimestampTz(micros("+10001-01-01T00:00:00Z")), &[], "none");
        check(&Value::TimestampTz(i64::MAX), &[], "none");
        check(&Value::Timestamp(i64::MIN), &[], "none");
        check(&Value::Date(i32::MAX), &[], "none");
        check(&Value::Exact("infinity".into()), &[], "none");
    }

    #[test]
    fn the_last_day_of_9999_is_nothing_at_any_time_and_in_any_zone() {
        let named = [date(2100, 12, 31)];
        for value in [
            Value::Date(2_932_896),
            Value::Timestamp(micros("9999-12-31T00:00:00Z")),
            Value::Timestamp(micros("9999-12-31T23:59:59.999999Z")),
            Value::TimestampTz(micros("9999-12-31T23:59:59Z")),
            // The same in New York and in Auckland.
            Value::TimestampTz(micros("+10000-01-01T04:59:59Z")),
            Value::TimestampTz(micros("9999-12-30T11:00:00Z")),
            text("9999-12-31"),
            text(" 9999-12-31T00:00:00 "),
            text("9999-12-31 23:59:59+00"),
            text("9999-12-31T23:59:59Z"),
            Value::Timestamp(micros("2100-12-31T00:00:00Z")),
            Value::TimestampTz(micros("2100-12-31T12:00:00Z")),
            text("2100-12-31 00:00:00"),
        ] {
            assert!(is_nothing(&value, &named, &london()), "{}", shown(&value));
        }
        for value in [
            Value::Timestamp(micros("9999-12-30T23:59:59Z")),
            Value::TimestampTz(micros("2101-01-01T00:00:00Z")),
            Value::TimestampTz(micros("2100-12-30T23:59:59Z")),
            text("9999-12-31 is what the form says"),
            text("9999-12-310"),
            Value::Int(9_999),
        ] {
            assert!(!is_nothing(&value, &named, &london()), "{}", shown(&value));
        }
        assert!(!is_nothing(&Value::Date(47_846), &[], &london()), "2100-12-31 is a day until somebody says otherwise");
    }

    #[test]
    fn a_time_can_be_told_to_be_coarser_and_never_finer() {
        let exact = read(&text("1984-06-02T10:00"), &[], &london()).expect("a time");
        let year = exact.to(Precision::Year, &london());
        assert_eq!(year, read(&text("1984"), &[], &london()).expect("a year"));
        assert_eq!(year.to(Precision::Day, &london()), year);
    }

    #[test]
    fn a_format_reads_what_it_writes() {
        for good in ["%Y", "%d/%m/%Y", "%d-%b-%Y %H:%M:%S", "%Y%m%d", "%Y-%m-%dT%H:%M%z"] {
            assert!(is_format(good), "{good}");
        }
        for bad in ["", "%d/%m", "yyyy-mm-dd", "%Q", "%H:%M"] {
            assert!(!is_format(bad), "{bad}");
        }
    }
}
