-- A GP practice's database in the shape of an EMIS extract: names, types and traps are EMIS's, the DDL is ours.
--
-- Traps that hold for every table here:
--  * A deletion is an UPDATE: is_deleted = true and every other column that is not the key NULL, patient_id too.
--    Whose row it was is only known from what was seen before. Hence no NOT NULL outside the keys.
--  * No foreign keys: codes, organisations and users can arrive after the rows that use them, or never.
--  * Real DELETEs happen too (a practice purges); they carry only the key (replica identity default).
create schema emis;

create table emis.organisation (
    organisation_id uuid primary key,
    ods_code varchar(20),
    organisation_name varchar(255),
    organisation_type varchar(100),
    parent_organisation_id uuid,
    telephone varchar(50),
    postcode varchar(10),
    open_date date,
    close_date date,
    is_deleted boolean not null default false
);

-- Trap: "user" is a reserved word. One row for each user in a role.
create table emis."user" (
    user_in_role_id uuid primary key,
    organisation_id uuid,
    title varchar(50),
    given_name varchar(100),
    surname varchar(100),
    job_category_code varchar(20),
    job_category_name varchar(255),
    contract_start_date date,
    contract_end_date date,
    is_deleted boolean not null default false
);

create table emis.patient (
    patient_id uuid primary key,
    -- As typed: may be absent, malformed, or somebody else's. The extract's own column is the pseudonym below.
    nhs_number text,
    -- NHS Data Dictionary, NHS NUMBER STATUS INDICATOR CODE: 01 is "present and verified".
    nhs_number_status varchar(2),
    nhs_number_pseudonym bytea,
    -- Trap: a date kept as a timestamp, at midnight UTC: shown in another zone it is the day before.
    date_of_birth timestamptz(6),
    date_of_death timestamptz(6),
    sex varchar(1), -- M, F, I, U
    title varchar(50),
    given_name varchar(100),
    middle_names varchar(255),
    surname varchar(100),
    house_name_number varchar(255),
    street varchar(255),
    town varchar(255),
    postcode varchar(10),
    telephone varchar(50),
    email varchar(255),
    -- The practice the patient is registered with: emis.organisation.
    organisation_id uuid,
    usual_gp_user_in_role_id uuid,
    -- R regular, T temporary, E emergency …
    patient_type varchar(20),
    registration_start_datetime timestamptz(6),
    -- Set: left the practice.
    registration_end_datetime timestamptz(6),
    -- Trap: FALSE means there IS an objection (93C1. or type 1); TRUE and NULL mean there is none.
    is_consent_93c1 boolean,
    is_national_data_opted_in boolean,
    is_spine_sensitive boolean,
    is_confidential boolean,
    is_deleted boolean not null default false
);

create table emis.consultation (
    consultation_id uuid primary key,
    patient_id uuid,
    organisation varchar(20), -- ODS code
    user_in_role_id uuid,
    effective_datetime timestamptz(6),
    effective_datetime_precision varchar(10), -- YMD, YM, Y, YMDT
    entered_datetime timestamptz(6),
    end_datetime timestamptz(6),
    code_id bigint,
    consultation_source_term varchar(255), -- "GP Surgery", "Telephone call to a patient"
    is_complete boolean,
    is_confidential boolean,
    is_deleted boolean not null default false
);

-- The dictionary of the whole system. Rows come late, and are corrected.
create table emis.clinical_code (
    code_id bigint primary key,
    parent_code_id bigint,
    term varchar(255),
    -- As the user picked it, synonym id behind a dash: "44I4.-1", "EMISNQ12", "ALLERGY1364".
    read_term_id varchar(50),
    -- Stripped to five characters; NULL for EMIS's own codes.
    readv2_code varchar(10),
    -- Trap: may lie in EMIS's own namespace (1000006), in no national release.
    snomed_concept_id bigint,
    snomed_description_id bigint,
    national_code varchar(50),
    national_code_category varchar(50),
    national_description varchar(500),
    -- Decides, with the value, what kind of record an observation is: "Biochemistry", "Haematology",
    -- "Observations/Examination", "Conditions", "Allergy & Adverse Drug Reactions", "No Known Allergy", "Symptoms", …
    code_category varchar(100),
    is_deleted boolean not null default false
);

create table emis.drug_code (
    code_id bigint primary key,
    term varchar(500),
    dmd_product_code_id bigint,
    is_deleted boolean not null default false
);

-- Codes the supplier withholds: captured data like any other.
create table emis.sensitive_code (
    code_id bigint primary key,
    snomed_concept_id bigint
);

-- Results, findings, symptoms, problems' own rows, and allergies: whatever was coded.
create table emis.observation (
    observation_id uuid primary key,
    patient_id uuid,
    code_id bigint,
    snomed_concept_id bigint,
    effective_datetime timestamptz(6),
    effective_datetime_precision varchar(10),
    entered_datetime timestamptz(6),
    user_in_role_id uuid,
    organisation varchar(20), -- ODS code
    -- Value, Observation, Allergy, Problem's own row is Condition, Investigation (a report's header), Comment, Immunisation …
    observation_type varchar(50),
    numeric_operator varchar(10), -- <, <=, >=, >
    -- Trap: three decimals, whatever was measured; NaN is possible.
    numeric_value decimal(19,3),
    numeric_unit varchar(100), -- as typed: mmol/L, iu/L, Banana
    ucum_code varchar(50),
    -- A result in words: "Negative", "Haemolysed, please repeat".
    text_value text,
    range_minimum decimal(19,3),
    range_maximum decimal(19,3),
    range_units varchar(100),
    -- Free text beside the code: a filing comment, an allergy's reaction. Up to a megabyte: TOAST.
    associated_text text,
    -- A report's results hang from its header.
    parent_observation_id uuid,
    problem_observation_id uuid,
    consultation_id uuid,
    episodicity bigint,
    abnormal_flag boolean,
    -- When the laboratory authorised it; NULL for what the practice measured.
    authorised_datetime timestamptz(6),
    specimen varchar(100),
    document_id uuid,
    is_confidential boolean,
    is_deleted boolean not null default false
);
create index on emis.observation (patient_id);

-- Trap: a problem has no row id and no code of its own: it is a second face of the observation with the same id.
create table emis.problem (
    observation_id uuid primary key,
    patient_id uuid,
    organisation varchar(20),
    problem_status varchar(20), -- Active, Past
    significance varchar(20), -- Significant, Minor
    effective_datetime timestamptz(6),
    end_datetime timestamptz(6),
    end_datetime_precision varchar(10),
    expected_duration bigint,
    last_review_datetime timestamptz(6),
    last_review_user_in_role_id uuid,
    parent_problem_observation_id uuid,
    parent_problem_relationship varchar(50),
    comment text,
    is_confidential boolean,
    is_deleted boolean not null default false
);

create table emis.medication_drug_record (
    drug_record_id uuid primary key,
    patient_id uuid,
    code_id bigint, -- emis.drug_code; NULL for a local mixture
    dmd_product_code_id bigint,
    consultation_id uuid,
    user_in_role_id uuid,
    organisation varchar(20),
    effective_datetime timestamptz(6),
    entered_datetime timestamptz(6),
    dosage varchar(1000),
    quantity decimal(9,3),
    quantity_unit varchar(50),
    prescription_type_description varchar(50), -- Acute, Repeat, Repeat Dispensing, Automatic
    is_active boolean,
    cancellation_datetime timestamptz(6), -- set: stopped
    cancellation_reason varchar(500),
    number_of_issues bigint,
    number_of_issues_authorised bigint,
    local_mixture_name varchar(500),
    problem_observation_id uuid,
    pharmacy_text varchar(1000),
    patient_text varchar(1000),
    is_confidential boolean,
    is_deleted boolean not null default false
);
create index on emis.medication_drug_record (patient_id);

create table emis.medication_issue_record (
    issue_record_id uuid primary key,
    drug_record_id uuid,
    patient_id uuid,
    code_id bigint,
    dmd_product_code_id bigint,
    organisation varchar(20),
    user_in_role_id uuid,
    effective_datetime timestamptz(6),
    entered_datetime timestamptz(6),
    dosage varchar(1000),
    quantity decimal(9,3),
    quantity_unit varchar(50),
    course_duration_days bigint,
    estimated_nhs_cost decimal(10,4),
    is_cancelled boolean,
    cancellation_datetime timestamptz(6),
    is_deleted boolean not null default false
);
create index on emis.medication_issue_record (drug_record_id);

-- Like a problem: the second face of an observation.
create table emis.referral (
    observation_id uuid primary key,
    patient_id uuid,
    organisation varchar(20),
    recipient_ods_code varchar(20),
    recipient_department varchar(100),
    urgency varchar(50),
    service_type varchar(100),
    referral_reason text,
    effective_datetime timestamptz(6),
    ended_datetime timestamptz(6),
    is_deleted boolean not null default false
);
