-- A hospital's database: PAS (patients), LIMS (laboratory) and EPMA (medicines) of three suppliers in one cluster.
-- The shapes are those of the big suppliers' extracts, the DDL is ours. Replica identity is default everywhere:
-- a DELETE carries only the key.
create schema pas;
create schema lims;
create schema epma;

-- ── PAS ──────────────────────────────────────────────────────────────────────────────────────────

-- The hospital's own word for a department, and the team that works there (site/teams.toml).
create table pas.department (
    department_code varchar(20) primary key,
    display varchar(100) not null,
    team varchar(50)
);

create table pas.patient (
    -- Trap: a numeric key, not an integer (made under Oracle).
    person_id numeric(18,0) primary key,
    local_patient_ident varchar(30), -- MRN
    nhs_nbr_ident varchar(20),
    nhs_nbr_status_cd varchar(2), -- 01: present and verified
    family_name varchar(100),
    given_names varchar(200),
    birth_date date,
    deceased_at timestamp, -- without zone
    sex_code varchar(10), -- 1 male, 2 female, 9 not specified (NHS person stated gender)
    postcode varchar(10),
    gp_practice_ods varchar(20), -- as the patient said; the practice's own register decides
    confid_level varchar(20), -- RESTRICTED: the whole patient; NULL or ROUTINE: not
    -- Trap: a boolean that is a smallint. 0: the row is void.
    active_ind smallint not null default 1,
    updated_at timestamptz not null default now()
);

-- Every number the patient was ever known by. Trap: "still valid" is a date far away, not NULL.
create table pas.alias (
    person_alias_id numeric(18,0) primary key,
    person_id numeric(18,0) not null references pas.patient,
    alias_type varchar(10) not null, -- NHS, MRN
    alias_txt varchar(50) not null,
    beg_effective_at timestamp not null,
    end_effective_at timestamp not null default '2100-12-31 00:00:00',
    active_ind smallint not null default 1
);

create table pas.encounter (
    encntr_id numeric(18,0) primary key,
    person_id numeric(18,0) not null references pas.patient,
    encntr_class varchar(20) not null, -- EMERGENCY, INPATIENT, OUTPATIENT
    department_code varchar(20), -- pas.department
    reason_text varchar(500),
    confid_level varchar(20), -- RESTRICTED: the visit and what was ordered, found and given in it
    start_at timestamptz not null,
    end_at timestamptz, -- NULL: still here
    active_ind smallint not null default 1
);
create index on pas.encounter (person_id);

create table pas.referral (
    referral_id numeric(18,0) primary key,
    person_id numeric(18,0) not null references pas.patient,
    department_code varchar(20), -- to whom
    from_ods varchar(20),
    reason_text varchar(500),
    priority varchar(20), -- ROUTINE, URGENT, 2WW
    confid_level varchar(20),
    received_at timestamptz not null,
    closed_at timestamptz,
    active_ind smallint not null default 1
);

-- ── LIMS ─────────────────────────────────────────────────────────────────────────────────────────

create type lims.result_status as enum ('prelim', 'final', 'corrected');

-- Local test codes. Trap: names in another language (the blood gas analyser's), aliases not for all, rows that come late.
create table lims.local_test (
    test_code varchar(20) primary key,
    name varchar(100) not null,
    loinc varchar(10),
    snomed_concept_id bigint,
    usual_unit varchar(30)
);

-- Trap: "order" is a reserved word, as a table and as a column's name below.
create table lims."order" (
    order_id bigint primary key,
    person_id numeric(18,0) not null,
    encntr_id numeric(18,0),
    requesting_department varchar(20), -- pas.department
    tests varchar(20)[] not null default '{}', -- the panels asked for
    "group" varchar(20), -- ROUTINE, URGENT
    confid_level varchar(20), -- RESTRICTED: a clinic that tells nobody, whatever the visit says
    ordered_at timestamptz not null
);
create index on lims."order" (person_id);

create table lims.specimen (
    specimen_id bigint primary key,
    "order" bigint not null, -- lims."order".order_id
    accession varchar(30) not null,
    type_text varchar(30), -- Serum, Plasma, Whole blood
    -- Trap: no zone. The ward's wall clock: Europe/London.
    collected_at timestamp,
    received_at timestamptz
);
create index on lims.specimen ("order");

create table lims.sample (
    sample_id bigint primary key,
    specimen_id bigint not null,
    container varchar(30)
);
create index on lims.sample (specimen_id);

create table lims.analysis (
    analysis_id bigint primary key,
    sample_id bigint not null,
    panel varchar(20),
    analyser varchar(30),
    run_at timestamptz
);
create index on lims.analysis (sample_id);

-- Trap: five joins to the patient: result → analysis → sample → specimen → "order" → pas.patient.
-- Trap: a row is never edited in place once it is out. An edit voids the old row (is_active = false) and inserts a new
-- one with the same line_id and the next revision, in one transaction; either half alone shows a false state.
-- A withdrawn result is a voided row without a successor.
create table lims.result (
    result_id bigint primary key,
    line_id bigint not null, -- the line on the report: the record
    analysis_id bigint not null,
    test_code varchar(20) not null, -- lims.local_test, which may not have it yet
    "value" varchar(255), -- Trap: text: "6.7", ">6.0", "Haemolysed", "0,900", ""
    result_nbr integer, -- Trap: the supplier's own reading of it, decimals cut off. Not to be used.
    unit_text varchar(30), -- Trap: as somebody once typed it: mmol/L, mlU/ml, UI/L, 10^3/µl
    -- Trap: no limit is not NULL but infinity.
    normal_low numeric not null default '-Infinity',
    normal_high numeric not null default 'Infinity',
    critical_low double precision not null default '-Infinity',
    critical_high double precision not null default 'Infinity',
    abnormal_flag varchar(2), -- N, L, H, LL critical low, HH critical high; NULL: not judged
    status lims.result_status not null,
    revision integer not null default 1,
    comment_text text,
    entered_at timestamptz not null,
    authorised_at timestamptz, -- NULL while preliminary
    is_active boolean not null default true
);
create index on lims.result (line_id);
create index on lims.result (analysis_id);

-- Trap: no primary key: its rows have no key in the log. With the default identity, an UPDATE or DELETE would be refused
-- while the table is published, and the connector would not publish it.
create table lims.instrument_message (
    received_at timestamptz not null,
    analyser varchar(30),
    accession varchar(30),
    raw bytea,
    readings numeric[]
);
alter table lims.instrument_message replica identity full;

-- ── EPMA ─────────────────────────────────────────────────────────────────────────────────────────

create type epma.prescription_status as enum ('active', 'suspended', 'completed', 'stopped', 'cancelled');

create table epma.prescription (
    prescription_id bigint primary key,
    person_id numeric(18,0) not null,
    encntr_id numeric(18,0),
    drug_name varchar(255) not null,
    local_drug_code varchar(20),
    dmd_code bigint,
    dose_text varchar(500),
    dose_amount numeric, -- Trap: no scale; 0.1 and 0.10 differ in the log
    dose_unit varchar(20),
    route varchar(30),
    frequency varchar(50),
    dose_schedule json, -- Trap: json, not jsonb: spaces and key order are kept
    kind varchar(20), -- INPATIENT, DISCHARGE, STAT
    status epma.prescription_status not null,
    status_reason varchar(500), -- why it was stopped or suspended
    start_at timestamptz not null,
    stop_at timestamptz, -- Trap: a STAT dose that was given stays active, and has its end here
    first_dose_on date,
    updated_at timestamptz not null
);
create index on epma.prescription (person_id);

create table epma.allergy (
    allergy_id bigint primary key,
    person_id numeric(18,0) not null,
    -- Trap: "no known allergies" is a row too: substance_code NKA.
    substance_code varchar(20),
    substance_text varchar(255) not null,
    snomed_concept_id bigint,
    reaction_text varchar(500),
    severity varchar(20), -- MILD, MODERATE, SEVERE
    status varchar(20) not null, -- ACTIVE, RESOLVED, ENTERED_IN_ERROR
    onset_date date,
    recorded_at timestamptz not null,
    is_active boolean not null default true
);
create index on epma.allergy (person_id);
