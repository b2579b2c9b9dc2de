//! To which teams an alert goes: the requester's, those the patient is with, and always somebody of whoever answers
//! for the result.

use event::{SourcePatient, Teams};
use std::collections::BTreeMap;

/// Where a source patient is: registered with a practice, or seen by a department.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The linked source patient that tells.
    pub via: SourcePatient,
    pub at: Whereabouts,
}

#[derive(Clone, Debug)]
pub enum Whereabouts {
    /// ODS code.
    Registered(String),
    /// A team's id.
    Seen(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub why: &'static str,
    /// The linked source patient through which the team was found; none if it is the alert's own.
    pub via: Option<SourcePatient>,
}

/// How far a result had to look for somebody who answers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// The organisation that holds the result has teams.
    Holder,
    /// It has none here (a hub, a practice that closed): the organisation whose database it is in.
    Source,
    /// Nor has that one: the site's catch-all.
    CatchAll,
    /// The site has no catch-all, which it must have.
    Nobody,
}

impl Reached {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::Source => "source",
            Self::CatchAll => "catch-all",
            Self::Nobody => "nobody",
        }
    }
}

/// The organisation that answers for a result: its holder if it has a team here, else the organisation of the source's
/// database, else that of the site's catch-all team. Who decides about access asks here too: whoever answers for a
/// result sees it whole.
pub fn answers<'a>(holder: &'a str, source: Option<&'a str>, teams: &'a Teams) -> (Option<&'a str>, Reached) {
    let has_team = |organisation: &&str| teams.of(organisation).next().is_some();
    if has_team(&holder) {
        (Some(holder), Reached::Holder)
    } else if let Some(source) = source.filter(has_team) {
        (Some(source), Reached::Source)
    } else {
        match teams.catch_all() {
            Some(team) => (Some(&team.organisation), Reached::CatchAll),
            None => (None, Reached::Nobody),
        }
    }
}

/// What an alert's result says about where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct From<'a> {
    pub patient: &'a SourcePatient,
    /// ODS code of whoever holds the result.
    pub organisation: &'a str,
    /// ODS code of the organisation whose database the source is, where the site names it.
    pub source_organisation: Option<&'a str>,
    pub requester: Option<&'a str>,
}

/// Teams with why they receive it. Of several reasons the one that needs no link counts.
///
/// Somebody of the organisation that answers for the result is always among them, whatever else is known: other
/// teams may not be let see it, and whether they are must not change what its own people are told.
pub fn recipients(from: &From<'_>, placements: &[Placement], teams: &Teams) -> (BTreeMap<String, Recipient>, Reached) {
    let mut found: BTreeMap<String, Recipient> = BTreeMap::new();
    if let Some(team) = from.requester.and_then(|team| teams.get(team)) {
        found.insert(team.id.clone(), Recipient { why: "requested the test", via: None });
    }
    for placement in placements {
        let via = (placement.via != *from.patient).then(|| placement.via.clone());
        let (matching, why): (Vec<_>, _) = match &placement.at {
            Whereabouts::Registered(practice) => {
                (teams.practices(practice).collect(), "the patient is registered there")
            }
            Whereabouts::Seen(team) => (teams.get(team).into_iter().collect(), "the patient is seen there"),
        };
        for team in matching {
            let known = found.get(&team.id).is_some_and(|known| known.via.is_none() || via.is_some());
            if !known {
                found.insert(team.id.clone(), Recipient { why, via: via.clone() });
            }
        }
    }
    let (answering, reached) = answers(from.organisation, from.source_organisation, teams);
    let Some(answering) = answering else { return (found, reached) };
    // A team reached through a link does not count: the link may be cut, or what tells of it withheld.
    let own = |(team, recipient): (&String, &Recipient)| {
        recipient.via.is_none() && teams.get(team).is_some_and(|team| team.organisation == answering)
    };
    if !found.iter().any(own) {
        let why = match reached {
            Reached::Holder => "holds the result",
            Reached::Source => "its database holds the result",
            Reached::CatchAll | Reached::Nobody => "no team is known for the result",
        };
        let whom = match (reached, teams.catch_all()) {
            (Reached::CatchAll, Some(team)) => vec![team],
            _ => teams.answering(answering),
        };
        found.extend(whom.into_iter().map(|team| (team.id.clone(), Recipient { why, via: None })));
    }
    (found, reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(source: &str) -> SourcePatient {
        SourcePatient { source: source.into(), id: "1".into() }
    }

    fn site() -> Teams {
        Teams::parse(include_str!("../../../site/teams.toml")).expect("good")
    }

    fn told(
        organisation: &str,
        source_organisation: Option<&str>,
        requester: Option<&str>,
        placements: &[(&str, Whereabouts)],
        teams: &Teams,
    ) -> String {
        let placements: Vec<Placement> =
            placements.iter().map(|(source, at)| Placement { via: patient(source), at: at.clone() }).collect();
        let patient = patient("stmarys");
        let from = From { patient: &patient, organisation, source_organisation, requester };
        let (found, _) = recipients(&from, &placements, teams);
        let told = found.iter().map(|(team, it)| {
            let via = it.via.as_ref().map_or_else(String::new, |via| format!(" via {}", via.source));
            format!("{team}{via}")
        });
        told.collect::<Vec<_>>().join(", ")
    }

    #[track_caller]
    fn check(requester: Option<&str>, placements: &[(&str, Whereabouts)], want: &str) {
        assert_eq!(told("RSM01", Some("RSM01"), requester, placements, &site()), want);
    }

    fn registered(organisation: &str) -> Whereabouts {
        Whereabouts::Registered(organisation.into())
    }

    fn seen(team: &str) -> Whereabouts {
        Whereabouts::Seen(team.into())
    }

    #[test]
    fn the_requester_and_whoever_has_the_patient() {
        check(
            Some("stmarys-ed"),
            &[("riverside", registered("R1V01")), ("stmarys", seen("stmarys-amu"))],
            "riverside via riverside, stmarys-amu, stmarys-ed",
        );
        check(Some("stmarys-ed"), &[("riverside", registered("R1V01"))], "riverside via riverside, stmarys-ed");
        check(None, &[("stmarys", registered("RSM01"))], "stmarys-amu");
    }

    #[test]
    fn whoever_holds_the_result_is_told_whoever_else_is() {
        // Asked for by a practice, which the patient may not let see it; and the practice alone has the patient.
        check(Some("riverside"), &[("riverside", registered("R1V01"))], "riverside, stmarys-amu");
        check(None, &[("riverside", registered("R1V01")), ("stmarys", registered("R1V01"))], "riverside, stmarys-amu");
        // A department of its own that only another source tells of: taking that source away changes nothing for it.
        check(None, &[("riverside", seen("stmarys-ed"))], "stmarys-amu, stmarys-ed via riverside");
    }

    #[test]
    fn an_alert_never_goes_to_nobody() {
        check(None, &[], "stmarys-amu");
        check(Some("a ward unknown to the site"), &[("stmarys", seen("another"))], "stmarys-amu");
        // Every organisation that a result may be under, known here or not; with the patient gone; with every kind of
        // requester.
        for organisation in ["R1V01", "RSM01", "Y0001", "", " ", "A82038", "not a code"] {
            for source in [None, Some("R1V01"), Some("RSM01"), Some("Y9999")] {
                for requester in [None, Some("nobody"), Some("stmarys-ed")] {
                    for placement in [None, Some(registered("X99999")), Some(seen("gone"))] {
                        let placements: Vec<_> = placement.iter().map(|at| ("stmarys", at.clone())).collect();
                        let told = told(organisation, source, requester, &placements, &site());
                        assert!(!told.is_empty(), "{organisation:?} {source:?} {requester:?} {placements:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_hub_falls_back_to_the_source_and_then_to_the_catch_all() {
        let teams = site();
        assert_eq!(told("Y0001", Some("R1V01"), None, &[], &teams), "riverside");
        assert_eq!(told("Y0001", Some("Y0002"), None, &[], &teams), "stmarys-amu");
        assert_eq!(told("Y0001", None, None, &[], &teams), "stmarys-amu");
        assert_eq!(answers("Y0001", Some("R1V01"), &teams), (Some("R1V01"), Reached::Source));
        assert_eq!(answers("Y0001", None, &teams), (Some("RSM01"), Reached::CatchAll));
        assert_eq!(answers("R1V01", Some("RSM01"), &teams), (Some("R1V01"), Reached::Holder));
        // The catch-all is one team, not all of its organisation's.
        let text = "catch_all = 'b'\n[[team]]\nid = 'a'\nname = 'A'\norganisation = 'X'\nkind = 'department'\n\
                    [[team]]\nid = 'b'\nname = 'B'\norganisation = 'X'\nkind = 'department'\n";
        let teams = Teams::parse(text).expect("good");
        assert_eq!(told("Y0001", None, None, &[], &teams), "b");
        assert_eq!(told("X", None, None, &[], &teams), "a, b");
    }
}
