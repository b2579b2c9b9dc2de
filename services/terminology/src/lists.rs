//! Lists of growing numbers, as differences, with an entry every 32 from which to read on: ancestors and postings.
//!
//! A list: how many (varint); for every full 32 behind the first 32 an entry of eight bytes, the number that begins the
//! block and where the block's differences begin; then the first number and the differences (varints).

/// Numbers between two entries.
const BLOCK: usize = 32;
const ENTRY_BYTES: usize = 8;

/// Writes lists behind each other.
pub struct Writer {
    offsets: Vec<u8>,
    blob: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self { offsets: 0_u32.to_le_bytes().to_vec(), blob: Vec::new() }
    }
}

impl Writer {
    /// One list more. The numbers grow, each more than the one before.
    pub fn push(&mut self, numbers: &[u32]) {
        debug_assert!(numbers.is_sorted_by(|a, b| a < b), "a list grows");
        put(&mut self.blob, u32::try_from(numbers.len()).unwrap_or(u32::MAX));
        let entries_at = self.blob.len();
        let blocks = numbers.len().saturating_sub(1) / BLOCK;
        self.blob.resize(entries_at + blocks * ENTRY_BYTES, 0);
        let data_at = self.blob.len();
        let mut before = 0;
        for (nth, number) in numbers.iter().enumerate() {
            if nth > 0 && nth % BLOCK == 0 {
                let at = entries_at + (nth / BLOCK - 1) * ENTRY_BYTES;
                let data = u32::try_from(self.blob.len() - data_at).unwrap_or(u32::MAX);
                self.blob[at..at + 4].copy_from_slice(&number.to_le_bytes());
                self.blob[at + 4..at + ENTRY_BYTES].copy_from_slice(&data.to_le_bytes());
            } else {
                put(&mut self.blob, number - before);
            }
            before = *number;
        }
        let end = u32::try_from(self.blob.len()).unwrap_or(u32::MAX);
        self.offsets.extend_from_slice(&end.to_le_bytes());
    }

    /// What was written so far.
    pub fn lists(&self) -> Lists<'_> {
        Lists { offsets: &self.offsets, blob: &self.blob }
    }

    /// More than can be addressed?
    pub const fn is_full(&self) -> bool {
        self.blob.len() >= u32::MAX as usize
    }

    pub fn finish(self) -> (Vec<u8>, Vec<u8>) {
        (self.offsets, self.blob)
    }
}

fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front; 0 where there is none.
fn take(from: &mut &[u8]) -> u32 {
    let (mut number, mut shift) = (0, 0);
    while let Some((byte, rest)) = from.split_first() {
        *from = rest;
        number |= u32::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Lists as they were written.
#[derive(Clone, Copy)]
pub struct Lists<'a> {
    pub offsets: &'a [u8],
    pub blob: &'a [u8],
}

impl<'a> Lists<'a> {
    pub fn get(self, nth: usize) -> List<'a> {
        let range = || {
            let (from, to) = (word(self.offsets, nth * 4)?, word(self.offsets, nth * 4 + 4)?);
            self.blob.get(from as usize..to as usize)
        };
        let mut rest = range().unwrap_or_default();
        let count = take(&mut rest) as usize;
        let entries = (count.saturating_sub(1) / BLOCK * ENTRY_BYTES).min(rest.len());
        let (entries, data) = rest.split_at(entries);
        List { count, entries, data }
    }
}

/// One list.
#[derive(Clone, Copy)]
pub struct List<'a> {
    count: usize,
    entries: &'a [u8],
    data: &'a [u8],
}

impl<'a> List<'a> {
    pub const fn len(self) -> usize {
        self.count
    }

    fn entry(self, nth: usize) -> (u32, usize) {
        let at = nth * ENTRY_BYTES;
        (word(self.entries, at).unwrap_or(u32::MAX), word(self.entries, at + 4).unwrap_or(u32::MAX) as usize)
    }

    /// Is it one of them?
    pub fn contains(self, wanted: u32) -> bool {
        if self.count == 0 {
            return false;
        }
        let (mut low, mut high) = (0, self.entries.len() / ENTRY_BYTES);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.entry(middle).0 <= wanted { low = middle + 1 } else { high = middle }
        }
        let (mut number, mut data) = if low == 0 {
            let mut data = self.data;
            (take(&mut data), data)
        } else {
            let (number, at) = self.entry(low - 1);
            (number, self.data.get(at..).unwrap_or_default())
        };
        let left = (self.count - low * BLOCK).min(BLOCK);
        for _ in 1..left {
            if number >= wanted {
                break;
            }
            number += take(&mut data);
        }
        number == wanted
    }

    pub fn iter(self) -> impl Iterator<Item = u32> + use<'a> {
        let (mut number, mut data) = (0_u32, self.data);
        (0..self.count).map(move |nth| {
            if nth > 0 && nth % BLOCK == 0 {
                number = self.entry(nth / BLOCK - 1).0;
            } else {
                number = number.wrapping_add(take(&mut data));
            }
            number
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn every_list_reads_back(lists in prop::collection::vec(prop::collection::btree_set(0..5_000_u32, 0..200), 0..20)) {
            let mut writer = Writer::default();
            for list in &lists {
                writer.push(&list.iter().copied().collect::<Vec<_>>());
            }
            let (offsets, blob) = writer.finish();
            let read = Lists { offsets: &offsets, blob: &blob };
            for (nth, list) in lists.iter().enumerate() {
                prop_assert_eq!(&read.get(nth).iter().collect::<BTreeSet<_>>(), list);
                prop_assert_eq!(read.get(nth).len(), list.len());
                for number in 0..5_001 {
                    prop_assert_eq!(read.get(nth).contains(number), list.contains(&number), "{}", number);
                }
            }
        }
    }

    #[test]
    fn at_and_beside_each_block() {
        for count in [0, 1, 31, 32, 33, 63, 64, 65, 96, 97] {
            let numbers: Vec<u32> =
                (0..count).map(|n| n * 1_000_003 % 4_000_000_000).collect::<BTreeSet<_>>().into_iter().collect();
            let mut writer = Writer::default();
            writer.push(&numbers);
            let list = writer.lists().get(0);
            assert_eq!(list.iter().collect::<Vec<_>>(), numbers);
            for number in &numbers {
                assert!(list.contains(*number));
                assert!(!list.contains(number + 1));
            }
            assert!(!list.contains(u32::MAX));
        }
        assert!(Writer::default().lists().get(7).len() == 0);
    }
}
