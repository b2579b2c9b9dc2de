-- A community diabetes clinic, made up: a system that nobody here has seen. docs/mapping-guide.md maps it.
create schema dia;

create table dia.client (
    client_no integer primary key,
    nhsno varchar(20),
    nhsno_checked char(1), -- Y, N
    lastname varchar(60),
    firstname varchar(60),
    dob date,
    sex char(1),
    postcode varchar(10),
    gone boolean not null default false
);

create table dia.visit (
    visit_no bigint primary key,
    client_no integer not null references dia.client,
    seen_on timestamptz not null,
    clinic varchar(40),
    kind varchar(20)
);

create table dia.test_type (
    test_id integer primary key,
    label varchar(60) not null,
    loinc varchar(10)
);

create table dia.blood (
    blood_id bigint primary key,
    visit_no bigint not null references dia.visit,
    test_id integer not null references dia.test_type,
    reading varchar(40),
    uom varchar(20),
    taken timestamptz,
    state char(1) not null, -- F finished, P provisional, X thrown away
    entered timestamptz not null
);

create table dia.plan (
    plan_id bigint primary key,
    client_no integer not null references dia.client,
    drug_name varchar(100) not null,
    dmd bigint,
    sig varchar(200),
    from_date date,
    to_date date
);

create table dia.audit_log (
    audit_id bigint primary key,
    client_no integer references dia.client,
    who varchar(40),
    did varchar(200),
    at timestamptz not null
);

insert into dia.test_type values (1, 'Glucose (fasting)', '14749-6'), (2, 'HbA1c IFCC', null), (3, 'Potassium', '2823-3'), (4, 'Foot score', null);
insert into dia.client select n, null, 'N', 'Surname' || n, 'Given' || n, date '1940-01-01' + n * 17, case when n % 2 = 0 then 'F' else 'M' end,
    'LS' || n % 28 + 1 || ' 4AP' from generate_series(1, 500) n;
insert into dia.visit select n, n % 500 + 1, timestamptz '2026-01-05 09:00Z' + n * interval '37 minutes', 'North', case n % 3 when 0 then 'FIRST' else 'REVIEW' end
    from generate_series(1, 2000) n;
insert into dia.blood select n, n % 2000 + 1, n % 4 + 1,
    case n % 4 when 3 then (n % 10)::text else round((4 + n % 60 / 10.0)::numeric, 1)::text end,
    case n % 4 when 0 then 'mmol/l' when 1 then 'mmol/mol' when 2 then 'mmols' end,
    timestamptz '2026-01-05 09:10Z' + n * interval '9 minutes', case n % 20 when 0 then 'P' when 1 then 'X' else 'F' end,
    timestamptz '2026-01-05 12:00Z' + n * interval '9 minutes' from generate_series(1, 8000) n;
insert into dia.plan select n, n % 500 + 1, 'Metformin 500mg tablets', null, 'One twice a day', date '2025-06-01', null from generate_series(1, 700) n;
insert into dia.audit_log select n, n % 500 + 1, 'nurse', 'looked', timestamptz '2026-01-05 09:00Z' from generate_series(1, 3000) n;
analyze;
