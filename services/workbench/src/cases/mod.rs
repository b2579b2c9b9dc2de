//! Cases of a mapping: rows in, events and quarantine out, as text that people read and compare.
//!
//! # Why
//! Beside `emis.toml` lies the folder `emis.test`. Its `source.toml` names the keys of the tables and holds rows that every
//! case begins with; every other file is a case: transactions, each with what has to come of it. A case goes through the
//! fold that runs in production, and everything that comes has to be expected: what a case does not name is a difference.

mod differ;
mod read;
mod run;
mod told;
mod update;

#[cfg(test)]
mod tests;

pub use differ::{Difference, differences};
pub use told::{Entry, text};
pub use update::updated;

use change::Cell;
use mapping::{Mapping, Mistake, Mistakes};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The file of a folder of cases that is no case.
pub const SOURCE: &str = "source.toml";
/// More cases of one mapping are not read.
pub const CASES_MAX: usize = 1_000;
/// More changes than these in one file are no case that somebody reads.
pub const CHANGES_MAX: usize = 10_000;
/// A larger file is not read.
pub const FILE_BYTES_MAX: u64 = 1_048_576;

/// What every case of a mapping begins with.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub name: String,
    /// The source's own ODS code.
    pub organisation: String,
    /// By table: the columns of its primary key.
    pub keys: BTreeMap<String, Vec<String>>,
    pub changes: Vec<Written>,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub file: PathBuf,
    /// What it shows, in words.
    pub about: String,
    pub transactions: Vec<Transaction>,
    text: String,
}

#[derive(Clone, Debug)]
pub struct Transaction {
    pub line: usize,
    /// Its rows are read by their tables' first snapshot, and not seen as they change.
    pub snapshot: bool,
    pub changes: Vec<Written>,
    pub expected: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// A change as a case writes it. A column that is not written is NULL.
#[derive(Clone, Debug)]
pub struct Written {
    pub op: Op,
    pub table: String,
    pub row: Vec<(String, Cell)>,
}

/// What a case came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub file: PathBuf,
    pub about: String,
    /// By transaction.
    pub got: Vec<Vec<Entry>>,
    /// With the place of the transaction, from 1, and its line.
    pub differences: Vec<(usize, usize, Difference)>,
}

/// `mappings/emis.toml` → `mappings/emis.test`.
pub fn folder(mapping: &Path) -> PathBuf {
    mapping.with_extension("test")
}

/// A mapping's cases, read and run.
pub struct Bench {
    pub mapping: Arc<Mapping>,
    pub source: Source,
    pub cases: Vec<Case>,
}

impl Bench {
    /// Reads the mapping and all its cases: every mistake of every file at once.
    pub fn load(file: &Path) -> Result<Self, Mistakes> {
        let mapping = Arc::new(mapping::load(file)?);
        let folder = folder(file);
        let mut mistakes = Vec::new();
        let mut texts = Vec::new();
        for path in files(&folder)? {
            match read_file(&path) {
                Ok(text) => texts.push((path, text)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let is_source = |(path, _): &(PathBuf, String)| path.file_name().is_some_and(|name| name == SOURCE);
        let place = texts.iter().position(is_source);
        let source = match place.map(|place| texts.remove(place)) {
            Some((path, text)) => read::source(&mapping, &path, &text),
            None => Err(Mistakes(vec![mistake(&folder.join(SOURCE), "is missing: it names the keys of the tables")])),
        };
        let source = source.unwrap_or_else(|Mistakes(of_source)| {
            mistakes.extend(of_source);
            Source::default()
        });
        let mut cases = Vec::new();
        for (path, text) in texts {
            match read::case(&mapping, &source, path, text) {
                Ok(case) => cases.push(case),
                Err(Mistakes(of_case)) => mistakes.extend(of_case),
            }
        }
        if mistakes.is_empty() { Ok(Self { mapping, source, cases }) } else { Err(Mistakes(mistakes)) }
    }

    pub fn run(&self) -> Vec<Outcome> {
        let outcome = |case: &Case| {
            let got = run::run(&self.mapping, &self.source, case);
            let each = case.transactions.iter().zip(&got).zip(1..);
            let differences = each.flat_map(|((transaction, got), place)| {
                let found = differences(&transaction.expected, got).into_iter();
                found.map(move |difference| (place, transaction.line, difference))
            });
            let differences = differences.collect();
            Outcome { file: case.file.clone(), about: case.about.clone(), got, differences }
        };
        self.cases.iter().map(outcome).collect()
    }

    /// The mapping's records of which no case expects an event.
    pub fn without_case(&self) -> Vec<&str> {
        let told: Vec<&Entry> =
            self.cases.iter().flat_map(|case| &case.transactions).flat_map(|it| &it.expected).collect();
        let names = self.mapping.records.iter().map(|record| record.name.as_str());
        names.filter(|name| !told.iter().any(|entry| entry.record() == Some(name))).collect()
    }
}

/// The files of a folder of cases, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Mistakes> {
    let all = std::fs::read_dir(folder).map_err(|error| {
        let what = format!("cannot be read ({}): a mapping's cases lie in this folder", error.kind());
        Mistakes(vec![mistake(folder, &what)])
    })?;
    let paths = all.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    paths.sort();
    if paths.len() > CASES_MAX {
        return Err(Mistakes(vec![mistake(folder, &format!("more than {CASES_MAX} cases"))]));
    }
    Ok(paths)
}

fn read_file(path: &Path) -> Result<String, Mistake> {
    let failed = |error: std::io::Error| mistake(path, &format!("cannot be read: {}", error.kind()));
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(mistake(path, &format!("has more than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn mistake(path: &Path, what: &str) -> Mistake {
    Mistake { file: path.display().to_string(), line: 0, key: "file".into(), what: what.to_owned() }
}
