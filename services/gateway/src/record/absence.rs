//! What an empty list says. Absence never reads as safety, and says the same on page and in FHIR.
//!
//! # Why
//! Nothing on a list can mean that somebody asked and there is none, that nobody asked, that the practice's record is
//! not linked, that a source has not been reached, or that something may not be shown. Where not everything may be
//! shown, every empty list says so in the same words, whether something was kept from it or not: otherwise the words
//! would tell which list it was kept from.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{Person, clinical::Freshness};
use crate::{access::Decision, freshness::Behind, page::format};
use event::{Kind, Micros, teams::Teams};
use serde_json::{Value, json};

/// The system of [`Absence::empty_reason`]'s codes.
const EMPTY_REASON_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/list-empty-reason";

/// What there is to look in, for this reader, of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Something may not be shown, is in quarantine, or is kept apart. Which it is, nobody is told.
    pub partial: bool,
    /// A general practice's record is linked.
    pub practice: bool,
    /// Another organisation's record is linked.
    pub elsewhere: bool,
    /// Organisations whose source has not been reached, and up to when their records are here.
    pub behind: Vec<(String, Option<Micros>)>,
}

impl Coverage {
    pub fn of(
        person: &Person,
        decision: &Decision,
        freshness: &[Freshness],
        held: bool,
        teams: &Teams,
        late: &[Behind],
    ) -> Self {
        let is_practice = |organisation: &str| teams.practices(organisation).next().is_some();
        let organisation_of = |source: &str| {
            person.identities.iter().find(|identity| identity.source == source).map(|of| of.organisation.clone())
        };
        let behind = freshness.iter().filter_map(|source| {
            let late = late.iter().find(|late| late.source == source.source);
            let upto = match late {
                Some(late) => late.since,
                None if !source.known() => None,
                None => return None,
            };
            Some((organisation_of(&source.source).unwrap_or_else(|| source.source.clone()), upto))
        });
        Self {
            partial: decision.limited || held || freshness.iter().any(|source| source.quarantined > 0),
            practice: person.identities.iter().any(|identity| is_practice(&identity.organisation)),
            elsewhere: person.identities.iter().any(|identity| !is_practice(&identity.organisation)),
            behind: behind.collect(),
        }
    }

    /// Why a list of this kind shows nothing. `asked`: somebody recorded that there are none.
    pub fn absence(&self, kind: Kind, asked: bool) -> Absence {
        if self.partial {
            Absence::NoneShown
        } else if !self.practice {
            Absence::NoPracticeRecord
        } else if !self.behind.is_empty() {
            Absence::NotReached(self.behind.clone())
        } else if asked {
            Absence::AskedAndNone
        } else if kind == Kind::Allergy {
            Absence::NotAsked
        } else {
            Absence::NoneRecorded
        }
    }

    /// What an empty cell of the medicines table says: on the practice's side, or on the hospital's.
    pub fn not_listed(&self, practice: bool, teams: &Teams) -> &'static str {
        let of_side = |organisation: &str| teams.practices(organisation).next().is_some() == practice;
        let behind = self.behind.iter().any(|(organisation, _)| of_side(organisation));
        let linked = if practice { self.practice } else { self.elsewhere };
        match (self.partial, linked, behind, practice) {
            (true, ..) => "None shown here",
            (_, false, _, true) => "No GP record is linked",
            (_, false, _, false) => "No hospital record is linked",
            (_, _, true, true) => "Not on the GP's list when it was last reached",
            (_, _, true, false) => "Not on the hospital's list when it was last reached",
            (_, _, false, true) => "Not on the GP's list",
            (_, _, false, false) => "Not on the hospital's list",
        }
    }
}

/// Why a list is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Not everything may be shown: the same of every list.
    NoneShown,
    NoPracticeRecord,
    /// By organisation, up to when its records are here.
    NotReached(Vec<(String, Option<Micros>)>),
    /// Somebody recorded that there are none.
    AskedAndNone,
    /// Nobody recorded any, nor that there are none.
    NotAsked,
    NoneRecorded,
}

impl Absence {
    /// The sentence that page and FHIR show. `name` turns an organisation's code into its name.
    pub fn words(&self, kind: Kind, name: impl Fn(&str) -> String) -> String {
        match self {
            Self::NoneShown => "None shown here. Not everything about this patient may be shown: ask.".into(),
            Self::NoPracticeRecord => format!(
                "No GP record is linked: nobody looked at what the GP knows. The linked sources have no {} recorded.",
                kind.plural()
            ),
            Self::NotReached(behind) => {
                let each: Vec<String> = behind
                    .iter()
                    .map(|(organisation, upto)| match upto {
                        Some(upto) => format!("{} (newest change here: {})", name(organisation), format::when(*upto)),
                        None => format!("{} (nothing received yet)", name(organisation)),
                    })
                    .collect();
                format!("No {} recorded so far, but not reached: {}.", kind.plural(), each.join(", "))
            }
            Self::AskedAndNone => format!("Asked, and recorded as none: no known {}.", kind.plural()),
            Self::NotAsked => {
                let what = kind.plural();
                format!("No {what} recorded. Nobody has recorded any, nor that there are none: ask the patient.")
            }
            Self::NoneRecorded => {
                format!("No {} recorded. This does not mean that there are none.", kind.plural())
            }
        }
    }

    /// FHIR's `emptyReason`.
    pub fn concept(&self, kind: Kind, name: impl Fn(&str) -> String) -> Value {
        let mut concept = json!({"text": self.words(kind, name)});
        if let Some(code) = self.empty_reason() {
            concept["coding"] = json!([{"system": EMPTY_REASON_SYSTEM, "code": code}]);
        }
        concept
    }

    /// The code of FHIR's `emptyReason`, where the code system has one that says no more than is known.
    const fn empty_reason(&self) -> Option<&'static str> {
        match self {
            Self::NoneShown | Self::NoPracticeRecord | Self::NotReached(_) => Some("unavailable"),
            Self::AskedAndNone => Some("nilknown"),
            Self::NotAsked => Some("notasked"),
            // A clinician's statement or an omission: the words say which is not known.
            Self::NoneRecorded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{self, Action, Agreement, Contact, Holding, PatientContext, Role},
        record::Identity,
    };
    use std::collections::BTreeSet;
    use uuid::Uuid;

    const NOW: Micros = 1_800_000_000_000_000;
    const TEAMS: &str = "[[team]]\nid = 'riverside'\nname = 'Riverside'\norganisation = 'GP1'\nkind = 'practice'\n\
                         [[team]]\nid = 'ed'\nname = 'ED'\norganisation = 'H1'\nkind = 'department'\n";
    const LISTS: [Kind; 4] = [Kind::Allergy, Kind::Condition, Kind::Medication, Kind::Observation];

    /// A patient in the emergency department. `linked`: organisations; `gp_kinds`: what the practice holds.
    struct Case {
        linked: Vec<&'static str>,
        gp_kinds: Vec<Kind>,
        confidential: Vec<Kind>,
        objection: bool,
        agreed: bool,
        behind: Option<&'static str>,
        quarantined: bool,
        held: bool,
    }

    fn both() -> Case {
        Case {
            linked: vec!["GP1", "H1"],
            gp_kinds: Kind::ALL.to_vec(),
            confidential: Vec::new(),
            objection: false,
            agreed: true,
            behind: None,
            quarantined: false,
            held: false,
        }
    }

    fn coverage(case: &Case) -> Coverage {
        let holding = |organisation: &&str| Holding {
            organisation: (*organisation).into(),
            kinds: if *organisation == "GP1" { case.gp_kinds.clone() } else { vec![Kind::Demographics] },
            confidential: if *organisation == "GP1" { case.confidential.clone() } else { Vec::new() },
        };
        let identity = |organisation: &&str| Identity {
            source: organisation.to_lowercase(),
            organisation: (*organisation).into(),
            ..Identity::default()
        };
        let person = Person {
            id: Uuid::nil(),
            sources: Vec::new(),
            identities: case.linked.iter().map(identity).collect(),
            held: false,
            context: PatientContext {
                contacts: vec![Contact { team: "ed".into(), ended_at: None, referral: false }],
                holdings: case.linked.iter().map(holding).collect(),
                objection: case.objection,
                ..PatientContext::default()
            },
            grants: Vec::new(),
        };
        let teams = Teams::parse(TEAMS).expect("teams");
        let agreement = Agreement {
            id: "a".into(),
            title: "t".into(),
            disclose: BTreeSet::from(["GP1".to_owned()]),
            receive: BTreeSet::from(["H1".to_owned()]),
            kinds: Kind::ALL.into(),
            from: 0,
            until: i64::MAX,
            ..Agreement::default()
        };
        let decision = access::decide(&access::Request {
            roles: &[Role::Clinician],
            teams: &teams.iter().filter(|team| team.id == "ed").cloned().collect::<Vec<_>>(),
            action: Action::ViewRecord,
            channel: access::Channel::Page,
            purpose: access::Purpose::DirectCare,
            themselves: false,
            patient: Some(&person.context),
            agreements: if case.agreed { std::slice::from_ref(&agreement) } else { &[] },
            grants: &[],
            encounter_grace_hours: 72,
            now: NOW,
        });
        let freshness: Vec<Freshness> = case
            .linked
            .iter()
            .map(|organisation| Freshness {
                source: organisation.to_lowercase(),
                committed_at: NOW - 5 * 3_600_000_000,
                applied_at: NOW,
                quarantined: i64::from(case.quarantined),
                ..Freshness::default()
            })
            .collect();
        let late: Vec<Behind> = (case.behind.iter())
            .map(|organisation| Behind {
                source: organisation.to_lowercase(),
                organisation: None,
                since: Some(NOW - 5 * 3_600_000_000),
            })
            .collect();
        Coverage::of(&person, &decision, &freshness, case.held, &teams, &late)
    }

    fn words(case: &Case, kind: Kind, asked: bool) -> String {
        coverage(case).absence(kind, asked).words(kind, |code| format!("the {code}"))
    }

    #[test]
    fn each_absence_has_its_own_sentence_and_reason() {
        let hospital_only = Case { linked: vec!["H1"], ..both() };
        let stale = Case { behind: Some("GP1"), ..both() };
        let objects = Case { objection: true, ..both() };
        let cases = [
            ("asked and none", both(), Kind::Allergy, true, Some("nilknown"), "Asked, and recorded as none"),
            ("not asked", both(), Kind::Allergy, false, Some("notasked"), "nor that there are none: ask the patient"),
            ("none recorded", both(), Kind::Condition, false, None, "No active problems recorded."),
            ("no GP", hospital_only, Kind::Allergy, true, Some("unavailable"), "No GP record is linked"),
            ("not reached", stale, Kind::Medication, false, Some("unavailable"), "not reached: the GP1 (newest change"),
            ("objects", objects, Kind::Allergy, true, Some("unavailable"), "None shown here."),
        ];
        let mut told = BTreeSet::new();
        for (name, case, kind, asked, code, want) in cases {
            let absence = coverage(&case).absence(kind, asked);
            let concept = absence.concept(kind, |code| format!("the {code}"));
            assert_eq!(concept["coding"][0]["code"].as_str(), code, "{name}");
            let text = concept["text"].as_str().unwrap_or_default().to_owned();
            assert!(text.contains(want), "{name}: {text}");
            assert_eq!(text, words(&case, kind, asked), "{name}: page and FHIR say the same");
            assert!(told.insert(text), "{name} reads like another absence");
        }
    }

    /// What the practice holds of a patient who objects, or keeps to itself, changes no list's words.
    #[test]
    fn where_not_everything_may_be_shown_every_list_says_the_same() {
        let holds = [vec![Kind::Demographics], vec![Kind::Demographics, Kind::Allergy], Kind::ALL.to_vec()];
        for gp_kinds in holds {
            let partial = [
                Case { objection: true, gp_kinds: gp_kinds.clone(), ..both() },
                Case { agreed: false, gp_kinds: gp_kinds.clone(), ..both() },
                Case { confidential: vec![Kind::Condition], gp_kinds: gp_kinds.clone(), ..both() },
                Case { quarantined: true, gp_kinds: gp_kinds.clone(), ..both() },
                Case { held: true, gp_kinds: gp_kinds.clone(), ..both() },
                Case { objection: true, behind: Some("GP1"), gp_kinds, ..both() },
            ];
            for case in &partial {
                let coverage = coverage(case);
                assert!(coverage.partial);
                let all: BTreeSet<String> =
                    LISTS.into_iter().flat_map(|kind| [words(case, kind, false), words(case, kind, true)]).collect();
                assert_eq!(all.len(), 1, "{all:?}");
                let teams = Teams::parse(TEAMS).expect("teams");
                assert_eq!([true, false].map(|side| coverage.not_listed(side, &teams)), ["None shown here"; 2]);
            }
        }
    }

    #[test]
    fn an_empty_cell_of_the_medicines_says_whether_anybody_looked() {
        let teams = Teams::parse(TEAMS).expect("teams");
        for (case, gp, hospital) in [
            (both(), "Not on the GP's list", "Not on the hospital's list"),
            (Case { linked: vec!["H1"], ..both() }, "No GP record is linked", "Not on the hospital's list"),
            (
                Case { behind: Some("GP1"), ..both() },
                "Not on the GP's list when it was last reached",
                "Not on the hospital's list",
            ),
        ] {
            let coverage = coverage(&case);
            assert_eq!([coverage.not_listed(true, &teams), coverage.not_listed(false, &teams)], [gp, hospital]);
        }
        let gp_only = Coverage { practice: true, ..Coverage::default() };
        assert_eq!(gp_only.not_listed(false, &teams), "No hospital record is linked");
    }
}
