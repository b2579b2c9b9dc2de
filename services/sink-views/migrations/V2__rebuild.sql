-- While a rebuild replays what was there when it began, the record passes through the past: nothing
-- may be alerted or withdrawn until every partition has come to where it ended then.
create table record.rebuild (
    topic text not null, partition int not null,
    upto bigint not null,                    -- the offset after the last message of the past
    primary key (topic, partition)
);

-- Which message could not be applied, where it was a message: a replay finds it again, and it is told once.
alter table record.quarantine
    add column origin_topic text, add column origin_partition int, add column origin_offset bigint;
create unique index on record.quarantine (origin_topic, origin_partition, origin_offset) where stage = 'views';

-- Who has a condition that rules ask for.
create index on record.condition (snomed) where snomed is not null;

-- One line per table: its name, how many rows, and a sum over their digests. Equal before and after
-- a rebuild. Clocks of ours (applied_at) are not in it.
create function record.checksum() returns text
language plpgsql stable
set timezone = 'UTC' set datestyle = 'ISO' set extra_float_digits = 1 set bytea_output = 'hex'
as $$
declare
    told text := '';
    name text;
    columns text;
    line text;
begin
    foreach name in array array['patient', 'observation', 'medication', 'allergy', 'condition', 'encounter',
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
