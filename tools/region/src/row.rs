//! Rows as text: one form that serves COPY, INSERT and idempotent loading.

use jiff::{Timestamp, civil};
use rust_decimal::Decimal;
use std::borrow::Cow;
use uuid::Uuid;

/// A column's value in PostgreSQL's text form; `None` is NULL.
pub trait Cell {
    fn text(&self) -> Option<Cow<'_, str>>;
}

/// A row of one table. The first column is the key, where the table has one.
pub trait Row {
    const TABLE: &'static str;
    const COLUMNS: &'static [&'static str];
    fn cells(&self) -> Vec<Option<Cow<'_, str>>>;
}

impl<T: Cell> Cell for Option<T> {
    fn text(&self) -> Option<Cow<'_, str>> {
        self.as_ref().and_then(Cell::text)
    }
}

impl Cell for String {
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self))
    }
}

impl Cell for &'static str {
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self))
    }
}

impl Cell for Vec<u8> {
    fn text(&self) -> Option<Cow<'_, str>> {
        use std::fmt::Write;
        let mut hex = String::with_capacity(2 + self.len() * 2);
        hex.push_str("\\x");
        for byte in self {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Some(Cow::Owned(hex))
    }
}

/// An array whose elements need no quoting: codes and numbers.
impl Cell for Vec<&'static str> {
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(format!("{{{}}}", self.join(","))))
    }
}

macro_rules! displayed {
    ($($kind:ty),*) => {$(
        impl Cell for $kind {
            fn text(&self) -> Option<Cow<'_, str>> {
                Some(Cow::Owned(self.to_string()))
            }
        }
    )*};
}
displayed!(i16, i32, i64, bool, f64, Uuid, Decimal, Timestamp, civil::Date, civil::DateTime);

/// Defines a row: its struct (fields named as the columns are) and its `Row`.
macro_rules! rows {
    ($($name:ident: $table:literal { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        #[derive(Clone, Default, PartialEq)]
        pub struct $name { $(pub $field: $kind),* }

        impl $crate::row::Row for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &[$(concat!("\"", stringify!($field), "\"")),*];
            fn cells(&self) -> Vec<Option<std::borrow::Cow<'_, str>>> {
                vec![$($crate::row::Cell::text(&self.$field)),*]
            }
        }
    )*};
}
pub(crate) use rows;

/// Appends the row as a line of `COPY … FROM STDIN` (text format).
pub fn copy_line<R: Row>(row: &R, out: &mut Vec<u8>) {
    for (index, cell) in row.cells().into_iter().enumerate() {
        if index > 0 {
            out.push(b'\t');
        }
        match cell {
            None => out.extend_from_slice(b"\\N"),
            Some(text) => text.bytes().for_each(|byte| match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                other => out.push(other),
            }),
        }
    }
    out.push(b'\n');
}

pub fn copy_statement<R: Row>() -> String {
    format!("copy {} ({}) from stdin", R::TABLE, R::COLUMNS.join(", "))
}

pub fn insert<R: Row>(row: &R) -> String {
    let values: Vec<String> = row.cells().into_iter().map(literal).collect();
    format!("insert into {} ({}) values ({});\n", R::TABLE, R::COLUMNS.join(", "), values.join(", "))
}

/// Inserts the row, or makes the one with its key equal to it; a row that is so already is left alone.
pub fn upsert<R: Row>(row: &R) -> String {
    let insert = insert(row);
    let rest = &R::COLUMNS[1..];
    let sets: Vec<String> = rest.iter().map(|c| format!("{c} = excluded.{c}")).collect();
    let ours: Vec<String> = rest.iter().map(|c| format!("old.{c}")).collect();
    let theirs: Vec<String> = rest.iter().map(|c| format!("excluded.{c}")).collect();
    format!(
        "{} on conflict ({}) do update set {} where ({}) is distinct from ({});\n",
        insert.trim_end_matches(";\n").replacen(R::TABLE, &format!("{} as old", R::TABLE), 1),
        R::COLUMNS[0],
        sets.join(", "),
        ours.join(", "),
        theirs.join(", ")
    )
}

/// EMIS's way to delete: everything but the key goes, and `is_deleted` is set.
pub fn blank<R: Row>(key: &impl Cell) -> String {
    let sets: Vec<String> = R::COLUMNS[1..]
        .iter()
        .map(|c| match *c {
            "\"is_deleted\"" => format!("{c} = true"),
            _ => format!("{c} = null"),
        })
        .collect();
    format!("update {} set {} where {} = {};\n", R::TABLE, sets.join(", "), R::COLUMNS[0], literal(key.text()))
}

pub fn delete<R: Row>(key: &impl Cell) -> String {
    format!("delete from {} where {} = {};\n", R::TABLE, R::COLUMNS[0], literal(key.text()))
}

/// Changes some columns of the row with this key.
pub fn update<R: Row>(key: &impl Cell, sets: &[(&str, Option<Cow<'_, str>>)]) -> String {
    let sets: Vec<String> =
        sets.iter().map(|(column, value)| format!("\"{column}\" = {}", literal(value.clone()))).collect();
    format!("update {} set {} where {} = {};\n", R::TABLE, sets.join(", "), R::COLUMNS[0], literal(key.text()))
}

/// A quoted literal under `standard_conforming_strings`, PostgreSQL's default.
fn literal(cell: Option<Cow<'_, str>>) -> String {
    cell.map_or_else(|| "null".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    rows! { Note: "t.note" { id: i64, text: Option<String>, is_deleted: bool } }

    fn note(text: Option<&str>) -> Note {
        Note { id: 7, text: text.map(str::to_owned), is_deleted: false }
    }

    #[test]
    fn copy_escapes_what_copy_reads_specially() {
        let mut out = Vec::new();
        copy_line(&note(Some("a\tb\\c\nd\re")), &mut out);
        copy_line(&note(None), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "7\ta\\tb\\\\c\\nd\\re\tfalse\n7\t\\N\tfalse\n");
    }

    #[test]
    fn statements_quote_and_name_columns() {
        let row = note(Some("O'Brien"));
        assert_eq!(
            insert(&row),
            "insert into t.note (\"id\", \"text\", \"is_deleted\") values ('7', 'O''Brien', 'false');\n"
        );
        assert!(upsert(&row).contains("insert into t.note as old ("));
        assert!(upsert(&row).ends_with(
            "on conflict (\"id\") do update set \"text\" = excluded.\"text\", \"is_deleted\" = excluded.\"is_deleted\" \
             where (old.\"text\", old.\"is_deleted\") is distinct from (excluded.\"text\", excluded.\"is_deleted\");\n"
        ));
        assert_eq!(
            blank::<Note>(&7_i64),
            "update t.note set \"text\" = null, \"is_deleted\" = true where \"id\" = '7';\n"
        );
        assert_eq!(
            update::<Note>(&7_i64, &[("text", None)]),
            "update t.note set \"text\" = null where \"id\" = '7';\n"
        );
    }

    #[test]
    fn bytes_and_arrays_have_their_text_form() {
        assert_eq!(vec![0_u8, 255].text().unwrap(), "\\x00ff");
        assert_eq!(vec!["UE", "FBC"].text().unwrap(), "{UE,FBC}");
    }
}
