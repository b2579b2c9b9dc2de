//! What a database's catalogue tells of its tables: what who writes a mapping looks at before any row has come.

use crate::table::TableId;

/// What stands under a name in the database, captured or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub table: TableId,
    /// A view is not: it has no log.
    pub is_table: bool,
    pub comment: Option<String>,
    /// As the planner estimates; none: it has not looked at the table yet.
    pub rows: Option<u64>,
    /// In the table's order.
    pub columns: Vec<DescribedColumn>,
    /// The primary key's columns, in its order.
    pub key: Vec<String>,
    /// Columns that tell the rows apart: the primary key's, and those of unique indexes.
    pub unique: Vec<Vec<String>>,
    pub references: Vec<Reference>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedColumn {
    pub name: String,
    /// As the database calls it; of a domain, what it is made of.
    pub type_name: String,
    pub family: Family,
    /// Of an enum.
    pub labels: Vec<String>,
    pub comment: Option<String>,
    /// None: not looked at, or not to be seen by this role.
    pub seen: Option<Seen>,
}

/// A column's statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Of 1: how many rows have none.
    pub nulls: f64,
    /// Different values, where that does not grow with the table.
    pub distinct: Option<u64>,
    /// The most common values, each with its part of all rows.
    pub common: Vec<(String, f64)>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub columns: Vec<String>,
    pub table: TableId,
    pub theirs: Vec<String>,
}

/// Which types hold the same kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Bool,
    Number,
    Text,
    Uuid,
    Day,
    /// A day and a time of it.
    Moment,
    TimeOfDay,
    Bytes,
    Other,
}

impl Described {
    pub fn column(&self, name: &str) -> Option<&DescribedColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Do these columns tell the rows apart?
    pub fn is_unique(&self, columns: &[&str]) -> bool {
        self.unique.iter().any(|unique| !unique.is_empty() && unique.iter().all(|it| columns.contains(&it.as_str())))
    }
}

impl Family {
    /// Of a type by PostgreSQL's name of it.
    pub fn of(type_name: &str) -> Self {
        if type_name.ends_with("[]") {
            return Self::Other;
        }
        match type_name.split('(').next().unwrap_or_default().trim() {
            "boolean" => Self::Bool,
            "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" | "money" | "oid" => {
                Self::Number
            }
            "text" | "character varying" | "character" | "citext" | "name" | "\"char\"" => Self::Text,
            "uuid" => Self::Uuid,
            "date" => Self::Day,
            "timestamp" | "timestamp without time zone" | "timestamp with time zone" => Self::Moment,
            "time" | "time without time zone" | "time with time zone" => Self::TimeOfDay,
            "bytea" => Self::Bytes,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_postgresql_s_names() {
        for (name, want) in [
            ("boolean", Family::Bool),
            ("numeric(19,3)", Family::Number),
            ("double precision", Family::Number),
            ("character varying(20)", Family::Text),
            ("uuid", Family::Uuid),
            ("date", Family::Day),
            ("timestamp(6) with time zone", Family::Moment),
            ("timestamp without time zone", Family::Moment),
            ("time(3) without time zone", Family::TimeOfDay),
            ("bytea", Family::Bytes),
            ("character varying(20)[]", Family::Other),
            ("lims.result_status", Family::Other),
            ("jsonb", Family::Other),
        ] {
            assert_eq!(Family::of(name), want, "{name}");
        }
    }

    #[test]
    fn more_columns_than_a_key_has_tell_rows_apart_too() {
        let table = TableId { schema: "s".into(), name: "t".into() };
        let unique = vec![vec!["a".to_owned(), "b".to_owned()], Vec::new()];
        let (comment, rows, columns, key, references) = (None, None, Vec::new(), Vec::new(), Vec::new());
        let table = Described { table, is_table: true, comment, rows, columns, key, unique, references };
        assert!(table.is_unique(&["b", "a"]) && table.is_unique(&["a", "c", "b"]));
        assert!(!table.is_unique(&["a"]) && !table.is_unique(&[]));
    }
}
