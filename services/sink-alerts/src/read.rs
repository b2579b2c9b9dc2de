//! What the rules need to see of the record: set by set, in the transaction that has just written it.

use crate::{
    limits::Limits,
    reconcile::{Existing, Key},
    routing::{Placement, Whereabouts},
    rules::{Companion, Context, Finding, Known, urgency::Times},
};
use deadpool_postgres::Transaction;
use event::{Comparator, Micros, SourcePatient};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Error, Row};

/// Results of one analyte that are read of one person's history.
const HISTORY_MAX: i64 = 20;

/// Source and patient.
pub type Patient = (String, String);

/// Keys as arrays, one per column.
pub struct Keys<'a> {
    pub sources: Vec<&'a str>,
    pub patients: Vec<&'a str>,
    pub records: Vec<&'a str>,
}

impl<'a> Keys<'a> {
    pub fn of(keys: impl IntoIterator<Item = &'a Key>) -> Self {
        let mut arrays = Keys { sources: Vec::new(), patients: Vec::new(), records: Vec::new() };
        for (source, patient, record) in keys {
            arrays.sources.push(source);
            arrays.patients.push(patient);
            arrays.records.push(record);
        }
        arrays
    }
}

fn unzip<'a>(patients: impl IntoIterator<Item = &'a Patient>) -> (Vec<&'a str>, Vec<&'a str>) {
    patients.into_iter().map(|(source, patient)| (source.as_str(), patient.as_str())).unzip()
}

const FINDINGS: &str = "select o.source, o.patient, o.record, o.organisation, o.event_id, o.version, o.snapshot, \
        (extract(epoch from o.committed_at) * 1000000)::int8, (extract(epoch from o.entered_at) * 1000000)::int8, \
        (extract(epoch from o.authorised_at) * 1000000)::int8, (extract(epoch from o.effective_at) * 1000000)::int8, \
        o.code_text, o.analyte, o.comparator, o.number::text, o.unit, o.value_text, o.canonical_number::text, \
        o.canonical_unit, o.range_low::text, o.range_high::text, o.flag, o.unchecked, o.requester, \
        p.birth_date - date '1970-01-01', case o.status when 'unknown' then coalesce(o.status_text, '') end \
    from unnest($1::text[], $2::text[], $3::text[]) as k (source, patient, record) \
    join record.observation o using (source, patient, record) \
    left join record.patient p on p.source = o.source and p.patient = o.patient \
    where not o.retracted";

/// The results that are not retracted.
pub async fn findings(transaction: &Transaction<'_>, keys: &Keys<'_>) -> Result<BTreeMap<Key, Finding>, Error> {
    let statement = transaction.prepare_cached(FINDINGS).await?;
    let rows = transaction.query(&statement, &[&keys.sources, &keys.patients, &keys.records]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1), row.get(2)), finding(row))).collect())
}

fn finding(row: &Row) -> Finding {
    let number = |column: usize| row.get::<_, Option<&str>>(column).and_then(|text| text.parse().ok());
    let unit: Option<String> = row.get(18);
    Finding {
        patient: SourcePatient { source: row.get(0), id: row.get(1) },
        record: row.get(2),
        organisation: row.get(3),
        event_id: row.get(4),
        version: row.get(5),
        times: Times {
            snapshot: row.get(6),
            committed_at: row.get(7),
            entered_at: row.get(8),
            authorised_at: row.get(9),
        },
        effective_at: row.get(10),
        code_text: row.get::<_, Option<String>>(11).unwrap_or_default(),
        analyte: row.get(12),
        comparator: row.get::<_, Option<&str>>(13).and_then(Comparator::parse),
        number: number(14),
        unit: row.get(15),
        text: row.get(16),
        canonical: number(17).zip(unit),
        range_low: number(19),
        range_high: number(20),
        flag: row.get(21),
        unchecked: row.get(22),
        requester: row.get(23),
        birth_date: row.get(24),
        unknown_status: row.get(25),
    }
}

const KNOWN: &str = "select distinct on (g.source, g.patient) g.source, g.patient, c.source, \
        (extract(epoch from greatest(c.committed_at, g.linked_at)) * 1000000)::int8 \
    from alert.linked($1, $2) g \
    join record.condition c on c.source = g.via_source and c.patient = g.via_patient \
    where c.snomed = any($3) and c.active and not c.retracted \
    order by g.source, g.patient, greatest(c.committed_at, g.linked_at), c.source";

const HISTORY: &str = "select source, patient, via_source, record, analyte, comparator, canonical_number::text, \
        canonical_unit, (extract(epoch from taken_at) * 1000000)::int8 \
    from (select g.source, g.patient, g.via_source, o.record, o.analyte, o.comparator, o.canonical_number, \
            o.canonical_unit, coalesce(o.effective_at, o.committed_at) as taken_at, \
            row_number() over (partition by g.source, g.patient, o.analyte \
                order by coalesce(o.effective_at, o.committed_at) desc, g.via_source, o.record) as nth \
        from alert.linked($1, $2) g \
        join record.observation o on o.source = g.via_source and o.patient = g.via_patient \
        where o.analyte = any($3) and not o.retracted and o.canonical_number is not null) results \
    where nth <= $4 order by source, patient, taken_at desc, record";

/// What is known of each patient's person. Patients of whom nothing is known are left out.
pub async fn contexts(
    transaction: &Transaction<'_>,
    patients: &BTreeSet<Patient>,
    limits: &Limits,
) -> Result<BTreeMap<Patient, Context>, Error> {
    let (sources, ids) = unzip(patients);
    let statement = transaction.prepare_cached(KNOWN).await?;
    let rows = transaction.query(&statement, &[&sources, &ids, &limits.addisons.snomed]).await?;
    let mut contexts: BTreeMap<Patient, Context> = BTreeMap::new();
    for row in rows {
        let known = Known { source: row.get(2), known_at: row.get(3) };
        contexts.insert((row.get(0), row.get(1)), Context { addisons: Some(known), history: Vec::new() });
    }
    if contexts.is_empty() {
        return Ok(contexts);
    }
    let (sources, ids) = unzip(contexts.keys());
    let statement = transaction.prepare_cached(HISTORY).await?;
    let rows = transaction.query(&statement, &[&sources, &ids, &limits.signals(), &HISTORY_MAX]).await?;
    for row in rows {
        let number = row.get::<_, &str>(6).parse().ok();
        if let (Some(context), Some(number)) = (contexts.get_mut(&(row.get(0), row.get(1))), number) {
            context.history.push(Companion {
                source: row.get(2),
                record: row.get(3),
                analyte: row.get(4),
                comparator: row.get::<_, Option<&str>>(5).and_then(Comparator::parse),
                canonical: (number, row.get::<_, Option<String>>(7).unwrap_or_default()),
                taken_at: row.get(8),
            });
        }
    }
    Ok(contexts)
}

const EXISTING: &str = "select a.id::text, a.rule, a.source, a.patient, a.record, a.version, a.headline, \
        case when a.state = 'withdrawn' then coalesce(a.withdrawn_reason, '') end, \
        a.state <> 'withdrawn' and exists ( \
            select from alert.recipient r where r.alert = a.id and r.via_source is not null and not exists ( \
                select from alert.linked(array[a.source], array[a.patient]) g \
                where g.via_source = r.via_source and g.via_patient = r.via_patient)) \
    from unnest($1::text[], $2::text[], $3::text[]) as k (source, patient, record) \
    join alert.alert a using (source, patient, record)";

/// Every alert of these records, withdrawn ones too.
pub async fn existing(transaction: &Transaction<'_>, keys: &Keys<'_>) -> Result<Vec<Existing>, Error> {
    let statement = transaction.prepare_cached(EXISTING).await?;
    let rows = transaction.query(&statement, &[&keys.sources, &keys.patients, &keys.records]).await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            Some(Existing {
                id: row.get::<_, &str>(0).parse().ok()?,
                rule: row.get(1),
                key: (row.get(2), row.get(3), row.get(4)),
                version: row.get(5),
                headline: row.get(6),
                withdrawn: row.get(7),
                misdirected: row.get(8),
            })
        })
        .collect())
}

/// The patients themselves, those that are linked with them, and those still linked to persons that some have left.
const TOUCHED: &str = "select via_source, via_patient from alert.linked($1, $2) \
    union select l.source, l.patient from record.link l where l.person = any($3::text[]::uuid[])";

pub async fn touched(
    transaction: &Transaction<'_>,
    patients: &BTreeSet<Patient>,
    persons: &[&str],
) -> Result<BTreeSet<Patient>, Error> {
    let (sources, ids) = unzip(patients);
    let statement = transaction.prepare_cached(TOUCHED).await?;
    let rows = transaction.query(&statement, &[&sources, &ids, &persons]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Records of these patients that conditions and links bear on: those with alerts, and the signals' analytes of those
/// who are known to have the disease.
const BEARING: &str = "select a.source, a.patient, a.record \
    from unnest($1::text[], $2::text[]) as p (source, patient) \
    join alert.alert a using (source, patient) where a.state <> 'withdrawn' \
    union \
    select o.source, o.patient, o.record \
    from (select distinct g.source, g.patient from alert.linked($1, $2) g \
        join record.condition c on c.source = g.via_source and c.patient = g.via_patient \
        where c.snomed = any($3) and c.active and not c.retracted) known \
    join record.observation o on o.source = known.source and o.patient = known.patient \
    where o.analyte = any($4) and not o.retracted";

pub async fn bearing(
    transaction: &Transaction<'_>,
    patients: &BTreeSet<Patient>,
    limits: &Limits,
) -> Result<Vec<Key>, Error> {
    let (sources, ids) = unzip(patients);
    let statement = transaction.prepare_cached(BEARING).await?;
    let rows = transaction.query(&statement, &[&sources, &ids, &limits.addisons.snomed, &limits.signals()]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

const PLACEMENTS: &str = "select g.source, g.patient, g.via_source, g.via_patient, p.registered_practice, null::text \
    from alert.linked($1, $2) g \
    join record.patient p on p.source = g.via_source and p.patient = g.via_patient \
    where p.registered_practice is not null and not p.retracted \
    union all \
    select distinct g.source, g.patient, g.via_source, g.via_patient, null, e.team \
    from alert.linked($1, $2) g \
    join unnest($1::text[], $2::text[], $3::int8[]) as t (source, patient, at) \
        on t.source = g.source and t.patient = g.patient \
    join record.encounter e on e.source = g.via_source and e.patient = g.via_patient \
    where e.team is not null and not e.retracted and (e.ended_at is null \
        or extract(epoch from e.ended_at) * 1000000 > t.at - $4::int8)";

/// Where each patient is, at the time that goes with them.
pub async fn placements(
    transaction: &Transaction<'_>,
    patients: &BTreeMap<Patient, Micros>,
    grace: Micros,
) -> Result<BTreeMap<Patient, Vec<Placement>>, Error> {
    let (sources, ids) = unzip(patients.keys());
    let at: Vec<Micros> = patients.values().copied().collect();
    let statement = transaction.prepare_cached(PLACEMENTS).await?;
    let mut found: BTreeMap<Patient, Vec<Placement>> = BTreeMap::new();
    for row in transaction.query(&statement, &[&sources, &ids, &at, &grace]).await? {
        let at = match (row.get::<_, Option<String>>(4), row.get::<_, Option<String>>(5)) {
            (Some(practice), _) => Whereabouts::Registered(practice),
            (None, Some(team)) => Whereabouts::Seen(team),
            (None, None) => continue,
        };
        let via = SourcePatient { source: row.get(2), id: row.get(3) };
        found.entry((row.get(0), row.get(1))).or_default().push(Placement { via, at });
    }
    Ok(found)
}

/// Alerts that somebody still has to take notice of.
const OPEN: &str = "select a.id::text, a.source, a.patient \
    from unnest($1::text[], $2::text[]) as p (source, patient) \
    join alert.alert a using (source, patient) where a.state in ('new', 'seen')";

pub async fn open(
    transaction: &Transaction<'_>,
    patients: &BTreeSet<Patient>,
) -> Result<Vec<(String, Patient)>, Error> {
    let (sources, ids) = unzip(patients);
    let statement = transaction.prepare_cached(OPEN).await?;
    let rows = transaction.query(&statement, &[&sources, &ids]).await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

const PAGE: &str = "select o.source, o.patient, o.record from record.observation o \
    where (o.source, o.patient, o.record) > ($1, $2, $3) and not o.retracted \
        and (o.analyte = any($4) or lower(o.flag) = any($5)) \
    order by o.source, o.patient, o.record limit $6";

/// The next results, in key order, that any rule could ask for.
pub async fn page(transaction: &Transaction<'_>, after: &Key, limits: &Limits, rows: i64) -> Result<Vec<Key>, Error> {
    let mut analytes = limits.signals();
    analytes.extend(limits.limit.iter().map(|limit| limit.analyte.as_str()));
    let flags: Vec<String> = limits.critical_flags.iter().map(|flag| flag.to_lowercase()).collect();
    let statement = transaction.prepare_cached(PAGE).await?;
    let rows = transaction.query(&statement, &[&after.0, &after.1, &after.2, &analytes, &flags, &rows]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Records whose alerts stand: of a record that is gone, its alerts have to go.
pub async fn standing(transaction: &Transaction<'_>) -> Result<Vec<Key>, Error> {
    let sql = "select distinct source, patient, record from alert.alert where state <> 'withdrawn'";
    let rows = transaction.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}
