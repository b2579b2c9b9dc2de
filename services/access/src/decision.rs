//! The one decision: what it is asked, what it says, and why.

use crate::{Action, Agreement, Channel, Contact, Grant, PatientContext, Role, agreement::Purpose};
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
    pub channel: Channel,
    pub purpose: Purpose,
    pub patient: Option<&'a PatientContext>,
    /// The patient is who asks.
    pub themselves: bool,
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
    Themselves,
    Holder,
    Agreement,
    Role,
    RoleForbids,
    DoorForbids,
    Purpose,
    OptedOut,
    NoRelation,
    NoAgreement,
    NotRecipient,
    NoPatient,
    /// Of a search: it is found only by what is withheld.
    NotMatched,
    /// Of a search: it is on another page, or more were found than are shown.
    LeftOut,
    /// To break the glass without one.
    NoReason,
}

impl Why {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered with the team's practice",
            Self::Encounter => "open or recent encounter with the team",
            Self::Referral => "referred to the team",
            Self::BrokenGlass => "broke the glass",
            Self::Recipient => "alert routed to the team",
            Self::Themselves => "the patient themselves",
            Self::Holder => "the user's organisation holds records of the patient",
            Self::Agreement => "an agreement covers it",
            Self::Role => "the role allows it",
            Self::RoleForbids => "the role does not allow it",
            Self::DoorForbids => "the role does not allow it here",
            Self::Purpose => "not for this purpose",
            Self::OptedOut => "the patient has opted out of uses beyond their own care",
            Self::NoRelation => "no relation between the user's teams and the patient",
            Self::NoAgreement => "no agreement covers it",
            Self::NotRecipient => "the alert was not routed to the user's teams",
            Self::NoPatient => "no patient was named",
            Self::NotMatched => "only what is withheld has what was asked for",
            Self::LeftOut => "not on this page of what was found",
            Self::NoReason => "no reason was given",
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
    /// any or not, or the reader's role does not see some kind. All that a reader is told of it.
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

    /// Refused after all, for what only the exit knows.
    #[must_use]
    pub fn turned_down(self, why: Why) -> Self {
        Self { allow: false, why, ..self }
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
    let allowed = |role: &&Role| role.may(request.action, request.channel);
    let roles: Vec<Role> = request.roles.iter().filter(allowed).copied().collect();
    if roles.is_empty() {
        let elsewhere = request.roles.iter().any(|role| role.may_at_all(request.action));
        return Decision::refuse(if elsewhere { Why::DoorForbids } else { Why::RoleForbids });
    }
    if request.purpose.is_secondary() && request.action != Action::Receive {
        return Decision::refuse(Why::Purpose);
    }
    let asked = Asked { request, roles: &roles };
    match (request.action, request.patient) {
        (Action::ViewStatus | Action::BreakGlass | Action::ViewQuarantined | Action::LinkPatients, _)
        // The inbox itself, before any alert is in it; the search itself, before anybody is found.
        | (Action::ViewAlerts | Action::HandleAlert | Action::FindPatient, None) => Decision::allow(Why::Role),
        (_, None) => Decision::refuse(Why::NoPatient),
        (Action::ViewAlerts | Action::HandleAlert, Some(patient)) => asked.alert(patient),
        (Action::ViewRecord | Action::FindPatient, Some(patient)) => asked.record(patient),
        (Action::ViewAccesses, Some(patient)) => asked.accesses(patient),
        (Action::Receive, Some(patient)) => asked.events(patient),
    }
}

/// A request, and those of its roles that may do it.
struct Asked<'a> {
    request: &'a Request<'a>,
    roles: &'a [Role],
}

impl Asked<'_> {
    fn record(&self, patient: &PatientContext) -> Decision {
        let request = self.request;
        let breaks = self.roles.iter().any(|role| role.may_at_all(Action::BreakGlass));
        let open = |grant: &&Grant| breaks && grant.from <= request.now && request.now < grant.until;
        let glass = request.grants.iter().find(open);
        let relations: Vec<(Why, &Team)> =
            request.teams.iter().filter_map(|team| self.relation(team, patient).map(|why| (why, team))).collect();
        let (why, readers): (Why, BTreeSet<&str>) = match (relations.iter().map(|(why, _)| *why).min(), glass) {
            (Some(why), _) => (why, relations.iter().map(|(_, team)| team.organisation.as_str()).collect()),
            (None, Some(_)) => (Why::BrokenGlass, self.organisations()),
            (None, None) => return Decision::refuse(Why::NoRelation),
        };
        let sorted = self.sort_holdings(patient, &readers, glass.is_some());
        if sorted.shown.is_empty() && !sorted.withheld.is_empty() {
            return sorted.into_decision(Decision::refuse(Why::NoAgreement));
        }
        Decision { glass: glass.cloned(), ..sorted.into_decision(Decision::allow(why)) }
    }

    /// An alert shows a result of its source: a team of another organisation needs an agreement for results.
    fn alert(&self, patient: &PatientContext) -> Decision {
        let recipients = self.request.teams.iter().filter(|team| patient.recipients.contains(&team.id));
        let readers: BTreeSet<&str> = recipients.map(|team| team.organisation.as_str()).collect();
        if readers.is_empty() {
            return Decision::refuse(Why::NotRecipient);
        }
        let sorted = self.sort_holdings(patient, &readers, false);
        // A source that nobody knows the organisation of is covered by no agreement.
        if !sorted.withheld.is_empty() || sorted.shown.is_empty() {
            return Decision { shown: BTreeSet::new(), ..sorted.into_decision(Decision::refuse(Why::NoAgreement)) };
        }
        sorted.into_decision(Decision::allow(Why::Recipient))
    }

    /// Who has looked: for the patient, and for the privacy officers of those who hold records.
    fn accesses(&self, patient: &PatientContext) -> Decision {
        let own = self.organisations();
        let holds = patient.holdings.iter().any(|holding| own.contains(holding.organisation.as_str()));
        match () {
            () if self.request.themselves && self.roles.contains(&Role::Patient) => Decision::allow(Why::Themselves),
            () if holds && self.roles.contains(&Role::PrivacyOfficer) => Decision::allow(Why::Holder),
            () => Decision::refuse(Why::NoRelation),
        }
    }

    /// What a service receives: by agreement alone, and beyond individual care only of who has not opted out.
    fn events(&self, patient: &PatientContext) -> Decision {
        if patient.opted_out && self.request.purpose.is_secondary() {
            return Decision::refuse(Why::OptedOut);
        }
        let sorted = self.sort_holdings(patient, &self.organisations(), false);
        let verdict =
            if sorted.shown.is_empty() { Decision::refuse(Why::NoAgreement) } else { Decision::allow(Why::Agreement) };
        sorted.into_decision(verdict)
    }

    fn organisations(&self) -> BTreeSet<&str> {
        self.request.teams.iter().map(|team| team.organisation.as_str()).collect()
    }

    fn relation(&self, team: &Team, patient: &PatientContext) -> Option<Why> {
        let request = self.request;
        match team.kind {
            TeamKind::Practice => patient.registered.contains(&team.organisation).then_some(Why::Registered),
            // A practice's staff work for their practice.
            TeamKind::Department if self.roles.iter().all(|role| *role == Role::PracticeStaff) => None,
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

    fn sort_holdings(&self, patient: &PatientContext, readers: &BTreeSet<&str>, glass: bool) -> Sorted {
        let request = self.request;
        let own = readers.iter().map(|organisation| (*organisation).to_owned()).collect();
        let mut sorted = Sorted { own, ..Sorted::default() };
        let seen = |kind: Kind| self.roles.iter().any(|role| role.sees(kind));
        for holding in &patient.holdings {
            let own = readers.contains(holding.organisation.as_str());
            let agreed = |kind: Kind| {
                request.agreements.iter().any(|agreement| {
                    agreement.covers(&holding.organisation, readers, kind, request.purpose, request.now)
                        && (!patient.objection || (glass && agreement.break_glass_overrides_objection))
                })
            };
            // What a source itself keeps back, neither agreement nor glass opens.
            let confidential = holding.confidential.iter().map(|kind| (*kind, own));
            let open = holding.kinds.iter().map(|kind| (*kind, own || agreed(*kind)));
            for (kind, shown) in open.chain(confidential) {
                if shown && seen(kind) {
                    sorted.shown.insert((holding.organisation.clone(), kind));
                } else {
                    sorted.withheld.insert(kind);
                }
            }
            // Of every kind, held or not: who reads that a list is not limited would know that nothing is kept from it.
            sorted.limited |= !own && (!holding.confidential.is_empty() || !Kind::ALL.into_iter().all(agreed));
        }
        sorted.limited |= !Kind::ALL.into_iter().all(seen);
        sorted
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
