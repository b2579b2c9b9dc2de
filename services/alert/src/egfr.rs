//! eGFR by CKD-EPI, where nobody told one: by one equation per site.
//!
//! # Why
//! Two sources that estimate by two equations tell two numbers of one kidney. So the laboratory's own goes first, ours says
//! by which equation it was worked out, and where the equation is not meant for somebody there is no number and a reason.

use crate::{
    Facts, Finding, Limits,
    facts::Sex,
    judgement::{self, usable},
    rules::{aki, tell},
};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::Deserialize;

/// Whole years from which the equations hold.
pub const ADULT_FROM: u16 = 18;
const MICROMOLES_PER_MILLIGRAM: f64 = 88.4;

/// `[egfr]` of `alerts.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Egfr {
    pub equation: Equation,
    /// The creatinine that it is worked out from.
    pub analyte: String,
    pub unit: String,
    /// A laboratory's own, of the same sample.
    pub laboratory: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Equation {
    #[serde(rename = "2009")]
    Of2009,
    #[serde(rename = "2021")]
    Of2021,
}

impl Equation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Of2009 => "CKD-EPI 2009",
            Self::Of2021 => "CKD-EPI 2021",
        }
    }
}

/// In mL/min/1.73 m².
#[derive(Clone, Debug)]
pub enum Estimate<'a> {
    /// Told by the laboratory, of the same sample.
    Laboratory(&'a Finding),
    Ours(Decimal, Equation),
    /// Why there is none.
    None(&'static str),
}

/// The number alone, to one decimal: without a term for ethnicity.
pub fn estimate(equation: Equation, micromoles: Decimal, sex: Sex, age: u16) -> Option<Decimal> {
    let female = sex == Sex::Female;
    let kappa = if female { 0.7 } else { 0.9 };
    let (factor, alpha, beta, of_age, of_women) = match (equation, female) {
        (Equation::Of2009, true) => (141.0, -0.329, -1.209, 0.993, 1.018),
        (Equation::Of2009, false) => (141.0, -0.411, -1.209, 0.993, 1.0),
        (Equation::Of2021, true) => (142.0, -0.241, -1.200, 0.9938, 1.012),
        (Equation::Of2021, false) => (142.0, -0.302, -1.200, 0.9938, 1.0),
    };
    let creatinine = micromoles.to_f64().filter(|it| *it > 0.0)? / MICROMOLES_PER_MILLIGRAM / kappa;
    let filtered: f64 = factor
        * f64::powf(creatinine.min(1.0), alpha)
        * f64::powf(creatinine.max(1.0), beta)
        * f64::powi(of_age, i32::from(age))
        * of_women;
    Decimal::from_f64_retain(filtered).map(|filtered| filtered.round_dp(1).normalize())
}

/// Of a creatinine; `facts` hold a year of creatinines, and results beside it.
pub fn of<'a>(finding: &Finding, facts: &'a Facts, limits: &Limits) -> Estimate<'a> {
    let Some(site) = &limits.egfr else { return Estimate::None("the site names no equation") };
    let own = |other: &&Finding| {
        other.patient == finding.patient
            && other.analyte.as_ref().is_some_and(|analyte| site.laboratory.contains(analyte))
            && usable(other).is_some()
            && other.effective_at.is_some()
            && (other.effective_at, other.effective_precision) == (finding.effective_at, finding.effective_precision)
    };
    if let Some(own) = facts.history.iter().find(own) {
        return Estimate::Laboratory(own);
    }
    let creatinine =
        usable(finding).filter(|(_, unit)| finding.analyte.as_ref() == Some(&site.analyte) && *unit == site.unit);
    let Some((micromoles, _)) = creatinine.filter(|_| finding.comparator.is_none()) else {
        return Estimate::None("no number of creatinine");
    };
    if judgement::doubt(finding, limits).is_some() {
        return Estimate::None("the specimen is doubtful");
    }
    let taken = finding.effective_at.unwrap_or(finding.times.committed_at);
    let Some(age) = tell::age_years(finding.birth_date, taken) else { return Estimate::None("age not known") };
    let Some(sex) = finding.sex else { return Estimate::None("sex not known") };
    if age < ADULT_FROM {
        return Estimate::None("under 18 years");
    }
    if aki::is_met(finding, facts, limits) {
        return Estimate::None("creatinine is rising: no steady state");
    }
    match estimate(site.equation, micromoles, sex, age) {
        Some(filtered) => Estimate::Ours(filtered, site.equation),
        None => Estimate::None("no number of creatinine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{NOW, finding, limits};
    use event::Precision;

    const DAY: i64 = 24 * 3_600_000_000;

    #[track_caller]
    fn check(equation: Equation, micromoles: &str, sex: Sex, age: u16, want: &str) {
        let told = estimate(equation, micromoles.parse().expect("a number"), sex, age).expect("a number");
        assert_eq!(told.to_string(), want, "{equation:?} {micromoles} {sex:?} {age}");
    }

    /// kidney.org's example (1.2 mg/dL, 55 years, male: 71), and those of the project's clinical reference.
    #[test]
    fn published_examples() {
        check(Equation::Of2021, "106.08", Sex::Male, 55, "71.4");
        for (micromoles, sex, age, of_2009, of_2021) in [
            ("80", Sex::Female, 40, "79.4", "82.3"),
            ("300", Sex::Female, 70, "13", "14"),
            ("300", Sex::Male, 70, "17.3", "18.7"),
        ] {
            check(Equation::Of2009, micromoles, sex, age, of_2009);
            check(Equation::Of2021, micromoles, sex, age, of_2021);
        }
    }

    /// Both branches of the equation are one number where they meet: 0.7 and 0.9 mg/dL.
    #[test]
    fn it_does_not_jump_at_the_knee() {
        for equation in [Equation::Of2009, Equation::Of2021] {
            for (sex, knee) in [(Sex::Female, "61.88"), (Sex::Male, "79.56")] {
                let at: Decimal = knee.parse().expect("a number");
                let near = |step: i64| estimate(equation, at + Decimal::new(step, 3), sex, 50).expect("a number");
                let (below, above) = (near(-1), near(1));
                assert!(below >= above && below - above <= Decimal::new(1, 1), "{equation:?} {sex:?}: {below} {above}");
            }
        }
        assert_eq!(estimate(Equation::Of2021, Decimal::ZERO, Sex::Male, 50), None);
    }

    fn creatinine(number: &str, back: i64) -> Finding {
        let number: Option<Decimal> = number.parse().ok();
        Finding {
            analyte: Some("creatinine".into()),
            unit: Some("umol/L".into()),
            number,
            canonical: number.map(|number| (number, "umol/L".into())),
            unchecked: None,
            sex: Some(Sex::Male),
            effective_at: Some(NOW - back),
            record: format!("{number:?}/{back}"),
            ..finding("creatinine 1 mmol/L")
        }
    }

    fn why(finding: &Finding, history: Vec<Finding>) -> String {
        match of(finding, &Facts { history, now: NOW, ..Facts::default() }, &limits()) {
            Estimate::Laboratory(own) => format!("laboratory {}", own.record),
            Estimate::Ours(filtered, equation) => format!("{filtered} by {}", equation.as_str()),
            Estimate::None(why) => why.to_owned(),
        }
    }

    #[test]
    fn it_is_for_adults_of_known_age_and_sex_outside_an_injury() {
        let own = creatinine("106.08", 0);
        // Fifty-three years.
        assert_eq!(why(&own, Vec::new()), "68.6 by CKD-EPI 2009");
        // 2023-11-14 is the day of the sample: 18 years later to the day, and a day short of it.
        let born = |days| Finding { birth_date: days, ..own.clone() };
        assert!(why(&born(Some(13_101)), Vec::new()).contains("by CKD-EPI"));
        assert_eq!(why(&born(Some(13_102)), Vec::new()), "under 18 years");
        assert_eq!(why(&born(None), Vec::new()), "age not known");
        assert_eq!(why(&Finding { sex: None, ..own.clone() }, Vec::new()), "sex not known");
        assert_eq!(why(&own, vec![creatinine("70", DAY)]), "creatinine is rising: no steady state");
        assert!(why(&own, vec![creatinine("100", DAY)]).contains("by CKD-EPI"));
        let greater = Finding { comparator: Some(event::Comparator::Greater), ..own.clone() };
        assert_eq!(why(&greater, Vec::new()), "no number of creatinine");
        let haemolysed = Finding { comment: Some("haemolysed".into()), ..own };
        assert_eq!(why(&haemolysed, Vec::new()), "the specimen is doubtful");
    }

    #[test]
    fn the_laboratorys_own_of_the_same_sample_goes_first() {
        let own = creatinine("106.08", 0);
        let number: Option<Decimal> = "60".parse().ok();
        let told = Finding {
            analyte: Some("egfr-mdrd".into()),
            number,
            canonical: number.map(|number| (number, "mL/min/{1.73_m2}".into())),
            record: "egfr".into(),
            ..creatinine("1", 0)
        };
        assert_eq!(why(&own, vec![told.clone()]), "laboratory egfr");
        assert_eq!(why(&Finding { sex: None, ..own.clone() }, vec![told.clone()]), "laboratory egfr");
        for other in [
            Finding { effective_at: Some(NOW - DAY), ..told.clone() },
            Finding { effective_precision: Some(Precision::Day), ..told.clone() },
            Finding { patient: event::SourcePatient { source: "riverside".into(), id: "1".into() }, ..told.clone() },
            Finding { unchecked: Some("unknown unit".into()), ..told },
        ] {
            assert!(why(&own, vec![other]).contains("by CKD-EPI"));
        }
    }
}
