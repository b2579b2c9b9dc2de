//! What each source holds now and what the record should say of it, as plain SQL.
//!
//! Each query gives the record's id, its patient (NULL: no such patient row, so it can only wait in quarantine), and
//! facts as text, named and ordered as those of the record's query. A fact of `?` is not compared: the source no longer
//! tells it (a dictionary row that was blanked), or it is a reading of words that only the normaliser's tests judge.

/// A kind of record of one source.
pub struct Kind {
    /// The name before the `/` in the record's id.
    pub name: &'static str,
    /// Where its rows lie in the source.
    pub table: &'static str,
    /// The source's query.
    pub held: &'static str,
    /// Its table in the schema `record`, and the facts there.
    pub record: &'static str,
    pub facts: &'static str,
}

const DEMOGRAPHICS: &str = "family, given, birth_date::text as born,
    replace(coalesce(nhs_number, nhs_number_text), ' ', '') as nhs, registered_practice as practice";
const OBSERVATION: &str =
    "code_text as code, number::text as number, value_text as words, unit, comparator, flag, status,
    (extract(epoch from effective_at) * 1000000)::bigint::text as effective";
const MEDICATION: &str = "code_text as code, dosage, active::text as active";
const ALLERGY: &str = "code_text as code, reaction, none_known::text as none_known, active::text as active";
const CONDITION: &str = "code_text as code, active::text as active";
/// Of a kind that needs nothing but its table.
const ENTRY: &str = "kind, code_text as code";
const ENCOUNTER: &str = "class, team, (ended_at is null)::text as open, referral::text as referral";

pub const GP: [Kind; 10] = [
    Kind {
        name: "patient",
        table: "emis.patient",
        record: "patient",
        facts: DEMOGRAPHICS,
        held: "select 'patient/' || p.patient_id, p.patient_id::text, p.surname,
                concat_ws(' ', nullif(btrim(p.given_name), ''), nullif(btrim(p.middle_names), '')),
                (p.date_of_birth at time zone 'Europe/London')::date::text, replace(p.nhs_number, ' ', ''),
                case when o.is_deleted then '?' when p.registration_end_datetime is null then o.ods_code end
            from emis.patient p left join emis.organisation o on o.organisation_id = p.organisation_id
            where not p.is_deleted",
    },
    Kind {
        name: "observation",
        table: "emis.observation",
        record: "observation",
        facts: OBSERVATION,
        held: r"select 'observation/' || o.observation_id, p.patient_id::text,
                case when c.is_deleted then '?' else coalesce(nullif(btrim(c.term), ''), nullif(btrim(c.read_term_id), ''),
                    nullif(btrim(c.readv2_code), ''), o.snomed_concept_id::text, c.snomed_concept_id::text, o.code_id::text) end,
                case when o.numeric_value = 'NaN' then null when o.numeric_value is not null then o.numeric_value::text
                    when o.text_value ~ '^\s*[+-]?[0-9]+(\.[0-9]+)?\s*$' then o.text_value
                    when btrim(o.text_value) <> '' then '?' end,
                case when o.numeric_value = 'NaN' or o.numeric_operator not in ('<', '<=', '=', '>=', '>') then '?'
                    when o.numeric_value is not null or o.text_value !~ '^\s*[+-]?[0-9]+(\.[0-9]+)?\s*$' then o.text_value end,
                coalesce(nullif(btrim(o.numeric_unit), ''), o.ucum_code),
                case when o.numeric_operator in ('<', '<=', '>=', '>') then o.numeric_operator
                    when o.numeric_value is null or o.numeric_operator <> '=' then '?' end,
                null, 'final',
                case when o.effective_datetime is null then null
                    when o.effective_datetime < '0001-01-02' or o.effective_datetime >= '9999-01-01' then '?'
                    else (extract(epoch from o.effective_datetime) * 1000000)::bigint::text end
            from emis.observation o
            left join emis.patient p on p.patient_id = o.patient_id
            left join emis.clinical_code c on c.code_id = o.code_id
            where not o.is_deleted and coalesce(o.observation_type, '') not in ('Allergy', 'Immunisation', 'Investigation')
              and coalesce(c.code_category, '') not in ('Allergy & Adverse Drug Reactions', 'No Known Allergy')
              and not exists (select from emis.problem q where q.observation_id = o.observation_id and not q.is_deleted)
              and not exists (select from emis.referral r where r.observation_id = o.observation_id and not r.is_deleted)",
    },
    Kind {
        name: "allergy",
        table: "emis.observation",
        record: "allergy",
        facts: ALLERGY,
        held: "select 'allergy/' || o.observation_id, p.patient_id::text,
                case when c.is_deleted then '?' else coalesce(nullif(btrim(c.term), ''), nullif(btrim(c.read_term_id), ''),
                    nullif(btrim(c.readv2_code), ''), o.snomed_concept_id::text, c.snomed_concept_id::text, o.code_id::text) end,
                o.associated_text,
                (coalesce(c.code_category, '') = 'No Known Allergy'
                    or coalesce(c.snomed_concept_id, 0) in (716186003, 409137002))::text,
                'true'
            from emis.observation o
            left join emis.patient p on p.patient_id = o.patient_id
            left join emis.clinical_code c on c.code_id = o.code_id
            where not o.is_deleted and (o.observation_type = 'Allergy'
                or c.code_category in ('Allergy & Adverse Drug Reactions', 'No Known Allergy'))",
    },
    Kind {
        name: "problem",
        table: "emis.problem",
        record: "condition",
        facts: CONDITION,
        held: "select 'problem/' || q.observation_id, p.patient_id::text,
                case when c.is_deleted then '?' else coalesce(nullif(btrim(c.term), ''), nullif(btrim(q.comment), ''),
                    nullif(btrim(c.read_term_id), ''), nullif(btrim(c.readv2_code), ''), o.snomed_concept_id::text,
                    c.snomed_concept_id::text, o.code_id::text) end,
                (q.problem_status is distinct from 'Past' and q.end_datetime is null)::text
            from emis.problem q
            left join emis.observation o on o.observation_id = q.observation_id
            left join emis.patient p on p.patient_id = q.patient_id
            left join emis.clinical_code c on c.code_id = o.code_id
            where not q.is_deleted and o.is_deleted is not true",
    },
    Kind {
        name: "medication",
        table: "emis.medication_drug_record",
        record: "medication",
        facts: MEDICATION,
        held: "select 'medication/' || m.drug_record_id, p.patient_id::text,
                case when d.is_deleted then '?' else coalesce(nullif(btrim(d.term), ''), nullif(btrim(m.local_mixture_name), ''),
                    m.dmd_product_code_id::text, d.dmd_product_code_id::text, m.code_id::text) end,
                m.dosage, (m.is_active is not false and m.cancellation_datetime is null)::text
            from emis.medication_drug_record m
            left join emis.patient p on p.patient_id = m.patient_id
            left join emis.drug_code d on d.code_id = m.code_id
            where not m.is_deleted",
    },
    Kind {
        name: "consultation",
        table: "emis.consultation",
        record: "encounter",
        facts: ENCOUNTER,
        held: "select 'consultation/' || c.consultation_id, p.patient_id::text, 'AMB', null, (c.end_datetime is null)::text, 'false'
            from emis.consultation c left join emis.patient p on p.patient_id = c.patient_id
            where not c.is_deleted",
    },
    Kind {
        name: "immunisation",
        table: "emis.observation",
        record: "entry",
        facts: ENTRY,
        held: "select 'immunisation/' || o.observation_id, p.patient_id::text, 'immunisation',
                case when c.is_deleted then '?' else coalesce(nullif(btrim(c.term), ''), nullif(btrim(c.read_term_id), ''),
                    nullif(btrim(c.readv2_code), ''), o.snomed_concept_id::text, c.snomed_concept_id::text, o.code_id::text) end
            from emis.observation o
            left join emis.patient p on p.patient_id = o.patient_id
            left join emis.clinical_code c on c.code_id = o.code_id
            where not o.is_deleted and o.observation_type = 'Immunisation'
              and coalesce(c.code_category, '') not in ('Allergy & Adverse Drug Reactions', 'No Known Allergy')
              and not exists (select from emis.problem q where q.observation_id = o.observation_id and not q.is_deleted)
              and not exists (select from emis.referral r where r.observation_id = o.observation_id and not r.is_deleted)",
    },
    Kind {
        name: "report",
        table: "emis.observation",
        record: "entry",
        facts: ENTRY,
        held: "select 'report/' || o.observation_id, p.patient_id::text, 'specimen_report',
                case when c.is_deleted then '?' else coalesce(nullif(btrim(c.term), ''), nullif(btrim(c.read_term_id), ''),
                    nullif(btrim(c.readv2_code), ''), o.snomed_concept_id::text, c.snomed_concept_id::text, o.code_id::text) end
            from emis.observation o
            left join emis.patient p on p.patient_id = o.patient_id
            left join emis.clinical_code c on c.code_id = o.code_id
            where not o.is_deleted and o.observation_type = 'Investigation'
              and coalesce(c.code_category, '') not in ('Allergy & Adverse Drug Reactions', 'No Known Allergy')
              and not exists (select from emis.problem q where q.observation_id = o.observation_id and not q.is_deleted)
              and not exists (select from emis.referral r where r.observation_id = o.observation_id and not r.is_deleted)",
    },
    Kind {
        name: "issue",
        table: "emis.medication_issue_record",
        record: "entry",
        facts: ENTRY,
        held: "select 'issue/' || i.issue_record_id, p.patient_id::text, 'supply',
                case when d.is_deleted then '?' else coalesce(nullif(btrim(d.term), ''), i.dmd_product_code_id::text,
                    d.dmd_product_code_id::text, i.code_id::text, '') end
            from emis.medication_issue_record i
            left join emis.patient p on p.patient_id = i.patient_id
            left join emis.drug_code d on d.code_id = i.code_id
            where not i.is_deleted",
    },
    Kind {
        name: "request",
        table: "emis.referral",
        record: "entry",
        facts: ENTRY,
        held: "select 'request/' || r.observation_id, p.patient_id::text, 'referral', '?'
            from emis.referral r left join emis.patient p on p.patient_id = r.patient_id
            where not r.is_deleted",
    },
];

pub const HOSPITAL: [Kind; 6] = [
    Kind {
        name: "patient",
        table: "pas.patient",
        record: "patient",
        facts: DEMOGRAPHICS,
        held: "select 'patient/' || person_id, person_id::text, family_name, given_names, birth_date::text,
                replace(nhs_nbr_ident, ' ', ''), null
            from pas.patient where active_ind <> 0",
    },
    Kind {
        name: "result",
        table: "lims.result",
        record: "observation",
        facts: OBSERVATION,
        held: r#"with line as (
                select distinct on (line_id) * from lims.result where is_active order by line_id, revision desc, result_id desc)
            select 'result/' || l.line_id, p.person_id::text, coalesce(nullif(btrim(t.name), ''), l.test_code),
                case when l."value" ~ '^\s*[+-]?[0-9]+(\.[0-9]+)?\s*$' then l."value" when btrim(l."value") <> '' then '?' end,
                case when l."value" !~ '^\s*[+-]?[0-9]+(\.[0-9]+)?\s*$' then l."value" end,
                l.unit_text,
                case when l."value" !~ '^\s*[+-]?[0-9]+(\.[0-9]+)?\s*$' then '?' end,
                case l.abnormal_flag when 'N' then null when 'L' then 'low' when 'H' then 'high' when 'LL' then 'critical-low'
                    when 'HH' then 'critical-high' else l.abnormal_flag end,
                case when l.status = 'prelim' then 'preliminary' when l.revision > 1 then 'corrected' else l.status::text end,
                case when s.collected_at is null and s.received_at is null then null
                    when coalesce(s.collected_at, s.received_at at time zone 'UTC') >= '2100-01-01'
                      or coalesce(s.collected_at, s.received_at at time zone 'UTC') < '0001-01-02' then '?'
                    -- The hour that comes twice, or never: either reading will do.
                    when extract(month from s.collected_at) in (3, 10) and extract(hour from s.collected_at) = 1
                      and extract(dow from s.collected_at) = 0 then '?'
                    else (extract(epoch from coalesce(s.collected_at at time zone 'Europe/London', s.received_at)) * 1000000)::bigint::text
                end
            from line l
            left join lims.analysis a on a.analysis_id = l.analysis_id
            left join lims.sample m on m.sample_id = a.sample_id
            left join lims.specimen s on s.specimen_id = m.specimen_id
            left join lims."order" o on o.order_id = s."order"
            left join pas.patient p on p.person_id = o.person_id
            left join lims.local_test t on t.test_code = l.test_code"#,
    },
    Kind {
        name: "prescription",
        table: "epma.prescription",
        record: "medication",
        facts: MEDICATION,
        held: "select 'prescription/' || m.prescription_id, p.person_id::text, m.drug_name,
                concat_ws(', ', nullif(btrim(m.dose_text), ''), nullif(btrim(m.route), ''), nullif(btrim(m.frequency), '')),
                (m.status = 'suspended' or m.status = 'active' and (m.kind is distinct from 'STAT' or m.stop_at is null))::text
            from epma.prescription m left join pas.patient p on p.person_id = m.person_id",
    },
    Kind {
        name: "allergy",
        table: "epma.allergy",
        record: "allergy",
        facts: ALLERGY,
        held: "select 'allergy/' || a.allergy_id, p.person_id::text, a.substance_text, a.reaction_text,
                (a.substance_code is not distinct from 'NKA')::text, (a.status = 'ACTIVE')::text
            from epma.allergy a left join pas.patient p on p.person_id = a.person_id
            where a.is_active and a.status <> 'ENTERED_IN_ERROR'",
    },
    Kind {
        name: "encounter",
        table: "pas.encounter",
        record: "encounter",
        facts: ENCOUNTER,
        held: "select 'encounter/' || e.encntr_id, p.person_id::text,
                case e.encntr_class when 'EMERGENCY' then 'EMER' when 'INPATIENT' then 'IMP' when 'OUTPATIENT' then 'AMB'
                    else e.encntr_class end,
                d.team, (e.end_at is null)::text, 'false'
            from pas.encounter e
            left join pas.patient p on p.person_id = e.person_id
            left join pas.department d on d.department_code = e.department_code
            where e.active_ind <> 0",
    },
    Kind {
        name: "referral",
        table: "pas.referral",
        record: "encounter",
        facts: ENCOUNTER,
        held: "select 'referral/' || r.referral_id, p.person_id::text, 'AMB', d.team, (r.closed_at is null)::text, 'true'
            from pas.referral r
            left join pas.patient p on p.person_id = r.person_id
            left join pas.department d on d.department_code = r.department_code
            where r.active_ind <> 0",
    },
];
