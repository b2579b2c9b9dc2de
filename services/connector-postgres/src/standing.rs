//! Where the log stands, and where the stream does: what is told next has its place from here.
//!
//! # Why
//! After a restart the server sends again what the slot has not confirmed, and nothing up to the log's last place is
//! written again. So the place of whatever the server sends is a function of it alone, never of what was written before it;
//! what only this side says (progress, rows that a snapshot read) stands behind all that the server has sent by then.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use change::{Lsn, Position};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    epoch: u32,
    /// The last position in the log.
    last: Position,
    /// Everything that the source committed before this place is in the records made so far.
    upto: Lsn,
    /// The stream has told every commit before this place.
    passed: Lsn,
    /// The log may hold a part of the transaction that commits here; zero: it holds none.
    unfinished: Lsn,
}

impl Standing {
    /// From the log's last position, and the last end of a commit in it.
    pub(crate) fn resume(last: Position, upto: Lsn) -> Self {
        let unfinished = if last.commit >= upto { last.commit } else { Lsn(0) };
        Self { epoch: last.epoch, last, upto, passed: upto, unfinished }
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) const fn upto(&self) -> Lsn {
        self.upto
    }

    pub(crate) const fn passed(&self) -> Lsn {
        self.passed
    }

    /// Where a change, or a message that is part of its transaction, belongs. None: the log has it.
    #[inline]
    pub(crate) fn of_change(&self, commit: Lsn, ordinal: u64) -> Option<Position> {
        let position = Position::new(self.epoch, commit, ordinal);
        (position > self.last).then_some(position)
    }

    /// Where a message outside of transactions belongs whose record ends here. None: the log has it.
    pub(crate) fn of_message(&self, end: Lsn) -> Option<Position> {
        let position = Position::at_end(self.epoch, end);
        (position > self.last).then_some(position)
    }

    /// Where what only this side says belongs.
    pub(crate) fn beside(&self) -> Position {
        self.last.between(self.epoch, self.upto)
    }

    /// Where it belongs that nothing of ours is before this place. None: that is no news.
    pub(crate) fn of_progress(&self, lsn: Lsn) -> Option<Position> {
        (lsn > self.upto.max(self.unfinished)).then(|| self.last.between(self.epoch, lsn))
    }

    /// Where it belongs that nothing has happened since this place, and all before it is told.
    pub(crate) fn of_standstill(&self, lsn: Lsn) -> Option<Position> {
        (lsn == self.upto && !self.is_inside()).then(|| self.beside())
    }

    /// It is among the records made so far.
    #[inline]
    pub(crate) fn told(&mut self, position: Position) {
        self.last = position;
    }

    /// So is everything before this place, and the last record says so.
    pub(crate) fn complete(&mut self, end: Lsn) {
        self.upto = self.upto.max(end);
    }

    /// The stream has come here.
    pub(crate) fn pass(&mut self, end: Lsn) {
        self.passed = self.passed.max(end);
    }

    /// The stream may not have told yet what the log holds a part of: a place behind the log's last record is that of the
    /// transaction's next.
    pub(crate) fn is_inside(&self) -> bool {
        self.passed <= self.unfinished
    }

    /// The log was beyond this transaction when the stream told it.
    pub(crate) fn has(&self, commit: Lsn) -> bool {
        self.last.commit >= commit
    }

    /// The log holds a part of this transaction, and not that it ends.
    pub(crate) fn lacks_end_of(&self, commit: Lsn) -> bool {
        self.unfinished == commit && self.upto <= commit
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
