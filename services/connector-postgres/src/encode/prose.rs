//! Texts that are told in another form than the server's: intervals and times with an offset as ISO 8601 has them,
//! hstore as JSON.

use super::{quoted, text::integer};
use change::avro::{value, value::MICROS_PER_DAY, wire};
use std::fmt::Write as _;

/// `10:11:12.5+02` as `10:11:12.5+02:00`. False for 24:00, which ISO clocks do not have beside an offset.
pub(super) fn time_with_zone(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let Some(at) = text.iter().rposition(|byte| matches!(byte, b'+' | b'-')) else { return false };
    let (local, offset) = text.split_at(at);
    let whole = value::micros_of_time(local).is_some_and(|micros| micros < MICROS_PER_DAY);
    let form = offset[1..].iter().enumerate().all(|(at, byte)| match at % 3 {
        2 => *byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let rest: &[u8] = match (offset, offset.len()) {
        (b"+00", _) => b"Z",
        (_, 3) => b":00",
        (_, 6 | 9) => b"",
        _ => return false,
    };
    let offset = if offset == b"+00" { b"" } else { offset };
    wire::long(out, (local.len() + offset.len() + rest.len()) as i64);
    for part in [local, offset, rest] {
        out.extend_from_slice(part);
    }
    whole && form
}

/// `1 year -2 mons +3 days -04:05:06.7` as `P1Y-2M3DT-4H-5M-6.7S`. False for the infinities.
pub(super) fn interval(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let Some(iso) = std::str::from_utf8(text).ok().and_then(iso_interval) else { return false };
    wire::string(out, &iso);
    true
}

fn iso_interval(text: &str) -> Option<String> {
    let (mut years, mut months, mut days) = (0, 0, 0);
    let mut clock = None;
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        if word.contains(':') {
            clock = Some(word);
            break;
        }
        let number = integer(word.strip_prefix('+').unwrap_or(word).as_bytes())?;
        *match words.next()? {
            "year" | "years" => &mut years,
            "mon" | "mons" => &mut months,
            "day" | "days" => &mut days,
            _ => return None,
        } = number;
    }
    let mut iso = format!("P{years}Y{months}M{days}DT");
    let Some(clock) = clock else {
        iso.push_str("0H0M0S");
        return Some(iso);
    };
    let sign = if clock.starts_with('-') { "-" } else { "" };
    let mut parts = clock.trim_start_matches(['-', '+']).split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    for (digits, unit) in [(hours, 'H'), (minutes, 'M')] {
        let number = integer(digits.as_bytes())?;
        // Writing to a String cannot fail.
        let _ = write!(iso, "{}{number}{unit}", if number == 0 { "" } else { sign });
    }
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let (number, fraction) = (integer(whole.as_bytes())?, fraction.trim_end_matches('0'));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || words.next().is_some() || parts.next().is_some() {
        return None;
    }
    let sign = if number == 0 && fraction.is_empty() { "" } else { sign };
    let point = if fraction.is_empty() { "" } else { "." };
    let _ = write!(iso, "{sign}{number}{point}{fraction}S");
    Some(iso)
}

/// `"a"=>"1", "b"=>NULL` as `{"a":"1","b":null}`.
pub(super) fn hstore(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let Some(json) = std::str::from_utf8(text).ok().and_then(json_of_hstore) else { return false };
    wire::string(out, &json);
    true
}

fn json_of_hstore(text: &str) -> Option<String> {
    let mut json = String::with_capacity(text.len() + 2);
    let mut scratch = String::new();
    json.push('{');
    let mut rest = text;
    while !rest.is_empty() {
        if json.len() > 1 {
            rest = rest.strip_prefix(", ")?;
            json.push(',');
        }
        rest = word(rest, &mut scratch)?.strip_prefix("=>")?;
        quoted(&mut json, &scratch);
        json.push(':');
        if let Some(next) = rest.strip_prefix("NULL") {
            json.push_str("null");
            rest = next;
        } else {
            rest = word(rest, &mut scratch)?;
            quoted(&mut json, &scratch);
        }
    }
    json.push('}');
    Some(json)
}

/// Unescapes the quoted word that the text begins with into `scratch`; the rest.
fn word<'a>(text: &'a str, scratch: &mut String) -> Option<&'a str> {
    scratch.clear();
    let mut chars = text.strip_prefix('"')?.chars();
    loop {
        match chars.next()? {
            '"' => return Some(chars.as_str()),
            '\\' => scratch.push(chars.next()?),
            c => scratch.push(c),
        }
    }
}
