//! How tables hang together: foreign keys, and columns that are called like another table's key.

use super::words;
use change::described::{Described, Family};
use std::collections::BTreeMap;

/// A chain to the patient of more joins is not proposed.
pub const HOPS_MAX: usize = 7;
/// What a foreign key costs, and what a guess does.
const DECLARED: usize = 2;
const GUESSED: usize = 3;

/// From a table to one that its rows name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    /// (our column, their column).
    pub pairs: Vec<(String, String)>,
    /// By a foreign key.
    pub declared: bool,
}

/// Every edge: of two between the same columns, the declared one.
pub fn edges(tables: &[Described]) -> Vec<Edge> {
    let place = |id: &change::TableId| tables.iter().position(|table| table.table == *id);
    let mut edges: Vec<Edge> = Vec::new();
    for (from, table) in tables.iter().enumerate() {
        for reference in &table.references {
            let Some(to) = place(&reference.table) else { continue };
            let pairs = reference.columns.iter().cloned().zip(reference.theirs.iter().cloned()).collect();
            edges.push(Edge { from, to, pairs, declared: true });
        }
    }
    for from in 0..tables.len() {
        for column in tables[from].columns.iter().filter(|column| !column.name.contains('.')) {
            let declared =
                edges.iter().any(|it| it.from == from && it.pairs.iter().any(|(ours, _)| *ours == column.name));
            if declared {
                continue;
            }
            let named = guesses(tables, from, &column.name, column.family);
            edges.extend(named.map(|(to, theirs)| Edge {
                from,
                to,
                pairs: vec![(column.name.clone(), theirs)],
                declared: false,
            }));
        }
    }
    edges
}

/// The table whose key a column is called like: the likeliest of those that there are.
fn guesses(tables: &[Described], from: usize, column: &str, family: Family) -> impl Iterator<Item = (usize, String)> {
    let own_key = tables[from].key.iter().map(String::as_str).eq([column]);
    let mut scored: Vec<(i32, usize, String)> = Vec::new();
    for (to, table) in tables.iter().enumerate() {
        let [key] = table.key.as_slice() else { continue };
        let of_table = table.column(key).map(|key| key.family);
        // A table's rows name others of it in a column of another name.
        let same = to == from && column == key;
        if of_table != Some(family) || same || !table.is_table {
            continue;
        }
        let name = &*table.table.name;
        let ends_so = column.ends_with(&format!("_{key}")) && to != from;
        let named_so = words::words(column) == words::words(name) || column == format!("{name}_id");
        let likeness = match (column == key, ends_so || named_so) {
            (true, _) => 3,
            (false, true) => 2,
            (false, false) => continue,
        };
        // `observation_id` is of `observation`, whatever else is known by it.
        let home = i32::from(words::words(key).iter().any(|word| words::words(name).contains(word)));
        // A key of its own that is another's key too: a second face of it.
        if own_key && home == 0 {
            continue;
        }
        let kin = words::words(&tables[from].table.name);
        let drugs = |name: &[String]| {
            name.iter().any(|it| ["drug", "medication", "medicine", "prescription"].contains(&it.as_str()))
        };
        let near = if drugs(&kin) == drugs(&words::words(name)) { 2 } else { 0 };
        let terms = i32::from(
            words::best(&table.columns, &["term", "display", "description", "label"], &[Family::Text]).is_some(),
        );
        scored.push((likeness * 10 + home * 5 + near + terms, to, key.clone()));
    }
    scored.sort_by(|(a, at, _), (b, other, _)| b.cmp(a).then(at.cmp(other)));
    scored.into_iter().take(1).map(|(_, to, key)| (to, key))
}

/// The cheapest chain from each table to this one: edges in the order in which joins follow them.
pub fn chains(tables: &[Described], edges: &[Edge], to: usize) -> BTreeMap<usize, Vec<Edge>> {
    let mut known: BTreeMap<usize, (usize, Vec<Edge>)> = BTreeMap::from([(to, (0, Vec::new()))]);
    // Few tables, and few rounds: each looks one hop further.
    for _ in 0..HOPS_MAX {
        let before = known.clone();
        for edge in edges.iter().filter(|edge| edge.from != to && tables[edge.from].is_table) {
            let Some((cost, rest)) = before.get(&edge.to) else { continue };
            let cost = cost + if edge.declared { DECLARED } else { GUESSED };
            let better = known.get(&edge.from).is_none_or(|(known, _)| cost < *known);
            let circle = rest.iter().any(|later| later.from == edge.from);
            if better && !circle {
                let chain = std::iter::once(edge.clone()).chain(rest.iter().cloned()).collect();
                known.insert(edge.from, (cost, chain));
            }
        }
    }
    known.into_iter().filter(|(from, _)| *from != to).map(|(from, (_, chain))| (from, chain)).collect()
}
