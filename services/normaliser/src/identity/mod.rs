//! Who is one person: rules over what all sources say of their patients.
//!
//! # Why
//! A verified NHS number with an agreeing date of birth links; a number whose dates disagree
//! holds, visibly, until a human decides; anything less is a person of its own. The decision is
//! a function of the demographics alone, so the order in which sources speak does not matter,
//! except for which of its members' own ids a person goes by: the one seen first.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod store;

use event::LinkStatus;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Reasons, in fixed words.
pub mod reason {
    pub const AGREES: &str = "verified NHS number and date of birth agree";
    pub const NO_OTHER: &str = "no other patient has this verified NHS number";
    pub const NO_NUMBER: &str = "no NHS number";
    pub const NOT_VERIFIED: &str = "NHS number not verified";
    pub const WITHDRAWN: &str = "demographics withdrawn";
    pub const DISAGREES: &str = "NHS number agrees but date of birth does not";
    pub const NO_BIRTH_DATE: &str = "NHS number agrees but date of birth is missing";
}

/// What is known of one source patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The order in which patients were first seen.
    pub seen: i64,
    /// Minted for this patient when it was first seen.
    pub own: Uuid,
    pub nhs_number: Option<String>,
    pub verified: bool,
    pub birth_date: Option<i32>,
    pub withdrawn: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub person: Uuid,
    pub status: LinkStatus,
    pub reason: &'static str,
}

/// The number that a patient can be linked by.
pub fn linking_number(known: &Known) -> Option<&str> {
    known.nhs_number.as_deref().filter(|_| known.verified && !known.withdrawn)
}

/// Decides for patients that share a linking number: all of them, and nobody else. In their order.
pub fn decide_group(group: &[Known]) -> Vec<Decision> {
    let held = |known: &Known, reason| Decision { person: known.own, status: LinkStatus::Held, reason };
    if let [only] = group {
        return vec![Decision { person: only.own, status: LinkStatus::Alone, reason: reason::NO_OTHER }];
    }
    // Those whose dates agree, by date.
    let mut by_date: BTreeMap<i32, Vec<&Known>> = BTreeMap::new();
    for known in group {
        if let Some(date) = known.birth_date {
            by_date.entry(date).or_default().push(known);
        }
    }
    let most = by_date.values().map(Vec::len).max().unwrap_or(0);
    let mut largest = by_date.iter().filter(|(_, members)| members.len() == most);
    // One group of two or more that agree, larger than any that disagrees with it.
    let agreed = match (largest.next(), largest.next()) {
        (Some((date, members)), None) if most >= 2 => members.iter().min_by_key(|m| m.seen).map(|m| (*date, m.own)),
        _ => None,
    };
    group
        .iter()
        .map(|known| match (known.birth_date, agreed) {
            (None, _) => held(known, reason::NO_BIRTH_DATE),
            (Some(date), Some((agreed, person))) if date == agreed => {
                Decision { person, status: LinkStatus::Linked, reason: reason::AGREES }
            }
            (Some(_), _) if by_date.len() == 1 => held(known, reason::NO_BIRTH_DATE),
            (Some(_), _) => held(known, reason::DISAGREES),
        })
        .collect()
}

/// Decides for a patient without a linking number.
pub fn decide_alone(known: &Known) -> Decision {
    let reason = match known {
        Known { withdrawn: true, .. } => reason::WITHDRAWN,
        Known { nhs_number: None, .. } => reason::NO_NUMBER,
        Known { .. } => reason::NOT_VERIFIED,
    };
    Decision { person: known.own, status: LinkStatus::Alone, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(seen: i64, birth_date: Option<i32>) -> Known {
        Known {
            seen,
            own: Uuid::from_u128(seen.cast_unsigned().into()),
            nhs_number: Some("9434765919".into()),
            verified: true,
            birth_date,
            withdrawn: false,
        }
    }

    #[track_caller]
    fn check(dates: &[Option<i32>], want: &str) {
        let group: Vec<Known> = (1..).zip(dates).map(|(seen, date)| known(seen, *date)).collect();
        let told: Vec<String> =
            decide_group(&group).iter().map(|d| format!("{}={}", d.status.as_str(), d.person.as_u128())).collect();
        assert_eq!(told.join(" "), want);
    }

    #[test]
    fn number_and_date_decide() {
        check(&[Some(1)], "alone=1");
        check(&[None], "alone=1");
        check(&[Some(1), Some(1)], "linked=1 linked=1");
        check(&[Some(1), Some(2)], "held=1 held=2");
        check(&[Some(1), None], "held=1 held=2");
        check(&[None, None], "held=1 held=2");
        check(&[Some(1), Some(1), Some(2)], "linked=1 linked=1 held=3");
        check(&[Some(2), Some(1), Some(1)], "held=1 linked=2 linked=2");
        check(&[Some(1), Some(1), Some(2), Some(2)], "held=1 held=2 held=3 held=4");
        check(&[Some(1), None, Some(1)], "linked=1 held=2 linked=1");
    }

    #[test]
    fn nothing_to_link_by_is_alone() {
        for (change, want) in [
            ((|k| k.nhs_number = None) as fn(&mut Known), reason::NO_NUMBER),
            (|k| k.verified = false, reason::NOT_VERIFIED),
            (|k| k.withdrawn = true, reason::WITHDRAWN),
        ] {
            let mut patient = known(1, Some(1));
            change(&mut patient);
            assert!(linking_number(&patient).is_none());
            assert_eq!(decide_alone(&patient).reason, want);
        }
    }

    proptest! {
        /// Nobody whose dates differ is ever one person, whatever the order of the group.
        #[test]
        fn one_person_has_one_date(dates in prop::collection::vec(prop::option::of(0..3_i32), 1..8), turn in 0..8_usize) {
            let mut group: Vec<Known> = (1..).zip(&dates).map(|(seen, date)| known(seen, *date)).collect();
            let decided = decide_group(&group);
            let mut persons: BTreeMap<Uuid, Option<i32>> = BTreeMap::new();
            for (known, decision) in group.iter().zip(&decided) {
                let date = persons.entry(decision.person).or_insert(known.birth_date);
                prop_assert_eq!(*date, known.birth_date);
            }
            let turn = turn % group.len();
            group.rotate_left(turn);
            let mut turned = decide_group(&group);
            turned.rotate_right(turn);
            prop_assert_eq!(decided, turned);
        }
    }
}
