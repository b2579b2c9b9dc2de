//! What readers said is wrong with alerts, for those who look after the data: outside of the gateway, by the command line.

use crate::{GatewayError, access::Released, database, operator::Look};
use deadpool_postgres::Pool;
use tokio_postgres::Row;

/// One thing that somebody said. What names a patient is apart: [`Note`].
#[derive(Debug)]
pub struct Item {
    pub id: i64,
    pub at: String,
    pub kind: String,
    pub rule: String,
    pub source: String,
    pub alert: String,
    /// Where the event stands in the log.
    pub event_id: String,
    pub actor: String,
    pub answered_at: Option<String>,
    pub answered_by: Option<String>,
}

/// What of it is patient data.
pub struct Note {
    pub patient: String,
    pub note: Option<String>,
}

const COLUMNS: &str = "f.id, to_char(f.at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), f.kind, a.rule, a.source, a.id::text,
    f.event_id, f.actor, to_char(f.answered_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), f.answered_by, a.patient, f.note
    from alert.feedback f join alert.alert a on a.id = f.alert";

fn item(row: &Row) -> Item {
    Item {
        id: row.get(0),
        at: row.get(1),
        kind: row.get(2),
        rule: row.get(3),
        source: row.get(4),
        alert: row.get(5),
        event_id: row.get(6),
        actor: row.get(7),
        answered_at: row.get(8),
        answered_by: row.get(9),
    }
}

/// What waits, the oldest first; `all`: what was answered, too.
pub async fn list(pool: &Pool, all: bool, limit: i64) -> Result<Vec<Item>, GatewayError> {
    let sql = format!("select {COLUMNS} where $1 or f.answered_at is null order by f.id limit $2");
    Ok(pool.get().await?.query(&sql, &[&all, &limit]).await?.iter().map(item).collect())
}

const AUDIT: &str = "with entry as (
    insert into access.audit (request_id, actor, role, action, decision, why, reason, source, patient)
    values ('feedback@' || $1::bigint, $2, 'operator', $3, $4, $5, $6, $7, $8) returning id)
    insert into access.outbox (audit) select id from entry";

/// One of them with its note, which the audit releases.
pub async fn show(
    pool: &Pool,
    id: i64,
    actor: &str,
    reason: &str,
) -> Result<Option<(Item, Released<Note>)>, GatewayError> {
    database::migrate(pool).await?;
    let mut client = pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let Some(row) = transaction.query_opt(&format!("select {COLUMNS} where f.id = $1"), &[&id]).await? else {
        return Ok(None);
    };
    let found = item(&row);
    let patient: String = row.get(10);
    let look = Look {
        request: format!("feedback@{id}"),
        actor,
        action: "view-feedback",
        reason,
        source: &found.source,
        patient: Some(&patient),
    };
    let recorded = look.decide(&transaction).await?;
    transaction.commit().await?;
    let note = recorded.release(Note { patient, note: row.get(11) });
    Ok(note.ok().map(|note| (found, note)))
}

/// Whether one waited for it.
pub async fn answer(pool: &Pool, id: i64, actor: &str, text: &str) -> Result<bool, GatewayError> {
    database::migrate(pool).await?;
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    let sql = "with had as (
            update alert.feedback set answer = $2, answered_by = $3, answered_at = clock_timestamp()
            where id = $1 and answered_at is null returning alert)
        select a.source, a.patient from had join alert.alert a on a.id = had.alert";
    let Some(row) = transaction.query_opt(sql, &[&id, &text, &actor]).await? else { return Ok(false) };
    let (source, patient): (String, String) = (row.get(0), row.get(1));
    let why = "asked on the command line";
    transaction
        .execute(AUDIT, &[&id, &actor, &"answer-feedback", &"allow", &why, &None::<&str>, &source, &patient])
        .await?;
    transaction.commit().await?;
    Ok(true)
}
