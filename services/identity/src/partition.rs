//! Which records are one person, of all that is said and decided of them.
//!
//! # Why
//! Edges join records: what a clerk decided, what a source says of its own records, a verified number, a weight; in this
//! order, and the heaviest weight first. An edge that would join two people is left out, and a clerk is asked: people are two
//! if a clerk keeps members of them apart, if they have two verified numbers, or two birth dates. A clerk may join two birth
//! dates; two numbers need two clerks. All of it is worked out anew from the edges each time, so nothing depends on the order
//! in which records came, links were made or cut, and a cut restores what was there before the join: a person goes by the id
//! of its member that was seen first, and every member keeps its own.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{
    BEARERS_MAX, Decision, Known, decide_alone, linking_number,
    number::decide_knowing,
    reason,
    score::{Band, Scored, stop},
    weight::Weight,
};
use event::LinkStatus;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// By what a link was made, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A clerk said so.
    MustLink,
    /// Their source says that it merged them.
    SourceMerge,
    Number,
    Weight,
}

impl Rule {
    pub const ALL: [Self; 4] = [Self::MustLink, Self::SourceMerge, Self::Number, Self::Weight];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MustLink => "must-link",
            Self::SourceMerge => "source-merge",
            Self::Number => "number",
            Self::Weight => "weight",
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::MustLink => reason::CLERK,
            Self::SourceMerge => reason::SOURCE,
            Self::Number => reason::AGREES,
            Self::Weight => reason::WEIGHS,
        }
    }
}

/// What somebody said of two records, for good or until they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By so many different people.
    Must {
        people: u8,
    },
    Cannot,
    SourceMerge,
}

/// A verdict on two records, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    pub one: usize,
    pub other: usize,
    pub verdict: Verdict,
}

/// Two records that weigh enough for a link or a clerk. `other` is none where that record is not among those looked at:
/// nothing could join it to any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub one: usize,
    pub other: Option<usize>,
    pub scored: Scored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub rule: Rule,
    /// The record that it was joined to.
    pub with: usize,
    pub weight: Option<Weight>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub decision: Decision,
    /// Of a linked record.
    pub evidence: Option<Evidence>,
}

/// Two records that wait for a clerk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub one: usize,
    pub other: usize,
    pub reason: &'static str,
    pub weight: Option<Weight>,
}

/// In the order of the records, and of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    pub settled: Vec<Settled>,
    pub waiting: Vec<Waiting>,
}

/// Settles records: with all that anything could join to any of them.
pub fn settle(members: &[Known], judged: &[Judged], pairs: &[Pair]) -> Settlement {
    let mut people = People::new(members, judged);
    let mut said: Vec<Edge> = judged.iter().filter_map(Edge::said).collect();
    people.join_all(&mut said);
    let mut decided: Vec<Option<Decision>> = members.iter().map(|_| None).collect();
    people.join_all(&mut numbers(members, &people, &mut decided));
    let is_held = |at: usize| decided[at].as_ref().is_some_and(|decision| decision.status == LinkStatus::Held);
    let mut weights = Vec::new();
    for pair in pairs.iter().filter(|pair| pair.scored.band != Band::None) {
        let Some(other) = pair.other else { continue };
        let weight = Some(pair.scored.weight);
        match pair.scored.band {
            // A number that is held is decided by nobody but a clerk.
            Band::Link if !is_held(pair.one) && !is_held(other) => {
                weights.push(Edge { rule: Rule::Weight, one: pair.one, other, weight, people: 1 });
            }
            Band::Link => people.refused.push((pair.one, other, stop::HELD, weight)),
            _ => people.refused.push((pair.one, other, pair.scored.stop.unwrap_or(stop::BETWEEN), weight)),
        }
    }
    people.join_all(&mut weights);
    people.hold_numbers(&decided);
    let waiting = people.waiting();
    let mut waits: BTreeSet<usize> = waiting.iter().flat_map(|waiting| [waiting.one, waiting.other]).collect();
    waits.extend(
        pairs.iter().filter(|pair| pair.other.is_none() && pair.scored.band != Band::None).map(|pair| pair.one),
    );
    let settled = (0..members.len()).map(|at| people.settled(at, decided[at].take(), waits.contains(&at))).collect();
    Settlement { settled, waiting }
}

/// The edges of records that share a verified number, and what the number's rules say of each.
fn numbers(members: &[Known], people: &People<'_>, decided: &mut [Option<Decision>]) -> Vec<Edge> {
    let mut bearers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        if let Some(number) = linking_number(member) {
            bearers.entry(number).or_default().push(at);
        }
    }
    let mut edges = Vec::new();
    for group in bearers.into_values() {
        let known: Vec<Known> = group.iter().map(|at| members[*at].clone()).collect();
        let same = |one: usize, other: usize| people.find(group[one]) == people.find(group[other]);
        let decisions = decide_knowing(&known, &same);
        let agreed: Vec<usize> = (group.iter().zip(&decisions))
            .filter(|(_, decision)| decision.status == LinkStatus::Linked)
            .map(|(at, _)| *at)
            .collect();
        for (index, one) in agreed.iter().enumerate() {
            for other in &agreed[index + 1..] {
                edges.push(Edge { rule: Rule::Number, one: *one, other: *other, weight: None, people: 1 });
            }
        }
        for (at, decision) in group.into_iter().zip(decisions) {
            decided[at] = Some(decision);
        }
    }
    edges
}

#[derive(Clone, Debug)]
struct Edge {
    rule: Rule,
    one: usize,
    other: usize,
    weight: Option<Weight>,
    /// So many different people said so.
    people: u8,
}

impl Edge {
    fn said(judged: &Judged) -> Option<Self> {
        let (rule, people) = match judged.verdict {
            Verdict::Must { people } => (Rule::MustLink, people),
            Verdict::SourceMerge => (Rule::SourceMerge, 1),
            Verdict::Cannot => return None,
        };
        Some(Self { rule, one: judged.one, other: judged.other, weight: None, people })
    }
}

/// A person while it is put together.
#[derive(Clone, Debug, Default)]
struct Person<'a> {
    members: Vec<usize>,
    numbers: BTreeSet<&'a str>,
    birth_dates: BTreeSet<i32>,
}

struct People<'a> {
    members: &'a [Known],
    root: Vec<usize>,
    persons: Vec<Person<'a>>,
    /// Pairs that a clerk keeps apart, the smaller place first.
    apart: BTreeSet<(usize, usize)>,
    evidence: Vec<Option<Evidence>>,
    /// Edges that were left out, and pairs that are none.
    refused: Vec<(usize, usize, &'static str, Option<Weight>)>,
}

impl<'a> People<'a> {
    fn new(members: &'a [Known], judged: &[Judged]) -> Self {
        let person = |(at, member): (usize, &'a Known)| Person {
            members: vec![at],
            numbers: linking_number(member).into_iter().collect(),
            birth_dates: member.birth_date.into_iter().collect(),
        };
        let cannot = judged.iter().filter(|judged| judged.verdict == Verdict::Cannot);
        Self {
            members,
            root: (0..members.len()).collect(),
            persons: members.iter().enumerate().map(person).collect(),
            apart: cannot.map(|judged| ordered(judged.one, judged.other)).collect(),
            evidence: vec![None; members.len()],
            refused: Vec::new(),
        }
    }

    fn find(&self, at: usize) -> usize {
        self.root[at]
    }

    fn join_all(&mut self, edges: &mut Vec<Edge>) {
        let members = self.members;
        edges.sort_by_key(|edge| (edge.rule, Reverse(edge.weight), keys(members, edge.one, edge.other)));
        for edge in edges.drain(..) {
            self.join(&edge);
        }
    }

    fn join(&mut self, edge: &Edge) {
        let (one, other) = (self.find(edge.one), self.find(edge.other));
        if one == other || self.members[edge.one].withdrawn || self.members[edge.other].withdrawn {
            return;
        }
        if let Some(reason) = self.two_people(edge, one, other) {
            self.refused.push((edge.one, edge.other, reason, edge.weight));
            return;
        }
        for (at, with) in [(edge.one, edge.other), (edge.other, edge.one)] {
            self.evidence[at].get_or_insert(Evidence { rule: edge.rule, with, weight: edge.weight });
        }
        let (into, from) = if self.persons[one].members.len() >= self.persons[other].members.len() {
            (one, other)
        } else {
            (other, one)
        };
        let gone = std::mem::take(&mut self.persons[from]);
        gone.members.iter().for_each(|at| self.root[*at] = into);
        let person = &mut self.persons[into];
        person.members.extend(gone.members);
        person.numbers.extend(gone.numbers);
        person.birth_dates.extend(gone.birth_dates);
    }

    /// Why these two are not one person by this edge.
    fn two_people(&self, edge: &Edge, one: usize, other: usize) -> Option<&'static str> {
        let (first, second) = (&self.persons[one], &self.persons[other]);
        let kept_apart =
            |(left, right): &(usize, usize)| ordered(self.root[*left], self.root[*right]) == ordered(one, other);
        let clerk = edge.rule == Rule::MustLink;
        if self.apart.iter().any(kept_apart) {
            Some(if clerk { stop::CONTRADICT } else { stop::KEPT_APART })
        } else if first.members.len() + second.members.len() > BEARERS_MAX {
            Some(stop::TOO_LARGE)
        } else if widens(&first.numbers, &second.numbers) && !(clerk && edge.people >= 2) {
            Some(if clerk { stop::SECOND_PERSON } else { stop::TWO_NUMBERS })
        } else if widens(&first.birth_dates, &second.birth_dates)
            && !matches!(edge.rule, Rule::MustLink | Rule::SourceMerge)
        {
            Some(stop::TWO_BIRTH_DATES)
        } else {
            None
        }
    }

    /// Who is held by a number waits with the first of its other bearers that nobody has decided about.
    fn hold_numbers(&mut self, decided: &[Option<Decision>]) {
        let mut bearers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, _) in decided.iter().enumerate().filter(|(_, decision)| decision.is_some()) {
            bearers.entry(linking_number(&self.members[at]).unwrap_or_default()).or_default().push(at);
        }
        let status = |at: usize| decided[at].as_ref().map(|decision| decision.status);
        for mut group in bearers.into_values() {
            // Those who are linked come first: that is whom it would be one with.
            group.sort_by_key(|at| (status(*at) != Some(LinkStatus::Linked), self.members[*at].key()));
            for held in group.iter().copied().filter(|at| status(*at) == Some(LinkStatus::Held)) {
                let open = |other: &&usize| {
                    **other != held
                        && self.root[**other] != self.root[held]
                        && !self.apart.contains(&ordered(held, **other))
                };
                if let (Some(other), Some(decision)) = (group.iter().find(open), &decided[held]) {
                    self.refused.push((held, *other, decision.reason, None));
                }
            }
        }
    }

    /// What is left for clerks: each pair once, by its weightiest reason.
    fn waiting(&self) -> Vec<Waiting> {
        let mut waiting: BTreeMap<_, Waiting> = BTreeMap::new();
        for (one, other, reason, weight) in self.refused.iter().copied() {
            if self.root[one] == self.root[other] || self.apart.contains(&ordered(one, other)) {
                continue;
            }
            let (one, other) =
                if self.members[one].key() <= self.members[other].key() { (one, other) } else { (other, one) };
            waiting.entry(keys(self.members, one, other)).or_insert(Waiting { one, other, reason, weight });
        }
        waiting.into_values().collect()
    }

    fn settled(&self, at: usize, decided: Option<Decision>, waits: bool) -> Settled {
        let person = &self.persons[self.root[at]];
        let own = self.members[at].own;
        if person.members.len() > 1 {
            let first = person.members.iter().map(|member| &self.members[*member]).min_by_key(|known| known.seen);
            let evidence = self.evidence[at];
            let reason = evidence.map_or(reason::AGREES, |evidence| evidence.rule.reason());
            let decision =
                Decision { person: first.map_or(own, |first| first.own), status: LinkStatus::Linked, reason };
            return Settled { decision, evidence };
        }
        let alone = |reason| Decision { person: own, status: LinkStatus::Alone, reason };
        let decision = match decided {
            // What a clerk has decided is not held any more.
            Some(decision) if decision.status != LinkStatus::Alone && !waits => alone(reason::KEPT_APART),
            Some(decision) if decision.status == LinkStatus::Held => Decision { person: own, ..decision },
            Some(_) | None if waits => Decision { person: own, status: LinkStatus::Held, reason: reason::MAYBE },
            Some(decision) => decision,
            None => decide_alone(&self.members[at]),
        };
        Settled { decision, evidence: None }
    }
}

/// Whether joining two sets of what a person has one of makes more than either had.
fn widens<T: Ord>(one: &BTreeSet<T>, other: &BTreeSet<T>) -> bool {
    !one.is_subset(other) && !other.is_subset(one)
}

const fn ordered(one: usize, other: usize) -> (usize, usize) {
    if one <= other { (one, other) } else { (other, one) }
}

/// Both keys, the smaller first: the same whatever the order of the records.
fn keys(members: &[Known], one: usize, other: usize) -> [(&str, &str); 2] {
    let mut keys = [members[one].key(), members[other].key()];
    keys.sort_unstable();
    keys
}

#[cfg(test)]
mod tests;
