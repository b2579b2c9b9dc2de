//! PostgreSQL's decimal text ⇄ unscaled big-endian two's complement, exact at any size.

use super::wire::{self, DecodeError};

/// PostgreSQL's own limits: 131,072 digits before the point and 16,383 after.
pub const DIGITS_MAX: usize = 131_072 + 16_383;
/// So many digits always fit into `i128`.
const DIGITS_OF_I128: usize = 38;
const LIMB_BASE: u64 = 1_000_000_000;
const LIMB_DIGITS: usize = 9;

/// The parts of `-12.340`: whether negative, the digits before and after the point.
struct Digits<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
}

fn split(text: &[u8]) -> Option<Digits<'_>> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let point = text.iter().position(|b| *b == b'.');
    let (whole, fraction) = point.map_or((text, &[][..]), |at| (&text[..at], &text[at + 1..]));
    let digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    let some = !whole.is_empty() && (point.is_none() || !fraction.is_empty());
    (digits && some && whole.len() + fraction.len() <= DIGITS_MAX).then_some(Digits { negative, whole, fraction })
}

/// Appends the number as Avro `bytes` with the column's scale. False, and nothing appended, when the text is no
/// number (`NaN`, `Infinity`) or has more digits after the point than the scale.
pub fn write_scaled(out: &mut Vec<u8>, text: &[u8], scale: u16) -> bool {
    let Some(digits) = split(text).filter(|d| d.fraction.len() <= usize::from(scale)) else { return false };
    write_unscaled(out, &digits, usize::from(scale) - digits.fraction.len());
    true
}

/// Appends the number as `VariableScaleDecimal`: its own scale, and the unscaled bytes.
pub fn write_variable(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let Some(digits) = split(text) else { return false };
    wire::long(out, digits.fraction.len() as i64);
    write_unscaled(out, &digits, 0);
    true
}

/// Appends the unscaled number itself.
pub fn write_integer(out: &mut Vec<u8>, unscaled: i128) {
    wire::bytes(out, shortest(&unscaled.to_be_bytes()));
}

fn write_unscaled(out: &mut Vec<u8>, digits: &Digits<'_>, zeros: usize) {
    let all = digits.whole.iter().chain(digits.fraction).copied().chain(std::iter::repeat_n(b'0', zeros));
    if digits.whole.len() + digits.fraction.len() + zeros <= DIGITS_OF_I128 {
        let magnitude = all.fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        write_integer(out, if digits.negative { -magnitude } else { magnitude });
    } else {
        wire::bytes(out, shortest(&large(all, digits.negative)));
    }
}

/// Two's complement without bytes that only repeat the sign.
fn shortest(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, second, ..] = rest {
        let repeats_sign = (*first == 0 && second & 0x80 == 0) || (*first == 0xFF && second & 0x80 != 0);
        if !repeats_sign {
            break;
        }
        rest = &rest[1..];
    }
    rest
}

/// Big-endian two's complement of digits beyond `i128`.
fn large(digits: impl Iterator<Item = u8>, negative: bool) -> Vec<u8> {
    // Little-endian limbs of 32 bits.
    let mut limbs: Vec<u32> = vec![0];
    for digit in digits {
        let mut carry = u64::from(digit - b'0');
        for limb in &mut limbs {
            let value = u64::from(*limb) * 10 + carry;
            *limb = value as u32;
            carry = value >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    // Room for the sign.
    limbs.push(0);
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            let (value, over) = (!*limb).overflowing_add(u32::from(carry));
            *limb = value;
            carry = over;
        }
    }
    limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

/// The number as PostgreSQL prints it.
pub fn text_of(unscaled: &[u8], scale: u32) -> Result<String, DecodeError> {
    let scale = usize::try_from(scale).map_err(|_| DecodeError::Malformed("scale"))?;
    if unscaled.is_empty() || unscaled.len() > DIGITS_MAX / 2 || scale > DIGITS_MAX {
        return Err(DecodeError::Malformed("decimal"));
    }
    let negative = unscaled[0] & 0x80 != 0;
    let mut digits = if unscaled.len() <= 16 { small_digits(unscaled, negative) } else { large_digits(unscaled) };
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    if negative {
        digits.insert(0, '-');
    }
    Ok(digits)
}

fn small_digits(unscaled: &[u8], negative: bool) -> String {
    let mut bytes = [if negative { 0xFF } else { 0 }; 16];
    bytes[16 - unscaled.len()..].copy_from_slice(unscaled);
    i128::from_be_bytes(bytes).unsigned_abs().to_string()
}

fn large_digits(unscaled: &[u8]) -> String {
    let negative = unscaled[0] & 0x80 != 0;
    // The magnitude, big-endian.
    let mut magnitude: Vec<u8> = unscaled.iter().map(|byte| if negative { !byte } else { *byte }).collect();
    if negative {
        for byte in magnitude.iter_mut().rev() {
            let (value, over) = byte.overflowing_add(1);
            *byte = value;
            if !over {
                break;
            }
        }
    }
    let mut groups: Vec<u32> = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u64;
        for byte in &mut magnitude {
            let value = rest << 8 | u64::from(*byte);
            *byte = (value / LIMB_BASE) as u8;
            rest = value % LIMB_BASE;
        }
        groups.push(rest as u32);
    }
    let mut digits = groups.pop().unwrap_or(0).to_string();
    for group in groups.iter().rev() {
        digits.push_str(&format!("{group:0LIMB_DIGITS$}"));
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn through(text: &str, scale: u16) -> Option<String> {
        let mut out = Vec::new();
        if !write_scaled(&mut out, text.as_bytes(), scale) {
            assert!(out.is_empty());
            return None;
        }
        let mut reader = wire::Reader::new(&out);
        text_of(reader.bytes().expect("bytes"), u32::from(scale)).ok()
    }

    #[test]
    fn decimals_are_exact() {
        for (text, scale, want) in [
            ("6.700", 3, "6.700"),
            ("6.7", 3, "6.700"),
            ("-0.001", 3, "-0.001"),
            ("0", 0, "0"),
            ("-129", 0, "-129"),
            ("128", 0, "128"),
            ("9999999999999999.999", 3, "9999999999999999.999"),
        ] {
            assert_eq!(through(text, scale).as_deref(), Some(want), "{text}");
        }
        for (text, scale) in [("NaN", 3), ("Infinity", 3), ("-Infinity", 3), ("", 0), ("1.", 1), ("1.23", 1), ("-", 0)]
        {
            assert_eq!(through(text, scale), None, "{text}");
        }
    }

    #[test]
    fn bytes_are_the_shortest_twos_complement() {
        for (text, want) in [("127", &[2, 0x7F][..]), ("128", &[4, 0, 0x80]), ("-128", &[2, 0x80]), ("0", &[2, 0])] {
            let mut out = Vec::new();
            assert!(write_scaled(&mut out, text.as_bytes(), 0));
            assert_eq!(out, want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_decimal_comes_back(negative: bool, whole in "[1-9][0-9]{0,80}", fraction in "[0-9]{0,30}") {
            let sign = if negative { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let text = format!("{sign}{whole}{point}{fraction}");
            let mut out = Vec::new();
            prop_assert!(write_variable(&mut out, text.as_bytes()));
            let mut reader = wire::Reader::new(&out);
            let scale = u32::try_from(reader.long().unwrap()).unwrap();
            let back = text_of(reader.bytes().unwrap(), scale).unwrap();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn any_bytes_give_a_text_or_an_error(unscaled: Vec<u8>, scale in 0_u32..100) {
            let _ = text_of(&unscaled, scale);
        }
    }
}
