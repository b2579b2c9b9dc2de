//! What nobody acts on goes to the next team, at the site's own times.
//!
//! # Why
//! Whether a step is due is worked out from the alert's own row each time ([`alert::escalation`]), by the clock of the
//! database, which also dated the row; the step, its team and the news of it are written together. So nothing is kept in
//! memory that a crash could lose, and a step that was taken is found taken.

use crate::{Alerts, AlertsError};
use alert::{
    escalation::{self, Waiting},
    routing,
};
use deadpool_postgres::{Pool, Transaction};
use std::time::Duration;
use tokio_postgres::Error;

/// How often to look.
pub const EVERY: Duration = Duration::from_secs(5);
/// Waiting alerts that are looked at in one transaction.
const PAGE_ROWS: i64 = 2_000;

const WAITING: &str = "select a.id::text, a.source, coalesce(o.organisation, ''), \
        floor(extract(epoch from clock_timestamp() - a.raised_at))::int8, \
        exists (select from alert.delivery d where d.alert = a.id) \
    from alert.alert a left join record.observation o using (source, patient, record) \
    where a.state in ('new', 'seen') and a.severity = 'critical' and a.urgency in ('paged', 'late') and a.id > $1::text::uuid \
    order by a.id limit $2";

/// Whoever has acted on it meanwhile is asked last, with the alert's row held. A team that only said that it knew it
/// already is asked again.
const ESCALATE: &str = "with due as ( \
        select a.id as alert, r.rung, r.team from unnest($1::text[], $2::text[], $3::text[]) as r (alert, rung, team) \
        join alert.alert a on a.id = r.alert::uuid where a.state in ('new', 'seen') for update of a), \
    taken as ( \
        insert into alert.step (alert, what, rung, to_team) select alert, 'escalated', rung, team from due \
        on conflict (alert, rung, to_team) where what = 'escalated' do nothing returning alert, to_team), \
    told as ( \
        insert into alert.recipient as r (alert, team, why) \
        select distinct alert, to_team, 'nobody else has acted on it' from taken \
        on conflict (alert, team) do update set answered_at = null, answered_by = null, outcome = null \
            where r.answered_at is not null), \
    news as (insert into alert.outbox (alert, change) select distinct alert, 'escalated' from taken) \
    select count(*) from taken";

/// Takes every step that is due; tells how many were.
pub async fn all(pool: &Pool, hook: &Alerts) -> Result<i64, AlertsError> {
    if hook.teams.escalations().next().is_none() {
        return Ok(0);
    }
    let (mut after, mut taken) = (uuid::Uuid::nil().to_string(), 0);
    loop {
        let mut client = pool.get().await.map_err(sink_views::ViewsError::from)?;
        let transaction = client.transaction().await?;
        let (last, count) = page(&transaction, hook, &after).await?;
        transaction.commit().await?;
        taken += count;
        let Some(last) = last else { break };
        after = last;
    }
    if taken > 0 {
        metrics::counter!("causeway_alerts_escalated_total").increment(taken.unsigned_abs());
        tracing::warn!(taken, "alerts that nobody has acted on went to the next team");
    }
    Ok(taken)
}

/// The last that was looked at, if there may be more, and how many steps were taken.
async fn page(transaction: &Transaction<'_>, hook: &Alerts, after: &str) -> Result<(Option<String>, i64), Error> {
    let rows = transaction.query(WAITING, &[&after, &PAGE_ROWS]).await?;
    let (mut alerts, mut rungs, mut teams) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let (source, holder): (&str, &str) = (row.get(1), row.get(2));
        let source_organisation = hook.organisations.of(source);
        let (answering, _) = routing::answers(holder, source_organisation.as_deref(), &hook.teams);
        let Some(organisation) = answering else { continue };
        let waiting = Waiting { organisation, seconds: row.get(3), delivered: row.get(4) };
        for step in escalation::due(waiting, &hook.teams) {
            for team in &step.to {
                alerts.push(row.get::<_, String>(0));
                rungs.push(step.name());
                teams.push(team.clone());
            }
        }
    }
    let taken =
        if alerts.is_empty() { 0 } else { transaction.query_one(ESCALATE, &[&alerts, &rungs, &teams]).await?.get(0) };
    let full = i64::try_from(rows.len()).is_ok_and(|rows| rows == PAGE_ROWS);
    Ok((rows.last().filter(|_| full).map(|row| row.get(0)), taken))
}
