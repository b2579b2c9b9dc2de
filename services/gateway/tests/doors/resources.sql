-- One row and more of each kind, whole and odd.
insert into record.entry (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at,
    effective_precision, snapshot, kind, code_text, code_system, code, snomed, more)
select 'riverside', 'p-1', record, 'R1V01', '1', 1, 'x' || record, now(), known_at::timestamptz, exact, true, kind, text, system, code,
    snomed, more::jsonb
from (values
    ('procedure/1', '2025-03-01', 'day', 'procedure', 'Appendicectomy <script>', 'http://snomed.info/sct', '80146002', '80146002',
        '{"status": "completed", "body_site": "Abdomen", "reason": "Pain & fever", "outcome": "Recovered", "comment": "Uneventful",
          "participants": [{"role": "performer", "name": "Mr B. Cut"}]}'),
    ('procedure/2', null, null, 'procedure', null, null, null, null, '{"status": "as planned?", "started_at": "2025-03-01T10:00:00Z"}'),
    ('immunisation/1', '2025-10-01', 'month', 'immunisation', 'Influenza', null, null, null,
        '{"batch": "B7", "status": "completed", "expires_on": "2026-05-31", "dose": "1", "route": "IM", "body_site": "Left arm",
          "participants": [{"role": "performer", "name": "N. Hall"}]}'),
    ('immunisation/2', null, null, 'immunisation', 'Tetanus', null, null, null, '{"status": "patient said no", "reason": "Refused"}'),
    ('immunisation/3', '2025-10-02', null, 'immunisation', 'Shingles', null, null, null, '{"status": "not done", "reason": "Away"}'),
    ('document/1', '2025-02-01', null, 'document', 'Discharge letter', null, null, null,
        '{"status": "current", "title": "Letter <b>", "written_at": "2025-02-02T09:00:00Z", "identifier": "D-1",
          "media_type": "application/pdf", "comment": "Scanned", "participants": [{"role": "author", "name": "Dr A"}]}'),
    ('document/2', null, null, 'document', null, null, null, null, null),
    ('flag/1', '2025-02-01', null, 'flag', 'Carries a steroid card', null, null, null, '{"category": "safety", "status": "live"}'),
    ('flag/2', null, null, 'flag', 'Was infectious', null, null, null, '{"ended_at": "2024-01-01T00:00:00Z"}'),
    ('report/1', '2026-01-05', null, 'specimen_report', 'Urea and electrolytes', null, null, null,
        '{"status": "final", "report": "R-1", "specimen": "L-100", "material": {"kind": "Serum"}, "issued_at": "2026-01-05T12:00:00Z",
          "conclusion": "Normal", "comment": "Repeat in a year"}'),
    ('supply/1', '2026-01-06', null, 'supply', 'Hydrocortisone 10mg tablets', null, null, null,
        '{"phase": "issue", "status": "completed", "given_at": "2026-01-06T09:00:00Z", "dosage": "as before", "quantity_amount": "84",
          "quantity_unit": "tablet", "days": "28", "medication": "m1", "participants": [{"role": "prescriber", "name": "Dr A"}]}'),
    ('supply/2', null, null, 'supply', 'Hydrocortisone 10mg tablets', null, null, null,
        '{"phase": "dispense", "status": "handed out", "quantity_amount": "84.50"}'),
    ('supply/3', '2026-01-07', null, 'supply', 'Hydrocortisone injection', null, null, null,
        '{"phase": "administration", "status": "completed", "dose_amount": "100", "dose_unit": "mg", "route": "IV", "dosage": "at once"}'),
    ('supply/4', null, null, 'supply', 'Saline', null, null, null, '{"phase": "administration", "status": "given?", "dosage": "1 l"}'),
    ('supply/5', null, null, 'supply', 'Given somehow', null, null, null, '{"phase": "lent", "reason": "none in stock"}'),
    ('appointment/1', '2026-01-07', null, 'appointment', 'Review', null, null, null, null)
) as t(record, known_at, exact, kind, text, system, code, snomed, more);
insert into record.encounter (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot, class, more)
values ('riverside', 'p-1', 'encounter/odd', 'R1V01', '1', 1, 'xe', now(), true, 'Telephone call',
    '{"status": "DNA", "reason": "Dizzy", "service": "GP", "outcome": "Home", "location": "Surgery <1>"}');
update record.observation set more = '{"report": "R-1", "panel": "U&E", "codings":
    [{"system": "http://read.info/readv2", "code": "44I5.", "origin": "written"}, {"system": "http://snomed.info/sct", "code": "39972003",
      "origin": "mapped"}, {"system": "http://loinc.org", "code": "2951-2", "origin": "mapped"}]}' where record = 'observation/1';
update record.observation set more = '{"report": "R-1"}' where record in ('observation/2', 'result/2');
update record.condition set ended_at = now() + interval '1 day', more = '{"severity": "Moderate", "certainty": "confirmed"}'
    where record = 'condition/1';
update record.condition set ended_at = '2020-01-01' where record = 'condition/2';
