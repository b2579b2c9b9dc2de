//! What an event says. Original code and text are always kept beside the coded form.

use crate::{Micros, NhsNumber, PartialDate};
use rust_decimal::Decimal;

/// A coded thing as its source wrote it, and what it is known to mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// The words the source shows.
    pub text: String,
    /// The code as the source wrote it, with its system:
    /// `http://read.info/readv2`, `http://snomed.info/sct`, `urn:causeway:local:<source>`.
    pub original_system: Option<String>,
    pub original_code: Option<String>,
    /// SNOMED CT concept, where known.
    pub snomed: Option<String>,
    /// LOINC code, where known.
    pub loinc: Option<String>,
}

/// A verdict on the number of a result, as its source gave it and in canonical units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// `<`, `<=`, `>=`, `>` as the source has it, from its own column or inside the text.
    pub comparator: Option<Comparator>,
    /// The source's number; none when it wrote words, NaN or nothing.
    pub number: Option<Decimal>,
    /// The unit exactly as written (`mmol/L`, `Banana`).
    pub unit: Option<String>,
    /// The whole value exactly as written, when it is not a plain number.
    pub text: Option<String>,
    /// In the analyte's canonical UCUM unit. None whenever unit or number is not understood.
    pub canonical: Option<Canonical>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Canonical {
    pub number: Decimal,
    /// UCUM.
    pub unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparator {
    Less,
    LessOrEqual,
    GreaterOrEqual,
    Greater,
}

impl Comparator {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim() {
            "<" => Self::Less,
            "<=" | "≤" => Self::LessOrEqual,
            ">=" | "≥" => Self::GreaterOrEqual,
            ">" => Self::Greater,
            _ => return None,
        })
    }
}

/// Why a result is unchecked whose code is known, and is of no analyte that a rule can watch.
pub const NOT_WATCHED: &str = "not watched";

/// FHIR `ObservationStatus`, the part that sources use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResultStatus {
    Preliminary,
    #[default]
    Final,
    Corrected,
    /// The source's word for it is in `status_text`: nobody said what it means.
    Unknown,
}

impl ResultStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preliminary => "preliminary",
            Self::Final => "final",
            Self::Corrected => "corrected",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Demographics(Demographics),
    Observation(Observation),
    Medication(Medication),
    Allergy(Allergy),
    Condition(Condition),
    Encounter(Encounter),
    /// Of a retraction: what kind of record it was.
    Retracted(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Demographics,
    Observation,
    Medication,
    Allergy,
    Condition,
    Encounter,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Demographics, Self::Observation, Self::Medication, Self::Allergy, Self::Condition, Self::Encounter];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demographics => "demographics",
            Self::Observation => "observation",
            Self::Medication => "medication",
            Self::Allergy => "allergy",
            Self::Condition => "condition",
            Self::Encounter => "encounter",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Body {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Demographics(_) => Kind::Demographics,
            Self::Observation(_) => Kind::Observation,
            Self::Medication(_) => Kind::Medication,
            Self::Allergy(_) => Kind::Allergy,
            Self::Condition(_) => Kind::Condition,
            Self::Encounter(_) => Kind::Encounter,
            Self::Retracted(kind) => *kind,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demographics {
    /// Well-formed only; what the source wrote otherwise is in `nhs_number_text`.
    pub nhs_number: Option<NhsNumber>,
    /// The source says the number is present and verified (NHS data dictionary status 01).
    pub nhs_number_verified: bool,
    pub nhs_number_text: Option<String>,
    pub family: Option<String>,
    pub given: Option<String>,
    /// Days since 1970-01-01.
    pub birth_date: Option<i32>,
    pub death_date: Option<i32>,
    /// FHIR administrative gender.
    pub gender: Option<String>,
    pub postcode: Option<String>,
    /// ODS code of the practice the patient is registered with, and since when; none when deregistered.
    pub registered_practice: Option<String>,
    /// A local shared-record objection or type-1 opt-out stands in the source.
    pub objection: bool,
    /// Where no more of the day is known; `birth_date` is then none, so that nobody takes the first of January for it.
    pub birth_partial: Option<PartialDate>,
    /// The same of `death_date`: the patient has died.
    pub death_partial: Option<PartialDate>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    pub code: Code,
    /// The watched-analyte key of the lab table (`potassium`), where the code is known.
    pub analyte: Option<String>,
    pub value: Measurement,
    pub status: ResultStatus,
    /// When the laboratory authorised it.
    pub authorised_at: Option<Micros>,
    pub range_low: Option<Decimal>,
    pub range_high: Option<Decimal>,
    /// The source's own flag: `critical-low`, `critical-high`, `low`, `high`, or as written.
    pub flag: Option<String>,
    pub specimen: Option<String>,
    /// The team (or practice) that asked for the test: a team id of the site.
    pub requester: Option<String>,
    /// Why no rule has judged it. Of `NOT_WATCHED` the number holds; otherwise it cannot be used: `unknown unit`,
    /// `not a number`, `unknown code`.
    pub unchecked: Option<String>,
    pub comment: Option<String>,
    /// A status that the mapping does not list, as its source wrote it; `status` is then `Unknown`.
    pub status_text: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Medication {
    pub code: Code,
    pub dosage: Option<String>,
    pub quantity: Option<String>,
    /// `repeat`, `acute`, `inpatient`, as the source tells.
    pub course: Option<String>,
    /// Still to be taken, as far as the source knows.
    pub active: bool,
    pub started_at: Option<Micros>,
    pub ended_at: Option<Micros>,
    pub last_issued_at: Option<Micros>,
    /// FHIR `MedicationRequest.status`, as far as the source tells: `active`, `on-hold`, `stopped`, `completed`, …
    pub status: Option<String>,
    /// Why it was stopped or suspended, as its source wrote it.
    pub status_reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allergy {
    pub code: Code,
    pub reaction: Option<String>,
    pub severity: Option<String>,
    /// "No known allergies", said by somebody: not the same as nothing recorded.
    pub none_known: bool,
    pub active: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    pub code: Code,
    pub active: bool,
    /// `significant`, `minor`, as the source ranks it.
    pub significance: Option<String>,
    pub ended_at: Option<Micros>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encounter {
    /// v3 ActCode where known: `AMB`, `IMP`, `EMER`; else as written.
    pub class: String,
    pub text: Option<String>,
    /// The team that sees the patient: a team id of the site (`stmarys-ed`).
    pub team: Option<String>,
    pub started_at: Option<Micros>,
    pub ended_at: Option<Micros>,
    /// A referral: the team may see the record before the patient arrives.
    pub referral: bool,
}
