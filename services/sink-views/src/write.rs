//! Writes a plan in one transaction. Every row is guarded by its own place, so writing a
//! plan twice, or an older one after a newer one, leaves what the newest alone would have left.

use crate::{
    ViewsError,
    hook::{Applied, Hook, Relinked},
    locks::{self, Persons},
    plan::{
        ObservationRow, Plan, Topic,
        columns::{COMMON, Cell, Column, Table, columns, commit_time},
        rows,
    },
    quarantine,
};
use deadpool_postgres::{Client, Transaction};
use event::{Micros, PatientEvent};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::LazyLock,
};
use tokio_postgres::types::ToSql;

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Records written.
    pub applied: usize,
    /// Records that the guards left as they were.
    pub ignored: usize,
    /// A rebuild is still replaying the past.
    pub rebuilding: bool,
    /// Sources of which events were ignored, and are of an earlier generation, or of an earlier epoch in it, than the
    /// record holds.
    pub outlived: BTreeSet<String>,
    /// By source: the earliest generation and epoch among the ignored.
    behind: BTreeMap<String, (i64, String)>,
}

/// Applies the plan, calls the hook, and commits. `rebuilding`: a rebuild may be under way.
pub async fn apply<H: Hook>(
    client: &mut Client,
    plan: &Plan,
    hook: &H,
    rebuilding: bool,
) -> Result<Outcome, ViewsError> {
    let transaction = client.transaction().await?;
    let persons = locks::persons(&transaction, plan).await?;
    let (mut applied, mut outcome) = records(&transaction, plan).await?;
    applied.relinked = links(&transaction, plan, persons).await?;
    quarantine::write(&transaction, plan).await?;
    outcome.outlived = outlived(&transaction, &outcome.behind).await?;
    freshness(&transaction, plan).await?;
    outcome.rebuilding = rebuilding && replaying(&transaction, plan, hook).await?;
    if !outcome.rebuilding && !applied.is_empty() {
        hook.applied(&transaction, &applied).await?;
    }
    transaction.commit().await?;
    Ok(outcome)
}

/// The statements, made once.
struct Statements {
    demographics: String,
    observation: String,
    /// For results with several versions in one batch.
    observation_broken: String,
    medication: String,
    allergy: String,
    condition: String,
    encounter: String,
    entry: String,
}

static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| Statements {
    demographics: rows::DEMOGRAPHICS.upsert(false),
    observation: rows::OBSERVATION.upsert(true),
    observation_broken: rows::OBSERVATION.upsert(false),
    medication: rows::MEDICATION.upsert(false),
    allergy: rows::ALLERGY.upsert(false),
    condition: rows::CONDITION.upsert(false),
    encounter: rows::ENCOUNTER.upsert(false),
    entry: rows::ENTRY.upsert(false),
});

async fn records<'a>(transaction: &Transaction<'_>, plan: &'a Plan) -> Result<(Applied<'a>, Outcome), ViewsError> {
    let sql = &*STATEMENTS;
    let (unbroken, broken): (Vec<&ObservationRow>, Vec<&ObservationRow>) =
        plan.observations.iter().partition(|row| row.unbroken);
    let mut count = Outcome::default();
    let mut written = Applied { committed_at: committed_at(plan), ..Applied::default() };
    for (sql, list) in [(&sql.observation, unbroken), (&sql.observation_broken, broken)] {
        let cells = list.iter().map(|row| rows::observation(row));
        let keys = upsert(transaction, &rows::OBSERVATION, sql, cells, &mut count).await?;
        written.observations.extend(list.into_iter().filter(|row| keys.has(&row.event)));
    }
    upsert(transaction, &rows::ENTRY, &sql.entry, plan.entries.iter().map(rows::cells), &mut count).await?;
    for (table, sql, list, told) in [
        (&rows::MEDICATION, &sql.medication, &plan.medications, &mut written.medicines),
        (&rows::ALLERGY, &sql.allergy, &plan.allergies, &mut written.allergies),
        (&rows::CONDITION, &sql.condition, &plan.conditions, &mut written.conditions),
    ] {
        let keys = upsert(transaction, table, sql, list.iter().map(rows::cells), &mut count).await?;
        told.extend(list.iter().filter(|event| keys.has(event)));
    }
    for (table, sql, list) in [
        (&rows::DEMOGRAPHICS, &sql.demographics, &plan.demographics),
        (&rows::ENCOUNTER, &sql.encounter, &plan.encounters),
    ] {
        let keys = upsert(transaction, table, sql, list.iter().map(rows::cells), &mut count).await?;
        written.placements.extend(list.iter().filter(|event| keys.has(event)));
    }
    Ok((written, count))
}

fn committed_at(plan: &Plan) -> Option<Micros> {
    plan.freshness.values().map(|(_, at)| *at).max()
}

/// The keys that a statement wrote.
enum Keys {
    All,
    Some(HashSet<(String, String, String)>),
}

impl Keys {
    fn has(&self, event: &PatientEvent) -> bool {
        match self {
            Self::All => true,
            Self::Some(keys) => {
                let key = (event.patient.source.clone(), event.patient.id.clone(), event.record.clone());
                keys.contains(&key)
            }
        }
    }
}

async fn upsert<'a>(
    transaction: &Transaction<'_>,
    table: &Table,
    sql: &str,
    rows: impl ExactSizeIterator<Item = Vec<Cell<'a>>>,
    count: &mut Outcome,
) -> Result<Keys, ViewsError> {
    let given = rows.len();
    if given == 0 {
        return Ok(Keys::All);
    }
    let columns = columns(table, rows);
    let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(parameter).collect();
    let statement = transaction.prepare_cached(sql).await?;
    let written = transaction.query(&statement, &parameters).await?;
    count.applied += written.len();
    count.ignored += given - written.len();
    if written.len() == given {
        return Ok(Keys::All);
    }
    let keys = written.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    ignored(&columns, &keys, &mut count.behind);
    Ok(Keys::Some(keys))
}

/// Of each source, from how far back the rows are that were not written.
fn ignored(
    columns: &[Column<'_>],
    written: &HashSet<(String, String, String)>,
    behind: &mut BTreeMap<String, (i64, String)>,
) {
    let text = |name: &str, row: usize| match columns.get(common(name)) {
        Some(Column::Text(values)) => values.get(row).and_then(Clone::clone).unwrap_or_default().into_owned(),
        _ => String::new(),
    };
    let Some(Column::Long(generations)) = columns.get(common("generation")) else { return };
    for (row, generation) in generations.iter().enumerate() {
        let key = (text("source", row), text("patient", row), text("record", row));
        if written.contains(&key) {
            continue;
        }
        let epoch = text("position", row).chars().take(EPOCH_DIGITS).collect();
        let place = (generation.unwrap_or_default(), epoch);
        let known = behind.entry(key.0).or_insert_with(|| place.clone());
        if place < *known {
            *known = place;
        }
    }
}

fn common(name: &str) -> usize {
    COMMON.iter().position(|(known, _)| *known == name).unwrap_or(usize::MAX)
}

/// Of a position's text.
const EPOCH_DIGITS: usize = 8;

fn parameter<'a>(column: &'a Column<'_>) -> &'a (dyn ToSql + Sync) {
    match column {
        Column::Text(values) => values,
        Column::Bool(values) => values,
        Column::Int(values) => values,
        Column::Long(values) => values,
        Column::Time(values) => values,
        Column::Bytes(values) => values,
    }
}

const LINKS: &str = "insert into record.link as t (source, patient, person, version, status, reason, decided_at) \
    select s.source, s.patient, s.person::uuid, s.version, s.status, s.reason, s.decided_at \
    from unnest($1::text[], $2::text[], $3::text[], $4::int4[], $5::text[], $6::text[], $7::timestamptz[]) \
        as s (source, patient, person, version, status, reason, decided_at) \
    on conflict (source, patient) do update set person = excluded.person, version = excluded.version, \
        status = excluded.status, reason = excluded.reason, decided_at = excluded.decided_at \
    where excluded.version > t.version returning t.source, t.patient";

async fn links<'a>(
    transaction: &Transaction<'_>,
    plan: &'a Plan,
    mut persons: Persons,
) -> Result<Vec<Relinked<'a>>, ViewsError> {
    let links = &plan.links;
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let sources: Vec<&str> = links.iter().map(|link| link.patient.source.as_str()).collect();
    let patients: Vec<&str> = links.iter().map(|link| link.patient.id.as_str()).collect();
    let linked: Vec<String> = links.iter().map(|link| link.person.to_string()).collect();
    let versions: Vec<i32> = links.iter().map(rows::link_version).collect();
    let statuses: Vec<&str> = links.iter().map(|link| link.status.as_str()).collect();
    let reasons: Vec<&str> = links.iter().map(|link| link.reason.as_str()).collect();
    let decided: Vec<_> = links.iter().map(|link| commit_time(link.decided_at)).collect();
    let statement = transaction.prepare_cached(LINKS).await?;
    let written = transaction
        .query(&statement, &[&sources, &patients, &linked, &versions, &statuses, &reasons, &decided])
        .await?;
    let mut written: HashSet<(String, String)> = written.iter().map(|row| (row.get(0), row.get(1))).collect();
    let relinked = links.iter().filter_map(|link| {
        let key = written.take(&(link.patient.source.clone(), link.patient.id.clone()))?;
        Some(Relinked { link, before: persons.remove(&key) })
    });
    Ok(relinked.collect())
}

const OUTLIVED: &str = "select f.source from record.freshness f \
    join unnest($1::text[], $2::int8[], $3::text[]) as s (source, generation, epoch) using (source) \
    where (f.generation, left(f.position, 8)) > (s.generation, s.epoch)";

/// A writer whose log or memory was lost could go on where it had been long ago: everything it tells would be ignored.
async fn outlived(
    transaction: &Transaction<'_>,
    behind: &BTreeMap<String, (i64, String)>,
) -> Result<BTreeSet<String>, ViewsError> {
    if behind.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sources: Vec<&String> = behind.keys().collect();
    let generations: Vec<i64> = behind.values().map(|(generation, _)| *generation).collect();
    let epochs: Vec<&String> = behind.values().map(|(_, epoch)| epoch).collect();
    let statement = transaction.prepare_cached(OUTLIVED).await?;
    let rows = transaction.query(&statement, &[&sources, &generations, &epochs]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

const FRESHNESS: &str = "insert into record.freshness as t (source, generation, position, committed_at, applied_at) \
    select s.source, s.generation, s.position, s.committed_at, clock_timestamp() \
    from unnest($1::text[], $2::int8[], $3::text[], $4::timestamptz[]) as s (source, generation, position, committed_at) \
    on conflict (source) do update set generation = excluded.generation, position = excluded.position, \
        committed_at = excluded.committed_at, applied_at = excluded.applied_at \
    where (excluded.generation, excluded.position) > (t.generation, t.position)";

async fn freshness(transaction: &Transaction<'_>, plan: &Plan) -> Result<(), ViewsError> {
    if plan.freshness.is_empty() {
        return Ok(());
    }
    let sources: Vec<&String> = plan.freshness.keys().collect();
    let generations: Vec<i64> = plan.freshness.values().map(|(place, _)| i64::from(place.generation)).collect();
    let positions: Vec<String> = plan.freshness.values().map(|(place, _)| place.position.to_string()).collect();
    let committed: Vec<_> = plan.freshness.values().map(|(_, at)| commit_time(*at)).collect();
    let statement = transaction.prepare_cached(FRESHNESS).await?;
    transaction.execute(&statement, &[&sources, &generations, &positions, &committed]).await?;
    Ok(())
}

/// Whether a rebuild still replays the past, after this batch. Whoever brings the last partition to
/// its mark has the hook look at everything.
async fn replaying<H: Hook>(transaction: &Transaction<'_>, plan: &Plan, hook: &H) -> Result<bool, ViewsError> {
    // One at a time: otherwise two writers could each take the other for the last.
    transaction.batch_execute("lock table record.rebuild in share row exclusive mode").await?;
    let topics: Vec<&str> = plan.next.keys().map(|(topic, _): &(Topic, i32)| topic.name()).collect();
    let partitions: Vec<i32> = plan.next.keys().map(|(_, partition)| *partition).collect();
    let next: Vec<i64> = plan.next.values().copied().collect();
    let reached = transaction
        .execute(
            "delete from record.rebuild r using unnest($1::text[], $2::int4[], $3::int8[]) as s (topic, partition, next) \
             where r.topic = s.topic and r.partition = s.partition and r.upto <= s.next",
            &[&topics, &partitions, &next],
        )
        .await?;
    let left: i64 = transaction.query_one("select count(*) from record.rebuild", &[]).await?.get(0);
    if left == 0 && reached > 0 {
        hook.rebuilt(transaction).await?;
    }
    Ok(left > 0)
}
