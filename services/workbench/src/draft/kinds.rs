//! Which table makes which kind of record, and which of its columns is which field, by their names and types.

use super::words::{best, has, has_any};
use change::described::{Described, DescribedColumn, Family};
use event::Kind;

const TEXT: &[Family] = &[Family::Text, Family::Other];
const WRITTEN: &[Family] = &[Family::Text, Family::Number];
const NUMBER: &[Family] = &[Family::Number];
const TIMES: &[Family] = &[Family::Moment, Family::Day];
const CODES: &[Family] = &[Family::Text, Family::Number, Family::Other, Family::Bool];

/// What is looked for: the mapping's key, the words that a column's name may have (the best first), and its types.
pub struct Wanted {
    pub key: &'static str,
    words: &'static [&'static str],
    families: &'static [Family],
    /// A name with one of these is something else.
    but: &'static [&'static str],
}

const fn wanted(key: &'static str, words: &'static [&'static str], families: &'static [Family]) -> Wanted {
    Wanted { key, words, families, but: &[] }
}

const fn but(wanted: Wanted, but: &'static [&'static str]) -> Wanted {
    Wanted { but, ..wanted }
}

impl Wanted {
    pub fn column<'a>(&self, table: &'a Described) -> Option<&'a DescribedColumn> {
        let columns: Vec<DescribedColumn> =
            table.columns.iter().filter(|column| !has_any(&column.name, self.but)).cloned().collect();
        let name = best(&columns, self.words, self.families)?.name.clone();
        table.column(&name)
    }
}

/// Tables of these names make these kinds: the first that fits.
const TABLES: [(Kind, &[&str]); 14] = [
    (Kind::Allergy, &["allergy", "allergies", "adverse reaction", "intolerance"]),
    (Kind::Immunisation, &["immunisation", "immunization", "vaccination", "vaccine"]),
    (Kind::Supply, &["issue", "dispense", "dispensed", "administration"]),
    (Kind::Medication, &["medication", "prescription", "prescribing", "medicine", "drug record"]),
    (Kind::FamilyHistory, &["family history"]),
    (Kind::Referral, &["referral"]),
    (Kind::Appointment, &["appointment", "booking"]),
    (Kind::Document, &["document", "letter"]),
    (Kind::Procedure, &["procedure", "operation", "surgery"]),
    (Kind::Condition, &["problem", "diagnosis", "diagnoses", "condition"]),
    (Kind::Encounter, &["encounter", "consultation", "visit", "admission", "episode", "attendance"]),
    (Kind::Observation, &["result", "observation", "measurement", "vital", "clinical event"]),
    (Kind::Flag, &["flag", "warning", "hazard"]),
    (Kind::CareTeam, &["care team"]),
];

/// By its name, or else by what its columns are called together.
pub fn of_table(table: &Described) -> Option<(Kind, String)> {
    let name = &table.table.name;
    let named =
        TABLES.iter().find_map(|(kind, words)| words.iter().find(|word| has(name, word)).map(|word| (*kind, *word)));
    if let Some((kind, word)) = named {
        return Some((kind, format!("`{word}` in the table's name")));
    }
    let value = of_value();
    let [number, text, unit, _] = value.as_slice() else { return None };
    let of_value = number.column(table).or_else(|| text.column(table));
    if let Some((value, unit)) = of_value.zip(unit.column(table)) {
        return Some((
            Kind::Observation,
            format!("a value ({}) and a unit ({}) among its columns", value.name, unit.name),
        ));
    }
    let drug = best(&table.columns, &["drug", "medicine", "medication", "dmd"], WRITTEN)?;
    let dose = best(&table.columns, &["dosage", "dose", "sig", "directions"], WRITTEN)?;
    Some((Kind::Medication, format!("a drug ({}) and a dose ({}) among its columns", drug.name, dose.name)))
}

/// How much a table looks like that of the patients, and what says so.
pub fn patient_likeness(table: &Described) -> (usize, Vec<&str>) {
    let named = usize::from(has_any(&table.table.name, &["patient", "person"])) * 3;
    let signs: [&[&str]; 6] = [
        &["nhs"],
        &["birth", "dob"],
        &["surname", "family", "last name"],
        &["given", "forename", "first name"],
        &["postcode", "postal", "zip"],
        &["sex", "gender"],
    ];
    let found: Vec<&str> = signs
        .iter()
        .filter_map(|words| table.columns.iter().find(|column| has_any(&column.name, words)).map(|it| it.name.as_str()))
        .collect();
    let score = if table.key.len() == 1 && found.len() >= 2 { named + found.len() } else { 0 };
    (score, found)
}

/// What every record may have.
pub fn of_all() -> Vec<Wanted> {
    vec![
        but(wanted("entered_at", &["entered", "recorded", "created", "updated"], TIMES), &["user"]),
        but(
            wanted(
                "effective_at",
                &[
                    "effective",
                    "collected",
                    "taken",
                    "observed",
                    "performed",
                    "start",
                    "onset",
                    "received",
                    "event date",
                ],
                TIMES,
            ),
            &["end", "precision", "entered", "beg"],
        ),
    ]
}

pub fn of_kind(kind: Kind) -> Vec<Wanted> {
    match kind {
        Kind::Demographics => vec![
            but(
                wanted("nhs_number", &["nhs number", "nhs nbr", "nhs no", "nhs"], WRITTEN),
                &["status", "pseudonym", "hash"],
            ),
            wanted("family", &["surname", "family", "last name"], TEXT),
            wanted("given", &["given", "forename", "first name"], TEXT),
            wanted("birth_date", &["birth", "dob"], &[Family::Day, Family::Moment, Family::Text]),
            but(
                wanted("death_date", &["death", "deceased", "died"], &[Family::Day, Family::Moment]),
                &["reason", "cause"],
            ),
            wanted("gender", &["sex", "gender"], CODES),
            wanted("postcode", &["postcode", "postal", "zip"], TEXT),
            wanted("title", &["title"], TEXT),
        ],
        Kind::Observation => of_observation(),
        Kind::Medication => vec![
            but(wanted("dosage", &["dosage", "dose text", "directions", "sig"], TEXT), &["unit"]),
            wanted("quantity", &["quantity"], WRITTEN),
            wanted("route", &["route"], TEXT),
            wanted("frequency", &["frequency"], TEXT),
            but(wanted("course", &["prescription type", "course", "kind"], TEXT), &["code"]),
            but(wanted("status", &["status"], CODES), &["date", "reason"]),
            but(wanted("started_at", &["start", "effective", "from"], TIMES), &["end"]),
            but(wanted("ended_at", &["stop", "cancel", "ended", "end", "to date", "until"], TIMES), &["start"]),
        ],
        Kind::Supply => vec![
            wanted("given_at", &["given", "issued", "effective", "administered"], TIMES),
            wanted("dosage", &["dosage", "dose text", "directions"], TEXT),
            wanted("quantity_amount", &["quantity"], NUMBER),
            wanted("quantity_unit", &["quantity unit"], TEXT),
        ],
        Kind::Allergy => {
            vec![wanted("reaction", &["reaction", "manifestation"], TEXT), wanted("severity", &["severity"], TEXT)]
        }
        Kind::Condition => vec![
            wanted("significance", &["significance"], TEXT),
            wanted("ended_at", &["ended", "resolved", "end"], TIMES),
            wanted("comment", &["comment", "note"], TEXT),
        ],
        Kind::Encounter => vec![
            but(wanted("class", &["class", "encounter type"], TEXT), &["reason"]),
            wanted("text", &["reason", "source term", "description"], TEXT),
            but(wanted("started_at", &["start", "admitted", "admission", "seen", "effective"], TIMES), &["precision"]),
            but(wanted("ended_at", &["ended", "discharge", "end"], TIMES), &["start"]),
        ],
        Kind::Referral => vec![
            wanted("urgency", &["urgency", "priority"], TEXT),
            wanted("service", &["service"], TEXT),
            wanted("reason", &["reason"], TEXT),
            wanted("asked_at", &["received", "effective", "requested"], TIMES),
            wanted("ended_at", &["ended", "closed"], TIMES),
        ],
        _ => vec![wanted("comment", &["comment", "note"], TEXT)],
    }
}

fn of_observation() -> Vec<Wanted> {
    vec![
        but(wanted("status", &["status", "state"], CODES), &["date", "time"]),
        but(
            wanted("authorised_at", &["authorised", "authorized", "verified", "validated", "reported"], TIMES),
            &["user"],
        ),
        but(wanted("range_low", &["range minimum", "range low", "normal low", "low"], WRITTEN), &["critical"]),
        but(wanted("range_high", &["range maximum", "range high", "normal high", "high"], WRITTEN), &["critical"]),
        but(wanted("flag", &["abnormal", "normalcy"], TEXT), &["high", "low"]),
        wanted("specimen", &["accession", "specimen"], TEXT),
        wanted("comment", &["comment", "associated text", "note", "remark"], TEXT),
    ]
}

/// The parts of a result's value.
pub fn of_value() -> Vec<Wanted> {
    let not = &[
        "unit",
        "range",
        "operator",
        "comparator",
        "normal",
        "critical",
        "low",
        "high",
        "code",
        "status",
        "id",
        "type",
    ];
    vec![
        but(wanted("number", &["numeric value", "numeric", "value", "reading", "result nbr", "result"], NUMBER), not),
        but(
            wanted("text", &["text value", "value text", "result text", "value", "reading", "result"], &[Family::Text]),
            not,
        ),
        but(wanted("unit", &["numeric unit", "unit", "uom"], TEXT), &["range"]),
        but(wanted("comparator", &["comparator", "operator"], TEXT), &["name"]),
    ]
}

/// The codes of a thing, each with the system that its name says.
pub fn of_code() -> Vec<(&'static str, Wanted)> {
    vec![
        ("read-v2", but(wanted("code", &["read term id", "readv2", "read code", "read v2"], TEXT), &["date"])),
        ("snomed", but(wanted("code", &["snomed concept", "snomed", "concept id"], WRITTEN), &["description"])),
        ("loinc", wanted("code", &["loinc"], TEXT)),
        ("dmd", wanted("code", &["dmd", "dm d"], WRITTEN)),
        (
            "local",
            but(
                wanted(
                    "code",
                    &["test code", "local code", "substance code", "drug code", "code id", "event cd", "code"],
                    WRITTEN,
                ),
                &["snomed", "read", "loinc", "dmd", "post", "parent", "national", "category", "department", "status"],
            ),
        ),
    ]
}

/// The words of a coded thing.
pub fn of_words() -> Wanted {
    but(
        wanted(
            "text",
            &["term", "display", "drug name", "substance text", "test name", "description", "label", "name"],
            TEXT,
        ),
        &["id", "user", "category", "organisation", "source"],
    )
}

/// A row that is gone, and what says so: a column and the value that it then has.
pub fn void(table: &Described, kind: Kind) -> Option<(&DescribedColumn, &'static str)> {
    let flags = &[Family::Bool, Family::Number];
    if let Some(column) = best(&table.columns, &["is deleted", "deleted", "voided", "void", "removed", "gone"], flags) {
        return Some((column, if column.family == Family::Bool { "true" } else { "1" }));
    }
    // A medicine that is not active is over, and not gone.
    if kind == Kind::Medication {
        return None;
    }
    let column = best(&table.columns, &["active ind", "is active", "active"], flags)?;
    Some((column, if column.family == Family::Bool { "false" } else { "0" }))
}

pub fn confidential(table: &Described) -> Vec<&DescribedColumn> {
    let says = |column: &&DescribedColumn| has_any(&column.name, &["confidential", "sensitive", "restricted"]);
    table.columns.iter().filter(|column| column.family == Family::Bool).filter(says).collect()
}
