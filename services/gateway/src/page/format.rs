//! How times, numbers and numbers of people look on a page. Times are the United Kingdom's.

use event::{Micros, PartialDate, Precision};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rust_decimal::Decimal;
use std::sync::LazyLock;

static LONDON: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC));
/// More decimals than any laboratory reports.
const DECIMALS_MAX: u32 = 3;

/// Where days begin.
pub fn london() -> TimeZone {
    LONDON.clone()
}

fn local(at: Micros) -> Option<jiff::Zoned> {
    Some(Timestamp::from_microsecond(at).ok()?.to_zoned(LONDON.clone()))
}

/// `22 Nov 2026, 14:05`.
pub fn when(at: Micros) -> String {
    local(at).map_or_else(|| "time unknown".into(), |at| at.strftime("%-d %b %Y, %H:%M").to_string())
}

/// `22 Nov 2026`.
pub fn day(at: Micros) -> String {
    local(at).map_or_else(|| "date unknown".into(), |at| at.strftime("%-d %b %Y").to_string())
}

/// As exactly as it is known: `1984`, `Jun 1984`, `2 Jun 1984`, `2 Jun 1984, 14:05`.
pub fn known(at: Micros, precision: Option<Precision>) -> String {
    let written = match precision {
        None => return when(at),
        Some(Precision::Day) => return day(at),
        Some(Precision::Month) => "%b %Y",
        Some(Precision::Year) => "%Y",
    };
    local(at).map_or_else(|| "date unknown".into(), |at| at.strftime(written).to_string())
}

/// As [`known`], and no closer than the day.
pub fn known_day(at: Micros, precision: Option<Precision>) -> String {
    known(at, Some(precision.unwrap_or(Precision::Day)))
}

/// `1984`, `1984-06`, `1984-06-02`: for `<time datetime>` and FHIR.
pub fn machine_to(at: Micros, precision: Precision) -> String {
    let written = match precision {
        Precision::Year => "%Y",
        Precision::Month => "%Y-%m",
        Precision::Day => "%Y-%m-%d",
    };
    local(at).map_or_else(String::new, |at| at.strftime(written).to_string())
}

/// For `<time datetime>`.
pub fn machine(at: Micros) -> String {
    Timestamp::from_microsecond(at).map(|at| at.to_string()).unwrap_or_default()
}

/// `2026-01-31` → `31 Jan 2026`, `2026-01` → `Jan 2026`; anything else as it is.
pub fn date(text: &str) -> String {
    if let Some((partial, month)) = PartialDate::parse(text).and_then(|date| Some((date, date.month()?))) {
        let first = i16::try_from(partial.year()).ok().zip(i8::try_from(month).ok());
        let first = first.and_then(|(year, month)| Date::new(year, month, 1).ok());
        return first.map_or_else(|| text.to_owned(), |first| first.strftime("%b %Y").to_string());
    }
    text.parse::<Date>().map_or_else(|_| text.to_owned(), |date| date.strftime("%-d %b %Y").to_string())
}

/// Whole years from birth to `until`.
pub fn age(birth: &str, until: Date) -> Option<i16> {
    let birth: Date = birth.parse().ok()?;
    let before_birthday = (until.month(), until.day()) < (birth.month(), birth.day());
    let years = until.year() - birth.year() - i16::from(before_birthday);
    (years >= 0).then_some(years)
}

pub fn today(now: Micros) -> Date {
    local(now).map(|now| now.date()).unwrap_or_default()
}

/// `just now`, `5 minutes ago`, `3 hours ago`, `2 days ago`.
pub fn ago(at: Micros, now: Micros) -> String {
    let minutes = (now - at) / 60_000_000;
    let plural = |count: i64, word: &str| format!("{count} {word}{} ago", if count == 1 { "" } else { "s" });
    match minutes {
        i64::MIN..0 => "in the future".into(),
        0 => "just now".into(),
        1..60 => plural(minutes, "minute"),
        60..2880 => plural(minutes / 60, "hour"),
        _ => plural(minutes / 1440, "day"),
    }
}

/// `943 476 5919`.
pub fn nhs_number(number: &str) -> String {
    match (number.get(..3), number.get(3..6), number.get(6..)) {
        (Some(a), Some(b), Some(c)) if number.len() == 10 => format!("{a} {b} {c}"),
        _ => number.to_owned(),
    }
}

/// Without zeros at the end, and without the decimals that a conversion of units made up.
pub fn number(number: Decimal) -> String {
    let number = number.normalize();
    let made_up = number.scale() > DECIMALS_MAX && number.abs() >= Decimal::ONE;
    if made_up { number.round_dp(DECIMALS_MAX).normalize().to_string() } else { number.to_string() }
}

/// `SHAH, Priya`.
pub fn name(family: Option<&str>, given: Option<&str>) -> String {
    match (family, given) {
        (Some(family), Some(given)) => format!("{}, {given}", family.to_uppercase()),
        (Some(family), None) => family.to_uppercase(),
        (None, Some(given)) => given.to_owned(),
        (None, None) => "Name not known".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        text.parse::<Timestamp>().expect("a time").as_microsecond()
    }

    #[test]
    fn times_are_british() {
        assert_eq!(when(at("2026-07-01T12:00:00Z")), "1 Jul 2026, 13:00");
        assert_eq!(when(at("2026-01-01T12:00:00Z")), "1 Jan 2026, 12:00");
        assert_eq!(day(at("2026-07-01T23:30:00Z")), "2 Jul 2026");
    }

    #[test]
    fn a_time_is_shown_as_exactly_as_it_is_known() {
        let june = at("1984-05-31T23:00:00Z");
        for (precision, shown, of_day, machine) in [
            (Precision::Year, "1984", "1984", "1984"),
            (Precision::Month, "Jun 1984", "Jun 1984", "1984-06"),
            (Precision::Day, "1 Jun 1984", "1 Jun 1984", "1984-06-01"),
        ] {
            assert_eq!(
                (known(june, Some(precision)).as_str(), known_day(june, Some(precision)).as_str()),
                (shown, of_day)
            );
            assert_eq!(machine_to(june, precision), machine);
        }
        for (text, want) in
            [("1984-06-02", "2 Jun 1984"), ("1984-06", "Jun 1984"), ("1984", "1984"), ("2026-13", "2026-13")]
        {
            assert_eq!(date(text), want);
        }
        assert_eq!((age("1984", today(june)), age("1984-06", today(june))), (None, None), "no day is made up");
        assert_eq!((known(june, None).as_str(), known_day(june, None).as_str()), ("1 Jun 1984, 00:00", "1 Jun 1984"));
    }

    #[test]
    fn ages_and_intervals() {
        let today: Date = "2026-11-23".parse().expect("a date");
        assert_eq!(age("1980-11-23", today), Some(46));
        assert_eq!(age("1980-11-24", today), Some(45));
        assert_eq!(age("2027-01-01", today), None);
        assert_eq!(age("?", today), None);
        let now = at("2026-11-23T12:00:00Z");
        for (then, want) in [
            ("2026-11-23T11:59:30Z", "just now"),
            ("2026-11-23T11:59:00Z", "1 minute ago"),
            ("2026-11-23T09:00:00Z", "3 hours ago"),
            ("2026-11-13T09:00:00Z", "10 days ago"),
            ("2026-11-24T09:00:00Z", "in the future"),
        ] {
            assert_eq!(ago(at(then), now), want);
        }
    }

    #[test]
    fn numbers() {
        for (text, want) in
            [("6.70", "6.7"), ("140", "140"), ("106.08000", "106.08"), ("1.234567", "1.235"), ("0.0004", "0.0004")]
        {
            assert_eq!(number(text.parse().expect("a number")), want);
        }
        assert_eq!(nhs_number("9434765919"), "943 476 5919");
        assert_eq!(nhs_number("943"), "943");
        assert_eq!(nhs_number("ÄÄÄÄÄ"), "ÄÄÄÄÄ");
    }
}
