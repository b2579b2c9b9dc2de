//! What stands in the place of a concept that is no longer in use.
//!
//! # Why
//! SAME AS and REPLACED BY say what a concept became, so its meaning goes on where they name one. POSSIBLY EQUIVALENT TO
//! names what it may have meant: a person may choose among them, a program may not. MOVED TO says that another
//! organisation keeps it now, and not as what.

/// How a concept that was switched off is associated with another. Identifiers of the association refsets, each as seen in
/// public readers of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Association {
    SameAs,
    ReplacedBy,
    PossiblyEquivalentTo,
    MovedTo,
    MovedFrom,
    WasA,
    Alternative,
    PartiallyEquivalentTo,
    PossiblyReplacedBy,
    Other,
}

impl Association {
    const ALL: [(Self, u64, &'static str); 10] = [
        (Self::SameAs, 900_000_000_000_527_005, "SAME AS"),
        (Self::ReplacedBy, 900_000_000_000_526_001, "REPLACED BY"),
        (Self::PossiblyEquivalentTo, 900_000_000_000_523_009, "POSSIBLY EQUIVALENT TO"),
        (Self::MovedTo, 900_000_000_000_524_003, "MOVED TO"),
        (Self::MovedFrom, 900_000_000_000_525_002, "MOVED FROM"),
        (Self::WasA, 900_000_000_000_528_000, "WAS A"),
        (Self::Alternative, 900_000_000_000_530_003, "ALTERNATIVE"),
        (Self::PartiallyEquivalentTo, 1_186_924_009, "PARTIALLY EQUIVALENT TO"),
        (Self::PossiblyReplacedBy, 1_186_921_001, "POSSIBLY REPLACED BY"),
        (Self::Other, 0, "OTHER"),
    ];

    pub fn of_refset(refset: u64) -> Self {
        Self::ALL.iter().find(|(_, id, _)| *id == refset).map_or(Self::Other, |(association, _, _)| *association)
    }

    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    pub(crate) fn of_byte(byte: u8) -> Self {
        Self::ALL.get(usize::from(byte)).map_or(Self::Other, |(association, _, _)| *association)
    }

    /// Does the meaning go on there?
    const fn carries_the_meaning(self) -> bool {
        matches!(self, Self::SameAs | Self::ReplacedBy)
    }
}

/// Steps from one inactive concept to the next; more is a mistake of the release, and nothing is concluded.
pub const STEPS_MAX: usize = 8;

/// What a concept means today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Today {
    /// It is in use.
    Active,
    /// Its meaning goes on as another, by these associations, the first step first.
    Replaced { by: u64, how: Vec<Association> },
    /// Not in use, and no one concept stands in its place; what may have been meant.
    Candidates(Vec<(Association, u64)>),
    /// Another organisation keeps it now.
    Moved,
    /// The release has no such concept.
    Unknown,
}

/// `rows`: the associations of a concept. `active`: whether a concept is in use; none where it is not known.
pub fn today(
    concept: u64,
    active: impl Fn(u64) -> Option<bool>,
    rows: impl Fn(u64) -> Vec<(Association, u64)>,
) -> Today {
    match active(concept) {
        None => return Today::Unknown,
        Some(true) => return Today::Active,
        Some(false) => {}
    }
    let first = rows(concept);
    let (mut at, mut how, mut been) = (concept, Vec::new(), vec![concept]);
    while been.len() <= STEPS_MAX {
        let rows = rows(at);
        if rows.iter().any(|(association, _)| *association == Association::MovedTo) {
            return if at == concept { Today::Moved } else { Today::Candidates(first) };
        }
        let mut going_on = rows.iter().filter(|(association, _)| association.carries_the_meaning());
        let Some((association, target)) = going_on.next() else { break };
        // Two associations may name one target; two targets name none.
        if going_on.any(|(_, other)| other != target) || been.contains(target) {
            break;
        }
        how.push(*association);
        match active(*target) {
            Some(true) => return Today::Replaced { by: *target, how },
            Some(false) => been.push(*target),
            None => break,
        }
        at = *target;
    }
    Today::Candidates(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `active 1 2; 3 =4 4 ~5`: `=` SAME AS, `>` REPLACED BY, `~` POSSIBLY EQUIVALENT TO, `^` MOVED TO.
    #[track_caller]
    fn check(rows: &[(u64, char, u64)], want: &str) {
        let of = |sign| match sign {
            '=' => Association::SameAs,
            '>' => Association::ReplacedBy,
            '~' => Association::PossiblyEquivalentTo,
            '^' => Association::MovedTo,
            _ => Association::Other,
        };
        // Below ten nothing is active, above twenty nothing is known.
        let active = |id| (id <= 20).then_some(id > 9);
        let rows = |id| {
            rows.iter().filter(|(from, _, _)| *from == id).map(|(_, sign, to)| (of(*sign), *to)).collect::<Vec<_>>()
        };
        let got = match today(1, active, rows) {
            Today::Replaced { by, how } => {
                format!("{by} {}", how.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", "))
            }
            Today::Candidates(all) => format!("may be {:?}", all.iter().map(|(_, to)| *to).collect::<Vec<_>>()),
            other => format!("{other:?}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn one_target_goes_on_and_nothing_else_does() {
        check(&[], "may be []");
        check(&[(1, '=', 10)], "10 SAME AS");
        check(&[(1, '>', 10)], "10 REPLACED BY");
        check(&[(1, '=', 10), (1, '>', 10)], "10 SAME AS");
        check(&[(1, '=', 10), (1, '=', 11)], "may be [10, 11]");
        check(&[(1, '=', 10), (1, '>', 11)], "may be [10, 11]");
        check(&[(1, '~', 10)], "may be [10]");
        check(&[(1, '~', 10), (1, '~', 11)], "may be [10, 11]");
        check(&[(1, '=', 10), (1, '~', 11)], "10 SAME AS");
        check(&[(1, '^', 10)], "Moved");
        check(&[(1, '^', 10), (1, '=', 11)], "Moved");
    }

    #[test]
    fn steps_are_followed_as_far_as_they_go() {
        check(&[(1, '=', 2), (2, '>', 10)], "10 SAME AS, REPLACED BY");
        check(&[(1, '=', 2), (2, '~', 10)], "may be [2]");
        check(&[(1, '=', 2), (2, '^', 10)], "may be [2]");
        check(&[(1, '=', 2), (2, '=', 1)], "may be [2]");
        check(&[(1, '=', 30)], "may be [30]");
        let chain: Vec<_> = (1..9).map(|n| (n, '=', n + 1)).chain([(9, '=', 10)]).collect();
        check(&chain, "may be [2]");
        check(
            &[&chain[..7], &[(8, '=', 10)]].concat(),
            "10 SAME AS, SAME AS, SAME AS, SAME AS, SAME AS, SAME AS, SAME AS, SAME AS",
        );
        assert_eq!(today(30, |_| None, |_| Vec::new()), Today::Unknown);
        assert_eq!(today(10, |_| Some(true), |_| vec![(Association::SameAs, 1)]), Today::Active);
    }
}
