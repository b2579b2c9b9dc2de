//! What a set of agreements lets through, and what differs between two of them.

use super::{Agreement, Purpose};
use event::{Kind, Micros};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What one organisation may receive from another, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flow<'a> {
    pub to: &'a str,
    pub from: &'a str,
    pub purpose: Purpose,
    pub kinds: Vec<&'static str>,
    pub agreement: &'a str,
    pub version: u32,
    /// Its last day.
    pub until: &'a str,
    /// A patient's objection yields to a broken glass.
    pub glass_overrides_objection: bool,
}

/// Everything that may be received at this time: by whom, from whom, by which agreement.
pub fn flows(agreements: &[Agreement], now: Micros) -> Vec<Flow<'_>> {
    let mut flows = Vec::new();
    for agreement in agreements.iter().filter(|agreement| agreement.in_force(now)) {
        for (to, from) in pairs(agreement) {
            flows.push(Flow {
                to,
                from,
                purpose: agreement.purpose,
                kinds: agreement.kinds.iter().map(|kind| kind.as_str()).collect(),
                agreement: &agreement.id,
                version: agreement.version,
                until: &agreement.paper.last_day,
                glass_overrides_objection: agreement.break_glass_overrides_objection,
            });
        }
    }
    flows.sort_by_key(|flow| (flow.to, flow.from, flow.purpose, flow.agreement));
    flows
}

fn pairs(agreement: &Agreement) -> impl Iterator<Item = (&str, &str)> {
    let each = agreement.receive.iter().flat_map(|to| agreement.disclose.iter().map(move |from| (to, from)));
    each.filter(|(to, from)| to != from).map(|(to, from)| (to.as_str(), from.as_str()))
}

/// One difference, in words, and whether it lets more through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    pub agreement: String,
    /// `opens`, `closes` or `says`.
    pub does: &'static str,
    pub what: String,
}

type Opened<'a> = BTreeMap<(&'a str, &'a str, Purpose), BTreeSet<Kind>>;

/// What becomes of the old set when the new one is put in its place at this time: first what is let through, or no more,
/// whichever agreement did it; then what the papers say.
pub fn compare(old: &[Agreement], new: &[Agreement], now: Micros) -> Vec<Change> {
    let (before, after) = (opened(old, now), opened(new, now));
    let mut changes = Vec::new();
    for (does, one, other) in [("opens", &after, &before), ("closes", &before, &after)] {
        for (pair, kinds) in one {
            let had = other.get(pair).cloned().unwrap_or_default();
            let more: Vec<&str> = kinds.difference(&had).map(|kind| kind.as_str()).collect();
            if !more.is_empty() {
                let (to, from, purpose) = pair;
                let what = format!("{to} receives {} from {from} for {}", more.join(", "), purpose.as_str());
                changes.push(Change { agreement: String::new(), does, what });
            }
        }
    }
    let by_id = |all: &[Agreement], id: &str| all.iter().find(|one| one.id == id).cloned();
    let ids: BTreeSet<&str> = old.iter().chain(new).map(|agreement| agreement.id.as_str()).collect();
    for id in ids {
        let said = match (by_id(old, id), by_id(new, id)) {
            (None, Some(new)) => vec![format!("is new, version {}", new.version)],
            (Some(_), None) => vec!["is gone".to_owned()],
            (Some(old), Some(new)) => differences(&old, &new),
            (None, None) => Vec::new(),
        };
        changes.extend(said.into_iter().map(|what| Change { agreement: id.to_owned(), does: "says", what }));
    }
    changes
}

fn opened(agreements: &[Agreement], now: Micros) -> Opened<'_> {
    let mut opened = Opened::new();
    for agreement in agreements.iter().filter(|agreement| agreement.in_force(now)) {
        for (to, from) in pairs(agreement) {
            opened.entry((to, from, agreement.purpose)).or_default().extend(&agreement.kinds);
        }
    }
    opened
}

fn differences(old: &Agreement, new: &Agreement) -> Vec<String> {
    let told = |agreement: &Agreement| -> Vec<(&'static str, String)> {
        let Agreement { title, version, draft, purpose, disclose, receive, kinds, paper, .. } = agreement;
        let list = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(", ");
        let parties = paper.parties.iter().map(|it| format!("{} {}: {}", it.organisation, it.role.as_str(), it.name));
        let signatures =
            paper.signatures.iter().map(|it| format!("{} version {} {}", it.organisation, it.version, it.on));
        vec![
            ("version", version.to_string()),
            ("title", title.clone()),
            ("draft", draft.to_string()),
            ("purpose", purpose.as_str().to_owned()),
            ("disclose", list(disclose)),
            ("receive", list(receive)),
            ("kinds", kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")),
            ("from", paper.first_day.clone()),
            ("until", paper.last_day.clone()),
            ("review", paper.review.clone()),
            ("retention", paper.retention.clone()),
            ("break_glass_overrides_objection", agreement.break_glass_overrides_objection.to_string()),
            ("incidents", paper.incidents.join(", ")),
            ("parties", parties.collect::<Vec<_>>().join("; ")),
            ("signatures", signatures.collect::<Vec<_>>().join("; ")),
        ]
    };
    let (before, after) = (told(old), told(new));
    let differ = before.into_iter().zip(after).filter(|(before, after)| before != after);
    let mut said: Vec<String> = differ.map(|((key, old), (_, new))| format!("{key}: {old} → {new}")).collect();
    if !said.is_empty() && old.version == new.version && !new.draft && !old.draft {
        said.push(format!("version {} was signed as it was: count the version up and sign anew", old.version));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(id: &str, from: &str, to: &[&str], kinds: &[Kind]) -> Agreement {
        Agreement {
            id: id.into(),
            title: id.into(),
            version: 1,
            disclose: [from.to_owned()].into(),
            receive: to.iter().map(ToString::to_string).collect(),
            kinds: kinds.iter().copied().collect(),
            until: 100,
            ..Agreement::default()
        }
    }

    #[test]
    fn the_matrix_is_what_the_decision_does() {
        let all = [
            agreement("a", "X", &["Y", "Z"], &[Kind::Observation, Kind::Allergy]),
            agreement("b", "Y", &["X"], &[Kind::Demographics]),
            Agreement { draft: true, ..agreement("c", "Z", &["X"], &[Kind::Demographics]) },
            Agreement { purpose: Purpose::Research, ..agreement("d", "Z", &["Y"], &[Kind::Condition]) },
        ];
        for now in [-1, 0, 99, 100] {
            let flows = flows(&all, now);
            for (to, from, kind, purpose) in each(&["X", "Y", "Z"]) {
                let flow = flows.iter().any(|flow| {
                    (flow.to, flow.from, flow.purpose) == (to, from, purpose) && flow.kinds.contains(&kind.as_str())
                });
                let readers = BTreeSet::from([to]);
                let covered = all.iter().any(|it| it.covers(from, &readers, kind, purpose, now));
                assert_eq!(flow, covered, "{to} {from} {kind:?} {purpose:?} {now}");
            }
        }
    }

    fn each<'a>(names: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str, Kind, Purpose)> {
        let pairs = names.iter().flat_map(|to| names.iter().map(move |from| (*to, *from)));
        pairs.filter(|(to, from)| to != from).flat_map(|(to, from)| {
            Kind::ALL.into_iter().flat_map(move |kind| Purpose::ALL.map(|purpose| (to, from, kind, purpose)))
        })
    }

    #[test]
    fn what_is_opened_and_closed_is_told_first() {
        let old = [agreement("a", "X", &["Y"], &[Kind::Observation, Kind::Allergy])];
        let narrower = Agreement { version: 2, ..agreement("a", "X", &["Y"], &[Kind::Observation]) };
        let new = [narrower, agreement("b", "X", &["Z"], &[Kind::Observation])];
        let told = |old, new| -> Vec<String> {
            let changes = compare(old, new, 0);
            changes.into_iter().map(|it| format!("{} {} {}", it.agreement, it.does, it.what)).collect()
        };
        assert_eq!(
            told(&old, &new),
            [
                " opens Z receives observation from X for direct-care",
                " closes Y receives allergy from X for direct-care",
                "a says version: 1 → 2",
                "a says kinds: observation, allergy → observation",
                "b says is new, version 1",
            ]
        );
        assert!(told(&old, &old).is_empty());
        // Covered by another agreement too: nothing is closed, though one is gone.
        let twice = [old[0].clone(), agreement("b", "X", &["Y"], &[Kind::Allergy])];
        assert_eq!(told(&twice, &old), ["b says is gone"]);
        let mut silent = old.clone();
        silent[0].paper.retention = "for ever".into();
        let told = told(&old, &silent);
        assert!(told[1].contains("count the version up and sign anew"), "{told:?}");
    }
}
