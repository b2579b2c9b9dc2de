//! The data engineer's page: how far each source has come and what is in quarantine. No patient, no values.

use super::{Frame, format, render};
use crate::{
    access::{AboutNobody, Action, Released},
    app::{Problem, Shared, Signed, now},
    audit, database,
    record::micros,
};
use askama::Template;
use axum::{extract::State, response::Response};

const GROUPS_MAX: i64 = 200;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    frame: Frame,
    sources: Vec<Source>,
    quarantine: Vec<Group>,
    audit_waiting: i64,
    live: String,
}

impl AboutNobody for StatusPage {}

struct Source {
    name: String,
    position: String,
    committed: String,
    applied: String,
    ago: String,
    /// Everything that it committed by then is in the record.
    upto: String,
    behind: bool,
}

struct Group {
    source: String,
    stage: String,
    reason: String,
    table: String,
    count: i64,
}

pub async fn status(State(app): State<Shared>, signed: Signed) -> Result<Response, Problem> {
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let decision = app.decide_on(&signed.actor, Action::ViewStatus, None);
    let decision =
        audit::record(&transaction, &signed.actor, Action::ViewStatus.as_str(), decision, Vec::new()).await?;
    if !decision.allow {
        transaction.commit().await?;
        return Err(Problem::forbidden(decision.why.as_str()));
    }
    let sources_sql = format!(
        "select source, position, {}, {} from record.freshness order by source",
        micros("committed_at"),
        micros("applied_at")
    );
    let groups_sql = format!(
        "select source, stage, reason, coalesce(source_table, ''), count(*) from record.quarantine where not closed
         group by 1, 2, 3, 4 order by 5 desc, 1, 2, 3, 4 limit {GROUPS_MAX}"
    );
    let sources = transaction.query(&sources_sql, &[]).await?;
    let groups = transaction.query(&groups_sql, &[]).await?;
    let audit_waiting = transaction.query_one("select count(*) from access.outbox", &[]).await?.get(0);
    transaction.commit().await?;
    let now = now();
    render(Released::about_nobody(StatusPage {
        frame: Frame::new(&app, &signed.actor, "Status", "status"),
        sources: sources
            .iter()
            .map(|row| Source {
                name: row.get(0),
                position: row.get(1),
                committed: format::when(row.get(2)),
                applied: format::when(row.get(3)),
                ago: format::ago(row.get(3), now),
                upto: app
                    .sources
                    .of(row.get(0))
                    .and_then(|standing| standing.at)
                    .map_or_else(|| "nobody has said".into(), format::when),
                behind: app.is_behind(row.get(0)),
            })
            .collect(),
        quarantine: groups
            .iter()
            .map(|row| Group {
                source: row.get(0),
                stage: row.get(1),
                reason: row.get(2),
                table: row.get(3),
                count: row.get(4),
            })
            .collect(),
        audit_waiting,
        live: app.live.head().map_or_else(|| "waiting for Kafka".into(), |head| format!("at offset {head}")),
    }))
}
