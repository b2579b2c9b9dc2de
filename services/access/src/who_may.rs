//! Every combination of role, action, relation, door and consent, against the table that people read.

#[path = "../tests/who_may/table.rs"]
mod table;

use super::*;
use event::{Kind, Micros};
use std::collections::BTreeSet;
use table::{CONSENTS, lines, says};

const NOW: Micros = 1_800_000_000_000_000;
const HOUR: Micros = 3_600_000_000;
const RELATIONS: [&str; 7] = ["registered", "encounter", "referral", "ended", "none", "glass", "themselves"];
const PRACTICE: &str = "R1V01";
const HOSPITAL: &str = "RSM01";

/// An action, and what for.
#[derive(Clone, Copy)]
struct Doing {
    action: Action,
    purpose: Purpose,
}

impl Doing {
    fn all() -> Vec<Self> {
        let direct = |action| Self { action, purpose: Purpose::DirectCare };
        let others = Action::ALL.into_iter().filter(|action| *action != Action::Receive).map(direct);
        others.chain(Purpose::ALL.map(|purpose| Self { action: Action::Receive, purpose })).collect()
    }

    fn name(self) -> String {
        match self.action {
            Action::Receive => format!("receive for {}", self.purpose.as_str()),
            action => action.as_str().to_owned(),
        }
    }
}

fn agreement(from: &str, to: &str, purpose: Purpose, glass: bool) -> Agreement {
    Agreement {
        id: format!("{from}-{to}-{}", purpose.as_str()),
        version: 1,
        purpose,
        disclose: [from.to_owned()].into(),
        receive: [to.to_owned()].into(),
        kinds: Kind::ALL.into(),
        until: Micros::MAX,
        break_glass_overrides_objection: glass,
        ..Agreement::default()
    }
}

fn decided(role: Role, doing: Doing, relation: &str, door: Channel, consent: usize) -> String {
    let at_practice = relation == "registered";
    let (own, other) = if at_practice { (PRACTICE, HOSPITAL) } else { (HOSPITAL, PRACTICE) };
    let kind = if at_practice { TeamKind::Practice } else { TeamKind::Department };
    let team = Team { id: "team".into(), name: "team".into(), organisation: own.into(), kind, source: None };
    let alert = matches!(doing.action, Action::ViewAlerts | Action::HandleAlert);
    let holding = |organisation: &str, kept: bool| {
        let kinds = if alert { vec![Kind::Observation] } else { Kind::ALL.to_vec() };
        let (kinds, confidential) = if kept { (Vec::new(), kinds) } else { (kinds, Vec::new()) };
        Holding { organisation: organisation.into(), kinds, confidential }
    };
    let contact = |ended_at, referral| vec![Contact { team: "team".into(), ended_at, referral }];
    let has_relation = matches!(relation, "registered" | "encounter" | "referral");
    let patient = PatientContext {
        registered: vec![PRACTICE.into()],
        contacts: match relation {
            "encounter" => contact(None, false),
            "referral" => contact(None, true),
            "ended" => contact(Some(NOW - 72 * HOUR), false),
            _ => Vec::new(),
        },
        // An alert is on a result of the other organisation.
        holdings: if alert {
            vec![holding(other, consent == 3)]
        } else {
            vec![holding(own, false), holding(other, consent == 3)]
        },
        objection: matches!(consent, 1 | 2),
        opted_out: consent == 4,
        recipients: if has_relation { vec!["team".into()] } else { Vec::new() },
    };
    let pairs = [(own, other), (other, own)];
    let agreements: Vec<Agreement> = Purpose::ALL
        .into_iter()
        .flat_map(|purpose| pairs.map(|(from, to)| agreement(from, to, purpose, consent == 2)))
        .collect();
    let grant = Grant { reason: "unconscious".into(), from: NOW - 1, until: NOW + 1 };
    let decision = decide(&Request {
        roles: &[role],
        teams: std::slice::from_ref(&team),
        action: doing.action,
        channel: door,
        purpose: doing.purpose,
        patient: Some(&patient),
        themselves: relation == "themselves",
        agreements: &agreements,
        grants: if relation == "glass" { std::slice::from_ref(&grant) } else { &[] },
        encounter_grace_hours: 72,
        now: NOW,
    });
    let of = |organisation: &str| decision.shown.iter().any(|(of, _)| of == organisation);
    let kinds = decision.shown.iter().all(|(_, kind)| role.sees(*kind));
    assert!(kinds, "{role:?} is shown what its work does not need");
    let record = matches!(doing.action, Action::ViewRecord | Action::FindPatient | Action::Receive);
    match (decision.allow, record) {
        (false, _) => "-",
        (true, false) => "yes",
        (true, true) if of(own) && of(other) => "both",
        (true, true) if of(own) => "own",
        (true, true) => "something else",
    }
    .to_owned()
}

#[test]
fn the_table_is_what_is_decided() {
    let lines = lines();
    let (mut cells, mut allowed) = (0, 0);
    let mut wrong = Vec::new();
    for role in Role::ALL {
        for doing in Doing::all() {
            for relation in RELATIONS {
                for door in Channel::ALL {
                    for consent in 0..CONSENTS {
                        let want = says(&lines, role.as_str(), &doing.name(), relation, door.as_str(), consent);
                        let got = decided(role, doing, relation, door, consent);
                        cells += 1;
                        allowed += usize::from(got != "-");
                        if want != got {
                            let (role, doing, door) = (role.as_str(), doing.name(), door.as_str());
                            wrong.push(format!("{role} {doing} {relation} {door} {consent}: {got}, not {want}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cells, 27_720, "the table's own words say how many there are");
    // Deny by default is most of it; and not all.
    assert!((200..2_000).contains(&allowed), "{allowed} are allowed");
}

#[test]
fn every_word_of_the_table_is_known() {
    let mut known: BTreeSet<String> = RELATIONS.map(str::to_owned).into();
    known.extend(Role::ALL.map(|role| role.as_str().to_owned()));
    known.extend(Doing::all().into_iter().map(Doing::name));
    known.extend(Channel::ALL.map(|door| door.as_str().to_owned()));
    known.insert("any".to_owned());
    for line in lines() {
        for word in [&line.roles, &line.actions, &line.relations, &line.doors].into_iter().flatten() {
            assert!(known.contains(word), "`{word}` is no word of ours");
        }
        for gives in &line.gives {
            assert!(["both", "own", "yes", "-"].contains(&gives.as_str()), "`{gives}`");
        }
    }
}

/// A purpose beyond individual care opens no record, page or alert.
#[test]
fn people_read_for_direct_care_alone() {
    for doing in Doing::all().into_iter().filter(|doing| doing.action != Action::Receive) {
        for purpose in [Purpose::Planning, Purpose::Research] {
            for (role, door) in Role::ALL.into_iter().flat_map(|role| Channel::ALL.map(|door| (role, door))) {
                let got = decided(role, Doing { purpose, ..doing }, "registered", door, 0);
                assert_eq!(got, "-", "{role:?} {} {purpose:?}", doing.name());
            }
        }
    }
}
