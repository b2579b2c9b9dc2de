//! Data-sharing agreements: which organisations disclose which kinds of records to which others, for what purpose, from
//! when until when; and what is written of it for the people who sign.
//!
//! # Why
//! What is signed and what runs are one file: a version that its organisations have not signed is a draft, and a draft lets
//! nothing through. So nobody has to compare a paper with a configuration.

mod compare;
mod file;
mod sheet;

pub use compare::{Change, Flow, compare, flows};
pub use file::{FileMistake, day, parse};
pub use sheet::sheet;

use event::{Kind, Micros};
use serde::Serialize;
use std::collections::BTreeSet;

/// What records are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The care of the patient themselves.
    #[default]
    DirectCare,
    /// Beyond individual care: national data opt-outs and type 1 objections hold.
    Planning,
    Research,
}

impl Purpose {
    pub const ALL: [Self; 3] = [Self::DirectCare, Self::Planning, Self::Research];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DirectCare => "direct-care",
            Self::Planning => "planning",
            Self::Research => "research",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }

    pub const fn is_secondary(self) -> bool {
        !matches!(self, Self::DirectCare)
    }
}

/// One version of one agreement. The default covers nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    pub id: String,
    pub title: String,
    pub version: u32,
    /// Not signed by all yet: it covers nothing.
    pub draft: bool,
    pub purpose: Purpose,
    /// ODS codes.
    pub disclose: BTreeSet<String>,
    pub receive: BTreeSet<String>,
    #[serde(serialize_with = "file::kinds")]
    pub kinds: BTreeSet<Kind>,
    pub from: Micros,
    /// The first instant at which it no longer holds.
    pub until: Micros,
    pub break_glass_overrides_objection: bool,
    pub paper: Paper,
}

/// What people agreed on that no decision depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Paper {
    /// When it is looked at again, as `2027-01-31`.
    pub review: String,
    pub first_day: String,
    pub last_day: String,
    /// How long what was received is kept, in words.
    pub retention: String,
    /// Whom to tell of an incident.
    pub incidents: Vec<String>,
    pub parties: Vec<Party>,
    pub signatures: Vec<Signature>,
}

/// Who answers for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Party {
    pub organisation: String,
    pub role: PartyRole,
    pub name: String,
    pub contact: String,
    pub duties: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartyRole {
    Controller,
    Processor,
    CaldicottGuardian,
    SafetyOfficer,
}

impl PartyRole {
    pub const ALL: [Self; 4] = [Self::Controller, Self::Processor, Self::CaldicottGuardian, Self::SafetyOfficer];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Processor => "processor",
            Self::CaldicottGuardian => "caldicott-guardian",
            Self::SafetyOfficer => "safety-officer",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    pub organisation: String,
    pub name: String,
    /// Of the agreement: who signed an older one has not signed this one.
    pub version: u32,
    pub on: String,
}

impl Agreement {
    pub fn in_force(&self, now: Micros) -> bool {
        !self.draft && self.from <= now && now < self.until
    }

    /// Whether it lets one of the `readers` see what `holder` has of this kind.
    pub fn covers(&self, holder: &str, readers: &BTreeSet<&str>, kind: Kind, purpose: Purpose, now: Micros) -> bool {
        self.in_force(now)
            && self.purpose == purpose
            && self.disclose.contains(holder)
            && self.kinds.contains(&kind)
            && self.receive.iter().any(|organisation| readers.contains(organisation.as_str()))
    }

    /// Whose signature under this version is missing.
    pub fn unsigned(&self) -> BTreeSet<&str> {
        let signed = |organisation: &&str| {
            let mut signatures = self.paper.signatures.iter();
            signatures.any(|one| one.version == self.version && one.organisation == *organisation)
        };
        let all = self.disclose.union(&self.receive).map(String::as_str);
        all.filter(|organisation| !signed(organisation)).collect()
    }

    /// In one word, for a list.
    pub fn standing(&self, now: Micros) -> &'static str {
        match () {
            () if self.draft => "draft",
            () if now < self.from => "not yet",
            () if now >= self.until => "ended",
            () => "in force",
        }
    }
}
