//! The clinical rows of a person, only those that may be shown, and no more than a page takes.

use super::{
    Person,
    entries::{self, Entry},
    micros,
    more::More,
    released,
};
use crate::{GatewayError, access::Decision};
use deadpool_postgres::GenericClient;
use event::{Kind, Micros, Precision};
use rust_decimal::Decimal;
use tokio_postgres::{Row, types::ToSql};

/// Values kept of each test on a record page, newest first; and of those that nobody dated.
pub const RESULTS_PER_TEST_MAX: i64 = 8;
pub const RESULTS_MAX: i64 = 600;
pub const ROWS_PER_KIND_MAX: i64 = 300;

/// Where a row comes from.
#[derive(Clone, Default)]
pub struct Provenance {
    pub source: String,
    pub patient: String,
    pub record: String,
    pub organisation: String,
    pub committed_at: Micros,
    pub entered_at: Option<Micros>,
    pub effective_at: Option<Micros>,
    /// How exactly that is known: then it is the first moment of the year, month or day.
    pub effective_precision: Option<Precision>,
    pub corrected: bool,
    pub event_id: String,
    /// What it lacks because a table that it is joined to is still being read.
    pub incomplete: Option<String>,
    /// What has no column of its own.
    pub more: More,
}

impl Provenance {
    pub fn lacks(&self) -> Option<String> {
        self.incomplete.as_ref().map(|lacks| format!("Incomplete, still being read: {lacks}"))
    }
}

#[derive(Clone, Default)]
pub struct Coded {
    pub text: String,
    pub system: Option<String>,
    pub code: Option<String>,
    pub snomed: Option<String>,
    pub loinc: Option<String>,
}

impl Coded {
    /// Shown as its source wrote it, understood by nobody else.
    pub const fn uncoded(&self) -> bool {
        self.snomed.is_none() && self.loinc.is_none()
    }
}

#[derive(Clone, Default)]
pub struct Observation {
    pub from: Provenance,
    pub code: Coded,
    pub analyte: Option<String>,
    pub comparator: Option<String>,
    pub number: Option<Decimal>,
    pub unit: Option<String>,
    pub text: Option<String>,
    pub canonical_number: Option<Decimal>,
    pub canonical_unit: Option<String>,
    pub status: Option<String>,
    pub authorised_at: Option<Micros>,
    pub range_low: Option<Decimal>,
    pub range_high: Option<Decimal>,
    pub flag: Option<String>,
    pub specimen: Option<String>,
    pub unchecked: Option<String>,
    pub comment: Option<String>,
    /// The source's word for a status that nobody understands.
    pub status_text: Option<String>,
}

impl Observation {
    /// Its code is known, and no rule can watch it: nobody judged the number, which holds.
    pub fn not_watched(&self) -> bool {
        self.unchecked.as_deref() == Some(event::NOT_WATCHED)
    }

    /// Its number is understood and cannot be: shown as it is, judged, and not to be relied on.
    fn implausible(&self) -> bool {
        self.unchecked.as_deref() == Some(event::IMPLAUSIBLE)
    }

    /// Why the number cannot be used.
    pub fn unusable(&self) -> Option<&String> {
        self.unchecked.as_ref().filter(|_| !self.not_watched() && !self.implausible())
    }

    pub fn status_words(&self) -> String {
        match (self.status.as_deref(), &self.status_text) {
            (Some("unknown"), Some(text)) => format!("not understood: {text}"),
            (Some("unknown") | None, _) => "not told".to_owned(),
            (Some(status), _) => status.to_owned(),
        }
    }

    /// What is not understood of it, or not there yet, beside the value: it is shown whatever its status.
    pub fn doubts(&self) -> Vec<String> {
        let status = (self.status.as_deref() == Some("unknown")).then(|| format!("Status {}", self.status_words()));
        status.into_iter().chain(self.from.lacks()).collect()
    }

    /// When the sample was taken, else what comes nearest; none where nobody says.
    pub fn at(&self) -> Option<Micros> {
        self.from.effective_at.or(self.authorised_at)
    }
}

#[derive(Clone, Default)]
pub struct Medication {
    pub from: Provenance,
    pub code: Coded,
    pub dosage: Option<String>,
    pub quantity: Option<String>,
    pub course: Option<String>,
    pub active: bool,
    pub started_at: Option<Micros>,
    pub ended_at: Option<Micros>,
    pub last_issued_at: Option<Micros>,
    /// FHIR's word, or the source's own where it is none.
    pub status: Option<String>,
    /// Why it was stopped or suspended, as its source wrote it.
    pub status_reason: Option<String>,
}

#[derive(Clone, Default)]
pub struct Allergy {
    pub from: Provenance,
    pub code: Coded,
    pub reaction: Option<String>,
    pub severity: Option<String>,
    pub none_known: bool,
    pub active: bool,
}

#[derive(Clone, Default)]
pub struct Condition {
    pub from: Provenance,
    pub code: Coded,
    pub active: bool,
    pub significance: Option<String>,
    pub ended_at: Option<Micros>,
}

/// How far a source has come.
#[derive(Clone, Default)]
pub struct Freshness {
    pub source: String,
    pub committed_at: Micros,
    pub applied_at: Micros,
    /// Items of this person that could not be put into the record.
    pub quarantined: i64,
    /// Items of this source that could not be given to any patient.
    pub unattributed: i64,
}

impl Freshness {
    /// Something of it has been read.
    pub const fn known(&self) -> bool {
        self.applied_at > 0
    }
}

#[derive(Clone, Default)]
pub struct Clinical {
    pub observations: Vec<Observation>,
    pub medications: Vec<Medication>,
    pub allergies: Vec<Allergy>,
    pub conditions: Vec<Condition>,
    /// Of the kinds that need nothing but their table.
    pub entries: Vec<Entry>,
    pub freshness: Vec<Freshness>,
    /// A limit of the page was reached: older rows are not here.
    pub cut: bool,
}

/// Newest first. What nobody dated is never the newest, and never in the place of one that is dated.
pub(crate) const NEWEST: &str =
    "coalesce(t.effective_at, t.authorised_at) desc nulls last, t.committed_at desc, t.source, t.record";
/// The same of records that no laboratory authorises.
pub(crate) const NEWEST_OTHER: &str = "t.effective_at desc nulls last, t.committed_at desc, t.source, t.record";

const ORIGIN: usize = 11;
const MORE: usize = ORIGIN + 5;
/// The columns after the common ones.
pub(super) const CODED: usize = MORE + 1;

pub(super) fn common() -> String {
    common_with("t.code_text, t.code_system, t.code, t.snomed, t.loinc")
}

/// Of a table whose records have no code.
pub(super) fn common_uncoded() -> String {
    common_with("null::text, null::text, null::text, null::text, null::text")
}

fn common_with(code: &str) -> String {
    format!(
        "t.source, t.patient, t.record, t.organisation, {}, {}, {}, t.corrected, t.event_id,
         t.incomplete, t.effective_precision, {code}, t.more",
        micros("t.committed_at"),
        micros("t.entered_at"),
        micros("t.effective_at")
    )
}

pub(super) fn from(row: &Row) -> Provenance {
    Provenance {
        source: row.get(0),
        patient: row.get(1),
        record: row.get(2),
        organisation: row.get(3),
        committed_at: row.get(4),
        entered_at: row.get(5),
        effective_at: row.get(6),
        corrected: row.get(7),
        event_id: row.get(8),
        incomplete: row.get(9),
        effective_precision: row.get::<_, Option<&str>>(10).and_then(Precision::parse),
        more: More::of(row.get(MORE)),
    }
}

pub(super) fn coded(row: &Row) -> Coded {
    Coded {
        text: row.get::<_, Option<String>>(ORIGIN).unwrap_or_default(),
        system: row.get(ORIGIN + 1),
        code: row.get(ORIGIN + 2),
        snomed: row.get(ORIGIN + 3),
        loinc: row.get(ORIGIN + 4),
    }
}

/// `numeric` as text, because NaN and infinity are numbers to PostgreSQL and not to us.
fn decimal(row: &Row, column: usize) -> Option<Decimal> {
    row.get::<_, Option<&str>>(column)?.parse().ok()
}

/// The columns of an observation after the common ones.
pub(crate) fn observation_columns() -> String {
    format!(
        "{}, t.analyte, t.comparator, t.number::text, t.unit, t.value_text, t.canonical_number::text, t.canonical_unit,
         t.status, {}, t.range_low::text, t.range_high::text, t.flag, t.specimen, t.unchecked, t.comment, t.status_text",
        common(),
        micros("t.authorised_at")
    )
}

pub(crate) fn observation(row: &Row) -> Observation {
    Observation {
        from: from(row),
        code: coded(row),
        analyte: row.get(CODED),
        comparator: row.get(CODED + 1),
        number: decimal(row, CODED + 2),
        unit: row.get(CODED + 3),
        text: row.get(CODED + 4),
        canonical_number: decimal(row, CODED + 5),
        canonical_unit: row.get(CODED + 6),
        status: row.get(CODED + 7),
        authorised_at: row.get(CODED + 8),
        range_low: decimal(row, CODED + 9),
        range_high: decimal(row, CODED + 10),
        flag: row.get(CODED + 11),
        specimen: row.get(CODED + 12),
        unchecked: row.get(CODED + 13),
        comment: row.get(CODED + 14),
        status_text: row.get(CODED + 15),
    }
}

/// The organisations whose rows of this kind the decision shows.
pub(crate) fn organisations(decision: &Decision, kind: Kind) -> Vec<&str> {
    let shown = if decision.allow { Some(&decision.shown) } else { None };
    shown.into_iter().flatten().filter(|(_, of)| *of == kind).map(|(organisation, _)| organisation.as_str()).collect()
}

/// The organisations whose confidential rows are the reader's own.
pub(crate) fn own(decision: &Decision) -> Vec<&str> {
    decision.own.iter().map(String::as_str).collect()
}

fn list_sql(table: &str, columns: &str, order: &str) -> String {
    format!(
        "select {}, {columns} from record.{table} t
         join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
         where not t.retracted and {} order by {order} limit {ROWS_PER_KIND_MAX}",
        common(),
        released(3, 4)
    )
}

fn observation_sql() -> String {
    format!(
        "select {} from (
            select t.*, row_number() over (
                partition by coalesce(t.analyte, t.snomed, t.loinc, lower(t.code_text), t.record),
                    coalesce(t.effective_at, t.authorised_at) is null
                order by {NEWEST}) as nth
            from record.observation t join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
            where not t.retracted and {}) t
         where nth <= {RESULTS_PER_TEST_MAX}
         order by {NEWEST} limit {RESULTS_MAX}",
        observation_columns(),
        released(3, 4)
    )
}

/// What the decision shows of this person.
pub async fn read(client: &impl GenericClient, person: &Person, decision: &Decision) -> Result<Clinical, GatewayError> {
    let (sources, patients) = person.names();
    let shown = |kind| organisations(decision, kind);
    let (o, m, a, c) =
        (shown(Kind::Observation), shown(Kind::Medication), shown(Kind::Allergy), shown(Kind::Condition));
    let active_first = format!("coalesce(t.active, false) desc, {NEWEST_OTHER}");
    let sql = [
        observation_sql(),
        list_sql("medication", &medication_columns(), &active_first),
        list_sql("allergy", ALLERGY_COLUMNS, &active_first),
        list_sql("condition", &condition_columns(), &active_first),
    ];
    let own = own(decision);
    let parameters = |organisations| -> [&(dyn ToSql + Sync); 4] { [&sources, &patients, organisations, &own] };
    let (po, pm, pa, pc) = (parameters(&o), parameters(&m), parameters(&a), parameters(&c));
    let (observations, medications, allergies, conditions, (entries, more_entries), freshness) = tokio::try_join!(
        async { Ok(client.query(&sql[0], &po).await?) },
        async { Ok(client.query(&sql[1], &pm).await?) },
        async { Ok(client.query(&sql[2], &pa).await?) },
        async { Ok(client.query(&sql[3], &pc).await?) },
        entries::read(client, person, decision),
        freshness(client, person),
    )?;
    let full = |rows: &[Row], max: i64| rows.len() as i64 >= max;
    Ok(Clinical {
        cut: full(&observations, RESULTS_MAX)
            || more_entries
            || [&medications, &allergies, &conditions].into_iter().any(|rows| full(rows, ROWS_PER_KIND_MAX)),
        observations: observations.iter().map(observation).collect(),
        medications: medications.iter().map(medication_of).collect(),
        allergies: allergies.iter().map(allergy_of).collect(),
        conditions: conditions.iter().map(condition_of).collect(),
        entries,
        freshness,
    })
}

/// The columns after the common ones, of each kind.
pub(super) fn medication_columns() -> String {
    format!(
        "t.dosage, t.quantity, t.course, coalesce(t.active, false), {}, {}, {}, t.status, t.status_reason",
        micros("t.started_at"),
        micros("t.ended_at"),
        micros("t.last_issued_at")
    )
}

pub(super) const ALLERGY_COLUMNS: &str =
    "t.reaction, t.severity, coalesce(t.none_known, false), coalesce(t.active, false)";

pub(super) fn condition_columns() -> String {
    format!("coalesce(t.active, false), t.significance, {}", micros("t.ended_at"))
}

pub(super) fn medication_of(row: &Row) -> Medication {
    Medication {
        from: from(row),
        code: coded(row),
        dosage: row.get(CODED),
        quantity: row.get(CODED + 1),
        course: row.get(CODED + 2),
        active: row.get(CODED + 3),
        started_at: row.get(CODED + 4),
        ended_at: row.get(CODED + 5),
        last_issued_at: row.get(CODED + 6),
        status: row.get(CODED + 7),
        status_reason: row.get(CODED + 8),
    }
}

pub(super) fn allergy_of(row: &Row) -> Allergy {
    Allergy {
        from: from(row),
        code: coded(row),
        reaction: row.get(CODED),
        severity: row.get(CODED + 1),
        none_known: row.get(CODED + 2),
        active: row.get(CODED + 3),
    }
}

pub(super) fn condition_of(row: &Row) -> Condition {
    Condition {
        from: from(row),
        code: coded(row),
        active: row.get(CODED),
        significance: row.get(CODED + 1),
        ended_at: row.get(CODED + 2),
    }
}

/// How far each source of the person has come.
pub async fn freshness(client: &impl GenericClient, person: &Person) -> Result<Vec<Freshness>, GatewayError> {
    let (sources, patients) = person.names();
    let rows = client.query(&freshness_sql(), &[&sources, &patients]).await?;
    Ok(rows.iter().map(freshness_of).collect())
}

fn freshness_sql() -> String {
    format!(
        "with s as (select * from unnest($1::text[], $2::text[]) as s(source, patient))
         select n.source, {}, {},
            (select count(*) from record.quarantine q join s using (source, patient) where q.source = n.source and not q.closed),
            (select count(*) from record.quarantine q where q.source = n.source and q.patient is null and not q.closed)
         from (select distinct source from s) n left join record.freshness f using (source) order by n.source",
        micros("f.committed_at"),
        micros("f.applied_at")
    )
}

fn freshness_of(row: &Row) -> Freshness {
    Freshness {
        source: row.get(0),
        committed_at: row.get::<_, Option<Micros>>(1).unwrap_or_default(),
        applied_at: row.get::<_, Option<Micros>>(2).unwrap_or_default(),
        quarantined: row.get(3),
        unattributed: row.get(4),
    }
}

#[cfg(test)]
mod tests {
    use super::Observation;

    #[test]
    fn a_status_is_said_in_words_and_never_assumed() {
        for (status, text, want) in [
            (Some("final"), None, "final"),
            (Some("unknown"), Some("Biologist rejected"), "not understood: Biologist rejected"),
            (Some("unknown"), None, "not told"),
            (None, None, "not told"),
        ] {
            let row = Observation {
                status: status.map(str::to_owned),
                status_text: text.map(str::to_owned),
                ..Observation::default()
            };
            assert_eq!(row.status_words(), want);
        }
    }

    #[test]
    fn what_nobody_watches_is_not_unusable() {
        let row =
            |unchecked: Option<&str>| Observation { unchecked: unchecked.map(str::to_owned), ..Observation::default() };
        for (unchecked, not_watched, unusable) in [
            (None, false, false),
            (Some(event::NOT_WATCHED), true, false),
            (Some(event::IMPLAUSIBLE), false, false),
            (Some("unknown unit"), false, true),
        ] {
            let row = row(unchecked);
            assert_eq!((row.not_watched(), row.unusable().is_some()), (not_watched, unusable), "{unchecked:?}");
        }
    }
}
