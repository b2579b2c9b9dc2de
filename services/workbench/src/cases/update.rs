//! What came, written into the case as what is expected.

use super::{Case, Entry, told};
use toml_edit::{DocumentMut, Item, Table, Value};

/// The case's file with what came; none where its transactions are not written as `[[transaction]]`. All else, comments too,
/// stays as it is.
pub fn updated(case: &Case, got: &[Vec<Entry>]) -> Option<String> {
    let mut document: DocumentMut = case.text.parse().ok()?;
    let tables = document.get_mut("transaction")?.as_array_of_tables_mut()?;
    for (table, got) in tables.iter_mut().zip(got) {
        put(table, &told::text(got));
    }
    Some(document.to_string())
}

fn put(table: &mut Table, text: &str) {
    let Some(value) = block(text) else { return };
    match table.get_mut("expected").and_then(Item::as_value_mut) {
        Some(known) => {
            let decor = known.decor().clone();
            *known = value;
            *known.decor_mut() = decor;
        }
        None => drop(table.insert("expected", Item::Value(value))),
    }
}

/// As lines without escapes, where they need none.
fn block(text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some("".into());
    }
    let literal = format!("'''\n{text}'''");
    literal.parse().ok().or_else(|| Some(text.into()))
}
