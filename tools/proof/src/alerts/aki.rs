//! Acute kidney injury by the reference's four steps, over the creatinines that both sources hold of one person.
//!
//! Left open: somebody whose NHS number more than one row claims; a creatinine without a time, in a unit that this does not
//! read, preliminary, or with words about its specimen, where it makes a difference. Nobody here is on dialysis or pregnant.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{
    judge::{Verdict, creatinine},
    results::{Linked, Result},
};
use rust_decimal::Decimal;
use serde::Deserialize;
use std::collections::BTreeMap;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// The part of `[aki]` that says whether there is an alert.
#[derive(Clone, Debug, Deserialize)]
pub struct Aki {
    #[serde(default)]
    pub on: bool,
    lowest_days: i64,
    median_days: i64,
    ratio_1: Decimal,
    rise: Decimal,
    rise_hours: i64,
    age_days_from: i64,
}

/// One creatinine as this reads it.
struct Reading<'a> {
    of: &'a Result,
    at: Option<i64>,
    /// Its comparator and micromoles; none where it is not read.
    value: Option<(&'static str, Decimal)>,
    /// Whether it is a baseline.
    baseline: Verdict,
}

/// Source, patient, record: what is demanded of each creatinine, whatever its time.
pub fn demanded<'a>(
    results: &'a [Result],
    links: &BTreeMap<(String, String), Linked>,
    site: &Aki,
) -> Vec<(&'a Result, Verdict)> {
    let mut persons: BTreeMap<(&str, &str), Vec<Reading<'a>>> = BTreeMap::new();
    for result in results {
        let Some(value) = creatinine(result) else { continue };
        let baseline = match &value {
            None => Verdict::Open,
            Some((sign, number)) if !sign.is_empty() || !plausible(*number) => Verdict::No,
            Some(_) if result.settled => Verdict::Yes,
            Some(_) => Verdict::Open,
        };
        let reading = Reading { of: result, at: result.taken, value, baseline };
        persons.entry((result.source, result.patient.as_str())).or_default().push(reading);
    }
    let mut verdicts = Vec::new();
    for ((source, patient), own) in &persons {
        let linked = links.get(&((*source).to_owned(), (*patient).to_owned()));
        let (others, open) = match linked {
            Some(Linked::With(source, patient)) => (persons.get(&(source.as_str(), patient.as_str())), false),
            Some(Linked::Open) => (None, true),
            None => (None, false),
        };
        let all: Vec<&Reading<'_>> = own.iter().chain(others.into_iter().flatten()).collect();
        for now in own {
            let verdict = of(now, &all, site);
            verdicts.push((now.of, if open { Verdict::Open } else { verdict }));
        }
    }
    verdicts
}

/// The lab table's own bounds: a number beyond them stands for nothing.
fn plausible(number: Decimal) -> bool {
    number >= Decimal::from(4) && number <= Decimal::from(3_540)
}

fn of(now: &Reading<'_>, all: &[&Reading<'_>], site: &Aki) -> Verdict {
    let Some((sign, value)) = now.value else { return Verdict::Open };
    if sign.starts_with('<') || !plausible(value) {
        return Verdict::No;
    }
    let Some(at) = now.at else { return Verdict::Open };
    match now.of.born.map(|born| at.div_euclid(DAY) - i64::from(born)) {
        Some(days) if days < site.age_days_from - 1 => return Verdict::No,
        // Which day it is in which time zone is not for this to say.
        Some(days) if days < site.age_days_from + 1 => return Verdict::Open,
        _ => {}
    }
    let earlier = |with_open: bool| {
        let mut found: BTreeMap<i64, Decimal> = BTreeMap::new();
        for other in all.iter().filter(|other| other.of.source != now.of.source || other.of.record != now.of.record) {
            let counts = other.baseline == Verdict::Yes || with_open && other.baseline == Verdict::Open;
            if let (true, Some(then), Some((_, value))) = (counts, other.at, other.value)
                && then < at
            {
                let kept = found.entry(at - then).or_insert(value);
                *kept = value.min(*kept);
            }
        }
        found
    };
    // Where it was taken, or how much it was, nobody can read: it may be any baseline.
    let blank = all.iter().any(|other| {
        !std::ptr::eq(*other, now) && other.baseline != Verdict::No && (other.at.is_none() || other.value.is_none())
    });
    match (injured(value, &earlier(false), site), injured(value, &earlier(true), site)) {
        (one, other) if one == other && !blank => {
            if one {
                Verdict::Yes
            } else {
                Verdict::No
            }
        }
        _ => Verdict::Open,
    }
}

/// `before`: micromoles by how long before.
fn injured(value: Decimal, before: &BTreeMap<i64, Decimal>, site: &Aki) -> bool {
    let days = |back: i64| back / DAY;
    let recent = before.iter().filter(|(back, _)| days(**back) <= site.lowest_days).map(|(_, it)| *it).min();
    let mut year: Vec<Decimal> = before
        .iter()
        .filter(|(back, _)| days(**back) > site.lowest_days && days(**back) <= site.median_days)
        .map(|(_, it)| *it)
        .collect();
    year.sort_unstable();
    let middle = |at: usize| year.get(at).copied().unwrap_or_default();
    let twice_median = match year.len() {
        0 => None,
        n if n % 2 == 1 => Some(middle(n / 2) + middle(n / 2)),
        n => Some(middle(n / 2) + middle(n / 2 - 1)),
    };
    let twice = recent.map(|it| it + it).into_iter().chain(twice_median);
    if twice.into_iter().any(|twice| value + value >= twice * site.ratio_1) {
        return true;
    }
    let lately = before.iter().filter(|(back, _)| **back <= site.rise_hours * 60 * MINUTE).map(|(_, it)| *it).min();
    lately.is_some_and(|lowest| value - lowest > site.rise)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;
    const HOUR: i64 = 60 * MINUTE;

    fn site() -> Aki {
        let text = std::fs::read_to_string(stack::repository().join("site/alerts.toml")).unwrap();
        let document: toml::Table = toml::from_str(&text).unwrap();
        document["aki"].clone().try_into().unwrap()
    }

    fn reading(source: &'static str, value: &str, back: i64) -> Result {
        Result {
            source,
            record: format!("{value}/{back}"),
            patient: "1".into(),
            codes: vec!["44J3.".into()],
            value: Some(value.into()),
            unit: Some("umol/L".into()),
            taken: Some(NOW - back),
            born: Some(0),
            settled: true,
            ..Result::default()
        }
    }

    /// Of the first of them.
    fn verdict(results: &[Result], linked: Option<Linked>) -> Verdict {
        let links = linked.map(|linked| (("stmarys".to_owned(), "1".to_owned()), linked)).into_iter().collect();
        let all = demanded(results, &links, &site());
        all.iter().find(|(result, _)| std::ptr::eq(*result, &results[0])).expect("judged").1
    }

    #[track_caller]
    fn check(now: &str, before: &[(&str, i64)], want: Verdict) {
        let others = before.iter().map(|(value, back)| reading("stmarys", value, *back));
        let all: Vec<Result> = std::iter::once(reading("stmarys", now, 0)).chain(others).collect();
        assert_eq!(verdict(&all, None), want, "{now} beside {before:?}");
    }

    #[test]
    fn at_and_beside_each_boundary() {
        check("150", &[("100", 3 * DAY)], Verdict::Yes);
        check("149.9", &[("100", 3 * DAY)], Verdict::No);
        check("126", &[("100", HOUR)], Verdict::No);
        check("126.1", &[("100", HOUR)], Verdict::Yes);
        check("127", &[("100", 48 * HOUR)], Verdict::Yes);
        check("127", &[("100", 48 * HOUR + 1)], Verdict::No);
        check("150", &[("100", 365 * DAY)], Verdict::Yes);
        check("150", &[("100", 366 * DAY)], Verdict::No);
        check("150", &[("100", 20 * DAY), ("110", 30 * DAY), ("90", 40 * DAY)], Verdict::Yes);
        check("150", &[("100", 20 * DAY), ("102", 30 * DAY)], Verdict::No);
        check("150", &[("50", 0), ("50", -HOUR)], Verdict::No);
        check("150", &[], Verdict::No);
        check("<150", &[("50", DAY)], Verdict::No);
        check(">150", &[("100", 3 * DAY)], Verdict::Yes);
        check("150", &[("<50", 3 * DAY)], Verdict::No);
        check("150", &[("60", 20 * DAY), ("60", 20 * DAY), ("110", 30 * DAY), ("110", 40 * DAY)], Verdict::No);
    }

    #[test]
    fn both_sources_of_one_person_count_and_a_number_that_two_claim_leaves_it_open() {
        let all = [reading("stmarys", "150", 0), reading("riverside", "100", 30 * DAY)];
        assert_eq!(verdict(&all, None), Verdict::No);
        assert_eq!(verdict(&all, Some(Linked::With("riverside".into(), "1".into()))), Verdict::Yes);
        assert_eq!(verdict(&all, Some(Linked::Open)), Verdict::Open);
    }

    #[test]
    fn what_this_cannot_read_leaves_it_open_where_it_matters() {
        let now = || reading("stmarys", "150", 0);
        let doubtful = |value: &str| Result { settled: false, ..reading("stmarys", value, DAY) };
        assert_eq!(verdict(&[now(), doubtful("100")], None), Verdict::Open);
        assert_eq!(verdict(&[now(), doubtful("149")], None), Verdict::No);
        let unread = Result { unit: Some("Banana".into()), ..reading("stmarys", "100", DAY) };
        assert_eq!(verdict(&[now(), unread], None), Verdict::Open);
        let undated = Result { taken: None, ..reading("stmarys", "100", DAY) };
        assert_eq!(verdict(&[now(), undated], None), Verdict::Open);
        let mg = Result { unit: Some("mg/dL".into()), ..reading("stmarys", "1.13", 3 * DAY) };
        assert_eq!(verdict(&[now(), mg], None), Verdict::Yes, "99.9 umol/L");
        let newborn = Result { born: Some(i32::try_from(NOW / DAY).unwrap() - 20), ..now() };
        assert_eq!(verdict(&[newborn, reading("stmarys", "50", DAY)], None), Verdict::No);
    }
}
