//! `./run bench units`: results coded and converted by the lab table, beside a bare look-up and product of the same values,
//! on one core, in the same run.
//!
//! # Why
//! Every code and unit of the table takes its turn, so that no cache holds what a real source would not have in it. What
//! both come to is compared: a fast conversion that is another number is none.

use super::{Options, median};
use crate::report::Report;
use anyhow::ensure;
use coding::{
    System,
    lab::Lab,
    units::{Conversion, convert},
};
use rust_decimal::Decimal;
use std::{collections::HashMap, hint::black_box, time::Instant};

pub const ROWS: u64 = 3_000_000;
const GOAL_PER_S: f64 = 1_000_000.0;

/// A code in a unit, and what one of it is in the analyte's own.
struct Case<'a> {
    system: System,
    code: &'a str,
    unit: &'a str,
}

type Bare<'a> = HashMap<(System, &'a str), HashMap<&'a str, Decimal>>;

pub fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    let rows = options.rows.unwrap_or(ROWS);
    let lab = Lab::shipped();
    let (cases, bare) = cases(&lab);
    let numbers: Vec<Decimal> = (0..1_009_i64).map(|nth| Decimal::new(nth * 37 + 1, u32::from(nth % 3 > 0))).collect();
    let work =
        || (0..rows).zip(cases.iter().cycle()).zip(numbers.iter().cycle()).map(|((_, case), number)| (case, *number));
    for (case, number) in work().take(cases.len()) {
        ensure!(ours(&lab, case, number) == floor(&bare, case, number), "{} of {} differ", case.unit, case.code);
    }
    say(&format!("{} codes in each of their units, {rows} conversions a round", cases.len()));
    let (mut converted, mut floors) = (Vec::new(), Vec::new());
    for round in 0..=options.repeat {
        let bare_per_s = per_s(rows, || work().filter(|(case, number)| floor(&bare, case, *number).is_some()).count())?;
        let ours_per_s = per_s(rows, || work().filter(|(case, number)| ours(&lab, case, *number).is_some()).count())?;
        say(&format!("{}: floor {bare_per_s:.0}/s, ours {ours_per_s:.0}/s", super::round_name(round)));
        if round > 0 {
            converted.push((ours_per_s, ours_per_s / bare_per_s));
            floors.push(bare_per_s);
        }
    }
    let conversions = median(converted.iter().map(|(per_s, _)| *per_s).collect());
    let mut report = Report::new("units");
    report.figure("analytes", lab.analytes().len() as f64);
    report.figure("cases", cases.len() as f64);
    report.figure("rounds", converted.len() as f64);
    report.figure("conversions_per_s", conversions);
    report.figure("floor_per_s", median(floors));
    report.figure("ratio_to_floor", median(converted.iter().map(|(_, ratio)| *ratio).collect()));
    let told = format!("{conversions:.0} a second on one core; at least {GOAL_PER_S:.0}");
    report.check("conversions_per_s", conversions >= GOAL_PER_S, &told);
    Ok(report)
}

/// Every code of the table in every unit that it has a factor in.
fn cases(lab: &Lab) -> (Vec<Case<'_>>, Bare<'_>) {
    let (mut cases, mut bare) = (Vec::new(), Bare::new());
    for analyte in lab.analytes() {
        for (system, code) in analyte.codes() {
            for (unit, conversion) in &analyte.units.written {
                let factor = match conversion {
                    Conversion::Same => Decimal::ONE,
                    Conversion::Times(factor) => *factor,
                    Conversion::Ngsp | Conversion::Wrong => continue,
                };
                bare.entry((system, code)).or_default().insert(unit, factor);
                if unit != "none" {
                    cases.push(Case { system, code, unit });
                }
            }
        }
    }
    (cases, bare)
}

fn ours(lab: &Lab, case: &Case<'_>, number: Decimal) -> Option<Decimal> {
    let found = lab.find(black_box(case.system), black_box(case.code))?;
    convert(found.analyte, number, black_box(case.unit)).ok()
}

fn floor(bare: &Bare<'_>, case: &Case<'_>, number: Decimal) -> Option<Decimal> {
    let factors = bare.get(&(black_box(case.system), black_box(case.code)))?;
    number.checked_mul(*factors.get(black_box(case.unit))?)
}

fn per_s(rows: u64, work: impl FnOnce() -> usize) -> anyhow::Result<f64> {
    let started = Instant::now();
    let done = black_box(work());
    let seconds = started.elapsed().as_secs_f64();
    ensure!(done as u64 == rows, "{done} of {rows} were converted");
    Ok(rows as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_unit_comes_to_what_the_floor_does() {
        let options = Options {
            folder: std::path::PathBuf::new(),
            rows: Some(20_000),
            repeat: 1,
            rate: 1,
            seconds: 1,
            debezium: false,
        };
        run(&options, |_| {}).unwrap();
    }
}
