//! What the record says of patients' consent: every coded statement that its source has not taken back.

use super::{PERSONS_MAX, micros};
use crate::GatewayError;
use access::consent::{Codes, SNOMED, Says, Statement};
use deadpool_postgres::GenericClient;
use event::Precision;
use std::collections::BTreeMap;
use tokio_postgres::Row;

/// Where codes stand. Whatever kind a source makes of a statement, it counts.
const TABLES: [&str; 3] = ["observation", "condition", "entry"];
/// Statements that are read at once; of more, the newest count, and objections before them.
const STATEMENTS_MAX: usize = PERSONS_MAX * 100;

/// Of each source patient.
pub type Statements = BTreeMap<(String, String), Vec<Statement>>;

pub async fn read(
    client: &impl GenericClient,
    codes: &Codes,
    sources: &[&str],
    patients: &[&str],
) -> Result<Statements, GatewayError> {
    let spellings: Vec<String> = codes.spellings().into_iter().map(|(_, code)| code).collect();
    if spellings.is_empty() || sources.is_empty() {
        return Ok(Statements::new());
    }
    let of_table = TABLES.map(|table| {
        format!(
            "select t.source, t.patient, t.code_system, t.code, t.snomed, {}, t.effective_precision, t.effective_at
             from record.{table} t join s using (source, patient)
             where not t.retracted and (t.code = any($3) or left(t.code, 5) = any($3) or t.snomed = any($3))",
            micros("t.effective_at")
        )
    });
    let sql = format!(
        "with s as (select distinct * from unnest($1::text[], $2::text[]) as s(source, patient)) {}
         order by effective_at desc nulls first limit {STATEMENTS_MAX}",
        of_table.join(" union all ")
    );
    let rows = client.query(&sql, &[&sources, &patients, &spellings]).await?;
    let mut statements = Statements::new();
    for row in &rows {
        if let Some(statement) = statement(codes, row) {
            statements.entry((row.get(0), row.get(1))).or_default().push(statement);
        }
    }
    Ok(statements)
}

fn statement(codes: &Codes, row: &Row) -> Option<Statement> {
    let (system, code): (Option<&str>, Option<&str>) = (row.get(2), row.get(3));
    let written = code.and_then(|code| codes.says(system?, code));
    let says: Says = written.or_else(|| codes.says(SNOMED, row.get::<_, Option<&str>>(4)?))?;
    let precision = row.get::<_, Option<&str>>(6).and_then(Precision::parse);
    Some(Statement::new(says, row.get(5), precision))
}

/// Every source patient that is linked to the same person as one of these, and which of these that is.
pub async fn linked(
    client: &impl GenericClient,
    sources: &[&str],
    patients: &[&str],
) -> Result<Vec<[(String, String); 2]>, GatewayError> {
    let sql = "select k.source, k.patient, m.source, m.patient
        from (select distinct * from unnest($1::text[], $2::text[]) as k(source, patient)) k
        join record.link l on l.source = k.source and l.patient = k.patient
        join record.link m on m.person = l.person and m.status <> 'held' and l.status <> 'held'";
    let rows = client.query(sql, &[&sources, &patients]).await?;
    Ok(rows.iter().map(|row| [(row.get(0), row.get(1)), (row.get(2), row.get(3))]).collect())
}
