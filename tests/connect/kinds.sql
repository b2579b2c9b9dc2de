create extension citext;
create extension hstore;
create extension ltree;
create extension isn;
create schema kinds;
create type kinds.mood as enum ('ok', 'ill');
create type kinds.pair as (a int, b text);
create domain kinds.code as varchar(9);
create domain kinds.nested as kinds.code;
create domain kinds.amount as numeric(6, 2);
create domain kinds.deep as kinds.amount;
create table kinds.marker (id int primary key);

create table kinds.scalars (
    id int primary key, boolean bool, bit_1 bit(1), int2 int2, int4 int4, int8 int8, oid oid, xid xid, xid8 xid8,
    float4 float4, float8 float8, numeric_6_2 numeric(6, 2), numeric_6_0 numeric(6, 0), numeric_3_5 numeric(3, 5),
    numeric_3_neg numeric(3, -2), "numeric" numeric, money money, bit_12 bit(12), varbit varbit, varbit_12 varbit(12),
    "text" text, "varchar" varchar(20), "char" char(5), "name" name, one_char "char", citext citext, bytea bytea,
    "date" date, "time" time, time_0 time(0), time_3 time(3), timetz timetz, timetz_3 timetz(3), "timestamp" timestamp,
    timestamp_0 timestamp(0), timestamp_3 timestamp(3), timestamptz timestamptz, timestamptz_0 timestamptz(0),
    timestamptz_3 timestamptz(3), "interval" interval, uuid uuid, json json, jsonb jsonb, hstore hstore, xml xml,
    ltree ltree, tsvector tsvector, tsquery tsquery, point point, line line, lseg lseg, box box, path path,
    polygon polygon, circle circle, mood kinds.mood, inet inet, cidr cidr, macaddr macaddr, macaddr8 macaddr8,
    int4range int4range, int8range int8range, numrange numrange, tsrange tsrange, tstzrange tstzrange,
    daterange daterange, int4multirange int4multirange, jsonpath jsonpath, pg_lsn pg_lsn, regclass regclass,
    int2vector int2vector, composite kinds.pair, isbn isbn, code kinds.code, nested kinds.nested, amount kinds.amount,
    deep kinds.deep);

create table kinds.arrays (
    id int primary key, boolean bool[], int2 int2[], int4 int4[], int8 int8[], float4 float4[], float8 float8[],
    numeric_6_2 numeric(6, 2)[], "numeric" numeric[], money money[], bit_12 bit(12)[], "text" text[],
    "varchar" varchar(20)[], "char" char(5)[], "name" name[], citext citext[], bytea bytea[], "date" date[],
    "time" time[], timetz timetz[], "timestamp" timestamp[], timestamptz timestamptz[], timestamptz_3 timestamptz(3)[],
    "interval" interval[], uuid uuid[], json json[], jsonb jsonb[], hstore hstore[], xml xml[], ltree ltree[],
    tsvector tsvector[], point point[], mood kinds.mood[], inet inet[], cidr cidr[], macaddr macaddr[],
    int4range int4range[], numrange numrange[], daterange daterange[], code kinds.code[], composite kinds.pair[],
    square int[]);

-- What a row that changes beside it leaves out.
create table kinds.large (
    id int primary key, times int, "text" text, "varchar" varchar, citext citext, bytea bytea, json json, jsonb jsonb,
    hstore hstore, xml xml, ltree ltree, tsvector tsvector, "numeric" numeric, numeric_fixed numeric(1000, 2),
    varbit varbit, polygon polygon, path path, code kinds.code, int2s int2[], int4s int4[], int8s int8[], texts text[],
    dates date[], uuids uuid[], times_of_day time[], timestamps timestamp[], timestamptzs timestamptz[],
    numerics numeric[], fixed numeric(6, 2)[], bools bool[], floats float8[], jsons jsonb[], byteas bytea[],
    moods kinds.mood[], inets inet[], hstores hstore[], citexts citext[], timetzs timetz[],
    needed text not null, needed_dates date[] not null);
do $$ declare c record; begin
    for c in select attname from pg_attribute where attrelid = 'kinds.large'::regclass and attnum > 0
            and attstorage in ('x', 'm') loop
        execute format('alter table kinds.large alter %I set storage external', c.attname);
    end loop;
end $$;

-- Keys.
create table kinds.keyed (
    at timestamptz, label text, code varchar(9), small timestamptz(3), day date, number numeric, fixed numeric(6, 2),
    primary key (code, at, small, day, number, fixed));
create table kinds.identified (a int primary key, b int not null, c text);
create unique index identified_b on kinds.identified (b);
alter table kinds.identified replica identity using index identified_b;
create table kinds.uniquely (b int not null unique, c text);
create table kinds.unkeyed (a int, c text);
create table kinds.whole (a int, c text not null);
alter table kinds.whole replica identity full;
create table kinds.divided (id int, part int, c text, primary key (id, part)) partition by list (part);
create table kinds.divided_1 partition of kinds.divided for values in (1);
create table kinds.divided_2 partition of kinds.divided for values in (2);
create table kinds."Odd table" (id int primary key, "odd column" text, "ünï" text, "a.b" text);

-- What a column promises.
create table kinds.promises (
    id int generated always as identity primary key, a int not null default 7, b text not null default 'x',
    c text default 'n', d timestamptz not null default now(), e numeric(5, 2) not null default 1.5,
    f bool not null default true, g text not null, h date not null default '2026-01-02', i jsonb not null default '{}',
    j timestamptz not null default '2026-01-02 03:04:05+00', k kinds.mood not null default 'ok', l int8 not null,
    m timestamp not null default '2026-01-02 03:04:05', n uuid not null default gen_random_uuid());
create table kinds.moments (
    id int primary key, "date" date, "timestamp" timestamp, timestamptz timestamptz, needed timestamptz not null,
    needed_day date not null);
create table kinds.emptied (id int primary key, ward text);

create function kinds.fill(first int) returns void language sql as $$
    insert into kinds.scalars values (first, true, '1', -2, 4, 8, 26, '7', '9', 1.5, 0.1, 12.3, 12, 0.00123, 300, 1.50,
        12.34, b'101000000001', b'101', b'101', 'text – ☃', 'v', 'c', 'n', 'x', 'Ci', '\x00ff', '2026-11-23',
        '10:11:12.5', '10:11:12', '10:11:12.5', '10:11:12.5+02', '10:11:12.5+02', '2026-11-23 10:11:12.5',
        '2026-11-23 10:11:12', '2026-11-23 10:11:12.5', '2026-11-23 10:11:12.5+02', '2026-11-23 10:11:12+02',
        '2026-11-23 10:11:12.5+02', '1 year 2 mons 3 days 04:05:06.7', '6f9619ff-8b86-d011-b42d-00c04fc964ff',
        '{"b": 1,  "a": 1.10}', '{"b": 1, "a": 1.10}', 'a=>1, b=>NULL', '<a/>', 'a.b', 'a b', 'a & b', '(1,2)',
        '{1,2,3}', '[(1,2),(3,4)]', '((3,4),(1,2))', '[(1,2),(3,4)]', '((1,2),(3,4),(5,6))', '<(1,2),3>', 'ill',
        '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '[1,5)', '[1,5)', '[1.5,2)',
        '[2026-11-23 10:11:12,)', '[2026-11-23 10:11:12+02,)', '[2026-11-23,)', '{[1,5)}', '$.a', '16/B374D848',
        'pg_class', '1 2', '(1,"a b")', '978-0-393-04002-9', 'code', 'nested', 1.5, 1.5);
    insert into kinds.scalars (id) values (first + 1);
    insert into kinds.arrays values (first, '{t,NULL}', '{1,NULL}', '{1,NULL}', '{1,NULL}', '{1.5,NULL}', '{0.1,NULL}',
        '{1.5,NULL}', '{1.50,NULL}', '{1.5,NULL}', '{101000000001,NULL}', '{a,NULL,"NULL"}', '{a,NULL}', '{a,NULL}',
        '{a,NULL}', '{a,NULL}', '{"\\x00ff",NULL}', '{2026-11-23,NULL}', '{10:11:12.5,NULL}', '{10:11:12.5+02,NULL}',
        '{2026-11-23 10:11:12.5,NULL}', '{2026-11-23 10:11:12.5+02,NULL}', '{2026-11-23 10:11:12.5+02,NULL}',
        '{1 day,NULL}', '{6f9619ff-8b86-d011-b42d-00c04fc964ff,NULL}', array['{"a": 1}'::json, null],
        array['{"a": 1}'::jsonb, null], array['a=>1'::hstore, null], array['<a/>'::xml, null], '{a.b,NULL}',
        array['a b'::tsvector, null], array[point '(1,2)', null], '{ok,NULL}', '{10.0.0.1/8,NULL}',
        '{10.0.0.0/8,NULL}', '{08:00:2b:01:02:03,NULL}', array['[1,5)'::int4range, null],
        array['[1.5,2)'::numrange, null], array['[2026-11-23,)'::daterange, null], '{code,NULL}',
        array[row(1, 'a')::kinds.pair, null], '{{1,2},{3,4}}');
    insert into kinds.arrays (id, int4, "text", "date") values (first + 1, '{}', '{}', '{}');
    insert into kinds.large select first, 0, t, t, t, t::bytea, to_json(t), to_jsonb(t), hstore('a', t),
        format('<a>%s</a>', t)::xml, l::ltree, v::tsvector, n::numeric, substr(n, 1, 900)::numeric, b::varbit, p::polygon,
        p::path, 'short', i::int2[], i::int4[], i::int8[], i::text[], array_fill(date '2026-11-23', array[2000]),
        array_fill('6f9619ff-8b86-d011-b42d-00c04fc964ff'::uuid, array[2000]), array_fill(time '10:11', array[2000]),
        array_fill(timestamp '2026-11-23 10:11', array[2000]), array_fill(timestamptz '2026-11-23 10:11+00', array[2000]),
        i::numeric[], i::numeric(6, 2)[], array_fill(true, array[5000]), i::float8[],
        array_fill('{"a": 1}'::jsonb, array[2000]), array_fill('\x00ff'::bytea, array[2000]),
        array_fill('ok'::kinds.mood, array[2000]), array_fill('10.0.0.1/8'::inet, array[2000]),
        array_fill('a=>1'::hstore, array[2000]), array_fill('a'::citext, array[2000]),
        array_fill(timetz '10:11+00', array[2000]), t, array_fill(date '2026-11-23', array[2000])
        from (select repeat('long text ', 1000) as t, rtrim(repeat('label.', 1000), '.') as l,
            (select string_agg('w' || o, ' ') from generate_series(1, 2000) o) as v, repeat('1234567890', 1000) as n,
            repeat('10', 20000) as b, (select '(' || string_agg(format('(%s,%s)', o, o), ',') || ')'
                from generate_series(1, 1000) o) as p,
            (select array_agg(o) from generate_series(1, 3000) o) as i) of_all;
    insert into kinds.keyed values ('2026-11-23 10:11:12.5+00', 'a', 'c' || first, '2026-11-23 10:11:12.5+00',
        '2026-11-23', 1.50, 1.5);
    insert into kinds.identified values (first, first + 1000, 'a');
    insert into kinds.uniquely values (first, 'a');
    insert into kinds.unkeyed values (first, 'a');
    insert into kinds.whole values (first, 'a');
    insert into kinds.divided values (first, 1, 'a'), (first, 2, 'b');
    insert into kinds."Odd table" values (first, 'a', 'b', 'c');
    insert into kinds.promises (g, l) select 'g', first;
    insert into kinds.moments values (first, 'infinity', 'infinity', 'infinity', 'infinity', 'infinity'),
        (first + 1, '-infinity', '-infinity', '-infinity', '2026-11-23 00:00+00', '2026-11-23'),
        (first + 2, '0044-03-15 BC', '0044-03-15 12:00 BC', '0044-03-15 12:00+00 BC', '0044-03-15 12:00+00 BC',
         '0044-03-15 BC');
    insert into kinds.emptied values (first, 'a');
$$;
select kinds.fill(1);
