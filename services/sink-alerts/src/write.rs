//! Raises and withdraws, set by set. Each change of an alert goes into the outbox with it.

use crate::{
    matter,
    reconcile::{Changes, Key, Raise, Reason},
};
use alert::{Demand, routing::Recipient};
use boot::database::DatabaseFault;
use deadpool_postgres::Transaction;
use event::Micros;
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio_postgres::Error;
use uuid::Uuid;

/// Teams of an alert, by its id as text.
pub type Routes = BTreeMap<String, BTreeMap<String, Recipient>>;

const WITHDRAW: &str = "with gone as ( \
        update alert.alert a set state = 'withdrawn', withdrawn_reason = w.reason, withdrawn_at = clock_timestamp() \
        from unnest($1::text[], $2::text[]) as w (id, reason) \
        where a.id = w.id::uuid and a.state <> 'withdrawn' returning a.id) \
    insert into alert.outbox (alert, change) select id, 'withdrawn' from gone";

const REWORD: &str = "update alert.alert a set headline = w.headline, detail = w.detail::jsonb \
    from unnest($1::text[], $2::text[], $3::text[]) as w (id, headline, detail) where a.id = w.id::uuid";

/// Withdraws before it raises: whoever reads in order never sees two versions stand.
pub async fn changes(transaction: &Transaction<'_>, changes: &Changes<'_>, routes: &Routes) -> Result<(), Error> {
    if !changes.withdraw.is_empty() {
        let (ids, reasons): (Vec<String>, Vec<&str>) =
            changes.withdraw.iter().map(|(id, reason): &(Uuid, Reason)| (id.to_string(), reason.as_str())).unzip();
        let statement = transaction.prepare_cached(WITHDRAW).await?;
        let gone = transaction.execute(&statement, &[&ids, &reasons]).await?;
        metrics::counter!("causeway_alerts_withdrawn_total").increment(gone);
    }
    if !changes.reword.is_empty() {
        let ids: Vec<String> = changes.reword.iter().map(|(id, _)| id.to_string()).collect();
        let headlines: Vec<&str> = changes.reword.iter().map(|(_, demand)| demand.headline.as_str()).collect();
        let details: Vec<String> = changes.reword.iter().map(|(_, demand)| jsonb(&demand.detail)).collect();
        let statement = transaction.prepare_cached(REWORD).await?;
        transaction.execute(&statement, &[&ids, &headlines, &details]).await?;
    }
    raise(transaction, &changes.raise, routes).await
}

const RAISE: &str = "with raised as ( \
        insert into alert.alert (id, fingerprint, rule, severity, source, patient, record, version, event_id, analyte, \
            headline, detail, urgency, state, authorised_at, committed_at, matter) \
        select r.id::uuid, r.fingerprint, r.rule, r.severity, r.source, r.patient, r.record, r.version, r.event_id, \
            r.analyte, r.headline, r.detail::jsonb, r.urgency, 'new', r.authorised_at, r.committed_at, r.matter::uuid \
        from unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::timestamptz[], $16::text[]) \
            as r (id, fingerprint, rule, severity, source, patient, record, version, event_id, analyte, headline, \
                detail, urgency, authorised_at, committed_at, matter) \
        on conflict (fingerprint) do nothing returning id), \
    told as (insert into alert.outbox (alert, change) select id, 'raised' from raised) \
    select id::text from raised";

async fn raise(transaction: &Transaction<'_>, raises: &[Raise<'_>], routes: &Routes) -> Result<(), Error> {
    if raises.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = raises.iter().map(|raise| raise.id.to_string()).collect();
    let fingerprints: Vec<&[u8]> = raises.iter().map(|raise| raise.fingerprint.as_slice()).collect();
    let text = |pick: for<'a> fn(&'a Raise<'_>) -> &'a str| -> Vec<&str> { raises.iter().map(pick).collect() };
    let details: Vec<String> = raises.iter().map(|raise| jsonb(&raise.demand.detail)).collect();
    let analytes: Vec<Option<&str>> = raises.iter().map(|raise| raise.finding.analyte.as_deref()).collect();
    let authorised: Vec<_> = raises.iter().map(|raise| raise.finding.times.authorised_at.map(system_time)).collect();
    let committed: Vec<_> = raises.iter().map(|raise| system_time(raise.finding.times.committed_at)).collect();
    let matters: Vec<String> = raises.iter().map(|raise| matter::of(raise.finding).to_string()).collect();
    let statement = transaction.prepare_cached(RAISE).await?;
    let raised = transaction
        .query(
            &statement,
            &[
                &ids,
                &fingerprints,
                &text(|raise| raise.demand.rule.as_str()),
                &text(|raise| raise.demand.severity.as_str()),
                &text(|raise| &raise.finding.patient.source),
                &text(|raise| &raise.finding.patient.id),
                &text(|raise| &raise.finding.record),
                &text(|raise| &raise.finding.version),
                &text(|raise| &raise.finding.event_id),
                &analytes,
                &text(|raise| &raise.demand.headline),
                &details,
                &text(|raise| raise.urgency.as_str()),
                &authorised,
                &committed,
                &matters,
            ],
        )
        .await?;
    let raised: Vec<String> = raised.iter().map(|row| row.get(0)).collect();
    recipients(transaction, routes.iter().filter(|(id, _)| raised.contains(id))).await?;
    for raise in raises {
        let Demand { rule, severity, .. } = raise.demand;
        metrics::counter!("causeway_alerts_raised_total", "rule" => rule.as_str(), "severity" => severity.as_str(),
            "urgency" => raise.urgency.as_str())
        .increment(1);
    }
    Ok(())
}

const RECIPIENTS: &str = "insert into alert.recipient (alert, team, why, via_source, via_patient) \
    select r.alert::uuid, r.team, r.why, r.via_source, r.via_patient \
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as r (alert, team, why, via_source, via_patient) \
    on conflict do nothing returning alert::text";

/// Adds recipients that are not there yet; tells the alerts that got some.
async fn recipients<'a>(
    transaction: &Transaction<'_>,
    routes: impl Iterator<Item = (&'a String, &'a BTreeMap<String, Recipient>)>,
) -> Result<Vec<String>, Error> {
    let (mut alerts, mut teams, mut whys) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sources, mut patients) = (Vec::new(), Vec::new());
    for (alert, recipients) in routes {
        for (team, recipient) in recipients {
            alerts.push(alert.as_str());
            teams.push(team.as_str());
            whys.push(recipient.why);
            sources.push(recipient.via.as_ref().map(|via| via.source.as_str()));
            patients.push(recipient.via.as_ref().map(|via| via.id.as_str()));
        }
    }
    if alerts.is_empty() {
        return Ok(Vec::new());
    }
    let statement = transaction.prepare_cached(RECIPIENTS).await?;
    let rows = transaction.query(&statement, &[&alerts, &teams, &whys, &sources, &patients]).await?;
    let mut told: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    told.sort_unstable();
    told.dedup();
    Ok(told)
}

/// Further teams for alerts that stand.
pub async fn route(transaction: &Transaction<'_>, routes: &Routes) -> Result<(), Error> {
    let told = recipients(transaction, routes.iter()).await?;
    if !told.is_empty() {
        let sql =
            "insert into alert.outbox (alert, change) select id::uuid, 'routed' from unnest($1::text[]) as r (id)";
        let statement = transaction.prepare_cached(sql).await?;
        transaction.execute(&statement, &[&told]).await?;
    }
    Ok(())
}

/// A result that could not be judged. The reason is the fault's code, never a value.
pub async fn refuse(
    transaction: &Transaction<'_>,
    (source, patient, record): &Key,
    fault: &DatabaseFault,
) -> Result<(), Error> {
    let reason = fault.code().map_or("unknown", |code| code.code());
    let sql = "insert into alert.refused (source, patient, record, reason) values ($1, $2, $3, $4) \
        on conflict (source, patient, record) where record is not null \
        do update set reason = excluded.reason, refused_at = clock_timestamp()";
    transaction.execute(sql, &[source, patient, record, &reason]).await?;
    metrics::counter!("causeway_alerts_refused_total", "what" => "result").increment(1);
    tracing::error!(source, sqlstate = reason, "a result could not be judged for alerts; it stands in alert.refused");
    Ok(())
}

/// JSON for jsonb, which cannot hold a NUL.
fn jsonb(value: &serde_json::Value) -> String {
    value.to_string().replace("\\u0000", "\\ufffd")
}

fn system_time(at: Micros) -> SystemTime {
    let distance = Duration::from_micros(at.unsigned_abs());
    if at < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}
