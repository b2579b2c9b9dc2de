//! What rules are judged on: a result, and what the record holds of the person around it.
//!
//! # Why
//! A rule says what it wants ([`Wanted`], concepts of conditions); the shell reads that of one person once, for all rules.
//! The sink reads all that the record holds, the gateway only what one reader may see, and both hand over the same facts.

use crate::{limits::Limits, rules::urgency::Times};
use event::{Comparator, Micros, Precision, SourcePatient, TeamKind, Teams};
use medicine::Taking;
use rust_decimal::Decimal;
use serde::Deserialize;
use std::collections::BTreeMap;

const HOUR: Micros = 3_600_000_000;

/// A result as the record shows it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub patient: SourcePatient,
    pub record: String,
    pub organisation: String,
    pub event_id: String,
    pub version: String,
    pub times: Times,
    pub effective_at: Option<Micros>,
    /// How exactly that is known: it is the first moment of the year, month or day.
    pub effective_precision: Option<Precision>,
    pub code_text: String,
    pub analyte: Option<String>,
    pub comparator: Option<Comparator>,
    /// As the source has it, in its own unit.
    pub number: Option<Decimal>,
    pub unit: Option<String>,
    pub text: Option<String>,
    /// In the analyte's canonical unit.
    pub canonical: Option<(Decimal, String)>,
    pub range_low: Option<Decimal>,
    pub range_high: Option<Decimal>,
    pub flag: Option<String>,
    pub unchecked: Option<String>,
    pub comment: Option<String>,
    /// FHIR's word for it: `final`.
    pub status: Option<String>,
    pub requester: Option<String>,
    /// The specimen's identifier, as its source tells it.
    pub specimen: Option<String>,
    /// The source's word for a status that nobody understands: empty where it gave none.
    pub unknown_status: Option<String>,
    /// Its source marks it, or the whole patient, as confidential.
    pub confidential: bool,
    /// Days since 1970-01-01.
    pub birth_date: Option<i32>,
    pub sex: Option<Sex>,
    /// Where it is held.
    pub setting: Option<Setting>,
    /// SNOMED CT concept and the source's own code, where there are any.
    pub codes: Vec<String>,
    /// Only how it is understood has changed, and not what its source says.
    pub reinterpreted: bool,
}

impl Finding {
    /// Of which nothing else is known yet.
    pub fn of(patient: SourcePatient, record: String) -> Self {
        Self {
            patient,
            record,
            organisation: String::new(),
            event_id: String::new(),
            version: String::new(),
            times: Times::default(),
            effective_at: None,
            effective_precision: None,
            code_text: String::new(),
            analyte: None,
            comparator: None,
            number: None,
            unit: None,
            text: None,
            canonical: None,
            range_low: None,
            range_high: None,
            flag: None,
            unchecked: None,
            comment: None,
            status: None,
            requester: None,
            specimen: None,
            unknown_status: None,
            confidential: false,
            birth_date: None,
            sex: None,
            setting: None,
            codes: Vec::new(),
            reinterpreted: false,
        }
    }

    /// The first and the last moment at which the sample may have been taken; none where nobody tells.
    pub fn taken_between(&self) -> Option<(Micros, Micros)> {
        let first = self.effective_at?;
        // The longest of each kind, and the hour by which a clock is turned back.
        let hours = match self.effective_precision {
            None => 0,
            Some(Precision::Day) => 24 + 1,
            Some(Precision::Month) => 31 * 24 + 1,
            Some(Precision::Year) => 366 * 24 + 1,
        };
        Some((first, first.saturating_add(hours * HOUR)))
    }

    /// Its place among other results, to a day: where no sample's time is told, the source's own times, and its commit
    /// unless a snapshot read it, which says nothing of the result. None where the place is not known so exactly.
    pub fn placed_at(&self, limits: &Limits) -> Option<Micros> {
        match (self.effective_at, self.effective_precision) {
            (Some(_), Some(Precision::Year | Precision::Month)) => None,
            (Some(at), Some(Precision::Day) | None) => Some(at),
            (None, _) if self.times.undated(limits) => None,
            (None, _) => Some(self.times.own(limits).unwrap_or(self.times.committed_at)),
        }
    }

    pub fn is(&self, other: &Self) -> bool {
        self.patient == other.patient && self.record == other.record
    }
}

/// As far as limits tell one from the other; of anything else it is not known.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    Female,
    Male,
}

impl Sex {
    /// Of FHIR's administrative gender.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Female, Self::Male].into_iter().find(|sex| sex.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Female => "female",
            Self::Male => "male",
        }
    }
}

/// Whether a practice holds the result, or anybody else.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    PrimaryCare,
    Hospital,
}

impl Setting {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrimaryCare => "primary care",
            Self::Hospital => "hospital",
        }
    }

    /// Of an organisation whose teams are all of one kind; of another it is not known.
    pub fn of(organisation: &str, teams: &Teams) -> Option<Self> {
        let kinds: Vec<TeamKind> = teams.of(organisation).map(|team| team.kind).collect();
        match (kinds.contains(&TeamKind::Practice), kinds.contains(&TeamKind::Department)) {
            (true, false) => Some(Self::PrimaryCare),
            (false, true) => Some(Self::Hospital),
            (true, true) | (false, false) => None,
        }
    }
}

/// What is known of the person, from all their linked source patients.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Conditions that stand, of those that rules ask for: the one known first comes first.
    pub conditions: Vec<Known>,
    /// Other results of the person that rules want, the newest first.
    pub history: Vec<Finding>,
    /// Encounters that rules ask for: those that have not ended long ago, and one of each kind that has, as a sign that
    /// its source tells of encounters at all.
    pub stays: Vec<Stay>,
    /// Medicines that are being taken, or were until lately.
    pub medicines: Vec<Medicine>,
    /// Now, to whoever judges; never before what is judged had been committed.
    pub now: Micros,
}

impl Facts {
    /// The condition of one of these concepts that was known first.
    pub fn known(&self, concepts: &[String]) -> Option<&Known> {
        self.conditions.iter().find(|known| concepts.contains(&known.concept))
    }
}

/// A condition that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The SNOMED CT concept by which a rule asked for it.
    pub concept: String,
    /// Which source tells.
    pub source: String,
    /// Who holds it, and whether its source marks it as confidential: not everybody may be told of it.
    pub organisation: String,
    pub confidential: bool,
    /// When the condition and the links to it had been committed.
    pub known_at: Micros,
}

/// An encounter that stands: an attendance, a stay, a consultation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// HL7 v3 ActCode where its mapping knows it, else as written.
    pub class: String,
    pub source: String,
    /// Who holds it, and whether its source marks it as confidential: not everybody may be told of it.
    pub organisation: String,
    pub confidential: bool,
    pub started_at: Option<Micros>,
    pub ended_at: Option<Micros>,
    /// When the encounter and the links to it had been committed.
    pub known_at: Micros,
}

/// A medicine, by the ingredients that are known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medicine {
    /// The product as written.
    pub text: String,
    /// Each ingredient with the names by which rules know it: its own, and those of its classes.
    pub ingredients: Vec<Vec<String>>,
    pub source: String,
    /// Who holds it, and whether its source marks it as confidential: not everybody may be told of it.
    pub organisation: String,
    pub confidential: bool,
    pub taking: Taking,
    pub started_at: Option<Micros>,
    pub ended_at: Option<Micros>,
    /// When the medicine and the links to it had been committed.
    pub known_at: Micros,
}

impl Medicine {
    pub fn is_called(&self, name: &str) -> bool {
        self.ingredients.iter().flatten().any(|known| known == name)
    }

    /// Its ingredients that go by one of these names.
    pub fn called_of(&self, names: &[String]) -> impl Iterator<Item = &str> {
        let those = self.ingredients.iter().filter(move |of| of.iter().any(|known| names.contains(known)));
        those.filter_map(|of| of.first()).map(String::as_str)
    }

    /// Whether it was being taken then, or has been since: stopping it takes nothing back. Of one that was stopped nobody
    /// knows when, it is not known that it was.
    pub fn is_taken_since(&self, then: Micros, now: Micros) -> bool {
        let begun = self.started_at.is_none_or(|at| at <= now.max(then));
        let until_then = self.ended_at.is_some_and(|at| at >= then);
        begun && (self.taking == Taking::Current || (self.taking != Taking::Suspended && until_then))
    }
}

/// Medicines that are read of one source patient, the last that were told first.
pub const MEDICINES_MAX: i64 = 500;

/// Encounters that are read of one source patient, the last that were told first.
pub const STAYS_MAX: i64 = 100;

/// Other results of the person that a rule wants beside one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub analyte: String,
    /// The newest so many.
    pub newest: i64,
    /// Taken no earlier; none: whenever.
    pub since: Option<Micros>,
}

/// By patient and analyte: one look for all that is wanted of it.
pub fn merged<P: Ord>(wanted: impl IntoIterator<Item = (P, Wanted)>) -> BTreeMap<(P, String), Wanted> {
    let mut all: BTreeMap<(P, String), Wanted> = BTreeMap::new();
    for (patient, wanted) in wanted {
        let known = all.entry((patient, wanted.analyte.clone())).or_insert_with(|| wanted.clone());
        known.newest = known.newest.max(wanted.newest);
        known.since = known.since.zip(wanted.since).map(|(here, there)| here.min(there));
    }
    all
}
