-- Links by weight, what clerks and sources decided of pairs, the queue of pairs that wait for clerks, and every link that ever was.

-- All patients are read again once, by a group of its own: postcode and confidentiality were not kept before.
update identity.patient set described = false;
alter table identity.patient
    add column postcode text,
    add column confidential boolean not null default false,
    -- The number that stands for nhs_number now: null where it names nobody.
    add column number_now text,
    -- By which version of the weights its pairs were made; empty without weights.
    add column weighed text;
update identity.patient set number_now = nhs_number;
create unique index patient_seen on identity.patient (seen);
create index patient_number_now on identity.patient (number_now) where number_now is not null;
create index patient_told on identity.patient (nhs_number) where nhs_number is not null;

-- What has become of an NHS number: its successor, or none where it was invalidated.
create table identity.number_standing (
    number text primary key, successor text, actor text not null, reason text not null,
    at timestamptz not null default clock_timestamp()
);

-- The blocking index: patients by `seen`, keys hashed.
create table identity.block (key bigint not null, patient bigint not null, primary key (key, patient));
create index block_patient on identity.block (patient);

-- Pairs of patients, by `seen`, that weigh enough for a link or a clerk.
create table identity.pair (
    one bigint not null, other bigint not null check (one < other),
    weight int not null, levels text not null,
    band text not null check (band in ('link', 'clerical')), stop text,
    parameters text not null,
    primary key (one, other)
);
create index pair_other on identity.pair (other);

-- What stands of what people and sources said of a pair. It outlives every scoring.
create table identity.verdict (
    one bigint not null, other bigint not null check (one < other),
    verdict text not null check (verdict in ('must', 'cannot', 'merge')),
    -- Who said so: different people.
    people text[] not null check (cardinality(people) > 0),
    reason text not null, at timestamptz not null default clock_timestamp(),
    primary key (one, other)
);
create index verdict_other on identity.verdict (other);

-- Pairs that wait for a clerk.
create table identity.queue (
    one bigint not null, other bigint not null check (one < other),
    reason text not null, weight int, since timestamptz not null,
    primary key (one, other)
);
create index queue_other on identity.queue (other);

-- Patients whose person is to be worked out anew, because somebody decided something.
create table identity.unsettled (
    id bigint generated always as identity primary key, patient bigint not null, at timestamptz not null default clock_timestamp()
);

alter table identity.link
    add column rule text, add column weight int, add column parameters text,
    add column other_source text, add column other_patient text;
alter table identity.outbox
    add column rule text, add column weight int, add column parameters text,
    add column other_source text, add column other_patient text;

-- Every version of every link since this table is there; `before` is the person that it was until then.
create table identity.history (
    source text not null, patient text not null, version int not null,
    person uuid not null, before uuid, status text not null, reason text not null,
    rule text, weight int, parameters text, other_source text, other_patient text,
    decided_at timestamptz not null,
    primary key (source, patient, version)
);
create index history_person on identity.history (person);
create index history_before on identity.history (before);
insert into identity.history (source, patient, version, person, status, reason, decided_at)
select source, patient, version, person, status, reason, decided_at from identity.link;
