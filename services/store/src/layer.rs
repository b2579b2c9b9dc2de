//! Changes that are not on the disk yet.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound::{Excluded, Included, Unbounded},
};

/// A layer that cannot go down is not let grow beyond this.
pub const LAYER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What an entry costs besides its key and value.
const ENTRY_BYTES: usize = 96;

/// None: it is not there, whatever lies beneath.
type Value = Option<Box<[u8]>>;

#[derive(Default)]
pub struct Layer {
    entries: BTreeMap<Box<[u8]>, Value>,
    bytes: usize,
}

impl Layer {
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.entries.get(key).map(Option::as_deref)
    }

    pub fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let size = value.as_ref().map_or(0, Vec::len);
        match self.entries.get_mut(key) {
            Some(known) => {
                self.bytes = self.bytes + size - known.as_ref().map_or(0, |known| known.len());
                *known = value.map(Vec::into_boxed_slice);
            }
            None => {
                self.bytes += key.len() + size + ENTRY_BYTES;
                self.entries.insert(key.into(), value.map(Vec::into_boxed_slice));
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries.iter().map(|(key, value)| (&**key, value.as_deref()))
    }

    /// Entries of which the key begins so, after this key.
    pub fn range<'a>(&'a self, prefix: &'a [u8], after: Option<&[u8]>) -> Range<'a> {
        let from = after.map_or(Included(prefix), Excluded);
        Range { entries: self.entries.range::<[u8], _>((from, Unbounded)), prefix }
    }
}

pub struct Range<'a> {
    entries: btree_map::Range<'a, Box<[u8]>, Value>,
    prefix: &'a [u8],
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.entries.next()?;
        key.starts_with(self.prefix).then_some((&**key, value.as_deref()))
    }
}
