//! Which rows a chunk reads: a range of keys, as SQL.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::reader::Chunk;
use crate::{catalogue::KeyColumn, charset::Charset, decode::Cell, encode::CopyRow};

/// As [`super::state::Segment`], with what else the rows must fulfil.
#[derive(Clone, Default)]
pub(crate) struct Range {
    pub(crate) from: Option<String>,
    pub(crate) upto: Option<String>,
    pub(crate) after: Vec<String>,
    pub(crate) only: Vec<String>,
}

/// A range as SQL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ranged {
    pub(super) conditions: Vec<String>,
    pub(super) tail: String,
}

pub(super) fn ranged((charset, key): (&Charset, &[KeyColumn]), range: &Range, rows_max: u64) -> Ranged {
    let columns: Vec<String> = key.iter().map(|column| identifier(&column.name)).collect();
    let columns = columns.join(", ");
    let mut conditions = Vec::new();
    if let Some(first) = key.first() {
        let bound = |value: &String| format!("{}::{}", charset.literal(value), first.type_name);
        match (&range.from, range.after.is_empty()) {
            (Some(from), true) => conditions.push(format!("{} > {}", identifier(&first.name), bound(from))),
            (_, false) => conditions.push(format!("({columns}) > ({})", row((charset, key), &range.after))),
            (None, true) => {}
        }
        conditions.extend(range.upto.iter().map(|upto| format!("{} <= {}", identifier(&first.name), bound(upto))));
    }
    if !range.only.is_empty() {
        conditions.push(format!("({columns}) = ({})", row((charset, key), &range.only)));
    }
    Ranged { conditions, tail: format!(" order by {columns} limit {rows_max}") }
}

/// A key's values as SQL.
fn row((charset, key): (&Charset, &[KeyColumn]), values: &[String]) -> String {
    let typed =
        key.iter().zip(values).map(|(column, value)| format!("{}::{}", charset.literal(value), column.type_name));
    typed.collect::<Vec<_>>().join(", ")
}

pub(super) fn last_key(chunk: &Chunk, (charset, key): (&Charset, &[KeyColumn])) -> Option<Vec<String>> {
    let columns = &chunk.schema.columns;
    let mut row = CopyRow::default();
    if !row.parse(chunk.rows.last()?, columns.len()) {
        return None;
    }
    let cells: Vec<Cell<'_>> = row.cells().collect();
    let value = |column: &KeyColumn| match cells.get(chunk.schema.index_of(&column.name)?)? {
        Cell::Text(text) => Some(charset.kept(text)),
        Cell::Null | Cell::Unchanged => None,
    };
    key.iter().map(value).collect()
}

/// None: nothing was read before.
pub(super) fn is_behind(key: (&Charset, &[KeyColumn]), after: &[String], last: &[String]) -> Option<String> {
    (!after.is_empty()).then(|| format!("select ({}) > ({})", row(key, last), row(key, after)))
}

pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use change::{Column, ColumnType, Lsn, TableId, TableSchema};
    use std::sync::Arc;

    #[test]
    fn ranges_are_sql() {
        let key = [
            KeyColumn { name: "Practice".into(), type_name: "text".into() },
            KeyColumn { name: "id".into(), type_name: "bigint".into() },
        ];
        let check = |range: Range, want: &str| {
            let ranged = ranged((&Charset::Utf8, &key), &range, 9);
            assert_eq!(ranged.conditions.join(" and "), want);
            assert_eq!(ranged.tail, " order by \"Practice\", \"id\" limit 9");
        };
        check(Range::default(), "");
        check(
            Range { from: Some("a'\\".into()), upto: Some("b".into()), ..Range::default() },
            "\"Practice\" > E'a''\\\\'::text and \"Practice\" <= E'b'::text",
        );
        check(
            Range { from: Some("a".into()), after: vec!["a".into(), "7".into()], ..Range::default() },
            "(\"Practice\", \"id\") > (E'a'::text, E'7'::bigint)",
        );
        check(
            Range { only: vec!["a".into(), "7".into()], ..Range::default() },
            "(\"Practice\", \"id\") = (E'a'::text, E'7'::bigint)",
        );
    }

    #[test]
    fn a_chunk_is_asked_whether_it_comes_behind_the_one_before() {
        let key = [
            KeyColumn { name: "a".into(), type_name: "text".into() },
            KeyColumn { name: "b".into(), type_name: "bigint".into() },
        ];
        let values = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(is_behind((&Charset::Utf8, &key), &[], &values("x", "1")), None, "the first one");
        let question = is_behind((&Charset::Utf8, &key), &values("x", "9"), &values("y'", "1"));
        assert_eq!(question.as_deref(), Some("select (E'y'''::text, E'1'::bigint) > (E'x'::text, E'9'::bigint)"));
    }

    #[test]
    fn the_last_key_is_known_only_if_it_is_read() {
        let column = |name: &str, key| Column { name: name.into(), kind: ColumnType::Text, key };
        let key = [KeyColumn { name: "id".into(), type_name: "bigint".into() }];
        let last = |columns: Vec<Column>| {
            let table = TableId { schema: "public".into(), name: "visit".into() };
            let schema = Arc::new(TableSchema { table, columns });
            let rows = vec![Bytes::from_static(b"7\tx\n")];
            let visible = "1:1:".parse().expect("a snapshot");
            let (high, complete, waits_for_standby) = (Lsn(0), false, false);
            let chunk = Chunk { schema, visible, high, rows, bytes: 4, last: None, complete, waits_for_standby };
            last_key(&chunk, (&Charset::Utf8, &key))
        };
        assert_eq!(last(vec![column("id", true), column("note", false)]), Some(vec!["7".to_owned()]));
        // The publication's list of columns leaves it out.
        assert_eq!(last(vec![column("at", false), column("note", false)]), None);
    }
}
