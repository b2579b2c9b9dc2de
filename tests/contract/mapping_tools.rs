//! The tools for who writes a mapping, on the region's own databases in a real PostgreSQL: a draft, how much of what people
//! wrote it finds, how mappings fit, what they leave out, and how one record came to be.

use anyhow::{Context, ensure};
use mapping::{Field, Mapping, Ref};
use region::{history, load};
use stack::{Lifetime, Postgres};
use std::path::{Path, PathBuf};
use workbench::uses;

const SEED: u64 = 7;
const PEOPLE: u64 = 300;

/// One cluster with both databases, a little history in each, and statistics.
struct Databases {
    cluster: Postgres,
    folder: PathBuf,
}

impl Drop for Databases {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Databases {
    async fn start() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("causeway-mapping-tools-{}", std::process::id()));
        let cluster = Postgres::start("mapping-tools", &folder, Lifetime::WithParent).await?;
        for name in ["emis", "stmarys"] {
            cluster.create_database(name, stack::SUPERUSER).await?;
        }
        let (mut gp, mut hospital) = (cluster.connect("emis").await?, cluster.connect("stmarys").await?);
        load::prepare(&mut gp, &mut hospital).await?;
        let today: jiff::Timestamp = "2026-11-26T09:00:00Z".parse()?;
        let people = history::generate(SEED, PEOPLE, today);
        load::histories(&mut gp, &mut hospital, people, PEOPLE, |_| {}).await?;
        for client in [&gp, &hospital] {
            client.batch_execute("analyze").await?;
        }
        Ok(Self { cluster, folder })
    }

    /// What a verb prints. `Err`: what it prints where it fails.
    async fn verb(&self, words: &[&str], database: &str) -> anyhow::Result<Result<String, String>> {
        let url = self.cluster.url(stack::SUPERUSER, database);
        let secret = self.cluster.password_file(stack::SUPERUSER);
        let option = if words[1] == "new" { "--from-database" } else { "--database" };
        let mut command = tokio::process::Command::new(stack::causeway::binary()?);
        command.args(words).args([option, &url, "--password-file"]).arg(secret);
        let output = command.output().await.context("causeway does not start")?;
        let told = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        Ok(if output.status.success() { Ok(told) } else { Err(told) })
    }
}

/// How much of what people wrote a draft has.
#[derive(Debug, Default)]
struct Found {
    records: (usize, usize),
    patients: (usize, usize),
    fields: (usize, usize),
}

/// Of each record that people wrote: is there one of the same table and kind; does it reach the patient by the same tables; and
/// for each field, does the draft take one of the same columns.
fn compare(people: &Mapping, draft: &Mapping) -> (Found, Vec<String>) {
    let (mut found, mut missed) = (Found::default(), Vec::new());
    for (place, record) in people.records.iter().enumerate() {
        found.records.1 += 1;
        let table = &people.tables[record.table].id;
        let same = |other: &&mapping::Record| draft.tables[other.table].id == *table && other.kind == record.kind;
        let Some(other) = draft.records.iter().find(same) else {
            missed.push(format!("record {} of {table}", record.name));
            continue;
        };
        found.records.0 += 1;
        found.patients.1 += 1;
        found.patients.0 += usize::from(cell(people, record, record.patient) == cell(draft, other, other.patient));
        let drafted: Vec<uses::Use<'_>> =
            uses::fields(draft).into_iter().filter(|used| draft.records[used.record].name == other.name).collect();
        for used in uses::fields(people).into_iter().filter(|used| used.record == place && !used.field.cells.is_empty())
        {
            found.fields.1 += 1;
            let cells = |mapping: &Mapping, record: &mapping::Record, field: &Field| -> Vec<(String, String)> {
                field.cells.iter().map(|at| cell(mapping, record, *at)).collect()
            };
            let wanted = cells(people, record, used.field);
            // A draft's codes may stand in another order.
            let key = used.key.split('[').next().unwrap_or_default();
            let mut same = drafted.iter().filter(|it| it.key.split('[').next() == Some(key));
            let has = same.any(|it| cells(draft, other, it.field).iter().any(|cell| wanted.contains(cell)));
            found.fields.0 += usize::from(has);
            if !has {
                missed.push(format!("{}.{}", record.name, used.key));
            }
        }
    }
    (found, missed)
}

/// A cell by its table and column, whatever the join is called.
fn cell(mapping: &Mapping, record: &mapping::Record, at: Ref) -> (String, String) {
    let table = &mapping.tables[at.join.map_or(record.table, |join| record.joins[join].table)];
    (table.id.to_string(), table.columns[at.column].to_string())
}

fn shipped(name: &str) -> PathBuf {
    stack::repository().join("mappings").join(name)
}

async fn draft(databases: &Databases, name: &str, floor: (usize, usize)) -> anyhow::Result<()> {
    let file = databases.folder.join(format!("{name}.draft.toml"));
    let path = file.display().to_string();
    let told = databases.verb(&["mapping", "new", "--to", &path], name).await?;
    ensure!(told.is_ok(), "{told:?}");
    // It parses as it is, and fits the database that it is of.
    let checked = databases.verb(&["mapping", "check", &path], name).await?;
    ensure!(checked.as_ref().is_ok_and(|told| told.contains(": good")), "{checked:?}");
    let draft = mapping::load(&file)?;
    let people = mapping::load(&shipped(&format!("{name}.toml")))?;
    let (found, missed) = compare(&people, &draft);
    println!("{name}: {found:?}; missed: {}", missed.join(", "));
    ensure!(found.records.0 >= floor.0 && found.patients.0 == found.patients.1, "{found:?}: {missed:?}");
    ensure!(found.fields.0 * 100 >= found.fields.1 * floor.1, "{found:?}: {missed:?}");
    let again = databases.verb(&["mapping", "new", "--to", &path], name).await?;
    ensure!(again.is_err(), "a draft is not written over what is there: {again:?}");
    no_patient(databases, name, &file).await
}

/// No surname, given name, postcode or NHS number of anybody is in the draft.
async fn no_patient(databases: &Databases, name: &str, file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let names = match name {
        "emis" => "select unnest(array[surname, given_name, postcode, nhs_number, street]) from emis.patient",
        _ => "select unnest(array[family_name, given_names, postcode, nhs_nbr_ident]) from pas.patient",
    };
    let client = databases.cluster.connect(name).await?;
    let values: Vec<Option<String>> = client.query(names, &[]).await?.iter().map(|row| row.get(0)).collect();
    ensure!(values.len() > 100, "there are patients");
    let mut words =
        text.split(|letter: char| letter.is_whitespace() || "\",;()[]{}=".contains(letter)).collect::<Vec<_>>();
    words.sort_unstable();
    let shown = values.iter().flatten().filter(|value| value.len() > 2 && words.binary_search(&value.as_str()).is_ok());
    let shown: Vec<&String> = shown.collect();
    ensure!(shown.is_empty(), "{} values of patients are in the draft of {name}", shown.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_database_is_drafted_checked_covered_and_explained() -> anyhow::Result<()> {
    let databases = Databases::start().await?;
    draft(&databases, "emis", (7, 55)).await?;
    draft(&databases, "stmarys", (5, 45)).await?;
    // What people wrote fits.
    let file = shipped("stmarys.toml").display().to_string();
    let fits = databases.verb(&["mapping", "check", &file], "stmarys").await?;
    ensure!(fits.as_ref().is_ok_and(|told| told.contains(": good")), "{fits:?}");
    // A number column taken for a time, and a join that can never meet.
    let wrong = databases.folder.join("wrong.toml");
    let text = std::fs::read_to_string(&file)?
        .replace("effective_at = \"start_at\"", "effective_at = \"person_id\"")
        .replace("on = { person_id = \"order.person_id\" }", "on = { birth_date = \"order.person_id\" }");
    std::fs::write(&wrong, text)?;
    let told = databases.verb(&["mapping", "check", &wrong.display().to_string()], "stmarys").await?;
    let told = told.err().context("types differ")?;
    for part in [
        "record `encounter`: effective_at: `pas.encounter.person_id` is of type numeric(18,0), and a number is read as a time",
        "record `result`: join.person.on: `pas.patient.birth_date` is of type date and `lims.order.person_id` of \
         numeric(18,0): their values never meet",
    ] {
        ensure!(told.contains(part), "{told}");
    }
    // A result, from its row through five joins to its event.
    let client = databases.cluster.connect("stmarys").await?;
    let plain = "select min(line_id) from lims.result where test_code = 'K' and is_active and unit_text = 'mmol/L'
        and value ~ '^[0-9.]+$'";
    let line: Option<i64> = client.query_one(plain, &[]).await?.get(0);
    let line = line.context("there are potassium results")?;
    let record = format!("result/{line}");
    let told = databases.verb(&["mapping", "explain", &file, &record], "stmarys").await?;
    let told = told.map_err(|told| anyhow::anyhow!(told))?;
    for part in [
        "analysis: lims.analysis where analysis_id = analysis_id (",
        "person: pas.patient where person_id = order.person_id (",
        "value.text: ",
        "recorded result/",
        "value.canonical.unit = \"mmol/L\"",
    ] {
        ensure!(told.contains(part), "no `{part}` in\n{told}");
    }
    let none = databases.verb(&["mapping", "explain", &file, "result/-1"], "stmarys").await?;
    ensure!(none.as_ref().is_ok_and(|told| told.contains("no such row")), "{none:?}");
    let told = databases.verb(&["mapping", "coverage", &file, "--rows", "500"], "stmarys").await?;
    let told = told.map_err(|told| anyhow::anyhow!(told))?;
    println!("{told}");
    ensure!(told.contains("table  pas.alias: about") && told.contains("result: 500 rows looked at"), "{told}");
    Ok(())
}
