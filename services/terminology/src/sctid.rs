//! SNOMED CT identifiers: 6 to 18 digits, the last checking the rest, the two before it telling what is identified.

const DIGITS_MIN: usize = 6;
const DIGITS_MAX: usize = 18;

/// Verhoeff's tables: the dihedral group of the pentagon, and the permutation by place.
const PRODUCT: [[u8; 10]; 10] = products();
const PERMUTED: [[u8; 10]; 8] = permutations();
const INVERSE: [u8; 10] = [0, 4, 3, 2, 1, 5, 6, 7, 8, 9];

const fn products() -> [[u8; 10]; 10] {
    let mut all = [[0; 10]; 10];
    let mut a = 0;
    while a < 10 {
        let mut b = 0;
        while b < 10 {
            // Rotations 0 to 4, reflections 5 to 9.
            let product = match (a < 5, b < 5) {
                (true, true) => (a + b) % 5,
                (true, false) => 5 + (a + b) % 5,
                (false, true) => 5 + (a - b) % 5,
                (false, false) => (5 + a - b) % 5,
            };
            all[a][b] = product as u8;
            b += 1;
        }
        a += 1;
    }
    all
}

const fn permutations() -> [[u8; 10]; 8] {
    const ONCE: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut all = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]; 8];
    let mut place = 1;
    while place < 8 {
        let mut digit = 0;
        while digit < 10 {
            all[place][digit] = ONCE[all[place - 1][digit] as usize];
            digit += 1;
        }
        place += 1;
    }
    all
}

/// What an identifier names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    Concept,
    Description,
    Relationship,
}

impl Component {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Concept => "a concept",
            Self::Description => "a description",
            Self::Relationship => "a relationship",
        }
    }
}

/// An identifier with a right check digit, of whatever component. No leading zero, no sign, no space: those are other texts.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.as_bytes();
    if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) || digits[0] == b'0' {
        return None;
    }
    let (mut check, mut value) = (0_u8, 0_u64);
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    for (place, digit) in digits.iter().rev().enumerate() {
        let permuted = PERMUTED[place % 8][usize::from(digit - b'0')];
        check = PRODUCT[usize::from(check)][usize::from(permuted)];
    }
    (check == 0).then_some(value)
}

/// What the two digits before the check digit say.
pub const fn component(id: u64) -> Option<Component> {
    match id / 10 % 100 {
        0 | 10 => Some(Component::Concept),
        1 | 11 => Some(Component::Description),
        2 | 12 => Some(Component::Relationship),
        _ => None,
    }
}

/// The identifier of such a component, or what is wrong with the text.
pub fn parse_as(text: &str, wanted: Component) -> Result<u64, String> {
    let Some(id) = parse(text) else {
        return Err(format!(
            "`{}` is no SNOMED CT identifier: 6 to 18 digits with a right check digit",
            crate::mistake::short(text)
        ));
    };
    if component(id) == Some(wanted) {
        Ok(id)
    } else {
        Err(format!("`{id}` is not the identifier of {}", wanted.as_str()))
    }
}

/// Is it the identifier of a concept?
pub fn is_concept(text: &str) -> bool {
    parse_as(text, Component::Concept).is_ok()
}

/// With its check digit behind it.
pub fn with_check(stem: u64) -> u64 {
    let mut check = 0;
    for (place, digit) in stem.to_string().bytes().rev().enumerate() {
        let permuted = PERMUTED[(place + 1) % 8][usize::from(digit - b'0')];
        check = PRODUCT[usize::from(check)][usize::from(permuted)];
    }
    stem * 10 + u64::from(INVERSE[usize::from(check)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_digit_and_a_component() {
        for (text, want) in [
            ("363732003", Some(Component::Concept)),
            ("116680003", Some(Component::Concept)),
            ("999002881000000100", Some(Component::Concept)),
            ("900000000000003001", Some(Component::Concept)),
            ("1000731000000107", Some(Component::Concept)),
        ] {
            assert_eq!(parse(text).and_then(component), want, "{text}");
        }
        // One digit beside, two swapped, too short, too long, signs and spaces.
        for text in
            ["363732004", "363723003", "36373", "0363732003", "3637320030000000000", "+63732003", " 363732003", ""]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse_as("363732003", Component::Description).is_err());
    }

    #[test]
    fn every_made_identifier_is_one() {
        for item in 100..2_000_u64 {
            let id = with_check(item * 100 + 10);
            assert_eq!(parse(&id.to_string()), Some(id));
            assert_eq!(component(id), Some(Component::Concept));
        }
    }
}
