//! All rows of one kind of a person, for whoever searches among them: only those that may be shown.
//!
//! # Why
//! A search is answered from what may be shown and from nothing else, so rows are read under the decision first and looked
//! at afterwards. What a caller already knows, ids or codes, narrows what is read; it never widens it.

use super::{
    Person,
    clinical::{self, Allergy, CODED, Condition, Medication, NEWEST, NEWEST_OTHER, Observation, Provenance},
    entries::Entry,
    micros, released,
};
use crate::{GatewayError, access::Decision};
use deadpool_postgres::GenericClient;
use event::{Kind, Micros};
use tokio_postgres::{Row, types::ToSql};

/// Rows of one kind of one person; of more, the newest are read, and it is said.
pub const ROWS_MAX: usize = 20_000;
/// Characters of the digest in a record's id: with a uuid and a dot within FHIR's 64.
pub const DIGEST_CHARS: usize = 26;

/// What is asked for, as far as the database can tell. The default asks for everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Narrow<'a> {
    /// Digests of records' keys: see [`digest_sql`].
    pub digests: Option<&'a [String]>,
    /// Codes of any system.
    pub codes: Option<&'a [String]>,
}

/// Rows, and whether there are older ones.
pub struct Rows<T> {
    pub rows: Vec<T>,
    pub cut: bool,
}

/// A consultation, stay, attendance or referral.
#[derive(Clone, Default)]
pub struct Encounter {
    pub from: Provenance,
    pub class: String,
    pub text: Option<String>,
    pub started_at: Option<Micros>,
    pub ended_at: Option<Micros>,
    pub referral: bool,
}

/// What the id of the record `t` ends with: the same as [`crate::fhir::resources::record_id`] makes of its key.
fn digest_sql() -> String {
    let part = |column: &str| format!("convert_to(t.{column}, 'UTF8') || '\\x00'::bytea");
    let parts = ["source", "patient", "record"].map(part).join(" || ");
    format!("left(encode(sha256({parts}), 'hex'), {DIGEST_CHARS})")
}

/// Any coding of the record `t` has one of the codes in `$wanted`.
fn coded_sql(wanted: usize) -> String {
    format!(
        "(t.snomed = any(${wanted}) or t.loinc = any(${wanted}) or t.code = any(${wanted}) or exists (
            select from jsonb_array_elements(case jsonb_typeof(t.more -> 'codings') when 'array' then t.more -> 'codings'
                else '[]' end) c where c ->> 'code' = any(${wanted})))"
    )
}

/// A table of the record, as this module reads it.
struct Table {
    name: &'static str,
    kind: Kind,
    columns: String,
    order: &'static str,
    has_codes: bool,
}

async fn read<T>(
    client: &impl GenericClient,
    (person, decision): (&Person, &Decision),
    table: &Table,
    narrow: Narrow<'_>,
    of: impl Fn(&Row) -> T,
) -> Result<Rows<T>, GatewayError> {
    let (sources, patients) = person.names();
    let (organisations, own) = (clinical::organisations(decision, table.kind), clinical::own(decision));
    if organisations.is_empty() {
        return Ok(Rows { rows: Vec::new(), cut: false });
    }
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&sources, &patients, &organisations, &own];
    let mut conditions = vec![released(3, 4)];
    if let Some(digests) = &narrow.digests {
        parameters.push(digests);
        conditions.push(format!("{} = any(${})", digest_sql(), parameters.len()));
    }
    if let (Some(codes), true) = (&narrow.codes, table.has_codes) {
        parameters.push(codes);
        conditions.push(coded_sql(parameters.len()));
    }
    if table.kind.is_entry() {
        conditions.push(format!("t.kind = '{}'", table.kind.as_str()));
    }
    let sql = format!(
        "select {} from record.{} t join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
         where not t.retracted and {} order by {} limit {}",
        table.columns,
        table.name,
        conditions.join(" and "),
        table.order,
        ROWS_MAX + 1
    );
    let rows = client.query(&sql, &parameters).await?;
    Ok(Rows { cut: rows.len() > ROWS_MAX, rows: rows.iter().take(ROWS_MAX).map(of).collect() })
}

fn table(name: &'static str, kind: Kind, own: &str) -> Table {
    let columns = format!("{}, {own}", clinical::common());
    Table { name, kind, columns, order: NEWEST_OTHER, has_codes: true }
}

pub async fn observations(
    client: &impl GenericClient,
    of: (&Person, &Decision),
    narrow: Narrow<'_>,
) -> Result<Rows<Observation>, GatewayError> {
    let columns = clinical::observation_columns();
    let table = Table { name: "observation", kind: Kind::Observation, columns, order: NEWEST, has_codes: true };
    read(client, of, &table, narrow, clinical::observation).await
}

pub async fn medications(
    client: &impl GenericClient,
    of: (&Person, &Decision),
    narrow: Narrow<'_>,
) -> Result<Rows<Medication>, GatewayError> {
    let table = table("medication", Kind::Medication, &clinical::medication_columns());
    read(client, of, &table, narrow, clinical::medication_of).await
}

pub async fn allergies(
    client: &impl GenericClient,
    of: (&Person, &Decision),
    narrow: Narrow<'_>,
) -> Result<Rows<Allergy>, GatewayError> {
    let table = table("allergy", Kind::Allergy, clinical::ALLERGY_COLUMNS);
    read(client, of, &table, narrow, clinical::allergy_of).await
}

pub async fn conditions(
    client: &impl GenericClient,
    of: (&Person, &Decision),
    narrow: Narrow<'_>,
) -> Result<Rows<Condition>, GatewayError> {
    let table = table("condition", Kind::Condition, &clinical::condition_columns());
    read(client, of, &table, narrow, clinical::condition_of).await
}

/// Of the kinds that need nothing but their table.
pub async fn entries(
    client: &impl GenericClient,
    of: (&Person, &Decision),
    kind: Kind,
    narrow: Narrow<'_>,
) -> Result<Rows<Entry>, GatewayError> {
    let entry = |row: &Row| Entry { kind, from: clinical::from(row), code: clinical::coded(row) };
    read(client, of, &table("entry", kind, "t.kind"), narrow, entry).await
}

pub async fn encounters(
    client: &impl GenericClient,
    of: (&Person, &Decision),
    narrow: Narrow<'_>,
) -> Result<Rows<Encounter>, GatewayError> {
    let own = format!(
        "coalesce(t.class, ''), t.text, {}, {}, coalesce(t.referral, false)",
        micros("t.started_at"),
        micros("t.ended_at")
    );
    let columns = format!("{}, {own}", clinical::common_uncoded());
    let order = "coalesce(t.started_at, t.effective_at) desc nulls last, t.committed_at desc, t.source, t.record";
    let table = Table { name: "encounter", kind: Kind::Encounter, columns, order, has_codes: false };
    let encounter = |row: &Row| Encounter {
        from: clinical::from(row),
        class: row.get(CODED),
        text: row.get(CODED + 1),
        started_at: row.get(CODED + 2),
        ended_at: row.get(CODED + 3),
        referral: row.get(CODED + 4),
    };
    read(client, of, &table, narrow, encounter).await
}
