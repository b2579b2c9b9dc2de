-- The live record. Rows are kept by source patient; persons are found through record.link.
-- A row is written only by an event whose (position, revision) exceeds the row's; a retraction
-- leaves the row as a marker (retracted, clinical columns null), so replays change nothing.
create schema record;

create table record.patient (
    source text not null, patient text not null, record text not null,
    organisation text not null,
    position text collate "C" not null, revision int not null, event_id text not null,
    committed_at timestamptz not null, entered_at timestamptz, effective_at timestamptz,
    corrected boolean not null default false, retracted boolean not null default false, snapshot boolean not null,
    nhs_number text, nhs_number_verified boolean, nhs_number_text text,
    family text, given text, birth_date date, death_date date, gender text, postcode text,
    registered_practice text, objection boolean,
    primary key (source, patient)
);
create index on record.patient (nhs_number);
create index on record.patient (registered_practice);

create table record.observation (
    source text not null, patient text not null, record text not null,
    organisation text not null,
    position text collate "C" not null, revision int not null, event_id text not null,
    committed_at timestamptz not null, entered_at timestamptz, effective_at timestamptz,
    corrected boolean not null default false, retracted boolean not null default false, snapshot boolean not null,
    code_text text, code_system text, code text, snomed text, loinc text,
    analyte text,
    comparator text, number numeric, unit text, value_text text,
    canonical_number numeric, canonical_unit text,
    status text, authorised_at timestamptz, range_low numeric, range_high numeric,
    flag text, specimen text, requester text, unchecked text, comment text,
    -- The version: the position of the event since which value, comparator, unit, code and
    -- collection time have been what they are (design, idea 7).
    version text collate "C" not null, version_digest bytea not null,
    primary key (source, patient, record)
);
create index on record.observation (source, patient, analyte, effective_at);

create table record.medication (
    source text not null, patient text not null, record text not null,
    organisation text not null,
    position text collate "C" not null, revision int not null, event_id text not null,
    committed_at timestamptz not null, entered_at timestamptz, effective_at timestamptz,
    corrected boolean not null default false, retracted boolean not null default false, snapshot boolean not null,
    code_text text, code_system text, code text, snomed text, loinc text,
    dosage text, quantity text, course text, active boolean,
    started_at timestamptz, ended_at timestamptz, last_issued_at timestamptz,
    primary key (source, patient, record)
);

create table record.allergy (
    source text not null, patient text not null, record text not null,
    organisation text not null,
    position text collate "C" not null, revision int not null, event_id text not null,
    committed_at timestamptz not null, entered_at timestamptz, effective_at timestamptz,
    corrected boolean not null default false, retracted boolean not null default false, snapshot boolean not null,
    code_text text, code_system text, code text, snomed text, loinc text,
    reaction text, severity text, none_known boolean, active boolean,
    primary key (source, patient, record)
);

create table record.condition (
    source text not null, patient text not null, record text not null,
    organisation text not null,
    position text collate "C" not null, revision int not null, event_id text not null,
    committed_at timestamptz not null, entered_at timestamptz, effective_at timestamptz,
    corrected boolean not null default false, retracted boolean not null default false, snapshot boolean not null,
    code_text text, code_system text, code text, snomed text, loinc text,
    active boolean, significance text, ended_at timestamptz,
    primary key (source, patient, record)
);

create table record.encounter (
    source text not null, patient text not null, record text not null,
    organisation text not null,
    position text collate "C" not null, revision int not null, event_id text not null,
    committed_at timestamptz not null, entered_at timestamptz, effective_at timestamptz,
    corrected boolean not null default false, retracted boolean not null default false, snapshot boolean not null,
    class text, text text, team text, started_at timestamptz, ended_at timestamptz, referral boolean,
    primary key (source, patient, record)
);
create index on record.encounter (team);

-- Identity: the latest version of each source patient's link.
create table record.link (
    source text not null, patient text not null,
    person uuid not null, version int not null,
    status text not null check (status in ('linked', 'alone', 'held')),
    reason text not null, decided_at timestamptz not null,
    primary key (source, patient)
);
create index on record.link (person);

-- What could not be put into the record. Never the values: those stay on the quarantine topic.
create table record.quarantine (
    source text not null, position text collate "C" not null, stage text not null, reason text not null,
    source_table text, patient text, committed_at timestamptz,
    topic_partition int not null, topic_offset bigint not null,
    primary key (topic_partition, topic_offset)
);
create index on record.quarantine (source, patient);

-- How far each source has come. Not part of the rebuilt record (applied_at is a clock).
create table record.freshness (
    source text primary key,
    position text collate "C" not null, committed_at timestamptz not null, applied_at timestamptz not null
);
