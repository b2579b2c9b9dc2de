//! What the sources hold now: results, and who is known to have adrenal insufficiency.

use super::judge::Verdict;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// A result as its source writes it.
#[derive(Clone, Default)]
pub struct Result {
    pub source: &'static str,
    pub record: String,
    pub patient: String,
    /// Every code of it, of whatever system: none is in two.
    pub codes: Vec<String>,
    /// Number or words, as written; a comparator may stand before it.
    pub value: Option<String>,
    pub unit: Option<String>,
    pub flag: Option<String>,
    /// Its own reference range, in its own unit.
    pub range_low: Option<Decimal>,
    pub range_high: Option<Decimal>,
    /// Authorised, else entered: microseconds since 1970. None: not told, or without end.
    pub at: Option<i64>,
    /// When the sample was taken, and when the patient was born: days since 1970.
    pub taken: Option<i64>,
    pub born: Option<i32>,
    /// Neither preliminary nor with words about its specimen.
    pub settled: bool,
    /// Entered, which stands in where the authorised time lies ahead.
    pub entered: Option<i64>,
}

const GP: &str = "select 'observation/' || o.observation_id, p.patient_id::text,
        array_remove(array[split_part(c.read_term_id, '-', 1), c.readv2_code, o.snomed_concept_id::text, c.snomed_concept_id::text], null),
        case when o.numeric_value is null then o.text_value
            else coalesce(nullif(o.numeric_operator, '='), '') || o.numeric_value end,
        coalesce(nullif(btrim(o.numeric_unit), ''), o.ucum_code), null::text,
        case when isfinite(coalesce(o.authorised_datetime, o.entered_datetime))
            then (extract(epoch from coalesce(o.authorised_datetime, o.entered_datetime)) * 1000000)::bigint end,
        o.range_minimum::text, o.range_maximum::text,
        case when isfinite(o.entered_datetime) then (extract(epoch from o.entered_datetime) * 1000000)::bigint end,
        case when isfinite(o.effective_datetime) then (extract(epoch from o.effective_datetime) * 1000000)::bigint end,
        case when isfinite(p.date_of_birth) and not p.is_deleted
            then (p.date_of_birth at time zone 'Europe/London')::date - date '1970-01-01' end,
        coalesce(o.associated_text, '') !~* 'ha?emoly'
    from emis.observation o
    join emis.patient p on p.patient_id = o.patient_id
    join emis.clinical_code c on c.code_id = o.code_id
    where not o.is_deleted and o.observation_type is distinct from 'Allergy'
      and coalesce(c.code_category, '') not in ('Allergy & Adverse Drug Reactions', 'No Known Allergy')
      and not exists (select from emis.problem q where q.observation_id = o.observation_id and not q.is_deleted)
      and not exists (select from emis.referral r where r.observation_id = o.observation_id and not r.is_deleted)";

const HOSPITAL: &str = r#"with line as (
        select distinct on (line_id) * from lims.result where is_active order by line_id, revision desc, result_id desc)
    select 'result/' || l.line_id, p.person_id::text,
        array_remove(array[t.loinc::text, t.snomed_concept_id::text], null),
        l."value"::text, l.unit_text::text, l.abnormal_flag::text,
        case when isfinite(coalesce(l.authorised_at, l.entered_at))
            then (extract(epoch from coalesce(l.authorised_at, l.entered_at)) * 1000000)::bigint end,
        l.normal_low::text, l.normal_high::text,
        case when isfinite(l.entered_at) then (extract(epoch from l.entered_at) * 1000000)::bigint end,
        case when isfinite(coalesce(s.collected_at, s.received_at))
            then (extract(epoch from coalesce(s.collected_at, s.received_at)) * 1000000)::bigint end,
        case when isfinite(p.birth_date) and p.active_ind <> 0 then p.birth_date - date '1970-01-01' end,
        l.status::text in ('final', 'corrected') and coalesce(l.comment_text, '') !~* 'ha?emoly'
    from line l
    join lims.analysis a on a.analysis_id = l.analysis_id
    join lims.sample m on m.sample_id = a.sample_id
    join lims.specimen s on s.specimen_id = m.specimen_id
    join lims."order" o on o.order_id = s."order"
    join pas.patient p on p.person_id = o.person_id
    left join lims.local_test t on t.test_code = l.test_code"#;

pub async fn read(gp: &Client, hospital: &Client) -> anyhow::Result<Vec<Result>> {
    let mut all = Vec::new();
    for (source, client, sql) in [(crate::views::GP, gp, GP), (crate::views::HOSPITAL, hospital, HOSPITAL)] {
        for row in client.query(&crate::views::held(client, sql).await?, &[]).await? {
            all.push(Result {
                source,
                record: row.get(0),
                patient: row.get(1),
                codes: row.get(2),
                value: row.get(3),
                unit: row.get(4),
                flag: row.get(5),
                at: row.get(6),
                range_low: limit(row.get(7)),
                range_high: limit(row.get(8)),
                entered: row.get(9),
                taken: row.get(10),
                born: row.get(11),
                settled: row.get::<_, Option<bool>>(12).unwrap_or(false),
            });
        }
    }
    Ok(all)
}

/// Infinity is no limit.
fn limit(text: Option<&str>) -> Option<Decimal> {
    text?.parse().ok()
}

/// A patient's row: key, NHS number where verified, birth date, and whether adrenal insufficiency is an active problem.
struct Person {
    key: String,
    nhs: Option<String>,
    born: Option<String>,
    addisons: bool,
}

/// The patients of both sources.
pub struct People {
    practice: Vec<Person>,
    wards: Vec<Person>,
}

/// Who else a source patient is.
#[derive(Debug, PartialEq, Eq)]
pub enum Linked {
    /// Source and patient.
    With(String, String),
    /// More than one row claims the number.
    Open,
}

pub async fn people(gp: &Client, hospital: &Client) -> anyhow::Result<People> {
    let practice = persons(
        gp,
        "select p.patient_id::text, case when p.nhs_number_status = '01' then replace(p.nhs_number, ' ', '') end,
            (p.date_of_birth at time zone 'Europe/London')::date::text,
            exists (select from emis.problem q
                join emis.observation o on o.observation_id = q.observation_id
                left join emis.clinical_code c on c.code_id = o.code_id
                where q.patient_id = p.patient_id and not q.is_deleted and not o.is_deleted
                  and q.problem_status is distinct from 'Past' and q.end_datetime is null
                  and array[363732003, 373662000, 386584007, 24867002, 766986002]::bigint[]
                      && array[coalesce(o.snomed_concept_id, 0), coalesce(c.snomed_concept_id, 0)]::bigint[])
         from emis.patient p where not p.is_deleted",
    )
    .await?;
    let wards = persons(
        hospital,
        "select person_id::text, case when nhs_nbr_status_cd = '01' then replace(nhs_nbr_ident, ' ', '') end, birth_date::text, false
         from pas.patient where active_ind <> 0",
    )
    .await?;
    Ok(People { practice, wards })
}

impl People {
    /// Of each practice patient with a number those of the wards who may be the same person: surely, surely not, or open.
    fn pairs(&self) -> impl Iterator<Item = (&Person, &Person, Verdict)> {
        self.practice.iter().flat_map(move |person| {
            let same = move |other: &&Person| person.nhs.is_some() && other.nhs == person.nhs;
            let single = self.practice.iter().filter(same).count() == 1 && self.wards.iter().filter(same).count() == 1;
            self.wards.iter().filter(same).map(move |other| {
                let verdict = match (single, other.born.is_some() && other.born == person.born) {
                    (true, true) => Verdict::Yes,
                    (true, false) => Verdict::No,
                    (false, _) => Verdict::Open,
                };
                (person, other, verdict)
            })
        })
    }

    /// Who is known to have adrenal insufficiency, by source patient: told by the source itself, or by the other one about
    /// the person with the same verified NHS number and birth date. Where more than one row claims that number it is left
    /// open.
    pub fn adrenal(&self) -> BTreeMap<(String, String), Verdict> {
        let practice = self.practice.iter().filter(|person| person.addisons);
        let own = practice.map(|person| ((crate::views::GP.to_owned(), person.key.clone()), Verdict::Yes));
        let linked = self.pairs().filter(|(person, ..)| person.addisons);
        let wards = linked.map(|(_, other, verdict)| ((crate::views::HOSPITAL.to_owned(), other.key.clone()), verdict));
        own.chain(wards).collect()
    }

    pub fn links(&self) -> BTreeMap<(String, String), Linked> {
        let mut links = BTreeMap::new();
        for (person, other, verdict) in self.pairs().filter(|(.., verdict)| *verdict != Verdict::No) {
            let here = (crate::views::GP.to_owned(), person.key.clone());
            let there = (crate::views::HOSPITAL.to_owned(), other.key.clone());
            let linked = |(source, key): &(String, String)| match verdict {
                Verdict::Yes => Linked::With(source.clone(), key.clone()),
                _ => Linked::Open,
            };
            let (of_here, of_there) = (linked(&there), linked(&here));
            links.insert(here, of_here);
            links.insert(there, of_there);
        }
        // Two rows of one source with one number may be one person, too.
        for (source, rows) in [(crate::views::GP, &self.practice), (crate::views::HOSPITAL, &self.wards)] {
            for row in rows {
                if row.nhs.is_some() && rows.iter().filter(|other| other.nhs == row.nhs).count() > 1 {
                    links.insert((source.to_owned(), row.key.clone()), Linked::Open);
                }
            }
        }
        links
    }
}

async fn persons(client: &Client, sql: &str) -> anyhow::Result<Vec<Person>> {
    let rows = client.query(sql, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| Person { key: row.get(0), nhs: row.get(1), born: row.get(2), addisons: row.get(3) })
        .collect())
}
