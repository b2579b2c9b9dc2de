//! The row of each kind of record, cell by cell in the order of its table's columns.

use super::{
    ObservationRow,
    columns::{Cell, Table, Type, commit_time},
    more::more,
};
use event::{Action, Body, Code, Link, PartialDate, PatientEvent};

const PATIENT_AND_RECORD: &[&str] = &["source", "patient", "record"];

pub const DEMOGRAPHICS: Table = Table {
    name: "patient",
    key: &["source", "patient"],
    own: &[
        ("nhs_number", Type::Text),
        ("nhs_number_verified", Type::Bool),
        ("nhs_number_text", Type::Text),
        ("family", Type::Text),
        ("given", Type::Text),
        ("birth_date", Type::Date),
        ("death_date", Type::Date),
        ("gender", Type::Text),
        ("postcode", Type::Text),
        ("registered_practice", Type::Text),
        ("objection", Type::Bool),
        ("birth_partial", Type::Text),
        ("death_partial", Type::Text),
    ],
};

/// The version columns come first: a retraction has them too, and nothing after them.
pub const OBSERVATION: Table = Table {
    name: "observation",
    key: PATIENT_AND_RECORD,
    own: &[
        ("version", Type::Text),
        ("version_digest", Type::Bytes),
        ("code_text", Type::Text),
        ("code_system", Type::Text),
        ("code", Type::Text),
        ("snomed", Type::Text),
        ("loinc", Type::Text),
        ("analyte", Type::Text),
        ("comparator", Type::Text),
        ("number", Type::Numeric),
        ("unit", Type::Text),
        ("value_text", Type::Text),
        ("canonical_number", Type::Numeric),
        ("canonical_unit", Type::Text),
        ("status", Type::Text),
        ("authorised_at", Type::Time),
        ("range_low", Type::Numeric),
        ("range_high", Type::Numeric),
        ("flag", Type::Text),
        ("specimen", Type::Text),
        ("requester", Type::Text),
        ("unchecked", Type::Text),
        ("comment", Type::Text),
        ("status_text", Type::Text),
    ],
};

pub const MEDICATION: Table = Table {
    name: "medication",
    key: PATIENT_AND_RECORD,
    own: &[
        ("code_text", Type::Text),
        ("code_system", Type::Text),
        ("code", Type::Text),
        ("snomed", Type::Text),
        ("loinc", Type::Text),
        ("dosage", Type::Text),
        ("quantity", Type::Text),
        ("course", Type::Text),
        ("active", Type::Bool),
        ("started_at", Type::Time),
        ("ended_at", Type::Time),
        ("last_issued_at", Type::Time),
        ("status", Type::Text),
        ("status_reason", Type::Text),
    ],
};

pub const ALLERGY: Table = Table {
    name: "allergy",
    key: PATIENT_AND_RECORD,
    own: &[
        ("code_text", Type::Text),
        ("code_system", Type::Text),
        ("code", Type::Text),
        ("snomed", Type::Text),
        ("loinc", Type::Text),
        ("reaction", Type::Text),
        ("severity", Type::Text),
        ("none_known", Type::Bool),
        ("active", Type::Bool),
    ],
};

pub const CONDITION: Table = Table {
    name: "condition",
    key: PATIENT_AND_RECORD,
    own: &[
        ("code_text", Type::Text),
        ("code_system", Type::Text),
        ("code", Type::Text),
        ("snomed", Type::Text),
        ("loinc", Type::Text),
        ("active", Type::Bool),
        ("significance", Type::Text),
        ("ended_at", Type::Time),
    ],
};

pub const ENCOUNTER: Table = Table {
    name: "encounter",
    key: PATIENT_AND_RECORD,
    own: &[
        ("class", Type::Text),
        ("text", Type::Text),
        ("team", Type::Text),
        ("started_at", Type::Time),
        ("ended_at", Type::Time),
        ("referral", Type::Bool),
    ],
};

/// Records of every kind that has no table of its own. The kind comes first: a retraction has it too.
pub const ENTRY: Table = Table {
    name: "entry",
    key: PATIENT_AND_RECORD,
    own: &[
        ("kind", Type::Text),
        ("code_text", Type::Text),
        ("code_system", Type::Text),
        ("code", Type::Text),
        ("snomed", Type::Text),
        ("loinc", Type::Text),
    ],
};

/// A record's row. Of a retraction: who, where and when; the clinical cells stay null.
pub fn cells(event: &PatientEvent) -> Vec<Cell<'_>> {
    let mut row = common(event);
    let kind = event.body.kind();
    row.extend(kind.is_entry().then(|| Cell::text(kind.as_str())));
    own(&event.body, &mut row);
    row
}

/// A result's row, with the version it has unless the table knows it by an older one.
pub fn observation(observation: &ObservationRow) -> Vec<Cell<'_>> {
    let mut row = common(&observation.event);
    row.push(Cell::Text(observation.since.to_string().into()));
    row.push(Cell::Bytes(&observation.digest));
    own(&observation.event.body, &mut row);
    row
}

fn common(event: &PatientEvent) -> Vec<Cell<'_>> {
    let retracted = matches!(event.body, Body::Retracted(_));
    vec![
        Cell::text(&event.patient.source),
        Cell::text(&event.patient.id),
        Cell::text(&event.record),
        Cell::text(&event.organisation),
        Cell::Text(event.position.to_string().into()),
        Cell::Int(revision(event)),
        // The id holds the patient's source and record as they are.
        Cell::Text(event.id().replace('\0', "\u{FFFD}").into()),
        Cell::Time(commit_time(event.committed_at)),
        Cell::time(event.entered_at),
        Cell::time(event.effective_at.filter(|_| !retracted)),
        Cell::Bool(event.action == Action::Corrected),
        Cell::Bool(retracted),
        Cell::Bool(event.snapshot),
        Cell::Long(i64::from(event.generation)),
        Cell::Bool(event.confidential),
        Cell::Bool(event.reread),
        Cell::maybe(event.incomplete.as_ref()),
        event.effective_precision.filter(|_| !retracted).map_or(Cell::Null, |precision| Cell::text(precision.as_str())),
        Cell::Bool(event.reinterpreted),
        more(event).map_or(Cell::Null, |more| Cell::Text(more.into())),
    ]
}

fn revision(event: &PatientEvent) -> i32 {
    i32::try_from(event.revision).unwrap_or(i32::MAX)
}

fn own<'a>(body: &'a Body, row: &mut Vec<Cell<'a>>) {
    match body {
        Body::Demographics(it) => row.extend([
            it.nhs_number.as_ref().map_or(Cell::Null, |number| Cell::text(number.as_str())),
            Cell::Bool(it.nhs_number_verified),
            Cell::maybe(it.nhs_number_text.as_ref()),
            Cell::maybe(it.family.as_ref()),
            Cell::maybe(it.given.as_ref()),
            Cell::day(it.birth_date),
            Cell::day(it.death_date),
            Cell::maybe(it.gender.as_ref()),
            Cell::maybe(it.postcode.as_ref()),
            Cell::maybe(it.registered_practice.as_ref()),
            Cell::Bool(it.objection),
            partial(it.birth_partial),
            partial(it.death_partial),
        ]),
        Body::Observation(it) => result(it, row),
        Body::Medication(it) => {
            code(&it.code, row);
            row.extend([
                Cell::maybe(it.dosage.as_ref()),
                Cell::maybe(it.quantity.as_ref()),
                Cell::maybe(it.course.as_ref()),
                Cell::Bool(it.active),
                Cell::time(it.started_at),
                Cell::time(it.ended_at),
                Cell::time(it.last_issued_at),
                Cell::maybe(it.status.as_ref()),
                Cell::maybe(it.status_reason.as_ref()),
            ]);
        }
        Body::Allergy(it) => {
            code(&it.code, row);
            row.extend([
                Cell::maybe(it.reaction.as_ref()),
                Cell::maybe(it.severity.as_ref()),
                Cell::Bool(it.none_known),
                Cell::Bool(it.active),
            ]);
        }
        Body::Condition(it) => {
            code(&it.code, row);
            row.extend([Cell::Bool(it.active), Cell::maybe(it.significance.as_ref()), Cell::time(it.ended_at)]);
        }
        Body::Encounter(it) => row.extend([
            Cell::text(&it.class),
            Cell::maybe(it.text.as_ref()),
            Cell::maybe(it.team.as_ref()),
            Cell::time(it.started_at),
            Cell::time(it.ended_at),
            Cell::Bool(it.referral),
        ]),
        Body::Retracted(_) => {}
        entry => entry.code().into_iter().for_each(|it| code(it, row)),
    }
}

fn partial<'a>(date: Option<PartialDate>) -> Cell<'a> {
    date.map_or(Cell::Null, |date| Cell::Text(date.to_string().into()))
}

fn result<'a>(it: &'a event::Observation, row: &mut Vec<Cell<'a>>) {
    let canonical = it.value.canonical.as_ref();
    code(&it.code, row);
    row.extend([
        Cell::maybe(it.analyte.as_ref()),
        it.value.comparator.map_or(Cell::Null, |comparator| Cell::text(comparator.as_str())),
        Cell::number(it.value.number),
        Cell::maybe(it.value.unit.as_ref()),
        Cell::maybe(it.value.text.as_ref()),
        Cell::number(canonical.map(|canonical| canonical.number)),
        canonical.map_or(Cell::Null, |canonical| Cell::text(&canonical.unit)),
        Cell::text(it.status.as_str()),
        Cell::time(it.authorised_at),
        Cell::number(it.range_low),
        Cell::number(it.range_high),
        Cell::maybe(it.flag.as_ref()),
        Cell::maybe(it.specimen.as_ref()),
        Cell::maybe(it.requester.as_ref()),
        Cell::maybe(it.unchecked.as_ref()),
        Cell::maybe(it.comment.as_ref()),
        Cell::maybe(it.status_text.as_ref()),
    ]);
}

fn code<'a>(code: &'a Code, row: &mut Vec<Cell<'a>>) {
    row.extend([
        Cell::text(&code.text),
        Cell::maybe(code.original_system.as_ref()),
        Cell::maybe(code.original_code.as_ref()),
        Cell::maybe(code.snomed.as_ref()),
        Cell::maybe(code.loinc.as_ref()),
    ]);
}

/// A link's version as the table holds it.
pub fn link_version(link: &Link) -> i32 {
    i32::try_from(link.version).unwrap_or(i32::MAX)
}
