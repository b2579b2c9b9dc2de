-- How exactly a time is known, and whether only the understanding of a record changed.
do $$
declare name text;
begin
    foreach name in array array['patient', 'observation', 'medication', 'allergy', 'condition', 'encounter'] loop
        execute format('alter table record.%I
            add column effective_precision text, add column reinterpreted boolean not null default false', name);
        -- A time that nobody can show is not told.
        execute format('update record.%I set effective_at = null where effective_at > ''9999-12-30 22:00:00.999999+00''', name);
    end loop;
end $$;

-- An item of the quarantine is one row, however often it is told; one that is resolved stays as a marker.
alter table record.quarantine add column item text, add column closed boolean not null default false;
create unique index on record.quarantine (item) where item is not null;
