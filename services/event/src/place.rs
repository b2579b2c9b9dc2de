//! Where an event stands in the order of its record.

use change::Position;
use std::fmt;

/// The order of one record's events, everywhere: what is not beyond what is known changes nothing.
///
/// A position alone does not do: under a new revision a record can settle earlier than it did, and a log that was lost
/// begins anew. Within generation 0, from before there were generations, an equal position goes by the revision.
///
/// The text sorts as the place does (`collate "C"`); in generation 0 it is the position's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub generation: u32,
    pub position: Position,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => self.position.fmt(f),
            // A position begins with a hexadecimal digit, and those sort before the letter.
            generation => write!(f, "g{generation:010}.{}", self.position),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::Lsn;

    #[test]
    fn text_sorts_as_places_do() {
        let place = |generation, epoch| Place { generation, position: Position::new(epoch, Lsn(9), 1) };
        let rising = [
            place(0, 1),
            place(0, u32::MAX),
            place(1, 0),
            place(9, 1),
            place(10, 0),
            place(1_764_000_000, 1),
            place(u32::MAX, 2),
        ];
        for pair in rising.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_string() < pair[1].to_string(), "{} {}", pair[0], pair[1]);
        }
        assert_eq!(place(0, 1).to_string(), place(0, 1).position.to_string(), "as before there were generations");
    }
}
