-- What could not be judged or delivered: it stands aside, and the rest goes on. Never a value: those are in the record.
create table alert.refused (
    id bigint generated always as identity primary key,
    -- A result that could not be judged.
    source text, patient text, record text,
    -- A change of an alert that could not be delivered.
    alert uuid, change text,
    reason text not null,
    refused_at timestamptz not null default clock_timestamp()
);
create unique index on alert.refused (source, patient, record) where record is not null;
