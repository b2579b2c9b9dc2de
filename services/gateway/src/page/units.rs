//! Numbers and units as people read them.
//!
//! # Why
//! A converted number has decimals that no laboratory measured, and UCUM writes units for machines. What was converted
//! shows the customary decimals of its test, but never so few that it would change sides of a limit; rules and FHIR have
//! the exact value, and what the source wrote stands beside it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::format;
use rust_decimal::{Decimal, RoundingStrategy};

/// A converted number with its test's customary decimals, half away from zero; more where it would cross a limit. Of a
/// test for which the lab table has none, up to three.
pub fn converted(number: Decimal, customary: Option<u32>, limits: &[Decimal]) -> String {
    let Some(customary) = customary else { return format::number(number) };
    let rounded = |decimals| number.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero);
    let same_side = |shown: Decimal| limits.iter().all(|limit| shown.cmp(limit) == number.cmp(limit));
    let decimals = (customary..number.scale()).find(|decimals| same_side(rounded(*decimals)));
    let shown = decimals.map_or(number.normalize(), rounded);
    // The customary decimals are kept, also where the last is a zero: 4.0 is how a potassium is read.
    if decimals == Some(customary) { shown.to_string() } else { shown.normalize().to_string() }
}

/// UCUM as people write it.
pub fn unit(ucum: &str) -> String {
    const WHOLE: [(&str, &str); 12] = [
        ("1", ""),
        ("[pH]", ""),
        ("{score}", ""),
        ("Cel", "°C"),
        ("mm[Hg]", "mmHg"),
        ("mL/min/{1.73_m2}", "mL/min/1.73 m²"),
        ("kg/m2", "kg/m²"),
        ("10*9/L", "×10⁹/L"),
        ("10*12/L", "×10¹²/L"),
        ("10*6/L", "×10⁶/L"),
        ("/min", "per minute"),
        ("{INR}", ""),
    ];
    if let Some((_, words)) = WHOLE.iter().find(|(code, _)| *code == ucum) {
        return (*words).to_owned();
    }
    let unit = ucum.replace("[IU]", "IU").replace("[iU]", "IU");
    match unit.strip_prefix('u') {
        Some(rest) if ["mol", "g", "L", "IU", "U"].iter().any(|base| rest.starts_with(base)) => format!("µ{rest}"),
        _ => unit,
    }
}

/// Decimal numbers in words lose the zeros at their end: `28.000 tablet` → `28 tablet`. Dates and versions stay.
pub fn without_zeros(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        let full_stop = number.ends_with('.');
        let bare = number.trim_end_matches('.');
        out.push_str(before);
        let plain = bare.matches('.').count() == 1 && !before.ends_with([':', ',']);
        match bare.parse::<Decimal>() {
            Ok(value) if plain => out.push_str(&value.normalize().to_string()),
            _ => out.push_str(bare),
        }
        if full_stop {
            out.push_str(&number[bare.len()..]);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converted_numbers_have_their_customary_decimals_and_cross_no_limit() {
        let lab = coding::lab::Lab::shipped();
        for (number, analyte, limits, want) in [
            ("92.82", Some("creatinine"), &[][..], "93"),
            ("5.495", Some("glucose"), &[], "5.5"),
            ("5.45", Some("potassium"), &[], "5.5"),
            ("4.0000", Some("potassium"), &[], "4.0"),
            ("2.245", Some("calcium"), &[], "2.25"),
            ("-0.5", Some("sodium"), &[], "-1"),
            ("6.46", Some("potassium"), &["6.5"], "6.46"),
            ("6.449", Some("potassium"), &["6.5"], "6.4"),
            ("6.496", Some("potassium"), &["6.5"], "6.496"),
            ("6.5", Some("potassium"), &["6.5"], "6.5"),
            ("119.6", Some("sodium"), &["120"], "119.6"),
            ("109.6", Some("creatinine"), &["60", "110"], "109.6"),
            ("55.18", Some("hba1c"), &[], "55"),
            ("47.53", Some("hba1c"), &["48"], "47.5"),
            ("106.0824", Some("creatinine"), &[], "106"),
            ("1.234567", Some("ferritin"), &[], "1.235"),
            ("2.50", None, &[], "2.5"),
        ] {
            let limits: Vec<Decimal> = limits.iter().map(|limit| limit.parse().expect("a number")).collect();
            let customary = analyte.and_then(|analyte| lab.analyte(analyte)).and_then(|analyte| analyte.decimals);
            assert_eq!(converted(number.parse().expect("a number"), customary, &limits), want, "{number}");
        }
    }

    #[test]
    fn units_are_read_by_people() {
        for (ucum, want) in [
            ("m[IU]/L", "mIU/L"),
            ("u[IU]/mL", "µIU/mL"),
            ("umol/L", "µmol/L"),
            ("ug/L", "µg/L"),
            ("mmol/L", "mmol/L"),
            ("10*9/L", "×10⁹/L"),
            ("mL/min/{1.73_m2}", "mL/min/1.73 m²"),
            ("mm[Hg]", "mmHg"),
            ("1", ""),
            ("units/week", "units/week"),
        ] {
            assert_eq!(unit(ucum), want);
        }
    }

    #[test]
    fn words_lose_the_zeros_of_their_numbers_and_nothing_else() {
        for (text, want) in [
            ("28.000 tablet", "28 tablet"),
            ("2.50 mg", "2.5 mg"),
            ("1000.000 mg", "1000 mg"),
            ("10mg on waking, 5mg at midday", "10mg on waking, 5mg at midday"),
            ("take 1.0 or 2.00.", "take 1 or 2."),
            ("from 01.10.2020", "from 01.10.2020"),
            ("100 mg", "100 mg"),
            ("0.50", "0.5"),
            ("5mg/2.50ml", "5mg/2.5ml"),
            ("as directed", "as directed"),
            ("", ""),
        ] {
            assert_eq!(without_zeros(text), want);
        }
    }
}
