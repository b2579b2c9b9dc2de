//! NHS numbers: NHS Data Dictionary, "NHS NUMBER" (modulus 11 check digit).

use std::fmt;

/// Invariant: ten digits, the last checking the rest, and not one digit ten times. Made only by `parse`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NhsNumber([u8; 10]);

impl NhsNumber {
    /// Spaces and hyphens between digits are let through; anything else is not a number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut digits = [0_u8; 10];
        let mut count = 0;
        // A number below nothing is none, and a hyphen at an end is between no digits.
        if text.starts_with('-') || text.ends_with('-') {
            return None;
        }
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' if count < 10 => {
                    digits[count] = byte;
                    count += 1;
                }
                b' ' | b'-' => {}
                _ => return None,
            }
        }
        let repeated = digits.iter().all(|d| *d == digits[0]);
        (count == 10 && !repeated && check_digit(&digits) == Some(digits[9])).then_some(Self(digits))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The check digit of the first nine, as ASCII; `None` for 10, which no number has.
fn check_digit(digits: &[u8; 10]) -> Option<u8> {
    let sum: u32 = (2..=10).rev().zip(digits).map(|(weight, d)| weight * u32::from(d - b'0')).sum();
    match 11 - sum % 11 {
        11 => Some(b'0'),
        10 => None,
        check => u8::try_from(check).ok().map(|c| c + b'0'),
    }
}

/// Logs never name a patient.
impl fmt::Debug for NhsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NhsNumber(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_numbers_pass_and_wrong_ones_do_not() {
        for text in ["9434765919", "943 476 5919", "9000000009", "9000000025", "9912003888"] {
            assert!(NhsNumber::parse(text).is_some(), "{text}");
        }
        for text in ["9434765918", "943476591", "94347659190", "943476591X", "", "1111111111", "0000000000"] {
            assert!(NhsNumber::parse(text).is_none(), "{text}");
        }
    }
}
