-- Kinds that need nothing but their table of fields share one table here: a new kind needs no migration. `more` holds, by the
-- names of the event's schema, what has no column of its own; of rows from before there is none.
create table record.entry (
    source text not null, patient text not null, record text not null,
    organisation text not null,
    position text collate "C" not null, revision int not null, event_id text not null,
    committed_at timestamptz not null, entered_at timestamptz, effective_at timestamptz,
    corrected boolean not null default false, retracted boolean not null default false, snapshot boolean not null,
    generation bigint not null default 0, confidential boolean not null default false,
    reread boolean not null default false, incomplete text,
    effective_precision text, reinterpreted boolean not null default false, more jsonb,
    kind text not null,
    code_text text, code_system text, code text, snomed text, loinc text,
    primary key (source, patient, record)
);
do $$
declare name text;
begin
    foreach name in array array['patient', 'observation', 'medication', 'allergy', 'condition', 'encounter'] loop
        execute format('alter table record.%I add column more jsonb', name);
    end loop;
end $$;

create or replace function record.checksum() returns text
language plpgsql stable
set timezone = 'UTC' set datestyle = 'ISO' set extra_float_digits = 1 set bytea_output = 'hex'
as $$
declare
    told text := '';
    name text;
    columns text;
    line text;
begin
    foreach name in array array['patient', 'observation', 'medication', 'allergy', 'condition', 'encounter', 'entry',
                                'link', 'quarantine', 'freshness']
    loop
        -- By name: the order of columns is not part of the record.
        select string_agg(format('t.%I', c.column_name), ', ' order by c.column_name collate "C") into columns
        from information_schema.columns c
        where c.table_schema = 'record' and c.table_name = name and c.column_name <> 'applied_at';
        execute format(
            'select count(*) || '':'' || coalesce(sum(hashtextextended(r, 1)::numeric), 0)
                 || '':'' || coalesce(sum(hashtextextended(r, 2)::numeric), 0)
             from (select row(%s)::text as r from record.%I t) rows', columns, name) into line;
        told := told || name || ' ' || line || E'\n';
    end loop;
    return md5(told);
end $$;
