//! A mapping against what a database's catalogue tells: tables and columns that are not there, and types that cannot be what
//! the mapping takes them for. All that is wrong here would else show only when rows come.

use crate::uses::{self, Use, Wants};
use change::{
    TableId,
    described::{Described, DescribedColumn, Family},
};
use mapping::{Join, Mapping, ROW, Record, Ref, Table, Test};
use std::fmt;

/// A name that is less like another is not asked after.
const ALIKE: f64 = 0.84;

/// What the mapping reads and the database does not hold, or holds as something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    Table {
        table: TableId,
        meant: Option<String>,
    },
    /// There is a view of that name.
    View(TableId),
    Column {
        table: TableId,
        column: String,
        meant: Option<String>,
    },
    /// It can never be what the mapping takes it for: which record and key, and what is wrong.
    Type {
        place: String,
        what: String,
    },
}

/// Of one mapping: mistakes, and what may not be meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    pub mistakes: Vec<Misfit>,
    pub warnings: Vec<Misfit>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meant = match self {
            Self::Table { table, meant } => {
                write!(f, "the database has no table `{table}`")?;
                meant
            }
            Self::View(table) => return write!(f, "`{table}` is a view, and only tables can be captured"),
            Self::Column { table, column, meant } => {
                write!(f, "the table `{table}` has no column `{column}`")?;
                meant
            }
            Self::Type { place, what } => return write!(f, "{place}: {what}"),
        };
        meant.as_ref().map_or(Ok(()), |meant| write!(f, ": is `{meant}` meant?"))
    }
}

pub fn fit(mapping: &Mapping, database: &[Described]) -> Fit {
    let mistakes = mapping.tables.iter().flat_map(|table| lacks(table, database)).collect();
    let mut held = Held { mapping, database, fit: Fit { mistakes, warnings: Vec::new() } };
    for used in uses::fields(mapping) {
        held.field(&used);
    }
    for record in &mapping.records {
        held.record(record);
    }
    held.fit
}

fn lacks(table: &Table, database: &[Described]) -> Vec<Misfit> {
    let id = &table.id;
    match database.iter().find(|described| described.table == *id) {
        None => {
            let tables = database.iter().filter(|described| described.is_table);
            let names: Vec<String> = tables.map(|described| described.table.to_string()).collect();
            let meant = meant(&id.to_string(), names.iter().map(String::as_str));
            vec![Misfit::Table { table: id.clone(), meant }]
        }
        Some(described) if !described.is_table => vec![Misfit::View(id.clone())],
        Some(described) => {
            let unknown = table.columns.iter().filter(|column| described.column(column).is_none());
            let lack = |column: &std::sync::Arc<str>| Misfit::Column {
                table: id.clone(),
                column: column.to_string(),
                meant: meant(column, described.columns.iter().map(|known| known.name.as_str())),
            };
            unknown.map(lack).collect()
        }
    }
}

/// The name that is most like it, if one is.
fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let form = |name: &str| name.to_lowercase();
    let scored = known.map(|known| (strsim::jaro_winkler(&form(name), &form(known)), known));
    let (score, known) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (score >= ALIKE).then(|| known.to_owned())
}

/// How sure it is that something is wrong.
enum Sure {
    Never,
    Perhaps,
}

struct Held<'a> {
    mapping: &'a Mapping,
    database: &'a [Described],
    fit: Fit,
}

impl<'a> Held<'a> {
    fn described(&self, table: usize) -> Option<&'a Described> {
        let id = &self.mapping.tables[table].id;
        self.database.iter().find(|described| described.table == *id && described.is_table)
    }

    fn column(&self, table: usize, column: usize) -> Option<(String, &'a DescribedColumn)> {
        let of = &self.mapping.tables[table];
        let name = &of.columns[column];
        Some((format!("{}.{name}", of.id), self.described(table)?.column(name)?))
    }

    fn cell(&self, record: &Record, at: Ref) -> Option<(String, &'a DescribedColumn)> {
        self.column(at.join.map_or(record.table, |join| record.joins[join].table), at.column)
    }

    fn tell(&mut self, sure: Sure, place: &str, what: String) {
        let misfit = Misfit::Type { place: place.to_owned(), what };
        let list = match sure {
            Sure::Never => &mut self.fit.mistakes,
            Sure::Perhaps => &mut self.fit.warnings,
        };
        if !list.contains(&misfit) {
            list.push(misfit);
        }
    }

    fn field(&mut self, used: &Use<'_>) {
        let record = &self.mapping.records[used.record];
        let place = format!("record `{}`: {}", record.name, used.key);
        for at in &used.field.cells {
            let Some((name, column)) = self.cell(record, *at) else { continue };
            let is = format!("`{name}` is of type {}", column.type_name);
            let formatted = !used.field.formats.is_empty();
            match (used.wants, column.family) {
                (Wants::Time, Family::Bool | Family::Uuid | Family::Bytes | Family::TimeOfDay) => {
                    self.tell(Sure::Never, &place, format!("{is}, which is no day and no time of one"));
                }
                (Wants::Time, Family::Number) if !formatted => {
                    let what = format!(
                        "{is}, and a number is read as a time only with `format`, such as \"%Y\" or \"%Y%m%d\""
                    );
                    self.tell(Sure::Never, &place, what);
                }
                (
                    Wants::Number,
                    Family::Bool | Family::Uuid | Family::Bytes | Family::Day | Family::Moment | Family::TimeOfDay,
                ) => {
                    self.tell(Sure::Never, &place, format!("{is}, which is no number"));
                }
                (Wants::Unit | Wants::Code(_), Family::Day | Family::Moment | Family::TimeOfDay | Family::Bytes) => {
                    self.tell(Sure::Never, &place, format!("{is}, which is no code and no unit"));
                }
                (Wants::Unit, Family::Number | Family::Bool) => {
                    self.tell(Sure::Perhaps, &place, format!("{is}: is there a dictionary of units to join?"));
                }
                _ => {}
            }
            self.words(&place, used, column);
        }
        for (at, test) in each(&used.field.when) {
            self.condition(record, &format!("{place}.when"), at, test);
        }
    }

    /// The labels of an enum are all the words that there are.
    fn words(&mut self, place: &str, used: &Use<'_>, column: &DescribedColumn) {
        if column.labels.is_empty() || used.field.words.is_empty() {
            return;
        }
        for word in used.field.words.keys().filter(|word| !column.labels.contains(word)) {
            let meant = meant(word, column.labels.iter().map(String::as_str));
            let meant = meant.map_or_else(String::new, |meant| format!(": is `{meant}` meant?"));
            self.tell(Sure::Perhaps, place, format!("`{word}` in `words` is no label of {}{meant}", column.type_name));
        }
        let unlisted: Vec<&str> =
            column.labels.iter().filter(|label| !used.field.words.contains_key(*label)).map(String::as_str).collect();
        if used.wants == Wants::State && !unlisted.is_empty() {
            let what = format!(
                "`words` does not list {} of {}: they become \"unknown\"",
                unlisted.join(", "),
                column.type_name
            );
            self.tell(Sure::Perhaps, place, what);
        }
    }

    fn record(&mut self, record: &Record) {
        let place = format!("record `{}`", record.name);
        for (key, conditions) in uses::conditions(record) {
            for (at, test) in each(conditions) {
                self.condition(record, &format!("{place}: {key}"), at, test);
            }
        }
        for (index, join) in record.joins.iter().enumerate() {
            self.join(record, index, join, &place);
        }
        let Some(table) = self.described(record.table) else { return };
        let columns = &self.mapping.tables[record.table].columns;
        let id: Vec<&str> = record.id.iter().map(|column| &*columns[*column]).collect();
        if !table.is_unique(&id) && record.highest.is_none() {
            let what = format!(
                "nothing makes `{}` unique in `{}`: of several rows with one identity the one with the highest key is taken, \
                 unless `highest` names a column",
                id.join(", "),
                table.table
            );
            self.tell(Sure::Perhaps, &format!("{place}: id"), what);
        }
        if table.key.is_empty() {
            let what =
                format!("`{}` has no primary key: its updates and deletes need replica identity full", table.table);
            self.tell(Sure::Perhaps, &place, what);
        }
    }

    fn join(&mut self, record: &Record, index: usize, join: &Join, place: &str) {
        let place = format!("{place}: join.{}", join.name);
        for (theirs, ours) in &join.on {
            let both = self.column(join.table, *theirs).zip(self.cell(record, *ours));
            if let Some(((name, theirs), (our_name, ours))) = both
                && let Some((sure, why)) = meets(theirs, ours)
            {
                let what =
                    format!("`{name}` is of type {} and `{our_name}` of {}: {why}", theirs.type_name, ours.type_name);
                self.tell(sure, &format!("{place}.on"), what);
            }
        }
        for (at, test) in each(&join.only_when) {
            let at = match at.join {
                None => Ref { join: Some(index), ..at },
                Some(ROW) => Ref { join: None, ..at },
                Some(_) => at,
            };
            self.condition(record, &format!("{place}.only_when"), at, test);
        }
        let Some(table) = self.described(join.table) else { return };
        let columns = &self.mapping.tables[join.table].columns;
        let linked = join.on.iter().map(|(theirs, _)| theirs);
        let on: Vec<&str> =
            linked.chain(join.constants.iter().map(|(theirs, _)| theirs)).map(|it| &*columns[*it]).collect();
        if !table.is_unique(&on) && join.highest.is_none() && !join.all {
            let what = format!(
                "nothing makes `{}` unique in `{}`: of several rows the one with the highest key is taken, unless `highest` \
                 names a column",
                on.join(", "),
                table.table
            );
            self.tell(Sure::Perhaps, &format!("{place}.on"), what);
        }
    }

    fn condition(&mut self, record: &Record, place: &str, at: Ref, test: &Test) {
        let Some((name, column)) = self.cell(record, at) else { return };
        let is = format!("`{name}` is of type {}", column.type_name);
        let words = match test {
            Test::In(words) | Test::NotIn(words) => words.as_slice(),
            Test::Above(_) if !matches!(column.family, Family::Number | Family::Text) => {
                return self.tell(Sure::Never, place, format!("{is}, and `above` is about numbers"));
            }
            Test::Above(_) | Test::Present | Test::Absent => return,
        };
        for word in words {
            let why = match column.family {
                Family::Bool if !["true", "false"].contains(&word.as_str()) => "which is true or false",
                Family::Number if !word.chars().all(|it| it.is_ascii_digit() || "+-.".contains(it)) => {
                    "which is a number"
                }
                _ if !column.labels.is_empty() && !column.labels.contains(word) => "and that is none of its labels",
                _ => continue,
            };
            self.tell(Sure::Never, place, format!("{is}, {why}: it never equals `{word}`"));
        }
    }
}

fn each(conditions: &[mapping::Condition]) -> Vec<(Ref, &Test)> {
    let mut all = Vec::new();
    uses::each_cell(conditions, &mut |at, test| all.push((at, test)));
    all
}

/// Values meet as plain texts, whatever their types are. None: nothing speaks against it.
fn meets(theirs: &DescribedColumn, ours: &DescribedColumn) -> Option<(Sure, &'static str)> {
    const NEVER: &str = "their values never meet";
    let padded = |column: &DescribedColumn| column.type_name.starts_with("character(");
    match (theirs.family, ours.family) {
        (Family::Text, Family::Text) if padded(theirs) != padded(ours) => {
            Some((Sure::Perhaps, "one is padded with blanks, and values that differ in them never meet"))
        }
        (a, b) if a == b => None,
        (Family::Text, Family::Number) | (Family::Number, Family::Text) => Some((
            Sure::Perhaps,
            "they meet only where the text is written without leading zeros, blanks and other marks",
        )),
        (Family::Text, Family::Uuid) | (Family::Uuid, Family::Text) => {
            Some((Sure::Perhaps, "they meet only where the text is written in small letters with dashes"))
        }
        (Family::Day, Family::Moment) | (Family::Moment, Family::Day) => {
            Some((Sure::Perhaps, "they meet only at midnight"))
        }
        (Family::Text | Family::Other, _) | (_, Family::Text | Family::Other) => {
            Some((Sure::Perhaps, "they meet only where both are written alike"))
        }
        _ => Some((Sure::Never, NEVER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema_text::tables;

    const MAPPING: &str = "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\n[[record]]\nkind = \"observation\"\nname = \"r\"\n\
        table = \"s.visit\"\nid = \"visit_id\"\npatient = \"p.person_id\"\neffective_at = \"at\"\n\
        status = { from = \"state\", words = { final = \"final\", prelim = \"preliminary\" } }\n\
        deleted_when = [{ column = \"gone\", is = true }]\n[record.code]\ntext = \"words\"\n\
        [record.value]\nnumber = \"level\"\n[record.join.p]\ntable = \"s.person\"\non = { person_id = \"person\" }\n";
    const PERSON: &str = "s.person(person_id bigint key)\n";
    const VISIT: &str = "s.visit(visit_id bigint key, person bigint, at timestamp with time zone, state text, gone boolean, \
        words text, level numeric)";

    #[track_caller]
    fn check(schema: &str, mistakes: &[&str], warnings: &[&str]) {
        let mapping = mapping::parse("m.toml", MAPPING).expect("a mapping");
        let Fit { mistakes: told, warnings: warned } = fit(&mapping, &tables(schema));
        assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), mistakes);
        assert_eq!(warned.iter().map(ToString::to_string).collect::<Vec<_>>(), warnings);
    }

    #[track_caller]
    fn changed(from: &str, to: &str, mistakes: &[&str], warnings: &[&str]) {
        assert!(VISIT.contains(from), "{from}");
        check(&[PERSON, &VISIT.replace(from, to)].concat(), mistakes, warnings);
    }

    #[test]
    fn what_is_not_there_is_told_with_what_may_be_meant() {
        check(&[PERSON, VISIT].concat(), &[], &[]);
        let visits = ["s.person(person_id bigint key)\n", &VISIT.replace("s.visit(", "s.visits(")].concat();
        check(&visits, &["the database has no table `s.visit`: is `s.visits` meant?"], &[]);
        check(&[PERSON, "s.ward(id bigint key)"].concat(), &["the database has no table `s.visit`"], &[]);
        let view = [PERSON, "view ", VISIT].concat();
        check(&view, &["`s.visit` is a view, and only tables can be captured"], &[]);
        changed(
            "visit_id bigint key",
            "Visit_ID bigint key",
            &["the table `s.visit` has no column `visit_id`: is `Visit_ID` meant?"],
            &[
                "record `r`: id: nothing makes `visit_id` unique in `s.visit`: of several rows with one identity the one with \
               the highest key is taken, unless `highest` names a column",
            ],
        );
    }

    #[test]
    fn a_column_of_a_type_that_cannot_be_it_is_a_mistake() {
        changed("at timestamp with time zone", "at date", &[], &[]);
        changed("at timestamp with time zone", "at text", &[], &[]);
        changed(
            "at timestamp with time zone",
            "at bigint",
            &[
                "record `r`: effective_at: `s.visit.at` is of type bigint, and a number is read as a time only with `format`, \
               such as \"%Y\" or \"%Y%m%d\"",
            ],
            &[],
        );
        changed(
            "level numeric",
            "level date",
            &["record `r`: value.number: `s.visit.level` is of type date, which is no number"],
            &[],
        );
        changed("level numeric", "level text", &[], &[]);
        changed(
            "gone boolean",
            "gone smallint",
            &[
                "record `r`: deleted_when: `s.visit.gone` is of type smallint, which is a number: it never equals `true`",
            ],
            &[],
        );
    }

    #[test]
    fn a_join_whose_values_cannot_meet_is_a_mistake() {
        let never = |type_name: &str| {
            format!(
                "record `r`: join.p.on: `s.person.person_id` is of type bigint and `s.visit.person` of {type_name}: their \
                 values never meet"
            )
        };
        changed("person bigint", "person numeric(18,0)", &[], &[]);
        changed("person bigint", "person uuid", &[&never("uuid")], &[]);
        changed("person bigint", "person date", &[&never("date")], &[]);
        changed(
            "person bigint",
            "person text",
            &[],
            &[
                "record `r`: join.p.on: `s.person.person_id` is of type bigint and `s.visit.person` of text: they meet only \
               where the text is written without leading zeros, blanks and other marks",
            ],
        );
    }

    #[test]
    fn an_enum_has_the_words_that_it_has() {
        changed("state text", "state s.state [final prelim]", &[], &[]);
        changed(
            "state text",
            "state s.state [Final prelim amended]",
            &[],
            &[
                "record `r`: status: `final` in `words` is no label of s.state: is `Final` meant?",
                "record `r`: status: `words` does not list Final, amended of s.state: they become \"unknown\"",
            ],
        );
    }

    #[test]
    fn rows_that_nothing_tells_apart_are_told() {
        changed(
            "visit_id bigint key",
            "visit_id bigint, row_id bigint key",
            &[],
            &[
                "record `r`: id: nothing makes `visit_id` unique in `s.visit`: of several rows with one identity the one with \
               the highest key is taken, unless `highest` names a column",
            ],
        );
        let two = ["s.person(id bigint key, person_id bigint)\n", VISIT].concat();
        check(
            &two,
            &[],
            &[
                "record `r`: join.p.on: nothing makes `person_id` unique in `s.person`: of several rows the one with the \
               highest key is taken, unless `highest` names a column",
            ],
        );
    }
}
