//! Tests: tables as short text.

use change::{
    TableId,
    described::{Described, DescribedColumn, Family, Reference, Seen},
};

/// `s.visit(visit_id bigint key, person bigint > s.person, class text = AMB:0.9 IMP:0.1, kind s.k [a b])`, one a line. `key` is of
/// the primary key, `>` a foreign key to another table's first key column, `=` the most common values of 1000 rows, `[…]` an
/// enum's labels.
pub fn tables(text: &str) -> Vec<Described> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut tables: Vec<Described> = lines.map(table).collect();
    let keys: Vec<(String, Vec<String>)> =
        tables.iter().map(|table| (table.table.to_string(), table.key.clone())).collect();
    for reference in tables.iter_mut().flat_map(|table| &mut table.references) {
        let key = keys.iter().find(|(name, _)| *name == reference.table.to_string());
        reference.theirs = key.map(|(_, key)| key[..1].to_vec()).expect("a table with a key");
    }
    tables
}

fn id(name: &str) -> TableId {
    let (schema, name) = name.split_once('.').expect("schema.table");
    TableId { schema: schema.into(), name: name.into() }
}

fn table(line: &str) -> Described {
    let (name, columns) = line.split_once('(').expect("a list of columns");
    let (name, is_table) = name.strip_prefix("view ").map_or((name, true), |name| (name, false));
    let mut table = Described {
        table: id(name),
        is_table,
        comment: None,
        rows: Some(1_000),
        columns: Vec::new(),
        key: Vec::new(),
        unique: Vec::new(),
        references: Vec::new(),
    };
    for part in columns.trim_end_matches(')').split(", ") {
        column(part, &mut table);
    }
    if !table.key.is_empty() {
        table.unique.push(table.key.clone());
    }
    table
}

fn column(part: &str, table: &mut Described) {
    let (part, common) = part.split_once(" = ").map_or((part, None), |(part, common)| (part, Some(common)));
    let (part, labels) =
        part.split_once(" [").map_or((part, ""), |(part, labels)| (part, labels.trim_end_matches(']')));
    let (part, to) = part.split_once(" > ").map_or((part, None), |(part, to)| (part, Some(to)));
    let (part, is_key) = part.strip_suffix(" key").map_or((part, false), |part| (part, true));
    let (name, type_name) = part.split_once(' ').expect("a type");
    let value = |word: &str| {
        let (value, part) = word.split_once(':').expect("a part");
        (value.to_owned(), part.parse().expect("a number"))
    };
    let common: Option<Vec<(String, f64)>> = common.map(|common| common.split(' ').map(value).collect());
    let seen = common.map(|common| Seen { nulls: 0.0, distinct: Some(common.len() as u64), common });
    if is_key {
        table.key.push(name.to_owned());
    }
    if let Some(to) = to {
        table.references.push(Reference { columns: vec![name.to_owned()], table: id(to), theirs: Vec::new() });
    }
    table.columns.push(DescribedColumn {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        family: Family::of(type_name),
        labels: labels.split(' ').filter(|label| !label.is_empty()).map(str::to_owned).collect(),
        comment: None,
        seen,
    });
}
