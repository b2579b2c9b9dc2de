//! `bit(n)` ⇄ Debezium's `Bits`: the number that the bits are, little-endian, in as many bytes as it takes.

use super::wire::{self, DecodeError};

/// PostgreSQL's own limit of `bit(n)`.
pub const LENGTH_MAX: u32 = 83_886_080;

/// Appends `0101`. False when it is not `length` bits.
pub fn write(out: &mut Vec<u8>, text: &[u8], length: u32) -> bool {
    if text.len() != length as usize || length > LENGTH_MAX {
        return false;
    }
    wire::long(out, text.len().div_ceil(8) as i64);
    for bits in text.rchunks(8) {
        let mut byte = 0;
        for bit in bits {
            byte = byte << 1
                | match bit {
                    b'0' => 0,
                    b'1' => 1,
                    _ => return false,
                };
        }
        out.push(byte);
    }
    true
}

/// The bits as the server prints them. Fewer than `length` of a log whose writer leaves out leading zeros.
pub fn text_of(bytes: &[u8], length: u32) -> Result<String, DecodeError> {
    if bytes.len() > LENGTH_MAX as usize / 8 {
        return Err(DecodeError::Malformed("bits"));
    }
    let length = (length as usize).min(bytes.len() * 8);
    let bit = |at: usize| if bytes[at / 8] >> (at % 8) & 1 == 1 { '1' } else { '0' };
    Ok((0..length).rev().map(bit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_bit_is_the_lowest_of_the_first_byte() {
        let mut out = Vec::new();
        assert!(write(&mut out, b"110000000001", 12));
        assert_eq!(out, [4, 0b0000_0001, 0b0000_1100]);
        for (text, length) in [("0101", 5), ("01x1", 4)] {
            assert!(!write(&mut Vec::new(), text.as_bytes(), length), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bits_come_back(text in "[01]{1,70}") {
            let mut out = Vec::new();
            let length = u32::try_from(text.len()).unwrap();
            prop_assert!(write(&mut out, text.as_bytes(), length));
            let bytes = wire::Reader::new(&out).bytes().unwrap();
            prop_assert_eq!(text_of(bytes, length).unwrap(), text);
        }
    }
}
