//! Reads what the record holds around alerts, whoever asks: what of it a reader may be told is decided afterwards.

use super::{
    Alert,
    reader::{Patient, Surroundings, depends},
};
use crate::{
    GatewayError,
    record::{
        clinical::{observation, observation_columns},
        judged::{self, Who},
        micros,
    },
    site::Site,
};
use alert::{
    Facts, Finding, Known,
    facts::{self, MEDICINES_MAX, Medicine, STAYS_MAX, Sex, Stay, Wanted},
    rules,
};
use deadpool_postgres::GenericClient;
use event::{Micros, Teams};
use medicine::{Ingredient, Product};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;

const HOUR: Micros = 3_600_000_000;

/// A result as the rules want it: `t` is the result, `p` its patient. What an observation does not have goes by name.
fn columns() -> String {
    format!(
        "{}, t.snapshot as by_snapshot, t.reread as by_rereading, t.version as result_version,
         t.confidential or coalesce(p.confidential or p.retracted, false) as kept, p.birth_date - date '1970-01-01' as born,
         p.gender as told_gender",
        observation_columns()
    )
}

fn finding(row: &Row, teams: &Teams) -> Finding {
    let sex = row.get::<_, Option<&str>>("told_gender").and_then(Sex::parse);
    let who = Who { birth_date: row.get("born"), sex };
    let mut finding = judged::finding(&observation(row), who, teams);
    finding.times.snapshot = row.get("by_snapshot");
    finding.times.reread = row.get("by_rereading");
    finding.version = row.get("result_version");
    finding.confidential = row.get("kept");
    finding
}

pub async fn read(client: &impl GenericClient, alerts: &[&Alert], site: &Site) -> Result<Surroundings, GatewayError> {
    let alerts: Vec<&&Alert> = alerts.iter().filter(|alert| depends(alert) && alert.state != "withdrawn").collect();
    let mut around = Surroundings::default();
    if alerts.is_empty() {
        return Ok(around);
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
    for row in client.query(&sql, &[&sources, &patients, &records]).await? {
        let finding = finding(&row, &site.teams);
        let key = (finding.patient.source.clone(), finding.patient.id.clone(), finding.record.clone());
        around.results.insert(key, finding);
    }
    let known = format!(
        "select g.source, g.patient, c.snomed, c.source, c.organisation, c.confidential or coalesce(p.confidential or p.retracted, false), {0}
         from alert.linked($1, $2) g
         join record.condition c on c.source = g.via_source and c.patient = g.via_patient
         left join record.patient p on p.source = c.source and p.patient = c.patient
         where c.snomed = any($3) and c.active and not c.retracted order by g.source, g.patient, {0}, c.source, c.record",
        micros("greatest(c.committed_at, g.linked_at)")
    );
    let concepts: Vec<&str> = rules::concepts(&site.limits).into_iter().collect();
    for row in client.query(&known, &[&sources, &patients, &concepts]).await? {
        around.known.entry((row.get(0), row.get(1))).or_default().push(Known {
            concept: row.get(2),
            source: row.get(3),
            organisation: row.get(4),
            confidential: row.get(5),
            known_at: row.get(6),
        });
    }
    stays(client, &mut around, site).await?;
    medicines(client, &mut around, site).await?;
    history(client, &mut around, site).await?;
    Ok(around)
}

/// Encounters as the sink reads them, counted apart by who may be told of them.
async fn stays(client: &impl GenericClient, around: &mut Surroundings, site: &Site) -> Result<(), GatewayError> {
    let wanting = around.known.iter().filter(|(_, conditions)| {
        rules::wants_stays(&Facts { conditions: (*conditions).clone(), ..Facts::default() }, &site.limits)
    });
    let (sources, patients): (Vec<&str>, Vec<&str>) =
        wanting.map(|((source, patient), _)| (source.as_str(), patient.as_str())).unzip();
    if sources.is_empty() {
        return Ok(());
    }
    let since = around.results.values().map(|finding| finding.times.committed_at).min().unwrap_or_default();
    let since = since.saturating_sub(Micros::from(site.limits.catch_up_hours) * HOUR);
    let sql = format!(
        "select g.source, g.patient, e.class, e.source, e.organisation, e.kept, {}, {}, {}
         from alert.linked($1, $2) g
         join (select e.*, e.confidential or coalesce(p.confidential or p.retracted, false) as kept,
                 e.ended_at is null or e.ended_at >= to_timestamp($3::int8 / 1000000) as lately,
                 row_number() over (
                     partition by e.source, e.patient, e.organisation, e.confidential or coalesce(p.confidential or p.retracted, false),
                         e.ended_at is null or e.ended_at >= to_timestamp($3::int8 / 1000000)
                     order by e.committed_at desc, e.record) as nth
             from record.encounter e
             left join record.patient p on p.source = e.source and p.patient = e.patient
             where (e.source, e.patient) in (select via_source, via_patient from alert.linked($1, $2))
                 and not e.retracted and not coalesce(e.referral, false)) e
             on e.source = g.via_source and e.patient = g.via_patient
         where e.nth <= case when e.lately then $4::int8 else 1 end
         order by g.source, g.patient, 9, e.source, e.record",
        micros("e.started_at"),
        micros("e.ended_at"),
        micros("greatest(e.committed_at, g.linked_at)")
    );
    for row in client.query(&sql, &[&sources, &patients, &since, &STAYS_MAX]).await? {
        around.stays.entry((row.get(0), row.get(1))).or_default().push(Stay {
            class: row.get::<_, Option<String>>(2).unwrap_or_default(),
            source: row.get(3),
            organisation: row.get(4),
            confidential: row.get(5),
            started_at: row.get(6),
            ended_at: row.get(7),
            known_at: row.get(8),
        });
    }
    Ok(())
}

/// Medicines as the sink reads them, counted apart by who may be told of them.
async fn medicines(client: &impl GenericClient, around: &mut Surroundings, site: &Site) -> Result<(), GatewayError> {
    let wanting: BTreeSet<(&str, &str)> = around
        .results
        .iter()
        .filter(|(_, finding)| rules::wants_medicines(finding, &site.limits))
        .map(|((source, patient, _), _)| (source.as_str(), patient.as_str()))
        .collect();
    let (sources, patients): (Vec<&str>, Vec<&str>) = wanting.into_iter().unzip();
    if sources.is_empty() {
        return Ok(());
    }
    let now = crate::app::now();
    let since = around.results.values().map(|finding| finding.times.committed_at).min().unwrap_or_default();
    let since = since.saturating_sub(Micros::from(site.limits.catch_up_hours) * HOUR);
    let sql = format!(
        "select g.source, g.patient, m.code_text, m.code_system, m.code, m.snomed, m.status, coalesce(m.active, false),
                m.source, m.organisation, m.kept, {}, {}, {}
         from alert.linked($1, $2) g
         join (select m.*, m.confidential or coalesce(p.confidential or p.retracted, false) as kept, row_number() over (
                     partition by m.source, m.patient, m.organisation, m.confidential or coalesce(p.confidential or p.retracted, false)
                     order by m.committed_at desc, m.record) as nth
             from record.medication m
             left join record.patient p on p.source = m.source and p.patient = m.patient
             where (m.source, m.patient) in (select via_source, via_patient from alert.linked($1, $2))
                 and not m.retracted and (coalesce(m.active, false) or m.ended_at >= to_timestamp($3::int8 / 1000000))) m
             on m.source = g.via_source and m.patient = g.via_patient
         where m.nth <= $4 order by g.source, g.patient, 14, m.source, m.record",
        micros("m.started_at"),
        micros("m.ended_at"),
        micros("greatest(m.committed_at, g.linked_at)")
    );
    let mut found: BTreeMap<Patient, Vec<Medicine>> = BTreeMap::new();
    for row in client.query(&sql, &[&sources, &patients, &since, &MEDICINES_MAX]).await? {
        let text = row.get::<_, Option<&str>>(2).unwrap_or_default();
        let ingredients = site.limits.ingredients.all_of(&Product::new(text, row.get(5), row.get(3), row.get(4)));
        if ingredients.is_empty() {
            continue;
        }
        found.entry((row.get(0), row.get(1))).or_default().push(Medicine {
            text: text.to_owned(),
            ingredients: ingredients.into_iter().map(Ingredient::names).collect(),
            source: row.get(8),
            organisation: row.get(9),
            confidential: row.get(10),
            taking: medicine::taking(row.get(6), row.get(7), row.get(12), now),
            started_at: row.get(11),
            ended_at: row.get(12),
            known_at: row.get(13),
        });
    }
    around.medicines = found;
    Ok(())
}

/// What rules want of the persons, and other results of each alert's own analyte: a later one may have overtaken it.
async fn history(client: &impl GenericClient, around: &mut Surroundings, site: &Site) -> Result<(), GatewayError> {
    let wants = facts::merged(around.results.iter().flat_map(|((source, id, _), finding)| {
        let patient = (source.clone(), id.clone());
        let conditions = around.known.get(&patient).cloned().unwrap_or_default();
        let own = finding.analyte.clone().map(|analyte| Wanted { analyte, newest: rules::HISTORY_MAX, since: None });
        let wanted = rules::wanted(finding, &Facts { conditions, ..Facts::default() }, &site.limits);
        wanted.into_iter().chain(own).map(move |wanted| (patient.clone(), wanted))
    }));
    let sql = format!(
        "select {}, t.for_source, t.for_patient
         from (select g.source as for_source, g.patient as for_patient, w.newest, t.*, row_number() over (
                 partition by g.source, g.patient, t.analyte, t.organisation,
                     t.confidential or coalesce(q.confidential or q.retracted, false)
                 order by coalesce(t.effective_at, t.committed_at) desc, g.via_source, t.record) as nth
             from alert.linked($1, $2) g
             join unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[])
                 as w (source, patient, analyte, newest, since) on w.source = g.source and w.patient = g.patient
             join record.observation t on t.source = g.via_source and t.patient = g.via_patient and t.analyte = w.analyte
             left join record.patient q on q.source = t.source and q.patient = t.patient
             where not t.retracted and t.canonical_number is not null and (w.since is null
                 or coalesce(t.effective_at, t.committed_at) >= to_timestamp(w.since / 1000000))) t
         left join record.patient p on p.source = t.source and p.patient = t.patient
         where t.nth <= t.newest
         order by t.for_source, t.for_patient, coalesce(t.effective_at, t.committed_at) desc, t.source, t.record",
        columns()
    );
    let sources: Vec<&str> = wants.keys().map(|((source, _), _)| source.as_str()).collect();
    let patients: Vec<&str> = wants.keys().map(|((_, patient), _)| patient.as_str()).collect();
    let analytes: Vec<&str> = wants.keys().map(|(_, analyte)| analyte.as_str()).collect();
    let newest: Vec<i64> = wants.values().map(|wanted| wanted.newest).collect();
    let since: Vec<Option<Micros>> = wants.values().map(|wanted| wanted.since).collect();
    for row in client.query(&sql, &[&sources, &patients, &analytes, &newest, &since]).await? {
        around
            .history
            .entry((row.get("for_source"), row.get("for_patient")))
            .or_default()
            .push(finding(&row, &site.teams));
    }
    Ok(())
}
