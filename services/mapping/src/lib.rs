//! The mapping language: which rows of a source make which records. `docs/mappings.md` describes it for the data engineer
//! who writes one.
//!
//! # Why
//! A new system is a file and not a program: it can be read by who knows the system, and checked before it runs. The parser
//! tells every mistake at once, with file, key and line; what is parsed cannot fail later.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod bodies;
mod condition;
pub mod document;
mod expr;
mod field;
pub mod moment;
mod parse;
mod scope;
mod text;

pub use condition::{Condition, Judged, Look, Test, all, any};
pub use expr::{Broken, EXPR_BYTES_MAX, Expr, Failure, NODES_MAX, TEXT_BYTES_MAX, Type};
pub use field::{Field, Rest, State, Take};
pub use parse::parse;
pub use text::{civil, date, order, plain, shown};

use change::TableId;
use coding::{System, lab::Lab, value::Marks};
use event::Kind;
use jiff::{civil::Date, tz::TimeZone};
use std::{fmt, path::Path, sync::Arc};

/// The most tables, records, joins and columns a mapping may name.
pub const TABLES_MAX: usize = 200;
pub const RECORDS_MAX: usize = 200;
pub const JOINS_MAX: usize = 20;
/// The most ways that one field may say.
pub const WAYS_MAX: usize = 20;
/// The most rows that a join puts together.
pub const TOGETHER_MAX: usize = 100;
/// In a condition of a join, the record's own row: `row.column`.
pub const ROW: usize = usize::MAX;

/// What a result's status may be called. `unknown` is what a status becomes that the mapping does not list.
pub const RESULT_STATUSES: [&str; 4] = ["preliminary", "final", "corrected", UNKNOWN];
/// Statuses that take a record away, each only where the mapping names it.
pub const TAKEN_BACK: [&str; 3] = ["cancelled", "rejected", ENTERED_IN_ERROR];
/// FHIR `MedicationRequest.status`, without `draft`: a draft is no prescription.
pub const MEDICATION_STATUSES: [&str; 7] =
    [ENTERED_IN_ERROR, "cancelled", "stopped", "completed", "on-hold", "active", UNKNOWN];
pub const UNKNOWN: &str = "unknown";
/// Takes a medicine's record away too.
pub const ENTERED_IN_ERROR: &str = "entered-in-error";

/// A source system's mapping, checked. Rows, columns and joins are known by index.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub system: String,
    /// Grows with each change of meaning: part of every event's id.
    pub revision: u32,
    /// Of the whole text: a change that forgot to say so is seen.
    pub digest: u64,
    pub zone: TimeZone,
    /// Days that mean "none" in every column of times, besides 9999-12-31, which always does.
    pub sentinels: Vec<Date>,
    /// How numbers are written in columns of text, unless a value says otherwise.
    pub numbers: Marks,
    /// What its codes and units are read by: the table that is shipped, unless the site has one of its own.
    pub lab: Arc<Lab>,
    /// The release that codes are read by: of the site's settings, not of the document.
    pub release: Option<terminology::Release>,
    pub tables: Vec<Table>,
    pub records: Vec<Record>,
    /// What `mapping check` says of a mapping that is good.
    pub warnings: Vec<Mistake>,
}

/// What is kept of a table.
#[derive(Clone, Debug)]
pub struct Table {
    pub id: TableId,
    /// The columns that some record or join uses.
    pub columns: Vec<Arc<str>>,
    /// Columns to find rows by, as indexes into `columns`.
    pub indexed: Vec<usize>,
    /// A dictionary: it forgets nothing, for rows that use an entry outlive it. An update that meets
    /// one of these conditions, and every delete, is passed over.
    pub dictionary: Option<Vec<Condition>>,
}

/// A cell: of the root row, or of the row that a join found. In a condition of a join: of the row that may be found, of a
/// join before it, or of the root row ([`ROW`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ref {
    pub join: Option<usize>,
    pub column: usize,
}

/// Rows of `table` whose columns equal cells reached before. One row is taken: the highest.
#[derive(Clone, Debug)]
pub struct Join {
    pub name: String,
    pub table: usize,
    /// (their column, our cell); the first pair is indexed.
    pub on: Vec<(usize, Ref)>,
    /// (their column, its text). Where there is nothing else, the first is indexed.
    pub constants: Vec<(usize, String)>,
    /// Several rows are taken, with this between their texts.
    pub together: Option<String>,
    /// All that are found, and not one for each of another join's.
    pub all: bool,
    /// A join before it of which all rows are taken: it finds one row for each of them.
    pub each: Option<usize>,
    /// All must hold of a row to be found.
    pub only_when: Vec<Condition>,
    /// The column whose highest value is taken; without it, the highest key.
    pub highest: Option<usize>,
}

impl Join {
    /// With nothing said of it but its table.
    pub(crate) const fn of(table: usize) -> Self {
        Self {
            name: String::new(),
            table,
            on: Vec::new(),
            constants: Vec::new(),
            together: None,
            all: false,
            each: None,
            only_when: Vec::new(),
            highest: None,
        }
    }
}

/// One kind of record that a root table's rows make.
#[derive(Clone, Debug)]
pub struct Record {
    pub kind: Kind,
    /// The first part of the record's id: `observation/4711`.
    pub name: String,
    pub table: usize,
    /// The record's identity; several rows may share it, one is taken.
    pub id: Vec<usize>,
    /// The column whose highest value is taken among the rows that are not deleted.
    pub highest: Option<usize>,
    pub joins: Vec<Join>,
    /// Any makes the row a deleted one.
    pub deleted_when: Vec<Condition>,
    /// All must hold for this kind of record to arise.
    pub only_when: Vec<Condition>,
    /// Any marks the record as confidential; of demographics, the whole patient.
    pub confidential_when: Vec<Condition>,
    pub patient: Ref,
    pub organisation: Option<Field>,
    pub entered_at: Option<Field>,
    pub effective_at: Option<Field>,
    /// How exactly `effective_at` is known, where another column tells.
    pub effective_precision: Option<Field>,
    /// Each of those who had a part in it, field by field.
    pub participants: Vec<Vec<Rule>>,
    pub location: Option<Field>,
    pub body: BodyRule,
}

#[derive(Clone, Debug, Default)]
pub struct CodeRule {
    pub text: Option<Field>,
    pub codes: Vec<CodeOf>,
}

/// One code of a thing.
#[derive(Clone, Debug)]
pub struct CodeOf {
    pub system: System,
    pub code: Field,
    /// Of the system.
    pub version: Option<Field>,
    /// What the system calls the code.
    pub display: Option<Field>,
}

/// What a mapping says for one field of a kind's table (`event::Kind::fields`).
#[derive(Clone, Debug, Default)]
pub enum Rule {
    #[default]
    Nothing,
    Cell(Box<Field>),
    Code(Box<CodeRule>),
    One(Vec<Self>),
    Many(Vec<Vec<Self>>),
}

/// The rules of old kinds end with `more`: what follows from the kind's table alone, in its order; empty where a mapping
/// names nothing of it.
#[derive(Clone, Debug)]
pub enum BodyRule {
    /// A kind that needs nothing but its table.
    Table(Kind, Vec<Rule>),
    Demographics(Box<DemographicsRule>),
    Observation(Box<ObservationRule>),
    Medication(Box<MedicationRule>),
    Allergy(Box<AllergyRule>),
    Condition(Box<ConditionRule>),
    Encounter(Box<EncounterRule>),
}

#[derive(Clone, Debug, Default)]
pub struct DemographicsRule {
    pub nhs_number: Option<Field>,
    pub verified_when: Vec<Condition>,
    pub family: Option<Field>,
    pub given: Option<Field>,
    pub birth_date: Option<Field>,
    pub death_date: Option<Field>,
    pub gender: Option<Field>,
    pub postcode: Option<Field>,
    pub registered_practice: Option<Field>,
    pub objection_when: Vec<Condition>,
    pub more: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub struct ObservationRule {
    pub code: CodeRule,
    /// A column that holds a number.
    pub number: Option<Field>,
    /// A column that holds text, to be read as a number where it is one.
    pub text: Option<Field>,
    pub unit: Option<Field>,
    pub comparator: Option<Field>,
    /// The number column pads with zeros that nobody wrote.
    pub trim_zeros: bool,
    /// How numbers are written in columns of text.
    pub marks: Marks,
    /// `RESULT_STATUSES`, or one of `TAKEN_BACK`.
    pub status: Option<Field>,
    pub corrected_when: Vec<Condition>,
    pub authorised_at: Option<Field>,
    pub range_low: Option<Field>,
    pub range_high: Option<Field>,
    pub flag: Option<Field>,
    pub specimen: Option<Field>,
    pub requester: Option<Field>,
    pub comment: Option<Field>,
    pub more: Vec<Rule>,
}

#[derive(Clone, Debug, Default)]
pub struct MedicationRule {
    pub code: CodeRule,
    pub dosage: Option<Field>,
    pub quantity: Option<Field>,
    pub course: Option<Field>,
    pub active_when: Vec<Condition>,
    pub started_at: Option<Field>,
    pub ended_at: Option<Field>,
    pub last_issued_at: Option<Field>,
    /// `MEDICATION_STATUSES`.
    pub status: Option<Field>,
    pub status_reason: Option<Field>,
    /// A status and the conditions that must all hold for it, in the order of `MEDICATION_STATUSES`. The first that
    /// holds counts before `status`.
    pub status_when: Vec<(&'static str, Vec<Condition>)>,
    pub more: Vec<Rule>,
}

#[derive(Clone, Debug, Default)]
pub struct AllergyRule {
    pub code: CodeRule,
    pub reaction: Option<Field>,
    pub severity: Option<Field>,
    pub none_known_when: Vec<Condition>,
    pub active_when: Vec<Condition>,
    pub more: Vec<Rule>,
}

#[derive(Clone, Debug, Default)]
pub struct ConditionRule {
    pub code: CodeRule,
    pub active_when: Vec<Condition>,
    pub significance: Option<Field>,
    pub ended_at: Option<Field>,
    pub more: Vec<Rule>,
}

#[derive(Clone, Debug, Default)]
pub struct EncounterRule {
    pub class: Option<Field>,
    pub text: Option<Field>,
    pub team: Option<Field>,
    pub started_at: Option<Field>,
    pub ended_at: Option<Field>,
    pub referral: bool,
    pub more: Vec<Rule>,
}

impl Mapping {
    pub fn table(&self, id: &TableId) -> Option<usize> {
        self.tables.iter().position(|table| table.id == *id)
    }
}

/// One mistake in a mapping file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub file: String,
    pub line: usize,
    /// The key it is about: `record[2].join.code.on`.
    pub key: String,
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.key, self.what)
    }
}

/// Every mistake of a mapping, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Reads and checks a mapping file.
pub fn load(path: &Path) -> Result<Mapping, Mistakes> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text),
        Err(error) => Err(Mistakes(vec![Mistake {
            file,
            line: 0,
            key: "file".into(),
            what: format!("cannot be read: {}", error.kind()),
        }])),
    }
}
