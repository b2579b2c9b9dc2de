//! To which teams an alert goes: the requester's, and those the patient is with.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

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

/// Teams with why they receive it. Of several reasons the one that needs no link counts.
pub fn recipients(
    patient: &SourcePatient,
    organisation: &str,
    requester: Option<&str>,
    placements: &[Placement],
    teams: &Teams,
) -> BTreeMap<String, Recipient> {
    let mut found: BTreeMap<String, Recipient> = BTreeMap::new();
    if let Some(team) = requester.and_then(|team| teams.get(team)) {
        found.insert(team.id.clone(), Recipient { why: "requested the test", via: None });
    }
    for placement in placements {
        let via = (placement.via != *patient).then(|| placement.via.clone());
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
    if found.is_empty() {
        // Nobody asked, and nobody has the patient: whoever holds the result hears of it.
        let own =
            teams.of(organisation).map(|team| (team.id.clone(), Recipient { why: "holds the result", via: None }));
        found.extend(own);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(source: &str) -> SourcePatient {
        SourcePatient { source: source.into(), id: "1".into() }
    }

    #[track_caller]
    fn check(requester: Option<&str>, placements: &[(&str, Whereabouts)], want: &str) {
        let teams = Teams::parse(include_str!("../../../site/teams.toml")).expect("good");
        let placements: Vec<Placement> =
            placements.iter().map(|(source, at)| Placement { via: patient(source), at: at.clone() }).collect();
        let found = recipients(&patient("stmarys"), "RSM01", requester, &placements, &teams);
        let told = found.iter().map(|(team, it)| {
            let via = it.via.as_ref().map_or_else(String::new, |via| format!(" via {}", via.source));
            format!("{team}{via}")
        });
        assert_eq!(told.collect::<Vec<_>>().join(", "), want);
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
        check(Some("riverside"), &[("riverside", registered("R1V01"))], "riverside");
        check(None, &[("riverside", registered("R1V01")), ("stmarys", registered("R1V01"))], "riverside");
        check(None, &[("stmarys", registered("RSM01"))], HOSPITAL);
    }

    const HOSPITAL: &str = "stmarys-amu, stmarys-ed, stmarys-endocrinology, stmarys-lab";

    #[test]
    fn an_alert_never_goes_to_nobody() {
        check(None, &[], HOSPITAL);
        check(Some("a ward unknown to the site"), &[("stmarys", seen("another"))], HOSPITAL);
    }
}
