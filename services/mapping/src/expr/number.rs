//! Arithmetic without rounding: what 28 digits do not hold is a failure and not nearly right.

use super::Failure;
use rust_decimal::{Decimal, RoundingStrategy};

const SCALE_MAX: u32 = 28;

fn of(mantissa: Option<i128>, scale: u32) -> Option<Decimal> {
    Decimal::try_from_i128_with_scale(mantissa?, scale).ok()
}

/// As written first, for 1.50 + 1 is 2.50; where that is too long, without zeros that say nothing.
fn exact(a: Decimal, b: Decimal, work: impl Fn(Decimal, Decimal) -> Option<Decimal>) -> Result<Decimal, Failure> {
    work(a, b).or_else(|| work(a.normalize(), b.normalize())).ok_or(Failure::TooManyDigits)
}

pub fn add(a: Decimal, b: Decimal) -> Result<Decimal, Failure> {
    exact(a, b, |a, b| {
        let scale = a.scale().max(b.scale());
        let aligned = |it: Decimal| 10_i128.checked_pow(scale - it.scale())?.checked_mul(it.mantissa());
        of(aligned(a)?.checked_add(aligned(b)?), scale)
    })
}

pub fn multiply(a: Decimal, b: Decimal) -> Result<Decimal, Failure> {
    exact(a, b, |a, b| {
        let scale = Some(a.scale() + b.scale()).filter(|scale| *scale <= SCALE_MAX)?;
        of(a.mantissa().checked_mul(b.mantissa()), scale)
    })
}

/// Only where nothing is left over.
pub fn divide(a: Decimal, b: Decimal) -> Result<Decimal, Failure> {
    if b.is_zero() {
        return Err(Failure::DividedByZero);
    }
    let quotient = a.checked_div(b).ok_or(Failure::TooManyDigits)?.normalize();
    if multiply(quotient, b) == Ok(a) { Ok(quotient) } else { Err(Failure::NotExact) }
}

/// To so many decimal places; a half goes away from zero.
pub fn divide_to(a: Decimal, b: Decimal, places: Decimal) -> Result<Decimal, Failure> {
    if b.is_zero() {
        return Err(Failure::DividedByZero);
    }
    round(a.checked_div(b).ok_or(Failure::TooManyDigits)?, places)
}

pub fn round(number: Decimal, places: Decimal) -> Result<Decimal, Failure> {
    let places = whole(places).and_then(|it| u32::try_from(it).ok()).filter(|it| *it <= SCALE_MAX);
    Ok(number.round_dp_with_strategy(places.ok_or(Failure::OutOfRange)?, RoundingStrategy::MidpointAwayFromZero))
}

/// A whole number that counts something.
pub fn whole(number: Decimal) -> Option<usize> {
    let number = number.normalize();
    (number.scale() == 0).then(|| usize::try_from(number.mantissa()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    fn n(text: &str) -> Decimal {
        Decimal::from_str_exact(text).expect("a number")
    }

    #[track_caller]
    fn check(got: Result<Decimal, Failure>, want: &str) {
        assert_eq!(got.map_or_else(|failure| failure.to_string(), |number| number.to_string()), want);
    }

    #[test]
    fn nothing_is_rounded_unless_somebody_says_so() {
        check(add(n("0.1"), n("0.2")), "0.3");
        check(add(n("1.50"), n("1")), "2.50");
        check(add(n("0"), n("1.50")), "1.50");
        check(add(n("999002881000000100"), n("1")), "999002881000000101");
        check(multiply(n("1.50"), n("2")), "3.00");
        check(multiply(n("0.0000000000000001"), n("0.0000000000001")), "has too many digits");
        check(add(n("79228162514264337593543950335"), n("0.1")), "has too many digits");
        check(add(n("79228162514264337593543950335"), n("0.0")), "79228162514264337593543950335");
        check(divide(n("10"), n("4")), "2.5");
        check(divide(n("10"), n("3")), "leaves a remainder: say to how many places with divide()");
        check(divide(n("1"), n("0.00")), "divides by zero");
        check(divide_to(n("10"), n("3"), n("2")), "3.33");
        check(divide_to(n("2"), n("3"), n("0")), "1");
        check(divide_to(n("-1"), n("2"), n("0")), "-1");
        check(round(n("2.345"), n("2")), "2.35");
        check(round(n("2.3"), n("5")), "2.3");
        check(round(n("2.3"), n("0.5")), "is out of range");
        check(round(n("2.3"), n("29")), "is out of range");
    }

    proptest! {
        #[test]
        fn sums_and_products_are_those_of_whole_numbers(
            a in -1_000_000_000_i64..1_000_000_000, b in -1_000_000_000_i64..1_000_000_000, s in 0_u32..9, t in 0_u32..9,
        ) {
            let at_nine = |number: i64, scale: u32| i128::from(number) * 10_i128.pow(9 - scale);
            let sum = add(Decimal::new(a, s), Decimal::new(b, t)).expect("exact");
            prop_assert_eq!(sum, Decimal::from_i128_with_scale(at_nine(a, s) + at_nine(b, t), 9));
            let product = multiply(Decimal::new(a, s), Decimal::new(b, t)).expect("exact");
            prop_assert_eq!(product, Decimal::from_i128_with_scale(i128::from(a) * i128::from(b), s + t));
        }
    }
}
