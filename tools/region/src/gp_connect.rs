//! GP Connect structured records (FHIR STU3 bundles, as an EMIS system serves them) as rows of the GP schema.
//!
//! # Why
//! Real dirt is worth more than made-up dirt, so nothing is dropped in silence: each leaf of a resource that a row took
//! over is marked, and every other leaf is counted by its path in the report, without its value. Ids follow from the
//! records, and a row that is there already is left alone, so loading twice changes nothing.

mod clinical;
mod fhir;
mod medication;
mod people;

use crate::{RegionError, gp, row, row::Row};
use fhir::{Concept, Resource, key};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};
use tokio_postgres::Client;
use uuid::Uuid;

/// A bundle larger than this is not one patient's record.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Code ids made here lie far above EMIS's own.
const CODE_ID_BASE: i64 = 10_000_000_000;
const CODE_ID_SPAN: u64 = 1 << 44;

/// What was loaded and what could not be: counts, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    pub files: u64,
    pub patients: u64,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Rows that were not there yet, or were different.
    pub rows_changed: u64,
    /// Leaves that no column holds, by FHIR path.
    pub not_held: BTreeMap<String, u64>,
}

/// Loads every `*.json` of a directory, in order of name, one transaction per file.
pub async fn load(directory: &Path, client: &mut Client) -> Result<Report, RegionError> {
    let unreadable = |source| RegionError::Unreadable { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut report = Report::default();
    for path in paths {
        let text = read(&path)?;
        let bundle: Value = serde_json::from_str(&fhir::without_template(&text))
            .map_err(|_| RegionError::NotABundle { path: path.clone() })?;
        let Some(entries) = bundle.get("entry").and_then(Value::as_array) else {
            return Err(RegionError::NotABundle { path });
        };
        let rows = Bundle::new(entries).rows(&mut report);
        let tx = client.transaction().await?;
        for statement in &rows.statements {
            report.rows_changed += tx.execute(statement.as_str(), &[]).await?;
        }
        tx.commit().await?;
        for (table, count) in rows.counts {
            *report.rows.entry(table.replace('"', "")).or_default() += count;
        }
        report.files += 1;
    }
    Ok(report)
}

fn read(path: &Path) -> Result<String, RegionError> {
    let unreadable = |source| RegionError::Unreadable { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        return Err(RegionError::NotABundle { path: path.to_owned() });
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The rows of one bundle, as idempotent statements.
#[derive(Default)]
struct Rows {
    statements: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    codes: HashSet<i64>,
}

impl Rows {
    fn put<R: Row>(&mut self, row: &R) {
        self.statements.push(row::upsert(row));
        *self.counts.entry(R::TABLE).or_default() += 1;
    }

    /// The dictionary row of a concept, once. A code is told apart by all that it says, and by its category.
    fn code(&mut self, concept: &Concept, category: &str) -> Option<i64> {
        let term = concept.term.as_deref()?;
        let (read_term_id, readv2_code) = read_code(concept);
        let whole = format!("{category}|{term}|{read_term_id:?}|{:?}|{:?}", concept.snomed, concept.description);
        let code_id = code_id(&whole);
        if self.codes.insert(code_id) {
            self.put(&gp::ClinicalCode {
                code_id,
                term: Some(term.chars().take(255).collect()),
                read_term_id,
                readv2_code,
                snomed_concept_id: concept.snomed,
                snomed_description_id: concept.description,
                national_description: concept.snomed_term.clone(),
                code_category: Some(category.to_owned()),
                ..Default::default()
            });
        }
        Some(code_id)
    }
}

fn code_id(whole: &str) -> i64 {
    let hash = xxhash_rust::xxh3::xxh3_64(whole.as_bytes()) % CODE_ID_SPAN;
    CODE_ID_BASE + i64::try_from(hash).unwrap_or(0)
}

/// FHIR has Read codes with a two-digit term id (`G30..14`); EMIS writes a synonym as `G30..-14`.
fn read_code(concept: &Concept) -> (Option<String>, Option<String>) {
    let Some(read) = concept.read.as_deref() else {
        return (concept.emis.clone(), None);
    };
    match read.split_at_checked(5) {
        Some((code, "00" | "")) => (Some(code.to_owned()), Some(code.to_owned())),
        Some((code, synonym)) => (Some(format!("{code}-{}", synonym.trim_start_matches('0'))), Some(code.to_owned())),
        None => (Some(read.to_owned()), Some(format!("{read:.<5}"))),
    }
}

/// A bundle, with what its resources say about each other.
struct Bundle<'a> {
    resources: Vec<Resource<'a>>,
    by_id: HashMap<&'a str, usize>,
    /// Observation → the one it is a part of.
    parents: HashMap<Uuid, Uuid>,
    /// Anything → the problem it belongs to.
    problems: HashMap<Uuid, Uuid>,
    /// Anything → the consultation whose list has it.
    consultations: HashMap<Uuid, Uuid>,
    /// Problem header → the observation it is the other face of.
    actual: HashMap<&'a str, Uuid>,
    patient: Option<Uuid>,
    practice: Option<String>,
}

impl<'a> Bundle<'a> {
    fn new(entries: &'a [Value]) -> Self {
        let resources: Vec<_> = entries.iter().filter_map(|e| Resource::new(e.get("resource")?)).collect();
        let by_id = resources.iter().enumerate().map(|(index, r)| (r.id, index)).collect();
        let mut bundle = Self {
            resources,
            by_id,
            parents: HashMap::new(),
            problems: HashMap::new(),
            consultations: HashMap::new(),
            actual: HashMap::new(),
            patient: None,
            practice: None,
        };
        bundle.relate();
        bundle
    }

    fn get(&self, id: &str) -> Option<&Resource<'a>> {
        self.by_id.get(id).map(|index| &self.resources[*index])
    }

    fn relate(&mut self) {
        for resource in &self.resources {
            match resource.kind {
                "Patient" => {
                    self.patient = Some(key(resource.id));
                    let practice = resource.reference("/managingOrganization").and_then(|(_, id)| self.get(id));
                    self.practice = practice.and_then(people::ods_code);
                }
                "Condition" => {
                    let actual = resource.extension("", "ActualProblem-1");
                    let observation = actual.and_then(|p| resource.referred(&format!("{p}/valueReference")));
                    let observation = observation.unwrap_or_else(|| key(resource.id));
                    self.actual.insert(resource.id, observation);
                    let content = resource.extensions("", "RelatedClinicalContent-1");
                    let references = content.into_iter().map(|p| format!("{p}/valueReference"));
                    self.problems.extend(members(resource, references).map(|member| (member, observation)));
                }
                "List" => {
                    if let Some(consultation) = resource.referred("/encounter") {
                        let references = (0..resource.len("/entry")).map(|i| format!("/entry/{i}/item"));
                        self.consultations.extend(members(resource, references).map(|member| (member, consultation)));
                    }
                }
                "QuestionnaireResponse" => {
                    if let Some(header) = resource.referred("/parent/0") {
                        let items = (0..resource.len("/item")).map(|i| format!("/item/{i}/answer"));
                        let answers = items.flat_map(|item| {
                            (0..resource.len(&item)).map(move |i| format!("{item}/{i}/valueReference"))
                        });
                        self.parents.extend(members(resource, answers).map(|member| (member, header)));
                    }
                }
                _ => {}
            }
        }
    }

    fn rows(&self, report: &mut Report) -> Rows {
        let mut rows = Rows::default();
        let mut observed = HashSet::new();
        for resource in &self.resources {
            if let Some(id) = self.row(resource, &mut rows) {
                observed.insert(id);
            }
        }
        // Last: a problem brings an observation along only where no resource was that observation.
        for resource in self.resources.iter().filter(|r| r.kind == "Condition") {
            self.problem(resource, &observed, &mut rows);
        }
        for resource in &self.resources {
            report.patients += u64::from(resource.kind == "Patient");
            for path in resource.unread() {
                *report.not_held.entry(path).or_default() += 1;
            }
        }
        rows
    }

    /// Writes what a resource says; the id, if that made an observation.
    fn row(&self, resource: &Resource<'a>, rows: &mut Rows) -> Option<Uuid> {
        match resource.kind {
            // Nothing can be named that has no id.
            _ if resource.id.is_empty() => {}
            "Organization" => rows.put(&people::organisation(resource)),
            "PractitionerRole" => rows.put(&people::user(self, resource)),
            "Patient" => rows.put(&people::patient(self, resource)),
            "Encounter" => rows.put(&self.consultation(resource)),
            "Observation" => return Some(self.observation(resource, rows)),
            "AllergyIntolerance" => return Some(self.allergy(resource, rows)),
            "Immunization" => return Some(self.immunisation(resource, rows)),
            "ReferralRequest" => return Some(self.referral(resource, rows)),
            "DocumentReference" => return Some(self.document(resource, rows)),
            "MedicationRequest" => self.medication_request(resource, rows),
            "MedicationStatement" => self.medication_statement(resource),
            _ => {}
        }
        None
    }
}

/// What these references name, where that has a column for the relation. Others stay unread.
fn members(resource: &Resource<'_>, references: impl Iterator<Item = String>) -> impl Iterator<Item = Uuid> {
    let held = |kind: &str| !matches!(kind, "Encounter" | "List" | "ProcedureRequest");
    references.filter_map(move |pointer| resource.reference_to(&pointer, held).map(|(_, id)| key(id)))
}
