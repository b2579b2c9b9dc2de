//! The NHS England algorithm on numbers alone: which stage a creatinine meets beside earlier ones, and by which of them.
//!
//! # Why
//! Laboratories that follow one document compute different stages, because it leaves boundaries open. Each of them is
//! fixed here, in `docs/alerts.md` and in a table of tests: elapsed whole days count (7 days and 23 hours are 7), a ratio
//! of exactly 1.5, 2 or 3 reaches its stage, a creatinine of exactly 354 and a rise of exactly 26 do not.

use super::site::Aki;
use event::Micros;
use rust_decimal::Decimal;

const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;

/// A creatinine, in the analyte's canonical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub at: Micros,
    /// Known to the moment. Otherwise no more than the day, whose first moment `at` is.
    pub exact: bool,
    pub value: Decimal,
    /// Which of the results it is.
    pub nth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    One,
    Two,
    Three,
}

impl Stage {
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// By what a stage is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// So many times the lowest of the last days.
    Lowest { baseline: Decimal, of: usize },
    /// So many times the median of the year before those days.
    Median { baseline: Decimal, of: Vec<usize> },
    /// So much over the lowest of the last hours.
    Rise { lowest: Decimal, of: usize },
}

impl By {
    pub const fn baseline(&self) -> Decimal {
        match self {
            Self::Lowest { baseline, .. } | Self::Median { baseline, .. } => *baseline,
            Self::Rise { lowest, .. } => *lowest,
        }
    }

    /// The results that it was worked out from.
    pub fn of(&self) -> &[usize] {
        match self {
            Self::Lowest { of, .. } | Self::Rise { of, .. } => std::slice::from_ref(of),
            Self::Median { of, .. } => of,
        }
    }
}

/// The stage that the creatinine meets, if any. `beyond`: it is over the value that makes a rise stage 3 by itself.
pub fn stage(now: &Sample, beyond: bool, others: &[Sample], site: &Aki) -> Option<(Stage, By)> {
    let earlier = earlier(now, others);
    let within =
        |days: std::ops::RangeInclusive<i64>| earlier.iter().filter(move |it| days.contains(&days_before(now, it)));
    let lowest = within(0..=site.lowest_days).min_by_key(|it| (it.value, it.at));
    let older: Vec<&Sample> = within(site.lowest_days + 1..=site.median_days).collect();
    let by_ratio = [lowest.map(|it| By::Lowest { baseline: it.value, of: it.nth }), median(&older)];
    // The higher ratio is that to the lower baseline; of equal ones the nearer.
    if let Some(by) = by_ratio.into_iter().flatten().min_by_key(By::baseline) {
        let reaches = |ratio: Decimal| by.baseline().checked_mul(ratio).is_some_and(|least| now.value >= least);
        if reaches(site.ratio_1) {
            let stage = match (beyond || reaches(site.ratio_3), reaches(site.ratio_2)) {
                (true, _) => Stage::Three,
                (false, true) => Stage::Two,
                (false, false) => Stage::One,
            };
            return Some((stage, by));
        }
    }
    let reach = site.rise_hours.saturating_mul(HOUR);
    let near = earlier.iter().filter(|it| now.exact && it.exact && now.at.saturating_sub(it.at) <= reach);
    let lowest = near.min_by_key(|it| (it.value, it.at))?;
    let rise = now.value.checked_sub(lowest.value)?;
    (rise > site.rise).then_some((Stage::One, By::Rise { lowest: lowest.value, of: lowest.nth }))
}

/// The mean of the two middle ones, where they are even in number.
fn median(of: &[&Sample]) -> Option<By> {
    let mut values: Vec<Decimal> = of.iter().map(|it| it.value).collect();
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let baseline = if values.len() % 2 == 1 {
        upper
    } else {
        upper.checked_add(*values.get(values.len() / 2 - 1)?)?.checked_div(Decimal::TWO)?
    };
    Some(By::Median { baseline, of: of.iter().map(|it| it.nth).collect() })
}

/// Those taken before it, each specimen once, the earliest first.
fn earlier(now: &Sample, others: &[Sample]) -> Vec<Sample> {
    let mut all: Vec<Sample> =
        others.iter().filter(|it| is_earlier(now, it) && !is_one_specimen(now, it)).copied().collect();
    // Of one specimen the one with the exact time is kept, then the lowest value.
    all.sort_by_key(|it| (!it.exact, it.value, it.at, it.nth));
    let mut kept: Vec<Sample> = Vec::with_capacity(all.len());
    for sample in all {
        if !kept.iter().any(|known| is_one_specimen(known, &sample)) {
            kept.push(sample);
        }
    }
    kept.sort_by_key(|it| (it.at, it.value, it.nth));
    kept
}

fn is_earlier(now: &Sample, it: &Sample) -> bool {
    if now.exact && it.exact { it.at < now.at } else { date(it) <= date(now) }
}

/// Told by two sources, or twice by one: taken at the very same moment; where only the day is known, on the same day with
/// the same value.
fn is_one_specimen(one: &Sample, other: &Sample) -> bool {
    if one.exact && other.exact { one.at == other.at } else { date(one) == date(other) && one.value == other.value }
}

fn days_before(now: &Sample, it: &Sample) -> i64 {
    if now.exact && it.exact { now.at.saturating_sub(it.at) / DAY } else { date(now) - date(it) }
}

/// A day's first moment is an hour before midnight UTC while clocks are put forward.
pub fn date(sample: &Sample) -> i64 {
    sample.at.saturating_add(HOUR).div_euclid(DAY)
}
