//! Reads what the record holds around alerts, whoever asks: what of it a reader may be told is decided afterwards.

use super::{
    Alert,
    reader::{Facts, depends},
};
use crate::{
    GatewayError,
    record::{
        clinical::{observation, observation_columns},
        judged, micros,
    },
};
use alert::{Finding, Known, Limits};
use deadpool_postgres::GenericClient;
use std::collections::BTreeSet;
use tokio_postgres::Row;

/// Results of one analyte, organisation and degree of secrecy that are read of one person. Counted apart, so that rows
/// which a reader does not see push out none that they do.
const HISTORY_MAX: i64 = 20;
/// A result as the rules want it: `t` is the result, `p` its patient. What an observation does not have goes by name.
fn columns() -> String {
    format!(
        "{}, t.snapshot as by_snapshot, t.reread as by_rereading, t.version as result_version,
         t.confidential or coalesce(p.confidential or p.retracted, false) as kept, p.birth_date - date '1970-01-01' as born",
        observation_columns()
    )
}

fn finding(row: &Row) -> Finding {
    let mut finding = judged::finding(&observation(row), row.get("born"));
    finding.times.snapshot = row.get("by_snapshot");
    finding.times.reread = row.get("by_rereading");
    finding.version = row.get("result_version");
    finding.confidential = row.get("kept");
    finding
}

pub async fn read(client: &impl GenericClient, alerts: &[&Alert], limits: &Limits) -> Result<Facts, GatewayError> {
    let alerts: Vec<&&Alert> = alerts.iter().filter(|alert| depends(alert) && alert.state != "withdrawn").collect();
    let mut facts = Facts::default();
    if alerts.is_empty() {
        return Ok(facts);
    }
    let keys: Vec<[&str; 3]> =
        alerts.iter().map(|it| [it.source.as_str(), it.patient.as_str(), it.record.as_str()]).collect();
    let column = |index: usize| -> Vec<&str> { keys.iter().map(|key| key[index]).collect() };
    let (sources, patients, records) = (column(0), column(1), column(2));
    let sql = format!(
        "select {} from unnest($1::text[], $2::text[], $3::text[]) as k (source, patient, record)
         join record.observation t using (source, patient, record)
         left join record.patient p on p.source = t.source and p.patient = t.patient where not t.retracted",
        columns()
    );
    let mut analytes: BTreeSet<String> = limits.signals().into_iter().map(str::to_owned).collect();
    for row in client.query(&sql, &[&sources, &patients, &records]).await? {
        let finding = finding(&row);
        analytes.extend(finding.analyte.clone());
        let key = (finding.patient.source.clone(), finding.patient.id.clone(), finding.record.clone());
        facts.results.insert(key, finding);
    }
    let known = format!(
        "select g.source, g.patient, c.source, c.organisation, c.confidential or coalesce(p.confidential or p.retracted, false), {0}
         from alert.linked($1, $2) g
         join record.condition c on c.source = g.via_source and c.patient = g.via_patient
         left join record.patient p on p.source = c.source and p.patient = c.patient
         where c.snomed = any($3) and c.active and not c.retracted order by g.source, g.patient, {0}, c.source, c.record",
        micros("greatest(c.committed_at, g.linked_at)")
    );
    for row in client.query(&known, &[&sources, &patients, &limits.addisons.snomed]).await? {
        facts.known.entry((row.get(0), row.get(1))).or_default().push(Known {
            source: row.get(2),
            organisation: row.get(3),
            confidential: row.get(4),
            known_at: row.get(5),
        });
    }
    let history = format!(
        "select {}, t.for_source, t.for_patient
         from (select g.source as for_source, g.patient as for_patient, t.*, row_number() over (
                 partition by g.source, g.patient, t.analyte, t.organisation,
                     t.confidential or coalesce(q.confidential or q.retracted, false)
                 order by coalesce(t.effective_at, t.committed_at) desc, g.via_source, t.record) as nth
             from alert.linked($1, $2) g
             join record.observation t on t.source = g.via_source and t.patient = g.via_patient
             left join record.patient q on q.source = t.source and q.patient = t.patient
             where t.analyte = any($3) and not t.retracted and t.canonical_number is not null) t
         left join record.patient p on p.source = t.source and p.patient = t.patient
         where t.nth <= $4
         order by t.for_source, t.for_patient, coalesce(t.effective_at, t.committed_at) desc, t.source, t.record",
        columns()
    );
    let analytes: Vec<String> = analytes.into_iter().collect();
    for row in client.query(&history, &[&sources, &patients, &analytes, &HISTORY_MAX]).await? {
        facts.history.entry((row.get("for_source"), row.get("for_patient"))).or_default().push(finding(&row));
    }
    Ok(facts)
}
