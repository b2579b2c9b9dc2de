//! What the rules need to see of the record: set by set, in the transaction that has just written it.

use crate::{
    around,
    reconcile::{Existing, Key},
};
use alert::{
    Facts, Finding, Known, Limits,
    facts::{self, Sex},
    routing::{Placement, Whereabouts},
    rules::{self, urgency::Times},
};
use deadpool_postgres::Transaction;
use event::{Comparator, Micros, Precision, SourcePatient};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};
use tokio_postgres::{Error, Row};

const HOUR: Micros = 3_600_000_000;

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

pub fn unzip<'a>(patients: impl IntoIterator<Item = &'a Patient>) -> (Vec<&'a str>, Vec<&'a str>) {
    patients.into_iter().map(|(source, patient)| (source.as_str(), patient.as_str())).unzip()
}

/// What a finding is made of: `o` is the result, `p` its patient.
const COLUMNS: &str = "o.source, o.patient, o.record, o.organisation, o.event_id, o.version, o.snapshot, o.reread, \
        (extract(epoch from o.committed_at) * 1000000)::int8, (extract(epoch from o.entered_at) * 1000000)::int8, \
        (extract(epoch from o.authorised_at) * 1000000)::int8, (extract(epoch from o.effective_at) * 1000000)::int8, \
        o.code_text, o.analyte, o.comparator, o.number::text, o.unit, o.value_text, o.canonical_number::text, \
        o.canonical_unit, o.range_low::text, o.range_high::text, o.flag, o.unchecked, o.comment, o.status, o.requester, \
        p.birth_date - date '1970-01-01', o.confidential or coalesce(p.confidential or p.retracted, false), \
        case o.status when 'unknown' then coalesce(o.status_text, '') end, o.reinterpreted, o.effective_precision, \
        p.gender, o.snomed, o.code, o.specimen";
/// How many those are.
const COLUMNS_COUNT: usize = 36;

static FINDINGS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "select {COLUMNS} from unnest($1::text[], $2::text[], $3::text[]) as k (source, patient, record) \
         join record.observation o using (source, patient, record) \
         left join record.patient p on p.source = o.source and p.patient = o.patient \
         where not o.retracted"
    )
});

/// The results that are not retracted.
pub async fn findings(transaction: &Transaction<'_>, keys: &Keys<'_>) -> Result<BTreeMap<Key, Finding>, Error> {
    let statement = transaction.prepare_cached(&FINDINGS).await?;
    let rows = transaction.query(&statement, &[&keys.sources, &keys.patients, &keys.records]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1), row.get(2)), finding(row))).collect())
}

fn finding(row: &Row) -> Finding {
    let number = |column: usize| row.get::<_, Option<&str>>(column).and_then(|text| text.parse().ok());
    Finding {
        patient: SourcePatient { source: row.get(0), id: row.get(1) },
        record: row.get(2),
        organisation: row.get(3),
        event_id: row.get(4),
        version: row.get(5),
        times: Times {
            snapshot: row.get(6),
            reread: row.get(7),
            committed_at: row.get(8),
            entered_at: row.get(9),
            authorised_at: row.get(10),
        },
        effective_at: row.get(11),
        effective_precision: row.get::<_, Option<&str>>(31).and_then(Precision::parse),
        code_text: row.get::<_, Option<String>>(12).unwrap_or_default(),
        analyte: row.get(13),
        comparator: row.get::<_, Option<&str>>(14).and_then(Comparator::parse),
        number: number(15),
        unit: row.get(16),
        text: row.get(17),
        canonical: number(18).zip(row.get(19)),
        range_low: number(20),
        range_high: number(21),
        flag: row.get(22),
        unchecked: row.get(23),
        comment: row.get(24),
        status: row.get(25),
        requester: row.get(26),
        specimen: row.get(35),
        birth_date: row.get(27),
        confidential: row.get(28),
        unknown_status: row.get(29),
        reinterpreted: row.get(30),
        sex: row.get::<_, Option<&str>>(32).and_then(Sex::parse),
        // Which kind of teams holds it is the site's to say.
        setting: None,
        codes: [33, 34].into_iter().filter_map(|column| row.get(column)).collect(),
    }
}

const KNOWN: &str = "select distinct on (g.source, g.patient, c.snomed) g.source, g.patient, c.snomed, c.source, \
        c.organisation, c.confidential or coalesce(p.confidential or p.retracted, false), \
        (extract(epoch from greatest(c.committed_at, g.linked_at)) * 1000000)::int8 \
    from alert.linked($1, $2) g \
    join record.condition c on c.source = g.via_source and c.patient = g.via_patient \
    left join record.patient p on p.source = c.source and p.patient = c.patient \
    where c.snomed = any($3) and c.active and not c.retracted \
    order by g.source, g.patient, c.snomed, greatest(c.committed_at, g.linked_at), c.source";

/// The newest of each test that is wanted of a patient. Those without a sample's time, whose commit may be that of a
/// snapshot, are counted apart: they crowd none out that has one.
static HISTORY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "select {COLUMNS}, o.for_source, o.for_patient \
         from (select g.source as for_source, g.patient as for_patient, o.*, w.newest, \
                 coalesce(o.effective_at, o.committed_at) as taken_at, \
                 row_number() over (partition by g.source, g.patient, o.analyte, o.effective_at is null \
                     order by coalesce(o.effective_at, o.committed_at) desc, g.via_source, o.record) as nth \
             from alert.linked($1, $2) g \
             join unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[]) \
                 as w (source, patient, analyte, newest, since) on w.source = g.source and w.patient = g.patient \
             join record.observation o on o.source = g.via_source and o.patient = g.via_patient and o.analyte = w.analyte \
             where not o.retracted and o.canonical_number is not null and (w.since is null \
                 or coalesce(o.effective_at, o.committed_at) >= to_timestamp(w.since / 1000000))) o \
         left join record.patient p on p.source = o.source and p.patient = o.patient \
         where o.nth <= o.newest order by o.for_source, o.for_patient, o.taken_at desc, o.record"
    )
});

/// What the rules want to know of the person of each patient with a finding: read once for all rules.
pub async fn facts(
    transaction: &Transaction<'_>,
    findings: &BTreeMap<Key, Finding>,
    limits: &Limits,
    now: Micros,
) -> Result<BTreeMap<Patient, Facts>, Error> {
    let patient = |key: &Key| (key.0.clone(), key.1.clone());
    let mut around: BTreeMap<Patient, Facts> =
        findings.keys().map(|key| (patient(key), Facts { now, ..Facts::default() })).collect();
    conditions(transaction, &mut around, limits).await?;
    around::stays(transaction, &mut around, limits).await?;
    let taking = findings.iter().filter(|(_, finding)| rules::wants_medicines(finding, limits));
    let taking: BTreeSet<Patient> = taking.map(|(key, _)| patient(key)).collect();
    around::medicines(transaction, &mut around, &taking, limits).await?;
    let wants = facts::merged(findings.iter().flat_map(|(key, finding)| {
        let patient = patient(key);
        let wanted = around.get(&patient).map(|around| rules::wanted(finding, around, limits));
        wanted.into_iter().flatten().map(move |wanted| (patient.clone(), wanted))
    }));
    if wants.is_empty() {
        return Ok(around);
    }
    let (sources, ids) = unzip(wants.keys().map(|(patient, _)| patient));
    let analytes: Vec<&str> = wants.keys().map(|(_, analyte)| analyte.as_str()).collect();
    let newest: Vec<i64> = wants.values().map(|wanted| wanted.newest).collect();
    let since: Vec<Option<Micros>> = wants.values().map(|wanted| wanted.since).collect();
    let statement = transaction.prepare_cached(&HISTORY).await?;
    for row in transaction.query(&statement, &[&sources, &ids, &analytes, &newest, &since]).await? {
        if let Some(facts) = around.get_mut(&(row.get(COLUMNS_COUNT), row.get(COLUMNS_COUNT + 1))) {
            facts.history.push(finding(&row));
        }
    }
    Ok(around)
}

/// Those that rules ask for, of each patient's person: the one known first comes first.
async fn conditions(
    transaction: &Transaction<'_>,
    facts: &mut BTreeMap<Patient, Facts>,
    limits: &Limits,
) -> Result<(), Error> {
    let concepts: Vec<&str> = rules::concepts(limits).into_iter().collect();
    if concepts.is_empty() {
        return Ok(());
    }
    let (sources, ids) = unzip(facts.keys());
    let statement = transaction.prepare_cached(KNOWN).await?;
    for row in transaction.query(&statement, &[&sources, &ids, &concepts]).await? {
        if let Some(facts) = facts.get_mut(&(row.get(0), row.get(1))) {
            facts.conditions.push(Known {
                concept: row.get(2),
                source: row.get(3),
                organisation: row.get(4),
                confidential: row.get(5),
                known_at: row.get(6),
            });
        }
    }
    facts.values_mut().for_each(|facts| facts.conditions.sort_by_key(|known| known.known_at));
    Ok(())
}

const EXISTING: &str = "select a.id::text, a.rule, a.source, a.patient, a.record, a.version, a.headline, a.severity, \
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
                severity: row.get(7),
                withdrawn: row.get(8),
                misdirected: row.get(9),
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

/// Records of these patients that conditions, links, birth dates and other results bear on: those with alerts, the
/// signals' analytes of those who are known to have the disease, and what is recent of other rules' analytes.
const BEARING: &str = "select a.source, a.patient, a.record \
    from unnest($1::text[], $2::text[]) as p (source, patient) \
    join alert.alert a using (source, patient) where a.state <> 'withdrawn' \
    union \
    select o.source, o.patient, o.record \
    from (select distinct g.source, g.patient from alert.linked($1, $2) g \
        join record.condition c on c.source = g.via_source and c.patient = g.via_patient \
        where c.snomed = any($3) and c.active and not c.retracted) known \
    join record.observation o on o.source = known.source and o.patient = known.patient \
    where o.analyte = any($4) and not o.retracted \
    union \
    select o.source, o.patient, o.record from unnest($1::text[], $2::text[]) as p (source, patient) \
    join record.observation o using (source, patient) \
    where o.analyte = any($5) and not o.retracted \
        and coalesce(o.authorised_at, o.entered_at, o.committed_at) >= to_timestamp($6::int8 / 1000000)";

pub async fn bearing(
    transaction: &Transaction<'_>,
    patients: &BTreeSet<Patient>,
    limits: &Limits,
    now: Micros,
) -> Result<Vec<Key>, Error> {
    let (sources, ids) = unzip(patients);
    let again: Vec<&str> = rules::again(limits).into_iter().collect();
    // Older ones are told to nobody; those that were raised in time have alerts.
    let recent = now.saturating_sub(Micros::from(limits.catch_up_hours) * HOUR);
    let statement = transaction.prepare_cached(BEARING).await?;
    let concepts = &limits.adrenal.snomed;
    let signals: Vec<&str> = limits.adrenal.analytes().into_iter().collect();
    let rows = transaction.query(&statement, &[&sources, &ids, concepts, &signals, &again, &recent]).await?;
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

/// An alert that somebody still has to take notice of, with what says where it belongs.
pub struct Open {
    pub alert: String,
    pub patient: Patient,
    pub organisation: String,
    pub requester: Option<String>,
}

fn open_alert(row: &Row) -> Open {
    Open {
        alert: row.get(0),
        patient: (row.get(1), row.get(2)),
        organisation: row.get::<_, Option<String>>(3).unwrap_or_default(),
        requester: row.get(4),
    }
}

const OPEN: &str = "select a.id::text, a.source, a.patient, o.organisation, o.requester \
    from unnest($1::text[], $2::text[]) as p (source, patient) \
    join alert.alert a using (source, patient) \
    left join record.observation o using (source, patient, record) where a.state in ('new', 'seen')";

pub async fn open(transaction: &Transaction<'_>, patients: &BTreeSet<Patient>) -> Result<Vec<Open>, Error> {
    let (sources, ids) = unzip(patients);
    let statement = transaction.prepare_cached(OPEN).await?;
    let rows = transaction.query(&statement, &[&sources, &ids]).await?;
    Ok(rows.iter().map(open_alert).collect())
}

const UNROUTED: &str = "select a.id::text, a.source, a.patient, o.organisation, o.requester from alert.alert a \
    left join record.observation o using (source, patient, record) \
    where a.state in ('new', 'seen') and not exists (select from alert.recipient r where r.alert = a.id) \
    order by a.id limit $1";

/// Open alerts that went to nobody.
pub async fn unrouted(transaction: &Transaction<'_>, rows_max: i64) -> Result<Vec<Open>, Error> {
    let rows = transaction.query(UNROUTED, &[&rows_max]).await?;
    Ok(rows.iter().map(open_alert).collect())
}

const PAGE: &str = "select o.source, o.patient, o.record from record.observation o \
    where (o.source, o.patient, o.record) > ($1, $2, $3) and not o.retracted \
        and (o.analyte = any($4) or lower(o.flag) = any($5) or o.snomed = any($7) or o.code = any($7)) \
    order by o.source, o.patient, o.record limit $6";

/// The next results, in key order, that any rule could ask for.
pub async fn page(transaction: &Transaction<'_>, after: &Key, limits: &Limits, rows: i64) -> Result<Vec<Key>, Error> {
    let mut analytes: Vec<&str> = limits.adrenal.analytes().into_iter().collect();
    analytes.extend(limits.limit.iter().map(|limit| limit.analyte.as_str()));
    analytes.extend(rules::again(limits));
    let codes: Vec<&str> = rules::codes(limits).into_iter().collect();
    let flags: Vec<String> = limits.critical_flags.iter().map(|flag| flag.to_lowercase()).collect();
    let statement = transaction.prepare_cached(PAGE).await?;
    let rows = transaction.query(&statement, &[&after.0, &after.1, &after.2, &analytes, &flags, &rows, &codes]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Records whose alerts stand: of a record that is gone, its alerts have to go.
pub async fn standing(transaction: &Transaction<'_>) -> Result<Vec<Key>, Error> {
    let sql = "select distinct source, patient, record from alert.alert where state <> 'withdrawn'";
    let rows = transaction.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}
