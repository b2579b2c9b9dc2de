//! Which rows of a chunk still hold: the chunk was read while the stream went on.
//!
//! # Why
//! A chunk shows what was visible to its reader: `pg_current_snapshot()` names those transactions. Of a transaction
//! that the reader did not see, the stream has told the newer state: its rows must not be told again in an older one.
//! Places in the write-ahead log do not decide this, for a commit's record is written before others see the commit.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::decode::Cell;
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

/// Keys that the stream may touch while one chunk is read, …
pub(crate) const TOUCHED_MAX: usize = 200_000;
/// … and bytes kept of them. A window that exceeds either is read again.
pub(crate) const TOUCHED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What `pg_current_snapshot()` prints: `xmin:xmax:xip,xip,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    xmin: u64,
    xmax: u64,
    running: BTreeSet<u64>,
}

impl FromStr for Visible {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or(());
        let (xmin, xmax) = (number()?, number()?);
        let running = parts.next().ok_or(())?;
        let running = running.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().map_err(drop));
        Ok(Self { xmin, xmax, running: running.collect::<Result<_, ()>>()? })
    }
}

impl Visible {
    /// Whether the reader saw what the transaction did. The stream names transactions by their lower 32 bits.
    pub(crate) fn sees(&self, xid: u32) -> bool {
        let xid = self.widened(xid);
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }

    /// The number with that lower half which is nearest.
    fn widened(&self, xid: u32) -> u64 {
        const ROUND: u64 = 1 << 32;
        let near = (self.xmax & !(ROUND - 1)) | u64::from(xid);
        if near > self.xmax && near - self.xmax > ROUND / 2 {
            near.saturating_sub(ROUND)
        } else if near < self.xmax && self.xmax - near > ROUND / 2 {
            near.saturating_add(ROUND)
        } else {
            near
        }
    }

    /// Every transaction with a lower number has ended, and its end is seen.
    pub(crate) const fn xmin(&self) -> u64 {
        self.xmin
    }
}

/// One value of a row, kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kept {
    Null,
    Unchanged,
    Text(Box<[u8]>),
}

impl Kept {
    pub(crate) fn of(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Unchanged => Self::Unchanged,
            Cell::Text(text) => Self::Text(text.into()),
        }
    }

    pub(crate) fn cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Unchanged => Cell::Unchanged,
            Self::Text(text) => Cell::Text(text),
        }
    }
}

/// What a transaction left of the row with a key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Touch {
    /// All that it holds now, or that it is gone, is in the stream.
    Told,
    /// The stream left large values out: they are those of the chunk's row.
    Partial {
        cells: Vec<Kept>,
        /// Within the window the row had another key, until this transaction.
        moved: Option<(u32, Box<[u8]>)>,
    },
}

/// The stream beside one chunk, from before the chunk is read until it is placed.
#[derive(Default)]
pub(crate) struct Window {
    /// By key as the log's records have it; with the transaction, in the stream's order.
    touched: BTreeMap<Box<[u8]>, Vec<(u32, Touch)>>,
    count: usize,
    bytes: usize,
    truncated: Vec<u32>,
    /// What was read cannot be used: read it again.
    spoilt: bool,
}

impl Window {
    pub(crate) fn touch(&mut self, xid: u32, key: &[u8], touch: Touch) {
        if let Touch::Partial { cells, .. } = &touch {
            let text = |cell: &Kept| if let Kept::Text(text) = cell { text.len() } else { 0 };
            self.bytes += cells.iter().map(text).sum::<usize>();
        }
        self.bytes += key.len();
        self.count += 1;
        if self.count > TOUCHED_MAX || self.bytes > TOUCHED_BYTES_MAX {
            self.spoil();
        }
        if !self.spoilt {
            self.touched.entry(key.into()).or_default().push((xid, touch));
        }
    }

    /// An update left large values out: they stay what they were, under the key that the row had before.
    pub(crate) fn update(&mut self, xid: u32, before: &[u8], key: &[u8], cells: Vec<Kept>) {
        let moves = before != key;
        let touch = if cells.contains(&Kept::Unchanged) {
            match self.touched.get(before).and_then(|touches| touches.last()) {
                // Told within the window: whoever reads the log has the values.
                Some((_, Touch::Told)) => Touch::Told,
                // Twice another key within one window: not worth following.
                Some((_, Touch::Partial { .. })) if moves => return self.spoil(),
                Some((_, Touch::Partial { cells: known, moved })) => {
                    let filled = cells.into_iter().zip(known);
                    let filled = filled.map(|(new, old)| if new == Kept::Unchanged { old.clone() } else { new });
                    Touch::Partial { cells: filled.collect(), moved: moved.clone() }
                }
                None => Touch::Partial { cells, moved: moves.then(|| (xid, before.into())) },
            }
        } else {
            Touch::Told
        };
        if moves {
            self.touch(xid, before, Touch::Told);
        }
        self.touch(xid, key, touch);
    }

    pub(crate) fn truncate(&mut self, xid: u32) {
        self.truncated.push(xid);
    }

    pub(crate) fn spoil(&mut self) {
        self.spoilt = true;
        self.touched.clear();
    }

    pub(crate) const fn spoilt(&self) -> bool {
        self.spoilt
    }

    /// What the reader did not see.
    pub(crate) fn judge(self, visible: &Visible) -> Superseded {
        let truncated = self.truncated.iter().any(|xid| !visible.sees(*xid));
        let mut superseded = Superseded { truncated, keys: BTreeSet::new(), partial: BTreeMap::new() };
        for (key, mut touches) in self.touched {
            // Seen and unseen transactions of one row follow each other: the later one waited for the earlier one.
            let Some((xid, last)) = touches.pop() else { continue };
            if visible.sees(xid) {
                continue;
            }
            if let Touch::Partial { cells, moved } = last {
                let base = match moved {
                    Some((by, from)) if !visible.sees(by) => from,
                    _ => key.clone(),
                };
                superseded.partial.entry(base).or_default().push(cells);
            }
            superseded.keys.insert(key);
        }
        superseded
    }
}

/// Which rows of a chunk do not hold any more.
pub(crate) struct Superseded {
    /// None of them does.
    pub(crate) truncated: bool,
    keys: BTreeSet<Box<[u8]>>,
    /// By the chunk's key: rows that hold, but for values that only the chunk has.
    partial: BTreeMap<Box<[u8]>, Vec<Vec<Kept>>>,
}

impl Superseded {
    /// Whether the chunk's row with the key is told as it was read.
    pub(crate) fn spares(&self, key: &[u8]) -> bool {
        !self.truncated && !self.keys.contains(key)
    }

    /// The newer rows that need values of the chunk's row with the key.
    pub(crate) fn fills(&self, key: &[u8]) -> &[Vec<Kept>] {
        if self.truncated { &[] } else { self.partial.get(key).map_or(&[], Vec::as_slice) }
    }
}

/// As [`Window`], of a table whose rows have no names: they are counted, not matched.
#[derive(Default)]
pub(crate) struct Bag {
    changes: Vec<(u32, Counted)>,
    bytes: usize,
    spoilt: bool,
}

enum Counted {
    Come(Vec<Kept>),
    Gone(Vec<Kept>),
    Truncated,
}

impl Bag {
    pub(crate) fn come(&mut self, xid: u32, row: Vec<Kept>) {
        self.push(xid, Counted::Come(row));
    }

    pub(crate) fn gone(&mut self, xid: u32, row: Vec<Kept>) {
        self.push(xid, Counted::Gone(row));
    }

    pub(crate) fn truncate(&mut self, xid: u32) {
        self.push(xid, Counted::Truncated);
    }

    fn push(&mut self, xid: u32, change: Counted) {
        if let Counted::Come(row) | Counted::Gone(row) = &change {
            let text = |cell: &Kept| if let Kept::Text(text) = cell { text.len() } else { 1 };
            self.bytes += row.iter().map(text).sum::<usize>();
        }
        if self.changes.len() >= TOUCHED_MAX || self.bytes > TOUCHED_BYTES_MAX {
            self.spoil();
        }
        if !self.spoilt {
            self.changes.push((xid, change));
        }
    }

    pub(crate) fn spoil(&mut self) {
        self.spoilt = true;
        self.changes.clear();
    }

    pub(crate) const fn spoilt(&self) -> bool {
        self.spoilt
    }

    /// What the reader did not see: rows to leave out, and rows to add.
    pub(crate) fn judge(self, visible: &Visible) -> Difference {
        let mut difference = Difference::default();
        for (_, change) in self.changes.into_iter().filter(|(xid, _)| !visible.sees(*xid)) {
            match change {
                Counted::Come(row) => difference.more.push(row),
                Counted::Gone(row) => match difference.more.iter().position(|come| *come == row) {
                    Some(at) => drop(difference.more.remove(at)),
                    None => *difference.less.entry(row).or_default() += 1,
                },
                Counted::Truncated => difference = Difference { truncated: true, ..Difference::default() },
            }
        }
        difference
    }
}

/// How a table without a key differs from what was read.
#[derive(Default)]
pub(crate) struct Difference {
    truncated: bool,
    less: BTreeMap<Vec<Kept>, usize>,
    pub(crate) more: Vec<Vec<Kept>>,
}

impl Difference {
    /// Whether the row that was read still is there.
    pub(crate) fn spares<'c>(&mut self, row: impl Iterator<Item = Cell<'c>>) -> bool {
        if self.truncated || self.less.is_empty() {
            return !self.truncated;
        }
        let row: Vec<Kept> = row.map(Kept::of).collect();
        let Some(count) = self.less.get_mut(&row) else { return true };
        *count -= 1;
        if *count == 0 {
            self.less.remove(&row);
        }
        false
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
