-- Identity: what sources say of their patients, and which person each is linked to. One writer: the linker.
create schema if not exists identity;

create table identity.patient (
    source text not null, patient text not null,
    -- The order of first sight, and the person minted then.
    seen bigint generated always as identity,
    own uuid not null,
    position text collate "C" not null, revision int not null,
    nhs_number text, verified boolean not null, birth_date date, withdrawn boolean not null,
    primary key (source, patient)
);
create index on identity.patient (nhs_number) where verified and not withdrawn;

create table identity.link (
    source text not null, patient text not null,
    person uuid not null, version int not null,
    status text not null check (status in ('linked', 'alone', 'held')),
    reason text not null, decided_at timestamptz not null,
    primary key (source, patient),
    foreign key (source, patient) references identity.patient
);
create index on identity.link (person);

-- Written in the transaction that changes a link; emptied onto person.links.
create table identity.outbox (
    id bigint generated always as identity primary key,
    source text not null, patient text not null,
    person uuid not null, version int not null, status text not null, reason text not null,
    decided_at timestamptz not null
);
