//! The one decision: what it is asked, what it says, and why.

use crate::{Action, Agreement, Contact, Grant, PatientContext, Role};
use event::{
    Kind, Micros,
    teams::{Team, TeamKind},
};
use std::collections::BTreeSet;

const HOUR: Micros = 3_600_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub roles: &'a [Role],
    /// The actor's.
    pub teams: &'a [Team],
    pub action: Action,
    pub patient: Option<&'a PatientContext>,
    pub agreements: &'a [Agreement],
    /// Of this actor for this patient.
    pub grants: &'a [Grant],
    pub encounter_grace_hours: u32,
    pub now: Micros,
}

/// Why, in words that fit an audit row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    Registered,
    Encounter,
    Referral,
    BrokenGlass,
    Recipient,
    Role,
    RoleForbids,
    NoRelation,
    NoAgreement,
    NotRecipient,
    NoPatient,
}

impl Why {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered with the team's practice",
            Self::Encounter => "open or recent encounter with the team",
            Self::Referral => "referred to the team",
            Self::BrokenGlass => "broke the glass",
            Self::Recipient => "alert routed to the team",
            Self::Role => "the role allows it",
            Self::RoleForbids => "the role does not allow it",
            Self::NoRelation => "no relation between the user's teams and the patient",
            Self::NoAgreement => "no agreement covers it",
            Self::NotRecipient => "the alert was not routed to the user's teams",
            Self::NoPatient => "no patient was named",
        }
    }
}

/// Made only by [`decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    pub allow: bool,
    pub why: Why,
    /// What may be shown: organisation and kind.
    pub shown: BTreeSet<(String, Kind)>,
    /// The organisations that the reader reads for: what these mark as confidential is theirs.
    pub own: BTreeSet<String>,
    /// Kinds that some organisation holds and no agreement discloses, or that it marks as confidential. For the audit.
    pub withheld: BTreeSet<Kind>,
    /// Not everything may be shown: some organisation that knows the patient keeps some kind to itself, whether it holds
    /// any or not. All that a reader is told of it.
    pub limited: bool,
    /// The reason given, while a broken glass is what opens the record.
    pub glass: Option<Grant>,
}

impl Decision {
    fn refuse(why: Why) -> Self {
        Self {
            allow: false,
            why,
            shown: BTreeSet::new(),
            own: BTreeSet::new(),
            withheld: BTreeSet::new(),
            limited: false,
            glass: None,
        }
    }

    fn allow(why: Why) -> Self {
        Self { allow: true, ..Self::refuse(why) }
    }

    /// Refused after all: all that it could show rests on what is withheld.
    #[must_use]
    pub fn withheld_whole(self) -> Self {
        Self { allow: false, why: Why::NoAgreement, ..self }
    }

    /// Whether a record leaves. `confidential`: its source marks it, or the whole patient.
    pub fn shows(&self, organisation: &str, kind: Kind, confidential: bool) -> bool {
        self.allow
            && self.shown.contains(&(organisation.to_owned(), kind))
            && (!confidential || self.own.contains(organisation))
    }
}

/// The one place where access is decided.
pub fn decide(request: &Request<'_>) -> Decision {
    if !request.roles.iter().any(|role| role.may(request.action)) {
        return Decision::refuse(Why::RoleForbids);
    }
    match request.action {
        Action::ViewStatus | Action::BreakGlass => Decision::allow(Why::Role),
        Action::ViewAlerts | Action::HandleAlert => request.patient.map_or_else(
            // The inbox itself, before any alert is in it.
            || Decision::allow(Why::Role),
            |patient| decide_alert(request, patient),
        ),
        Action::ViewRecord | Action::FindPatient => match request.patient {
            Some(patient) => decide_record(request, patient),
            None => Decision::refuse(Why::NoPatient),
        },
    }
}

fn decide_record(request: &Request<'_>, patient: &PatientContext) -> Decision {
    debug_assert!(request.action.needs_relation());
    let glass = request.grants.iter().find(|grant| grant.from <= request.now && request.now < grant.until);
    let relations: Vec<(Why, &Team)> =
        request.teams.iter().filter_map(|team| relation(team, patient, request).map(|why| (why, team))).collect();
    let (why, readers): (Why, BTreeSet<&str>) = match (relations.iter().map(|(why, _)| *why).min(), glass) {
        (Some(why), _) => (why, relations.iter().map(|(_, team)| team.organisation.as_str()).collect()),
        (None, Some(_)) => (Why::BrokenGlass, request.teams.iter().map(|team| team.organisation.as_str()).collect()),
        (None, None) => return Decision::refuse(Why::NoRelation),
    };
    let sorted = sort_holdings(request, patient, &readers, glass.is_some());
    if sorted.shown.is_empty() && !sorted.withheld.is_empty() {
        return sorted.into_decision(Decision::refuse(Why::NoAgreement));
    }
    Decision { glass: glass.cloned(), ..sorted.into_decision(Decision::allow(why)) }
}

/// An alert shows a result of its source: a team of another organisation needs an agreement for results.
fn decide_alert(request: &Request<'_>, patient: &PatientContext) -> Decision {
    let readers: BTreeSet<&str> = request
        .teams
        .iter()
        .filter(|team| patient.recipients.contains(&team.id))
        .map(|team| team.organisation.as_str())
        .collect();
    if readers.is_empty() {
        return Decision::refuse(Why::NotRecipient);
    }
    let sorted = sort_holdings(request, patient, &readers, false);
    // A source that nobody knows the organisation of is covered by no agreement.
    if !sorted.withheld.is_empty() || sorted.shown.is_empty() {
        return Decision { shown: BTreeSet::new(), ..sorted.into_decision(Decision::refuse(Why::NoAgreement)) };
    }
    sorted.into_decision(Decision::allow(Why::Recipient))
}

fn relation(team: &Team, patient: &PatientContext, request: &Request<'_>) -> Option<Why> {
    match team.kind {
        TeamKind::Practice => patient.registered.contains(&team.organisation).then_some(Why::Registered),
        TeamKind::Department => {
            let grace = Micros::from(request.encounter_grace_hours) * HOUR;
            let current = |contact: &&Contact| {
                contact.team == team.id
                    && contact.ended_at.is_none_or(|ended| request.now < ended.saturating_add(grace))
            };
            let why = |contact: &Contact| if contact.referral { Why::Referral } else { Why::Encounter };
            patient.contacts.iter().filter(current).map(why).min()
        }
    }
}

#[derive(Default)]
struct Sorted {
    shown: BTreeSet<(String, Kind)>,
    own: BTreeSet<String>,
    withheld: BTreeSet<Kind>,
    limited: bool,
}

impl Sorted {
    fn into_decision(self, decision: Decision) -> Decision {
        let Self { shown, own, withheld, limited } = self;
        Decision { shown, own, withheld, limited, ..decision }
    }
}

fn sort_holdings(request: &Request<'_>, patient: &PatientContext, readers: &BTreeSet<&str>, glass: bool) -> Sorted {
    let own = readers.iter().map(|organisation| (*organisation).to_owned()).collect();
    let mut sorted = Sorted { own, ..Sorted::default() };
    for holding in &patient.holdings {
        let own = readers.contains(holding.organisation.as_str());
        let agreed = |kind: Kind| {
            request.agreements.iter().any(|agreement| {
                agreement.covers(&holding.organisation, readers, kind, request.now)
                    && (!patient.objection || (glass && agreement.break_glass_overrides_objection))
            })
        };
        // What a source itself keeps back, neither agreement nor glass opens.
        let confidential = holding.confidential.iter().map(|kind| (*kind, own));
        let open = holding.kinds.iter().map(|kind| (*kind, own || agreed(*kind)));
        for (kind, shown) in open.chain(confidential) {
            if shown {
                sorted.shown.insert((holding.organisation.clone(), kind));
            } else {
                sorted.withheld.insert(kind);
            }
        }
        // Of every kind, held or not: who reads that a list is not limited would know that nothing is kept from it.
        sorted.limited |= !own && (!holding.confidential.is_empty() || !Kind::ALL.into_iter().all(agreed));
    }
    sorted
}
