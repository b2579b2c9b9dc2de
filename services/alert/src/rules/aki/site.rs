//! `[aki]` of `alerts.toml`: the algorithm's numbers, and for whom it is not meant.

use crate::limits::Bound;
use rust_decimal::Decimal;
use serde::Deserialize;
use terminology::sctid::is_concept;

/// Codes of one set.
pub const CODES_MAX: usize = 1_000;
/// No laboratory measures a creatinine beyond it: such a number is a mistake, and no baseline either.
pub const CREATININE_MAX: Decimal = Decimal::from_parts(100_000, 0, 0, false, 0);

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Aki {
    /// Off until the site says otherwise.
    #[serde(default)]
    pub on: bool,
    pub analyte: String,
    pub unit: String,
    /// The lowest of so many days before, the day of the test itself among them.
    pub lowest_days: i64,
    /// The median from the day after those to so many days before.
    pub median_days: i64,
    pub ratio_1: Decimal,
    pub ratio_2: Decimal,
    pub ratio_3: Decimal,
    /// Over it, a ratio that reaches stage 1 is stage 3.
    pub value_3: Decimal,
    /// Below this age that value is so many times the upper end of the result's own reference range.
    pub child_below: u16,
    pub child_range_times: Decimal,
    /// More than this over the lowest of so many hours is stage 1.
    pub rise: Decimal,
    pub rise_hours: i64,
    /// Younger in days: not judged.
    pub age_days_from: i64,
    /// Stage 1 is urgent beside such a potassium within so many hours.
    pub potassium: Bound,
    pub potassium_unit: String,
    pub potassium_hours: i64,
    /// SNOMED CT concepts of active problems: not judged with one of them.
    #[serde(default)]
    pub except: Vec<Except>,
    /// SNOMED CT or local codes of results whose value is the laboratory's own stage.
    #[serde(default)]
    pub laboratory_codes: Vec<String>,
}

/// For whom the algorithm is not meant.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Except {
    /// `dialysis`, `pregnancy`.
    pub what: String,
    pub snomed: Vec<String>,
    /// Where the codes were read.
    pub source: String,
}

impl Aki {
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut unless = |good: bool, what: &str| {
            if !good {
                mistakes.push(format!("aki: {what}"));
            }
        };
        unless(!self.analyte.trim().is_empty() && !self.unit.trim().is_empty(), "analyte and unit must not be empty");
        unless(self.lowest_days >= 0 && self.median_days > self.lowest_days, "median_days is not beyond lowest_days");
        unless((1..=3_660).contains(&self.median_days), "median_days is not between 1 and 3660");
        let ascend = Decimal::ONE < self.ratio_1 && self.ratio_1 < self.ratio_2 && self.ratio_2 < self.ratio_3;
        unless(
            ascend && self.ratio_3 < Decimal::ONE_HUNDRED,
            "ratio_1, ratio_2 and ratio_3 do not ascend from above 1",
        );
        let positive = |number: Decimal| number > Decimal::ZERO && number < CREATININE_MAX;
        unless(
            positive(self.value_3) && positive(self.child_range_times) && positive(self.rise),
            "a value is not above 0",
        );
        unless((1..=8_760).contains(&self.rise_hours), "rise_hours is not between 1 and 8760");
        unless((0..=8_760).contains(&self.potassium_hours), "potassium_hours is not between 0 and 8760");
        unless(self.age_days_from >= 0, "age_days_from is below 0");
        unless(!self.potassium.inequality.is_low(), "potassium must be `>` or `>=`");
        for except in &self.except {
            unless(
                !except.what.trim().is_empty() && !except.source.trim().is_empty(),
                "except: what and source must not be empty",
            );
            unless(
                !except.snomed.is_empty() && except.snomed.len() <= CODES_MAX,
                "except: names no concept, or too many",
            );
            for concept in except.snomed.iter().filter(|concept| !is_concept(concept)) {
                unless(false, &format!("except: `{concept}` is no SNOMED CT identifier: its check digit is wrong"));
            }
        }
        unless(self.laboratory_codes.len() <= CODES_MAX, "too many laboratory_codes");
        unless(self.laboratory_codes.iter().all(|code| !code.trim().is_empty()), "laboratory_codes: an empty code");
        mistakes
    }

    /// Concepts of all problems with which it is not judged.
    pub fn exceptions(&self) -> impl Iterator<Item = &str> {
        self.except.iter().flat_map(|except| &except.snomed).map(String::as_str)
    }
}
