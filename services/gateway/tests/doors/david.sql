-- David as two sources tell of him, Mary whom nobody here looks after, and an alert on David's newest potassium.
-- Rows stand in for what the sinks write; the columns are theirs.
create function pg_temp.pos(n int) returns text language sql as $$ select '00000001.' || lpad(to_hex(n), 16, '0') || '.00000000' $$;

insert into record.patient (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot,
    nhs_number, nhs_number_verified, family, given, birth_date, gender, postcode, registered_practice, objection)
values
    ('riverside', 'p-1', 'patient/p-1', 'R1V01', pg_temp.pos(1), 1, 'e1', now() - interval '3 days', true,
        '9434765919', true, 'Ellis', 'David <b>', '1979-04-12', 'male', 'RV1 2AB', 'R1V01', false),
    ('stmarys', '42', 'patient/42', 'RSM01', pg_temp.pos(2), 1, 'e2', now() - interval '2 days', true,
        '9434765919', true, 'ELLIS', 'David', '1979-04-12', 'male', 'RV1 2AB', null, false),
    ('riverside', 'p-2', 'patient/p-2', 'R1V01', pg_temp.pos(3), 1, 'e3', now() - interval '2 days', true,
        '9000000009', true, 'Objector', 'Olive', '1950-01-01', 'female', null, 'R1V01', true),
    ('stmarys', '43', 'patient/43', 'RSM01', pg_temp.pos(4), 1, 'e4', now() - interval '2 days', true,
        '9000000009', true, 'Objector', 'Olive', '1950-01-01', 'female', null, null, false),
    ('stmarys', '44', 'patient/44', 'RSM01', pg_temp.pos(5), 1, 'e5', now() - interval '2 days', true,
        '9000000025', true, 'Nobody', 'Mary', '1990-06-06', 'female', null, null, false);

-- Carl: the practice keeps the whole patient back; the hospital keeps one result back.
insert into record.patient (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot,
    nhs_number, nhs_number_verified, family, given, birth_date, gender, registered_practice, objection, confidential)
values
    ('riverside', 'p-3', 'patient/p-3', 'R1V01', pg_temp.pos(61), 1, 'e61', now(), true,
        '9912003888', true, 'Zachert', 'Carl', '1970-01-01', 'male', 'R1V01', false, true),
    ('stmarys', '45', 'patient/45', 'RSM01', pg_temp.pos(62), 1, 'e62', now(), true,
        null, false, 'Carlsson', 'Carl', '1970-01-01', 'male', null, false, false);
-- Hugo: only the hospital knows him.
insert into record.patient (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot, family, given)
values ('stmarys', '46', 'patient/46', 'RSM01', pg_temp.pos(66), 1, 'e66', now(), true, 'Hospitalonly', 'Hugo');
insert into record.encounter (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot,
    class, text, team, started_at, referral)
values ('stmarys', '46', 'encounter/5', 'RSM01', pg_temp.pos(67), 1, 'e67', now(), true, 'EMER', 'A&E', 'stmarys-ed', now(), false);
insert into record.link (source, patient, person, version, status, reason, decided_at) values
    ('stmarys', '46', '0197f2a0-0000-7000-8000-000000000005', 1, 'alone', 'nothing to link by', now()),
    ('riverside', 'p-3', '0197f2a0-0000-7000-8000-000000000004', 1, 'linked', 'decided', now()),
    ('stmarys', '45', '0197f2a0-0000-7000-8000-000000000004', 1, 'linked', 'decided', now());
insert into record.encounter (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot,
    class, text, team, started_at, referral)
values ('stmarys', '45', 'encounter/4', 'RSM01', pg_temp.pos(63), 1, 'e63', now(), true, 'EMER', 'A&E', 'stmarys-ed', now(), false);
insert into record.allergy (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot,
    code_text, reaction, none_known, active)
values ('riverside', 'p-3', 'allergy/4', 'R1V01', pg_temp.pos(64), 1, 'e64', now(), true, 'Allergy to zzyzx', 'rash', false, true);
insert into record.observation (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot,
    code_text, number, unit, status, version, version_digest, confidential)
values ('stmarys', '45', 'result/9', 'RSM01', pg_temp.pos(65), 1, 'e65', now(), false, 'Kept back test', 1, 'mmol/L', 'final',
    pg_temp.pos(65), '\x00', true);

insert into record.link (source, patient, person, version, status, reason, decided_at) values
    ('riverside', 'p-1', '0197f2a0-0000-7000-8000-000000000001', 1, 'linked', 'number and birth date agree', now()),
    ('stmarys', '42', '0197f2a0-0000-7000-8000-000000000001', 1, 'linked', 'number and birth date agree', now()),
    ('riverside', 'p-2', '0197f2a0-0000-7000-8000-000000000002', 1, 'linked', 'number and birth date agree', now()),
    ('stmarys', '43', '0197f2a0-0000-7000-8000-000000000002', 1, 'linked', 'number and birth date agree', now()),
    ('stmarys', '44', '0197f2a0-0000-7000-8000-000000000003', 1, 'alone', 'nothing to link by', now());

insert into record.encounter (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot,
    class, text, team, started_at, ended_at, referral)
values
    ('stmarys', '42', 'encounter/1', 'RSM01', pg_temp.pos(6), 1, 'e6', now(), true, 'AMB', 'Clinic', 'stmarys-endocrinology',
        now() - interval '1 day', null, true),
    ('stmarys', '42', 'encounter/2', 'RSM01', pg_temp.pos(7), 1, 'e7', now(), true, 'EMER', 'A&E', 'stmarys-ed',
        now() - interval '2 hours', null, false),
    ('stmarys', '43', 'encounter/3', 'RSM01', pg_temp.pos(8), 1, 'e8', now(), true, 'EMER', 'A&E', 'stmarys-ed',
        now() - interval '2 hours', null, false);

insert into record.condition (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at, snapshot,
    code_text, code_system, code, snomed, active, significance)
values
    ('riverside', 'p-1', 'condition/1', 'R1V01', pg_temp.pos(9), 1, 'e9', now(), '2009-05-01', true,
        'Addison''s disease', 'http://snomed.info/sct', '363732003', '363732003', true, 'significant'),
    ('riverside', 'p-1', 'condition/2', 'R1V01', pg_temp.pos(10), 1, 'e10', now(), '2012-05-01', true,
        'Essential hypertension', 'http://snomed.info/sct', '59621000', '59621000', false, 'significant'),
    ('riverside', 'p-2', 'condition/olive', 'R1V01', pg_temp.pos(70), 1, 'e70', now(), '2001-05-01', true,
        'Addison''s disease', 'http://snomed.info/sct', '363732003', '363732003', true, 'significant');

insert into record.allergy (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at, snapshot,
    code_text, code_system, code, snomed, reaction, severity, none_known, active)
values
    ('riverside', 'p-1', 'allergy/1', 'R1V01', pg_temp.pos(11), 1, 'e11', now(), '2011-02-03', true,
        'Allergy to penicillin', 'http://snomed.info/sct', '91936005', '91936005', 'anaphylaxis', 'severe', false, true),
    ('stmarys', '42', 'allergy/2', 'RSM01', pg_temp.pos(12), 1, 'e12', now(), '2024-02-03', true,
        'Latex <script>alert(1)</script>', 'urn:causeway:local:stmarys', 'LATEX', null, 'rash', null, false, true),
    -- Olive objects: what the practice holds is for the practice.
    ('riverside', 'p-2', 'allergy/3', 'R1V01', pg_temp.pos(17), 1, 'e17', now(), '2019-02-03', true,
        'Allergy to nuts', 'http://snomed.info/sct', '91934008', '91934008', 'anaphylaxis', 'severe', false, true);

insert into record.medication (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at, snapshot,
    code_text, snomed, dosage, course, active, started_at, last_issued_at, status, status_reason)
values
    ('riverside', 'p-1', 'medication/1', 'R1V01', pg_temp.pos(13), 1, 'e13', now(), '2020-01-01', true,
        'Hydrocortisone 10mg tablets', '1', '10 mg on waking, 5 mg at noon, 5 mg at 17:00', 'repeat', true, '2020-01-01', now() - interval '9 days', null, null),
    ('riverside', 'p-1', 'medication/2', 'R1V01', pg_temp.pos(14), 1, 'e14', now(), '2020-01-01', true,
        'Fludrocortisone 100microgram tablets', '2', '1 in the morning', 'repeat', true, '2020-01-01', now() - interval '9 days', null, null),
    ('stmarys', '42', 'medication/3', 'RSM01', pg_temp.pos(15), 1, 'e15', now(), now(), true,
        'Hydrocortisone 100 mg injection', '3', '100 mg IV 6-hourly', 'inpatient', true, now() - interval '1 hour', null, 'active', null),
    ('riverside', 'p-1', 'medication/4', 'R1V01', pg_temp.pos(16), 1, 'e16', now(), '2019-01-01', true,
        'Ramipril 5mg capsules', '4', '1 daily', 'repeat', false, '2019-01-01', null, null, null),
    ('stmarys', '42', 'medication/5', 'RSM01', pg_temp.pos(18), 1, 'e18', now(), now(), true,
        'Marevan 3mg tablets', null, 'as the book says', 'inpatient', true, now() - interval '1 day', null, 'on-hold', 'INR 8.1'),
    ('riverside', 'p-1', 'medication/6', 'R1V01', pg_temp.pos(19), 1, 'e19', now(), '2024-01-01', true,
        'Warfarin 3mg tablets', null, 'as the book says', 'repeat', true, '2024-01-01', null, null, null),
    ('stmarys', '42', 'medication/7', 'RSM01', pg_temp.pos(20), 1, 'e20', now(), now(), true,
        'Ibuprofen 400mg tablets', null, null, 'inpatient', false, now() - interval '2 days', null, 'stopped', 'kidney injury');

insert into record.observation (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at,
    authorised_at, snapshot, code_text, code_system, code, snomed, loinc, analyte, comparator, number, unit, value_text,
    canonical_number, canonical_unit, status, range_low, range_high, flag, specimen, unchecked, version, version_digest)
select source, 'p-1', 'observation/' || n, 'R1V01', pg_temp.pos(20 + n), 1, 'eo' || n, now() - age, now() - age, now() - age, true,
    name, 'http://read.info/readv2', read, snomed, loinc, analyte, null, number, unit, null, number, canonical, 'final', low, high, null,
    specimen, null, pg_temp.pos(20 + n), '\x00'
from (values
    ('riverside', 1, interval '2 days', 'Serum sodium', '44I5.', '1000661000000107', '2951-2', 'sodium', 136.0, 'mmol/L', 'mmol/L', 133, 146, 'L-100'),
    ('riverside', 2, interval '2 days', 'Serum potassium', '44I4.', '1000651000000109', '2823-3', 'potassium', 4.6, 'mmol/L', 'mmol/L', 3.5, 5.3, 'L-100'),
    ('riverside', 3, interval '2 days', 'Serum creatinine', '44J3.', '1000731000000107', '14682-9', 'creatinine', 88.0, 'umol/L', 'umol/L', 60, 110, 'L-100'),
    ('riverside', 4, interval '90 days', 'Serum potassium', '44I4.', '1000651000000109', '2823-3', 'potassium', 4.4, 'mmol/L', 'mmol/L', 3.5, 5.3, 'L-50')
) as t(source, n, age, name, read, snomed, loinc, analyte, number, unit, canonical, low, high, specimen);

insert into record.observation (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at,
    authorised_at, snapshot, code_text, code_system, code, snomed, loinc, analyte, comparator, number, unit, value_text,
    canonical_number, canonical_unit, status, range_low, range_high, flag, specimen, unchecked, version, version_digest)
select 'stmarys', patient, 'result/' || n, 'RSM01', pg_temp.pos(40 + n), 1, 'er' || n, now() - age, now() - age, now() - age, false,
    name, 'urn:causeway:local:stmarys', read, snomed, loinc, analyte, comparator, number, unit, text, canonical_number, canonical, 'final',
    low, high, flag, specimen, unchecked, pg_temp.pos(40 + n), '\x00'
from (values
    ('42', 1, interval '5 minutes', 'Sodium', 'NA', '1107871000000107', '2951-2', 'sodium', null, 121, 'mmol/L', null, 121, 'mmol/L', 133, 146, 'low', 'L-102', null),
    ('42', 2, interval '5 minutes', 'Potassium', 'K', '1107761000000109', '2823-3', 'potassium', null, 6.7, 'mEq/L', null, 6.7, 'mmol/L', 3.5, 5.3, 'critical-high', 'L-102', null),
    ('42', 3, interval '1 day', 'Creatinine', 'CREA', '1107001000000108', '14682-9', 'creatinine', null, 1.05, 'mg/dL', null, 92.82, 'umol/L', 60, 110, null, 'L-101', null),
    -- The practice's own potassium, told by the laboratory as well.
    ('42', 4, interval '2 days', 'Potassium', 'K', '1107761000000109', '2823-3', 'potassium', null, 4.6, 'mmol/L', null, 4.60, 'mmol/L', 3.5, 5.3, null, 'l100', null),
    ('42', 5, interval '1 day', 'Glucose', 'GLU', null, null, 'glucose', '>', 7, 'Banana', null, null, null, null, null, null, 'L-101', 'unknown unit'),
    ('42', 6, interval '1 day', 'Blood film', 'FILM', null, null, null, null, null, null, 'Haemolysed, please repeat', null, null, null, null, null, 'L-101', null),
    ('43', 7, interval '1 day', 'Potassium', 'K', '1107761000000109', '2823-3', 'potassium', null, 5.6, 'mmol/L', null, 5.6, 'mmol/L', 3.5, 5.3, null, 'L-9', null)
) as t(patient, n, age, name, read, snomed, loinc, analyte, comparator, number, unit, text, canonical_number, canonical, low, high, flag, specimen, unchecked);

update record.observation set status = 'unknown', status_text = 'Biologist?', incomplete = 'lims.sample' where record = 'result/3';

insert into record.freshness (source, position, committed_at, applied_at) values
    ('riverside', pg_temp.pos(90), now() - interval '4 hours', now() - interval '4 hours'),
    ('stmarys', pg_temp.pos(91), now() - interval '1 minute', now());

insert into record.quarantine (source, position, stage, reason, source_table, patient, committed_at, topic_partition, topic_offset)
values ('stmarys', pg_temp.pos(80), 'normaliser', 'missing patient', 'lims.result', null, now(), 0, 1);

insert into alert.alert (id, fingerprint, rule, severity, source, patient, record, version, event_id, analyte, headline, detail,
    urgency, state, authorised_at, committed_at, matter)
values
    ('0197f2a0-0000-7000-8000-0000000000a1', '\x01', 'critical-limit', 'critical', 'stmarys', '42', 'result/2', pg_temp.pos(42), 'er2',
        'potassium', 'Potassium 6.7 mmol/L (critical high, limit 6.5)', '{}', 'paged', 'new', now() - interval '5 minutes', now(), '0197f2a0-0000-7000-8000-0000000000b1'),
    ('0197f2a0-0000-7000-8000-0000000000a2', '\x02', 'adrenal-crisis', 'critical', 'stmarys', '42', 'result/1', pg_temp.pos(41), 'er1',
        'sodium', 'Sodium 121 mmol/L with potassium 6.7 mmol/L (low sodium in known adrenal insufficiency, severe)', '{}', 'paged', 'new', now() - interval '5 minutes', now(), '0197f2a0-0000-7000-8000-0000000000b1'),
    ('0197f2a0-0000-7000-8000-0000000000a3', '\x03', 'unchecked', 'warning', 'stmarys', '42', 'result/5', pg_temp.pos(45), 'er5',
        'glucose', 'Glucose >7 Banana could not be checked: unknown unit', '{}', 'late', 'new', now() - interval '1 day', now(), '0197f2a0-0000-7000-8000-0000000000b3'),
    ('0197f2a0-0000-7000-8000-0000000000a4', '\x04', 'critical-limit', 'critical', 'stmarys', '43', 'result/7', pg_temp.pos(47), 'er7',
        'potassium', 'Potassium of Olive', '{}', 'paged', 'new', now(), now(), '0197f2a0-0000-7000-8000-0000000000b4'),
    ('0197f2a0-0000-7000-8000-0000000000a5', '\x05', 'critical-limit', 'critical', 'stmarys', '45', 'result/9', pg_temp.pos(65), 'e65',
        'potassium', 'Kept back potassium', '{}', 'paged', 'new', now(), now(), '0197f2a0-0000-7000-8000-0000000000b5'),
    -- It rests on what the practice alone knows.
    ('0197f2a0-0000-7000-8000-0000000000a6', '\x06', 'adrenal-crisis', 'critical', 'stmarys', '43', 'result/7', pg_temp.pos(47), 'er7',
        'potassium', 'Olive in crisis', '{}', 'late', 'new', now() - interval '1 day', now(), '0197f2a0-0000-7000-8000-0000000000b6');

insert into alert.recipient (alert, team, why)
select id, team, 'test' from alert.alert, unnest(array['stmarys-ed', 'stmarys-endocrinology']) as team where patient = '42'
union all select '0197f2a0-0000-7000-8000-0000000000a1', 'riverside', 'registered'
union all select '0197f2a0-0000-7000-8000-0000000000a4', 'riverside', 'registered'
union all select unnest(array['0197f2a0-0000-7000-8000-0000000000a4', '0197f2a0-0000-7000-8000-0000000000a6'])::uuid, 'stmarys-ed', 'seen'
union all select '0197f2a0-0000-7000-8000-0000000000a5', unnest(array['riverside', 'stmarys-ed']), 'test';
