//! Weights: logarithms to base 2 in thousandths of a bit, by whole numbers alone.
//!
//! # Why
//! The logarithm of a processor or a C library is not the same everywhere. A pair that links on one machine and waits for a
//! clerk on another would move people when a site changes machines.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use rust_decimal::Decimal;
use std::fmt;

/// Thousandths of a bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub i32);

impl Weight {
    /// From decimal digits in bits, with three places at most.
    pub fn parse(text: &str) -> Option<Self> {
        let bits: Decimal = text.parse().ok()?;
        let thousandths = bits.checked_mul(Decimal::ONE_THOUSAND)?;
        thousandths
            .fract()
            .is_zero()
            .then(|| i32::try_from(thousandths.mantissa() / 10_i128.pow(thousandths.scale())).ok().map(Self))?
    }

    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// In bits: `12.345`.
impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let size = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03}", size / 1_000, size % 1_000)
    }
}

/// A share of one: parts of a thousand million, never none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    pub const WHOLE: u32 = 1_000_000_000;

    /// From decimal digits, above 0 and up to 1, with nine places at most.
    pub fn parse(text: &str) -> Option<Self> {
        let share: Decimal = text.parse().ok()?;
        let parts = share.checked_mul(Decimal::from(Self::WHOLE))?.normalize();
        let parts = (parts.scale() == 0).then(|| u32::try_from(parts.mantissa()).ok())??;
        (1..=Self::WHOLE).contains(&parts).then_some(Self(parts))
    }

    /// The nearest one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds that clamp sets")]
    pub fn near(share: f64) -> Self {
        Self((share * f64::from(Self::WHOLE)).round().clamp(1.0, f64::from(Self::WHOLE)) as u32)
    }

    /// What is left of the whole.
    pub fn rest(self) -> Self {
        Self((Self::WHOLE - self.0).max(1))
    }
}

/// As `parse` reads it.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0 / Self::WHOLE, self.0 % Self::WHOLE);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

const FRACTION_BITS: u32 = 24;

/// log₂(one ÷ other), rounded to the nearest thousandth.
pub fn log2(one: Share, other: Share) -> Weight {
    let quotient = (u128::from(one.0) << 96) / u128::from(other.0);
    let bits = 127 - quotient.leading_zeros();
    // From 1 to 2, with 62 places.
    let mut rest = if bits > 62 { quotient >> (bits - 62) } else { quotient << (62 - bits) };
    let mut log = i64::from(bits) - 96;
    for _ in 0..FRACTION_BITS {
        rest = (rest * rest) >> 62;
        log <<= 1;
        if rest >> 63 != 0 {
            rest >>= 1;
            log |= 1;
        }
    }
    let half = 1_i64 << (FRACTION_BITS - 1);
    Weight(i32::try_from((log * 1_000 + half) >> FRACTION_BITS).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn logarithms_are_those_of_a_table() {
        for (one, other, want) in [
            ("1", "1", "0.000"),
            ("1", "0.5", "1.000"),
            ("0.5", "1", "-1.000"),
            ("0.9", "0.001", "9.814"),
            ("0.001", "0.9", "-9.814"),
            ("1", "0.000000001", "29.897"),
            ("0.000000001", "1", "-29.897"),
            ("0.75", "0.25", "1.585"),
            ("0.05", "0.95", "-4.248"),
        ] {
            let share = |text| Share::parse(text).expect(text);
            assert_eq!(log2(share(one), share(other)).to_string(), want, "{one} / {other}");
        }
    }

    #[test]
    fn shares_and_weights_are_read_as_they_are_written() {
        for good in ["1", "0.000000001", "0.95", "0.5"] {
            assert_eq!(Share::parse(good).expect(good).to_string(), good);
        }
        for bad in ["0", "-0.1", "1.000000001", "2", "0.0000000001", "", "x"] {
            assert_eq!(Share::parse(bad), None, "{bad}");
        }
        for (text, want) in [("12", 12_000), ("-0.5", -500), ("9.966", 9_966), ("0", 0)] {
            assert_eq!(Weight::parse(text), Some(Weight(want)), "{text}");
        }
        assert_eq!(Weight::parse("1.2345"), None);
        assert_eq!(Weight(-500).to_string(), "-0.500");
    }

    proptest! {
        /// The processor's logarithm is the oracle: near enough on any machine.
        #[test]
        fn logarithms_are_near_those_of_the_processor(one in 1..=Share::WHOLE, other in 1..=Share::WHOLE) {
            let want = (f64::from(one) / f64::from(other)).log2() * 1_000.0;
            let got = f64::from(log2(Share(one), Share(other)).0);
            prop_assert!((got - want).abs() <= 0.501, "{} {}", got, want);
            prop_assert!(log2(Share(one), Share(other)).0.abs_diff(-log2(Share(other), Share(one)).0) <= 1);
        }
    }
}
