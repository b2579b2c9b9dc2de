//! The headers of `changes.<source>`: their names, and the rule by which a reader accepts a record.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use change::{Lsn, Position};

pub const KIND: &str = "causeway.kind";
pub const SESSION: &str = "causeway.session";
pub const POSITION: &str = "causeway.position";
pub const PREVIOUS: &str = "causeway.previous";
pub const COMMIT_END: &str = "causeway.commit-end";
pub const UNCHANGED: &str = "causeway.unchanged";
pub const EXACT: &str = "causeway.exact";
/// As `causeway.exact`, of `before` where there is an `after` too.
pub const EXACT_BEFORE: &str = "causeway.exact-before";
/// On rows that a snapshot read: the snapshot's id.
pub const SNAPSHOT: &str = "causeway.snapshot";
/// The node from which the source itself received the change.
pub const ORIGIN: &str = "causeway.origin";
pub const TRACE_PARENT: &str = "traceparent";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Change,
    Session,
    Progress,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Change, Self::Session, Self::Progress, Self::SnapshotBegin, Self::SnapshotChunk, Self::SnapshotEnd];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Session => "session",
            Self::Progress => "progress",
            Self::SnapshotBegin => "snapshot-begin",
            Self::SnapshotChunk => "snapshot-chunk",
            Self::SnapshotEnd => "snapshot-end",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text)
    }
}

/// A record's headers, parsed. Only `kind` is on every record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    pub kind: Kind,
    pub place: Option<Place>,
    pub commit_end: Option<Lsn>,
    pub unchanged: Option<&'a str>,
    pub exact: Option<&'a str>,
    pub exact_before: Option<&'a str>,
    pub in_snapshot: bool,
    pub trace_parent: Option<&'a str>,
    pub origin: Option<&'a str>,
}

/// What every record but the session record says of where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub session: i64,
    pub position: Position,
    pub previous: Position,
}

impl<'a> Headers<'a> {
    /// `None` of a record that is not one of ours.
    pub fn parse(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Option<Self> {
        let (mut kind, mut session, mut position, mut previous) = (None, None, None, None);
        let mut parsed = Headers {
            kind: Kind::Change,
            place: None,
            commit_end: None,
            unchanged: None,
            exact: None,
            exact_before: None,
            in_snapshot: false,
            trace_parent: None,
            origin: None,
        };
        for (name, value) in headers {
            let text = std::str::from_utf8(value.unwrap_or_default()).ok()?;
            match name {
                KIND => kind = Some(Kind::parse(text)?),
                SESSION => session = Some(text.parse().ok()?),
                POSITION => position = Some(text.parse().ok()?),
                PREVIOUS => previous = Some(text.parse().ok()?),
                COMMIT_END => parsed.commit_end = Some(text.parse().ok()?),
                UNCHANGED => parsed.unchanged = Some(text),
                EXACT => parsed.exact = Some(text),
                EXACT_BEFORE => parsed.exact_before = Some(text),
                SNAPSHOT => parsed.in_snapshot = true,
                ORIGIN => parsed.origin = Some(text),
                TRACE_PARENT => parsed.trace_parent = Some(text),
                _ => {}
            }
        }
        parsed.kind = kind?;
        if parsed.kind != Kind::Session {
            parsed.place = Some(Place { session: session?, position: position?, previous: previous? });
        }
        Some(parsed)
    }
}

/// The session rule, and the check that nothing is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionRule {
    /// Offset of the newest session record.
    pub session: Option<i64>,
    /// The last position accepted.
    pub last: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Written by an older session after a newer one took over.
    Void,
}

/// The log has a hole, or repeats itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log has a hole at offset {offset}: the record follows {previous}, the last one before it is {last}")]
pub struct Hole {
    pub offset: i64,
    pub previous: Position,
    pub last: Position,
}

impl SessionRule {
    /// Whether the record at the offset counts. `None` is a session record.
    pub fn judge(&mut self, offset: i64, place: Option<&Place>) -> Result<Verdict, Hole> {
        let Some(place) = place else {
            self.session = Some(offset);
            return Ok(Verdict::Accepted);
        };
        if self.session.is_some_and(|session| place.session < session) {
            return Ok(Verdict::Void);
        }
        if let Some(last) = self.last
            && (place.previous != last || place.position <= last)
        {
            return Err(Hole { offset, previous: place.previous, last });
        }
        // A reader that starts mid-log learns the session from the first record.
        self.session = Some(place.session);
        self.last = Some(place.position);
        Ok(Verdict::Accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(session: i64, previous: u64, position: u64) -> Place {
        let at = |ordinal| Position::new(1, Lsn(9), ordinal);
        Place { session, position: at(position), previous: at(previous) }
    }

    #[test]
    fn an_older_session_is_void_after_a_newer_ones_record() {
        let mut rule = SessionRule::default();
        assert_eq!(rule.judge(0, None), Ok(Verdict::Accepted));
        assert_eq!(rule.judge(1, Some(&place(0, 0, 1))), Ok(Verdict::Accepted));
        assert_eq!(rule.judge(2, None), Ok(Verdict::Accepted));
        assert_eq!(rule.judge(3, Some(&place(0, 1, 2))), Ok(Verdict::Void));
        assert_eq!(rule.judge(4, Some(&place(2, 1, 2))), Ok(Verdict::Accepted));
        assert_eq!(rule.judge(5, Some(&place(0, 2, 3))), Ok(Verdict::Void));
    }

    #[test]
    fn a_hole_and_a_repeat_are_seen() {
        let start = || SessionRule { session: Some(0), last: Some(place(0, 0, 5).position) };
        assert!(start().judge(7, Some(&place(0, 6, 7))).is_err(), "6 is missing");
        assert!(start().judge(7, Some(&place(0, 5, 5))).is_err(), "5 again");
        assert_eq!(start().judge(7, Some(&place(0, 5, 7))), Ok(Verdict::Accepted), "ordinals may skip");
    }

    #[test]
    fn headers_that_are_not_ours_are_none() {
        let parse = |headers: &[(&'static str, &'static str)]| {
            Headers::parse(headers.iter().map(|(name, value)| (*name, Some(value.as_bytes())))).map(|h| h.kind)
        };
        let position = "00000001.0000000000000009.0000000000000001";
        assert_eq!(parse(&[(KIND, "session")]), Some(Kind::Session));
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[(KIND, "change")]), None, "no place");
        assert_eq!(parse(&[(KIND, "bogus")]), None);
        let whole = [(KIND, "change"), (SESSION, "7"), (POSITION, position), (PREVIOUS, position)];
        assert_eq!(parse(&whole), Some(Kind::Change));
        assert_eq!(parse(&[(KIND, "change"), (SESSION, "seven"), (POSITION, position), (PREVIOUS, position)]), None);
    }
}
