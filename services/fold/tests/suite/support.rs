//! Rows, transactions and outputs as short text.

use change::{Cell, Change, Column, ColumnType, Entry, Lsn, Position, Row, TableId, TableSchema, Value};
use event::{Action, Body, Measurement, PatientEvent};
use fold::{Fold, Output};
use mapping::Mapping;
use std::{path::Path, sync::Arc};

const KEYS: [(&str, &str); 36] = [
    // A table without a key.
    ("s.heap", ""),
    ("emis.sensitive_code", "code_id"),
    ("s.root", "id"),
    ("s.joined", "key"),
    ("s.third", "key"),
    ("s.note", "key"),
    ("tpp.SRCode", "RowIdentifier"),
    ("tpp.CodedEvent", ""),
    ("barts.CLEVE", "EVENT_ID"),
    ("barts.CVREF", "CODE_VALUE_CD"),
    ("barts.ENCNT", "ENCNTR_ID"),
    ("barts.ORDER", "ORDER_ID"),
    ("barts.PPATI", "PERSON_ID"),
    ("barts.PPALI", ""),
    ("emis.user", "user_in_role_id"),
    ("emis.patient", "patient_id"),
    ("emis.organisation", "organisation_id"),
    ("emis.clinical_code", "code_id"),
    ("emis.drug_code", "code_id"),
    ("emis.observation", "observation_id"),
    ("emis.problem", "observation_id"),
    ("emis.referral", "observation_id"),
    ("emis.consultation", "consultation_id"),
    ("emis.medication_drug_record", "drug_record_id"),
    ("emis.medication_issue_record", "issue_record_id"),
    ("pas.patient", "person_id"),
    ("pas.department", "department_code"),
    ("pas.encounter", "encntr_id"),
    ("pas.referral", "referral_id"),
    ("lims.local_test", "test_code"),
    ("lims.order", "order_id"),
    ("lims.specimen", "specimen_id"),
    ("lims.sample", "sample_id"),
    ("lims.analysis", "analysis_id"),
    ("lims.result", "result_id"),
    ("epma.prescription", "prescription_id"),
];

pub fn mapping_of(name: &str) -> Arc<Mapping> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings").join(name);
    Arc::new(mapping::load(&path).unwrap_or_else(|mistakes| panic!("{mistakes}")))
}

pub fn i(number: i64) -> Cell {
    Cell::Value(Value::Int(number))
}
pub fn t(text: &str) -> Cell {
    Cell::Value(Value::Text(text.into()))
}
pub fn b(yes: bool) -> Cell {
    Cell::Value(Value::Bool(yes))
}
pub fn n(digits: &str) -> Cell {
    Cell::Value(Value::Numeric(digits.into()))
}
pub fn at(text: &str) -> Cell {
    let micros = text.parse::<jiff::Timestamp>().expect("a time").as_microsecond();
    Cell::Value(Value::TimestampTz(micros))
}
pub fn local(text: &str) -> Cell {
    let at = text.parse::<jiff::civil::DateTime>().expect("a time");
    let zoned = at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time");
    Cell::Value(Value::Timestamp(zoned.timestamp().as_microsecond()))
}

/// A source with its log so far.
pub struct World {
    pub mapping: Arc<Mapping>,
    pub source: &'static str,
    commit: u64,
    offset: i64,
}

/// One change: its table, and what happened.
pub type Step = (&'static str, Change);

impl World {
    pub fn new(mapping: &str, source: &'static str) -> Self {
        Self::of(mapping_of(mapping), source)
    }

    pub const fn of(mapping: Arc<Mapping>, source: &'static str) -> Self {
        Self { mapping, source, commit: 0x100, offset: 0 }
    }

    pub fn fold(&self) -> Fold {
        Fold::new(self.mapping.clone(), self.source, "ORG01")
    }

    pub fn fold_with<S: fold::store::Store>(&self, store: S) -> Fold<S> {
        Fold::with_store(self.mapping.clone(), self.source, "ORG01", store)
    }

    /// The columns that the mapping uses, and the key.
    pub fn schema(&self, table: &str) -> Arc<TableSchema> {
        let (schema, name) = table.split_once('.').expect("schema.table");
        let id = TableId { schema: schema.into(), name: name.into() };
        let (_, key) = KEYS.iter().find(|(known, _)| *known == table).expect("a known table");
        let used = &self.mapping.tables[self.mapping.table(&id).expect("a mapped table")].columns;
        let mut columns: Vec<Column> = used
            .iter()
            .map(|name| Column { name: name.clone(), kind: ColumnType::Text, key: **name == **key })
            .collect();
        if columns.iter().all(|column| !column.key) && !key.is_empty() {
            columns.push(Column { name: (*key).into(), kind: ColumnType::Text, key: true });
        }
        Arc::new(TableSchema { table: id, columns })
    }

    pub fn row(&self, table: &str, cells: &[(&str, Cell)]) -> Row {
        let schema = self.schema(table);
        for (name, _) in cells {
            assert!(schema.index_of(name).is_some(), "{table} has no column {name} that is mapped");
        }
        let cell = |column: &Column| {
            cells.iter().find(|(name, _)| *name == &*column.name).map_or(Cell::Null, |(_, cell)| cell.clone())
        };
        let row = schema.columns.iter().map(cell).collect();
        Row::new(schema, row).expect("as many cells as columns")
    }

    pub fn insert(&self, table: &'static str, cells: &[(&str, Cell)]) -> Step {
        (table, Change::Insert { new: self.row(table, cells) })
    }

    pub fn update(&self, table: &'static str, cells: &[(&str, Cell)]) -> Step {
        (table, Change::Update { old: None, new: self.row(table, cells) })
    }

    pub fn delete(&self, table: &'static str, key: Cell) -> Step {
        let (_, name) = KEYS.iter().find(|(known, _)| *known == table).expect("a known table");
        (table, Change::Delete { old: Some(self.row(table, &[(name, key)])) })
    }

    /// Between the last transaction and the next.
    pub const fn between(&self) -> (Position, i64) {
        (Position::new(1, Lsn(self.commit + 9), 1), self.offset)
    }

    /// Rows that a snapshot reads at this time.
    pub fn chunk(&mut self, steps: Vec<Step>, at: i64) -> Vec<Entry> {
        let snapshot = |(table, change): Step| match change {
            Change::Insert { new } => (table, Change::Snapshot { new }),
            other => (table, other),
        };
        let mut entries = self.transaction(steps.into_iter().map(snapshot).collect());
        for entry in &mut entries {
            (entry.commit_end, entry.committed_at) = (None, at);
        }
        entries
    }

    pub fn transaction(&mut self, steps: Vec<Step>) -> Vec<Entry> {
        self.commit += 0x10;
        let last = steps.len();
        let mut entries = Vec::new();
        for ((table, change), ordinal) in steps.into_iter().zip(1_usize..) {
            self.offset += 1;
            entries.push(Entry {
                position: Position::new(1, Lsn(self.commit), ordinal as u64),
                offset: self.offset,
                table: Some(self.schema(table)),
                change,
                committed_at: 1_766_000_000_000_000,
                commit_end: (ordinal == last).then_some(Lsn(self.commit + 8)),
                traceparent: None,
                origin: None,
            });
        }
        entries
    }

    /// One transaction through the fold, its outputs as text.
    pub fn tell(&mut self, fold: &mut Fold, steps: Vec<Step>) -> Vec<String> {
        fold.step(&self.transaction(steps)).iter().map(shown).collect()
    }
}

pub fn shown(output: &Output) -> String {
    match output {
        Output::Event(event) => {
            let what = match event.action {
                Action::Retracted => String::new(),
                Action::Recorded | Action::Corrected => format!(": {}", body(event)),
            };
            let PatientEvent { patient, record, action, part, .. } = &**event;
            format!("{} {record} of {} {}/{}{what}", action.as_str(), patient.id, part.index, part.of)
        }
        Output::Quarantined(item) => {
            let what = if item.closed { "closed" } else { "quarantined" };
            format!("{what} {} {}", item.reason, item.detail)
        }
    }
}

pub fn body(event: &PatientEvent) -> String {
    let words = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    match &event.body {
        Body::Demographics(d) => {
            let number = d.nhs_number.as_ref().map_or_else(|| words(&d.nhs_number_text), |n| n.as_str().to_owned());
            format!(
                "{} {} {number} verified={} objection={}",
                words(&d.given),
                words(&d.family),
                d.nhs_number_verified,
                d.objection
            )
        }
        Body::Observation(o) => {
            let Measurement { comparator, number, unit, text, canonical } = &o.value;
            format!(
                "{} [{}] {}{} {} text={} canonical={} {:?} unchecked={}",
                o.code.text,
                words(&o.analyte),
                comparator.map_or("", event::Comparator::as_str),
                number.map_or("-".into(), |number| number.to_string()),
                words(unit),
                words(text),
                canonical.as_ref().map_or("-".into(), |c| format!("{} {}", c.number, c.unit)),
                o.status,
                words(&o.unchecked),
            )
        }
        Body::Medication(m) => {
            let issued = if m.last_issued_at.is_some() { " issued" } else { "" };
            format!("{} {} {} active={}{issued}", m.code.text, words(&m.dosage), words(&m.course), m.active)
        }
        Body::Allergy(a) => format!("{} none_known={}", a.code.text, a.none_known),
        Body::Condition(c) => format!("{} {} active={}", c.code.text, words(&c.code.snomed), c.active),
        Body::Encounter(e) => format!("{} {} referral={}", e.class, words(&e.team), e.referral),
        Body::Retracted(kind) => kind.to_string(),
        other => other.code().map_or_else(String::new, |code| code.text.clone()),
    }
}
