//! `alerts.toml`: what raises an alert at this site, as data.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use rust_decimal::Decimal;
use serde::Deserialize;
use std::collections::BTreeSet;

pub const LIMITS_MAX: usize = 1_000;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub window_hours: u32,
    pub late_after_minutes: u32,
    pub future_tolerance_minutes: u32,
    pub critical_flags: Vec<String>,
    #[serde(default)]
    pub limit: Vec<Limit>,
    pub addisons: Addisons,
}

/// The critical limits of one analyte, for an age band or for all.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub analyte: String,
    /// UCUM; numbers in another canonical unit cannot be checked.
    pub unit: String,
    pub low: Option<Bound>,
    pub high: Option<Bound>,
    /// Years, and above.
    pub age_from: Option<u16>,
    /// Years, and not the age itself.
    pub age_below: Option<u16>,
}

impl Limit {
    /// An age that is not known is in every band.
    pub fn covers(&self, age: Option<u16>) -> bool {
        age.is_none_or(|age| {
            self.age_from.is_none_or(|from| age >= from) && self.age_below.is_none_or(|below| age < below)
        })
    }
}

/// Beyond what number it is so: `<= 2.5`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub inequality: Inequality,
    pub value: Decimal,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Inequality {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    LessOrEqual,
    #[serde(rename = ">=")]
    GreaterOrEqual,
    #[serde(rename = ">")]
    Greater,
}

impl Inequality {
    pub const fn is_low(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Addisons {
    /// SNOMED CT concepts of the problem.
    pub snomed: Vec<String>,
    pub companion_hours: u32,
    #[serde(default)]
    pub signal: Vec<Signal>,
}

/// What counts as a sign of an adrenal crisis in a known patient.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    pub analyte: String,
    pub unit: String,
    pub sign: Bound,
    /// Outside its own reference range on the same side counts too.
    #[serde(default)]
    pub outside_range: bool,
    /// Raises an alert by itself; otherwise it is only told beside others.
    #[serde(default = "yes")]
    pub alone: bool,
}

const fn yes() -> bool {
    true
}

impl Limits {
    /// All mistakes at once. Those of the TOML itself come with their line.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let limits: Self = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mistakes = limits.mistakes();
        if mistakes.is_empty() { Ok(limits) } else { Err(mistakes) }
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.window_hours == 0 {
            mistakes.push("window_hours is 0, so nothing would ever be alerted".to_owned());
        }
        if self.limit.len() > LIMITS_MAX {
            mistakes.push(format!("more than {LIMITS_MAX} limits"));
        }
        for (index, limit) in self.limit.iter().enumerate() {
            let mut mistake = |what: &str| mistakes.push(format!("limit {} ({}): {what}", index + 1, limit.analyte));
            if limit.analyte.trim().is_empty() || limit.unit.trim().is_empty() {
                mistake("analyte and unit must not be empty");
            }
            if limit.low.is_none() && limit.high.is_none() {
                mistake("has neither low nor high");
            }
            if limit.low.is_some_and(|low| !low.inequality.is_low()) {
                mistake("low must be `<` or `<=`");
            }
            if limit.high.is_some_and(|high| high.inequality.is_low()) {
                mistake("high must be `>` or `>=`");
            }
            if let (Some(low), Some(high)) = (limit.low, limit.high)
                && low.value >= high.value
            {
                mistake("low is not below high");
            }
            if let (Some(from), Some(below)) = (limit.age_from, limit.age_below)
                && from >= below
            {
                mistake("no age is in the band");
            }
        }
        if self.addisons.snomed.is_empty() {
            mistakes.push("addisons.snomed names no concept".to_owned());
        }
        mistakes
    }

    /// Analytes that have to be checked, and say so when they cannot be.
    pub fn watches(&self, analyte: &str) -> bool {
        self.limit.iter().any(|limit| limit.analyte == analyte)
    }

    pub fn is_critical(&self, flag: &str) -> bool {
        self.critical_flags.iter().any(|critical| critical.eq_ignore_ascii_case(flag.trim()))
    }

    /// Analytes of the adrenal signals.
    pub fn signals(&self) -> Vec<&str> {
        let analytes: BTreeSet<&str> = self.addisons.signal.iter().map(|signal| signal.analyte.as_str()).collect();
        analytes.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = include_str!("../../../site/alerts.toml");

    #[test]
    fn the_sites_file_is_good() {
        let limits = Limits::parse(SITE).expect("the file in the repository");
        assert!(limits.watches("potassium") && limits.watches("sodium") && limits.watches("glucose"));
        assert!(limits.is_critical("hh") && !limits.is_critical("high"));
        assert_eq!(limits.signals(), ["glucose", "potassium", "sodium"]);
    }

    #[test]
    fn mistakes_are_told_together() {
        let text = SITE
            .replace("low = { inequality = \"<=\", value = \"120\" }", "low = { inequality = \">=\", value = \"120\" }")
            .replace("value = \"25\"", "value = \"2\"")
            .replace("window_hours = 72", "window_hours = 0");
        let told = Limits::parse(&text).expect_err("three mistakes");
        assert_eq!(
            told,
            [
                "window_hours is 0, so nothing would ever be alerted",
                "limit 1 (sodium): low must be `<` or `<=`",
                "limit 3 (glucose): low is not below high",
            ]
        );
    }

    #[test]
    fn a_number_that_is_none_names_its_line() {
        let told = Limits::parse(&SITE.replace("\"6.5\"", "\"six\"")).expect_err("not a number");
        assert!(told[0].contains("line"), "{told:?}");
    }

    #[test]
    fn an_unknown_age_is_in_every_band() {
        let limit = Limit { age_from: Some(16), ..Limits::parse(SITE).expect("good").limit.remove(0) };
        assert!(limit.covers(None) && limit.covers(Some(16)) && !limit.covers(Some(15)));
        let limit = Limit { age_from: None, age_below: Some(16), ..limit };
        assert!(limit.covers(None) && limit.covers(Some(15)) && !limit.covers(Some(16)));
    }
}
