//! The kinds of records, and the table of each that needs nothing but its table: `docs/kinds.md` shows how one is added.
//!
//! # Why
//! A kind is one line in `kinds!` and one table of fields. Codec, schema, canonical form, mapping keys, view and page follow
//! from these. Only what rules and views know more of than its fields has code of its own elsewhere.

use crate::{
    Micros,
    avro::{
        DecodeError,
        wire::{self, Reader},
    },
    body::*,
    datum::{self, Datum, Fields, Known, Record, Told, record},
};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// Kinds with the word that the schema has for them and what people call several of them. A kind is only ever added at
/// the end.
macro_rules! kinds {
    ($($name:ident $word:literal $plural:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($name,)+ }

        #[derive(Clone, Debug, PartialEq)]
        pub enum Body {
            $($name($name),)+
            /// Of a retraction: what kind of record it was.
            Retracted(Kind),
        }

        impl Kind {
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// What people call several of them.
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$name => $plural,)+ }
            }

            pub const fn fields(self) -> Fields {
                match self { $(Self::$name => <$name as Record>::FIELDS,)+ }
            }

            /// A record of this kind, from what a mapping told of each of its fields, in order.
            pub fn of(self, told: Vec<Told>) -> Body {
                match self { $(Self::$name => Body::$name(Record::of(told)),)+ }
            }
        }

        impl Body {
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)+
                    Self::Retracted(kind) => *kind,
                }
            }

            pub(crate) fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(it) => {
                        wire::long(out, Kind::$name as i64);
                        it.write(out);
                    })+
                    Self::Retracted(kind) => {
                        wire::long(out, RETRACTED);
                        wire::long(out, *kind as i64);
                    }
                }
            }

            pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let branch = from.long()?;
                if branch == RETRACTED {
                    return Ok(Self::Retracted(from.symbol("kind", &Kind::ALL)?));
                }
                let kind = usize::try_from(branch).ok().and_then(|at| Kind::ALL.get(at).copied());
                Ok(match kind.ok_or(DecodeError::Malformed("body"))? {
                    $(Kind::$name => Self::$name(Datum::read(from)?),)+
                })
            }

            pub(crate) fn form(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(it) => it.form(out),)+
                    Self::Retracted(_) => datum::form("retracted", &true, out),
                }
            }

            /// Every field that says something, as JSON, but those with these names.
            pub fn each(&self, but: &[&str], take: &mut dyn FnMut(&'static str, Value)) {
                match self {
                    $(Self::$name(it) => it.each(but, take),)+
                    Self::Retracted(_) => {}
                }
            }

            /// The union of bodies, as the schema has it.
            pub fn schema(known: &mut Known) -> Value {
                json!([$($name::schema(known),)+ retracted()])
            }
        }
    };
}

/// The branch after the kinds.
const RETRACTED: i64 = Kind::ALL.len() as i64;

fn retracted() -> Value {
    let symbols: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let kind = json!({"type": "enum", "name": "Kind", "doc": "The kinds of record.", "symbols": symbols});
    let field = json!({"name": "kind", "type": kind, "doc": "The kind of record that is taken back."});
    json!({"type": "record", "name": "Retracted", "doc": "Taken back: deleted, voided, or moved to another patient.",
        "fields": [field]})
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Kind {
    /// The kinds that version 1 of the schema had. A sink of that version cannot read any other.
    pub const fn is_of_version_1(self) -> bool {
        (self as usize) <= Self::Encounter as usize
    }

    /// Its record begins with a code and a status and has no table of its own: views keep it with all others that are so.
    pub const fn is_entry(self) -> bool {
        !self.is_of_version_1()
    }
}

impl Body {
    /// The code of what it is about.
    pub const fn code(&self) -> Option<&Code> {
        Some(match self {
            Self::Observation(it) => &it.code,
            Self::Medication(it) => &it.code,
            Self::Allergy(it) => &it.code,
            Self::Condition(it) => &it.code,
            Self::Demographics(_) | Self::Encounter(_) | Self::Retracted(_) => return None,
            Self::Procedure(it) => &it.code,
            Self::Immunisation(it) => &it.code,
            Self::Document(it) => &it.code,
            Self::Referral(it) => &it.code,
            Self::Appointment(it) => &it.code,
            Self::Flag(it) => &it.code,
            Self::CareTeam(it) => &it.code,
            Self::FamilyHistory(it) => &it.code,
            Self::SpecimenReport(it) => &it.code,
            Self::Supply(it) => &it.code,
        })
    }
}

kinds! {
    Demographics "demographics" "identity details",
    Observation "observation" "results",
    Medication "medication" "current medicines",
    Allergy "allergy" "allergies",
    Condition "condition" "active problems",
    Encounter "encounter" "encounters",
    Procedure "procedure" "procedures",
    Immunisation "immunisation" "immunisations",
    Document "document" "documents",
    Referral "referral" "referrals",
    Appointment "appointment" "appointments",
    Flag "flag" "flags",
    CareTeam "care_team" "care teams",
    FamilyHistory "family_history" "family history",
    SpecimenReport "specimen_report" "laboratory reports",
    Supply "supply" "medicines issued, dispensed or given",
}

record! {
    /// Something that was done to the patient.
    Procedure {
        /// What was done.
        code: Code,
        /// How it stands, as the source tells: completed, not done, planned.
        status: Option<String>,
        /// Start.
        started_at: Option<Micros>,
        /// End.
        ended_at: Option<Micros>,
        /// Where on the body.
        body_site: Option<String>,
        /// Why.
        reason: Option<String>,
        /// What came of it.
        outcome: Option<String>,
        /// The source's comment.
        comment: Option<String>,
    }

    /// A vaccination, or that one was refused or not given.
    Immunisation {
        /// The vaccination, or the vaccine.
        code: Code,
        /// How it stands, as the source tells: completed, not done.
        status: Option<String>,
        /// The very product.
        product: Option<String>,
        /// The batch.
        batch: Option<String>,
        /// When the batch expires.
        expires_on: Option<i32>,
        /// Which dose of the course, as written.
        dose: Option<String>,
        /// Where on the body.
        body_site: Option<String>,
        /// By which route.
        route: Option<String>,
        /// Why it was given, or not given.
        reason: Option<String>,
        /// The source's comment.
        comment: Option<String>,
    }

    /// A letter, a report, a scan: that there is one, and where.
    Document {
        /// What kind of document.
        code: Code,
        /// How it stands, as the source tells: current, superseded.
        status: Option<String>,
        /// Its title.
        title: Option<String>,
        /// When it was written.
        written_at: Option<Micros>,
        /// What its source finds it by.
        identifier: Option<String>,
        /// Its media type.
        media_type: Option<String>,
        /// The source's comment.
        comment: Option<String>,
    }

    /// That somebody asked another service to see the patient.
    Referral {
        /// What is asked for.
        code: Code,
        /// How it stands, as the source tells.
        status: Option<String>,
        /// How urgent, as written.
        urgency: Option<String>,
        /// Which service is asked, as written.
        service: Option<String>,
        /// ODS code of the organisation that asks.
        from_organisation: Option<String>,
        /// ODS code of the organisation that is asked.
        to_organisation: Option<String>,
        /// The department or team that is asked.
        to_team: Option<String>,
        /// When it was asked.
        asked_at: Option<Micros>,
        /// When it was over.
        ended_at: Option<Micros>,
        /// Why.
        reason: Option<String>,
    }

    /// A time at which the patient is, or was, to be seen.
    Appointment {
        /// What it is for.
        code: Code,
        /// How it stands, as the source tells: booked, arrived, cancelled, missed.
        status: Option<String>,
        /// Start.
        starts_at: Option<Micros>,
        /// End.
        ends_at: Option<Micros>,
        /// Which service, as written.
        service: Option<String>,
        /// The team that is to see the patient.
        team: Option<String>,
        /// Why.
        reason: Option<String>,
        /// The source's comment.
        comment: Option<String>,
    }

    /// Something that whoever meets the patient has to know first.
    Flag {
        /// What.
        code: Code,
        /// How it stands, as the source tells: active, ended.
        status: Option<String>,
        /// What it is about: safeguarding, infection, behaviour.
        category: Option<String>,
        /// Since when.
        started_at: Option<Micros>,
        /// Until when; null while it holds.
        ended_at: Option<Micros>,
        /// The source's comment.
        comment: Option<String>,
    }

    /// Who looks after the patient together; its members are the event's participants.
    CareTeam {
        /// What kind of team.
        code: Code,
        /// How it stands, as the source tells.
        status: Option<String>,
        /// Its name.
        team: Option<String>,
        /// Since when.
        started_at: Option<Micros>,
        /// Until when; null while it holds.
        ended_at: Option<Micros>,
        /// What for.
        reason: Option<String>,
    }

    /// What a relative of the patient has or had.
    FamilyHistory {
        /// What they have or had.
        code: Code,
        /// How it stands, as the source tells.
        status: Option<String>,
        /// Who: mother, brother, as written.
        relation: Option<String>,
        /// At which age it began, as written.
        onset_age: Option<String>,
        /// That they died of it, or when, as written.
        died: Option<String>,
        /// The source's comment.
        comment: Option<String>,
    }

    /// A laboratory's report as a whole: its results bear its identifier.
    SpecimenReport {
        /// What was asked for: the panel.
        code: Code,
        /// How it stands, as the source tells.
        status: Option<String>,
        /// The report's identifier within its source, which its results bear.
        report: Option<String>,
        /// The specimen's identifier.
        specimen: Option<String>,
        /// What was examined.
        material: Option<Specimen>,
        /// When it was asked for.
        asked_at: Option<Micros>,
        /// When the laboratory gave it out.
        issued_at: Option<Micros>,
        /// What the laboratory concludes.
        conclusion: Option<String>,
        /// The source's comment.
        comment: Option<String>,
    }

    /// One time that a medicine was issued, dispensed or given: which it was, is its phase.
    Supply {
        /// The product.
        code: Code,
        /// How it stands, as the source tells.
        status: Option<String>,
        /// issue, dispense or administration.
        phase: Option<String>,
        /// The medicine's own identifier within its source.
        medication: Option<String>,
        /// When.
        given_at: Option<Micros>,
        /// Dosage instruction as written.
        dosage: Option<String>,
        /// How much at a time, decimal digits.
        dose_amount: Option<Decimal>,
        /// In which unit, as written.
        dose_unit: Option<String>,
        /// By which route, as written.
        route: Option<String>,
        /// How much in all, decimal digits.
        quantity_amount: Option<Decimal>,
        /// In which unit, as written.
        quantity_unit: Option<String>,
        /// For how many days, decimal digits.
        days: Option<Decimal>,
        /// Why not, or why otherwise than asked for.
        reason: Option<String>,
    }
}
