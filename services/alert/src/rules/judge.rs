//! Whether a number, with its comparator, lies beyond a bound.

use crate::limits::{Bound, Inequality};
use event::Comparator;
use rust_decimal::Decimal;

/// How sure it is. `>6.0` is not beyond 6.5 for sure, but it cannot be excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judged {
    No,
    Possible,
    Certain,
}

/// Judged by all the numbers that the reading can mean: beyond the bound are all of them, some, or none.
pub fn judge(comparator: Option<Comparator>, number: Decimal, bound: Bound) -> Judged {
    use Comparator as C;
    use Inequality as I;
    let limit = bound.value;
    let some = |possible: bool| if possible { Judged::Possible } else { Judged::No };
    let all = |certain: bool| if certain { Judged::Certain } else { Judged::Possible };
    match (comparator, bound.inequality) {
        (None, I::Less) => exactly(number < limit),
        (None, I::LessOrEqual) => exactly(number <= limit),
        (None, I::GreaterOrEqual) => exactly(number >= limit),
        (None, I::Greater) => exactly(number > limit),
        // Open towards the bound's own side: some of it is always beyond.
        (Some(C::Less), I::Less | I::LessOrEqual) | (Some(C::LessOrEqual), I::LessOrEqual) => all(number <= limit),
        (Some(C::LessOrEqual), I::Less) => all(number < limit),
        (Some(C::Greater), I::Greater | I::GreaterOrEqual) | (Some(C::GreaterOrEqual), I::GreaterOrEqual) => {
            all(number >= limit)
        }
        (Some(C::GreaterOrEqual), I::Greater) => all(number > limit),
        // Open away from it: beyond only as far as the number itself reaches.
        (Some(C::Less), I::Greater | I::GreaterOrEqual) | (Some(C::LessOrEqual), I::Greater) => some(number > limit),
        (Some(C::LessOrEqual), I::GreaterOrEqual) => some(number >= limit),
        (Some(C::Greater), I::Less | I::LessOrEqual) | (Some(C::GreaterOrEqual), I::Less) => some(number < limit),
        (Some(C::GreaterOrEqual), I::LessOrEqual) => some(number <= limit),
    }
}

const fn exactly(beyond: bool) -> Judged {
    if beyond { Judged::Certain } else { Judged::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reading: &str, bound: &str, want: Judged) {
        let split = |text: &str| {
            let digits = text.trim_start_matches(['<', '>', '=']);
            (text[..text.len() - digits.len()].to_owned(), digits.parse::<Decimal>().expect("a number"))
        };
        let (comparator, number) = split(reading);
        let (inequality, value) = split(bound);
        let inequality = match inequality.as_str() {
            "<" => Inequality::Less,
            "<=" => Inequality::LessOrEqual,
            ">=" => Inequality::GreaterOrEqual,
            _ => Inequality::Greater,
        };
        let judged = judge(Comparator::parse(&comparator), number, Bound { inequality, value });
        assert_eq!(judged, want, "{reading} against {bound}");
    }

    #[test]
    fn plain_numbers_at_the_boundary() {
        check("6.5", ">=6.5", Judged::Certain);
        check("6.50", ">=6.5", Judged::Certain);
        check("6.4", ">=6.5", Judged::No);
        check("6.499999", ">=6.5", Judged::No);
        check("6.5", ">6.5", Judged::No);
        check("2.5", "<=2.5", Judged::Certain);
        check("2.5", "<2.5", Judged::No);
        check("2.6", "<=2.5", Judged::No);
    }

    #[test]
    fn comparators_count_by_what_they_can_mean() {
        check(">6.0", ">=6.5", Judged::Possible);
        check(">6.5", ">=6.5", Judged::Certain);
        check(">7.0", ">=6.5", Judged::Certain);
        check(">=6.5", ">=6.5", Judged::Certain);
        check(">=6.5", ">6.5", Judged::Possible);
        check("<6.5", ">=6.5", Judged::No);
        check("<=6.5", ">=6.5", Judged::Possible);
        check("<7.0", ">=6.5", Judged::Possible);
        check("<6.0", ">=6.5", Judged::No);
        check("<2.0", "<=2.5", Judged::Certain);
        check("<2.5", "<2.5", Judged::Certain);
        check("<=2.5", "<2.5", Judged::Possible);
        check("<3.0", "<=2.5", Judged::Possible);
        check(">2.5", "<=2.5", Judged::No);
        check(">=2.5", "<=2.5", Judged::Possible);
        check(">2.0", "<=2.5", Judged::Possible);
        check(">3.0", "<=2.5", Judged::No);
    }

    /// Against the definition, over a grid that has every number and every gap between them.
    #[test]
    fn it_is_all_some_or_none_of_what_the_reading_can_mean() {
        let holds = |sign: &str, x: i64, y: i64| match sign {
            "<" => x < y,
            "<=" => x <= y,
            ">=" => x >= y,
            ">" => x > y,
            _ => x == y,
        };
        for sign in ["", "<", "<=", ">=", ">"] {
            for inequality in ["<", "<=", ">=", ">"] {
                for (number, limit) in [(4, 6), (6, 6), (8, 6)] {
                    let meant: Vec<bool> =
                        (-40..=60).filter(|x| holds(sign, *x, number)).map(|x| holds(inequality, x, limit)).collect();
                    let want = match (meant.iter().any(|beyond| *beyond), meant.iter().all(|beyond| *beyond)) {
                        (true, true) => Judged::Certain,
                        (true, false) => Judged::Possible,
                        (false, _) => Judged::No,
                    };
                    check(&format!("{sign}{number}"), &format!("{inequality}{limit}"), want);
                }
            }
        }
    }
}
