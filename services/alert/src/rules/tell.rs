//! The words of an alert. They are patient data: never logged.

use super::adrenal::{Beside, Grade};
use crate::Finding;
use event::{Comparator, Micros};
use jiff::{Timestamp, Unit, civil, tz::TimeZone};
use serde_json::{Value, json};

/// Free text in a headline ends here.
const TEXT_SHOWN_MAX: usize = 60;

/// "Potassium 6.7 mmol/L", "Potassium >6.0 mmol/L", "Glucose 450 mg/dL = 24.98 mmol/L", "Potassium “Haemolysed”".
pub fn value(finding: &Finding) -> String {
    let name = finding.analyte.as_deref().map_or_else(|| shortened(&finding.code_text), capitalised);
    let sign = finding.comparator.map_or("", Comparator::as_str);
    let Some(number) = finding.number else {
        let text = finding
            .text
            .as_deref()
            .map_or_else(|| "without a value".to_owned(), |text| format!("“{}”", shortened(text)));
        return format!("{name} {text}");
    };
    let unit = finding.unit.as_deref().map_or_else(|| "without a unit".to_owned(), shortened);
    let converted = match &finding.canonical {
        Some((canonical, unit)) if canonical.normalize() != number.normalize() => {
            format!(" = {sign}{} {unit}", canonical.round_dp(2).normalize())
        }
        _ => String::new(),
    };
    format!("{name} {sign}{number} {unit}{converted}")
}

/// "; status not understood: “on hold by lab”", or nothing.
pub fn status(finding: &Finding) -> String {
    match finding.unknown_status.as_deref() {
        None => String::new(),
        Some("") => "; status not told".to_owned(),
        Some(text) => format!("; status not understood: “{}”", shortened(text)),
    }
}

/// The words of a sign, around those of other signs.
pub fn signs(value: &str, others: &[String], end: &str) -> String {
    let with = if others.is_empty() { String::new() } else { format!(" with {}", others.join(", ")) };
    format!("{value}{with} {end}")
}

pub fn companion(beside: &Beside<'_>) -> String {
    let sign = beside.other.comparator.map_or("", Comparator::as_str);
    let analyte = beside.other.analyte.as_deref().unwrap_or_default();
    let undated = if beside.other.effective_at.is_none() { " (no sample time)" } else { "" };
    let doubt = beside.doubt.as_ref().map(|doubt| format!(" ({doubt})")).unwrap_or_default();
    format!("{analyte} {sign}{} {}{undated}{doubt}", beside.number.normalize(), beside.unit)
}

pub fn companion_detail(beside: &Beside<'_>) -> Value {
    let other = beside.other;
    json!({
        "source": other.patient.source, "record": other.record, "analyte": other.analyte,
        "organisation": other.organisation, "confidential": other.confidential, "words": companion(beside),
        "comparator": other.comparator.map(Comparator::as_str),
        "number": beside.number.normalize().to_string(), "unit": beside.unit,
        "taken_at": other.effective_at.and_then(time), "sign": beside.grade.is_some(), "grade": beside.grade.map(Grade::as_str),
    })
}

/// What the rule saw of the result, and where it came from.
pub fn detail(finding: &Finding) -> Value {
    json!({
        "code_text": finding.code_text, "analyte": finding.analyte,
        "comparator": finding.comparator.map(Comparator::as_str),
        "number": finding.number.map(|number| number.to_string()), "unit": finding.unit, "text": finding.text,
        "canonical_number": finding.canonical.as_ref().map(|(number, _)| number.to_string()),
        "canonical_unit": finding.canonical.as_ref().map(|(_, unit)| unit),
        "range_low": finding.range_low.map(|number| number.to_string()),
        "range_high": finding.range_high.map(|number| number.to_string()),
        "flag": finding.flag, "comment": finding.comment, "unknown_status": finding.unknown_status,
        "taken_at": finding.effective_at.map(time),
        "organisation": finding.organisation, "source": finding.patient.source, "record": finding.record,
    })
}

/// Whole years at a time; none when the dates make no sense.
pub fn age_years(birth_date: Option<i32>, at: Micros) -> Option<u16> {
    let epoch = civil::date(1970, 1, 1);
    let born = epoch.checked_add(jiff::Span::new().try_days(birth_date?).ok()?).ok()?;
    let on = Timestamp::from_microsecond(at).ok()?.to_zoned(TimeZone::UTC).date();
    u16::try_from(born.until((Unit::Year, on)).ok()?.get_years()).ok()
}

fn time(at: Micros) -> Option<String> {
    Timestamp::from_microsecond(at).ok().map(|at| at.to_string())
}

/// `2023-11-10`, as the clocks of the United Kingdom would have it to within an hour of midnight.
pub fn day(at: Micros) -> Option<String> {
    let at = Timestamp::from_microsecond(at.checked_add(3_600_000_000)?).ok()?;
    Some(at.to_zoned(TimeZone::UTC).date().to_string())
}

fn capitalised(key: &str) -> String {
    let mut letters = key.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// JSON and text of PostgreSQL cannot hold a NUL.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().filter(|letter| !letter.is_control()).take(TEXT_SHOWN_MAX).collect();
    if text.chars().count() > TEXT_SHOWN_MAX {
        shown.push('…');
    }
    shown
}
