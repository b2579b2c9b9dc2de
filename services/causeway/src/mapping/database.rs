//! What a mapping reads, against what a database holds: a misspelt column would else show only when its rows come.

use anyhow::Context;
use change::TableId;
use connector_postgres::{ConnectorError, Described, Settings};
use mapping::{Mapping, Table};
use std::{fmt, path::PathBuf};

/// The source's name in the variable of its password.
const NAME: &str = "mapping";
/// A name that is less like another is not asked after.
const ALIKE: f64 = 0.84;

#[derive(clap::Args)]
pub struct Arguments {
    /// Also compare tables and columns with this database, such as postgres://user@host:5432/emis, without a password.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// A file that holds the password; otherwise it is taken from `CAUSEWAY_SOURCE_MAPPING_PASSWORD`.
    #[arg(long, requires = "database", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The certificate authority that signed the server's certificate (PEM). Without one, only loopback is connected to.
    #[arg(long, requires = "database", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Arguments {
    /// What each of these mappings reads and the database does not hold; nothing if no database was named.
    pub async fn lacks(self, mappings: &[&Mapping]) -> anyhow::Result<Vec<Vec<Lack>>> {
        let Some(url) = self.database else { return Ok(mappings.iter().map(|_| Vec::new()).collect()) };
        let mut settings = toml::Table::new();
        settings.insert("name".into(), NAME.into());
        settings.insert("url".into(), url.into());
        let settings: Settings = settings.try_into().context("the database's settings")?;
        let settings = Settings { password_file: self.password_file, ca_file: self.ca_file, ..settings };
        lacks(&settings, mappings).await.context(
            "cannot look at the database (its password comes from --password-file or CAUSEWAY_SOURCE_MAPPING_PASSWORD)",
        )
    }
}

/// What each of these mappings reads and the source's database does not hold.
pub async fn lacks(settings: &Settings, mappings: &[&Mapping]) -> Result<Vec<Vec<Lack>>, ConnectorError> {
    let tables = mappings.iter().flat_map(|mapping| &mapping.tables);
    let names: Vec<String> = tables.map(|table| table.id.to_string()).collect();
    let described = connector_postgres::described(settings, &names).await?;
    Ok(mappings.iter().map(|mapping| compare(mapping, &described)).collect())
}

/// What the mapping reads and the database does not hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Lack {
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
}

impl fmt::Display for Lack {
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
        };
        meant.as_ref().map_or(Ok(()), |meant| write!(f, ": is `{meant}` meant?"))
    }
}

fn compare(mapping: &Mapping, database: &[Described]) -> Vec<Lack> {
    mapping.tables.iter().flat_map(|table| lacks_of(table, database)).collect()
}

fn lacks_of(table: &Table, database: &[Described]) -> Vec<Lack> {
    let id = &table.id;
    match database.iter().find(|described| described.table == *id) {
        None => {
            let tables = database.iter().filter(|described| described.is_table);
            let names: Vec<String> = tables.map(|described| described.table.to_string()).collect();
            let meant = meant(&id.to_string(), names.iter().map(String::as_str));
            vec![Lack::Table { table: id.clone(), meant }]
        }
        Some(described) if !described.is_table => vec![Lack::View(id.clone())],
        Some(Described { columns, .. }) => {
            let unknown = table.columns.iter().filter(|column| !columns.iter().any(|known| **known == ***column));
            let lack = |column: &std::sync::Arc<str>| Lack::Column {
                table: id.clone(),
                column: column.to_string(),
                meant: meant(column, columns.iter().map(String::as_str)),
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

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPING: &str = "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\n[[record]]\nkind = \"encounter\"\nname = \"r\"\n\
        table = \"s.visit\"\nid = \"visit_id\"\npatient = \"p.person_id\"\n[record.join.p]\ntable = \"s.person\"\n\
        on = { person_id = \"person\" }\n";

    fn described(table: &str, is_table: bool, columns: &[&str]) -> Described {
        let table = TableId { schema: "s".into(), name: table.into() };
        Described { table, is_table, columns: columns.iter().map(|column| (*column).to_owned()).collect() }
    }

    #[track_caller]
    fn check(database: &[Described], want: &[&str]) {
        let mapping = mapping::parse("m.toml", MAPPING).expect("a mapping");
        let told: Vec<String> = compare(&mapping, database).iter().map(ToString::to_string).collect();
        assert_eq!(told, want);
    }

    #[test]
    fn what_is_not_there_is_told_with_what_may_be_meant() {
        let person = || described("person", true, &["person_id", "name"]);
        check(&[described("visit", true, &["visit_id", "person", "at"]), person()], &[]);
        check(
            &[described("visits", true, &[]), person()],
            &["the database has no table `s.visit`: is `s.visits` meant?"],
        );
        check(&[described("ward", true, &[]), person()], &["the database has no table `s.visit`"]);
        check(
            &[described("visit", false, &["visit_id", "person"]), person()],
            &["`s.visit` is a view, and only tables can be captured"],
        );
        check(
            &[described("visit", true, &["Visit_ID", "x"]), described("person", true, &["person_ids", "pid"])],
            &[
                "the table `s.visit` has no column `visit_id`: is `Visit_ID` meant?",
                "the table `s.visit` has no column `person`",
                "the table `s.person` has no column `person_id`: is `person_ids` meant?",
            ],
        );
    }
}
