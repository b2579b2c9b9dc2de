//! Which values of a column may stand in a draft.
//!
//! # Why
//! A draft is a file that is mailed and committed. A patient's value must not be in it, and statistics hold values of rows.
//! So a value is shown only where four things hold: the column's name says that it holds codes, units, statuses or classes;
//! it says nothing of who or where somebody is; the column has few different values; and the value is short, looks like no
//! number of a person or a place, and stands in many rows. An enum's labels are the schema's own and always shown.
//! `samples` lifts the first of these: somebody has asked for more, and has the answer for it.

use super::words::has_any;
use change::described::{Described, DescribedColumn, Family};

/// More different values are no list of codes.
pub const DISTINCT_MAX: u64 = 40;
/// A value of fewer rows may be one patient's.
pub const ROWS_MIN: f64 = 50.0;
/// A longer value may be a sentence.
pub const LETTERS_MAX: usize = 20;
/// More digits in a row may be a number of somebody.
pub const DIGITS_MAX: usize = 4;
/// Values shown of one column.
pub const SHOWN_MAX: usize = 12;

const SAYS_CODE: [&str; 21] = [
    "status",
    "state",
    "type",
    "kind",
    "class",
    "category",
    "unit",
    "uom",
    "flag",
    "code",
    "cd",
    "ind",
    "sex",
    "gender",
    "priority",
    "urgency",
    "route",
    "severity",
    "comparator",
    "operator",
    "precision",
];
const SAYS_WHO: [&str; 34] = [
    "name",
    "surname",
    "forename",
    "given",
    "family",
    "middle",
    "title",
    "alias",
    "address",
    "street",
    "house",
    "town",
    "city",
    "county",
    "village",
    "postcode",
    "zip",
    "phone",
    "mobile",
    "telephone",
    "fax",
    "email",
    "nhs",
    "mrn",
    "hospital number",
    "birth",
    "dob",
    "death",
    "religion",
    "ethnic",
    "language",
    "occupation",
    "comment",
    "note",
];

/// The values of a column that may be shown, the most common first, each with its part of the rows.
pub fn shown(table: &Described, column: &DescribedColumn, samples: bool) -> Vec<(String, f64)> {
    let (Some(seen), Some(rows)) = (&column.seen, table.rows) else { return Vec::new() };
    let codes = samples || has_any(&column.name, &SAYS_CODE);
    let few = seen.distinct.is_some_and(|distinct| distinct <= DISTINCT_MAX);
    let family = matches!(column.family, Family::Text | Family::Number);
    if !codes || !few || !family || has_any(&column.name, &SAYS_WHO) || table.key.contains(&column.name) {
        return Vec::new();
    }
    // Rows are counted in floating point only to be compared with a limit.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rows = rows as f64;
    let common = seen.common.iter().filter(|(value, part)| part * rows >= ROWS_MIN && is_plain(value));
    common.take(SHOWN_MAX).cloned().collect()
}

/// Short, one word or two, and no number, date or address of anybody.
fn is_plain(value: &str) -> bool {
    let digits = value.split(|letter: char| !letter.is_ascii_digit()).map(str::len).max().unwrap_or_default();
    let total = value.chars().filter(char::is_ascii_digit).count();
    let words = value.split_whitespace().count();
    value.chars().count() <= LETTERS_MAX
        && digits <= DIGITS_MAX
        && total <= DIGITS_MAX
        && words <= 2
        && !value.contains('@')
        && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::{TableId, described::Seen};

    fn table(rows: u64, name: &str, distinct: Option<u64>, common: &[(&str, f64)]) -> Described {
        let common = common.iter().map(|(value, part)| ((*value).to_owned(), *part)).collect();
        let column = DescribedColumn {
            name: name.to_owned(),
            type_name: "text".into(),
            family: Family::Text,
            labels: Vec::new(),
            comment: None,
            seen: Some(Seen { nulls: 0.0, distinct, common }),
        };
        Described {
            table: TableId { schema: "s".into(), name: "t".into() },
            is_table: true,
            comment: None,
            rows: Some(rows),
            columns: vec![column],
            key: vec!["id".into()],
            unique: Vec::new(),
            references: Vec::new(),
        }
    }

    #[track_caller]
    fn check(table: &Described, samples: bool, want: &[&str]) {
        let values: Vec<String> =
            shown(table, &table.columns[0], samples).into_iter().map(|(value, _)| value).collect();
        assert_eq!(values, want);
    }

    #[test]
    fn values_of_codes_that_many_rows_have_are_shown() {
        let common = [("final", 0.9), ("prelim", 0.1)];
        check(&table(1_000, "status", Some(2), &common), false, &["final", "prelim"]);
        // 0.1 of 500 is 50 rows, of 499 it is less.
        check(&table(500, "status", Some(2), &common), false, &["final", "prelim"]);
        check(&table(499, "status", Some(2), &common), false, &["final"]);
        check(&table(1_000, "status", Some(DISTINCT_MAX), &common), false, &["final", "prelim"]);
        check(&table(1_000, "status", Some(DISTINCT_MAX + 1), &common), false, &[]);
        check(&table(1_000, "status", None, &common), false, &[]);
    }

    #[test]
    fn a_column_that_says_who_or_where_somebody_is_shows_nothing() {
        let common = [("Hale", 0.9)];
        for name in ["surname", "town", "nhs_status", "status_comment", "family_code", "postcode_type", "mobile_flag"] {
            check(&table(100_000, name, Some(1), &common), false, &[]);
            check(&table(100_000, name, Some(1), &common), true, &[]);
        }
        // What says neither is shown to who asks for samples.
        check(&table(100_000, "ward", Some(1), &common), false, &[]);
        check(&table(100_000, "ward", Some(1), &common), true, &["Hale"]);
        check(&table(100_000, "id", Some(1), &common), true, &[]);
    }

    #[test]
    fn a_value_that_may_be_of_one_person_is_not_shown() {
        let values = [
            ("9434765919", 0.1),
            ("943 476 5919", 0.1),
            ("02/06/1984", 0.1),
            ("a@b.uk", 0.1),
            ("Mrs Hale's own bed", 0.1),
            ("abcdefghijklmnopqrstu", 0.1),
            ("two\nlines", 0.1),
            ("M", 0.1),
            ("mmol/L", 0.1),
            ("2WW", 0.1),
        ];
        check(&table(100_000, "code", Some(10), &values), false, &["M", "mmol/L", "2WW"]);
    }
}
