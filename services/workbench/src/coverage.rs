//! What a mapping leaves out of a database: tables, columns, and codes, units and statuses that it does not understand, the
//! most frequent first.

use crate::{cases::Entry, sample::Sample};
use change::described::Described;
use fold::{Fold, Output};
use mapping::Mapping;
use std::{collections::BTreeMap, sync::Arc};

/// A value of fewer rows is counted and not shown: it may be one patient's.
pub const ROWS_MIN: usize = 5;

/// A table or a column that the mapping does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// `schema.table`, or `schema.table.column`.
    pub name: String,
    /// As the planner estimates: rows of the table, or those in which the column says something.
    pub rows: Option<u64>,
    pub is_table: bool,
}

/// The most frequent first.
pub fn unread(mapping: &Mapping, database: &[Described]) -> Vec<Unread> {
    let mut all = Vec::new();
    for table in database.iter().filter(|table| table.is_table) {
        let Some(place) = mapping.table(&table.table) else {
            all.push(Unread { name: table.table.to_string(), rows: table.rows, is_table: true });
            continue;
        };
        let read = &mapping.tables[place].columns;
        for column in table.columns.iter().filter(|column| !read.iter().any(|name| **name == *column.name)) {
            let nulls = column.seen.as_ref().map(|seen| seen.nulls);
            let rows = table.rows.zip(nulls).map(|(rows, nulls)| filled(rows, nulls));
            all.push(Unread { name: format!("{}.{}", table.table, column.name), rows, is_table: false });
        }
    }
    all.sort_by(|a, b| (b.is_table, b.rows, &a.name).cmp(&(a.is_table, a.rows, &b.name)));
    all
}

/// Estimates are rough: a thousandth will do.
fn filled(rows: u64, nulls: f64) -> u64 {
    let thousandths: u64 = format!("{:.0}", (1.0 - nulls.clamp(0.0, 1.0)) * 1_000.0).parse().unwrap_or(1_000);
    rows.saturating_mul(thousandths) / 1_000
}

/// What rows of one record came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    pub record: String,
    /// Rows of its table that were looked at.
    pub rows: usize,
    pub events: usize,
    /// What is not understood, with how many events or items it is of.
    pub gaps: BTreeMap<Gap, usize>,
}

/// The kind of gap, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    pub kind: &'static str,
    pub about: String,
}

pub fn covered(mapping: &Arc<Mapping>, record: usize, sample: &Sample<'_>) -> Covered {
    let name = mapping.records[record].name.clone();
    let mut fold = Fold::new(mapping.clone(), &mapping.system, "");
    let mut covered = Covered { record: name.clone(), rows: sample.own(), ..Covered::default() };
    let prefix = format!("{}:{name}/", mapping.system);
    for output in fold.step(&sample.entries()) {
        match &output {
            Output::Event(_) => {
                let entry = Entry::of(&output);
                if entry.record() == Some(&name) {
                    covered.events += 1;
                    gaps(&entry).into_iter().for_each(|gap| *covered.gaps.entry(gap).or_default() += 1);
                }
            }
            Output::Quarantined(item) if item.item.as_deref().is_some_and(|it| it.starts_with(&prefix)) => {
                let gap = Gap { kind: "quarantine", about: format!("{}: {}", item.reason, item.detail) };
                *covered.gaps.entry(gap).or_default() += 1;
            }
            Output::Quarantined(_) => {}
        }
    }
    covered
}

fn gaps(entry: &Entry) -> Vec<Gap> {
    let said = |name: &str| {
        let value = entry.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())?;
        // Texts without their quotation marks.
        Some(serde_json::from_str::<String>(&value).unwrap_or(value))
    };
    let mut gaps = Vec::new();
    let code = [said("code.original_code"), said("code.text")]
        .into_iter()
        .flatten()
        .filter(|it| !it.is_empty())
        .collect::<Vec<_>>();
    let named = if code.is_empty() { "no code and no words".to_owned() } else { code.join(" ") };
    let coded = said("code.snomed").is_some() || said("code.loinc").is_some();
    let has_code = entry.fields.iter().any(|(name, _)| name.starts_with("code."));
    let dmd = entry.fields.iter().any(|(name, value)| name.starts_with("code.codings") && value.contains("dmd.nhs.uk"));
    if has_code && !coded && !dmd {
        gaps.push(Gap { kind: "code", about: named.clone() });
    }
    let unit = said("value.unit").unwrap_or_else(|| "none".into());
    match said("unchecked").as_deref() {
        Some("unknown unit" | "no unit") => {
            gaps.push(Gap { kind: "unit", about: format!("{unit} of {}", said("analyte").unwrap_or(named)) });
        }
        Some("unknown code" | "not watched") | None => {}
        Some(other) => {
            gaps.push(Gap { kind: "value", about: format!("{other}: {}", said("analyte").unwrap_or(named)) })
        }
    }
    if said("status").as_deref() == Some("unknown") {
        let text = said("status_text").or_else(|| said("status_reason")).unwrap_or_else(|| "none".into());
        gaps.push(Gap { kind: "status", about: text });
    }
    gaps
}

impl Covered {
    /// The most frequent first, and how many more there are of fewer than [`ROWS_MIN`] rows. `rare`: those too.
    pub fn shown(&self, rare: bool) -> (Vec<(&Gap, usize)>, usize) {
        let mut all: Vec<(&Gap, usize)> = self.gaps.iter().map(|(gap, count)| (gap, *count)).collect();
        all.sort_by(|(a, count), (b, other)| other.cmp(count).then(a.cmp(b)));
        let whole = all.len();
        // A quarantine's reason and column are nobody's.
        all.retain(|(gap, count)| rare || *count >= ROWS_MIN || gap.kind == "quarantine");
        let hidden = whole - all.len();
        (all, hidden)
    }
}
