//! The rules for patients that share a verified NHS number, and for those that have none.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{Decision, Known, names, reason};
use event::LinkStatus;
use std::collections::BTreeMap;

/// More bearers of one number than this are not compared: no person is in so many sources.
pub const BEARERS_MAX: usize = 200;

/// Decides for patients that share a linking number: all of them, and nobody else. In their order.
pub fn decide_group(group: &[Known]) -> Vec<Decision> {
    decide_knowing(group, &|_, _| false)
}

/// The same, where some are known to be one person, whatever is said of them: a clerk or their source said so.
pub fn decide_knowing(group: &[Known], same: Same<'_>) -> Vec<Decision> {
    let held = |known: &Known, reason| Decision { person: known.own, status: LinkStatus::Held, reason };
    if let [only] = group {
        return vec![Decision { person: only.own, status: LinkStatus::Alone, reason: reason::NO_OTHER }];
    }
    for (nobody, reason) in
        [(group.len() > BEARERS_MAX, reason::TOO_MANY), (shared_in_one_source(group, same), reason::SHARED)]
    {
        if nobody {
            return group.iter().map(|known| held(known, reason)).collect();
        }
    }
    let sets = sets(group, same);
    let most = sets.iter().map(|set| set.members.len()).max().unwrap_or(0);
    let mut largest = sets.iter().filter(|set| set.members.len() == most);
    // One set of two or more that agree with each other, larger than any that disagrees with it.
    let agreed = match (largest.next(), largest.next()) {
        (Some(set), None) if most >= 2 && set.agrees => set
            .members
            .iter()
            .map(|member| &group[*member])
            .min_by_key(|known| known.seen)
            .map(|first| (set, first.own)),
        _ => None,
    };
    let dates: BTreeMap<i32, ()> = group.iter().filter_map(|known| Some((known.birth_date?, ()))).collect();
    group
        .iter()
        .enumerate()
        .map(|(index, known)| match agreed {
            _ if known.birth_date.is_none() => held(known, reason::NO_BIRTH_DATE),
            Some((set, person)) if set.members.contains(&index) => {
                Decision { person, status: LinkStatus::Linked, reason: reason::AGREES }
            }
            // The reason names what stands in the way of the largest set, or else of anybody.
            Some((set, _)) if known.birth_date != Some(set.date) => held(known, reason::DISAGREES),
            None if dates.len() > 1 => held(known, reason::DISAGREES),
            None if sets.len() == 1 && most == 1 => held(known, reason::NO_BIRTH_DATE),
            _ => held(known, reason::ANOTHER),
        })
        .collect()
}

/// Whether these two, by their places in the group, are known to be one person.
type Same<'a> = &'a dyn Fn(usize, usize) -> bool;

/// Two live patients of one source: only if all that tells people apart is told and agrees are they one.
fn shared_in_one_source(group: &[Known], same: Same<'_>) -> bool {
    pairs(group.len()).filter(|(one, other)| !same(*one, *other)).any(|(one, other)| {
        let (one, other) = (&group[one], &group[other]);
        one.source == other.source
            && !(one.birth_date.is_some()
                && one.birth_date == other.birth_date
                && names::agree(&one.name, &other.name)
                && names::sexes_agree(one.gender.as_deref(), other.gender.as_deref()))
    })
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |one| (one + 1..count).map(move |other| (one, other)))
}

fn contradict(one: &Known, other: &Known) -> bool {
    names::contradict(&one.name, &other.name) || names::sexes_contradict(one.gender.as_deref(), other.gender.as_deref())
}

/// Those of one date that hang together: each member fits another. They agree if each fits every other; `B` fits `Beth`
/// and `Bob`, who do not.
struct Set {
    date: i32,
    members: Vec<usize>,
    agrees: bool,
}

fn sets(group: &[Known], same: Same<'_>) -> Vec<Set> {
    let apart = |one: usize, other: usize| !same(one, other) && contradict(&group[one], &group[other]);
    let mut sets: Vec<Set> = Vec::new();
    for (index, known) in group.iter().enumerate() {
        let Some(date) = known.birth_date else { continue };
        let fits = |set: &Set| set.date == date && set.members.iter().any(|member| !apart(*member, index));
        let (joined, rest): (Vec<Set>, Vec<Set>) = sets.into_iter().partition(fits);
        let mut members: Vec<usize> = joined.into_iter().flat_map(|set| set.members).collect();
        members.push(index);
        sets = rest;
        sets.push(Set { date, members, agrees: false });
    }
    for set in &mut sets {
        let members = &set.members;
        set.agrees = !pairs(members.len()).any(|(one, other)| apart(members[one], members[other]));
    }
    sets
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
    use crate::{linking_number, names::Name};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn known(seen: i64, birth_date: Option<i32>) -> Known {
        Known {
            seen,
            own: Uuid::from_u128(seen.cast_unsigned().into()),
            source: format!("source-{seen}"),
            nhs_number: Some("9434765919".into()),
            verified: true,
            birth_date,
            ..Known::default()
        }
    }

    /// `source forename/surname sex date`, one a line; `-` where nothing is told.
    fn told(lines: &str) -> Vec<Known> {
        let told = |word: &str| (word != "-").then(|| word.to_owned());
        (1..)
            .zip(lines.trim().lines())
            .map(|(seen, line)| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [source, name, gender, date] = words[..] else { panic!("{line}") };
                let (given, family) = name.split_once('/').expect("a name");
                let given = given.replace('_', " ");
                Known {
                    source: source.into(),
                    name: Name::new(told(&given).as_deref(), told(family).as_deref()),
                    gender: told(gender),
                    ..known(seen, told(date).and_then(|date| date.parse().ok()))
                }
            })
            .collect()
    }

    #[track_caller]
    fn check_told(lines: &str, want: &str) {
        let mut group = told(lines);
        let words = |group: &[Known]| -> Vec<String> {
            let mut decided: Vec<(i64, String)> = (group.iter().map(|known| known.seen))
                .zip(decide_group(group).iter().map(|d| format!("{}={}", d.status.as_str(), d.person.as_u128())))
                .collect();
            decided.sort();
            decided.into_iter().map(|(_, words)| words).collect()
        };
        assert_eq!(words(&group).join(" "), want, "{lines}");
        group.reverse();
        assert_eq!(words(&group).join(" "), want, "reversed: {lines}");
    }

    #[test]
    fn a_number_that_two_of_one_source_bear_links_nobody() {
        // Twins of one practice, and the hospital that knows one of them.
        check_told("gp Adam/Twin male 1\ngp Beth/Twin female 1", "held=1 held=2");
        check_told("gp Adam/Twin male 1\ngp Beth/Twin female 1\nhospital Adam/Twin male 1", "held=1 held=2 held=3");
        check_told("gp Adam/Twin male 1\ngp Alan/Twin male 1", "held=1 held=2");
        // Not told is not agreed.
        check_told("gp Adam/Twin male 1\ngp Adam/Twin - 1", "held=1 held=2");
        check_told("gp Adam/Twin male 1\ngp -/Twin male 1", "held=1 held=2");
        check_told("gp Adam/Twin male 1\ngp A/Twin male 1", "held=1 held=2");
        check_told("gp Baby/Twin male 1\ngp Baby/Twin male 1", "held=1 held=2");
        check_told("gp Adam/Twin male 1\ngp Adam/Twin male 2", "held=1 held=2");
        check_told("gp Adam/Twin male -\ngp Adam/Twin male -", "held=1 held=2");
        check_told("gp Adam/Twin male 1\ngp Adam/Other male 1", "held=1 held=2");
        // Registered twice.
        check_told("gp Adam/Twin male 1\ngp ADAM/Twin male 1", "linked=1 linked=1");
        check_told("gp Adam/Twin male 1\ngp Adam/Twin male 1\nhospital A/TWIN male 1", "linked=1 linked=1 linked=1");
        check_told("gp Adam/Twin male 1\ngp Adam/Twin male 1\nhospital Beth/Twin female 1", "linked=1 linked=1 held=3");
    }

    #[test]
    fn a_forename_or_sex_that_contradicts_holds_across_sources() {
        check_told("gp Adam/Twin male 1\nhospital Beth/Twin female 1", "held=1 held=2");
        check_told("gp Adam/Twin male 1\nhospital Alan/Twin male 1", "held=1 held=2");
        check_told("gp Robin/Twin male 1\nhospital Robin/Twin female 1", "held=1 held=2");
        check_told("gp Adam/Twin male 1\nhospital ADAM_JOHN/Twin - 1", "linked=1 linked=1");
        check_told("gp Adam/Twin male 1\nhospital A/Twin unknown 1", "linked=1 linked=1");
        check_told("gp Adam/Twin male 1\nhospital Twin/Adam male 1", "linked=1 linked=1");
        check_told("gp Adam/Twin male 1\nhospital Baby_of_Joan/Twin male 1", "linked=1 linked=1");
        check_told("gp Joan/Ellis female 1\nhospital Joan/Smith female 1", "linked=1 linked=1");
        // More sources: the larger side stands, and what fits both sides links nobody.
        check_told("gp Adam/T male 1\nhospital Adam/T male 1\neye Beth/T female 1", "linked=1 linked=1 held=3");
        check_told("gp Beth/T female 1\nhospital B/T female 1\neye Bella/T female 1", "held=1 held=2 held=3");
        check_told("gp A/T male 1\nhospital B/T male 1\neye Baby/T male 1", "held=1 held=2 held=3");
        check_told(
            "gp Adam/T male 1\nhospital Adam/T male 1\neye Beth/T male 1\near Beth/T male 1",
            "held=1 held=2 held=3 held=4",
        );
    }

    #[test]
    fn reasons_are_told_to_those_who_mend_sources() {
        for (lines, want) in [
            ("gp Adam/T male 1\ngp Beth/T female 1", reason::SHARED),
            ("gp Adam/T male 1\nhospital Beth/T male 1", reason::ANOTHER),
            ("gp Adam/T male 1\nhospital Adam/T male 2", reason::DISAGREES),
            ("gp Adam/T male 1\nhospital Adam/T male -", reason::NO_BIRTH_DATE),
        ] {
            for decision in decide_group(&told(lines)) {
                assert_eq!(decision.reason, want, "{lines}");
            }
        }
        let many: Vec<Known> =
            (0..=BEARERS_MAX).map(|seen| known(i64::try_from(seen).unwrap_or_default(), Some(1))).collect();
        assert!(decide_group(&many).iter().all(|decision| decision.reason == reason::TOO_MANY));
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
        /// Nobody who contradicts anybody else is one person with them, and a number that one source gave to two who
        /// differ links nobody; whatever the order of the group.
        #[test]
        fn nobody_is_one_person_with_whom_they_contradict(
            people in prop::collection::vec((0..3_usize, 0..6_usize, 0..3_usize, 0..3_i32), 1..7), turn in 0..7_usize,
        ) {
            let mut group: Vec<Known> = (1..)
                .zip(&people)
                .map(|(seen, (source, given, gender, date))| Known {
                    source: ["gp", "hospital", "eye"][*source].into(),
                    name: Name::new(["Adam", "Beth", "B", "Baby", "", "Adam J"].get(*given).copied(), Some("Twin")),
                    gender: ["male", "female", "unknown"].get(*gender).map(|word| (*word).into()),
                    ..known(seen, (*date < 2).then_some(*date))
                })
                .collect();
            let decided = decide_group(&group);
            for (one, ours) in group.iter().zip(&decided) {
                for (other, theirs) in group.iter().zip(&decided).filter(|(other, _)| other.seen != one.seen) {
                    if ours.person == theirs.person {
                        prop_assert!(!contradict(one, other) && one.birth_date == other.birth_date);
                        prop_assert!(ours.status == LinkStatus::Linked && theirs.status == LinkStatus::Linked);
                        prop_assert!(!shared_in_one_source(&group, &|_, _| false));
                    }
                }
            }
            let turn = turn % group.len();
            group.rotate_left(turn);
            let mut turned = decide_group(&group);
            turned.rotate_right(turn);
            prop_assert_eq!(decided, turned);
        }

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
