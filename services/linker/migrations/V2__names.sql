-- What tells twins apart: forename, surname and sex. Rows from before are read again from patient.events, by a group of its
-- own; until then nothing is known of them, which agrees with nobody of the same source.
alter table identity.patient
    add column given text, add column family text, add column gender text,
    add column described boolean not null default false,
    -- Order between events of a record is (generation, position).
    add column generation bigint not null default 0;
