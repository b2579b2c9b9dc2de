//! Who is one person: invariants over any records and decisions, and the stories that they come from.

use crate::{
    Known, linking_number,
    names::Name,
    parameters::{Bands, File, Parameters, Rates},
    partition::{Judged, Rule, Settlement, Verdict},
    reason,
    score::stop,
    whole::link,
};
use event::LinkStatus;
use proptest::{collection::vec, prelude::*, sample::select};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Names and a birth date that agree are enough for a link, names alone for a clerk.
fn parameters() -> Parameters {
    let rates = |m: &str, u: &str| Rates { m: m.into(), u: u.into() };
    let field = |field: crate::compare::Field| {
        let levels = field.levels();
        let rates = levels.iter().enumerate().map(|(at, level)| {
            let rates = match at {
                0 => rates("0.9", "0.01"),
                at if at + 1 == levels.len() => rates("0.05", "0.9"),
                _ => rates("0.05", "0.05"),
            };
            ((*level).to_owned(), rates)
        });
        (field.as_str().to_owned(), rates.collect())
    };
    let file = File {
        version: "test-1".into(),
        prior: "0.01".into(),
        frequency_min: "0.001".into(),
        bands: Bands { link: "10".into(), clerical: "4".into() },
        field: crate::compare::Field::ALL.map(field).into_iter().collect(),
        frequency: BTreeMap::new(),
    };
    Parameters::of(&file).expect("good parameters")
}

fn record(seen: i64, source: &str) -> Known {
    Known {
        source: source.into(),
        id: seen.to_string(),
        seen,
        own: Uuid::from_u128(seen.cast_unsigned().into()),
        ..Known::default()
    }
}

const NUMBERS: [&str; 3] = ["9434765919", "9000000009", "9000000025"];

/// `source forename/surname sex birth postcode number`, one a line; `-` where nothing is told, `?` before a number that is
/// not verified.
fn told(lines: &str) -> Vec<Known> {
    let told = |word: &str| (word != "-").then(|| word.replace('_', " "));
    (1..)
        .zip(lines.trim().lines())
        .map(|(seen, line)| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [source, name, sex, birth, postcode, number] = words[..] else { panic!("{line}") };
            let (given, family) = name.split_once('/').expect("a name");
            let digits = number.trim_start_matches('?').parse::<usize>().ok();
            Known {
                name: Name::new(told(given).as_deref(), told(family).as_deref()),
                gender: told(sex),
                birth_date: told(birth).map(|day| day.parse().expect("a day")),
                postcode: told(postcode),
                nhs_number: digits.map(|at| NUMBERS[at].into()),
                verified: digits.is_some() && !number.starts_with('?'),
                ..record(seen, source)
            }
        })
        .collect()
}

/// Status, person and reason of each record; and who waits.
fn words(settlement: &Settlement) -> String {
    let settled = settlement.settled.iter().map(|settled| {
        let rule = settled.evidence.map_or("", |evidence| evidence.rule.as_str());
        let gap = if rule.is_empty() { "" } else { ":" };
        format!("{}={}{gap}{rule}", settled.decision.status.as_str(), settled.decision.person.as_u128())
    });
    let mut waiting: Vec<String> = settlement
        .waiting
        .iter()
        .map(|waiting| format!("{}?{}", waiting.one.min(waiting.other) + 1, waiting.one.max(waiting.other) + 1))
        .collect();
    waiting.sort();
    settled.chain(waiting).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(lines: &str, judged: &[(usize, usize, Verdict)], want: &str) {
    let members = told(lines);
    let judged: Vec<Judged> = judged
        .iter()
        .map(|(one, other, verdict)| Judged { one: one - 1, other: other - 1, verdict: *verdict })
        .collect();
    assert_eq!(words(&link(&members, &judged, Some(&parameters())).settlement), want, "{lines}");
}

const MUST: Verdict = Verdict::Must { people: 1 };
const MUST_BY_TWO: Verdict = Verdict::Must { people: 2 };

#[test]
fn weights_link_who_has_no_number() {
    check("gp Ann/Ellis female 9 RG1_4PA 0\ned Ann/Ellis female 9 RG1_4PA -", &[], "linked=1:weight linked=1:weight");
    check("gp Ann/Ellis female 9 RG1_4PA ?0\ned Ann/Ellis female 9 - ?0", &[], "linked=1:weight linked=1:weight");
    // Married and moved: a clerk is asked.
    check("gp Ann/Ellis female 9 RG1_4PA -\ned Ann/Patel female 9 SW1A_1AA -", &[], "held=1 held=2 1?2");
    check("gp Ann/Ellis female 9 RG1_4PA -\ned Ann/Patel female 9 RG1_4PA -", &[], "linked=1:weight linked=1:weight");
    check("gp Ann/Ellis - 9 RG1_4PA -\ned Ann/Patel - 9 RG1_4PA -", &[], "held=1 held=2 1?2");
    // Twins, a newborn, somebody unknown.
    check("gp Ann/Ellis female 9 RG1_4PA -\ned Amy/Ellis female 9 RG1_4PA -", &[], "held=1 held=2 1?2");
    check("gp Baby/Ellis female 9 RG1_4PA -\ned Amy/Ellis female 9 RG1_4PA -", &[], "held=1 held=2 1?2");
    check("gp Unknown/Ellis female 9 RG1_4PA ?0\ned Amy/Ellis female 9 RG1_4PA ?0", &[], "held=1 held=2 1?2");
}

#[test]
fn no_edge_joins_two_numbers_or_two_birth_dates() {
    // The one in the middle fits both: it goes with the heavier, or the first, and the other pair waits.
    check(
        "gp Ann/Ellis female 9 RG1_4PA 0\ned Ann/Ellis female 9 RG1_4PA -\neye Ann/Ellis female 9 RG1_4PA 1",
        &[],
        "held=1 linked=2:weight linked=2:weight 1?2 1?3",
    );
    check("gp Ann/Ellis female 9 RG1_4PA ?0\ned Ann/Ellis female 8 RG1_4PA ?0", &[], "held=1 held=2 1?2");
    // A number that is held is settled by no weight.
    check(
        "gp Ann/Ellis female 9 RG1_4PA 0\ned Ann/Ellis female 8 RG1_4PA 0\neye Ann/Ellis female 9 RG1_4PA -",
        &[],
        "held=1 held=2 held=3 1?2 1?3 2?3",
    );
}

#[test]
fn clerks_decide_and_two_numbers_need_two_of_them() {
    let strangers = "gp Ann/Ellis female 9 - -\ned Bob/Patel male 700 - -";
    check(strangers, &[], "alone=1 alone=2");
    check(strangers, &[(1, 2, MUST)], "linked=1:must-link linked=1:must-link");
    check(strangers, &[(1, 2, Verdict::SourceMerge)], "linked=1:source-merge linked=1:source-merge");
    let numbers = "gp Ann/Ellis female 9 - 0\ned Ann/Ellis female 9 - 1";
    check(numbers, &[(1, 2, MUST)], "held=1 held=2 1?2");
    check(numbers, &[(1, 2, Verdict::SourceMerge)], "held=1 held=2 1?2");
    check(numbers, &[(1, 2, MUST_BY_TWO)], "linked=1:must-link linked=1:must-link");
    // What is kept apart stays apart, whatever it weighs, by whatever way.
    let same = "gp Ann/Ellis female 9 RG1_4PA -\ned Ann/Ellis female 9 RG1_4PA -\neye Ann/Ellis female 9 RG1_4PA -";
    check(same, &[], "linked=1:weight linked=1:weight linked=1:weight");
    check(same, &[(1, 3, Verdict::Cannot)], "held=1 linked=2:weight linked=2:weight 1?2");
    check(same, &[(1, 2, Verdict::Cannot), (1, 3, Verdict::Cannot)], "alone=1 linked=2:weight linked=2:weight");
    // A number too.
    let number = "gp Ann/Ellis female 9 - 0\ned Ann/Ellis female 9 - 0";
    check(number, &[(1, 2, Verdict::Cannot)], "alone=1 alone=2");
    // A clerk settles a number that is held; and who was kept apart holds no more.
    let held = "gp Ann/Ellis female 9 - 0\ned Ann/Ellis female 8 - 0";
    check(held, &[], "held=1 held=2 1?2");
    check(held, &[(1, 2, MUST)], "linked=1:must-link linked=1:must-link");
    check(held, &[(1, 2, Verdict::Cannot)], "alone=1 alone=2");
    // Twice in one source under one number, differing: a clerk or the source may say that they are one.
    let shared = "gp Ann/Ellis female 9 - 0\ngp A/Ellis female 9 - 0\ned Ann/Ellis female 9 - 0";
    check(shared, &[], "held=1 held=2 held=3 1?3 2?3");
    check(shared, &[(1, 2, Verdict::SourceMerge)], "linked=1:source-merge linked=1:source-merge linked=1:number");
}

#[test]
fn clerks_who_contradict_each_other_are_told_and_the_parting_wins() {
    let three = "gp Ann/A female 1 - -\ned Bob/B male 700 - -\neye Cy/C male 1400 - -";
    check(
        three,
        &[(1, 2, MUST), (2, 3, MUST), (1, 3, Verdict::Cannot)],
        "held=1 linked=2:must-link linked=2:must-link 1?2",
    );
}

fn any_record() -> impl Strategy<Value = (usize, usize, usize, usize, Option<usize>, bool, bool)> {
    let rarely = || prop::bool::weighted(0.05);
    (
        0..3_usize,
        0..5_usize,
        0..2_usize,
        0..3_usize,
        prop::option::weighted(0.5, 0..3_usize),
        prop::bool::weighted(0.7),
        rarely(),
    )
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    select(vec![MUST, MUST_BY_TWO, Verdict::Cannot, Verdict::Cannot, Verdict::SourceMerge])
}

fn any_records() -> impl Strategy<Value = Vec<Known>> {
    vec(any_record(), 1..9).prop_map(|records| {
        (1..)
            .zip(records)
            .map(|(seen, (source, given, family, birth, number, verified, withdrawn))| Known {
                name: Name::new(
                    ["Ann", "Amy", "A", "Baby", ""].get(given).copied(),
                    ["Ellis", "Patel"].get(family).copied(),
                ),
                birth_date: [Some(9), Some(8), None][birth],
                postcode: Some("RG1 4PA".into()),
                gender: Some("female".into()),
                nhs_number: number.map(|at| NUMBERS[at].into()),
                verified,
                withdrawn,
                ..record(seen, ["gp", "ed", "eye"][source])
            })
            .collect()
    })
}

/// Persons as sets of keys.
fn persons(members: &[Known], settlement: &Settlement) -> BTreeSet<BTreeSet<String>> {
    let mut persons: BTreeMap<Uuid, BTreeSet<String>> = BTreeMap::new();
    for (member, settled) in members.iter().zip(&settlement.settled) {
        persons.entry(settled.decision.person).or_default().insert(format!("{}/{}", member.source, member.id));
    }
    persons.into_values().collect()
}

proptest! {
    /// Nobody is one person with whom a clerk keeps them apart; two numbers are one person's only by two clerks, two birth
    /// dates only by one or by their source; a person goes by its first member's id; and who is alone is nobody else's.
    #[test]
    fn a_person_is_what_the_rules_let_it_be(
        members in any_records(), said in vec((0..9_usize, 0..9_usize, any_verdict()), 0..4),
    ) {
        let mut judged: BTreeMap<(usize, usize), Verdict> = BTreeMap::new();
        for (one, other, verdict) in said {
            let (one, other) = (one % members.len(), other % members.len());
            if one != other {
                judged.insert((one.min(other), one.max(other)), verdict);
            }
        }
        let judged: Vec<Judged> =
            judged.into_iter().map(|((one, other), verdict)| Judged { one, other, verdict }).collect();
        let settlement = link(&members, &judged, Some(&parameters())).settlement;
        let mut groups: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        for (at, settled) in settlement.settled.iter().enumerate() {
            groups.entry(settled.decision.person).or_default().push(at);
        }
        for (person, group) in &groups {
            let inside = |judged: &&Judged| group.contains(&judged.one) && group.contains(&judged.other);
            let by = |wanted: &[Verdict]| judged.iter().filter(inside).any(|judged| wanted.contains(&judged.verdict));
            prop_assert!(!by(&[Verdict::Cannot]), "kept apart, and one person");
            let numbers: BTreeSet<_> = group.iter().filter_map(|at| linking_number(&members[*at])).collect();
            prop_assert!(numbers.len() < 2 || by(&[MUST_BY_TWO]), "two numbers");
            let dates: BTreeSet<_> = group.iter().filter_map(|at| members[*at].birth_date).collect();
            prop_assert!(dates.len() < 2 || by(&[MUST, MUST_BY_TWO, Verdict::SourceMerge]), "two birth dates");
            let first = group.iter().map(|at| &members[*at]).min_by_key(|known| known.seen).expect("somebody");
            prop_assert_eq!(*person, first.own);
            for at in group {
                let settled = &settlement.settled[*at];
                prop_assert_eq!(settled.decision.status == LinkStatus::Linked, group.len() > 1);
                prop_assert_eq!(settled.evidence.is_some(), group.len() > 1);
                prop_assert!(group.len() == 1 || !members[*at].withdrawn);
            }
        }
        for waiting in &settlement.waiting {
            let (one, other) = (&settlement.settled[waiting.one], &settlement.settled[waiting.other]);
            prop_assert!(one.decision.person != other.decision.person, "it waits for what is done");
            prop_assert!(one.decision.status != LinkStatus::Alone && other.decision.status != LinkStatus::Alone);
        }
        // A must-link that nothing stands against is done.
        for judged in judged.iter().filter(|judged| judged.verdict == MUST_BY_TWO) {
            let (one, other) = (&settlement.settled[judged.one], &settlement.settled[judged.other]);
            let waits = settlement.waiting.iter().any(|waiting| waiting.reason == stop::CONTRADICT);
            let gone = members[judged.one].withdrawn || members[judged.other].withdrawn;
            prop_assert!(one.decision.person == other.decision.person || waits || gone);
        }
    }

    /// Shuffled, the records make the same people, with the same evidence, and the same pairs wait.
    #[test]
    fn the_order_of_arrival_changes_nothing(
        members in any_records(), cannot in prop::option::of((0..9_usize, 0..9_usize)), order in any::<prop::sample::Index>(),
        turned: bool,
    ) {
        let pair = cannot.map(|(one, other)| (one % members.len(), other % members.len())).filter(|(one, other)| one != other);
        let judged: Vec<Judged> =
            pair.into_iter().map(|(one, other)| Judged { one, other, verdict: Verdict::Cannot }).collect();
        let mut shuffled = members.clone();
        shuffled.rotate_left(order.index(members.len()));
        if turned {
            shuffled.reverse();
        }
        let place = |at: usize| shuffled.iter().position(|known| known.key() == members[at].key()).expect("it is there");
        let moved: Vec<Judged> =
            judged.iter().map(|judged| Judged { one: place(judged.one), other: place(judged.other), ..*judged }).collect();
        // Arrived in that order, too.
        let before = link(&members, &judged, Some(&parameters())).settlement;
        let mut arrived = shuffled.clone();
        for (seen, known) in (1..).zip(&mut arrived) {
            known.seen = seen;
        }
        let after = link(&arrived, &moved, Some(&parameters())).settlement;
        prop_assert_eq!(persons(&members, &before), persons(&arrived, &after));
        for (at, settled) in before.settled.iter().enumerate() {
            let other = &after.settled[place(at)];
            prop_assert_eq!(settled.decision.status, other.decision.status);
            prop_assert_eq!(settled.decision.reason, other.decision.reason);
            let key = |members: &[Known], evidence: crate::partition::Evidence| {
                (evidence.rule, evidence.weight, format!("{:?}", members[evidence.with].key()))
            };
            prop_assert_eq!(
                settled.evidence.map(|evidence| key(&members, evidence)), other.evidence.map(|evidence| key(&arrived, evidence))
            );
        }
        let pairs = |members: &[Known], settlement: &Settlement| -> BTreeSet<String> {
            let waiting = settlement.waiting.iter();
            waiting.map(|w| format!("{:?} {:?} {}", members[w.one].key(), members[w.other].key(), w.reason)).collect()
        };
        prop_assert_eq!(pairs(&members, &before), pairs(&arrived, &after));
    }

    /// A merge goes by the id of its member that was seen first (weaker edges may give way to it), and a parting gives all
    /// theirs back.
    #[test]
    fn a_parting_restores_what_was_there_before_the_merge(members in any_records(), one in 0..9_usize, other in 0..9_usize) {
        let (one, other) = (one % members.len(), other % members.len());
        prop_assume!(one != other && !members[one].withdrawn && !members[other].withdrawn);
        let before = link(&members, &[], Some(&parameters())).settlement;
        let (first, second) = (before.settled[one].decision.person, before.settled[other].decision.person);
        prop_assume!(first != second);
        let merged = link(&members, &[Judged { one, other, verdict: MUST_BY_TWO }], Some(&parameters())).settlement;
        let survivor = merged.settled[one].decision.person;
        prop_assert_eq!(survivor, merged.settled[other].decision.person);
        let of_it = members.iter().zip(&merged.settled).filter(|(_, settled)| settled.decision.person == survivor);
        let seen_first = of_it.map(|(member, _)| member).min_by_key(|member| member.seen);
        prop_assert_eq!(seen_first.map(|member| member.own), Some(survivor));
        prop_assert_eq!(merged.settled[one].evidence.map(|evidence| evidence.rule), Some(Rule::MustLink));
        prop_assert_eq!(merged.settled[one].decision.reason, reason::CLERK);
        let parted = link(&members, &[Judged { one, other, verdict: Verdict::Cannot }], Some(&parameters())).settlement;
        prop_assert_eq!(persons(&members, &before), persons(&members, &parted));
        for (earlier, later) in before.settled.iter().zip(&parted.settled) {
            prop_assert_eq!(earlier.decision.person, later.decision.person);
        }
    }
}
