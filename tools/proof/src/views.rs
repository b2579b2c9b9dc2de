//! Whether the live record says what the sources hold now: every row of theirs that has a patient once, with equal
//! values, and nothing beside.
//!
//! # Why
//! The queries are written for this purpose and share nothing with the mappings. Rows whose patient is not known have no
//! place in the record; each of them must have been put into quarantine. Both sides are read one after the other, so
//! nothing may be changing meanwhile.

mod kinds;

use kinds::Kind;
use std::collections::BTreeMap;
use tokio_postgres::{Client, Row};

pub const GP: &str = "riverside";
pub const HOSPITAL: &str = "stmarys";
/// The column that the hostile region drops while it is read.
const DROPPABLE: &str = "o.ucum_code";
/// A fact that is not compared.
const NOT_TOLD: &str = "?";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewsComparison {
    pub compared: u64,
    /// In the source and not in the record.
    pub missing: u64,
    /// In the record and not (any more) in the source.
    pub extra: u64,
    pub different: u64,
    /// In the record more than once.
    pub doubled: u64,
    /// Rows of the sources that have no patient, and how many of them no quarantine accounts for.
    pub waiting: u64,
    pub unaccounted: u64,
    /// Entries of the quarantine.
    pub quarantined: u64,
    /// The first difference: record and fact, never a value.
    pub first: Option<String>,
}

impl ViewsComparison {
    pub const fn equal(&self) -> bool {
        self.missing + self.extra + self.different + self.doubled + self.unaccounted == 0
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        self.first.get_or_insert_with(text);
    }
}

pub async fn compare(gp: &Client, hospital: &Client, causeway: &Client) -> anyhow::Result<ViewsComparison> {
    let mut found = ViewsComparison::default();
    for (source, client, kinds) in [(GP, gp, &kinds::GP[..]), (HOSPITAL, hospital, &kinds::HOSPITAL[..])] {
        let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
        for kind in kinds {
            let held = client.query(&held(client, kind.held).await?, &[]).await?;
            let (told, without): (Vec<Row>, Vec<Row>) =
                held.into_iter().partition(|row| row.get::<_, Option<&str>>(1).is_some());
            *waiting.entry(kind.table).or_default() += without.len() as u64;
            // `like` would read an underscore as a pattern.
            let sql = format!(
                "select record, patient, {} from record.{} where source = $1 and not retracted and split_part(record, '/', 1) = $2",
                kind.facts, kind.record
            );
            let record = causeway.query(&sql, &[&source, &kind.name]).await?;
            compare_kind(source, kind, &told, &record, &mut found);
        }
        account(source, causeway, &waiting, &mut found).await?;
    }
    Ok(found)
}

/// The query, without a column that the source has dropped since: what it held is not told any more.
pub(crate) async fn held(client: &Client, sql: &str) -> anyhow::Result<String> {
    let there = "select from information_schema.columns where table_schema = 'emis' and table_name = 'observation' and column_name = 'ucum_code'";
    let dropped = sql.contains(DROPPABLE) && client.query_opt(there, &[]).await?.is_none();
    Ok(if dropped { sql.replace(DROPPABLE, "'?'") } else { sql.to_owned() })
}

/// One kind's rows, by record id.
fn compare_kind(source: &str, kind: &Kind, held: &[Row], record: &[Row], found: &mut ViewsComparison) {
    let names: Vec<String> = record
        .first()
        .map(|row| row.columns().iter().map(|column| column.name().to_owned()).collect())
        .unwrap_or_default();
    let facts = |row: &Row| (1..row.len()).map(|at| row.get(at)).collect::<Vec<Option<String>>>();
    let mut shown: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for row in record {
        if shown.insert(row.get(0), facts(row)).is_some() {
            found.doubled += 1;
            found.tell(|| format!("{source}: {} is in the record twice", named(kind, row.get(0))));
        }
    }
    for row in held {
        found.compared += 1;
        let id: String = row.get(0);
        let Some(shown) = shown.remove(&id) else {
            found.missing += 1;
            found.tell(|| format!("{source}: {} is not in the record", named(kind, &id)));
            continue;
        };
        if let Some(at) = difference(&facts(row), &shown) {
            found.different += 1;
            let name = names.get(at + 1).map_or("a fact", String::as_str);
            found.tell(|| format!("{source}: {} differs in {name}", named(kind, &id)));
        }
    }
    found.extra += shown.len() as u64;
    if let Some(id) = shown.keys().next() {
        found.tell(|| format!("{source}: {} is in the record, not in the source", named(kind, id)));
    }
}

/// Names the row, and nobody.
fn named(kind: &Kind, id: &str) -> String {
    if kind.record == "patient" { format!("a {}", kind.name) } else { id.to_owned() }
}

/// The first fact that differs.
fn difference(held: &[Option<String>], shown: &[Option<String>]) -> Option<usize> {
    let same = |(held, shown): (&Option<String>, &Option<String>)| {
        held.as_deref() == Some(NOT_TOLD) || plain(held.as_deref()) == plain(shown.as_deref())
    };
    if held.len() != shown.len() {
        return Some(held.len().min(shown.len()));
    }
    held.iter().zip(shown).position(|pair| !same(pair))
}

/// Numbers by their worth, words without the spaces around them, nothing for empty words.
fn plain(fact: Option<&str>) -> Option<String> {
    let fact = fact?.trim();
    let number = fact.parse::<rust_decimal::Decimal>().ok();
    (!fact.is_empty()).then(|| number.map_or_else(|| fact.to_owned(), |number| number.normalize().to_string()))
}

/// Each row that waits for its patient must be in quarantine, and not closed.
async fn account(
    source: &str,
    causeway: &Client,
    waiting: &BTreeMap<&str, u64>,
    found: &mut ViewsComparison,
) -> anyhow::Result<()> {
    let sql = "select coalesce(source_table, ''), count(*) from record.quarantine where source = $1 and not closed group by 1";
    let rows = causeway.query(sql, &[&source]).await?;
    let quarantined: BTreeMap<String, u64> =
        rows.iter().map(|row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0))).collect();
    found.quarantined += quarantined.values().sum::<u64>();
    for (table, rows) in waiting {
        found.waiting += rows;
        let lacking = rows.saturating_sub(quarantined.get(*table).copied().unwrap_or(0));
        found.unaccounted += lacking;
        if lacking > 0 {
            found.tell(|| format!("{source}: {lacking} rows of {table} without a patient are not in quarantine"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(held: &[&str], shown: &[&str], want: Option<usize>) {
        let facts =
            |texts: &[&str]| texts.iter().map(|text| (*text != "-").then(|| (*text).to_owned())).collect::<Vec<_>>();
        assert_eq!(difference(&facts(held), &facts(shown)), want);
    }

    #[test]
    fn facts_are_equal_by_what_they_mean() {
        check(&["6.700", " Sodium ", ""], &["6.7", "Sodium", "-"], None);
        check(&["?", "a"], &["anything", "a"], None);
        check(&["?"], &["-"], None);
    }

    #[test]
    fn a_difference_is_found_at_its_fact() {
        check(&["1", "mmol/L"], &["1", "mg/dL"], Some(1));
        check(&["6.7"], &["7.6"], Some(0));
        check(&["-"], &["?"], Some(0));
        check(&["-"], &["x"], Some(0));
        check(&["a"], &["a", "b"], Some(1));
    }
}
