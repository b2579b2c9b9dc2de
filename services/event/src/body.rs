//! What an event says: the codes and values that kinds of records are made of, and the kinds that rules, views and alerts
//! know one by one. Original code and text are always kept beside the coded form.

use crate::{
    Micros, NhsNumber, PartialDate,
    datum::{Aside, record, words},
};
use rust_decimal::Decimal;

words! {
    /// How a coding came to be there.
    Origin, default "unknown", {
        #[default]
        Unknown = "unknown",
        /// As the source wrote it.
        Written = "written",
        /// By a map from a code that the source wrote.
        Mapped = "mapped",
        /// Concluded from other things than a map.
        Inferred = "inferred",
        /// In the place of a code that is no longer in use.
        Replaced = "replaced",
    }
}

record! {
    /// One code for a thing, and how it came to be there.
    Coding {
        /// Its system: http://snomed.info/sct, http://loinc.org, http://read.info/readv2, https://dmd.nhs.uk, urn:causeway:local:<source>.
        system: String,
        /// The system's version, where the source tells it.
        version: Option<String>,
        /// The code.
        code: String,
        /// What the system calls it, where that is known.
        display: Option<String>,
        /// How it came to be there.
        origin: Origin,
        /// By which map and release, where it is not as the source wrote it.
        by: Aside<Option<String>>,
    }

    /// A coded thing as its source wrote it, and what it is known to mean.
    Code takes Code {
        /// The words the source shows.
        text: String,
        /// System of the code as the source wrote it: http://read.info/readv2, http://snomed.info/sct, urn:causeway:local:<source>.
        original_system: Option<String>,
        /// The code exactly as the source wrote it.
        original_code: Option<String>,
        /// SNOMED CT concept, where known.
        snomed: Option<String>,
        /// LOINC code, where known. This material contains content from LOINC (http://loinc.org). LOINC is copyright Regenstrief Institute, Inc. and is available at no cost under the licence at http://loinc.org/license.
        loinc: Option<String>,
        /// Every code of it that is known, those that the source wrote first; none from before they were told one by one.
        codings: Vec<Coding>,
    }

    /// A number in the analyte's canonical unit.
    Canonical {
        /// The number, in decimal digits.
        number: Decimal,
        /// UCUM unit.
        unit: String,
    }

    /// The value of a result, as its source gave it and in the canonical unit.
    Measurement {
        /// <, <=, >= or >, from its own column or from inside the text.
        comparator: Option<Comparator>,
        /// The source's number in decimal digits, as many as the source wrote; null when it wrote words, NaN or nothing.
        number: Option<Decimal>,
        /// The unit exactly as written.
        unit: Option<String>,
        /// The whole value exactly as written, when it is not a plain number.
        text: Option<String>,
        /// The number in the analyte's canonical unit; null whenever unit or number is not understood.
        canonical: Option<Canonical>,
    }
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

/// Why a result is not to be relied on whose number is understood, and cannot be. Limits judge it all the same.
pub const IMPLAUSIBLE: &str = "implausible value";

words! {
    /// FHIR ObservationStatus, the part that sources use.
    ResultStatus, default "unknown", {
        Preliminary = "preliminary",
        #[default]
        Final = "final",
        Corrected = "corrected",
        /// The source's word for it is in `status_text`: nobody said what it means.
        Unknown = "unknown",
    }
}

record! {
    /// Somebody, or some organisation, who had a part in it.
    Participant {
        /// Which part: recorder, performer, author, requester, prescriber, or as the mapping calls it.
        role: String,
        /// Their name as the source shows it.
        name: Option<String>,
        /// How the source knows them.
        identifier: Option<String>,
        /// What they are: a job, a profession.
        job: Option<String>,
        /// ODS code of the organisation that they are of.
        organisation: Option<String>,
    }

    /// By which revisions an event was made of its source's rows.
    MadeBy {
        /// System and revision of the mapping.
        mapping: String,
        /// What its codes were looked up in, and which release of that.
        terminology: String,
        /// What its units were converted by, and which release of that.
        units: String,
    }

    /// Where a patient lives or lived.
    Address {
        /// What for: home, temporary, billing, as the source tells.
        purpose: Option<String>,
        /// The lines, as written.
        lines: Option<String>,
        /// Town or city.
        town: Option<String>,
        /// Postcode.
        postcode: Option<String>,
        /// Since when.
        since: Option<Micros>,
        /// Until when; null while it holds.
        until: Option<Micros>,
    }

    /// How a patient is reached.
    Telecom {
        /// FHIR ContactPointSystem: phone, email, sms, other.
        system: String,
        /// The number or address, as written.
        value: Option<String>,
        /// What for: home, work, mobile.
        purpose: Option<String>,
        /// Since when.
        since: Option<Micros>,
        /// Until when; null while it holds.
        until: Option<Micros>,
    }

    /// A general practitioner that a patient has or had.
    GeneralPractitioner {
        /// ODS code of the practice.
        practice: Option<String>,
        /// The practice's name.
        practice_name: Option<String>,
        /// The doctor's name.
        name: Option<String>,
        /// How the source knows the doctor.
        identifier: Option<String>,
        /// Since when.
        since: Option<Micros>,
        /// Until when; null while it holds.
        until: Option<Micros>,
    }

    /// What a patient needs to be spoken with.
    Communication {
        /// Which need: language, interpreter, hearing, sight, format.
        need: String,
        /// What is needed, as the source wrote it.
        detail: Option<String>,
        /// Since when.
        since: Option<Micros>,
        /// Until when; null while it holds.
        until: Option<Micros>,
    }

    /// What a result was measured in.
    Specimen {
        /// Serum, plasma, urine, as the source wrote it.
        kind: Option<String>,
        /// What it was taken in.
        container: Option<String>,
        /// Where on the body it was taken from.
        site: Option<String>,
        /// When it was taken.
        collected_at: Option<Micros>,
        /// When the laboratory had it.
        received_at: Option<Micros>,
    }

    /// Who the patient is, as this source knows it.
    Demographics {
        /// Ten digits with a right check digit; what the source wrote otherwise is in nhs_number_text.
        nhs_number: Option<NhsNumber>,
        /// The source says the number is present and verified (NHS Data Dictionary status 01).
        nhs_number_verified: bool,
        /// The number as written, when it is not a well-formed one.
        nhs_number_text: Option<String>,
        /// Family name.
        family: Option<String>,
        /// Given names.
        given: Option<String>,
        /// Date of birth.
        birth_date: Option<i32>,
        /// Date of death.
        death_date: Option<i32>,
        /// FHIR administrative gender: male, female, other, unknown.
        gender: Option<String>,
        /// Postcode of the home address.
        postcode: Option<String>,
        /// ODS code of the practice the patient is registered with; null when deregistered.
        registered_practice: Option<String>,
        /// A local shared-record objection or a type-1 opt-out stands in the source.
        objection: bool,
        /// Where no more of the date of birth is known than its year or its month: `1984`, `1984-06`. birth_date is then null, for a day would be made up.
        birth_partial: Option<PartialDate>,
        /// As birth_partial, of the date of death: the patient has died.
        death_partial: Option<PartialDate>,
        /// Title: Mrs, Dr.
        title: Option<String>,
        /// Addresses, with since when and until when.
        address: Vec<Address>,
        /// Telephone, email.
        telecom: Vec<Telecom>,
        /// General practitioners, with since when and until when.
        practitioner: Vec<GeneralPractitioner>,
        /// What the patient needs to be spoken with.
        communication: Vec<Communication>,
    }

    /// A result or other observation.
    Observation {
        /// What was observed.
        code: Code,
        /// Key of the lab table (potassium), where the code is known.
        analyte: Option<String>,
        /// The value.
        value: Measurement,
        /// Status of the result.
        status: ResultStatus,
        /// When the laboratory authorised it.
        authorised_at: Option<Micros>,
        /// Lower end of the source's reference range, decimal digits, in the source's unit.
        range_low: Option<Decimal>,
        /// Upper end of the source's reference range, decimal digits, in the source's unit.
        range_high: Option<Decimal>,
        /// The source's own flag: critical-low, critical-high, low, high, or as written.
        flag: Option<String>,
        /// The specimen's identifier, shared by results of one specimen.
        specimen: Option<String>,
        /// The team or practice that asked for the test.
        requester: Option<String>,
        /// Why the number cannot be used: unknown unit, not a number, unknown code.
        unchecked: Option<String>,
        /// The source's comment.
        comment: Option<String>,
        /// The source's own word for a status that the mapping does not list; then status is unknown.
        status_text: Option<String>,
        /// How the source interprets it, in its own words, where flag does not say it.
        interpretation: Option<String>,
        /// The reference range in words, as the source wrote it.
        range_text: Option<String>,
        /// The panel that it belongs to, as the source calls it.
        panel: Option<String>,
        /// What it is reported with: the report's identifier within its source, shared by its results.
        report: Option<String>,
        /// What it was measured in.
        material: Option<Specimen>,
        /// How or with what it was measured.
        method: Option<String>,
        /// Where on the body.
        body_site: Option<String>,
    }

    /// A medicine.
    Medication {
        /// The product.
        code: Code,
        /// Dosage instruction as written.
        dosage: Option<String>,
        /// Quantity with its unit as written.
        quantity: Option<String>,
        /// repeat, acute or inpatient, as the source tells.
        course: Option<String>,
        /// Still to be taken, as far as the source knows.
        active: bool,
        /// Start.
        started_at: Option<Micros>,
        /// End or cancellation.
        ended_at: Option<Micros>,
        /// Last issue or administration.
        last_issued_at: Option<Micros>,
        /// FHIR MedicationRequest status, as far as the source tells: active, on-hold, stopped, completed, cancelled, draft, unknown; else none, and active tells.
        status: Option<String>,
        /// Why it was stopped or suspended, as its source wrote it.
        status_reason: Option<String>,
        /// How much at a time, decimal digits.
        dose_amount: Option<Decimal>,
        /// In which unit, as written.
        dose_unit: Option<String>,
        /// By which route, as written.
        route: Option<String>,
        /// How often, as written.
        frequency: Option<String>,
        /// In which form: tablet, cream.
        form: Option<String>,
        /// The very product, where code names what it is made of.
        product: Option<String>,
        /// How much is given out at once, decimal digits.
        quantity_amount: Option<Decimal>,
        /// In which unit, as written.
        quantity_unit: Option<String>,
        /// How often it was issued.
        issues: Option<Decimal>,
        /// How often it may be issued.
        issues_authorised: Option<Decimal>,
        /// What the patient is told beside the dosage.
        patient_instruction: Option<String>,
        /// What the pharmacy is told.
        pharmacy_instruction: Option<String>,
        /// What it is given for.
        reason: Option<String>,
    }

    /// An allergy or intolerance, or the statement that there is none.
    Allergy {
        /// The substance or the adverse reaction.
        code: Code,
        /// Reaction as written.
        reaction: Option<String>,
        /// Severity as written.
        severity: Option<String>,
        /// Somebody said that no allergies are known: not the same as nothing recorded.
        none_known: bool,
        /// Stands, as far as the source knows.
        active: bool,
        /// How sure the source is: confirmed, suspected, as written.
        certainty: Option<String>,
        /// Allergy, intolerance, side effect, as written.
        category: Option<String>,
        /// When it was first noticed.
        onset_at: Option<Micros>,
    }

    /// A problem or diagnosis.
    Condition {
        /// The problem.
        code: Code,
        /// Active, as far as the source knows.
        active: bool,
        /// significant, minor, as the source ranks it.
        significance: Option<String>,
        /// When it ended.
        ended_at: Option<Micros>,
        /// How sure the source is: confirmed, suspected, as written.
        certainty: Option<String>,
        /// Severity as written.
        severity: Option<String>,
        /// First, new, review, as written.
        episode: Option<String>,
        /// Where on the body.
        body_site: Option<String>,
        /// When somebody last reviewed it.
        reviewed_at: Option<Micros>,
        /// The source's comment.
        comment: Option<String>,
    }

    /// A consultation, stay, attendance or referral.
    Encounter {
        /// HL7 v3 ActCode where known: AMB, IMP, EMER; otherwise as written.
        class: String,
        /// Words about it.
        text: Option<String>,
        /// The team that sees the patient: a team id of the site.
        team: Option<String>,
        /// Start.
        started_at: Option<Micros>,
        /// End; null while it lasts.
        ended_at: Option<Micros>,
        /// A referral: the team may see the record before the patient arrives.
        referral: bool,
        /// Why, as the source wrote it.
        reason: Option<String>,
        /// Which service, as the source calls it.
        service: Option<String>,
        /// How it stands, as the source wrote it.
        status: Option<String>,
        /// Where the patient went afterwards.
        outcome: Option<String>,
    }
}
