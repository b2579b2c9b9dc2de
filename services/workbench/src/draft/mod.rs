//! A first draft of a mapping, from what a database's catalogue tells.
//!
//! # Why
//! Nobody knows a strange system on the first day, and most of a mapping is routine: which table is the patients', how the
//! others hang from it, which column is a time, a unit, a status. The draft proposes, each line with its evidence, and what
//! it is not sure of is a comment: a status is understood only where its word is the very one that we have, an NHS number is
//! verified only once somebody says how. It parses as it is. What of it may be a patient's is decided in [`values`].

mod kinds;
mod paths;
mod record;
mod render;
mod values;
mod words;

#[cfg(test)]
mod tests;

pub use paths::HOPS_MAX;

use change::described::Described;
use event::Kind;
use paths::Edge;
use render::Out;
use std::collections::{BTreeMap, BTreeSet};

/// More records are not drafted: nobody reads them.
pub const RECORDS_MAX: usize = 100;
/// Columns that are named as not used, of one table.
const UNUSED_MAX: usize = 60;

#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    pub system: &'a str,
    pub zone: &'a str,
    /// Show values also of columns whose names do not say that they hold codes.
    pub samples: bool,
    /// The patients' table, `schema.table`, if it is known.
    pub patients: Option<&'a str>,
}

#[derive(Clone, Debug)]
pub struct Draft {
    pub text: String,
    pub patients: String,
    /// By name, each with its table.
    pub records: Vec<(String, String)>,
    /// Tables of which no record is drafted and that no join reads, each with why.
    pub left: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDraft {
    #[error("no table looks like that of the patients: name it with --patients schema.table. Looked at: {0}")]
    NoPatients(String),
    #[error("the database has no table `{0}` with a primary key of one column")]
    NotPatients(String),
}

/// What the draft of one database goes by.
struct Plan<'a> {
    tables: &'a [Described],
    edges: Vec<Edge>,
    chains: BTreeMap<usize, Vec<Edge>>,
    patients: usize,
    samples: bool,
}

pub fn draft(tables: &[Described], options: &Options<'_>) -> Result<Draft, NoDraft> {
    let patients = patients(tables, options)?;
    let edges = paths::edges(tables);
    let chains = paths::chains(tables, &edges, patients);
    let plan = Plan { tables, edges, chains, patients, samples: options.samples };
    let mut records = Vec::new();
    let mut used: BTreeSet<usize> = BTreeSet::new();
    let mut dictionaries: BTreeSet<usize> = BTreeSet::new();
    let mut bodies = Vec::new();
    for (table, kind, why) in plan.record_tables() {
        let name = unique(&tables[table].table.name, &records);
        let written = record::write(&plan, table, kind, &name, &why);
        used.extend(written.tables);
        dictionaries.extend(written.dictionaries);
        records.push((name, tables[table].table.to_string()));
        bodies.push(written.text);
    }
    let left = plan.left(&used);
    let mut out = Out::default();
    head(&mut out, &plan, options);
    for table in dictionaries {
        let id = tables[table].table.to_string();
        out.line("");
        out.line("# A dictionary forgets nothing: rows that use an entry outlive it.");
        out.line("[[dictionary]]");
        out.line(&format!("table = {}", render::text(&id)));
        if let Some((column, value)) = kinds::void(&tables[table], Kind::Observation) {
            out.line(&format!("deleted_when = [{{ column = {}, is = {value} }}]", render::text(&column.name)));
        }
    }
    bodies.iter().for_each(|body| out.line(&format!("\n{}", body.trim_end())));
    out.line("\n# Of these tables no record is drafted:");
    left.iter().for_each(|(table, why)| out.comment(&format!("{table}: {why}")));
    let patients = tables[patients].table.to_string();
    Ok(Draft { text: out.text(), patients, records, left })
}

fn head(out: &mut Out, plan: &Plan<'_>, options: &Options<'_>) {
    let Plan { tables, patients, .. } = plan;
    let (patients, table) = (&tables[*patients].table, &tables[*patients]);
    out.comment(&format!(
        "A draft of {} tables. Every line is a proposal; behind it stands what speaks for it.",
        tables.len()
    ));
    out.comment("Then: causeway mapping check --database, mapping test, mapping coverage; docs/mapping-guide.md.");
    let (_, signs) = kinds::patient_likeness(table);
    out.comment(&format!("Patients: {patients}, by its name and its columns {}.", signs.join(", ")));
    out.line(&format!("system = {}", render::text(options.system)));
    out.line("revision = 1");
    out.line(&format!("zone = {} # of times that tell none: is it the source's?", render::text(options.zone)));
}

/// The table that was named, or that looks most like it.
fn patients(tables: &[Described], options: &Options<'_>) -> Result<usize, NoDraft> {
    if let Some(named) = options.patients {
        let found = tables.iter().position(|it| it.table.to_string() == named && it.is_table && it.key.len() == 1);
        return found.ok_or_else(|| NoDraft::NotPatients(named.to_owned()));
    }
    let likeness = |place: &usize| kinds::patient_likeness(&tables[*place]).0;
    let likely =
        (0..tables.len()).filter(|place| tables[*place].is_table && likeness(place) > 0 && speakable(&tables[*place]));
    // Of two that look the same, the first.
    likely.rev().max_by_key(likeness).ok_or_else(|| {
        let names: Vec<String> = tables.iter().take(20).map(|table| table.table.to_string()).collect();
        NoDraft::NoPatients(names.join(", "))
    })
}

/// Can a mapping name the table and its key?
fn speakable(table: &Described) -> bool {
    let plain = |name: &str| !name.is_empty() && !name.contains(['.', '/']);
    plain(&table.table.schema) && plain(&table.table.name) && table.key.iter().all(|column| plain(column))
}

fn unique(name: &str, records: &[(String, String)]) -> String {
    let taken = |name: &str| records.iter().any(|(known, _)| known == name);
    let mut numbered = (2..).map(|number| format!("{name}{number}"));
    if taken(name) { numbered.find(|name| !taken(name)).unwrap_or_default() } else { name.to_owned() }
}

impl Plan<'_> {
    /// Tables that make records, with their kind and what says so: the patients' first.
    fn record_tables(&self) -> Vec<(usize, Kind, String)> {
        let mut all = vec![(self.patients, Kind::Demographics, "the patients' table".to_owned())];
        for table in 0..self.tables.len() {
            let known = &self.tables[table];
            let makes = table != self.patients && self.chains.contains_key(&table) && !known.key.is_empty();
            if let Some((kind, why)) = kinds::of_table(known).filter(|_| makes && speakable(known)) {
                let rows = known.rows.map_or_else(String::new, |rows| format!("; about {rows} rows"));
                all.push((table, kind, format!("{why}{rows}")));
            }
        }
        all.truncate(RECORDS_MAX);
        all
    }

    fn left(&self, used: &BTreeSet<usize>) -> Vec<(String, String)> {
        let why = |(place, table): (usize, &Described)| {
            let reached = self.chains.contains_key(&place);
            let why = if !table.is_table {
                "is a view, and only tables can be captured"
            } else if table.key.is_empty() && reached {
                "has no primary key: say what identifies a row, and add the record"
            } else if !reached {
                "no way from it to the patients was found"
            } else {
                "neither its name nor its columns say what kind of record it makes"
            };
            let rows = table.rows.map_or_else(String::new, |rows| format!(" (about {rows} rows)"));
            (table.table.to_string(), format!("{why}{rows}"))
        };
        self.tables.iter().enumerate().filter(|(place, _)| !used.contains(place)).map(why).collect()
    }

    /// Tables of codes that a table's rows name, directly or through another face of the same record.
    fn dictionaries(&self, table: usize) -> Vec<Vec<Edge>> {
        let leads_to_codes = |edge: &&Edge| {
            let to = &self.tables[edge.to];
            edge.to != self.patients && !self.chains.contains_key(&edge.to) && edge.from != edge.to && is_dictionary(to)
        };
        let from = |table: usize| self.edges.iter().filter(move |edge| edge.from == table);
        let mut all: Vec<Vec<Edge>> = from(table).filter(leads_to_codes).map(|edge| vec![edge.clone()]).collect();
        let key = &self.tables[table].key;
        let face = |edge: &&Edge| edge.to != table && edge.pairs.iter().map(|(ours, _)| ours).eq(key);
        for first in from(table).filter(face) {
            let further = from(first.to).filter(leads_to_codes);
            all.extend(further.map(|second| vec![first.clone(), second.clone()]));
        }
        all
    }
}

/// Words for codes: not people, and not places.
fn is_dictionary(table: &Described) -> bool {
    let people = words::best(&table.columns, &["surname", "forename", "postcode"], &[change::described::Family::Text]);
    let coded = words::has_any(&table.table.name, &["code", "dictionary", "lookup", "test", "term", "catalogue"])
        || table.key.iter().any(|column| words::has_any(column, &["code", "cd"]));
    people.is_none() && coded && table.is_table && kinds::of_words().column(table).is_some()
}
