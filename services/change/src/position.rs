//! Where a change stands in its source's log.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A place in a server's write-ahead log, printed as PostgreSQL prints it (`16/B374D848`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = text.split_once('/').ok_or(ParsePositionError)?;
        let part = |text| u32::from_str_radix(text, 16).map_err(|_| ParsePositionError);
        Ok(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

/// The position of one change: it only grows within a source.
///
/// - `epoch` grows when a source starts anew (first snapshot, re-snapshot after a lost slot);
/// - `commit` is the LSN of the transaction's commit record;
/// - `ordinal` counts from 1 over the server's own messages inside the transaction, before any
///   filter of ours.
///
/// What is of no transaction stands between commits: a message of the server's own at [`Position::at_end`], what a
/// connector says (rows that a snapshot read, progress) at [`Position::between`].
///
/// The text form has a fixed width, so it sorts as the position does (`collate "C"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub epoch: u32,
    pub commit: Lsn,
    pub ordinal: u64,
}

/// `eeeeeeee.cccccccccccccccc.oooooooooooooooo`, lower-case hexadecimal.
pub const POSITION_TEXT_BYTES: usize = 42;

impl Position {
    pub const START: Self = Self { epoch: 0, commit: Lsn(0), ordinal: 0 };

    pub const fn new(epoch: u32, commit: Lsn, ordinal: u64) -> Self {
        Self { epoch, commit, ordinal }
    }

    /// The place of a record of the server's log that is of no transaction: within that record, where no other record
    /// begins. Its end would be where the next one begins, which may be a commit.
    pub const fn at_end(epoch: u32, end: Lsn) -> Self {
        Self::new(epoch, Lsn(end.0.saturating_sub(1)), 1)
    }

    /// The next place after this one that belongs to no transaction, where everything that the server's log has before
    /// `upto` is told: a later record begins at `upto` or after it, and an earlier one's begins well before it.
    #[must_use]
    pub fn between(self, epoch: u32, upto: Lsn) -> Self {
        let first = Self::at_end(epoch, upto);
        if first > self { first } else { Self { ordinal: self.ordinal.saturating_add(1), ..self } }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{:016x}.{:016x}", self.epoch, self.commit.0, self.ordinal)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected eeeeeeee.cccccccccccccccc.oooooooooooooooo in lower-case hexadecimal")]
pub struct ParsePositionError;

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = |text: &str, width: usize| {
            let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            (text.len() == width && lower)
                .then(|| u64::from_str_radix(text, 16).ok())
                .flatten()
                .ok_or(ParsePositionError)
        };
        let mut parts = text.split('.');
        let mut next = |width| hexadecimal(parts.next().ok_or(ParsePositionError)?, width);
        let epoch = u32::try_from(next(8)?).map_err(|_| ParsePositionError)?;
        let (commit, ordinal) = (Lsn(next(16)?), next(16)?);
        if parts.next().is_some() {
            return Err(ParsePositionError);
        }
        Ok(Self { epoch, commit, ordinal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_sorts_as_positions_do() {
        let low = Position::new(1, Lsn(0xFF), 2);
        let high = Position::new(1, Lsn(0x1_0000_0000), 1);
        assert!(low < high && low.to_string() < high.to_string());
        assert_eq!(high.to_string().len(), POSITION_TEXT_BYTES);
        assert_eq!(high.to_string().parse(), Ok(high));
    }

    #[test]
    fn only_the_one_form_parses() {
        for text in
            ["", "1.2.3", "00000001.00000000000000FF.0000000000000001", "00000001.00000000000000ff.0000000000000001.0"]
        {
            assert_eq!(text.parse::<Position>(), Err(ParsePositionError), "{text}");
        }
    }

    #[test]
    fn what_is_of_no_transaction_stands_between_commits() {
        let (commit, end) = (Position::new(1, Lsn(100), 3), Lsn(148));
        let one = commit.between(1, end);
        let two = one.between(1, end);
        let next = Position::new(1, end, 1);
        assert!(commit < one && one < two && two < next, "a commit can begin where the last one ends");
        assert_eq!(Position::START.between(2, Lsn(7)), Position::new(2, Lsn(6), 1));
        // A message whose record ends where the next commit begins; what is said of the same place comes behind it.
        let message = Position::at_end(1, end);
        assert!(commit < message && message < message.between(1, end) && message.between(1, end) < next);
    }

    #[test]
    fn lsn_prints_as_postgresql_does() {
        assert_eq!("16/B374D848".parse::<Lsn>().map(|lsn| lsn.to_string()), Ok("16/B374D848".into()));
    }
}
